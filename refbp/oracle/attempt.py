"""One case of an exercise: drawn, put to somebody's functions, answered by the reference, and the two compared.

The reference, the inputs and the comparison stay on this side; a submission is given copies and gives back plain data.
"""

from __future__ import annotations

import ast
import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refbp.contract import Grads, Step
from refbp.errors import listed
from refbp.oracle import layout
from refbp.oracle.callers import Caller, Outcome
from refbp.oracle.calls import CallFailed, Scene
from refbp.oracle.comparison import SINGLE, Comparison, apart, compared, plain
from refbp.oracle.exercise import Exercise
from refbp.oracle.observation import Observation, Upstream
from refbp.oracle.problem import Problem, readable

Array = NDArray[Any]
STAND_IN = "the reference"


@dataclass(frozen=True, eq=False)
class Attempt:
    """How one case ended: ``failed`` says which call brought no value, else everything is compared.

    ``grads`` are held against what the course wants, ``autograd`` against the derivative itself; ``layer`` is the reference
    as it was asked, with the submission's own choices.
    """

    problem: Problem
    failed: Outcome | None = None
    call: str = ""
    phase: str = ""
    outputs: tuple[Comparison, ...] = ()
    grads: tuple[Comparison, ...] = ()
    autograd: tuple[Comparison, ...] = ()
    changed: tuple[str, ...] = ()
    calls: Mapping[str, int] = field(default_factory=dict)
    observation: Observation | None = None

    @property
    def forward_ok(self) -> bool:
        """Whether forward answered, and rightly."""
        return self.phase != "forward" and all(c.ok for c in self.outputs)

    @property
    def backward_ok(self) -> bool:
        """Whether every gradient is what the course wants."""
        return self.failed is None and bool(self.grads) and all(c.ok for c in self.grads)


def attempt(problem: Problem, caller: Caller, count: bool = False, before: Outcome | None = None) -> Attempt:
    """Put a problem to somebody's functions; ``before`` is how their backward ended in another case: it is not called again."""
    exercise = problem.exercise
    names = problem.names
    values = {**names, "default": _default(caller), "without": _without(caller), "knows": _knows(caller)}
    values |= {n: layout.there(e, problem.arrays, names) for n, e in exercise.arrays.items() if _given(e, problem)}
    scene = Scene(caller, values, seed=problem.seed, count=count, driver=exercise.driver, helpers=exercise.helpers)
    wanted = {*exercise.outputs, *exercise.gradients}
    asked = problem
    try:
        scene.run(exercise.forward, wanted)
        asked = _as_they_do(problem, scene)
    except CallFailed as failure:
        return _failed(problem, failure, "forward", scene)
    run = Run(asked, scene)
    outputs = tuple(run.outputs())
    try:
        upstream = run.upstream()
        if exercise.backward and before is not None:
            raise CallFailed(before, exercise.backward.strip())
        if exercise.backward:
            scene.values |= run.theirs(upstream)
            scene.run(exercise.backward, wanted)
    except CallFailed as failure:
        ended = _failed(asked, failure, "backward", scene)
        told = run.observation(upstream, {}, ended.failed.sentence if ended.failed else "")
        return dataclasses.replace(ended, outputs=outputs, observation=told)
    if not exercise.forward:  # one call for everything, which is given its upstream gradient
        outputs = tuple(run.outputs())
    if not exercise.gradients:
        return Attempt(asked, outputs=outputs, changed=tuple(scene.changed), calls=scene.calls)
    got = {n: scene.values.get(n) for n in exercise.gradients}
    course, autograd = run.grads(upstream, got)
    # A loss's backward that is passed no upstream gradient cannot be asked for another one's
    again = (lambda u: _again(asked, caller, u)) if exercise.upstreams else None
    told = run.observation(upstream, got, "", tuple(scene.changed), again)
    return Attempt(asked, None, "", "", outputs, course, autograd, tuple(scene.changed), scene.calls, told)


