"""The page of refbp check: what it shows, that nothing in it runs whatever a submission says; the page in a real browser."""

import html
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from command import refbp

from refbp.oracle.alike.inhand import check
from refbp.oracle.page import SIDE, flat, fragment, page

HOSTILE = "</pre></script><script>document.title='owned'</script><img src=x onerror=console.error(1)>\"'&"
FILE = f"""import numpy as np
def forward(x, w, b):
    return x @ w + b, (x, w)
def backward(dout, cache):
    x, w = cache
    if len(x) == 5:
        raise ValueError({HOSTILE!r})
    return dout @ w.T * np.where(w.sum() > 1e9, 1, 2), x.T @ dout, np.full(len(w.T), np.nan)
"""


def forward(x, w, b):
    return x @ w + b, (x, w)


def backward(dout, cache):
    x, w = cache
    return 2 * dout @ w.T, x.T @ dout, np.full(len(w.T), np.nan)


@pytest.fixture(scope="module")
def report():
    return check(forward, backward, like="Linear", seed=1).report


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """The page of a submission whose exception is a piece of a page."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "my.py").write_text(FILE)
    run = refbp("check", "my.py::forward,backward", "--like", "Linear", "--seed", "1", "--html", "page.html", cwd=folder)
    assert run.returncode == 1, run.stderr
    return folder / "page.html"


class Tags(HTMLParser):
    """The tags of a page, and whether they are nested as they should be."""

    VOID = ("meta", "link", "br")

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

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_has_the_table_the_words_the_example_and_the_maps(report):
    text = page(report)
    tags = Tags(text).tags
    shown = html.unescape(re.sub(r"<[^>]+>", " ", text))
    for part in (
        "forward",
        "backward",
        "wrong",
        "dx is 2 times what it should be",
        "The smallest input that shows it",
        "seed 1",
    ):
        assert part in shown
    assert sum(tag == "svg" for tag, _ in tags) == 6  # got, expected and difference of dx and of db
    assert sum(a.get("class") == "x" for tag, a in tags if tag == "rect") >= 2  # the NaN are crossed out
    assert "nan" in shown


def test_the_strength_of_a_square_is_the_magnitude_and_its_colour_the_sign(report):
    row = report.rows[1]
    wrong = min((a for a in row.attempts if not a.grads[0].ok), key=lambda a: sum(np.size(x) for x in a.problem.inputs))
    expected = np.asarray(wrong.grads[0].expected)
    maps = re.findall(r"<figure.*?</figure>", page(report), flags=re.S)
    squares = re.findall(r'<rect class="(.)".*?fill-opacity="([\d.]+)"><title>\[(\d+), (\d+)\] (\S+)</title>', maps[1])
    assert len(squares) == expected.size
    for sign, strength, i, j, value in squares:
        v = expected[int(i), int(j)]
        assert float(value) == pytest.approx(v, rel=1e-5)
        assert (sign == "m") == (v < 0)
        assert 0 <= float(strength) <= 1


def test_a_map_is_bounded_and_says_what_it_leaves_out():
    grid, cut = flat(np.zeros((7, 50, 300)))
    assert grid.shape == (SIDE, SIDE)
    assert cut
    for shape in ((), (0,), (3,), (2, 3), (2, 3, 4, 5)):
        grid, cut = flat(np.ones(shape))
        assert (grid.size, cut) == (int(np.prod(shape)), False)


def test_hints_hold_back_what_they_hold_back(report):
    bare, cases, words = (page(report, hints) for hints in (0, 1, 2))
    assert "2 times" not in bare + cases
    assert "2 times" in words
    for text in (bare, cases, words):
        assert "<svg" not in text
        assert "smallest input" not in text


def test_what_a_submission_says_is_escaped_and_could_not_run(hostile):
    text = hostile.read_text()
    tags = Tags(text).tags
    assert not [t for t, _ in tags if t in {"script", "img", "iframe", "object", "embed"}]
    assert not [a for _, a in tags for name in a if name.startswith("on") or name == "src"]
    assert "onerror" in html.unescape(text)
    assert "<script" not in text
    assert dict(tags[[t for t, _ in tags].index("meta") + 1][1])["content"].startswith("default-src 'none'")
    assert not re.search(r"https?://|url\(|@import", text)


def test_a_notebook_is_shown_the_same_without_a_page_around_it(report):
    text = fragment(report)
    tags = [t for t, _ in Tags(text).tags]
    assert tags[:2] == ["style", "div"]
    assert not {"html", "body", "script"} & {*tags}
    assert text.count("<svg") == 6


def test_a_page_is_written_whole_or_not_at_all(tmp_path):
    (tmp_path / "my.py").write_text(FILE)
    run = refbp("check", "my.py::forward,backward", "--like", "Linear", "--html", "no/page.html", cwd=tmp_path)
    assert run.returncode == 2
    assert "the folder no does not exist" in run.stderr


# In a browser ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
    if found is None:
        if os.environ.get("REFBP_REQUIRE_BROWSER") == "1":
            pytest.fail("REFBP_REQUIRE_BROWSER=1, and no chromium is installed: apt-get install chromium")
        pytest.skip("no browser is installed (chromium)")
    return found


FRAMES = """<!DOCTYPE html><meta charset="utf-8"><body>{frames}<pre id="found"></pre><script>
addEventListener("load", () => {{
  const found = [...document.querySelectorAll("iframe")].map((frame) => {{
    const page = frame.contentDocument, root = page.documentElement;
    const wide = [...page.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > frame.clientWidth + 0.5);
    const maps = [...page.querySelectorAll("svg")].map((e) => e.getBoundingClientRect());
    return {{ title: page.title, over: root.scrollWidth - frame.clientWidth, wide: wide.map((e) => e.tagName),
      maps: maps.map((r) => [r.width, r.height]), heads: getComputedStyle(page.querySelector("thead")).display,
      paper: getComputedStyle(page.body).backgroundColor, ink: getComputedStyle(page.querySelector("h2")).color }};
  }});
  document.getElementById("found").textContent = JSON.stringify(found);
}});
</script>"""


def opened(browser, text, folder, *options, widths=(375, 1280)):
    """A page in frames of several widths: what each looks like, and what the console said."""
    frames = "".join(
        f'<iframe width="{w}" height="900" style="border: 0" srcdoc="{html.escape(text)}"></iframe>' for w in widths
    )
    file = folder / "frames.html"
    file.write_text(FRAMES.format(frames=frames))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    flags += ["--disable-background-networking", "--disable-component-update", "--enable-logging=stderr", "--v=0", *options]
    flags += [f"--user-data-dir={folder / 'profile'}", "--window-size=1700,1000", "--dump-dom"]
    run = subprocess.run([browser, *flags, file.as_uri()], capture_output=True, text=True, timeout=240, check=False)
    assert run.returncode == 0, run.stderr
    found = re.search(r'<pre id="found">(.*?)</pre>', run.stdout, flags=re.S)
    assert found, run.stdout[-500:]
    return json.loads(html.unescape(found[1])), [line for line in run.stderr.splitlines() if ":CONSOLE" in line]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_in_a_browser_nothing_is_too_wide_and_nothing_runs(browser, hostile, tmp_path, dark):
    options = ["--blink-settings=preferredColorScheme=0"] if dark else []
    (phone, desk), console = opened(browser, hostile.read_text(), tmp_path, *options)
    assert console == []
    for shown in (phone, desk):
        assert "owned" not in shown["title"]
        assert shown["over"] <= 0
        assert shown["wide"] == []
        assert len(shown["maps"]) >= 3
        assert all(w > 20 and h > 5 for w, h in shown["maps"])
        paper, ink = (sum(map(int, re.findall(r"\d+", shown[c])[:3])) for c in ("paper", "ink"))
        assert (paper < ink) == dark
    assert phone["heads"] == "none"
    assert desk["heads"] == "table-header-group"


def test_the_browsers_console_would_be_heard(browser, tmp_path):
    found, console = opened(browser, "<title>t</title><h2></h2><table><thead></thead></table><script>nope()</script>", tmp_path)
    assert len(found) == 2
    assert any("nope" in line for line in console)
