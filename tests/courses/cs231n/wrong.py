"""What goes wrong in CS231n: each mistake as an edit of the right solution, and what should be said of it."""

from courses._course import Wrong

L, C, N, R, U, T = "layers.py", "classifiers.py", "nets.py", "rnn_layers.py", "optim.py", "neural_net.py"


def _in(file, function, *edits):
    """Mistakes in one function: (old, new, says, verdict)."""
    for old, new, says, *verdict in edits:
        yield Wrong(function, old, new, says, *verdict, function=function, file=file)


THROUGH_XHAT = (  # layer norm's dx, and the same by way of dσ² and dμ, summed along either axis
    "dx = d * g - g.sum(axis=1, keepdims=True) - xhat * (g * xhat).sum(axis=1, keepdims=True)\n    dx /= d * std[:, None]"
)
THROUGH_VARIANCE = (
    "inv = 1 / std[:, None]\n"
    "    dvar = (-0.5 * g * xhat * inv**2).sum(axis={}, keepdims=True)\n"
    "    dmu = (-g * inv).sum(axis={}, keepdims=True)\n"
    "    dx = g * inv + dvar * 2 * xhat / inv / d + dmu / d"
)
ROWS_AS_LONG_AS_COLUMNS = (  # pixels counted through a picture as if it were as wide as high
    "np.take(xp.reshape(n, c, -1), (i * stride + np.arange(hh))[:, None] * (h + 2 * pad) + j * stride + np.arange(ww),"
    " axis=2, mode='wrap')"
)
FIRST_LARGEST = (  # what a window of max pooling sends back, and three other ways to write it
    "a, b = np.unravel_index(window.argmax(), window.shape)\n"
    "                    dx[m, k, i * stride + a, j * stride + b] += dout[m, k, i, j]"
)
TO_WINDOW = (
    "at = np.arange(window.size).reshape(window.shape)\n"
    "                    dx[m, k, i * stride : i * stride + hh, j * stride : j * stride + ww] {} * dout[m, k, i, j]"
)
TO_LARGEST = (
    "part = dx[m, k, i * stride : i * stride + hh, j * stride : j * stride + ww]\n"
    "                    part[window == window.max()] = dout[m, k, i, j]"
)

