"""The recorded mutation scores. ``python tests/mutation_scores.py [NAME]…`` runs all mutants, or those of some layers, and
records the scores in tests/data/mutation_scores.json: from then on test_mutation_score.py runs the mutants of those layers
alone of which the code or the cases have changed. A survivor that is not in survivors.toml is printed as its entry there.
"""

import hashlib
import inspect
import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from refbp import registry
from refbp.conformance import mutate
from refbp.conformance.mutants import sites
from refbp.conformance.parallel import each
from refbp.conformance.survivors import Key, reviewed

FILE = Path(__file__).with_name("data") / "mutation_scores.json"
COUNTS = ("mutants", "killed", "equivalent", "elsewhere", "survived")


def recorded():
    return json.loads(FILE.read_text())


def built_in():
    return [e for e in registry.current().entries.values() if e.plugin.startswith("refbp.")]


def fingerprint(entry):
    """What a layer's score depends on that its author may change: the code that is mutated, the cases, what they are spared."""
    spec = entry.spec
    parts = [f"{site.name} {inspect.getsource(site.function)}" for site in sites(spec.layer)]
    for name, case in zip(spec.case_ids(), spec.cases, strict=True):
        drawn = [None if d is None else np.asarray(d(np.random.default_rng(0))) for d in case.draws]
        values = [None if a is None else (a.shape, a.dtype.str, a.tobytes()) for a in drawn]
        parts.append(f"{name} {case.layer!r} {sorted(case.options)} {values}")
    parts += [f"{e.check} {e.reason}" for e in (*spec.waivers, *spec.exempt)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def survivors(score):
    """The keys of those of a layer."""
    return {Key.of(score.name, fate.mutant) for fate in score.survivors}


def expected(name):
    """The keys that were reviewed."""
    return {key for key in reviewed() if key.layer == name}


def entries_of(keys):
    """Entries for survivors.toml, the layers that share a mutant in one."""
    layers, changes = defaultdict(list), defaultdict(list)
    for key in sorted(keys, key=lambda k: (k.file, k.function, k.line, k.change, k.layer)):
        layers[key.file, key.function, key.line, key.change].append(key.layer)
    for (*place, change), names in layers.items():
        changes[*place, tuple(names)].append(change)
    for (file, function, line, names), found in changes.items():
        text = {"layers": names, "file": file, "function": function, "line": line, "changes": found, "reason": ""}
        yield "\n".join(["[[survivors]]", *(f"{n} = {json.dumps(v, ensure_ascii=False)}" for n, v in text.items())])


def main(names):
    found_now = {}
    entries = [e for e in built_in() if not names or e.name in names]
    new, stale = set(), set()
    for entry, score in each(entries, mutate.score, (), 2, ()):
        assert score is not None, f"{entry.name}: the process that ran it died"
        assert not score.problem, f"{entry.name}: {score.problem}"
        data = score.data()
        about = {"source": entry.source, "fingerprint": fingerprint(entry)}
        found_now[entry.name] = about | {n: data[n] for n in (*COUNTS, "seconds")}
        found = survivors(score)
        new |= found - expected(entry.name)
        stale |= expected(entry.name) - found
        late = f"  {data['by_check']['time limit']} by the clock" if "time limit" in data["by_check"] else ""
        sys.stderr.write(f"{entry.name}  {data['percent']:.1f} %  {data['seconds']:.1f} s{late}\n")
    known = (recorded() if FILE.exists() else {}) | found_now
    lines = (f"  {json.dumps(n)}: {json.dumps(known[n])}" for n in sorted(known))
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    told = [*entries_of(new), *(f"in survivors.toml, and noticed now: {key}" for key in sorted(stale, key=str))]
    sys.stdout.write("".join(f"\n{text}\n" for text in told))
    return 1 if new or stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
