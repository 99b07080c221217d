"""What goes wrong in EECS 498: each mistake as an edit of the right solution, and what should be said of it."""

from courses._course import Wrong

F, C = "fully_connected_networks.py", "convolutional_networks.py"
L, N, R = "linear_classifier.py", "two_layer_net.py", "rnn_lstm_captioning.py"


def _in(file, exercise, *edits, function=None):
    """Mistakes in what an exercise is of: (old, new, says)."""
    for old, new, says in edits:
        yield Wrong(exercise, old, new, says, function=function or exercise, file=file)


WRONG = [
    *_in(
        F,
        "Linear.backward",
        ("dout.sum(dim=0)", "dout.mean(dim=0)", "db is 1/N times"),
        ("dout.mm(w.t())", "dout.mm(w)", "weight is transposed"),
        (".view(*x.shape)", "", "only its shape is wrong"),
        ("dout.sum(dim=0)", "dout.sum(dim=0, keepdim=True)", "only its shape is wrong"),
    ),
    *_in(
        F,
        "ReLU.backward",
        ("dx[cache <= 0] = 0", "dx[dout <= 0] = 0", "slope is taken at the upstream gradient"),
        ("dx[cache <= 0] = 0", "dx[cache < 0] = 0", "x ≥ 0"),
        ("dx = dout.clone()", "dx = torch.ones_like(dout)", "ignores the upstream gradient"),
    ),
    *_in(
        F,
        "Dropout.backward",
        ("dout * mask if", "dout * (mask > 0) if", r"\(1 − p\) times"),
        ("dout * mask if", "dout if", "training is taken to be the other way"),
    ),
    *_in(
        F,
        "TwoLayerNet.loss",
        ("2 * self.reg * p[k]", "self.reg * p[k]", "half of what its loss says"),
        ("Linear_ReLU.backward(d, first)", "Linear.backward(d, first[0])", "slope of ReLU 1 is missing"),
    ),
    *_in(F, "adam", ('config["v"] / (1 - b2 ** config["t"])', 'config["v"]', "correction")),
    *_in(
        C,
        "Conv.backward",
        ("dxp[:, :, rows, cols] += w[k]", "dxp[:, :, rows, cols] = w[k]", r"overwrit(ten|e) \(=\)"),
        ("pad : pad + x.shape[2], pad : pad + x.shape[3]", "pad:-pad, pad:-pad", "empty where the padding is 0"),
        ("dout.sum(dim=(0, 2, 3))", "dout.sum(dim=(0, 1, 2))", "summed over axes"),
    ),
    *_in(
        C,
        "MaxPool.backward",
        ("+= dout[m, k, i, j]", "= dout[m, k, i, j]", r"overwrit(ten|e) \(=\)"),
        ("argmax()", "argmin()", "smallest value of each window"),
    ),
    *_in(
        C,
        "BatchNorm.backward",
        ("+ dmu / n", "", r"mean\(dx̂\) is missing"),
        ("dxhat = dout * gamma", "dxhat = dout", "factor γ is missing"),
        ("dvar * 2 * xhat * std / n", "dvar * 2 * xhat * std", "times what"),
        ("n = dout.shape[0]", "n = dout.shape[1]", "N/num_features times"),
    ),
    *_in(
        C,
        "BatchNorm.backward_alt",
        ("- dbeta / n", "", r"mean\(dx̂\) is missing"),
        ("gamma / std", "1 / std", "factor γ is missing"),
    ),
    *_in(C, "SpatialBatchNorm.backward", ("dout.permute(0, 2, 3, 1).reshape(-1, c)", "dout.reshape(-1, c)", "without moving")),
    *_in(
        L,
        "svm_loss_naive",
        ("                dW[:, y[i]] -= X[i]\n", "", "target's share is missing"),
        ("+ 2 * reg * W", "", "regulariser is missing in the gradient"),
    ),
    *_in(L, "svm_loss_vectorized", ("-counts.sum(dim=1)", "-1", "target's share is −1")),
    *_in(L, "softmax_loss_vectorized", ("    p[rows, y] -= 1\n", "", "1 of the target's class is not subtracted")),
    *_in(
        N,
        "nn_forward_backward",
        ("    dh[h1 <= 0] = 0\n", "", "slope of ReLU 1 is missing"),
        ("    d /= n\n", "", "division by N is missing"),
    ),
    *_in(
        R,
        "rnn_step_backward",
        ("next_h * next_h", "next_h", r"square|slope"),
        ("prev_h.t().mm(da)", "next_h.t().mm(da)", "state after the step"),
    ),
    *_in(R, "rnn_backward", ("dh[:, t] + dprev_h", "dh[:, t]", "recurrence is missing"), ("dWx + a", "a", "overwrite")),
]