WRONG = [
    *_in(
        L,
        "affine_backward",
        ("dout.sum(axis=0)", "dout.mean(axis=0)", "db is 1/N times"),
        ("dout.sum(axis=0)", "dout.sum(axis=1)", "db is the upstream gradient summed over axis 1"),
        ("dout.sum(axis=0)", "dout.sum(axis=0, keepdims=True)", "only its shape is wrong"),
        ("dout.dot(w.T)", "dout.dot(w)", "weight is transposed"),
        (".reshape(x.shape)", "", "only its shape is wrong"),
        ("rows.T.dot(dout)", "dout.T.dot(rows)", "dw is transposed"),
    ),
    *_in(
        L,
        "relu_backward",
        ("(cache > 0)", "(cache >= 0)", "x ≥ 0", "kink-only"),
        ("(cache > 0)", "(dout > 0)", "slope is taken at the upstream gradient"),
        ("dout * (cache > 0)", "(cache > 0) * 1.0", "ignores the upstream gradient"),
        ("dout * (cache > 0)", "dout * np.maximum(cache, 0)", "f\\(x\\) stands where its slope"),
    ),
    *_in(
        L,
        "svm_loss",
        ("return loss, dx / n", "return loss, dx", "dx is N times"),
        ("dx[np.arange(n), y] -= (margins > 0).sum(axis=1)", "dx[np.arange(n), y] -= 1", "target's share is −1"),
        ("margins[np.arange(n), y] = 0", "pass", "z\\[place\\] = 0` is missing"),
        ("dx[margins > 0] = 1", "dx[margins >= 0] = 1", "every class has a share"),
    ),
    *_in(
        L,
        "softmax_loss",
        ("    dx /= n\n", "", "dx is N times"),
        ("dx[np.arange(n), y] -= 1", "dx[np.arange(n), y] += 1", "one-hot row has the wrong sign"),
        ("dx[np.arange(n), y] -= 1", "dx[:, y] -= 1", "N > 1"),
        (".mean()", ".sum()", "loss is N times"),
        ("shifted = x - x.max(axis=1, keepdims=True)", "shifted = x", "input.max", "unstable"),
    ),
    *_in(
        L,
        "batchnorm_backward",
        ("* -0.5 * std**-3", "* -0.5 * std**-2", "1/σ is missing|once too seldom"),
        ("+ dmu / n", "", "mean\\(dx̂\\) is missing"),
        ("dvar * 2 * (x - mu) / n +", "", "x̂ · mean\\(dx̂ · x̂\\) is missing"),
        ("dxhat = dout * gamma", "dxhat = dout", "factor γ is missing"),
        ("dgamma = (dout * xhat)", "dgamma = (dout * x)", "x stands where x̂ is meant"),
        ("n = x.shape[0]", "n = x.shape[1]", "N/num_features times"),
        ("dbeta = dout.sum(axis=0)", "dbeta = dout.sum()", "summed over axes"),
    ),
    *_in(
        L,
        "batchnorm_backward_alt",
        ("- dbeta -", "-", "mean\\(dx̂\\) is missing"),
        (" - xhat * dgamma", "", "x̂ · mean\\(dx̂ · x̂\\) is missing"),
        ("gamma / (n * std)", "1 / (n * std)", "factor γ is missing"),
    ),
    Wrong(
        "batchnorm_backward",
        "(1 - momentum) * var",
        "momentum * var",
        "",
        function="batchnorm_forward",
        row="batchnorm_forward",
        file=L,
    ),
    Wrong(
        "batchnorm_backward",
        "momentum * running_mean + (1 - momentum) * mu",
        "(1 - momentum) * running_mean + momentum * mu",
        "the old value has the share of the new one",
        function="batchnorm_forward",
        also=(("momentum * running_var + (1 - momentum) * var", "(1 - momentum) * running_var + momentum * var"),),
        row="batchnorm_forward",
        file=L,
    ),
    *(
        Wrong("batchnorm_backward", old, new, says, function="batchnorm_forward", row="batchnorm_forward", file=L, also=also)
        for old, new, says, *also in (
            (
                "momentum * running_mean + (1 - momentum) * mu",
                "momentum * mu + (1 - momentum) * mu",
                "running_mean is .* batch's own alone: the old one has no share",
            ),
            ("momentum * running_var + (1 - momentum) * var", "running_var", "running_var is .* not updated"),
            ("(1 - momentum) * var", "(1 - momentum) * (var + eps)", "ε is in the running variance"),
            (
                "momentum * running_mean + (1 - momentum) * mu",
                "momentum * running_mean + (1 - momentum) * mu[None]",
                "running_mean has the right values, and only its shape is wrong",
            ),
            (
                "mu = x.mean(axis=0)",
                "mu = x.mean(axis=1, keepdims=True)",
                "",
                ("var = x.var(axis=0)", "var = x.var(axis=1, keepdims=True)"),
            ),
        )
    ),
    Wrong(
        "layernorm_backward",
        "gamma * xhat + beta",
        "gamma * ((x - x.mean(0)) / np.sqrt(x.var(0) + eps)) + beta",
        "μ and σ are taken over the rows, which are not",
        function="layernorm_forward",
        row="layernorm_forward",
        file=L,
    ),
    Wrong(
        "spatial_groupnorm_backward",
        "grouped = x.reshape(n, G, -1)",
        "grouped = x.reshape(n * G, -1, h * w)",
        "μ and σ are taken over H and W, which are not",
        function="spatial_groupnorm_forward",
        row="spatial_groupnorm_forward",
        also=(
            (
                "gamma * xhat + beta",
                "gamma * (x - x.mean((2, 3), keepdims=True)) / np.sqrt(x.var((2, 3), keepdims=True) + eps) + beta",
            ),
        ),
        file=L,
    ),
    *(
        Wrong(
            "spatial_batchnorm_backward",
            "x.transpose(0, 2, 3, 1).reshape(-1, c)",
            "x.reshape(-1, c)",
            says,
            function="spatial_batchnorm_forward",
            row="spatial_batchnorm_forward",
            also=also,
            file=L,
        )
        for says, also in (
            ("x is reshaped into rows of channels without moving", ()),
            (
                "x is reshaped into rows of channels, and back, without",
                ((".reshape(n, h, w, c).transpose(0, 3, 1, 2)", ".reshape(n, c, h, w)"),),
            ),
        )
    ),
    Wrong(
        "batchnorm_backward",
        "np.sqrt(var + eps)",
        "np.sqrt(var) + eps",
        "ε is added outside the root",
        function="batchnorm_forward",
        row="batchnorm_forward",
        file=L,
    ),
    Wrong(
        "batchnorm_backward",
        "np.sqrt(var + eps)",
        "np.sqrt(var + 1e-5)",
        "eps is taken to be 1e-05, its default",
        function="batchnorm_forward",
        row="batchnorm_forward",
        file=L,
    ),
    Wrong(
        "batchnorm_forward (test)",
        "np.sqrt(running_var + eps)",
        "(np.sqrt(running_var) + eps)",
        "ε is added outside the root",
        function="batchnorm_forward",
        file=L,
    ),
    Wrong(
        "batchnorm_forward (test)",
        "(x - running_mean)",
        "(x - x.mean(axis=0))",
        "own mean is subtracted",
        function="batchnorm_forward",
        file=L,
    ),
    Wrong(
        "batchnorm_forward (test)",
        "(x - running_mean)",
        "(x - x.mean(axis=0))",
        "own mean and variance are used",
        function="batchnorm_forward",
        also=(("np.sqrt(running_var + eps)", "np.sqrt(x.var(axis=0) + eps)"),),
        file=L,
    ),
    Wrong(
        "batchnorm_backward",
        "x, xhat, mu, std, gamma = cache",
        "x, xhat, std, gamma = cache",
        "4 names stand on the left",
        "raises",
        function="batchnorm_backward",
        file=L,
    ),
    *_in(
        L,
        "layernorm_backward",
        ("g = dout * gamma", "g = dout", "factor γ is missing"),
        ("d = xhat.shape[1]", "d = xhat.shape[0]", "normalized_shape"),
        *(
            (THROUGH_XHAT, THROUGH_VARIANCE.format(*axes), f"dx is what you get when {what} summed along the other axis")
            for axes, what in (((0, 1), "dσ² is"), ((1, 0), "dμ is"), ((0, 0), "dσ² and dμ are"))
        ),
        (" - g.sum(axis=1, keepdims=True)", "", "mean\\(dx̂\\) is missing"),
        ("(g * xhat).sum(axis=1, keepdims=True)", "(g * xhat).sum(axis=0)", "x̂ · mean.* along the other axis"),
    ),
    *_in(
        L,
        "dropout_backward",
        ("dout * mask", "dout", "training is taken to be the other way"),
        ("dout * mask", "dout * (mask > 0)", "dx is p times"),
        ("        return dout\n", "        return dout * dropout_param['p']\n", "training=False"),
    ),
    Wrong(
        "dropout_backward",
        "< p) / p",
        "< p)",
        "out is p times",
        function="dropout_forward",
        row="dropout_forward",
        file=L,
    ),
    Wrong(
        "dropout_backward",
        "< p) / p",
        "< 1 - p) / p",
        "of the elements are kept, where the parameter says 70%",
        function="dropout_forward",
        row="dropout_forward",
        file=L,
    ),
    Wrong(
        "dropout_backward",
        "(np.random.rand(*x.shape) < p) / p",
        "np.random.rand(*x.shape) > p",
        "out is \\(1 − p\\) times what it should be, where training=True",
        "wrong",
        function="dropout_forward",
        row="dropout_forward",
        file=L,
    ),
    Wrong(
        "dropout_backward",
        "np.random.rand(*x.shape)",
        "np.random.randn(*x.shape)",
        "normal numbers \\(randn\\) are below it that often.* meant$",
        function="dropout_forward",
        row="dropout_forward",
        file=L,
    ),
    Wrong(
        "dropout_backward",
        "(*x.shape)",
        "(x.shape[-1])",
        "same elements are dropped in every row",
        function="dropout_forward",
        row="dropout_forward",
        file=L,
    ),
    *_in(
        L,
        "conv_backward_naive",
        ("dxp[m, :, rows, cols] += w[k]", "dxp[m, :, rows, cols] = w[k]", "overwritten \\(=\\)"),
        ("dw[k] += xp[m, :, rows, cols]", "dw[k] = xp[m, :, rows, cols]", "the share of the last window"),
        (
            "dx = dxp[:, :, pad : pad + x.shape[2], pad : pad + x.shape[3]]",
            "dx = dxp[:, :, pad:-pad, pad:-pad]",
            "empty where the padding is 0",
        ),
        (
            "dx = dxp[:, :, pad : pad + x.shape[2], pad : pad + x.shape[3]]",
            "dx = np.zeros_like(x); dx[:] = dxp[:, :, pad:-pad, pad:-pad]",
            "what is assigned is empty",
            "raises",
        ),
        (
            "dx = dxp[:, :, pad : pad + x.shape[2], pad : pad + x.shape[3]]",
            "dx = dxp[:, :, 1:-1, 1:-1]",
            "cut by 1 on every side",
        ),
        ("slice(i * stride, i * stride + hh)", "slice(i, i + hh)", "stride > 1"),
        (
            "cols = slice(j * stride, j * stride + ww)",
            "cols = slice(j * stride, j * stride + hh)",
            "kernel_size differs along the axes",
        ),
        ("db = dout.sum(axis=(0, 2, 3))", "db = dout.sum(axis=(0, 1, 2))", "summed over axes"),
        ("+= w[k] *", "+= w[k, :, ::-1, ::-1] *", "kernel is flipped"),
    ),
    *(
        Wrong("conv_backward_naive", old, new, says, function="conv_forward_naive", row="conv_forward_naive", file=L, also=also)
        for old, new, says, *also in (
            ("1 + (wd + 2 * pad - ww)", "1 + (h + 2 * pad - ww)", "width worked out from the height"),
            ("1 + (h + 2 * pad - hh)", "1 + (wd + 2 * pad - hh)", "height worked out from the width"),
            (
                "1 + (h + 2 * pad - hh)",
                "1 + (wd + 2 * pad - ww)",
                "height and width swapped|sides mixed up",
                ("1 + (wd + 2 * pad - ww)", "1 + (h + 2 * pad - hh)"),
            ),
            ("np.zeros((n, f, h_out, w_out))", "np.zeros((n, f, h_out, h_out))", "where H′ < W′"),
            (
                "for i in range(h_out)",
                "for i in range(-(-h // stride))",
                "windows are counted along x, as range",
                ("for j in range(w_out)", "for j in range(-(-wd // stride))"),
            ),
            ("h + 2 * pad - hh) // stride", "h + 2 * pad - hh) / stride", "in Python 3 a / b is one"),
            ("xp[:, :, i * stride : i * stride + hh, j * stride : j * stride + ww]", ROWS_AS_LONG_AS_COLUMNS, "where H ≠ W"),
            ('conv_param["pad"]', 'conv_param["padding"]', "KeyError: 'padding': the keys are pad and stride"),
        )
    ),
    Wrong(
        "max_pool_backward_naive",
        "range(h_out)",
        "range(h // stride)",
        "windows are counted as H // stride",
        function="max_pool_forward_naive",
        also=(("range(w_out)", "range(w // stride)"),),
        row="max_pool_forward_naive",
        file=L,
    ),
    Wrong(
        "max_pool_backward_naive",
        "1 + (w - ww)",
        "1 + (h - ww)",
        "width worked out from the height",
        function="max_pool_forward_naive",
        row="max_pool_forward_naive",
        file=L,
    ),
    *_in(
        L,
        "max_pool_backward_naive",
        ("+= dout[m, k, i, j]", "= dout[m, k, i, j]", "overwritten \\(=\\).*last one's is kept$"),
        ("window.argmax()", "window.argmin()", "smallest value of each window"),
        (
            "a, b = np.unravel_index(window.argmax(), window.shape)\n"
            "                    dx[m, k, i * stride + a, j * stride + b] += dout[m, k, i, j]",
            "dx[m, k, i * stride : i * stride + hh, j * stride : j * stride + ww] += (window == window.max())"
            " * dout[m, k, i, j]",
            "at ties all of the equal largest",
            "kink-only",
        ),
        ("w_out = dout.shape", "w_out = dout.shape; ww = hh", "kernel_size differs along the axes"),
        (FIRST_LARGEST, TO_WINDOW.format("= (window.argmax() == at)"), "its whole part of dx, zeros included"),
        (FIRST_LARGEST, TO_WINDOW.format("= (window == window.max())"), "zeros included.*at ties all"),
        (FIRST_LARGEST, TO_LARGEST, "overwritten \\(=\\).*window.*at ties all"),
    ),
    *_in(
        L,
        "spatial_batchnorm_backward",
        ("dout.transpose(0, 2, 3, 1).reshape(-1, c)", "dout.reshape(-1, c)", "without moving its channels to the last axis"),
        ("flat.reshape(n, h, w, c).transpose(0, 3, 1, 2)", "flat.reshape(n, c, h, w)", "without moving the channels back"),
    ),
    *_in(
        L,
        "spatial_groupnorm_backward",
        ("g = (dout * gamma)", "g = dout", "factor γ is missing"),
        ("m = g.shape[2]", "m = dout.shape[2] * dout.shape[3]", "num_groups times"),
        ("dbeta = dout.sum(axis=(0, 2, 3), keepdims=True)", "dbeta = dout.sum(axis=(0, 2, 3))", "only its shape is wrong"),
    ),
    *_in(
        C,
        "svm_loss_naive",
        ("                dW[:, y[i]] -= X[i]\n", "", "target's share is missing"),
        ("dW = dW / X.shape[0] + 2 * reg * W", "dW = 0 * dW", "dW is zero"),
        ("+ 2 * reg * W", "+ reg * W", "half of what its loss says"),
        ("+ 2 * reg * W", "", "regulariser is missing in the gradient"),
    ),
    *_in(
        C,
        "svm_loss_vectorized",
        ("counts[range(n), y] = -counts.sum(axis=1)", "counts[range(n), y] = -1", "target's share is −1"),
        ("X.T.dot(counts) / n", "X.T.dot(counts)", "division by N is missing"),
    ),
    *_in(
        C,
        "softmax_loss_naive",
        ("    dW = dW / n + 2 * reg * W", "    dW = (dW + 2 * reg * W) / n", "regulariser's share is divided by N"),
        ("reg * np.sum(W * W)", "reg * np.sum(W)", "loss is .* reg Σ W: W is not squared"),
        ("reg * np.sum(W * W)", "reg * np.linalg.norm(W)", "loss is .* norm that is not squared"),
        ("+ reg * np.sum(W * W)", "", "loss is .* regulariser is missing"),
        ("            dW[:, j] += (", "            dW[:, j] += (j != y[i]) * (", "target's class has no share"),
    ),
    *_in(
        C,
        "softmax_loss_vectorized",
        ("p[range(n), y] -= 1", "pass", "1 of the target's class is not subtracted"),
        ("p[range(n), y] -= 1", "p[range(n), y] = -1", "−1 stands at the target.* assigned, not subtracted"),
        ("2 * reg * W", "2 * reg", "reg stands alone"),
        ("2 * reg * W", "2 * reg * np.sum(W)", "sum of all of W stands where W is meant"),
        ("scores -= scores.max(axis=1, keepdims=True)", "pass", "NaN or infinite", "unstable"),
    ),
    Wrong(
        "TwoLayerNet.loss",
        "        dhidden[hidden <= 0] = 0\n",
        "",
        "slope of ReLU 1 is missing",
        function="TwoLayerNet.loss",
        file=T,
    ),
    Wrong(
        "TwoLayerNet.loss",
        "np.sum(W2 * W2))",
        "np.sum(W2 * W2) + np.sum(b1 * b1) + np.sum(b2 * b2))",
        "biases are regularised too",
        function="TwoLayerNet.loss",
        also=(
            ("dscores.sum(axis=0)", "dscores.sum(axis=0) + 2 * reg * b2"),
            ("dhidden.sum(axis=0)", "dhidden.sum(axis=0) + 2 * reg * b1"),
        ),
        file=T,
    ),
    Wrong("TwoLayerNet.loss", "2 * reg * W1", "reg * W1", "half of what its loss says", function="TwoLayerNet.loss", file=T),
    Wrong("TwoLayerNet.loss", '"b1": dhidden.sum', '"b1": dhidden.mean', "1/N times", function="TwoLayerNet.loss", file=T),
    Wrong(
        "FullyConnectedNet.loss",
        'grads[f"W{i}"] += self.reg',
        'grads[f"W{i}"] += 0.5 * self.reg',
        "half of what its loss says",
        function="FullyConnectedNet.loss",
        file=N,
    ),
    Wrong("FullyConnectedNet.loss", "range(1, L + 1)", "range(1, L)", "", function="FullyConnectedNet.loss", file=N),
    Wrong(
        "ThreeLayerConvNet.loss",
        "            grads[k] += self.reg * p[k]\n",
        "            pass\n",
        "regulariser is missing",
        function="ThreeLayerConvNet.loss",
        file=N,
    ),
    *_in(
        R,
        "word_embedding_backward",
        ("np.add.at(dW, x, dout)", "dW[x] = dout", "row that is looked up more than once"),
        ("np.add.at(dW, x, dout)", "dW[x] += dout", "row that is looked up more than once"),
    ),
    *_in(
        R,
        "rnn_step_backward",
        ("(1 - next_h**2)", "(1 - np.tanh(next_h) ** 2)", "tanh is applied twice"),
        ("dnext_h * (1 - next_h**2)", "dnext_h", "slope φ′\\(z\\) of the nonlinearity is missing"),
        ("prev_h.T.dot(da)", "next_h.T.dot(da)", "state after the step"),
    ),
    *_in(
        R,
        "rnn_backward",
        ("dh[:, i] + dprev", "dh[:, i]", "recurrence is missing"),
        ("dWx += a", "dWx = a", "steps' gradients of a weight overwrite"),
        ("return dx, dprev,", "return dx, np.zeros_like(dprev),", "dh0"),
    ),
    *_in(
        R,
        "lstm_step_backward",
        ("dc = dnext_c + dnext_h * o * (1 - tc**2)", "dc = dnext_c", "way of dh into dc is missing"),
        ("dc * prev_c", "dc * tc", "rows of gate f"),
        ("dg * (1 - g**2)", "dg * (1 - np.tanh(g) ** 2)", "tanh is applied twice at gate g"),
        ("do * o * (1 - o), dg * (1 - g**2)", "dg * (1 - g**2), do * o * (1 - o)", "gates g and o are swapped"),
        ("dprev_c = dc * f", "dprev_c = dnext_c * f", "way of dh into dc is missing|upstream gradient of h_1 is ignored"),
    ),
    *_in(
        R,
        "lstm_backward",
        (
            "dh[:, i] + dprev_h, dprev_c, cache[i]",
            "dh[:, i] + dprev_h, 0 * dprev_c, cache[i]",
            "upstream gradient of c′ is not added",
        ),
        ("dh[:, i] + dprev_h", "dh[:, i]", "recurrence is missing"),
    ),
    *_in(
        R,
        "temporal_softmax_loss",
        ("p * m[:, None] / n", "p / n", "ignored is left out of the loss, but not out of the gradient"),
        ("p * m[:, None] / n", "p * m[:, None] / (n * t)", "1/the number of positions"),
    ),
    *_in(
        U,
        "sgd_momentum",
        ('config["momentum"] * v - config', 'config["momentum"] * v + config', "v has the wrong sign"),
        ('config["momentum"] * v', "0.9 * v", "mu is taken to be 0.9, its default"),
    ),
    *_in(
        U,
        "rmsprop",
        ('np.sqrt(config["cache"]) + config["epsilon"]', 'np.sqrt(config["cache"] + config["epsilon"])', "ε is under the root"),
    ),
    *_in(
        U,
        "adam",
        ('config["m"] / (1 - b1**t), ', 'config["m"], ', "correction"),
        ('    config["t"] += 1\n', '    config["t"] = 1\n', "t is 1 at every step"),
        ('np.sqrt(v) + config["epsilon"]', 'np.sqrt(v) + config["epsilon"] / np.sqrt(1 - b2**t)', "before the correction"),
        ('w - config["learning_rate"]', 'w + config["learning_rate"]', "step is added, where it is to be subtracted"),
        ('b1, b2, t = config["beta1"]', "b1, b2, t = 0.9", "beta1 is taken to be 0.9"),
    ),
]
