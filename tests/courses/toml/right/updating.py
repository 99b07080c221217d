"""Layers that take the step in backward, right."""

import copy

import numpy as np


class Dense:
    def __init__(self, n_in, n_out, learning_rate=0.1):
        self.learning_rate = learning_rate
        self.weights = np.random.randn(n_in, n_out) * 0.01
        self.biases = np.zeros(n_out)

    def forward(self, input):
        return input @ self.weights + self.biases

    def backward(self, input, grad_output):
        grad_input = grad_output @ self.weights.T
        self.weights = self.weights - self.learning_rate * (input.T @ grad_output)
        self.biases = self.biases - self.learning_rate * grad_output.sum(axis=0)
        return grad_input


class DenseLayer:
    def __init__(self, n_units, input_shape):
        self.n_units, self.input_shape = n_units, input_shape

    def initialize(self, optimizer):
        self.W = np.random.randn(self.input_shape[0], self.n_units)
        self.w0 = np.zeros((1, self.n_units))
        self.W_opt, self.w0_opt = copy.copy(optimizer), copy.copy(optimizer)

    def forward_pass(self, X, training=True):
        self.X = X
        return X @ self.W + self.w0

    def backward_pass(self, accum_grad):
        W = self.W
        self.W = self.W_opt.update(self.W, self.X.T @ accum_grad)
        self.w0 = self.w0_opt.update(self.w0, accum_grad.sum(axis=0, keepdims=True))
        return accum_grad @ W.T


class ReLU:
    def forward(self, input):
        return np.maximum(input, 0)

    def backward(self, input, grad_output):
        return grad_output * (input > 0)


class Softmax:
    def forward(self, input):
        e = np.exp(input - input.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True)

    def backward(self, input, grad_output):
        y = self.forward(input)
        return y * (grad_output - (y * grad_output).sum(axis=-1, keepdims=True))
