"""Hostile submissions: whatever they do, they gain nothing, and nothing outside comes to harm."""

from pathlib import Path

import pytest
from isolated import HOSTILE, LIMITS, attack, hostile, problem, right

from refbp.oracle.isolation import Limits, Worker

ANY_END = {"died", "memory", "raised"}
VERDICTS = {
    "alarm": {"died", "raised", "garbage"},
    "array_subclass": {"ok"},
    "at_exit": {"ok"},
    "becomes_root": {"raised"},
    "bottomless": {"ok"},
    "claims_to_be_an_array": {"ok"},
    "closes_descriptors": {"died"},
    "deaf": {"timeout"},
    "deep_recursion": ANY_END,
    "deletes_files": {"raised"},
    "deletes_itself": {"raised"},
    "detached_child": {"raised"},
    "endless_loop": {"timeout"},
    "endless_loop_in_c": {"timeout"},
    "equals_everything": {"ok"},
    "fills_the_disk": {"raised"},
    "finite_differences": {"ok"},
    "fork_bomb": {"raised"},
    "forged_depth": {"garbage"},
    "forged_fields": {"garbage"},
    "forged_frames": {"garbage"},
    "forged_lengths": {"too much output"},
    "forged_noise": {"garbage"},
    "forged_pickle": {"garbage"},
    "forged_shape": {"garbage"},
    "forged_stdout": {"ok"},
    "forged_with_the_token": {"ok"},
    "frame_walk": {"ok"},
    "gc_walk": {"ok"},
    "guesses_the_seed": {"ok"},
    "hangs_when_imported": {"timeout"},
    "hostile_exception": {"raised"},
    "huge_list": {"too much output"},
    "huge_output": {"too much output"},
    "huge_output_below_python": {"too much output"},
    "huge_result": {"too much output"},
    "imports_refbp": {"raised"},
    "imports_torch": {"raised"},
    "interrupts": {"raised"},
    "kills_the_parent": {"ok"},
    "leaves": {"raised"},
    "leaves_at_once": {"died"},
    "leaves_when_imported": {"died"},
    "many_threads": {"raised"},
    "memory_bomb": {"memory"},
    "memory_bomb_of_lists": {"memory"},
    "nan": {"ok"},
    "network": {"raised"},
    "patched_comparisons": {"ok"},
    "patched_worker": {"garbage"},
    "pickles": {"ok"},
    "raises_its_limits": {"raised"},
    "reads_stdin": {"raised"},
    "reads_the_parent": {"raised"},
    "reads_the_tests": {"raised"},
    "replaces_itself": {"raised"},
    "runs_a_program": {"raised"},
    "searches_the_disk": {"ok"},
    "segmentation_fault": {"died"},
    "shared_memory": {"raised"},
    "terminal_escapes": {"raised"},
    "threads": {"ok"},
    "wrong_dtypes": {"ok"},
    "wrong_types": {"ok"},
    "writes_files": {"raised"},
    "zeroes_its_inputs": {"ok"},
}
QUICK = {"deaf", "endless_loop", "endless_loop_in_c", "hangs_when_imported"}


def test_every_hostile_submission_has_a_verdict():
    assert {p.stem for p in HOSTILE.glob("*.py")} == VERDICTS.keys() | {"honest"}
    assert len(VERDICTS) >= 25


@pytest.mark.parametrize("name", sorted(VERDICTS))
def test_a_hostile_submission_gains_nothing_and_harms_nothing(name, confine, scene, tmp_path):
    limits = Limits(seconds=1, load_seconds=1, memory=512 << 20) if name in QUICK else LIMITS
    with Worker(hostile(name, scene, tmp_path), limits=limits, confine=confine) as worker:
        result, expected = attack(worker)
        assert result.kind in VERDICTS[name], result
        assert result.sentence()
        assert "STOLEN" not in result.stdout
        # Only finite differences are right, and they have a verdict of their own, below
        assert right(result, expected) == (name == "finite_differences")
        # Whatever happened, a fresh process is as good as the first was
        worker.end()
        again = worker.call("affine_forward", problem()[0])
        assert again.ok or again.importing
    assert scene.victim.read_text() == '{"score": 0}'
    assert [p.name for p in scene.folder.iterdir()] == ["results.json"]
    assert not scene.connections
    assert not scene.signals
    assert not Path("/dev/shm/refbp-hostile").exists()


def test_an_honest_submission_gains_its_point(confine):
    with Worker(HOSTILE / "honest.py", limits=LIMITS, confine=confine) as worker:
        for _ in range(3):
            result, expected = attack(worker)
            assert right(result, expected)
            assert result.mutated == ()
            assert result.shared == ()
