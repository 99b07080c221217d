"""The cases of the built-in layers and losses, one module a family; each is a plugin like any other.

They stand apart from the layers so that a file of layers holds what its reader came for: the formulas.
"""
