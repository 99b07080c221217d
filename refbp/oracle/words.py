"""Why a function is wrong, in words: the explainer, asked in the names that its author gave things."""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from refbp.errors import listed
from refbp.oracle.attempt import Attempt, Run
from refbp.oracle.calls import Scene
from refbp.oracle.clues import cases, mutant, otherwise, scale, shape
from refbp.oracle.diagnose import ASIDE, MOST, SURE, diagnose, ranked
from refbp.oracle.families import output_mistakes
from refbp.oracle.finding import Evidence, Finding
from refbp.oracle.observation import Observation, Upstream
from refbp.oracle.problem import Problem
from refbp.oracle.verdict import Row
from refbp.spec import Mistake


def explain(row: Row, seconds: float) -> list[Finding]:
    """At most three findings on a row that is wrong."""
    return [dataclasses.replace(f, sentence=_told(f.sentence, row.exercise.words)) for f in _explained(row, seconds)]


def _told(sentence: str, words: Mapping[str, str]) -> str:
    """A sentence in the submission's words for a quantity; all are exchanged at once, as one may stand in another."""
    if not words:
        return sentence
    any_of = "|".join(rf"(?<!\w){re.escape(w)}(?!\w)" for w in sorted(words, key=len, reverse=True))
    return re.sub(any_of, lambda m: words[m[0]], sentence)


def _explained(row: Row, seconds: float) -> list[Finding]:
    told = [a for a in row.attempts if a.problem.tier != "dtype"]
    if row.phase == "forward":
        return _of_outputs(_calm(told, lambda a: not a.forward_ok), seconds)
    broken = [a for a in told if a.failed is None and not a.forward_ok] if row.phase == "both" else []
    if not broken:
        return _of_gradients(row, told, seconds)
    outputs = _of_outputs(_calm(told, lambda a: not a.forward_ok), seconds)
    gradients = _of_gradients(row, told, seconds) if any(not c.ok for a in told for c in a.grads) else []
    # What is so only at large values comes after what is so everywhere, and a class of cases after a cause
    rarely = all(a.problem.tier == "stability" for a in broken)
    if any(map(_sure, gradients)) and (rarely or not any(map(_sure, outputs))):
        return [*filter(_sure, gradients), *outputs][:MOST]
    return [*outputs[: MOST - 1], *filter(_sure, gradients)][:MOST] if any(map(_sure, gradients)) else outputs


def _sure(finding: Finding) -> bool:
    return finding.kind not in ASIDE and finding.confidence >= SURE


def _calm(told: list[Attempt], wrong: Callable[[Attempt], bool]) -> list[Attempt]:
    """Without cases of large values in which NaN hides what is wrong, if it is wrong elsewhere too."""
    drowned = [a for a in told if a.problem.tier == "stability" and any(c.status == "nonfinite" for c in a.outputs + a.grads)]
    calm = [a for a in told if a not in drowned]
    return calm if any(a.failed is None and wrong(a) for a in calm) else told


def _of_gradients(row: Row, told: list[Attempt], seconds: float) -> list[Finding]:
    """What the explainer says of the gradients."""
    told = _calm(told, lambda a: not a.backward_ok)
    able = [(a, a.observation) for a in told if a.observation is not None and not _forward_broken(a)]
    names: dict[str, str] = {}
    wrong = {c.name for a in told for c in a.grads if not c.ok}
    of: dict[str, list[str]] = {}
    for n in sorted({n for _, o in able for n in o.expected}):  # where an array is given in parts, those that are wrong
        of[n] = [g for g, array in row.exercise.gradients.items() if _is_of(row.exercise.arrays[array], n)]
        if of[n]:
            names[n] = listed([g for g in of[n] if g in wrong] or of[n])
    found = diagnose([_settled(a, o, of) for a, o in able], names, seconds) if able else []
    # At large values an ε that is harmless elsewhere shows: what is wrong beside it is looked for without them
    usual = [a for a in told if a.problem.tier != "stability"]
    again = not found and len(usual) < len(told) and any(a.failed is None and not a.backward_ok for a in usual)
    return _of_gradients(row, usual, seconds) if again else found


