"""Assignment 1: linear classifiers, with loops and without; here the regulariser is reg times the sum of squares."""

import numpy as np


def svm_loss_naive(W, X, y, reg):
    dW = np.zeros(W.shape)
    loss = 0.0
    for i in range(X.shape[0]):
        scores = X[i].dot(W)
        for j in range(W.shape[1]):
            if j == y[i]:
                continue
            margin = scores[j] - scores[y[i]] + 1
            if margin > 0:
                loss += margin
                dW[:, j] += X[i]
                dW[:, y[i]] -= X[i]
    loss = loss / X.shape[0] + reg * np.sum(W * W)
    dW = dW / X.shape[0] + 2 * reg * W
    return loss, dW


def svm_loss_vectorized(W, X, y, reg):
    n = X.shape[0]
    scores = X.dot(W)
    margins = np.maximum(0, scores - scores[range(n), y][:, None] + 1)
    margins[range(n), y] = 0
    counts = (margins > 0).astype(float)
    counts[range(n), y] = -counts.sum(axis=1)
    loss = margins.sum() / n + reg * np.sum(W**2)
    dW = X.T.dot(counts) / n + 2 * reg * W
    return loss, dW


def softmax_loss_naive(W, X, y, reg):
    loss, dW = 0.0, np.zeros_like(W)
    n, c = X.shape[0], W.shape[1]
    for i in range(n):
        scores = X[i].dot(W)
        scores = scores - scores.max()
        total = np.exp(scores).sum()
        loss += np.log(total) - scores[y[i]]
        for j in range(c):
            dW[:, j] += (np.exp(scores[j]) / total - (j == y[i])) * X[i]
    loss = loss / n + reg * np.sum(W * W)
    dW = dW / n + 2 * reg * W
    return loss, dW


def softmax_loss_vectorized(W, X, y, reg):
    n = X.shape[0]
    scores = X.dot(W)
    scores -= scores.max(axis=1, keepdims=True)
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    loss = (np.log(np.exp(scores).sum(axis=1)) - scores[range(n), y]).mean() + reg * np.sum(W * W)
    p[range(n), y] -= 1
    dW = X.T.dot(p) / n + 2 * reg * W
    return loss, dW
