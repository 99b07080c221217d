"""Gradients as students write them, right and wrong, each with the words that the right explanation must contain."""