def _settled(a: Attempt, o: Observation, of: Mapping[str, Sequence[str]]) -> Observation:
    """A case in which what counts as right is what is expected: somebody's ε beside a sum is not to be explained."""
    right = {c.name for c in a.grads if c.ok}
    settled = [n for n in o.wrong if of.get(n) and right.issuperset(of[n])]
    return dataclasses.replace(o, got={**o.got, **{n: o.expected[n] for n in settled}}) if settled else o


def _is_of(expression: str, name: str) -> bool:
    from refbp.oracle.layout import covered
    from refbp.oracle.problem import readable

    return readable(name) in covered(expression, {readable(name): None})


def _forward_broken(a: Attempt) -> bool:
    return a.phase == "forward"


@dataclass(frozen=True, eq=False)
class _Answers(Observation):
    """The outputs of one case in place of gradients: what is asked of the reference is what its forward gives."""

    of_outputs: ClassVar[bool] = True
    problem: Problem | None = None

    def right(self, upstream: Upstream) -> Mapping[str, Any]:
        """The outputs in the course's layout, of the layer, state and inputs that this case has now."""
        return self.anew()

    def anew(self) -> Mapping[str, Any]:
        """The same: there is nothing that is kept."""
        assert self.problem is not None
        state = {n: a.copy() for n, a in self.state.items()}
        inputs = tuple(None if a is None else np.array(a) for a in self.inputs)
        asked = dataclasses.replace(self.problem, layer=self.layer, state=state, inputs=inputs)
        return self._told(asked, {})

    def instead(self, changed: Mapping[str, Any]) -> Mapping[str, Any]:
        """The outputs where the reference's are changed, by its own names."""
        assert self.problem is not None
        return self._told(self.problem, changed)

    @staticmethod
    def _told(problem: Problem, changed: Mapping[str, Any]) -> Mapping[str, Any]:
        run = Run(problem, Scene(None, {}))  # type: ignore[arg-type]  # a scene in which nothing is called
        run.answers |= changed
        return run.expected()


def _made(mistake: Mistake, name: str, o: Any) -> Any:
    """An output as a mistake makes it."""
    return o.instead(mistake.gradients(o))[name]


def _known(e: Evidence) -> list[Finding]:
    """Findings from outputs as they are commonly got wrong."""
    claims = []
    for mistake in output_mistakes(e.answered[0]) if e.answered else ():
        for name in e.numeric:
            if fit := e.fit(name, partial(_made, mistake, name), 0.98):
                claims.append((name, "mistake", "{is} what you get when " + mistake.words, fit))
    return e.merged(claims)


def _of_outputs(told: list[Attempt], seconds: float) -> list[Finding]:
    """What a forward has in common where it is wrong: a factor, a shape, a class of cases; then another formula."""
    observations: list[_Answers] = []
    for a in told:
        p = a.problem
        failed = a.failed.sentence if a.failed is not None and a.phase == "forward" else ""
        got = {c.name: c.expected if c.ok else c.got for c in a.outputs}
        expected = {c.name: c.expected for c in a.outputs} or {"out": np.zeros(1)}
        observations.append(_Answers(p.layer, p.state, p.inputs, (), got, expected, p.id, p.options, error=failed, problem=p))
    names = {n: n for o in observations for n in o.expected}
    found: list[Finding] = []
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        evidence = Evidence(observations, names, seconds)
        for clue in (shape.clue, scale.clue, cases.clue, _known, otherwise.clue, mutant.clue):
            sure = {n for f in found if f.kind not in ASIDE and f.confidence >= SURE for n in f.gradients}
            if not evidence.failing or (clue in {otherwise.clue, mutant.clue} and sure >= set(evidence.wrong)):
                break
            try:
                found += clue(evidence)
            except Exception:  # clues are made for gradients: one that cannot say anything of outputs says nothing
                continue
    return ranked(found, len(evidence.wrong))
