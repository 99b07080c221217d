"""Every registered layer against torch autograd and against the numerical derivative of its own forward.

The only package that imports torch. Each process uses one torch thread: two processes with two threads each on two
cores are a hundred times slower than with one.
"""
