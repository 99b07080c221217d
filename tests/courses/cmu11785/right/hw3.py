"""HW3P1: recurrent cells and CTC."""

import numpy as np


class Sigmoid:
    def forward(self, Z):
        self.A = 1 / (1 + np.exp(-Z))
        return self.A

    def backward(self, dLdA):
        return dLdA * self.A * (1 - self.A)


class Tanh:
    def forward(self, Z):
        self.A = np.tanh(Z)
        return self.A

    def __call__(self, Z):
        return self.forward(Z)

    def backward(self, dLdA, state=None):
        A = self.A if state is None else state
        return dLdA * (1 - A**2)


class RNNCell:
    def __init__(self, input_size, hidden_size):
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.activation = Tanh()
        h, d = hidden_size, input_size
        self.W_ih, self.W_hh = np.random.randn(h, d), np.random.randn(h, h)
        self.b_ih, self.b_hh = np.random.randn(h), np.random.randn(h)
        self.zero_grad()

    def zero_grad(self):
        h, d = self.hidden_size, self.input_size
        self.dW_ih, self.dW_hh = np.zeros((h, d)), np.zeros((h, h))
        self.db_ih, self.db_hh = np.zeros(h), np.zeros(h)

    def __call__(self, x, h_prev_t):
        return self.forward(x, h_prev_t)

    def forward(self, x, h_prev_t):
        from_input = np.dot(x, self.W_ih.T) + self.b_ih
        from_state = np.dot(h_prev_t, self.W_hh.T) + self.b_hh
        return self.activation(from_input + from_state)

    def backward(self, delta, h_t, h_prev_l, h_prev_t):
        batch_size = delta.shape[0]
        dz = self.activation.backward(delta, state=h_t)
        self.dW_ih += dz.T @ h_prev_l / batch_size
        self.dW_hh += dz.T @ h_prev_t / batch_size
        self.db_ih += np.sum(dz, axis=0) / batch_size
        self.db_hh += np.sum(dz, axis=0) / batch_size
        dx = dz @ self.W_ih
        dh_prev_t = dz @ self.W_hh
        return dx, dh_prev_t


class GRUCell:
    def __init__(self, input_size, hidden_size):
        self.d = input_size
        self.h = hidden_size
        h, d = self.h, self.d
        for gate in "rzn":
            setattr(self, f"W{gate}x", np.random.randn(h, d))
            setattr(self, f"W{gate}h", np.random.randn(h, h))
            setattr(self, f"b{gate}x", np.random.randn(h))
            setattr(self, f"b{gate}h", np.random.randn(h))
        self.r_act = Sigmoid()
        self.z_act = Sigmoid()
        self.h_act = Tanh()

    def forward(self, x, h_prev_t):
        self.x = x
        self.hidden = h_prev_t
        self.r = self.r_act.forward(self.Wrx @ x + self.brx + self.Wrh @ h_prev_t + self.brh)
        self.z = self.z_act.forward(self.Wzx @ x + self.bzx + self.Wzh @ h_prev_t + self.bzh)
        self.inner = self.Wnh @ h_prev_t + self.bnh
        self.n = self.h_act.forward(self.Wnx @ x + self.bnx + self.r * self.inner)
        return (1 - self.z) * self.n + self.z * h_prev_t

    def backward(self, delta):
        dz = delta * (self.hidden - self.n)
        dn = delta * (1 - self.z)
        dh_prev_t = delta * self.z
        dn_in = self.h_act.backward(dn)
        dr = dn_in * self.inner
        dz_in = self.z_act.backward(dz)
        dr_in = self.r_act.backward(dr)

        self.dWnx = np.outer(dn_in, self.x)
        self.dbnx = dn_in
        self.dWnh = np.outer(dn_in * self.r, self.hidden)
        self.dbnh = dn_in * self.r
        self.dWzx = np.outer(dz_in, self.x)
        self.dbzx = dz_in
        self.dWzh = np.outer(dz_in, self.hidden)
        self.dbzh = dz_in
        self.dWrx = np.outer(dr_in, self.x)
        self.dbrx = dr_in
        self.dWrh = np.outer(dr_in, self.hidden)
        self.dbrh = dr_in

        dx = dn_in @ self.Wnx + dz_in @ self.Wzx + dr_in @ self.Wrx
        dh_prev_t = dh_prev_t + (dn_in * self.r) @ self.Wnh + dz_in @ self.Wzh + dr_in @ self.Wrh
        return dx, dh_prev_t


class CTC:
    def __init__(self, BLANK=0):
        self.BLANK = BLANK

    def extend_target_with_blank(self, target):
        extended, skip = [self.BLANK], [0]
        for i, symbol in enumerate(target):
            extended += [int(symbol), self.BLANK]
            skip += [int(i > 0 and symbol != target[i - 1]), 0]
        return np.array(extended), np.array(skip)

    def get_forward_probs(self, logits, extended, skip):
        S, T = len(extended), len(logits)
        alpha = np.zeros((T, S))
        alpha[0, :2] = logits[0, extended[:2]]
        for t in range(1, T):
            for s in range(S):
                total = alpha[t - 1, s]
                if s > 0:
                    total += alpha[t - 1, s - 1]
                if s > 1 and skip[s]:
                    total += alpha[t - 1, s - 2]
                alpha[t, s] = total * logits[t, extended[s]]
        return alpha

    def get_backward_probs(self, logits, extended, skip):
        S, T = len(extended), len(logits)
        beta = np.zeros((T, S))
        beta[T - 1, -2:] = 1
        for t in range(T - 2, -1, -1):
            ahead = beta[t + 1] * logits[t + 1, extended]
            for s in range(S):
                beta[t, s] = ahead[s]
                if s < S - 1:
                    beta[t, s] += ahead[s + 1]
                if s < S - 2 and skip[s + 2]:
                    beta[t, s] += ahead[s + 2]
        return beta

    def get_posterior_probs(self, alpha, beta):
        product = alpha * beta
        return product / product.sum(axis=1, keepdims=True)


class CTCLoss:
    def __init__(self, BLANK=0):
        self.BLANK = BLANK
        self.ctc = CTC(BLANK)

    def __call__(self, logits, target, input_lengths, target_lengths):
        return self.forward(logits, target, input_lengths, target_lengths)

    def forward(self, logits, target, input_lengths, target_lengths):
        self.logits, self.target = logits, target
        self.input_lengths, self.target_lengths = input_lengths, target_lengths
        self.gammas, self.extended_symbols = [], []
        B = target.shape[0]
        total_loss = np.zeros(B)
        for b in range(B):
            y = logits[: input_lengths[b], b]
            extended, skip = self.ctc.extend_target_with_blank(target[b, : target_lengths[b]])
            alpha = self.ctc.get_forward_probs(y, extended, skip)
            beta = self.ctc.get_backward_probs(y, extended, skip)
            gamma = self.ctc.get_posterior_probs(alpha, beta)
            self.gammas.append(gamma)
            self.extended_symbols.append(extended)
            total_loss[b] = -np.sum(gamma * np.log(y[:, extended]))
        return np.sum(total_loss) / B

    def backward(self):
        T, B, _ = self.logits.shape
        dY = np.full_like(self.logits, 0)
        for b in range(B):
            for t in range(self.input_lengths[b]):
                for s, symbol in enumerate(self.extended_symbols[b]):
                    dY[t, b, symbol] -= self.gammas[b][t, s] / self.logits[t, b, symbol]
        return dY
