"""Functions of no course: an exercise made of a registered layer and of what the functions' signatures say.

What a parameter stands for is read off its name (:mod:`.matching`). How things are laid out is found out by asking: the forward
is tried on one case in every arrangement (:mod:`.arrangement`), and those in which it gives what the layer gives are the
exercise's alternatives. What comes back is told apart the same way, so that neither decides whether a gradient is right.
"""

from __future__ import annotations

import ast
import dataclasses
import itertools
import keyword
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refbp.contract import Layer
from refbp.errors import RefbpError
from refbp.oracle import layout
from refbp.oracle.alike.arrangement import Arrangement, arrangements
from refbp.oracle.alike.cases import Cases, resized, takeable
from refbp.oracle.alike.gradients import Order, reference, shape_of
from refbp.oracle.alike.matching import Function, LikeError, Matched, Offer, matched
from refbp.oracle.alike.matching import plain as lower
from refbp.oracle.attempt import attempt
from refbp.oracle.callers import Caller
from refbp.oracle.calls import CallFailed, Scene
from refbp.oracle.comparison import plain
from refbp.oracle.exercise import Exercise
from refbp.oracle.observation import differs
from refbp.oracle.problem import Problem, draw, readable
from refbp.spec import Case, Spec

FITTING = 4  # arrangements that are tried in full
LOCAL = "it gives the local derivative, which the upstream gradient is multiplied with"
SAME = 3
STOPPING = {"timeout", "died", "memory", "too much output"}


@dataclass(frozen=True)
class Model:
    """What functions are held against: a registered layer or loss, or one particular layer of that kind."""

    spec: Spec
    loss: bool
    layer: Layer[Any] | None = None

    @property
    def name(self) -> str:
        """What it is called."""
        return self.spec.name if self.layer is None else repr(self.layer)

    @property
    def cases(self) -> list[Case]:
        """Its registered cases, in the sizes of the particular layer."""
        return list(self.spec.cases) if self.layer is None else resized(self.spec.cases, self.layer)


@dataclass
class Plan:
    """Exercises that are alternatives, and sentences on how the functions were understood."""

    exercises: list[Exercise] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def returned(source: str, path: str) -> tuple[str, ...] | None:
    """The names in a function's last return statement, empty where an item has none; None where there is no such statement."""
    try:
        body: Any = ast.parse(source)
    except (SyntaxError, ValueError):
        return None
    for part in path.split("."):
        nodes = body.body if hasattr(body, "body") else []
        body = next((n for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name == part), None)
        if body is None:
            return None
    found = [n for n in ast.walk(body) if isinstance(n, ast.Return) and n.value is not None]
    if not found:
        return None
    value = max(found, key=lambda n: n.lineno).value
    items = value.elts if isinstance(value, ast.Tuple | ast.List) else [value]
    return tuple(i.id if isinstance(i, ast.Name) else "" for i in items)


def plan(model: Model, forward: Function, backward: Function | None, caller: Caller, seed: int) -> Plan:
    """The exercises; LikeError where the signatures cannot be understood, saying how they would have to look."""
    return _Planner(model, forward, backward, caller, seed).plan()


