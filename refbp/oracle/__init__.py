"""What is wrong with a gradient, in words."""
