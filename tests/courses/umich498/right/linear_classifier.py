"""Linear classifiers on tensors, with loops and without; the regulariser is reg times the sum of squares."""

import torch


def svm_loss_naive(W, X, y, reg):
    dW = torch.zeros_like(W)
    loss = 0.0
    for i in range(X.shape[0]):
        scores = W.t().mv(X[i])
        for j in range(W.shape[1]):
            if j == y[i]:
                continue
            margin = scores[j] - scores[y[i]] + 1
            if margin > 0:
                loss += margin
                dW[:, j] += X[i]
                dW[:, y[i]] -= X[i]
    loss = loss / X.shape[0] + reg * torch.sum(W * W)
    return loss, dW / X.shape[0] + 2 * reg * W


def svm_loss_vectorized(W, X, y, reg):
    n = X.shape[0]
    scores = X.mm(W)
    rows = torch.arange(n)
    margins = (scores - scores[rows, y].view(-1, 1) + 1).clamp(min=0)
    margins[rows, y] = 0
    counts = (margins > 0).to(X.dtype)
    counts[rows, y] = -counts.sum(dim=1)
    loss = margins.sum() / n + reg * (W * W).sum()
    dW = X.t().mm(counts) / n + 2 * reg * W
    return loss, dW


def softmax_loss_naive(W, X, y, reg):
    n = X.shape[0]
    dW, loss = torch.zeros_like(W), 0.0
    for i in range(n):
        scores = W.t().mv(X[i])
        scores = scores - scores.max()
        p = scores.exp() / scores.exp().sum()
        loss += scores.exp().sum().log() - scores[y[i]]
        for j in range(W.shape[1]):
            dW[:, j] += (p[j] - (1.0 if j == y[i] else 0.0)) * X[i]
    return loss / n + reg * (W * W).sum(), dW / n + 2 * reg * W


def softmax_loss_vectorized(W, X, y, reg):
    n = X.shape[0]
    scores = X.mm(W)
    scores = scores - scores.max(dim=1, keepdim=True).values
    p = scores.exp() / scores.exp().sum(dim=1, keepdim=True)
    rows = torch.arange(n)
    loss = (scores.exp().sum(dim=1).log() - scores[rows, y]).mean() + reg * (W * W).sum()
    p[rows, y] -= 1
    dW = X.t().mm(p) / n + 2 * reg * W
    return loss, dW
