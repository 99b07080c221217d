"""Whether a text is what a format's published description asks for; the descriptions are in tests/data/schemas."""

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

FOLDER = Path(__file__).with_name("data") / "schemas"
TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "number": (int, float),
}


def schema(name):
    return json.loads((FOLDER / f"{name}.json").read_text())


def faults(value, wanted, where="$"):
    """What is wrong with a value, each with where it is."""
    if "enum" in wanted and value not in wanted["enum"]:
        yield f"{where} is {value!r}, none of {wanted['enum']}"
    kinds = wanted.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(isinstance(value, TYPES[k]) and (k == "boolean" or not isinstance(value, bool)) for k in kinds):
        yield f"{where} is a {type(value).__name__}, wanted {kinds}"
    if isinstance(value, dict):
        known = wanted.get("properties", {})
        yield from (f"{where} lacks {n}" for n in wanted.get("required", ()) if n not in value)
        if "any_required" in wanted and not any(all(n in value for n in names) for names in wanted["any_required"]):
            yield f"{where} has none of {wanted['any_required']}"
        for name, inner in value.items():
            if name in known:
                yield from faults(inner, known[name], f"{where}.{name}")
            elif "values" in wanted:
                yield from faults(inner, wanted["values"], f"{where}.{name}")
            elif wanted.get("additional", True) is False:
                yield f"{where} has an unknown {name}"
    if isinstance(value, list) and "items" in wanted:
        for i, inner in enumerate(value):
            yield from faults(inner, wanted["items"], f"{where}[{i}]")
    if isinstance(value, int | float) and not wanted.get("minimum", value) <= value <= wanted.get("maximum", value):
        yield f"{where} is {value}"
    if isinstance(value, str) and not re.search(wanted.get("pattern", ""), value):
        yield f"{where} is {value!r}"


def _strict(text):
    def never(name):
        raise ValueError(f"{name} is no JSON")

    return json.loads(text, parse_constant=never)


def gradescope(text):
    data = _strict(text)
    found = list(faults(data, schema("gradescope")))
    if "score" not in data and not all("score" in t for t in data["tests"]):
        found.append("neither the whole nor every test has a score")
    return found


def prairielearn(text):
    data = _strict(text)
    found = list(faults(data, schema("prairielearn")))
    if data.get("gradable", True) and "score" not in data:
        found.append("what is gradable has a score")
    if len(text.encode()) > 1 << 20:
        found.append("it is more than 1 MB")
    return found


def check50(text):
    data = _strict(text)
    found = list(faults(data, schema("check50")))
    if ("results" in data) == ("error" in data):
        found.append("results or error, one of them")
    names = [r["name"] for r in data.get("results", ())]
    found += [f"{n} is there twice" for n in names if names.count(n) > 1]
    for r in data.get("results", ()):
        if (r["cause"] is None) != (r["passed"] is True):
            found.append(f"{r['name']}: cause is null exactly where passed is true")
        if r["passed"] is not True and "rationale" not in (r["cause"] or {}):
            found.append(f"{r['name']}: no rationale")
        if r["dependency"] is not None and r["dependency"] not in names:
            found.append(f"{r['name']} depends on nothing that is there")
    return found


def autolab(text):
    *_, before, last = text.rstrip("\n").split("\n")
    feedback = _strict(before)
    found = [*faults(_strict(last), schema("autolab")), *faults(feedback, schema("autolab_feedback"))]
    return found + [f"the stage {s} has no cases" for s in feedback.get("stages", ()) if s not in feedback]


def junit(text):
    wanted = schema("junit")
    found = []

    def visit(element):
        rule = wanted.get(element.tag)
        if rule is None:
            found.append(f"there is no element {element.tag}")
            return
        found.extend(f"{element.tag} has an unknown {a}" for a in element.attrib if a not in rule["attributes"])
        found.extend(f"{element.tag} lacks {a}" for a in rule["required"] if a not in element.attrib)
        for child in element:
            if child.tag not in rule["children"]:
                found.append(f"{child.tag} in {element.tag}")
            visit(child)
        if element.tag == "testsuite":
            cases = element.findall("testcase")
            counted = {n: sum(c.find(n[:-1]) is not None for c in cases) for n in ("failures", "errors")} | {
                "tests": len(cases)
            }
            found.extend(f"{n} is {element.get(n)}, not {v}" for n, v in counted.items() if int(element.get(n)) != v)

    visit(ET.fromstring(text))
    return found
