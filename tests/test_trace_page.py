"""The picture and the page: what they show is the trace; the page in a real browser, its slider moved."""

import json
import math
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from refbp.trace.draw import asset
from refbp.trace.page import page
from refbp.trace.picture import picture
from refbp.trace.setting import EXAMPLES, Given, example, setting, traced
from refbp.trace.story import story

SVG = "{http://www.w3.org/2000/svg}"
CONV = "Conv2d(1,2,3) ReLU MaxPool2d(2) Flatten Linear(8,10) Tanh Linear(10,3) CrossEntropyLoss"
RESIDUAL = "Linear(2,3) Graph('h = Tanh(Linear(3,3)(x)); y = x + h') Linear(3,1) MSELoss"
MANY = {
    **{name: lambda name=name: setting(example(name)).trace() for name in EXAMPLES},
    "convolution": lambda: traced(CONV, Given(input=("normal(4,1,6,6)",))),
    "residual": lambda: traced(RESIDUAL, Given()),
    "no-loss": lambda: traced("Linear(2,2) Sigmoid Linear(2,3)", Given(upstream="1,-1,2")),
    "loss-only": lambda: traced("MSELoss", Given(input=("1,2",), target="0,1")),
    "not-a-number": lambda: traced("Linear(2,2) MSELoss", Given(input=("nan,inf",))),
    "script": lambda: traced("y = Tanh(_script)", Given(input=("_script=0.5",))),
}


@pytest.fixture(scope="module", params=MANY)
def trace(request):
    return MANY[request.param]()


def number(text):
    """A printed number."""
    text = text.replace("−", "-").replace("∞", "inf").strip().lstrip("=").strip()
    return float(re.sub(r"^(-?[\d.]+)·10(-?\d+)$", r"\1e\2", text))


def check_number(trace, key, index, text, digits):
    """A printed number is the trace's, to the digits that were printed."""
    array = next(q.array for q in trace.quantities() if q.key == key)
    value = float(array[tuple(int(i) for i in index.split(",")) if index else ()])
    shown = number(text)
    if not math.isfinite(value):
        assert shown == value or (math.isnan(shown) and math.isnan(value))
        return
    unit = 10.0 ** (math.floor(math.log10(abs(value))) + 1 - digits) if value else 0.0
    assert abs(shown - value) <= 0.5000001 * unit, (key, index, text, value)


def test_the_picture_is_an_svg_whose_numbers_are_the_traces(trace):
    root = ElementTree.fromstring(picture(trace))
    assert root.tag == f"{SVG}svg"
    shown = [e for e in root.iter(f"{SVG}tspan") if "data-key" in e.attrib]
    for e in shown:
        check_number(trace, e.attrib["data-key"], e.attrib["data-index"], e.text, 3)
    panels = [g for g in root.iter(f"{SVG}g") if g.attrib.get("class") in {"forward", "backward"}]
    assert [p.attrib["class"] for p in panels] == ["forward", "backward"]
    assert all(list(p) for p in panels)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for e in root.iter(f"{SVG}rect"):
        if "x" in e.attrib:
            assert float(e.attrib["x"]) + 18 >= 0
            assert float(e.attrib["x"]) + float(e.attrib["width"]) + 18 <= width
    assert 100 < height < 3000


def test_the_reversed_network_multiplies_by_the_slopes():
    trace = setting(example("sigmoid")).trace()
    root = ElementTree.fromstring(picture(trace))
    (back,) = [g for g in root.iter(f"{SVG}g") if g.attrib.get("class") == "backward"]
    words = ["".join(e.itertext()) for e in back.iter(f"{SVG}text")]
    a = np.concatenate([trace.values["a1"].ravel(), trace.values["y"].ravel()])
    for slope in a * (1 - a):
        assert f"× {slope:.3g}" in words
    assert {"σ′(z¹₁)", "σ′(z¹₂)", "σ′(z²₁)", "σ′(z²₂)", "∂C/∂x₁"} <= {*words}
    assert sum(w.startswith("∂C/∂z²₁ = ") for w in words) == 1


def test_wide_layers_are_summarised():
    trace = traced("Linear(784,500) ReLU Linear(500,10) CrossEntropyLoss", Given(input=("normal(2,784)",)))
    root = ElementTree.fromstring(picture(trace))
    assert sum(1 for _ in root.iter()) < 500
    words = ["".join(e.itertext()) for e in root.iter(f"{SVG}text")]
    assert "Linear → ReLU, 500 units" in words
    assert words.count("⋮") == 2 * 3
    assert len(page(trace)) < 200_000


