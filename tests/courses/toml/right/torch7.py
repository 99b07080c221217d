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


class ClassNLLCriterion:
    def updateOutput(self, input, target):
        return -np.sum(target * input) / len(input)

    def updateGradInput(self, input, target):
        return -target / len(input)
