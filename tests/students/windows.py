"""Conv2d, Conv1d, MaxPool2d, AvgPool2d: loops over windows, as in CS231n, and ways around them."""

import numpy as np

from refbp import Case, normal
from refbp.cases.pooling import tied
from refbp.layers.convolution import Conv1d, Conv2d
from refbp.layers.pooling import AvgPool2d, MaxPool2d

from ._student import Exercise

# Conv2d: cache is (x, w, b, stride, pad) -------------------------------------------------------------------------------


def _two(a):
    return a if isinstance(a, tuple) else (a, a)


def _conv(f, layer, state, inputs, dys):
    w = state["weight"]
    b = state.get("bias", np.zeros(len(w)))
    dx, dw, db = f(dys[0], (inputs[0], w, b, _two(layer.stride), _two(layer.padding)))
    return {"x": dx, "weight": dw} | ({"bias": db} if "bias" in state else {})


_more = [Case(Conv2d(2, 3, 2, stride=2), normal(2, 2, 4, 6), id="touching")]
conv = Exercise(
    "Conv2d", "plain no-bias one-tap oblong column row overlapping gaps windows-of-padding few-channels", _conv, _more
)


def _conv_backward(dout, cache, overwrite=False, crop=True, strided=True, flip=False):
    x, w, b, (sh, sw), (ph, pw) = cache
    N, C, H, W = x.shape
    F, _, HH, WW = w.shape
    xp = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    dxp, dw = np.zeros_like(xp), np.zeros_like(w)
    k = w[:, :, ::-1, ::-1] if flip else w
    for n in range(N):
        for f in range(F):
            for i in range(dout.shape[2]):
                for j in range(dout.shape[3]):
                    at = n, slice(None), slice(i * sh, i * sh + HH), slice(j * sw, j * sw + WW)
                    dw[f] += dout[n, f, i, j] * xp[at]
                    dxp[at] += dout[n, f, i, j] * k[f]
    return dxp[:, :, ph : ph + H, pw : pw + W], dw, dout.sum((0, 2, 3))


@conv.wrong(r"overwritten.*window \(they overlap\)")
def conv_that_overwrites(dout, cache):
    x, w, b, (sh, sw), (ph, pw) = cache
    N, C, H, W = x.shape
    F, _, HH, WW = w.shape
    dxp = np.zeros((N, C, H + 2 * ph, W + 2 * pw))
    for i in range(dout.shape[2]):
        for j in range(dout.shape[3]):
            dxp[:, :, i * sh : i * sh + HH, j * sw : j * sw + WW] = np.tensordot(dout[:, :, i, j], w, axes=(1, 0))
    _, dw, db = _conv_backward(dout, cache)
    return dxp[:, :, ph : ph + H, pw : pw + W], dw, db


@conv.wrong(r"weight.*last sample alone.*overwritten")
def conv_weights_of_the_last_sample(dout, cache):
    x, w, b, (sh, sw), (ph, pw) = cache
    xp = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    F, C, HH, WW = w.shape
    for n in range(len(x)):
        dw = np.zeros_like(w)
        for i in range(dout.shape[2]):
            for j in range(dout.shape[3]):
                patch = xp[n, :, i * sh : i * sh + HH, j * sw : j * sw + WW]
                dw += dout[n, :, i, j][:, None, None, None] * patch
    dx, _, db = _conv_backward(dout, cache)
    return dx, dw, db