def _given(expression: str, problem: Problem) -> bool:
    """Whether a layout's arrays are there: an optional one may not be."""
    names = set(layout._code(expression).co_names)
    entries = {readable(n) for n in (*problem.layer.inputs(), *problem.layer.params(), *problem.layer.buffers())}
    return not (names & entries - set(problem.arrays))


def _keys(exercise: Exercise) -> set[str]:
    """The keys of the dicts that an exercise gives to forward."""
    displays = [n for n in ast.walk(ast.parse(exercise.forward)) if isinstance(n, ast.Dict)]
    return {k.value for d in displays for k in d.keys if isinstance(k, ast.Constant) and isinstance(k.value, str)}


def _failed(problem: Problem, failure: CallFailed, phase: str, scene: Scene) -> Attempt:
    outcome = failure.outcome
    key = re.fullmatch(r"raises KeyError: '(\w+)'", outcome.sentence)
    if key and (keys := _keys(problem.exercise)) and key[1] not in keys:
        outcome = dataclasses.replace(outcome, sentence=f"{outcome.sentence}: the keys are {listed(sorted(keys))}")
    if "has no attribute" in outcome.sentence and "(" not in failure.call:  # nothing of theirs was called: a value is read
        outcome = dataclasses.replace(outcome, sentence=f"{outcome.sentence}, which is read after {phase}: {failure.call}")
    return Attempt(problem, outcome, failure.call, phase, changed=tuple(scene.changed), calls=scene.calls)


def _default(caller: Caller) -> Any:
    def default(target: str, parameter: str, otherwise: Any = None) -> Any:
        """A default from a function's signature, where it has one."""
        found = next((p for p in caller.parameters(target) if p.name == parameter), None)
        return found.default if found is not None and isinstance(found.default, int | float) else otherwise

    return default


def _without(caller: Caller) -> Any:
    def without(target: str, parameter: str) -> None:
        """Nothing, where a function has no such parameter: a convention is not for those that have it."""
        if any(p.name == parameter for p in caller.parameters(target)):
            text = f"{target} has the parameter {parameter}, which this convention does not know"
            raise CallFailed(Outcome("refused", sentence=text), f"without({target!r}, {parameter!r})")

    return without


def _knows(caller: Caller) -> Any:
    def knows(target: str, parameter: str) -> None:
        """Nothing, where a function has this parameter: without it, what the parameter is for was never asked of anybody."""
        if not any(p.name == parameter or p.kind == "var_keyword" for p in caller.parameters(target)):
            text = f"{target} has no parameter {parameter}"
            raise CallFailed(Outcome("not implemented", sentence=text), f"knows({target!r}, {parameter!r})")

    return knows


def _as_they_do(problem: Problem, scene: Scene) -> Problem:
    """The problem with the submission's own choices, and with what it drew at random."""
    exercise, layer, inputs = problem.exercise, problem.layer, problem.inputs
    for name, expression in exercise.reads.items():
        value = scene.value(expression)
        if isinstance(value, int | float | np.number) and math.isfinite(value):
            layer = dataclasses.replace(layer, **{name: float(value)})  # type: ignore[type-var]
    if exercise.noise is not None:
        outputs = {n: scene.values.get(n) for n in exercise.outputs}
        try:
            inputs = (*inputs, *exercise.noise(layer, inputs, outputs))
        except Exception as error:
            text = f"draws at random otherwise than it should: {error}"
            raise CallFailed(Outcome("misfit", sentence=text), exercise.forward.strip()) from None
    return dataclasses.replace(problem, layer=layer, inputs=inputs)


