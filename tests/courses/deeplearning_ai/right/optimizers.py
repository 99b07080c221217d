"""Course 1 and 2: steps of an optimizer, parameters and gradients in dicts."""

import copy

import numpy as np


def update_parameters(params, grads, learning_rate):
    parameters = copy.deepcopy(params)
    L = len(parameters) // 2
    for layer in range(L):
        for letter in "Wb":
            name = letter + str(layer + 1)
            parameters[name] = parameters[name] - learning_rate * grads["d" + name]
    return parameters


def update_parameters_with_gd(parameters, grads, learning_rate):
    for name in parameters:
        parameters[name] = parameters[name] - learning_rate * grads["d" + name]
    return parameters


def initialize_velocity(parameters):
    return {"d" + name: np.zeros(value.shape) for name, value in parameters.items()}


def update_parameters_with_momentum(parameters, grads, v, beta, learning_rate):
    for name in parameters:
        d = "d" + name
        v[d] = beta * v[d] + (1 - beta) * grads[d]
        parameters[name] = parameters[name] - learning_rate * v[d]
    return parameters, v


def update_parameters_with_adam(parameters, grads, v, s, t, learning_rate=0.01, beta1=0.9, beta2=0.999, epsilon=1e-8):
    v_corrected, s_corrected = {}, {}
    for name in parameters:
        d = "d" + name
        v[d] = beta1 * v[d] + (1 - beta1) * grads[d]
        v_corrected[d] = v[d] / (1 - beta1**t)
        s[d] = beta2 * s[d] + (1 - beta2) * grads[d] ** 2
        s_corrected[d] = s[d] / (1 - beta2**t)
        step = v_corrected[d] / (np.sqrt(s_corrected[d]) + epsilon)
        parameters[name] = parameters[name] - learning_rate * step
    return parameters, v, s, v_corrected, s_corrected