class Page(HTMLParser):
    """The tags of a page, and whether they are nested as they should be."""

    VOID = ("meta", "link", "input", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags = [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_needs_no_network(trace):
    text = page(trace)
    tags = Page(text).tags
    assert sum(tag == "section" for tag, _ in tags) == len(story(trace))
    for tag, attributes in tags:
        assert tag not in {"img", "iframe", "object", "embed", "audio", "video"}
        assert "src" not in attributes
        assert attributes.get("href", "data:,") == "data:,"
    assert not re.search(r"https?://(?!www\.w3\.org/)|url\(|@import|fetch\(|XMLHttpRequest|WebSocket", text)
    data = json.loads(re.search(r'id="trace">(.*?)</script>', text, flags=re.S)[1])
    for q in trace.quantities():
        if np.isfinite(np.asarray(q.array, float)).all():
            assert np.array_equal(np.array(data[q.key]["value"]), q.array)


def test_formulas_are_mathml_and_every_line_is_checked():
    text = page(setting(example("sigmoid")).trace())
    tags = Page(text).tags
    assert sum(tag == "math" for tag, _ in tags) > 100
    assert sum(tag == "mfrac" for tag, _ in tags) > 60
    assert text.count("= autograd </i>✓") == 53
    assert "≠ autograd" not in text


def test_a_name_from_outside_cannot_end_the_script_or_open_a_tag(tmp_path):
    from refbp import Sequential, Tanh
    from refbp.trace.parse import Problem

    name = "</script><img src=x onerror=alert(1)>"
    trace = setting(Problem(Sequential({name: Tanh()}), None, {"input": [[0.5]]})).trace()
    weight = setting(Problem(Sequential({name: __import__("refbp").Linear(1, 1)}), None, {"input": [[0.5]]})).trace()
    for one in (trace, weight):
        assert not [tag for tag, _ in Page(page(one)).tags if tag == "img"]
        ElementTree.fromstring(picture(one))


# Light and dark -------------------------------------------------------------------------------------------------------


def colours(css, dark):
    """The variables of a style sheet, in one of the two schemes."""
    light, _, rest = css.partition("@media (prefers-color-scheme: dark)")
    found = dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6})", light))
    return found | (dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6})", rest.split("}\n}")[0])) if dark else {})


def contrast(a, b):
    """The ratio by which WCAG measures whether text can be read."""

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_can_be_read_in_light_and_dark(dark):
    page_, net = colours(asset("page.css"), dark), colours(asset("picture.css"), dark)
    assert page_["--card-bg"] == net["--paper"]  # labels on lines have a halo in the paper's colour
    for ink, paper in (("--fg", "--card-bg"), ("--fg", "--bg"), ("--soft", "--card-bg"), ("--soft", "--bg"), ("--ok", "--okbg"),
                       ("--ok", "--bg"), ("--bad", "--badbg"), ("--card-bg", "--accent"), ("--card-bg", "--accent-2"),
                       ("--card-bg", "--accent-3")):  # fmt: skip
        assert contrast(page_[ink], page_[paper]) >= 4.5, (ink, paper)
    for ink in ("--ink", "--muted", "--plus", "--minus"):
        assert contrast(net[ink], net["--paper"]) >= 4.5, ink
        assert contrast(net[ink], net["--card"]) >= 4.5, ink


# In a browser ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
    if found is None:
        if os.environ.get("REFBP_REQUIRE_BROWSER") == "1":
            pytest.fail("REFBP_REQUIRE_BROWSER=1, and no chromium is installed: apt-get install chromium")
        pytest.skip("no browser is installed (chromium)")
    return found


def opened(browser, file, profile, width=1280, fragment="#selftest"):
    """A page in a browser: what its self-test found, and what the console said."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    flags += ["--disable-background-networking", "--disable-component-update", "--enable-logging=stderr", "--v=0"]
    flags += [f"--user-data-dir={profile}", f"--window-size={width},900", "--dump-dom"]
    run = subprocess.run(
        [browser, *flags, f"{file.as_uri()}{fragment}"], capture_output=True, text=True, timeout=240, check=False
    )
    assert run.returncode == 0, run.stderr
    console = [line for line in run.stderr.splitlines() if ":CONSOLE" in line]
    found = re.search(r'<pre id="selftest">(.*?)</pre>', run.stdout, flags=re.S)
    assert found, f"{console} {run.stdout[-500:]}"
    return json.loads(found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")), console


@pytest.mark.parametrize("name", ["sigmoid", "fan-out", "convolution"])
def test_in_a_browser_the_slider_works_and_the_numbers_are_the_traces(browser, tmp_path, name):
    trace = MANY[name]()
    file = tmp_path / "page.html"
    file.write_text(page(trace))
    scenes = story(trace)
    for width in (1280, 500):
        found, console = opened(browser, file, tmp_path / f"profile{width}", width)
        assert console == []
        assert found["fetched"] == []
        assert [step["open"] for step in found["steps"]] == [[i] for i in range(len(scenes))]
        assert [step["phase"] for step in found["steps"]] == [scene.phase for scene in scenes]
        last = len(scenes) - 1
        assert found["buttons"] == [last, last - 1, last]
        later = [step["later"] for step in found["steps"]]
        assert later == sorted(later, reverse=True)
        assert later[0] > later[-1] == 0
        for step in found["steps"]:
            assert step["tooWide"] <= 0
            for key, index, text in step["numbers"]:
                check_number(trace, key, index, text, 4)
            one = "backward" if step["phase"] in {"backward", "gradient"} else "forward"
            both = width == 1280 and name != "convolution"
            assert step["figures"] == (["forward", "backward"] if both else [one])
        assert sum(len(step["numbers"]) for step in found["steps"]) > 10
        for key, index, text in found["pictured"]:
            check_number(trace, key, index, text, 3)
        assert found["pictured"]


def test_the_browsers_console_would_be_heard(browser, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(
        page(setting(example("one-path")).trace()).replace('"use strict";', '"use strict"; console.error("heard");', 1)
    )
    _, console = opened(browser, file, tmp_path / "profile")
    assert any("heard" in line for line in console)