class Run:
    """The reference's answers to one problem, in both layouts."""

    def __init__(self, problem: Problem, scene: Scene) -> None:
        self.problem, self.scene, self.exercise = problem, scene, problem.exercise
        with np.errstate(all="ignore"):
            self.step: Step = problem.layer(problem.state, *problem.inputs, **problem.options)
        got = self.step.outputs
        self.own = got if isinstance(got, tuple) else (got,)
        self.output_names = [readable(n) for n in problem.layer.outputs()] or ["y"]

    @cached_property
    def answers(self) -> dict[str, Any]:
        """The reference's outputs by name, and new buffer values as updates[…]."""
        found: dict[str, Any] = dict(zip(self.output_names, self.own, strict=False))
        return found | {f"new_{readable(n)}": u for n, u in self.step.updates.items()}

    def factor(self, name: str, factors: Mapping[str, str]) -> float:
        """A factor that the course has."""
        if name not in factors:
            return 1.0
        return float(layout.there(factors[name], {}, self.problem.names))

    def outputs(self) -> list[Comparison]:
        """What forward gave, beside what it should give."""
        given = self.scene.values
        return [compared(n, given[n], a, self.rtol) for n, a in self.expected().items() if n in given]

    def expected(self) -> dict[str, Array]:
        """What forward should give, by the course's names and in its layout."""
        found = {}
        for name, expression in self.exercise.outputs.items():
            answer = np.asarray(layout.there(expression, self.answers, self.problem.names))
            found[name] = np.asarray(answer * self.factor(name, self.exercise.output_factors))
        return found

    @property
    def rtol(self) -> float:
        """How close is close, relative to the largest element."""
        return 1e-3 if self.problem.tier == "dtype" else self.exercise.rtol

    def upstream(self) -> tuple[Any, ...]:
        """One upstream gradient per output of the reference: random where the course passes one, 1 for a loss."""
        if self.problem.upstream is not None:
            return self.problem.upstream
        rng = np.random.default_rng(self.problem.seed)
        passed = {e for n in self.exercise.upstreams.values() for e in layout.covered(self.exercise.outputs[n], self.answers)}
        told = {e for n in self.exercise.outputs for e in layout.covered(self.exercise.outputs[n], self.answers)}
        found: list[Any] = []
        for name, y in zip(self.output_names, self.own, strict=False):
            signed = rng.uniform(0.5, 1.5, y.shape) * rng.choice([-1.0, 1.0], y.shape)
            if name in passed:
                found.append(signed.astype(y.dtype))
            elif name in told and y.size == 1 and not self.exercise.upstreams:
                scale = next((self.factor(n, self.exercise.output_factors) for n in self.exercise.outputs), 1.0)
                found.append(np.full_like(y, scale))
            else:
                found.append(None)
        return tuple(found)

    def theirs(self, upstream: Sequence[Any]) -> dict[str, Any]:
        """The upstream gradients in the course's layout."""
        given = {n: u for n, u in zip(self.output_names, upstream, strict=False) if u is not None}
        given |= {n: np.zeros_like(y) for n, y in self.answers.items() if n not in given}
        found = {}
        for name, output in self.exercise.upstreams.items():
            scale = self.factor(output, self.exercise.output_factors)
            found[name] = layout.there(self.exercise.outputs[output], given, self.problem.names) / scale
        return found

    def right(self, upstream: Sequence[Any]) -> dict[str, Any]:
        """The reference's gradients by its own names."""
        grads: Grads = self.step.backward(*upstream)
        return dict(zip(self.problem.layer.inputs(), grads.inputs, strict=False)) | grads.params

    def grads(self, upstream: Sequence[Any], got: Mapping[str, Any]) -> tuple[tuple[Comparison, ...], tuple[Comparison, ...]]:
        """Every gradient, held against what the course wants and against the derivative."""
        with np.errstate(all="ignore"):
            right = {readable(n): g for n, g in self.right(upstream).items() if g is not None}
        arrays = self.problem.arrays
        course, autograd = [], []
        for name, array in self.exercise.gradients.items():
            expression = self.exercise.arrays[array]
            if not _given(expression, self.problem) or not set(layout.covered(expression, arrays)) <= set(right):
                continue
            derivative = np.asarray(layout.there(expression, {**arrays, **right}, self.problem.names))
            wanted = derivative * self.factor(name, self.exercise.factors)
            course.append(compared(name, got[name], wanted, self.rtol))
            autograd.append(compared(name, got[name], derivative, self.rtol))
        return tuple(course), tuple(autograd)

    def observation(
        self,
        upstream: Sequence[Any],
        got: Mapping[str, Any],
        error: str,
        changed: tuple[str, ...] = (),
        again: Any = None,
    ) -> Observation | None:
        """The case as the explainer sees it: in the reference's layout, without the course's factors."""
        real = {readable(n): n for n in (*self.problem.layer.inputs(), *self.problem.state)}
        with np.errstate(all="ignore"):
            right = {readable(n): g for n, g in self.right(upstream).items() if g is not None}
        theirs: dict[str, Any] = {}
        expected: dict[str, Any] = {}
        alone: set[str] = set()  # parts that are seen as the course sees them
        for name, array in self.exercise.gradients.items():
            expression = self.exercise.arrays[array]
            parts = layout.covered(expression, self.problem.arrays)
            if not _given(expression, self.problem) or not set(parts) <= set(right):
                continue
            expected |= {real[p]: right[p] for p in parts if p not in alone}
            if error or name not in got:
                continue
            derivative = np.asarray(layout.there(expression, {**self.problem.arrays, **right}, self.problem.names))
            value = plain(got[name])
            if value is None:
                theirs |= dict.fromkeys((real[p] for p in parts), None)
                continue
            factor = self.factor(name, self.exercise.factors)
            if value.shape != derivative.shape and value.size == derivative.size == 1:
                value = value.reshape(derivative.shape)
            misfit = value.shape != derivative.shape or value.dtype.kind not in "fiub"
            try:
                back = (
                    {}
                    if misfit
                    else layout.back(
                        expression, value, {p: right[p] for p in parts}, {**self.problem.arrays, **self.problem.names}
                    )
                )
            except Exception:  # a layout that cannot be undone: then it is seen as the course sees it
                misfit = True
            if misfit:
                value = value / factor if factor != 1.0 and value.dtype.kind in "fiub" else value
                theirs[real[parts[0]]], expected[real[parts[0]]] = value, derivative
                alone.add(parts[0])
                continue
            for part in set(back) - alone:
                a = back[part] / factor if factor != 1.0 else back[part]
                told = theirs.get(real[part], right[part])  # other gradients may be other parts of the same array
                told = right[part] if told is None else told
                seen = np.where(_reached(expression, part, self.problem, right), a, told)
                single = value.dtype in (np.float32, np.float16)  # in which it is as right as it can be
                if single and not apart(seen.astype(value.dtype), right[part], SINGLE):
                    theirs[real[part]] = right[part]
                else:
                    theirs[real[part]] = seen.astype(value.dtype) if single else seen
        p = self.problem
        return Observation(
            p.layer,
            p.state,
            p.inputs,
            tuple(upstream),
            theirs,
            expected,
            p.id,
            p.options,
            again=again,
            error=error,
            changed=changed,
        )


