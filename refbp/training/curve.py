"""The loss, epoch by epoch: as characters for a terminal, and as an SVG picture that needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from refbp.training.checkpoint import Epoch

LEARN, TEST = "●", "○"
FULL = 30.0  # from this ratio on between largest and smallest, the axis is logarithmic


class _Axis:
    """Losses to heights between 0 and 1, linearly or by their logarithms."""

    def __init__(self, values: Sequence[float]) -> None:
        self.low, self.high = min(values), max(values)
        self.logarithmic = self.low > 0 and self.high / self.low > FULL
        if self.high == self.low:
            self.low, self.high = self.low - 0.5 * (abs(self.low) or 1), self.high + 0.5 * (abs(self.high) or 1)
        elif not self.logarithmic:
            self.low = min(self.low, 0.0) if self.low >= 0 and self.low < 0.5 * self.high else self.low

    def height(self, value: float) -> float:
        low, high, value = (math.log(v) if self.logarithmic else v for v in (self.low, self.high, value))
        return (value - low) / (high - low)

    def value(self, height: float) -> float:
        """The loss at a height."""
        if self.logarithmic:
            return math.exp(math.log(self.low) + height * (math.log(self.high) - math.log(self.low)))
        return self.low + height * (self.high - self.low)


def _series(history: Sequence[Epoch]) -> dict[str, list[tuple[int, float]]]:
    learn = [(e.number, e.loss) for e in history]
    test = [(e.number, e.test_loss) for e in history if e.test_loss is not None]
    return {"learned from": learn} | ({"tested on": test} if test else {})


def text(history: Sequence[Epoch], width: int = 72, height: int = 10) -> str:
    """The losses as characters, at most ``width`` of them in a line; empty for so few epochs that they are no curve."""
    if len(history) < 4:
        return ""
    series = _series(history)
    axis = _Axis([v for points in series.values() for _, v in points])
    labels = [f"{axis.value(1 - row / (height - 1)):.3g}" for row in range(height)]
    margin = max(map(len, labels))
    columns = max(min(width - margin - 3, 2 * len(history)), 8)
    first, last = history[0].number, history[-1].number
    grid = [[" "] * columns for _ in range(height)]
    for mark, points in zip(
        (TEST, LEARN), reversed(list(series.values())) if len(series) > 1 else series.values(), strict=False
    ):
        mark_ = mark if len(series) > 1 else LEARN
        for number, value in points:
            column = round((number - first) / (last - first) * (columns - 1))
            grid[height - 1 - round(axis.height(value) * (height - 1))][column] = mark_
    lines = [
        f"{label if row in (0, height // 2, height - 1) else '':>{margin}} │ {''.join(cells)}".rstrip()
        for row, (label, cells) in enumerate(zip(labels, grid, strict=True))
    ]
    lines.append(f"{'':>{margin}} └{'─' * (columns + 1)}")
    ends = f"{first}{str(last).rjust(columns - len(str(first)))}"
    lines.append(f"{'':>{margin}}   {ends}")
    legend = f"{LEARN} loss" + (f"  {TEST} test loss" if len(series) > 1 else "") + (" (log)" if axis.logarithmic else "")
    return "\n".join([f"{'':>{margin}}   {legend}"[:width], *lines])


# SVG ------------------------------------------------------------------------------------------------------------------

WIDE, HIGH, LEFT, RIGHT, TOP, BOTTOM = 640, 360, 64, 16, 40, 44

_STYLE = """
  svg {
    color-scheme: light dark;
    --ink: #1d2330; --soft: #646b7d; --grid: #e4e6ec; --one: #1f5fbf; --two: #b34a12; --paper: #fff
  }
  @media (prefers-color-scheme: dark) {
    svg { --ink: #e6e8ee; --soft: #9aa0b0; --grid: #333846; --one: #7fb0ff; --two: #ffb07a; --paper: #14171f }
  }
  text { font: 13px system-ui, sans-serif; fill: var(--ink) } .soft { fill: var(--soft) }
  .grid { stroke: var(--grid) } .curve { fill: none; stroke-width: 2; stroke-linejoin: round }
  .one { stroke: var(--one) } .two { stroke: var(--two); stroke-dasharray: 6 4 }
  .first { fill: var(--one) } .second { fill: var(--two) }
"""


def svg(history: Sequence[Epoch], title: str) -> str:
    """The losses as a picture, legible on light and on dark paper."""
    series = _series(history)
    values = [v for points in series.values() for _, v in points]
    axis = _Axis(values)
    first, last = history[0].number, max(history[-1].number, history[0].number + 1)

    def x(number: float) -> float:
        return LEFT + (number - first) / (last - first) * (WIDE - LEFT - RIGHT)

    def y(height: float) -> float:
        return HIGH - BOTTOM - height * (HIGH - TOP - BOTTOM)

    body = [
        f'<rect width="{WIDE}" height="{HIGH}" fill="var(--paper)"/>',
        f'<text x="{LEFT}" y="22">{escape(_short(title))}</text>',
    ]
    for k in range(5):
        body.append(f'<line class="grid" x1="{LEFT}" x2="{WIDE - RIGHT}" y1="{y(k / 4):.1f}" y2="{y(k / 4):.1f}"/>')
        label = f"{axis.value(k / 4):.3g}"
        body.append(f'<text class="soft" x="{LEFT - 8}" y="{y(k / 4) + 4:.1f}" text-anchor="end">{label}</text>')
    for number in sorted({first, (first + last) // 2, last}):
        body.append(f'<text class="soft" x="{x(number):.1f}" y="{HIGH - 22}" text-anchor="middle">{number}</text>')
    scale = ", logarithmic" if axis.logarithmic else ""
    body.append(f'<text class="soft" x="{LEFT}" y="{HIGH - 6}">epoch</text>')
    body.append(f'<text class="soft" x="{WIDE - RIGHT}" y="{HIGH - 6}" text-anchor="end">mean loss{scale}</text>')
    for (name, points), (line, fill, place) in zip(series.items(), (("one", "first", 0), ("two", "second", 1)), strict=False):
        path = " ".join(f"{x(n):.1f},{y(axis.height(v)):.1f}" for n, v in points)
        body.append(f'<polyline class="curve {line}" points="{path}"/>')
        body.append(f'<text class="{fill}" x="{WIDE - RIGHT}" y="{TOP + 14 + 18 * place}" text-anchor="end">{name}</text>')
        body[-1] = body[-1].replace("<text ", f'<text style="fill: var(--{line})" ')
        body.append(f'<circle class="{fill}" cx="{x(points[-1][0]):.1f}" cy="{y(axis.height(points[-1][1])):.1f}" r="3"/>')
    ends = ", ".join(f"{name} from {points[0][1]:.4g} to {points[-1][1]:.4g}" for name, points in series.items())
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {HIGH}" role="img" aria-labelledby="t d">\n'
        f'<title id="t">{escape(title)}</title>\n<desc id="d">Mean loss by epoch, {escape(ends)}.</desc>\n'
        f"<style>{_STYLE}</style>\n" + "\n".join(body) + "\n</svg>\n"
    )


def _short(title: str) -> str:
    return title if len(title) <= 80 else title[:79] + "…"
