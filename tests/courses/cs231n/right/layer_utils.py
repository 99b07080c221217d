"""What the course gives: layers that come together."""

from layers import (
    affine_backward,
    affine_forward,
    batchnorm_backward,
    batchnorm_forward,
    conv_backward_naive,
    conv_forward_naive,
    max_pool_backward_naive,
    max_pool_forward_naive,
    relu_backward,
    relu_forward,
    spatial_batchnorm_backward,
    spatial_batchnorm_forward,
)


def affine_relu_forward(x, w, b):
    a, fc_cache = affine_forward(x, w, b)
    out, relu_cache = relu_forward(a)
    return out, (fc_cache, relu_cache)


def affine_relu_backward(dout, cache):
    fc_cache, relu_cache = cache
    return affine_backward(relu_backward(dout, relu_cache), fc_cache)


def conv_relu_forward(x, w, b, conv_param):
    a, conv_cache = conv_forward_naive(x, w, b, conv_param)
    out, relu_cache = relu_forward(a)
    return out, (conv_cache, relu_cache)


def conv_relu_backward(dout, cache):
    conv_cache, relu_cache = cache
    return conv_backward_naive(relu_backward(dout, relu_cache), conv_cache)


def conv_relu_pool_forward(x, w, b, conv_param, pool_param):
    s, cache = conv_relu_forward(x, w, b, conv_param)
    out, pool_cache = max_pool_forward_naive(s, pool_param)
    return out, (cache, pool_cache)


def conv_relu_pool_backward(dout, cache):
    inner, pool_cache = cache
    return conv_relu_backward(max_pool_backward_naive(dout, pool_cache), inner)


def affine_bn_relu_forward(x, w, b, gamma, beta, bn_param):
    a, fc = affine_forward(x, w, b)
    n, bn = batchnorm_forward(a, gamma, beta, bn_param)
    out, relu = relu_forward(n)
    return out, (fc, bn, relu)


def affine_bn_relu_backward(dout, cache):
    fc, bn, relu = cache
    da, dgamma, dbeta = batchnorm_backward(relu_backward(dout, relu), bn)
    return *affine_backward(da, fc), dgamma, dbeta


def conv_bn_relu_forward(x, w, b, gamma, beta, conv_param, bn_param):
    a, conv = conv_forward_naive(x, w, b, conv_param)
    n, bn = spatial_batchnorm_forward(a, gamma, beta, bn_param)
    out, relu = relu_forward(n)
    return out, (conv, bn, relu)


def conv_bn_relu_backward(dout, cache):
    conv, bn, relu = cache
    da, dgamma, dbeta = spatial_batchnorm_backward(relu_backward(dout, relu), bn)
    return *conv_backward_naive(da, conv), dgamma, dbeta
