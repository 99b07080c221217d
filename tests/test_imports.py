"""Start-up is a feature: what is imported when, and which way imports go."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import refbp

PACKAGE = Path(refbp.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))


def _loaded_after(code, *modules):
    probe = f"import sys; {code}; print([m for m in {modules!r} if m in sys.modules])"
    return ast.literal_eval(
        subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout.splitlines()[-1]
    )


def test_importing_refbp_imports_neither_numpy_nor_torch_nor_a_plugin():
    assert _loaded_after("import refbp", "numpy", "torch", "pluggy", "click", "rich", "refbp.registry", "refbp.layers") == []


@pytest.mark.parametrize("command", ["list", "list --json", "plugins", "show LSTM", "--help", "verify --help"])
def test_commands_that_need_no_torch_do_not_import_it(command):
    code = f"sys.argv = ['refbp', *{command.split()!r}]; from refbp.cli import cli; cli(sys.argv[1:], standalone_mode=False)"
    assert _loaded_after(code, "torch") == []


@pytest.mark.parametrize("like", [[], ["--like", "ReLU"]])
def test_checking_somebodys_functions_does_not_import_torch(tmp_path, like):
    (tmp_path / "my.py").write_text("def relu_forward(x): return x, x\ndef relu_backward(dout, cache): return dout")
    given = ["check", str(tmp_path / "my.py"), *like, "--html", str(tmp_path / "page.html")]
    assert _loaded_after(f"from refbp.cli import cli; cli({given!r}, standalone_mode=False)", "torch") == []


def test_a_layer_brings_only_its_family():
    loaded = _loaded_after("from refbp import Linear", "torch", "refbp.layers.linear", "refbp.layers.recurrent", "refbp.cases")
    assert loaded == ["refbp.layers.linear"]


def _imports(path, top_level_only):
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{a.name}" for a in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_conformance_imports_torch_at_module_level(path):
    if path.relative_to(PACKAGE).parts[0] == "conformance":
        return
    assert not [m for m in _imports(path, top_level_only=True) if m.split(".")[0] == "torch"]


# What each part may import of refbp at module level, besides itself: imports go one way
ALLOWED = {
    "errors": set(),
    "shapes": {"errors"},
    "arguments": {"errors"},
    "contract": {"errors", "shapes", "arguments"},
    "draws": {"shapes"},
    "spec": {"contract", "draws"},
    "hookspecs": {"spec"},
    "numerics": {"shapes"},
    "absent": set(),
    "registry": {"absent", "hookspecs", "contract", "errors", "spec"},
    "network": {"contract", "errors"},
    "optim": {"contract", "errors", "arguments"},
    "layers": {"arguments", "contract", "errors", "shapes", "numerics", "layers"},
    "losses": {"contract", "errors", "shapes", "numerics", "layers"},
    "cases": {"contract", "draws", "hookspecs", "spec", "layers", "losses"},
    "conformance": {"contract", "draws", "errors", "layers", "losses", "network", "oracle", "registry", "shapes", "spec"},
    "testing": {"testing"},
    "cli": {"errors", "registry"},
    "notation": {"contract", "errors", "registry"},
    "training": {"contract", "errors", "layers", "network", "optim", "shapes"},
    "trace": {"contract", "draws", "errors", "layers", "losses", "notation", "numerics"},
    "oracle": {"contract", "draws", "errors", "notation", "numerics", "shapes", "spec"},
    "courses": {"contract", "draws", "hookspecs", "layers", "losses", "numerics", "optim", "oracle", "spec"},
}


@pytest.mark.parametrize(
    "path", [m for m in MODULES if m.parent != PACKAGE or m.stem in ALLOWED], ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_imports_go_one_way(path):
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if part not in ALLOWED:
        pytest.fail(f"refbp/{part} is new: say in this test what it may import")
    used = {m.split(".")[1] for m in _imports(path, top_level_only=True) if m.startswith("refbp.")}
    used -= {"hookimpl", "__version__"}
    assert used - {part} <= ALLOWED[part]


def test_nothing_imports_testing():
    for path in MODULES:
        if path.relative_to(PACKAGE).parts[0] != "testing":
            assert not [m for m in _imports(path, top_level_only=False) if m.startswith("refbp.testing")], path


def test_public_names_are_importable_and_listed():
    for name in dir(refbp):
        assert getattr(refbp, name) is not None
    assert {"Linear", "MSELoss", "Layer", "theta"} <= set(dir(refbp))
    with pytest.raises(AttributeError, match="did you mean Linear"):
        refbp.Linaer  # noqa: B018


def test_the_top_level_is_what_it_should_be():
    root = PACKAGE.parent
    if (root / "pyproject.toml").exists():
        tracked = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=False).stdout.split("\n")
        visible = {f.split("/")[0] for f in tracked if f and not f.startswith(".")}
        assert visible <= {"pyproject.toml", "README.md", "conftest.py", "refbp", "plugins", "tests"}
