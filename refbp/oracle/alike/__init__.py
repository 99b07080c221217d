"""Functions of no course, held against a registered layer: ``refbp check … --like Conv2d`` and ``refbp.check(…, like=…)``.

:mod:`.matching` reads off the names of parameters what they are, :mod:`.arrangement` how arrays may lie, :mod:`.gradients` how
gradients come back, :mod:`.cases` which of the layer's cases such functions can be given; :mod:`.plan` makes an exercise of it,
and :mod:`.inhand` checks functions that one has in hand.
"""
