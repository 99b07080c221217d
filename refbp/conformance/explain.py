"""Why a layer's gradient is wrong, and the smallest input that shows it: for a layer that a run has found wrong.

The right gradients are torch's. What is asked of the layer's own source is which one change would make it right.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refbp.conformance import compare
from refbp.conformance.outcome import Verdict
from refbp.conformance.trial import SEED, Trial, named
from refbp.conformance.twin import TorchRun
from refbp.conformance.verify import Result, verify
from refbp.contract import State
from refbp.draws import exactly
from refbp.oracle.diagnose import diagnose
from refbp.oracle.finding import Finding
from refbp.oracle.observation import Observation, Upstream, same
from refbp.oracle.shrink import CLEAR, Example, Failure, judge, shrink
from refbp.oracle.written import arrays, described, identifier, script
from refbp.registry import Entry
from refbp.spec import Case, Spec

Array = NDArray[Any]
SECONDS = 8.0  # for one layer: about half for words, half for the smallest input
LONG = 400  # characters of an example that a report shows; --json and --script have all of it
CHECKS = ("gradients", "gradients-alone", "outputs-alone")  # those of which an explanation speaks


@dataclass(frozen=True)
class Explained:
    """What is said of one wrong result beyond its numbers."""

    case: str
    check: str
    findings: tuple[Finding, ...]
    example: tuple[str, str] | None = None  # the smallest failing input, and what came of it
    script: str | None = None

    def lines(self) -> list[str]:
        """The explanation as lines of a report."""
        found = ["why: not explained"] if not self.findings else []
        for i, f in enumerate(self.findings):
            found += [f"{'why' if i == 0 else 'also'}: {f.sentence}", f"     ({f.evidence})"]
        if self.example:
            shown = [text if len(text) <= LONG else f"{text[:LONG]}…" for text in self.example]
            found += [f"smallest failing input:  {shown[0]}", f"                         {shown[1]}"]
        return found

    def data(self) -> dict[str, Any]:
        """The explanation as plain data."""
        return {
            "case": self.case,
            "check": self.check,
            "findings": [f.data() for f in self.findings],
            "smallest_input": self.example[0] if self.example else None,
            "smallest_input_gives": self.example[1] if self.example else None,
            "script": self.script,
        }


def verify_and_explain(
    entry: Entry, seed: int = SEED, cases: Sequence[str] = (), checks: Sequence[str] = ()
) -> tuple[tuple[Result, ...], Explained | None]:
    """Every result of one layer, and an explanation of its first wrong gradient."""
    results = verify(entry, seed, cases, checks)
    return results, explained(entry, results, seed)


def explained(entry: Entry, results: Sequence[Result], seed: int = SEED, seconds: float = SECONDS) -> Explained | None:
    """The explanation of the first wrong gradient among some results, if there is one."""
    wrong = next((r for r in results if r.check in CHECKS and r.outcome is not None and r.outcome.wrong), None)
    if wrong is None or (wrong.outcome and wrong.outcome.verdict is Verdict.TORCH):  # the layer is right, says the witness
        return None
    try:
        return _explained(entry, wrong, seed, seconds)
    except Exception as error:  # an explanation is an extra: where it fails, the result still stands
        unexplained = Finding("failed", f"the search for an explanation failed: {type(error).__name__}: {error}", "", 0.0)
        return Explained(wrong.case, wrong.check, (unexplained,))


def _explained(entry: Entry, wrong: Result, seed: int, seconds: float) -> Explained | None:
    spec = entry.spec
    trials = [Trial(spec, i, seed) for i in range(len(spec.cases))]
    observations = [o for t in trials if (o := _observation(t)) is not None]
    if not any(o.wrong for o in observations):
        return None  # what is wrong is no number of a gradient: the result says what
    findings = tuple(diagnose(observations, seconds=seconds / 2))
    this = next((t for t in trials if t.id == wrong.case), None)
    seen = next((o for o in observations if o.id == wrong.case), None)
    if this is None or seen is None or not seen.wrong or this.noise:  # noise that torch draws is not to be made smaller
        return Explained(wrong.case, wrong.check, findings)
    smallest = _smallest(spec, seen, seconds / 2)
    if smallest is None:
        return Explained(wrong.case, wrong.check, findings)
    (example, failure), lines = smallest
    text = script(example, failure, ["from refbp import registry"], _call(entry, example, failure))
    return Explained(wrong.case, wrong.check, findings, lines, text)


def _observation(trial: Trial) -> Observation | None:
    """A trial as the explainer sees it; None where torch is no judge of gradients: the forward differs, or a waiver holds."""
    if any(w.check == "gradients" and w.when(trial.case) for w in trial.spec.waivers):
        return None
    expected = {n: g for n, g in trial.torch.grads.items() if g is not None}
    given: dict[str, Any] = {}
    error = ""
    try:
        if compare.outputs(trial, trial.outputs, trial.torch.outputs).wrong:
            return None
        own = trial.own_grads
        within_budget = not compare.gradients(trial, own, trial.torch.grads).wrong
        given = dict(expected) if within_budget else {n: own.get(n) for n in expected}
    except Exception as problem:  # whatever the layer's own code raises
        error = f"{type(problem).__name__}: {problem}"

    def again(upstream: Upstream) -> Mapping[str, Any]:
        return named(trial.pull(trial.step(), list(upstream)), trial.input_names)

    return Observation(
        trial.layer,
        trial.state,
        trial.inputs,
        tuple(trial.upstream) if not error else (),
        given,
        expected,
        trial.id,
        trial.case.options,
        reference=lambda upstream: torch_gradients(trial, upstream),
        again=again,
        error=error,
    )


def torch_gradients(trial: Trial, upstream: Upstream) -> dict[str, Any]:
    """Torch's gradients for another upstream gradient than the trial's own."""
    return {n: g for n, g in _asked(trial.fresh(), upstream).grads.items() if g is not None}


def _asked(trial: Trial, upstream: Upstream) -> TorchRun:
    trial.upstream_for = lambda *_: list(upstream)  # type: ignore[method-assign]
    return TorchRun(trial)


def _smallest(spec: Spec, o: Observation, seconds: float) -> tuple[tuple[Example, Failure], tuple[str, str]] | None:
    example = Example(o.layer, o.state, o.inputs, o.upstream, dict(o.options or {}))
    for clear in (CLEAR, 1e-6):
        judged = judge(o.wrong[0], _own, lambda e: _theirs(spec, e), clear)
        if found := shrink(example, judged, seconds):
            return found, described(*found, judged)
    return None


def _own(example: Example) -> Mapping[str, Any]:
    step = example.layer(example.state, *example.inputs, **example.options)
    return named(step.backward(*example.upstream), list(example.layer.inputs()))


def _theirs(spec: Spec, example: Example) -> Mapping[str, Any]:
    """Torch's gradients for any example of a layer; none where the outputs differ, for then there is no gradient to judge."""
    draws = [None if a is None else exactly(np.asarray(a).tolist()) for a in example.inputs]
    alone = dataclasses.replace(spec, cases=[Case(example.layer, *draws, options=example.options)], waivers=(), exempt=())
    trial = Trial(alone, 0)
    trial.__dict__.update(drawn=example.inputs, state=State(example.state, set(example.layer.buffers())))
    run = _asked(trial, example.upstream)
    own = example.layer(example.state, *example.inputs, **example.options).outputs
    outputs = own if isinstance(own, tuple) else (own,)
    if len(outputs) != len(run.outputs) or not all(same(y, t, 1e-7) for y, t in zip(outputs, run.outputs, strict=True)):
        return {}
    return run.grads


