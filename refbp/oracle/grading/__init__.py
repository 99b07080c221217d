"""Many submissions of one course, graded: for instructors.

:mod:`.rubric` is what they ask for, :mod:`.intake` takes in files, folders and archives, :mod:`.grade` grades one,
:mod:`.many` all of them side by side, :mod:`.journal` remembers what is done, :mod:`.marks` makes points and words of it,
:mod:`.writers` write it as Gradescope, Autolab, PrairieLearn, check50, JUnit, CSV or JSON want it.

What goes wrong in a submission is its verdict. What goes wrong here (no worker starts, the disk is full, a process is killed)
is nobody's zero: that submission is not graded, is listed as such, and is tried again by the next run.
"""
