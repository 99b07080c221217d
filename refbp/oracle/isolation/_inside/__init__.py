"""What runs inside a worker: the standard library and NumPy only, nothing of refbp, because none of it is there.

The files of this folder are copied into the worker's room. ``wire`` is the one of them that the parent uses too.
"""
