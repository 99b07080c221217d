"""Layers that return nothing, right."""

import numpy as np


class Layer_Dense:  # noqa: N801  # the course calls it so
    def __init__(self, n_inputs, n_neurons):
        self.weights = 0.01 * np.random.randn(n_inputs, n_neurons)
        self.biases = np.zeros((1, n_neurons))

    def forward(self, inputs):
        self.inputs = inputs
        self.output = inputs @ self.weights + self.biases

    def backward(self, dvalues):
        self.dweights = self.inputs.T @ dvalues
        self.dbiases = dvalues.sum(axis=0, keepdims=True)
        self.dinputs = dvalues @ self.weights.T


class Activation_ReLU:  # noqa: N801  # the course calls it so
    def forward(self, inputs):
        self.inputs = inputs
        self.output = np.where(inputs > 0, inputs, 0)

    def backward(self, dvalues):
        self.dinputs = np.where(self.inputs > 0, dvalues, 0)


class Activation_Softmax:  # noqa: N801  # the course calls it so
    def forward(self, inputs):
        e = np.exp(inputs - inputs.max(axis=1, keepdims=True))
        self.output = e / e.sum(axis=1, keepdims=True)

    def backward(self, dvalues):
        rows = []
        for y, d in zip(self.output, dvalues, strict=True):
            jacobian = np.diag(y) - np.outer(y, y)
            rows.append(jacobian @ d)
        self.dinputs = np.array(rows)