@conv.wrong(r"empty where the padding is 0")
def conv_crops_with_minus_pad(dout, cache):
    x, w, b, (sh, sw), (ph, pw) = cache
    dx, dw, db = _conv_backward(dout, cache)
    dxp = np.pad(dx, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    return dxp[:, :, ph:-ph, pw:-pw], dw, db


@conv.wrong(r"still has the padding")
def conv_that_keeps_the_padding(dout, cache):
    x, w, b, (sh, sw), (ph, pw) = cache
    dx, dw, db = _conv_backward(dout, cache)
    return np.pad(dx, ((0, 0), (0, 0), (ph, ph), (pw, pw))), dw, db


@conv.wrong(r"bias.*not summed over axes \(1, 2\)")
def conv_bias_over_the_batch(dout, cache):
    dx, dw, db = _conv_backward(dout, cache)
    return dx, dw, dout.sum(axis=0)


@conv.wrong(r"weight is 1/N times")
def conv_weights_averaged(dout, cache):
    dx, dw, db = _conv_backward(dout, cache)
    return dx, dw / len(dout), db


@conv.wrong(r"kernel is flipped")
def conv_with_a_flipped_kernel(dout, cache):
    return _conv_backward(dout, cache, flip=True)


@conv.wrong(r"x and weight.*stride is forgotten")
def conv_that_forgets_the_stride(dout, cache):
    x, w, b, _, pad = cache
    return _conv_backward(dout, (x, w, b, (1, 1), pad))


@conv.wrong(r"bias.*is a mean")
def conv_bias_averaged(dout, cache):
    dx, dw, db = _conv_backward(dout, cache)
    return dx, dw, dout.mean(axis=(0, 2, 3))


@conv.right
def conv_by_loops(dout, cache):
    return _conv_backward(dout, cache)


@conv.right
def conv_by_im2col(dout, cache):
    x, w, b, (sh, sw), (ph, pw) = cache
    N, C, H, W = x.shape
    F, _, HH, WW = w.shape
    Ho, Wo = dout.shape[2:]
    xp = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    r = np.arange(Ho)[:, None] * sh + np.arange(HH)
    c = np.arange(Wo)[:, None] * sw + np.arange(WW)
    cols = xp[:, :, r[:, None, :, None], c[None, :, None, :]]
    dw = np.einsum("nfij,ncijhw->fchw", dout, cols)
    dcols = np.einsum("nfij,fchw->ncijhw", dout, w)
    dxp = np.zeros_like(xp)
    np.add.at(dxp, (slice(None), slice(None), r[:, None, :, None], c[None, :, None, :]), dcols)
    return dxp[:, :, ph : ph + H, pw : pw + W], dw, np.einsum("nfij->f", dout)


@conv.right
def conv_tap_by_tap(dout, cache):
    x, w, b, (sh, sw), (ph, pw) = cache
    N, C, H, W = x.shape
    F, _, HH, WW = w.shape
    Ho, Wo = dout.shape[2:]
    xp = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    dxp, dw = np.zeros_like(xp), np.zeros_like(w)
    for h in range(HH):
        for v in range(WW):
            window = slice(None), slice(None), slice(h, h + sh * Ho, sh), slice(v, v + sw * Wo, sw)
            dw[:, :, h, v] = np.tensordot(dout, xp[window], axes=([0, 2, 3], [0, 2, 3]))
            dxp[window] += np.einsum("nfij,fc->ncij", dout, w[:, :, h, v])
    return dxp[:, :, ph : ph + H, pw : pw + W], dw, dout.sum((0, 2, 3))


# Pooling ---------------------------------------------------------------------------------------------------------------


def _pool(f, layer, state, inputs, dys):
    stride = _two(layer.stride if layer.stride is not None else layer.kernel_size)
    return {"x": f(dys[0], inputs[0], _two(layer.kernel_size), stride)}


_more = [
    Case(MaxPool2d((2, 3), stride=1), normal(2, 2, 4, 5), id="stride-one"),
    Case(MaxPool2d(3, stride=2), normal(2, 3, 7, 5), id="stride-two"),
    Case(MaxPool2d(2), tied(4, 6), id="tied"),
]
maxpool = Exercise("MaxPool2d", "touching single-values", _pool, _more)
maxpool_distinct = Exercise("MaxPool2d", "touching single-values", _pool, _more[:2])


def _at(i, j, kernel, stride):
    return slice(i * stride[0], i * stride[0] + kernel[0]), slice(j * stride[1], j * stride[1] + kernel[1])


@maxpool.wrong(r"at ties all of the equal")
def maxpool_to_every_largest(dout, x, kernel, stride):
    dx = np.zeros_like(x)
    for n, c, i, j in np.ndindex(*dout.shape):
        r, s = _at(i, j, kernel, stride)
        window = x[n, c, r, s]
        dx[n, c, r, s] += (window == window.max()) * dout[n, c, i, j]
    return dx


@maxpool_distinct.wrong(r"overwritten.*window \(they overlap\)")
def maxpool_that_overwrites(dout, x, kernel, stride):
    dx = np.zeros_like(x)
    for n, c, i, j in np.ndindex(*dout.shape):
        r, s = _at(i, j, kernel, stride)
        k = np.unravel_index(np.argmax(x[n, c, r, s]), kernel)
        dx[n, c, i * stride[0] + k[0], j * stride[1] + k[1]] = dout[n, c, i, j]
    return dx


@maxpool.wrong(r"at ties the last")
def maxpool_to_the_last_largest(dout, x, kernel, stride):
    dx = np.zeros_like(x)
    for n, c, i, j in np.ndindex(*dout.shape):
        r, s = _at(i, j, kernel, stride)
        flat = x[n, c, r, s].ravel()
        k = np.unravel_index(len(flat) - 1 - np.argmax(flat[::-1]), kernel)
        dx[n, c, i * stride[0] + k[0], j * stride[1] + k[1]] += dout[n, c, i, j]
    return dx


@maxpool.wrong(r"every position of a window, as for a mean")
def maxpool_as_if_it_averaged(dout, x, kernel, stride):
    dx = np.zeros_like(x)
    for n, c, i, j in np.ndindex(*dout.shape):
        r, s = _at(i, j, kernel, stride)
        dx[n, c, r, s] += dout[n, c, i, j] / (kernel[0] * kernel[1])
    return dx


@maxpool.wrong(r"stride is forgotten")
def maxpool_that_forgets_the_stride(dout, x, kernel, stride):
    dx = np.zeros_like(x)
    for n, c, i, j in np.ndindex(*dout.shape):
        r, s = _at(i, j, kernel, (1, 1))
        window = x[n, c, r, s]
        k = np.unravel_index(window.argmax(), window.shape)
        dx[n, c, i + k[0], j + k[1]] += dout[n, c, i, j]
    return dx


@maxpool.right
def maxpool_by_argmax(dout, x, kernel, stride):
    dx = np.zeros_like(x)
    for n, c, i, j in np.ndindex(*dout.shape):
        r, s = _at(i, j, kernel, stride)
        mask = np.zeros(kernel[0] * kernel[1])
        mask[np.argmax(x[n, c, r, s])] = 1
        dx[n, c, r, s] += mask.reshape(kernel) * dout[n, c, i, j]
    return dx


@maxpool.right
def maxpool_by_windows(dout, x, kernel, stride):
    from numpy.lib.stride_tricks import sliding_window_view

    windows = sliding_window_view(x, kernel, axis=(2, 3))[:, :, :: stride[0], :: stride[1]]
    first = windows.reshape(*windows.shape[:4], -1).argmax(-1)
    n, c, i, j = np.indices(first.shape)
    dx = np.zeros_like(x)
    np.add.at(dx, (n, c, i * stride[0] + first // kernel[1], j * stride[1] + first % kernel[1]), dout)
    return dx


_more = [
    Case(AvgPool2d((2, 3), stride=1), normal(2, 2, 4, 5), id="stride-one"),
    Case(AvgPool2d(3, stride=2), normal(2, 3, 7, 5), id="stride-two"),
]
avgpool = Exercise("AvgPool2d", "touching single-values", _pool, _more)


@avgpool.wrong(r"the product of kernel_size times")
def avgpool_without_the_division(dout, x, kernel, stride):
    dx = np.zeros_like(x)
    for n, c, i, j in np.ndindex(*dout.shape):
        r, s = _at(i, j, kernel, stride)
        dx[n, c, r, s] += dout[n, c, i, j]
    return dx


@avgpool.wrong(r"overwritten.*window \(they overlap\)")
def avgpool_that_overwrites(dout, x, kernel, stride):
    dx = np.zeros_like(x)
    for i in range(dout.shape[2]):
        for j in range(dout.shape[3]):
            r, s = _at(i, j, kernel, stride)
            dx[:, :, r, s] = dout[:, :, i, j][:, :, None, None] / (kernel[0] * kernel[1])
    return dx


@avgpool.wrong(r"kernel_size\[1\] times")
def avgpool_divided_by_one_side(dout, x, kernel, stride):
    dx = np.zeros_like(x)
    for n, c, i, j in np.ndindex(*dout.shape):
        r, s = _at(i, j, kernel, stride)
        dx[n, c, r, s] += dout[n, c, i, j] / kernel[0]
    return dx


@avgpool.right
def avgpool_tap_by_tap(dout, x, kernel, stride):
    dx = np.zeros_like(x)
    H, W = dout.shape[2:]
    for a in range(kernel[0]):
        for b in range(kernel[1]):
            dx[:, :, a : a + H * stride[0] : stride[0], b : b + W * stride[1] : stride[1]] += dout
    return dx / np.prod(kernel)


# Conv1d, with dilation -------------------------------------------------------------------------------------------------


def _conv1d(f, layer, state, inputs, dys):
    dx, dw = f(dys[0], inputs[0], state["weight"], layer.stride, layer.dilation)
    return {"x": dx, "weight": dw}


_more = [
    Case(Conv1d(2, 3, 3), normal(2, 2, 7), id="dense"),
    Case(Conv1d(2, 3, 3, dilation=2), normal(3, 2, 9), id="dilated"),
    Case(Conv1d(3, 2, 2, stride=2, dilation=3), normal(2, 3, 10), id="strided"),
]
conv1d = Exercise("Conv1d", "plain one-tap", _conv1d, _more)


@conv1d.wrong(r"dilation is forgotten")
def conv1d_without_dilation(dout, x, w, stride, dilation):
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for i in range(dout.shape[2]):
        for t in range(w.shape[2]):
            dx[:, :, i * stride + t] += dout[:, :, i] @ w[:, :, t]
            dw[:, :, t] += dout[:, :, i].T @ x[:, :, i * stride + t]
    return dx, dw


@conv1d.wrong(r"weight ignores the upstream gradient")
def conv1d_weights_of_ones(dout, x, w, stride, dilation):
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for i in range(dout.shape[2]):
        for t in range(w.shape[2]):
            dx[:, :, i * stride + t * dilation] += dout[:, :, i] @ w[:, :, t]
            dw[:, :, t] += x[:, :, i * stride + t * dilation].sum(0)
    return dx, dw


@conv1d.right
def conv1d_with_loops(dout, x, w, stride, dilation):
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for n, o, i in np.ndindex(*dout.shape):
        for t in range(w.shape[2]):
            dx[n, :, i * stride + t * dilation] += dout[n, o, i] * w[o, :, t]
            dw[o, :, t] += dout[n, o, i] * x[n, :, i * stride + t * dilation]
    return dx, dw
