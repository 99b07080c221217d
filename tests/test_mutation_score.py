"""Would the checks notice a mistake? The mutation scores that are recorded, and survivors.toml, are still true.

To run all mutants takes minutes: ``python tests/mutation_scores.py`` does, and records. Here the mutants of a few layers are
run, and of those of which the code or the cases have changed since.
"""

from pathlib import Path

import mutation_scores as scores
import pytest

from refbp import registry
from refbp.cli.mutate import summary_rows
from refbp.conformance import mutate
from refbp.conformance.mutants import mutants, sites
from refbp.conformance.survivors import Key, reviewed

README = (Path(__file__).parents[1] / "README.md").read_text()
ALWAYS = ("Linear", "Bilinear", "ReLU", "Mish", "Softmax", "Dropout", "Embedding", "MSELoss", "BCELoss", "RMSNorm")
SECONDS = 60  # of changed layers, as recorded: more than that is recorded anew, not tested in passing
AGAIN = "python tests/mutation_scores.py runs the mutants of all layers, or of those that it is given, and records the scores"


@pytest.fixture(scope="module")
def recorded():
    return scores.recorded()


@pytest.fixture(scope="module")
def changed(recorded):
    """The names of the layers whose recorded score may no longer be theirs."""
    known = {n: r["fingerprint"] for n, r in recorded.items()}
    return [e.name for e in scores.built_in() if known.get(e.name) != scores.fingerprint(e)]


def unexpected(name):
    """What is wrong with a layer's survivors, in words; and its score."""
    score = mutate.score(registry.current().get(name))
    assert not score.problem, f"{name}: {score.problem}"
    new = scores.survivors(score) - scores.expected(name)
    gone = scores.expected(name) - scores.survivors(score)
    told = [*scores.entries_of(new), *(f"no survivor any more: {key}" for key in gone)]
    return ["add a case that tells it apart, or say in survivors.toml why none has to:", *told] if told else [], score


@pytest.mark.parametrize("name", ALWAYS)
def test_the_survivors_of_a_layer_are_those_that_were_reviewed_and_its_score_is_the_recorded_one(name, recorded, changed):
    told, score = unexpected(name)
    assert not told, "\n\n".join(told)
    if name not in changed:
        data = score.data()
        assert {n: data[n] for n in scores.COUNTS} == {n: recorded[name][n] for n in scores.COUNTS}, AGAIN


def test_a_layer_that_has_changed_has_no_new_survivor(recorded, changed):
    waiting = [n for n in changed if n not in ALWAYS]
    cost = sum(recorded.get(n, {"seconds": 3.0})["seconds"] for n in waiting)
    assert cost < SECONDS, f"{', '.join(waiting)} have changed since their scores were recorded. {AGAIN}."
    told = [line for name in waiting for line in unexpected(name)[0]]
    assert not told, "\n\n".join(told)


def test_every_layer_has_a_recorded_score(recorded):
    assert recorded.keys() == {e.name for e in scores.built_in()}, AGAIN


def test_every_reviewed_survivor_is_a_mutant_of_today_and_has_a_reason(recorded):
    first = {}  # layers that share code share its mutants: one of them is asked
    for key in reviewed():
        first.setdefault((key.file, key.function, key.line, key.change), key.layer)
    for layer in dict.fromkeys(first.values()):
        found = {Key.of(layer, m) for m in mutants(registry.current().get(layer).spec.layer)}
        gone = {key for key in scores.expected(layer) if first[key.file, key.function, key.line, key.change] == layer} - found
        assert not gone, "in survivors.toml, and no mutant of the layer"
    for key in reviewed():
        assert key.function in {site.name for site in sites(registry.current().get(key.layer).spec.layer)}, key
    assert all(len(reason.split()) >= 5 for reason in reviewed().values())
    survived = {n: r["survived"] for n, r in recorded.items() if r["survived"]}
    assert survived.keys() == {key.layer for key in reviewed()}, AGAIN
    assert all(len(scores.expected(n)) <= count for n, count in survived.items()), AGAIN


def test_at_least_99_percent_are_noticed(recorded):
    killed, survived = (sum(r[n] for r in recorded.values()) for n in ("killed", "survived"))
    assert killed / (killed + survived) >= 0.99


def test_the_readmes_table_is_the_recorded_one(recorded):
    rows = summary_rows(list(recorded.values()))
    block = next(b for b in README.split("```") if "equivalent  elsewhere" in b)
    assert [line.split() for line in block.strip().removeprefix("text\n").splitlines()] == [" ".join(r).split() for r in rows]
