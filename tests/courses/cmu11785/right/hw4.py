"""HW4P1: attention, out of linear layers of any number of axes."""

import numpy as np


class Linear:
    def __init__(self, in_features, out_features):
        self.in_features = in_features
        self.out_features = out_features

    def init_weights(self, W, b):
        self.W = W
        self.b = b

    def forward(self, A):
        self.A = A
        return np.matmul(A, self.W.T) + self.b

    def backward(self, dLdZ):
        rows = dLdZ.reshape(-1, self.out_features)
        self.dLdA = np.matmul(dLdZ, self.W)
        self.dLdW = rows.T @ self.A.reshape(-1, self.in_features)
        self.dLdb = rows.sum(axis=0)
        return self.dLdA


class Softmax:
    def __init__(self, dim=-1):
        self.dim = dim

    def forward(self, Z):
        E = np.exp(Z - Z.max(axis=self.dim, keepdims=True))
        self.A = E / E.sum(axis=self.dim, keepdims=True)
        return self.A

    def backward(self, dLdA):
        A = np.moveaxis(self.A, self.dim, -1)
        upstream = np.moveaxis(dLdA, self.dim, -1)
        rows, d = A.reshape(-1, A.shape[-1]), upstream.reshape(-1, A.shape[-1])
        dLdZ = np.zeros_like(rows)
        for i in range(len(rows)):
            J = np.diag(rows[i]) - np.outer(rows[i], rows[i])
            dLdZ[i] = J @ d[i]
        return np.moveaxis(dLdZ.reshape(A.shape), -1, self.dim)


class ScaledDotProductAttention:
    def __init__(self):
        self.eps = 1e10
        self.softmax = Softmax(dim=-1)

    def forward(self, Q, K, V, mask=None):
        self.Q, self.K, self.V = Q, K, V
        scores = Q @ np.swapaxes(K, -1, -2) / np.sqrt(Q.shape[-1])
        if mask is not None:
            scores = scores - self.eps * mask
        self.attention_scores = self.softmax.forward(scores)
        return self.attention_scores @ V

    def backward(self, d_output):
        d_V = np.swapaxes(self.attention_scores, -1, -2) @ d_output
        d_scores = self.softmax.backward(d_output @ np.swapaxes(self.V, -1, -2)) / np.sqrt(self.Q.shape[-1])
        d_Q = d_scores @ self.K
        d_K = np.swapaxes(d_scores, -1, -2) @ self.Q
        return d_Q, d_K, d_V


class MultiHeadAttention:
    def __init__(self, embed_dim, num_heads):
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.attention = ScaledDotProductAttention()
        self.q_proj = Linear(embed_dim, embed_dim)
        self.k_proj = Linear(embed_dim, embed_dim)
        self.v_proj = Linear(embed_dim, embed_dim)
        self.out_proj = Linear(embed_dim, embed_dim)

    def init_weights(self, Wq, bq, Wk, bk, Wv, bv, Wo, bo):
        self.q_proj.init_weights(Wq, bq)
        self.k_proj.init_weights(Wk, bk)
        self.v_proj.init_weights(Wv, bv)
        self.out_proj.init_weights(Wo, bo)

    def forward(self, query, key, value, key_padding_mask=None, attn_mask=None):
        q = self._split_heads(self.q_proj.forward(query))
        k = self._split_heads(self.k_proj.forward(key))
        v = self._split_heads(self.v_proj.forward(value))
        mask = self._merge_masks(key_padding_mask, attn_mask)
        return self.out_proj.forward(self._concat_heads(self.attention.forward(q, k, v, mask)))

    def backward(self, d_output):
        d_heads = self._split_heads(self.out_proj.backward(d_output))
        d_q, d_k, d_v = self.attention.backward(d_heads)
        d_q = self.q_proj.backward(self._concat_heads(d_q))
        d_k = self.k_proj.backward(self._concat_heads(d_k))
        d_v = self.v_proj.backward(self._concat_heads(d_v))
        return d_q, d_k, d_v

    def _merge_masks(self, key_padding_mask, attn_mask):
        if key_padding_mask is None or attn_mask is None:
            return attn_mask if key_padding_mask is None else key_padding_mask[:, None, None, :]
        return key_padding_mask[:, None, None, :] | attn_mask[None, None, :, :]

    def _split_heads(self, x):
        N, L, E = x.shape
        return x.reshape(N, L, self.num_heads, E // self.num_heads).transpose(0, 2, 1, 3)

    def _concat_heads(self, x):
        N, H, L, D = x.shape
        return x.transpose(0, 2, 1, 3).reshape(N, L, H * D)
