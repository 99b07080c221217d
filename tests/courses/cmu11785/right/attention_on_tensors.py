"""The attention of 2022 and 2023, on torch tensors and without autograd."""

import math

import torch


class Softmax:
    def forward(self, Z):
        E = torch.exp(Z - Z.max(dim=2, keepdim=True).values)
        self.A = E / E.sum(dim=2, keepdim=True)
        return self.A

    def backward(self, dLdA):
        J = torch.diag_embed(self.A) - self.A.unsqueeze(3) * self.A.unsqueeze(2)
        return (dLdA.unsqueeze(2) @ J).squeeze(2)


class Attention:
    def __init__(self, weights_keys, weights_queries, weights_values):
        self.W_k = weights_keys
        self.W_q = weights_queries
        self.W_v = weights_values
        self.softmax = Softmax()

    def forward(self, X):
        self.X = X
        self.Q, self.K, self.V = X @ self.W_q, X @ self.W_k, X @ self.W_v
        A_w = self.Q @ self.K.transpose(1, 2) / math.sqrt(self.K.shape[2])
        T = X.shape[1]
        future = torch.triu(torch.ones(T, T, dtype=torch.bool), diagonal=1)
        self.A_sig = self.softmax.forward(A_w.masked_fill(future, float("-inf")))
        return self.A_sig @ self.V

    def backward(self, dLdXnew):
        dLdA_sig = dLdXnew @ self.V.transpose(1, 2)
        dLdA_w = self.softmax.backward(dLdA_sig) / math.sqrt(self.K.shape[2])
        self.dLdV = self.A_sig.transpose(1, 2) @ dLdXnew
        self.dLdK = dLdA_w.transpose(1, 2) @ self.Q
        self.dLdQ = dLdA_w @ self.K
        self.dLdWq = (self.X.transpose(1, 2) @ self.dLdQ).sum(dim=0)
        self.dLdWv = (self.X.transpose(1, 2) @ self.dLdV).sum(dim=0)
        self.dLdWk = (self.X.transpose(1, 2) @ self.dLdK).sum(dim=0)
        return self.dLdV @ self.W_v.T + self.dLdK @ self.W_k.T + self.dLdQ @ self.W_q.T
