"""What a course asks its students to write: exercises are data, registered through the hook ``refbp_exercises``.

An exercise says how its functions are called (:mod:`.calls`), which array of the reference each name stands for
(:mod:`.layout`), and on which cases of which reference layer it is tried::

    Exercise(
        "affine_backward",
        forward="out, cache = affine_forward(x, w, b)",
        backward="dx, dw, db = affine_backward(dout, cache)",
        arrays={"x": "x", "w": "weight.T", "b": "bias"},
        outputs={"out": "y"},
        tiers={"std": [Case(Linear(3, 5), normal(7, 3))]},
    )
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from refbp.contract import Layer
from refbp.errors import RefbpError
from refbp.oracle.calls import QUESTIONS, NotationError, assigned, called, check_names, methods
from refbp.spec import Case

TIERS = {
    "std": "the usual case: odd sizes, every dimension another, all options",
    "degenerate": "one sample, one step, one channel, nothing to average over",
    "kink": "where the derivative jumps, and at ties: several answers are defensible there",
    "stability": "large values, and columns without variance",
    "dtype": "float32 and integers go in",
    "mode": "evaluation instead of training",
}


class ExerciseError(RefbpError):
    """An exercise or course that contradicts itself."""


@dataclass(frozen=True)
class Exercise:
    """One gradient that students write.

    ``forward`` and ``backward`` are call notation. ``arrays`` says what each name is in terms of the reference's inputs and
    state ("weight.T"), ``outputs`` the same of what forward returns, in terms of the reference's outputs. Sizes and
    arguments of the reference layer may be used by name anywhere.

    ``grads`` names for each gradient the array that it belongs to; "dx" belongs to "x" without being told, and so does
    "dLdW" to "W". ``upstream`` names likewise the output of each upstream gradient: "dout" is the first output's.
    ``factors`` are the course's own: "1/N" says that it wants that many times the derivative.

    ``reads`` are the submission's own choices, read off what it made ("layer.eps") or its signature
    ('default("batchnorm_forward", "eps", 1e-5)'), and given to the reference. ``noise`` recovers what was drawn at random
    from a submission's outputs: noise(layer, inputs, outputs) gives the reference's noise inputs. ``fixed`` gives values to
    entries of the state that no name stands for.

    ``words`` are what the reference's words for a quantity are to a submission: {"(1 − p)": "p"} where its p is what is kept.

    ``driver`` is Python for styles that take more than a call: its functions are called like the submission's, run beside
    it, and see it as ``submission``. What a driver calls stands in ``also``: what a submission must have besides.
    ``beside`` is a class by which its file is told from others that define the same names: without it, nothing is missing.

    Exercises of one name are alternatives: the one that fits best is what counts, and its ``convention`` is what is said.
    """

    name: str
    forward: str
    backward: str = ""
    arrays: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    tiers: Mapping[str, Sequence[Case]] = field(default_factory=dict)
    grads: Mapping[str, str] = field(default_factory=dict)
    upstream: Mapping[str, str] = field(default_factory=dict)
    factors: Mapping[str, str] = field(default_factory=dict)
    output_factors: Mapping[str, str] = field(default_factory=dict)
    reads: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    noise: Callable[..., tuple[Any, ...]] | None = None
    driver: str = ""
    also: tuple[str, ...] = ()
    beside: str = ""
    forward_name: str = ""
    convention: str = ""
    points: float = 1.0
    tensors: bool = False
    modules: tuple[str, ...] = ()
    rtol: float = 1e-6

    def __post_init__(self) -> None:
        """ExerciseError where the parts do not fit each other."""
        if not self.tiers or not any(self.tiers.values()):
            raise ExerciseError(f"exercise {self.name}: it has no cases: give tiers={{'std': [Case(…)]}}.")
        if unknown := [t for t in self.tiers if t not in TIERS]:
            raise ExerciseError(f"exercise {self.name}: no tier is called {unknown[0]!r}; the tiers are {', '.join(TIERS)}.")
        self.helpers  # noqa: B018  # a driver that is no Python is an error now
        try:
            for name in self.gradients:
                if name not in assigned(self.backward or self.forward) and name not in assigned(self.forward):
                    raise ExerciseError(f"exercise {self.name}: no line assigns the gradient {name}.")
            sizes = {n for c in self.cases for n in (*c.layer.sizes, *c.layer.arguments(), *self.values)}
            known = {*self.arrays, *self.upstreams, *sizes, "rng", *QUESTIONS, "N", "layer_options"}
            check_names(self.forward, known)
            check_names(self.backward, known | set(assigned(self.forward)))
        except NotationError as error:
            raise ExerciseError(f"exercise {self.name}: {error}") from None

    @property
    def cases(self) -> list[Case]:
        """The cases of all tiers."""
        return [c for cases in self.tiers.values() for c in cases]

    @property
    def layer(self) -> Layer[Any]:
        """The reference of the first case."""
        return self.cases[0].layer

    @cached_property
    def gradients(self) -> dict[str, str]:
        """Gradient to array: those that are named, then those that are called after their array."""
        found = dict(self.grads)
        lines = [*assigned(self.backward), *(assigned(self.forward) if not self.backward or self.fused else ())]
        for name in lines:
            if name not in found and (array := _after(name, self.arrays)) and array not in found.values():
                found[name] = array
        return found

    @property
    def fused(self) -> bool:
        """Whether one call gives a loss and its gradient."""
        return not self.backward

    @cached_property
    def upstreams(self) -> dict[str, str]:
        """Upstream gradient to output."""
        if self.upstream or not self.backward or not self.outputs:
            return dict(self.upstream)
        found = {}
        import ast

        read = {n.id for s in ast.walk(ast.parse(self.backward)) if isinstance(s, ast.Name) for n in [s]}
        for name in sorted(read - set(self.arrays) - set(assigned(self.forward)) - set(assigned(self.backward))):
            if output := _after(name, self.outputs):
                found[name] = output
            elif name in {"dout", "dy", "grad_output", "dvalues", "delta"}:
                found[name] = next(iter(self.outputs))
        return found

    @property
    def needs(self) -> tuple[str, ...]:
        """The functions and classes, and static methods, that a submission must have."""
        calls = [c for c in called(f"{self.forward}\n{self.backward}") if c.split(".")[0] not in self.helpers]
        return tuple(dict.fromkeys((*calls, *([self.beside] if self.beside else []), *self.also)))

    @cached_property
    def helpers(self) -> frozenset[str]:
        """The functions of the driver."""
        import ast

        try:
            return frozenset(n.name for n in ast.parse(self.driver).body if isinstance(n, ast.FunctionDef | ast.ClassDef))
        except SyntaxError as error:
            raise ExerciseError(f"exercise {self.name}: its driver is no Python: {error.msg} (line {error.lineno}).") from None

    @property
    def methods(self) -> tuple[tuple[str, str], ...]:
        """The methods that are called, with their classes."""
        return tuple(m for m in methods(f"{self.forward}\n{self.backward}") if m[0] not in self.helpers)

    def targets(self, phase: str) -> list[str]:
        """The functions and methods of the submission that forward calls, or backward."""
        source, before = (self.forward, "") if phase == "forward" else (self.backward, self.forward)
        found = [c for c in called(f"{before}\n{source}") if c in called(source) and c.split(".")[0] not in self.helpers]
        found += [f"{c}.{m}" for c, m in self.methods if ((c, m) in methods(self.forward)) == (phase == "forward")]
        # A driver makes the calls itself: a row's name says whose they are
        return [*found, self.rows[0 if phase == "forward" else -1]] if self.driver else found

    @property
    def rows(self) -> tuple[str, ...]:
        """What a table shows: the forward's name, then the backward's, unless both are one, or none calls the forward."""
        forward = self.forward_name or _first(self.forward, self.helpers)
        return (self.name,) if not self.backward or forward in {"", self.name} else (forward, self.name)


@dataclass(frozen=True)
class Course:
    """The exercises of a course, what it assumes, and the names by which it is recognised.

    ``modules`` are importable by a submission besides NumPy; ``imports`` are packages of which every submission of the course
    imports one, where its class names alone do not tell it from others; ``file`` is where the course was read from.
    ``about`` is a sentence on where it is from, ``conventions`` are sentences: where its 1/N sits, which way round a weight
    lies. ``stand_ins`` maps modules that a submission compiles to the modules of its own that do the same in Python.
    ``given`` are files that the course hands out and submissions import, by name: what is in them, in refbp's own words.
    """

    name: str
    about: str
    exercises: Sequence[Exercise]
    conventions: Sequence[str] = ()
    modules: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    file: str = ""
    url: str = ""
    stand_ins: Mapping[str, str] = field(default_factory=dict)
    given: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """ExerciseError where it has none."""
        if not self.exercises:
            raise ExerciseError(f"course {self.name} has no exercises.")

    @property
    def names(self) -> frozenset[str]:
        """Every function and class that its exercises call."""
        return frozenset(n.split(".")[0] for e in self.exercises for n in e.needs)

    def select(self, names: Sequence[str]) -> list[Exercise]:
        """The exercises of these names, or rows; all where none is named."""
        if not names:
            return list(self.exercises)
        from refbp.errors import UnknownNameError, did_you_mean

        found = [e for e in self.exercises if e.name in names or set(e.rows) & set(names) or set(e.needs) & set(names)]
        known = {n for e in self.exercises for n in (e.name, *e.rows, *e.needs)}
        if missing := [n for n in names if n not in known]:
            raise UnknownNameError(f"{self.name} has no exercise {missing[0]!r}{did_you_mean(missing[0], sorted(known))}.")
        return found


def _after(name: str, arrays: Mapping[str, str]) -> str:
    """The array that a gradient is called after: dx, dLdx, grad_x, x_grad, x.grad."""
    for array in arrays:
        short = array.lstrip("_")
        if name in {f"d{short}", f"dL_d{short}", f"dLd{short}", f"grad_{short}", f"{short}_grad", f"d_{short}", f"d{short}_"}:
            return array
    return ""


def _first(source: str, helpers: Collection[str]) -> str:
    names = [n for n in (*called(source), *(f"{c}.{m}" for c, m in methods(source))) if n.split(".")[0] not in helpers]
    return names[-1] if names else ""
