"""What pictures are made of: boxes, triangles, arrows and text, each of which knows what quantity it shows."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files

Point = tuple[float, float]
Index = tuple[int, ...]


@dataclass
class Canvas:
    """SVG elements of one panel, and the room that they take."""

    at: dict[str, int]  # the scene in which each quantity appears
    parts: list[str] = field(default_factory=list)
    width: float = 0
    bottom: float = 0
    top: float = math.inf

    @property
    def height(self) -> float:
        """From the topmost element to the lowest."""
        return max(self.bottom - self.top, 0.0)

    def reach(self, x: float, y: float, up: float | None = None) -> None:
        """Make room for a point, or for what reaches from ``up`` to y."""
        self.width, self.bottom = max(self.width, x), max(self.bottom, y)
        self.top = min(self.top, y if up is None else up)

    def text(self, x: float, y: float, words: str, key: str = "", style: str = "") -> None:
        """Words around a point."""
        self.reach(x + 3.7 * len(words), y + 8, y - 9)
        self.parts.append(f'<text x="{x:g}" y="{y:g}"{_class(style)}{self._of(key)}>{escape(words)}</text>')

    def value(
        self, x: float, y: float, shown: str, key: str, index: Index, style: str = "", symbol: str = "", when: str = ""
    ) -> None:
        """The number of one element of a quantity, after its symbol where one is given; it appears with ``when``."""
        self.reach(x + 3.9 * (len(shown) + len(symbol)), y + 8, y - 9)
        lead = f'<tspan class="symbol">{escape(symbol)} = </tspan>' if symbol else ""
        of = f'class="value" data-key="{escape(key)}" data-index="{",".join(map(str, index))}"'
        inner = f"{lead}<tspan {of}>{escape(shown)}</tspan>"
        self.parts.append(f'<text x="{x:g}" y="{y:g}"{_class(style)}{self._at(when or key)}>{inner}</text>')

    def box(self, x: float, y: float, width: float, height: float, key: str = "") -> None:
        """A rounded box around a point."""
        self.reach(x + width / 2, y + height / 2, y - height / 2)
        left, top = x - width / 2, y - height / 2
        place = f'x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}"'
        self.parts.append(f'<rect class="unit" {place} rx="12"{self._of(key)}/>')

    def circle(self, x: float, y: float, radius: float, key: str = "") -> None:
        """A circle around a point."""
        self.reach(x + radius, y + radius, y - radius)
        self.parts.append(f'<circle class="unit" cx="{x:g}" cy="{y:g}" r="{radius:g}"{self._of(key)}/>')

    def triangle(self, x: float, y: float, width: float, height: float, key: str = "") -> None:
        """An amplifier around a point: a triangle whose tip points left, where its output leaves."""
        self.reach(x + width / 2, y + height / 2, y - height / 2)
        left, right, top, low = x - width / 2, x + width / 2, y - height / 2, y + height / 2
        path = f"M{left:g} {y:g} L{right:g} {top:g} V{low:g} Z"
        self.parts.append(f'<path class="unit" d="{path}" stroke-linejoin="round"{self._of(key)}/>')

    def rule(self, x: float, top: float, low: float, key: str = "") -> None:
        """A thin upright line within a box."""
        self.parts.append(f'<path class="rule" d="M{x:g} {top:g} V{low:g}"{self._of(key)}/>')

    def arrow(self, a: Point, b: Point, key: str = "", sign: float = 0, weight: float = 0.3, bend: float = 0) -> Point:
        """An arrow from one point to another, coloured by sign, as thick as its weight, from 0 to 1, says; its middle.

        ``bend`` moves its middle so far to the side.
        """
        ux, uy = direction(a, b)
        middle = ((a[0] + b[0]) / 2 - uy * bend, (a[1] + b[1]) / 2 + ux * bend)
        bow = (2 * middle[0] - (a[0] + b[0]) / 2, 2 * middle[1] - (a[1] + b[1]) / 2)
        ux, uy = direction(bow if bend else a, b)
        back = (b[0] - 7 * ux, b[1] - 7 * uy)
        sides = [(back[0] + s * 3.4 * uy, back[1] - s * 3.4 * ux) for s in (1, -1)]
        tip = " ".join(f"{x:.1f},{y:.1f}" for x, y in (b, *sides))
        style = "plus" if sign > 0 else "minus" if sign < 0 else ""
        curve = f"Q{bow[0]:.1f} {bow[1]:.1f} " if bend else "L"
        line = f"M{a[0]:g} {a[1]:g} {curve}{back[0]:.1f} {back[1]:.1f}"
        width = f"stroke-width:{0.9 + 1.9 * min(weight, 1):.2f}"
        self.parts.append(
            f'<g class="edge {style}"{self._of(key)}><path style="{width}" d="{line}"/><polygon points="{tip}"/></g>'
        )
        return middle

    def _at(self, key: str) -> str:
        return f' data-at="{self.at[key]}"' if key in self.at else ""

    def _of(self, key: str) -> str:
        return f' data-of="{escape(key)}"{self._at(key)}' if key else ""


def direction(a: Point, b: Point) -> Point:
    """The unit vector from one point to another."""
    length = math.hypot(b[0] - a[0], b[1] - a[1]) or 1.0
    return (b[0] - a[0]) / length, (b[1] - a[1]) / length


def between(a: Point, b: Point, leave: float, stop: float) -> tuple[Point, Point]:
    """The line between two points, less a piece at either end."""
    ux, uy = direction(a, b)
    return (a[0] + leave * ux, a[1] + leave * uy), (b[0] - stop * ux, b[1] - stop * uy)


def signed(value: float) -> str:
    """The style of a number by its sign."""
    return "plus" if value > 0 else "minus" if value < 0 else ""


def _class(style: str) -> str:
    return f' class="{style.strip()}"' if style.strip() else ""


def panel(canvas: Canvas, kind: str, title: str) -> str:
    """One panel as an SVG of its own, as the page shows it."""
    width, height = canvas.width + 10, canvas.height + 10
    size = f'viewBox="0 {canvas.top - 5:.0f} {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    body = f'<g class="{kind}">{"".join(canvas.parts)}</g>'
    return f'<svg class="net" xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(title)}">{body}</svg>'


def sheet(panels: list[tuple[Canvas, str, str]], about: str) -> str:
    """Panels one below the other, as a file."""
    margin, gap, head = 18, 30, 34
    width = max(max(c.width, 7.6 * len(title)) for c, _, title in panels) + 2 * margin
    y: float = margin
    body = []
    for canvas, kind, title in panels:
        body.append(f'<text class="head" x="{margin}" y="{y + 8:g}">{escape(title)}</text>')
        body.append(f'<g class="{kind}" transform="translate({margin} {y + head - canvas.top:g})">{"".join(canvas.parts)}</g>')
        y += head + canvas.height + gap
    height = y - gap + margin
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    return (
        f'<svg class="net" xmlns="http://www.w3.org/2000/svg" {size} role="img"><title>{escape(about)}</title>'
        f'<style>{style()}</style><rect class="paper" width="100%" height="100%"/>{"".join(body)}</svg>\n'
    )


def width_of(svg: str) -> int:
    """The width of a panel."""
    return int(svg.partition(' width="')[2].partition('"')[0])


def style() -> str:
    """The style of pictures, light and dark."""
    return asset("picture.css")


def asset(name: str) -> str:
    """A file that comes with the package."""
    return files("refbp.trace").joinpath("assets", name).read_text(encoding="utf-8")
