"""Returns a million numbers one by one."""


def affine_forward(x, w, b):
    return x @ w + b, (x, w, b)


def affine_backward(dout, cache):
    return list(range(1_000_000))