class _Planner:
    def __init__(self, model: Model, forward: Function, backward: Function | None, caller: Caller, seed: int) -> None:
        self.model, self.forward, self.backward, self.caller, self.seed = model, forward, backward, caller, seed
        layers = [c.layer for c in model.cases]
        offers = [Offer.of(x) for x in layers]
        every: dict[str, list[str]] = {
            part: list(dict.fromkeys(n for o in offers for n in getattr(o, part)))
            for part in ("inputs", "state", "arguments", "noise")
        }
        self.offer = Offer(**every)
        special = {"upstream": "dout"} if backward is None else {}
        self.given = matched(forward, self.offer, special=special)
        self.single = backward is None and "dout" in self.given.passed.values()  # one function for everything
        self.stopped = False
        self.cases = self._cases()
        self.layer = self.cases.all[0].layer
        problem = draw(self._probe(Arrangement(), [self.usual], ""), "std", 0, seed)
        self.order = Order(forward, self.given, self.offer, model.loss, problem)

    def _cases(self) -> Cases:
        known = self.model.layer is not None
        upstream = self.backward is not None and len(self.backward.parameters) > 0
        return takeable(self.model.cases, self.given, self.model.layer if known else None, upstream, self.model.loss)

    @property
    def usual(self) -> Case:
        return self.cases.all[0]

    def plan(self) -> Plan:
        found = Plan()
        fitting = self._fitting()
        for way in fitting:
            exercise = self._exercise(way)
            if not any(e.arrays == exercise.arrays and e.tiers == exercise.tiers for e in found.exercises):
                found.exercises.append(exercise)
        first = found.exercises[0]
        lines = [*first.forward.splitlines(), *first.backward.splitlines()]
        found.notes.append("called as: " + "; ".join(lines))
        if self.cases.left:
            found.notes.append(f"not varied, as the signature does not take it: {', '.join(self.cases.left)}")
        if not first.gradients:
            found.notes.append("no gradient comes back: only the outputs are compared")
        return found

    # Forward

    def _call(self, function: Function, passed: Mapping[str, str], way: Arrangement) -> str:
        args, gap = [], False
        for p in function.parameters:
            if p.name not in passed:
                gap = gap or p.kind not in {"var_positional", "var_keyword"}
                continue
            value = way.passed.get(p.name, passed[p.name])
            args.append(f"{p.name}={value}" if gap or p.kind == "keyword_only" else value)
        return f"{function.name}({', '.join(args)})"

    def _arrays(self, way: Arrangement, more: Matched | None = None) -> dict[str, str]:
        arrays = {**self.given.arrays, **(more.arrays if more else {})}
        return {p: way.arrays.get(n, readable(n)) for p, n in arrays.items()}

    def _probe(self, way: Arrangement, cases: Sequence[Case], forward: str, backward: str = "", **parts: Any) -> Exercise:
        """An exercise of a few cases that asks for nothing but what is told."""
        fixed = {n: 0.0 for n in self.layer.params() if n.startswith("bias_hh") and n not in self.given.arrays.values()}
        tiers = {"std": [self._changed(c, way) for c in cases]}
        noise = self.cases.noise
        return Exercise("probe", forward, backward, self._arrays(way), tiers=tiers, fixed=fixed, noise=noise, **parts)

    def _changed(self, case: Case, way: Arrangement) -> Case:
        if not way.changes:
            return case
        layer = dataclasses.replace(case.layer, **way.changes)  # type: ignore[type-var]
        return Case(layer, *case.draws, id=case.id, state=case.state)

    def _ways(self) -> list[Arrangement]:
        case = self.usual
        inputs = dict(zip(case.layer.inputs(), (len(d.shape) if d is not None else -1 for d in case.draws), strict=False))
        axes = inputs | {n: len(s) for n, s in {**case.layer.params(), **case.layer.buffers()}.items()}
        return [w for w in arrangements(case.layer, self.given, axes, self.model.layer is not None) if self._possible(w)]

    def _possible(self, way: Arrangement) -> bool:
        """Whether the arrays of a case can be laid out in this way."""
        try:
            problem = draw(self._probe(way, [self.usual], ""), "std", 0, self.seed)
            for expression in self._arrays(way).values():
                layout.there(expression, problem.arrays, problem.names)
            self._own(way)
        except (ValueError, IndexError, TypeError, NameError):  # a layout for another number of axes
            return False
        return True

    def _fitting(self) -> list[Arrangement]:
        """The arrangements in which the forward gives what the layer gives; the likeliest where there is none."""
        ways = self._ways()
        self._understood(ways)
        if self.single:
            return ways[:FITTING]
        ran, fits = [], []
        for way in ways:
            try:
                probe = self._probe(way, [self.usual], self._forward_line(way), outputs=self._outputs(way))
                found = attempt(draw(probe, "std", 0, self.seed), self.caller)
            except RefbpError:
                continue
            if found.failed is None:
                ran.append(way)
                fits += [way] if found.forward_ok else []
            elif found.failed.kind in STOPPING:
                break
        return (fits or [w for w in ran if not w.changes][:2] or ways[:1])[:FITTING]

    def _understood(self, ways: Sequence[Arrangement]) -> None:
        """What forward returns: outputs, and what it keeps for backward."""
        value, own, best = None, self._own(ways[0]), 0
        for way in ways:
            found = self._asked(self._found(way), "found")
            if (
                found is not None
                and not (isinstance(found, tuple | list) and not found)
                and best < (fit := _fit(found, self._own(way)[0]))
            ):
                value, own, best = found, self._own(way), fit
            if best == SAME or self.stopped:  # what does not answer once is not asked in every arrangement
                break
        names = self.forward.returned
        n = len(value) if isinstance(value, tuple | list) else 1 if value is not None else max(len(names or ()), 2)
        self.tuple = isinstance(value, tuple | list) or (value is None and n > 1)
        if isinstance(value, dict):
            raise LikeError(f"{self.forward.name} returns a dict: return the output, and after it what backward needs.")
        items = list(value) if isinstance(value, tuple | list) else [value] + [None] * n
        self.outs = 1
        while self.outs < min(len(own), n) and _alike(items[self.outs], own[self.outs]):
            self.outs += 1
        if self.backward is None and self.model.loss:
            self.outs = 1
        used = {*self.given.passed, self.forward.name, self.backward.name if self.backward else "", "np", "N", "dout"}
        said = names if names and len(names) == n else ("",) * n
        ours = list(self.layer.outputs()) if self.outs > 1 else ["loss" if self.model.loss else "out"]
        self.results = _unused(said, used, ours[: self.outs])

    def _own(self, way: Arrangement) -> list[Any]:
        """The reference's outputs, as they are laid out."""
        problem = draw(self._probe(way, [self.usual], ""), "std", 0, self.seed)
        run = reference(problem)
        own = dict(zip(run.output_names, run.own, strict=False))
        return [np.asarray(layout.there(way.outputs.get(n, readable(n)), own, problem.names)) for n in own]

    def _found(self, way: Arrangement) -> Exercise:
        """The forward, and whatever it returns, as it is."""
        names = list(self.layer.outputs()) or ["y"]
        outputs = {"found": way.outputs.get(names[0], readable(names[0]))}
        line = f"found = {self._call(self.forward, self.given.passed, way)}"
        return self._probe(way, [self.usual], line, outputs=outputs, upstream={"dout": "found"})

    def _asked(self, exercise: Exercise, name: str) -> Any:
        """What a name comes to after the exercise's lines, on its first case; None where they fail."""
        problem = draw(exercise, "std", 0, self.seed)
        values: dict[str, Any] = dict(problem.names)
        values |= {n: layout.there(e, problem.arrays, problem.names) for n, e in exercise.arrays.items()}
        values |= {n: np.asarray(_upstream(problem, exercise, o)) for n, o in {**exercise.upstream, "dout": ""}.items()}
        scene = Scene(self.caller, values, seed=problem.seed)
        try:
            scene.run(exercise.forward, {name})
            scene.run(exercise.backward, {name})
        except CallFailed as failure:
            self.stopped = failure.outcome.kind in STOPPING
            return None
        return scene.values.get(name)

    def _forward_line(self, way: Arrangement) -> str:
        targets = ", ".join(self.results)
        if self.tuple and len(self.results) == 1:
            targets += ","
        return f"{targets} = {self._call(self.forward, self.given.passed, way)}"

    def _outputs(self, way: Arrangement) -> dict[str, str]:
        names = list(self.layer.outputs()) or ["y"]
        return {r: way.outputs.get(n, readable(n)) for r, n in zip(self.results[: self.outs], names, strict=False)}

    # Backward

    def _exercise(self, way: Arrangement) -> Exercise:
        line = self._forward_line(way)
        if self.backward is None:
            return self._fused(way, line)
        extras = self.results[self.outs :]
        special = {p: p for p in self._upstreams()} | {"upstream": "dout"}
        special |= ({"cache": extras[0]} if extras else {}) | {r: r for r in self.results} | {"": self.results[0]}
        if self.model.loss:
            special = {k: v for k, v in special.items() if k != "upstream"} | {p: p for p in self.given.arrays}
            special |= {"upstream": "dout"}
        elif not extras:
            special["output"] = self.results[0]
        theirs = matched(self.backward, self.offer, self.given, special)
        call = self._call(self.backward, theirs.passed, way)
        ups = {p: r for p, r in self._upstreams().items() if p in theirs.passed.values()}
        if "dout" in theirs.passed.values():
            ups = {"dout": self.results[0]} | ups
        passed = bool(ups)
        local = not passed and not self.model.loss
        if local and not any(c.__name__ == "Elementwise" for c in type(self.layer).__mro__):
            shown = ", ".join(p.name for p in self.backward.parameters)
            raise LikeError(
                f"{self.backward.name}({shown}) takes no upstream gradient: let it take one (dout) besides what forward kept,"
                f" as in {self.backward.name}(dout, cache)."
            )
        arrays = self._arrays(way, theirs)
        parts = {"outputs": self._outputs(way), "upstream": {"dout": self.results[0]} if local else ups}
        names, lines = self._gradients(way, line, call, arrays, self.backward, local)
        words = (*way.words, LOCAL) if local else way.words
        return self._made(self.backward.name, way, line, lines, arrays, names, words, **parts)

    def _upstreams(self) -> dict[str, str]:
        """The backward's parameters that are upstream gradients of one output each, where there are several: dnext_h, dc."""
        if self.outs == 1 or self.backward is None:
            return {}

        def bare(name: str) -> str:
            return lower(name).removeprefix("next_").removesuffix("_next").removesuffix("_n").removesuffix("_1").strip("_")

        outputs = {bare(r): r for r in self.results[: self.outs]}
        found: dict[str, str] = {}
        for p in self.backward.parameters:
            output = outputs.get(bare(lower(p.name).removeprefix("grad_").removeprefix("d").strip("_")))
            if output and lower(p.name) != bare(output) and lower(p.name).startswith(("d", "grad_")):
                found[p.name] = output
        return found

    def _fused(self, way: Arrangement, line: str) -> Exercise:
        """One function: a loss with its gradient, everything at once, or a forward by itself."""
        upstream = {"dout": self.results[0]} if self.single else {}
        names = self.results[self.outs :] if self.tuple else ()
        parts = {"outputs": self._outputs(way), "upstream": upstream}
        said = self.forward.returned or ()
        if not names or not (self.model.loss or self.single):
            return self._made(self.forward.name, way, line, "", self._arrays(way), {}, way.words, **parts)
        arrays = self._arrays(way)
        value = self._asked(self._found(way), "found")
        if isinstance(value, tuple | list) and len(value) == 2 and isinstance(value[1], dict):
            named = [k for k in value[1] if _usable(k)]
            keys = {k if k.startswith(("d", "g")) else f"d{k}": k for k in named}
            held = self.results[1]
            grads = self.order.in_dict(self.forward, arrays, named, {k: value[1][k] for k in named}, list(keys))
            line += "".join(f"\n{n} = {held}[{k!r}]" for n, k in keys.items() if n in grads)
            return self._made(self.forward.name, way, line, "", arrays, grads, way.words, **parts)
        items = list(value[self.outs :]) if isinstance(value, tuple | list) else [None] * len(names)
        called = [s if s and s == n else "" for s, n in itertools.zip_longest(said[self.outs :], names, fillvalue="")][
            : len(names)
        ]
        wanted = self.order.differentiable(arrays)
        grads = self.order.assigned(arrays, called, items, list(names))
        free = {n: n if n in called else _unused([f"d{w}"], {*arrays, *names, "dout"})[0] for n, w in grads.items()}
        shown = [free.get(n, "_") for n in names]
        line = f"{', '.join([*self.results[: self.outs], *shown])} = {self._call(self.forward, self.given.passed, way)}"
        grads = {free[n]: w for n, w in grads.items() if w in wanted}
        first, rest = ("", line) if self.single else (line, "")
        return self._made(self.forward.name, way, first, rest, arrays, grads, way.words, **parts)

    def _made(
        self,
        name: str,
        way: Arrangement,
        forward: str,
        backward: str,
        arrays: Mapping[str, str],
        grads: Mapping[str, str],
        words: Sequence[str],
        outputs: Mapping[str, str],
        upstream: Mapping[str, str],
    ) -> Exercise:
        fixed = {n: 0.0 for n in self.layer.params() if n.startswith("bias_hh") and n not in self.given.arrays.values()}
        return Exercise(
            name,
            forward,
            backward,
            arrays,
            outputs,
            {t: [self._changed(c, way) for c in cases] for t, cases in self.cases.tiers.items()},
            grads=grads,
            upstream=upstream,
            fixed=fixed,
            noise=self.cases.noise,
            forward_name=self.forward.name,
            convention=", ".join(words),
        )

    def _gradients(
        self, way: Arrangement, forward: str, call: str, arrays: Mapping[str, str], function: Function, local: bool
    ) -> tuple[dict[str, str], str]:
        """Which gradient belongs to which array, and the lines that fetch them."""
        probe = self._probe(way, [self.usual], forward, outputs=self._outputs(way))
        probe = dataclasses.replace(
            probe, backward=f"found = {call}", arrays=arrays, upstream={"dout": self.results[0], **self._upstreams()}
        )
        value = self._asked(probe, "found")
        names = function.returned
        if isinstance(value, tuple | list) and not value:
            value = None
        if isinstance(value, dict):
            keys = [str(k) for k in value]
            targets = _unused([k if _usable(k) else "" for k in keys], {*arrays, *self.results, "dout"})
            grads = self.order.in_dict(function, arrays, keys, value, targets)
            lines = "\n".join(f"{t} = grads_[{k!r}]" for t, k in zip(targets, keys, strict=True) if t in grads)
            return grads, f"grads_ = {call}\n{lines}"
        many = isinstance(value, tuple | list) or (value is None and names is not None and len(names) > 1)
        wanted = self.order.differentiable(arrays)
        n = len(value) if isinstance(value, tuple | list) else len(names or ()) if many and names else 1
        if value is None and names is None:
            n, many = len(wanted), len(wanted) > 1
        items = list(value) if isinstance(value, tuple | list) else [value] * n if n == 1 else [None] * n
        told = names if names and len(names) == n else ("",) * n
        said = [t if lower(t).startswith(("d", "g")) or t in wanted else "" for t in told]
        used = {*arrays, *self.results, *self._upstreams(), "dout", function.name}
        targets = _unused([s or f"d{w}" for s, w in itertools.zip_longest(said, wanted[:n], fillvalue="")][:n], used)
        grads = self.order.assigned(arrays, said, items, targets)
        shown = [t if t in grads else "_" for t in targets]
        if local:
            return grads, f"{shown[0]} = dout * {call}"
        return grads, f"{', '.join(shown)}{',' if many and n == 1 else ''} = {call}"


