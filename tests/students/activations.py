"""Element-wise activations."""

import math

import numpy as np

from ._student import Exercise

# Activations: dout and x, or dout and the output ---------------------------------------------------------------------


def _of_x(f, layer, state, inputs, dys):
    return {"x": f(dys[0], inputs[0])}


def _of_y(f, layer, state, inputs, dys):
    return {"x": f(dys[0], np.asarray(layer(state, *inputs).outputs))}


def _with_layer(f, layer, state, inputs, dys):
    return {"x": f(dys[0], inputs[0], layer)}


relu = Exercise("ReLU", "matrix four-axes kink", _of_x)


@relu.wrong(r"only where x is 0: at a kink")
def relu_with_less_than(dout, x):
    dx = dout.copy()
    dx[x < 0] = 0
    return dx


@relu.wrong(r"mask is taken of the upstream")
def relu_masks_the_upstream(dout, x):
    return np.maximum(dout, 0)


@relu.wrong(r"ignores the upstream gradient")
def relu_without_upstream(dout, x):
    return np.where(x > 0, 1.0, 0.0)


@relu.wrong(r"x > 0 stands as x ≤ 0")
def relu_on_the_wrong_side(dout, x):
    return dout * (x <= 0)


@relu.wrong(r"f\(x\) stands where its slope")
def relu_times_its_value(dout, x):
    return dout * np.maximum(x, 0)


@relu.right
def relu_with_where(dout, x):
    return np.where(x <= 0, 0, dout)


@relu.right
def relu_by_sign(dout, x):
    return 0.5 * (1 + np.sign(x)) * dout * (x != 0)


leaky = Exercise("LeakyReLU", "matrix option1 option2 four-axes kink", _with_layer)


@leaky.wrong(r"slope is 0 where x ≤ 0")
def leaky_without_leak(dout, x, layer):
    dx = dout.copy()
    dx[x <= 0] = 0
    return dx


@leaky.wrong(r"negative_slope is taken to be 0\.01")
def leaky_with_a_fixed_slope(dout, x, layer):
    return np.where(x > 0, dout, 0.01 * dout)


@leaky.wrong(r"sides are swapped")
def leaky_the_other_way(dout, x, layer):
    return dout * np.where(x > 0, layer.negative_slope, 1)


@leaky.right
def leaky_in_place(dout, x, layer):
    dx = np.ones_like(x)
    dx[x <= 0] = layer.negative_slope
    return dx * dout


sigmoid = Exercise("Sigmoid", "matrix four-axes scalar", _of_y)
sigmoid_x = Exercise("Sigmoid", "matrix four-axes scalar", _of_x)


@sigmoid_x.wrong(r"x stands where y is meant")
def sigmoid_slope_of_x(dout, x):
    return dout * x * (1 - x)


@sigmoid.wrong(r"slope is taken at y.*f is applied twice")
def sigmoid_of_sigmoid(dout, y):
    s = 1 / (1 + np.exp(-y))
    return dout * s * (1 - s)


@sigmoid.wrong(r"f\(x\) stands where its slope")
def sigmoid_half_a_slope(dout, y):
    return dout * y


@sigmoid.wrong(r"ignores the upstream gradient")
def sigmoid_without_upstream(dout, y):
    return y * (1 - y)


@sigmoid.wrong(r"has the wrong sign")
def sigmoid_of_the_wrong_sign(dout, y):
    return y * (y - 1) * dout


@sigmoid_x.right
def sigmoid_by_exponentials(dout, x):
    e = np.exp(-x)
    return dout * e / (1 + e) ** 2


@sigmoid.right
def sigmoid_by_output(dout, y):
    return dout * (y - y**2)


tanh = Exercise("Tanh", "matrix four-axes scalar", _of_y)
tanh_x = Exercise("Tanh", "matrix four-axes scalar", _of_x)


@tanh.wrong(r"slope is taken at y.*f is applied twice")
def tanh_of_tanh(dout, y):
    return dout * (1 - np.tanh(y) ** 2)


@tanh_x.wrong(r"x stands where y is meant")
def tanh_slope_of_x(dout, x):
    return dout * (1 - x**2)


@tanh.wrong(r"square is missing")
def tanh_without_the_square(dout, y):
    return dout * (1 - y)


@tanh.wrong(r"y² has the wrong sign")
def tanh_with_a_plus(dout, y):
    return dout * (1 + y * y)


@tanh_x.right
def tanh_by_cosh(dout, x):
    return dout / np.cosh(x) ** 2


gelu = Exercise("GELU", "matrix four-axes scalar", _of_x)


def _phi(x):
    return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _Phi(x):
    return 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


@gelu.wrong(r"x φ\(x\) is missing")
def gelu_without_the_density(dout, x):
    return dout * _Phi(x)


@gelu.wrong(r"x φ\(x\) has the wrong sign")
def gelu_with_a_minus(dout, x):
    return dout * (_Phi(x) - x * _phi(x))


@gelu.wrong(r"factor x is missing")
def gelu_without_x(dout, x):
    return dout * (_Phi(x) + _phi(x))


@gelu.right
def gelu_by_the_product_rule(dout, x):
    cdf = 0.5 * np.vectorize(math.erfc)(-x / math.sqrt(2))
    pdf = np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi)
    return dout * (cdf + x * pdf)


elu = Exercise("ELU", "matrix option1 four-axes", _with_layer)


@elu.wrong(r"alpha is taken to be 1\.0")
def elu_without_alpha(dout, x, layer):
    return dout * np.where(x > 0, 1, np.exp(np.minimum(x, 0)))


@elu.right
def elu_from_its_output(dout, x, layer):
    y = np.where(x > 0, x, layer.alpha * (np.exp(np.minimum(x, 0)) - 1))
    return dout * np.where(x > 0, 1, y + layer.alpha)


silu = Exercise("SiLU", "matrix four-axes scalar", _of_x)


@silu.wrong(r"x σ′\(x\) is missing")
def silu_as_if_the_gate_were_constant(dout, x):
    return dout / (1 + np.exp(-x))


@silu.right
def silu_by_the_product_rule(dout, x):
    s = 1 / (1 + np.exp(-x))
    return dout * (s + x * s * (1 - s))
