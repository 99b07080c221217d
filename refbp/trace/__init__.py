"""Backpropagation, shown: a network run forward and backward, every quantity as data, told, drawn, and compared.

Nothing here computes a gradient: the layers do, one at a time, and torch's autograd runs beside them.
"""
