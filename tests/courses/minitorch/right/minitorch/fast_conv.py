"""Convolutions that keep the size, right."""

import numpy as np

from .tensor_functions import Function, Tensor


def spread(x, sizes):
    """Zeros after the end, so that a window fits everywhere."""
    return np.pad(x, [(0, 0), (0, 0)] + [(0, n - 1) for n in sizes])


class Conv1dFun(Function):
    @staticmethod
    def forward(ctx, input, weight):
        x, w = input.values, weight.values
        ctx.save_for_backward(x, w)
        width = x.shape[2]
        wide = spread(x, w.shape[2:])
        return Tensor(sum(np.einsum("ncw,oc->now", wide[:, :, k : k + width], w[:, :, k]) for k in range(w.shape[2])))

    @staticmethod
    def backward(ctx, grad_output):
        x, w = ctx.saved_values
        d, width = grad_output.values, x.shape[2]
        wide = spread(x, w.shape[2:])
        dx, dw = np.zeros_like(wide), np.zeros_like(w)
        for k in range(w.shape[2]):
            dx[:, :, k : k + width] += np.einsum("now,oc->ncw", d, w[:, :, k])
            dw[:, :, k] = np.einsum("now,ncw->oc", d, wide[:, :, k : k + width])
        return Tensor(dx[:, :, :width]), Tensor(dw)


class Conv2dFun(Function):
    @staticmethod
    def forward(ctx, input, weight):
        x, w = input.values, weight.values
        ctx.save_for_backward(x, w)
        return Tensor(sum(np.einsum("nchw,oc->nohw", part, w[:, :, i, j]) for i, j, part in Conv2dFun.parts(x, w)))

    @staticmethod
    def parts(x, w):
        h, width = x.shape[2:]
        wide = spread(x, w.shape[2:])
        for i in range(w.shape[2]):
            for j in range(w.shape[3]):
                yield i, j, wide[:, :, i : i + h, j : j + width]

    @staticmethod
    def backward(ctx, grad_output):
        x, w = ctx.saved_values
        d, (h, width) = grad_output.values, x.shape[2:]
        dx, dw = np.zeros_like(spread(x, w.shape[2:])), np.zeros_like(w)
        for i, j, part in Conv2dFun.parts(x, w):
            dw[:, :, i, j] = np.einsum("nohw,nchw->oc", d, part)
            dx[:, :, i : i + h, j : j + width] += np.einsum("nohw,oc->nchw", d, w[:, :, i, j])
        return Tensor(dx[:, :, :h, :width]), Tensor(dw)
