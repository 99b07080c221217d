"""Gradient descent on a data set: reading it, the loop over epochs and batches, the file that a run is kept in, its curve."""
