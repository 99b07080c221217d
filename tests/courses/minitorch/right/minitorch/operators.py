"""Functions of numbers, right."""

import math

EPS = 1e-6


def log(x):
    return math.log(EPS + x)


def log_back(x, d):
    return d * (1.0 / (EPS + x))


def inv(x):
    return x**-1


def inv_back(x, d):
    return -d * x**-2


def relu(x):
    return max(x, 0.0)


def relu_back(x, d):
    return d * float(x > 0)


def sigmoid(x):
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
