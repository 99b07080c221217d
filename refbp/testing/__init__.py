"""Conformance as pytest items, for refbp itself and for the packages of strangers.

One line in a test file is the whole suite::

    from refbp.testing.suite import *
"""
