"""The regression with columns and other names, right; what trains it stands around it."""

import numpy as np

X_train = np.genfromtxt("X_train", delimiter=",", skip_header=1)
Y_train = np.genfromtxt("Y_train", delimiter=",", skip_header=1)


def _sigmoid(z):
    return np.clip(1 / (1.0 + np.exp(-z)), 1e-6, 1 - 1e-6)


def get_prob(X, w, b):
    return _sigmoid(X @ w + b)


def _cross_entropy(y_pred, Y_label):
    return (-(Y_label.T @ np.log(y_pred)) - (1 - Y_label).T @ np.log(1 - y_pred))[0][0]


def _gradient(X, Y_label, w, b):
    pred_error = Y_label - get_prob(X, w, b)
    return -np.mean(pred_error * X, axis=0)[:, None], -np.mean(pred_error)


w = np.zeros((X_train.shape[1], 1))
for _ in range(10):
    w -= 0.1 * _gradient(X_train, Y_train, w, 0)[0]
