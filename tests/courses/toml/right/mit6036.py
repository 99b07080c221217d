"""Modules on columns, right."""

import numpy as np


class Linear:
    def __init__(self, m, n):
        self.W, self.W0 = np.random.randn(m, n), np.zeros((n, 1))

    def forward(self, A):
        self.A = A
        return self.W.T @ A + self.W0

    def backward(self, dLdZ):
        self.dLdW = self.A @ dLdZ.T
        self.dLdW0 = dLdZ.sum(axis=1, keepdims=True)
        return self.W @ dLdZ


class Tanh:
    def forward(self, Z):
        self.A = np.tanh(Z)
        return self.A

    def backward(self, dLdA):
        return (1 - self.A**2) * dLdA


class ReLU:
    def forward(self, Z):
        self.A = np.maximum(Z, 0)
        return self.A

    def backward(self, dLdA):
        return dLdA * (self.A > 0)


class BatchNorm:
    def __init__(self, m):
        self.eps = 1e-20
        self.B, self.G = np.zeros((m, 1)), np.random.randn(m, 1)

    def forward(self, A):
        self.std = np.sqrt(A.var(axis=1, keepdims=True) + self.eps)
        self.norm = (A - A.mean(axis=1, keepdims=True)) / self.std
        return self.G * self.norm + self.B

    def backward(self, dLdZ):
        self.dLdB, self.dLdG = dLdZ.sum(axis=1, keepdims=True), (dLdZ * self.norm).sum(axis=1, keepdims=True)
        d = self.G * dLdZ
        along = self.norm * (d * self.norm).mean(axis=1, keepdims=True)
        return (d - d.mean(axis=1, keepdims=True) - along) / self.std


class SoftMax:
    def forward(self, Z):
        e = np.exp(Z - Z.max(axis=0))
        return e / e.sum(axis=0)

    def backward(self, dLdZ):
        return dLdZ


class NLL:
    def forward(self, Ypred, Y):
        self.Ypred, self.Y = Ypred, Y
        return -np.sum(Y * np.log(Ypred))

    def backward(self):
        return self.Ypred - self.Y