def _usable(name: Any) -> bool:
    """Whether a key can stand in call notation: whatever a submission returns becomes no more than a name there."""
    return isinstance(name, str) and name.isidentifier() and not keyword.iskeyword(name)


def _unused(names: Sequence[str], used: set[str], outputs: Sequence[str] = ("out",)) -> tuple[str, ...]:
    """Names for what comes back: their own where they are free, else those of the outputs, then cache."""
    found: list[str] = []
    for i, name in enumerate(names):
        default = outputs[i] if i < len(outputs) else "cache" if i == len(outputs) else f"cache{i}"
        wanted = name if name and name != "_" else default
        while wanted in used or wanted in found:
            wanted += "_"
        found.append(wanted)
    return tuple(found)


def _fit(found: Any, expected: Any) -> int:
    """How well what came back, or the first of it, is an output: SAME, of its shape, or there."""
    first = plain(found[0] if isinstance(found, tuple | list) and found else found)
    if first is None or first.shape != expected.shape:
        return 1
    return SAME if not differs(first, expected, 1e-6).any() else 2


def _alike(value: Any, expected: Any) -> bool:
    """Whether what came back has the shape of an output, but for axes of one."""
    shape = shape_of(value)
    return shape is not None and [n for n in shape if n > 1] == [n for n in expected.shape if n > 1]


def _upstream(problem: Problem, exercise: Exercise, output: str) -> Any:
    """An upstream gradient of the right shape in the course's layout; of the first output where none is named."""
    run = reference(problem)
    given = dict(zip(run.output_names, map(np.ones_like, run.own), strict=False))
    first = next(iter(exercise.outputs.values()), run.output_names[0])
    return layout.there(exercise.outputs.get(output, first), given, problem.names)
