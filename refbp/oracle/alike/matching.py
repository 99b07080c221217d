"""What the parameters of somebody's functions stand for, by their names, and where those say nothing by their places."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from refbp.contract import Layer
from refbp.errors import RefbpError, listed
from refbp.oracle.isolation import Parameter

# Other names of the inputs, the state's entries and the arguments of layers, in lower case, the likeliest first
FIRST = ("x", "input", "inputs", "inp", "xs", "data", "a", "a_prev", "a_in", "z", "image", "images", "img", "h", "features",
         "feature_map", "logits", "logit", "scores", "score", "pred", "preds", "prediction", "predictions", "y_pred", "y_hat",
         "yhat", "ypred", "output", "outputs", "out", "o", "probs", "p", "log_probs", "indices", "index", "idx", "tokens",
         "y")  # fmt: skip
NAMES = {
    "target": ("target", "targets", "t", "y", "y_true", "ytrue", "label", "labels", "true", "gt", "ground_truth", "truth", "d"),
    "weight": ("weight", "weights", "w", "kernel", "kernels", "filters", "filter", "gamma", "g", "scale", "theta", "table", "e",
               "emb", "embeddings", "a", "alpha", "k", "f"),
    "bias": ("bias", "biases", "b", "beta", "shift", "offset", "w0"),
    "running_mean": ("running_mean", "moving_mean", "mean", "mu"),
    "running_var": ("running_var", "moving_var", "moving_variance", "var"),
    "keep": ("keep", "mask", "keep_mask", "drop_mask", "dropout_mask", "noise", "m"),
    "x1": ("x1", "a", "x", "left", "first", "u"),
    "x2": ("x2", "b", "y", "right", "second", "v"),
    "query": ("query", "q", "queries"), "key": ("key", "k", "keys"), "value": ("value", "v", "values"),
    "attn_mask": ("attn_mask", "mask", "attention_mask"),
    "anchor": ("anchor", "a"), "positive": ("positive", "pos", "p"), "negative": ("negative", "neg", "n"),
    "input1": ("input1", "x1", "a", "x"), "input2": ("input2", "x2", "b", "y"), "var": ("var", "variance", "sigma2"),
    "h_0": ("h_0", "h0", "h", "h_prev", "prev_h", "hprev", "hidden", "h_t_prev", "h_prev_t", "state"),
    "c_0": ("c_0", "c0", "c", "c_prev", "prev_c", "cprev", "cell"),
    "weight_ih": ("weight_ih", "wx", "w_ih", "wxh", "w_xh", "wih", "u", "w_x", "w"),
    "weight_hh": ("weight_hh", "wh", "w_hh", "whh", "w_h", "v"),
    "bias_ih": ("bias_ih", "b_ih", "bx", "bih", "b", "b_h", "bh", "bias"),
    "bias_hh": ("bias_hh", "b_hh", "bh", "bhh"),
    "padding": ("padding", "pad", "pads", "p"), "stride": ("stride", "strides", "s"),
    "dilation": ("dilation", "dilate", "d", "rate"),
    "kernel_size": ("kernel_size", "kernel", "pool_size", "pool", "ksize", "size", "window", "k", "f", "window_size"),
    "eps": ("eps", "epsilon", "e"), "momentum": ("momentum", "mom"),
    "negative_slope": ("negative_slope", "alpha", "slope", "leak", "a"),
    "num_groups": ("num_groups", "groups", "g", "n_groups"), "dim": ("dim", "axis"),
    "num_heads": ("num_heads", "heads", "n_heads", "h", "nhead"),
    "p": ("p", "prob", "rate", "p_drop", "drop_prob", "dropout", "dropout_rate", "drop_rate", "drop"),
    "dropout_p": ("dropout_p", "p", "dropout"), "output_size": ("output_size", "out_size", "size"),
    "training": ("training", "train", "is_training", "is_train", "train_flg", "train_mode", "mode"),
    "delta": ("delta", "d"), "lambd": ("lambd", "lam", "threshold", "lmbda"), "is_causal": ("is_causal", "causal"),
    "normalized_shape": ("normalized_shape", "shape"), "scale_factor": ("scale_factor", "scale", "factor"),
}  # fmt: skip
OUTPUT = ("y", "out", "output", "o", "y_hat", "yhat", "a", "s", "act", "activation", "probs", "p", "softmax", "sig", "t")
KEPT = {"keep_prob", "p_keep", "keep_rate", "keep_p", "keepprob"}  # the other half of a dropout's probability
UPSTREAM = ("dout", "dy", "dz", "dl", "da", "dh", "grad_output", "grad_out", "grad_y", "grad_z", "grad", "gradient", "grads",
            "upstream", "upstream_grad", "grad_outputs", "dvalues", "delta", "doutput", "output_grad", "out_grad", "g", "gy",
            "gout", "dloss", "dldy", "dlda", "dldz", "d_out", "d_y", "dnext", "dnext_h", "dt", "dl_dy", "dl_dout", "error",
            "grad_in", "top_diff", "dyhat", "dscores", "cotangent", "dhout", "gradwrtoutput", "dprev", "dnext_a")  # fmt: skip
CACHE = ("cache", "ctx", "saved", "caches", "context", "memory", "mem", "saved_tensors", "state", "residuals", "tape", "store",
         "stored", "aux", "c")  # fmt: skip
SETTINGS = (
    "param",
    "params",
    "config",
    "conf",
    "hparams",
    "hparameters",
    "hyperparameters",
    "options",
    "opts",
    "settings",
    "cfg",
)
IN_SETTINGS = {"stride": (), "padding": (), "kernel_size": ("pool_height", "pool_width", "kernel_h", "kernel_w"), "eps": (),
               "momentum": (), "training": (), "p": (), "num_groups": (), "negative_slope": ()}  # fmt: skip
MODES = "'train' if training else 'test'"


class LikeError(RefbpError):
    """Functions that cannot be matched with a layer: the sentence says how they would have to look."""


@dataclass(frozen=True)
class Function:
    """A function by its path, its parameters, and the names in its return statement, where those can be read."""

    name: str
    parameters: tuple[Parameter, ...]
    returned: tuple[str, ...] | None = None


@dataclass
class Offer:
    """What a layer has that a parameter may stand for."""

    inputs: list[str]
    state: list[str]
    arguments: list[str]
    noise: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, layer: Layer[Any]) -> Offer:
        """Everything a layer's functions may be given."""
        names = list(layer.inputs())
        noise = [n for n in names if n in {"keep", "slope", "samples", "gumbel"}]
        return cls(
            [n for n in names if n not in noise],
            [*layer.params(), *layer.buffers()],
            [a for a in layer.arguments() if not a.startswith("_")],
            noise,
        )


