"""What both volumes have in their folder common, for layers that are handed in without it, and NumPy in CuPy's place."""

FUNCTIONS = """import numpy as np


def identity_function(x):
    return x


def step_function(x):
    return np.array(x > 0, dtype=int)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def sigmoid_grad(x):
    return sigmoid(x) * (1 - sigmoid(x))


def relu(x):
    return np.maximum(0, x)


def relu_grad(x):
    return np.where(x >= 0, 1.0, 0.0)


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def mean_squared_error(y, t):
    return 0.5 * np.sum((y - t) ** 2)


def sum_squared_error(y, t):
    return mean_squared_error(y, t)


def cross_entropy_error(y, t):
    y = np.atleast_2d(y)
    t = np.asarray(t)
    t = t.reshape(y.shape).argmax(axis=1) if t.size == y.size else t.reshape(-1)
    return -np.mean(np.log(y[np.arange(len(y)), t] + 1e-7))


def softmax_loss(X, t):
    return cross_entropy_error(softmax(X), t)
"""
UTIL = """import numpy as np


def _windows(H, W, filter_h, filter_w, stride, pad):
    for y in range(filter_h):
        for x in range(filter_w):
            rows = slice(y, y + H + 2 * pad - filter_h + 1, stride)
            yield y, x, (slice(None), slice(None), rows, slice(x, x + W + 2 * pad - filter_w + 1, stride))


def im2col(input_data, filter_h, filter_w, stride=1, pad=0):
    N, C, H, W = input_data.shape
    out_h, out_w = (H + 2 * pad - filter_h) // stride + 1, (W + 2 * pad - filter_w) // stride + 1
    img = np.pad(input_data, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    col = np.zeros((N, C, filter_h, filter_w, out_h, out_w))
    for y, x, window in _windows(H, W, filter_h, filter_w, stride, pad):
        col[:, :, y, x] = img[window]
    return col.transpose(0, 4, 5, 1, 2, 3).reshape(N * out_h * out_w, -1)


def col2im(col, input_shape, filter_h, filter_w, stride=1, pad=0):
    N, C, H, W = input_shape
    out_h, out_w = (H + 2 * pad - filter_h) // stride + 1, (W + 2 * pad - filter_w) // stride + 1
    col = col.reshape(N, out_h, out_w, C, filter_h, filter_w).transpose(0, 3, 4, 5, 1, 2)
    img = np.zeros((N, C, H + 2 * pad, W + 2 * pad))
    for y, x, window in _windows(H, W, filter_h, filter_w, stride, pad):
        img[window] += col[:, :, y, x]
    return img[:, :, pad : H + pad, pad : W + pad]
"""
CUPY = """import numpy
from numpy import *
from numpy import add, linalg, random

ndarray = numpy.ndarray


def asnumpy(a):
    return a


def scatter_add(a, index, values):
    numpy.add.at(a, index, values)
"""
GIVEN = {
    "common/functions.py": FUNCTIONS,
    "common/util.py": UTIL,
    "common/config.py": "GPU = False\n",
    "common/np.py": "from common.config import GPU\nimport numpy as np\n",
    "cupy/__init__.py": CUPY,
    "cupyx/__init__.py": "from cupy import scatter_add\n",
}