def wanted(problem: Problem) -> dict[str, Any]:
    """What forward and backward should give for a problem, by the course's names: nobody's functions are called."""
    names = {*problem.exercise.outputs, *problem.exercise.gradients}
    run = Run(problem, Scene(None, dict.fromkeys(names)))  # type: ignore[arg-type]
    with np.errstate(all="ignore"):
        grads = run.grads(run.upstream(), dict.fromkeys(names))[0] if problem.exercise.gradients else ()
        return {c.name: c.expected for c in (*run.outputs(), *grads)}


def _reached(expression: str, part: str, problem: Problem, right: Mapping[str, Any]) -> Any:
    """Which elements of an array a layout shows at all."""
    parts = layout.covered(expression, problem.arrays)
    marks = {p: np.zeros(np.shape(right[p])) for p in parts}
    shown = layout.there(expression, {**problem.arrays, **marks}, problem.names)
    back = layout.back(expression, np.ones(np.shape(shown)), marks, {**problem.arrays, **problem.names})
    return ~np.isnan(back[part])


def _again(problem: Problem, caller: Caller, upstream: Upstream) -> Mapping[str, Any]:
    """Somebody's gradients for another upstream gradient, in the reference's layout."""
    anew = attempt(dataclasses.replace(problem, upstream=tuple(upstream)), caller)
    if anew.failed is not None or anew.observation is None:
        raise ValueError(anew.failed.sentence if anew.failed else "nothing came back")
    return anew.observation.got