@dataclass
class Matched:
    """Parameters by their names: to arrays of the reference ("w": "weight"), to its arguments, and as what is passed."""

    arrays: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    passed: dict[str, str] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)  # of the arguments, where the signature has some

    @property
    def used(self) -> set[str]:
        """The arguments of the layer that are handed over."""
        return set(self.arguments.values())

    @property
    def taken(self) -> set[str]:
        """Everything of the layer that a parameter stands for."""
        return {*self.arrays.values(), *self.arguments.values()}


def plain(name: str) -> str:
    """A name as it is compared: in lower case, without underscores around it."""
    return name.lower().strip("_")


def synonyms(name: str, first: bool) -> tuple[str, ...]:
    """Other names of an input, entry or argument."""
    base = name.removesuffix("_l0")
    found = NAMES.get(base, (base,))
    return (*found, *FIRST) if first else found


def matched(
    function: Function, offer: Offer, before: Matched | None = None, special: Mapping[str, str] | None = None
) -> Matched:
    """What the parameters of a function stand for.

    ``before`` is what the forward's stand for, and the same name stands for the same. ``special`` are names of other things
    that may be passed: an upstream gradient, what the forward returned. LikeError names a parameter that nothing fits.
    """
    found = Matched()
    special = dict(special or {})
    if before is not None and "cache" in special:  # what forward keeps is likelier than an argument under yet another name
        offer = Offer(offer.inputs, offer.state, [], [])
    open_ = [p for p in function.parameters if p.kind not in {"var_positional", "var_keyword"}]
    for step in (_same(before), _exact(offer), _called(special)):
        open_ = [p for p in open_ if not step(p, found)]
    _synonyms(open_, offer, found)
    settings = _settings(offer)
    open_ = [p for p in open_ if p.name not in found.passed and not settings(p, found)]
    required = [p for p in open_ if not p.has_default]
    _by_place(function, required, offer, found, special, before is not None)
    return found


def _same(before: Matched | None) -> Any:
    def step(p: Parameter, found: Matched) -> bool:
        if before is None or p.name not in before.passed:
            return False
        for mine, theirs in ((found.arrays, before.arrays), (found.arguments, before.arguments), (found.passed, before.passed)):
            if p.name in theirs:
                mine[p.name] = theirs[p.name]
        return True

    return step


def _called(special: dict[str, str]) -> Any:
    def step(p: Parameter, found: Matched) -> bool:
        for name, what in special.items():
            known = {"upstream": UPSTREAM, "cache": CACHE, "output": OUTPUT}.get(name, (plain(name),))
            if plain(p.name) in known and what not in found.passed.values():
                found.passed[p.name] = what
                return True
        return False

    return step


