"""What the README and the plugins' README say is run."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from command import refbp

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PLUGINS = (ROOT / "plugins" / "README.md").read_text()
INSTALLS = re.compile(r"python -m pip install")


def _commands(text):
    """The commands of a page: not what stands in blocks of output, where a line may begin with the same word."""
    shown = re.sub(r"```text\n.*?```", "", text, flags=re.S)
    lines = [line.strip().removeprefix("$ ") for line in shown.splitlines()]
    return [line.split("#")[0].strip() for line in lines if line.startswith("refbp ") or "&& refbp" in line]


def _python(text):
    return [block for block in re.findall(r"```python\n(.*?)```", text, flags=re.S) if "import *" not in block]


def test_the_readme_has_the_two_commands():
    assert "python -m pip install -e . && refbp verify" in README
    assert 'python -m pip install -e ".[test]" && python -m pytest' in README


def test_the_readmes_python_runs_from_top_to_bottom():
    scope = {}
    for block in _python(README):
        exec(block, scope)
    assert scope["grads"].params["weight"].shape == (2, 3)
    assert scope["memory"]
    scope["test_networks_are_torchs"]()


def test_the_readmes_commands_run_in_order(tmp_path):
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    ran = 0
    for command in _commands(README):
        if INSTALLS.search(command) or command == "refbp verify":
            continue  # the environment that runs this test is installed so; verifying everything is tests/test_conformance.py
        run = refbp(*shlex.split(command)[1:], cwd=tmp_path)
        assert run.returncode == 0, f"{command}: {run.stdout}{run.stderr}"
        ran += 1
    assert ran >= 6


def test_the_plugins_readmes_commands_run_in_order(tmp_path):
    (tmp_path / "plugins").symlink_to(ROOT / "plugins")
    commands = _commands(PLUGINS)
    assert len(commands) >= 4
    for command in commands:
        run = refbp(*shlex.split(command)[1:], cwd=tmp_path)
        assert run.returncode == 0, f"{command}: {run.stdout}{run.stderr}"


@pytest.mark.parametrize("name", re.findall(r"\]\(([^)#]+)\)", README))
def test_the_readmes_links_lead_somewhere(name):
    assert name.startswith("https://") or (ROOT / name).exists()


def test_every_command_is_in_the_help_and_in_the_readme():
    from refbp.cli import COMMANDS

    for command in COMMANDS:
        assert f"refbp {command}" in README


def test_no_path_of_a_machine_and_no_registry_host_is_in_the_project():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    if not tracked:
        pytest.skip("not a git checkout")
    forbidden = re.compile(rf"{os.sep}(?:work|farm|root|home)/|pypi\.org|pythonhosted")
    for name in tracked:
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".txt", ""} and path.name != "test_docs.py" and path.is_file():
            assert not forbidden.search(path.read_text(errors="ignore")), name
