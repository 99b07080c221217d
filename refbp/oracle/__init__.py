"""What is wrong with a gradient, in words, and the smallest input that shows it.

:mod:`.observation` is what is known of a case, :mod:`.diagnose` the explainer, :mod:`.clues` what it asks, :mod:`.families` the
mathematics of each family of layers, :mod:`.shrink` the smallest failing input, :mod:`.written` how that is put in words.

Somebody's functions: :mod:`.exercise` says what a course asks for and :mod:`.calls` how it is called, :mod:`.attempt` puts one
case to them, :mod:`.verdict` forms the verdict, :mod:`.checking` does it for a whole submission, isolated (:mod:`.isolation`).
Functions of no course: :mod:`.alike`.

Whole classes of students: :mod:`.grading`. A course's own tests: :mod:`.audit` and :mod:`.suite`.
"""