def _exact(offer: Offer) -> Any:
    def step(p: Parameter, found: Matched) -> bool:
        for name in (*offer.inputs, *offer.noise, *offer.state, *offer.arguments):
            if plain(p.name) in {name.lower(), name.lower().removesuffix("_l0")} and name not in found.taken:
                return _give(p, name, offer, found)
        return False

    return step


def _synonyms(open_: list[Parameter], offer: Offer, found: Matched) -> None:
    """Other names, the likeliest pair first: in f(y, t) t is the target, and y what is left; in f(x, y) y is."""
    ranked = []
    for place, p in enumerate(open_):
        called = plain(p.name)
        if "p" in offer.arguments and "p" not in found.used and called in KEPT:
            found.arguments[p.name], found.passed[p.name] = "p", "1 - p"
            continue
        for name in (*offer.inputs, *offer.noise, *offer.state, *offer.arguments):
            known = synonyms(name, name == offer.inputs[0])
            if called in known:
                # a name with a number for a default is an argument rather than an array, and the other way round
                odd = (name in offer.arguments) != (p.has_default and p.default is not None)
                ranked.append((odd, known.index(called), place, name))
    for _, _, place, name in sorted(ranked):
        p = open_[place]
        if p.name not in found.passed and name not in found.taken:
            _give(p, name, offer, found)


def _settings(offer: Offer) -> Any:
    """A dict of arguments: bn_param, conv_param, hparams; under every name that one may look for."""

    def step(p: Parameter, found: Matched) -> bool:
        if plain(p.name).rpartition("_")[2] not in SETTINGS:
            return False
        entries: dict[str, str] = {}
        settings = [n for n in IN_SETTINGS if n != "padding" or offer.state]  # a pooling function rarely knows of padding
        for name in (n for n in offer.arguments if n not in found.used and n in settings):
            for other in (*NAMES[name], *IN_SETTINGS[name]):
                if len(other) > 1 or other == "p":
                    entries.setdefault(other, MODES if other == "mode" else name)
            found.arguments[f"{p.name}[{name}]"] = name
        found.passed[p.name] = "{" + ", ".join(f"{k!r}: {v}" for k, v in entries.items()) + "}"
        return True

    return step


def _give(p: Parameter, name: str, offer: Offer, found: Matched) -> bool:
    if name in {*offer.inputs, *offer.state, *offer.noise}:
        found.arrays[p.name] = name
        found.passed[p.name] = p.name
    else:
        found.arguments[p.name] = name
        if p.has_default:
            found.defaults[name] = p.default
        mode = name == "training" and (plain(p.name) == "mode" or isinstance(p.default, str))
        found.passed[p.name] = MODES if mode else name
    return True


def _by_place(
    function: Function,
    required: Sequence[Parameter],
    offer: Offer,
    found: Matched,
    special: Mapping[str, str],
    backward: bool,
) -> None:
    """What is left, in order: for a backward the upstream gradient and what forward kept, then inputs and parameters."""
    rest = list(dict.fromkeys(w for w in special.values() if w not in found.passed.values())) if backward else []
    if "cache" in special:  # the output goes by its name, unless it is all that there is
        rest = [w for w in rest if w != special.get("")]
    arrays = [n for n in (*offer.inputs, *offer.state) if n not in found.taken]
    for p in required:
        if rest and (plain(p.name) not in CACHE or "cache" in special):
            found.passed[p.name] = rest.pop(0)
        elif arrays and not backward:
            _give(p, arrays.pop(0), offer, found)
        else:
            raise LikeError(_what(function, p, offer, special, backward))


def _what(function: Function, p: Parameter, offer: Offer, special: Collection[str], backward: bool) -> str:
    shown = f"{function.name}({', '.join(q.name for q in function.parameters)})"
    arrays = listed([*offer.inputs, *offer.state[:4]])
    if backward:
        if plain(p.name) in CACHE and "cache" not in special:
            return (
                f"{shown} takes {p.name}, and forward returns nothing but its output: return (out, {p.name}) there,"
                f" or take what backward needs by its name ({arrays})."
            )
        return (
            f"it is not clear what {p.name} is in {shown}: a backward takes the upstream gradient (dout), what forward returned"
            f" besides its output (cache), and anything that forward takes, under the same name."
        )
    options = listed([a for a in offer.arguments if a in NAMES][:6])
    more = f" and the options {options}" if options else ""
    return (
        f"it is not clear what {p.name} is in {shown}: it may take {arrays}{more}, under these or usual other names"
        f" (x, w, b, pad, …)."
    )
