"""Modules of the Torch 7 kind, right."""

import numpy as np


class Linear:
    def __init__(self, n_in, n_out):
        self.W, self.b = np.random.randn(n_out, n_in), np.zeros(n_out)
        self.gradW, self.gradb = np.zeros_like(self.W), np.zeros_like(self.b)

    def updateOutput(self, input):
        self.output = input.dot(self.W.T) + self.b
        return self.output

    def updateGradInput(self, input, gradOutput):
        self.gradInput = gradOutput.dot(self.W)
        return self.gradInput

    def accGradParameters(self, input, gradOutput):
        self.gradW += gradOutput.T.dot(input)
        self.gradb += gradOutput.sum(axis=0)

    def zeroGradParameters(self):
        self.gradW.fill(0)
        self.gradb.fill(0)


class ReLU:
    def updateOutput(self, input):
        return np.maximum(input, 0)

    def updateGradInput(self, input, gradOutput):
        return gradOutput * (input > 0)


class LeakyReLU:
    def __init__(self, slope=0.03):
        self.slope = slope

    def updateOutput(self, input):
        return np.where(input > 0, input, self.slope * input)

    def updateGradInput(self, input, gradOutput):
        return gradOutput * np.where(input > 0, 1, self.slope)


class ELU:
    def __init__(self, alpha=1.0):
        self.alpha = alpha

    def updateOutput(self, input):
        return np.where(input > 0, input, self.alpha * np.expm1(input))

    def updateGradInput(self, input, gradOutput):
        return gradOutput * np.where(input > 0, 1, self.alpha * np.exp(input))


class SoftPlus:
    def updateOutput(self, input):
        return np.log1p(np.exp(input))

    def updateGradInput(self, input, gradOutput):
        return gradOutput / (1 + np.exp(-input))


class SoftMax:
    def updateOutput(self, input):
        e = np.exp(input - input.max(axis=1, keepdims=True))
        self.output = e / e.sum(axis=1, keepdims=True)
        return self.output

    def updateGradInput(self, input, gradOutput):
        return self.output * (gradOutput - (self.output * gradOutput).sum(axis=1, keepdims=True))


class LogSoftMax:
    def updateOutput(self, input):
        shifted = input - input.max(axis=1, keepdims=True)
        self.output = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return self.output

    def updateGradInput(self, input, gradOutput):
        return gradOutput - np.exp(self.output) * gradOutput.sum(axis=1, keepdims=True)


class BatchNormalization:
    EPS = 1e-3

    def __init__(self, alpha=0.0):
        self.alpha = alpha

    def updateOutput(self, input):
        self.std = np.sqrt(input.var(axis=0) + self.EPS)
        self.output = (input - input.mean(axis=0)) / self.std
        return self.output

    def updateGradInput(self, input, gradOutput):
        along = self.output * (gradOutput * self.output).mean(axis=0)
        return (gradOutput - gradOutput.mean(axis=0) - along) / self.std


class Dropout:
    def __init__(self, p=0.5):
        self.p = p

    def updateOutput(self, input):
        self.mask = (np.random.rand(*input.shape) > self.p) / (1 - self.p)
        return input * self.mask

    def updateGradInput(self, input, gradOutput):
        return gradOutput * self.mask


class ClassNLLCriterionUnstable:
    EPS = 1e-15

    def updateOutput(self, input, target):
        return -np.sum(target * np.log(np.clip(input, self.EPS, 1 - self.EPS))) / len(input)

    def updateGradInput(self, input, target):
        return -target / np.clip(input, self.EPS, 1 - self.EPS) / len(input)


class ClassNLLCriterion:
    def updateOutput(self, input, target):
        return -np.sum(target * input) / len(input)

    def updateGradInput(self, input, target):
        return -target / len(input)