def _call(entry: Entry, example: Example, failure: Failure) -> list[str]:
    """The lines of a script that call the layer: by its class, found where it was found here."""
    where = f"[{str(Path(entry.file).resolve())!r}]" if entry.file else ""
    layer = repr(example.layer)
    names = sorted(_classes(layer) | {entry.name})
    held = arrays(example)
    state = ", ".join(f"{n!r}: {identifier(n)}" for n in example.state)
    inputs = [identifier(n) if n in held else "None" for n, _ in zip(example.layer.inputs(), example.inputs, strict=False)]
    options = [f"{n}={n}" for n in example.options]
    upstream = [n for n in held if n not in example.layer.inputs() and n not in example.state]
    inner = list(example.layer.inputs())
    got = f".inputs[{inner.index(failure.gradient)}]" if failure.gradient in inner else f".params[{failure.gradient!r}]"
    return [
        f"known = registry.discover({where})",
        *(f"{n} = known.get({n!r}).spec.layer" for n in names),
        f"step = {layer}({{{state}}}, {', '.join([*inputs, *options])})",
        f"got = step.backward({', '.join(map(identifier, upstream))}){got}",
    ]


def _classes(text: str) -> set[str]:
    """The layers that a constructor call names."""
    import ast

    return {n.func.id for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
