"""What a run of the checks comes to: one summary per layer, as a line, as JSON, as JUnit XML."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from refbp.conformance.outcome import Verdict
from refbp.conformance.verify import Result
from refbp.registry import Entry

if TYPE_CHECKING:
    from refbp.conformance.explain import Explained

DIGITS64 = ("outputs", "gradients", "witness")


@dataclass(frozen=True)
class Summary:
    """One layer's results, counted."""

    name: str
    kind: str
    plugin: str
    source: str
    results: tuple[Result, ...]
    explained: Explained | None = None  # why its first wrong gradient is wrong

    @property
    def tested(self) -> list[Result]:
        """The checks that concern a case, whatever they said."""
        return [r for r in self.results if r.outcome is not None]

    @property
    def wrong(self) -> list[Result]:
        """The results that fail the run."""
        return [r for r in self.tested if r.outcome and r.outcome.wrong]

    def having(self, verdict: Verdict) -> list[Result]:
        """The results with one verdict."""
        return [r for r in self.tested if r.outcome and r.outcome.verdict is verdict]

    @property
    def cases(self) -> int:
        """How many cases were run."""
        return len({r.case for r in self.results})

    @property
    def checks(self) -> int:
        """How many checks had something to say; what was not tested is not counted."""
        return len(self.tested) - len(self.having(Verdict.NOT_TESTED))

    def digits(self, checks: Sequence[str]) -> float | None:
        """The fewest digits of agreement that these checks found."""
        found = [r.outcome.digits for r in self.tested if r.check in checks and r.outcome and r.outcome.digits is not None]
        return min(found, default=None)

    @property
    def waivers(self) -> list[str]:
        """The reasons of the waivers that were needed."""
        return sorted({n for r in self.having(Verdict.KNOWN_BAD) if r.outcome for n in r.outcome.notes})

    @property
    def conventions(self) -> list[str]:
        """The conventions at kinks that were met."""
        return sorted({n for r in self.having(Verdict.CONVENTION) if r.outcome for n in r.outcome.notes})

    @property
    def exemptions(self) -> list[str]:
        """The exemptions that were needed."""
        return sorted({n for r in self.having(Verdict.AGREE) if r.outcome for n in r.outcome.notes})

    @property
    def verdict(self) -> str:
        """The layer's verdict: the worst that was said of it."""
        if self.wrong:
            return "WRONG"
        if self.checks == 0:
            return "not tested"
        return "agree"

    def line(self) -> tuple[str, str, str, str, str, str, str]:
        """The layer's row in the table."""
        said = [self.verdict]
        if self.wrong:
            kinds = sorted({str(r.outcome.verdict) for r in self.wrong if r.outcome})
            said.append(f"{len(self.wrong)} of {self.checks} checks: {', '.join(kinds)}")
        for count, word, text in (
            (len(self.waivers), "waiver", self.waivers),
            (len(self.conventions), "convention", self.conventions),
            (len(self.exemptions), "exemption", self.exemptions),
        ):
            if count:
                said.append(f"{count} {word}{'s' * (count > 1)}" + (f": {text[0]}" if count == 1 else ""))
        if untested := len(self.having(Verdict.NOT_TESTED)):
            said.append(f"{untested} not tested")
        f64, f32 = self.digits(DIGITS64), self.digits(("float32",))
        return (
            self.name,
            self.source,
            str(self.cases),
            str(self.checks),
            "–" if f64 is None else f"{f64:.1f}",
            "–" if f32 is None else f"{f32:.1f}",
            " · ".join(said),
        )

    def data(self) -> dict[str, Any]:
        """The layer as plain data."""
        return {
            "name": self.name,
            "kind": self.kind,
            "plugin": self.plugin,
            "source": self.source,
            "verdict": self.verdict,
            "cases": self.cases,
            "checks": self.checks,
            "digits_float64": self.digits(DIGITS64),
            "digits_float32": self.digits(("float32",)),
            "waivers": self.waivers,
            "conventions": self.conventions,
            "exemptions": self.exemptions,
            "not_tested": [_data(r) for r in self.having(Verdict.NOT_TESTED)],
            "wrong": [_data(r) for r in self.wrong],
            "explanation": self.explained.data() if self.explained else None,
        }


def summary(entry: Entry, results: tuple[Result, ...], explained: Explained | None = None) -> Summary:
    """The summary of one layer's results."""
    return Summary(entry.name, entry.kind, entry.plugin, entry.source, results, explained)


HEADING = ("layer", "from", "cases", "checks", "digits f64", "digits f32", "verdict")


def _data(result: Result) -> dict[str, Any]:
    assert result.outcome is not None
    outcome = result.outcome
    return {
        "case": result.case,
        "check": result.check,
        "verdict": str(outcome.verdict),
        "message": outcome.message,
        "digits": outcome.digits,
        "difference": dataclasses.asdict(outcome.difference) if outcome.difference else None,
        "seed": result.seed,
        "again": result.command,
    }


def versions() -> dict[str, str]:
    """What the results hold for."""
    import numpy
    import torch

    from refbp import __version__

    return {"refbp": __version__, "torch": torch.__version__, "numpy": numpy.__version__}


def totals(summaries: Iterable[Summary]) -> dict[str, int]:
    """The counts of the closing line."""
    summaries = list(summaries)
    return {
        "layers": len(summaries),
        "checks": sum(s.checks for s in summaries),
        "wrong": sum(len(s.wrong) for s in summaries),
        "waivers": sum(len(s.waivers) for s in summaries),
        "conventions": sum(len(s.conventions) for s in summaries),
        "not_tested": sum(len(s.having(Verdict.NOT_TESTED)) for s in summaries),
    }


def explanation(result: Result, explained: Explained | None = None) -> str:
    """A wrong result in full: layer, case, check, what differs and by how much, why, and how to repeat it."""
    assert result.outcome is not None
    lines = [result.outcome.message]
    if explained and (explained.case, explained.check) == (result.case, result.check):
        lines += explained.lines()
    heading = f'{result.layer} · case "{result.case}" · check {result.check} · {result.outcome.verdict}'
    return "\n  ".join([heading, *lines, f"again: {result.command}"])


def junit(summaries: Iterable[Summary], failures: Iterable[tuple[str, str]]) -> str:
    """The run as JUnit XML: a suite per layer, a test case per case and check, plugins that failed as errors."""
    root = ElementTree.Element("testsuites", name="refbp verify")
    for s in summaries:
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=s.name,
            tests=str(len(s.tested)),
            failures=str(len(s.wrong)),
            errors="0",
            skipped=str(len(s.having(Verdict.NOT_TESTED))),
        )
        for r in s.tested:
            case = ElementTree.SubElement(suite, "testcase", classname=s.name, name=f"{r.case}-{r.check}")
            if r.outcome and r.outcome.wrong:
                ElementTree.SubElement(case, "failure", message=str(r.outcome.verdict)).text = _printable(
                    explanation(r, s.explained)
                )
            elif r.outcome and r.outcome.verdict is Verdict.NOT_TESTED:
                ElementTree.SubElement(case, "skipped", message=r.outcome.message)
    broken = list(failures)
    if broken:
        suite = ElementTree.SubElement(root, "testsuite", name="plugins", tests=str(len(broken)), errors=str(len(broken)))
        for name, why in broken:
            case = ElementTree.SubElement(suite, "testcase", classname="plugins", name=name)
            ElementTree.SubElement(case, "error", message=_printable(why))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _printable(text: str) -> str:
    """XML 1.0 has no place for control characters, escaped or not."""
    return "".join(c for c in text if c.isprintable() or c in "\n\t")
