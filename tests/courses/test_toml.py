"""Courses in TOML: the styles that are no built-in course, and what is said of a file with mistakes."""

import dataclasses
import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from courses._course import Wrong, caught, edited, names, words

from refbp.oracle import submission, toml_course
from refbp.oracle.callers import Local
from refbp.oracle.checking import Asked, check, check_exercise, explained
from refbp.oracle.toml_course import CourseFileError
from refbp.oracle.verdict import better

HERE = Path(__file__).parent
FILES = HERE.parents[1] / "plugins" / "courses"
STYLES = ["torch7", "nnfs", "numpy_ml", "updating", "mit6036", "fastai", "uva"]
WRONG = [
    Wrong("Linear.accGradParameters", "self.gradW +=", "self.gradW -=", r"gradW has the wrong sign", file="torch7"),
    Wrong("Linear.accGradParameters", "gradOutput.sum(axis=0)", "gradOutput.mean(axis=0)", "1/N", file="torch7"),
    Wrong("ClassNLLCriterion.updateGradInput", "return -target / len(input)", "return -target", "N times", file="torch7"),
    Wrong("LeakyReLU.updateGradInput", "where(input > 0, 1, self", "where(input < 0, 1, self", "", file="torch7"),
    Wrong("BatchNormalization.updateGradInput", "- along", "+ along", "wrong sign", file="torch7"),
    Wrong("Dropout.updateGradInput", "gradOutput * self.mask", "gradOutput * (self.mask > 0)", "p", file="torch7"),
    Wrong("SoftMax.updateGradInput", "self.output * (gradOutput -", "self.output * (gradOutput +", "wrong sign", file="torch7"),
    Wrong(
        "ClassNLLCriterionUnstable.updateGradInput",
        "1 - self.EPS) / len(input)",
        "1 - self.EPS)",
        "N times",
        file="torch7",
    ),
    Wrong(
        "Layer_Dense.backward",
        "keepdims=True)\n        self.dinputs",
        "keepdims=False)\n        self.dinputs",
        "shape",
        file="nnfs",
    ),
    Wrong("Activation_Softmax.backward", "np.diag(y) - np.outer(y, y)", "np.diag(y)", "softmax|Jacobian|missing", file="nnfs"),
    Wrong("LayerDense.backward", "@ dValues\n", "@ dValues / len(dValues)\n", "1/N", file="nnfs"),
    Wrong("Loss_CategoricalCrossentropy.backward", "/ dvalues / len(dvalues)", "/ dvalues", "N times", file="nnfs"),
    Wrong("FullyConnected.backward", "= self.X[-1].T @ dLdy", "= self.X[0].T @ dLdy[::-1]", "", file="numpy_ml"),
    Wrong(
        "FullyConnected.backward",
        'dLdy @ self.parameters["W"].T',
        'dLdy @ self.parameters["W"].T / len(dLdy)',
        "1/N",
        file="numpy_ml",
    ),
    Wrong(
        "Dense.backward", "self.biases - self.learning_rate", "self.biases + self.learning_rate", "wrong sign", file="updating"
    ),
    Wrong(
        "DenseLayer.backward_pass",
        "self.W = self.W_opt.update(self.W, self.X.T @ accum_grad)",
        "self.W_opt.update(self.W, self.X.T @ accum_grad)",
        "dW is zero",
        file="updating",
    ),
    Wrong(
        "Softmax.backward",
        "y * (grad_output - (y * grad_output).sum(axis=-1, keepdims=True))",
        "y * (1 - y) * grad_output",
        "diagonal",
        file="updating",
    ),
    Wrong(
        "DenseLayer.backward_pass", "return accum_grad @ W.T", "return accum_grad @ W.T * 2", "2 times|twice", file="updating"
    ),
    Wrong("Linear.backward", "self.A @ dLdZ.T", "dLdZ @ self.A.T", "transposed", file="mit6036"),
    Wrong(
        "Linear.backward",
        "dLdZ.sum(axis=1, keepdims=True)\n        return self.W",
        "dLdZ\n        return self.W",
        "not summed",
        file="mit6036",
    ),
    Wrong("ReLU.backward", "dLdA * (self.A > 0)", "dLdA", "slope f′.x. is missing", file="mit6036"),
    Wrong("NLL.backward", "self.Ypred - self.Y", "(self.Ypred - self.Y) / self.Y.shape[1]", "1/N", file="mit6036"),
    Wrong("lin_grad", "out.g.sum(0)", "out.g.sum(1)", "axis", file="fastai"),
    Wrong("lin_grad", "out.g @ w.T", "out @ w.T", "the output in place of its upstream gradient", file="fastai"),
    Wrong("Lin.backward", "self.out.g.sum(0)", "self.out.g.mean(0)", "1/N", file="fastai"),
    Wrong("Mse.backward", "2.0 * (self.inp", "(self.inp", "1/2|0.5|half", file="fastai"),
    Wrong("mse_grad", "2.0 * (inp", "(inp", "1/2|0.5|half", file="fastai"),
    Wrong("relu_grad", "(inp > 0) * out.g", "(out.g > 0) * out.g", "upstream", file="fastai"),
    Wrong("LinearModule.backward", "self.x.T @ dout", "dout.T @ self.x", "transposed", file="uva"),
    Wrong(
        "ELUModule.backward",
        "dout * np.where(self.x > 0, 1, np.exp(self.x))",
        "np.where(self.x > 0, self.x, np.expm1(self.x))",
        "f.x. is returned alone",
        file="uva",
    ),
    Wrong("CrossEntropyModule.backward", "-y / x / len(x)", "-y / x", "N times", file="uva"),
]


def _rows(course, space, name):
    best = []
    for e in (e for e in course.exercises if e.name == name):
        new = check_exercise(e, Local(space), None, None, Asked(20))
        best = new if not best or better(best, new) else best
    return [explained(r, Local(space), Asked(20, seconds=1.0)) for r in best]


@pytest.mark.parametrize("style", STYLES)
def test_a_right_solution_of_every_style_is_ok(style):
    course, path = toml_course.read(FILES / f"{style}.toml"), HERE / "toml" / "right" / f"{style}.py"
    if any(e.driver for e in course.exercises):  # in a worker, as refbp check does it: the driver runs there
        rows = check(submission.read(path), course, course.exercises, Asked(20, explain=False)).rows
    else:
        rows = [r for n in {e.name: 0 for e in course.exercises} for r in _rows(course, names(path), n)]
    assert {r.name: (r.verdict, r.note) for r in rows if not r.ok} == {}
    assert len(rows) >= 4


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_wrong_solution_is_caught_and_explained(wrong):
    path = HERE / "toml" / "right" / f"{wrong.file}.py"
    row = _rows(toml_course.read(FILES / f"{wrong.file}.toml"), names(path, edited(path.read_text(), wrong)), wrong.exercise)[
        -1
    ]
    assert caught(row)
    assert re.search(wrong.says, words(row)), words(row)


def test_the_convention_that_fits_better_is_the_one_that_counts():
    path = HERE / "toml" / "right" / "torch7.py"
    course = toml_course.read(FILES / "torch7.toml")
    row = _rows(course, names(path), "Linear.accGradParameters")[-1]
    assert (row.verdict, row.exercise.convention) == ("ok", "accGradParameters adds to gradW and gradb")
    space = names(path, re.sub(r"self.grad([Wb]) \+=", r"self.grad\1 =", path.read_text()))
    row = _rows(course, space, "Linear.accGradParameters")[-1]
    assert (row.verdict, row.exercise.convention[:24]) == ("ok", "accGradParameters sets g")


LAYOUTS = [
    ("(in_features, out_features)", "(1, out_features)", "x @ {W} + {b}", "self.x.T @ dout", "(1, -1)", "dout @ {W}.T"),
    ("(in_features, out_features)", "(out_features,)", "x @ {W} + {b}", "self.x.T @ dout", "-1", "dout @ {W}.T"),
    ("(out_features, in_features)", "(out_features,)", "x @ {W}.T + {b}", "dout.T @ self.x", "-1", "dout @ {W}"),
    ("(out_features, in_features)", "(out_features, 1)", "x @ {W}.T + {b}.T", "dout.T @ self.x", "(-1, 1)", "dout @ {W}"),
]


@pytest.mark.parametrize("key", ["weight", "weights"])
@pytest.mark.parametrize("layout", LAYOUTS, ids=[f"{w} {b}" for w, b, *_ in LAYOUTS])
def test_a_weight_lies_as_the_layer_makes_it(layout, key, tmp_path):
    weight, bias, forward, dweight, shape, dx = (p.format(W=f'self.params["{key}"]', b='self.params["bias"]') for p in layout)
    source = f"""
import numpy as np

class LinearModule:
    def __init__(self, in_features, out_features):
        self.params = {{"{key}": np.zeros({weight}), "bias": np.zeros({bias})}}
        self.grads = {{}}

    def forward(self, x):
        self.x = x
        return {forward}

    def backward(self, dout):
        self.grads["{key}"] = {dweight}
        self.grads["bias"] = dout.sum(axis=0).reshape({shape})
        return {dx}
"""
    course, space = toml_course.read(FILES / "uva.toml"), names(tmp_path / "layers.py", source)
    assert [r.verdict for r in _rows(course, space, "LinearModule.backward")] == ["ok", "ok"]
    space = names(tmp_path / "layers.py", source.replace(dweight, f"({dweight}).T"))
    assert "transposed" in words(_rows(course, space, "LinearModule.backward")[-1])


def test_methods_may_be_inherited_and_imports_of_another_python_are_there(tmp_path):
    course = toml_course.read(FILES / "numpy_ml.toml")
    text = (HERE / "toml" / "right" / "numpy_ml.py").read_text()
    path = tmp_path / "layers.py"
    path.write_text(text.replace("import numpy", "from collections import Hashable, Iterable\nimport numpy"))
    rows = check(submission.read(path), course, course.select(["FullyConnected.backward"]), Asked(20, explain=False)).rows
    assert [(r.name, r.verdict) for r in rows] == [("FullyConnected.forward", "ok"), ("FullyConnected.backward", "ok")]
    path.write_text(
        text.replace("self.gradients = {n: np.zeros_like(p) for n, p in self.parameters.items()}", "raise ValueError")
    )
    again = check(submission.read(path), course, course.select(["FullyConnected.backward"]), Asked(20, explain=False))
    assert [r.verdict for r in again.rows][:1] == ["raises"]
    flush = text[text.index("        self.X = []\n") : text.index("\n\n\nclass FullyConnected")]
    path.write_text(text.replace(flush, "        raise NotImplementedError"))
    assert not submission.has_methods(submission.read(path), course.select(["FullyConnected.backward"])[0])


def test_a_base_does_not_make_a_submission_one_of_a_course(tmp_path):
    course = toml_course.read(FILES / "mit6036.toml")
    (tmp_path / "layers.py").write_text(
        "class Module:\n    def backward(self, d):\n        return self.updateGradInput(d)\n"
        "    def forward(self, x):\n        return self.updateOutput(x)\n"
        "class Linear(Module):\n    def updateOutput(self, x):\n        return x\n"
    )
    linear = course.select(["Linear.backward"])[0]
    assert submission.has_methods(submission.read(tmp_path / "layers.py"), linear)
    assert not submission.has_methods(submission.read(tmp_path / "layers.py"), linear, inherited=False)


def test_a_column_against_a_vector_is_named():
    path = HERE / "toml" / "right" / "fastai.py"
    space = names(path, path.read_text().replace("((inp[:, 0] - targ) ** 2)", "((inp - targ) ** 2)"))
    row = _rows(toml_course.read(FILES / "fastai.toml"), space, "mse_grad")[0]
    assert "every entry of the input is compared with every target" in words(row)


def test_a_script_in_a_class_does_not_keep_the_functions_from_being_checked(tmp_path):
    course = toml_course.read(FILES / "nnfs.toml")
    text = (HERE / "toml" / "right" / "nnfs.py").read_text()
    path = tmp_path / "main.py"
    path.write_text(f"import nnfs\n{text}\n\nclass Main:\n    nnfs.init()\n    layer = Layer_Dense(2, 3)\n")
    report = check(submission.read(path), course, course.select(["Layer_Dense.backward"]), Asked(20, explain=False))
    assert [r.verdict for r in report.rows] == ["ok", "ok"]
    assert "No module named 'nnfs'" in report.notes[0]


GOOD = """
about = "Mine"

[[exercise]]
name = "Dense.backward"
forward = '''
layer = Dense(in_features, out_features)
layer.W = W
out = layer.forward(x)
'''
backward = '''
dx = layer.backward(dout)
dW = layer.dW
'''
arrays = { x = "x", W = "weight.T" }
outputs = { out = "y" }
cases = ["Linear(3, 5, bias=False): normal(7, 3)"]
"""
MISTAKES = [
    ('about = "Mine"', 'abuot = "Mine"', r"c\.toml:2: abuot: there is no such key; did you mean about\?"),
    ('name = "Dense.backward"', 'name = " "', r"c\.toml:5: exercise 1, name: an exercise needs name, and this one is empty"),
    ('about = "Mine"', "about = 3", r"c\.toml:2: about: 3 is no text"),
    ('about = "Mine"', 'conventions = "rows"', r"conventions: 'rows' is no list of texts"),
    ("outputs = {", "ouputs = {", r"c\.toml:16: exercise 1, ouputs: there is no such key; did you mean outputs\?"),
    ('outputs = { out = "y" }', "", r"c\.toml:4: exercise 1: an exercise needs outputs"),
    ('outputs = { out = "y" }', "outputs = { out = 1 }", r"c\.toml:16: exercise 1, outputs\.out: 1 is not text in quotes"),
    ('outputs = { out = "y" }', 'outputs = { out = "z" }', r"outputs\.out: 'z': nothing is called z.*known: y"),
    ('outputs = { out = "y" }', 'outputs = { oud = "y" }', r"no line assigns oud; did you mean out\?|nothing is called dout"),
    ('outputs = { out = "y" }', 'outputs = "y"', r"outputs: 'y' is no table"),
    ('"weight.T"', '"wieght.T"', r"c\.toml:15: exercise 1, arrays\.W: .*nothing is called wieght; did you mean weight\?"),
    ('"weight.T"', '"weight.reshape(4)"', r"arrays\.W: 'weight\.reshape\(4\)' does not fit case 1 of std: cannot reshape"),
    ('"weight.T"', "\"weight.tofile('a')\"", r"arrays\.W: .*tofile is not for a course file"),
    ('"weight.T"', '"weight.T.__class__"', r"underscores"),
    ('"weight.T"', "\"open('a')\"", r"open\(…\) is no function here"),
    ('"weight.T"', "\"np.load('a')\"", r"np\.load is not for a course file"),
    ('"weight.T"', '"weight."', r"arrays\.W: 'weight\.': it cannot be read"),
    ('x = "x", W = "weight.T"', 'x = "x", W = "weight.T", b = "x"', r"arrays\.b: no line of forward or backward uses b"),
    ("dW = layer.dW", "np.save('a', layer.dW)", r"c\.toml:11: exercise 1, backward: np\.save is not for a course file"),
    ("dW = layer.dW", "for i in x: pass", r"exercise 1, backward: .*neither a call nor an assignment"),
    ("dW = layer.dW", "dW = (", r"exercise 1, backward: .*cannot be read"),
    ("dW = layer.dW", "dW = lay.dW", r"exercise 1: .*nothing is called lay"),
    ("layer.backward(dout)", "layer.backward(upstream)", r"nothing is called upstream"),
    (
        "dx = layer.backward(dout)\ndW = layer.dW",
        "g = layer.backward(dout)",
        r"backward: no line assigns a gradient: call them dx and dW",
    ),
    ("cases = [", "tiers.stdd = [", r"c\.toml:17: exercise 1, tiers\.stdd: no tier is called 'stdd'; did you mean std\?"),
    ('cases = ["Linear(3, 5, bias=False): normal(7, 3)"]', "", r"exercise 1: an exercise needs cases"),
    (
        'cases = ["Linear',
        'cases = ["Liner',
        r"c\.toml:17: exercise 1, cases, case 1: no layer or loss is called 'Liner'.*did you mean Linear",
    ),
    ("Linear(3, 5, bias=False)", "Linear(3)", r"cases, case 1: Linear: missing a required argument"),
    ("normal(7, 3)", "norml(7, 3)", r"cases, case 1: no draw is called 'norml'; did you mean normal\?"),
    ("normal(7, 3)", "normal(7, 4)", r"case 1 of std: Linear: .*wanted"),
    ("normal(7, 3)", "normal(7, -3)", r"case 1: 'normal\(7, -3\)' has the shape"),
    (": normal(7, 3)", "", r"is no case; wanted a layer, a colon"),
    (
        '["Linear(3, 5, bias=False): normal(7, 3)"]',
        '[{ layer = "ReLU", input = [] }]',
        r"input is no key of a case; did you mean inputs",
    ),
    (
        "cases = [",
        'factors = { dWW = "1/N" }\ncases = [',
        r"c\.toml:17: exercise 1, factors\.dWW: it is no gradient.*did you mean dW\?",
    ),
    ("cases = [", 'factors = { dW = "1/M" }\ncases = [', r"factors\.dW: '1/M': nothing is called M"),
    ("cases = [", 'grads = { dx = "X" }\ncases = [', r"grads\.dx: arrays has no X; did you mean x\?"),
    ("cases = [", "points = -1\ncases = [", r"points: -1 is no positive number"),
    ("cases = [", "driver = 'def f(:'\ncases = [", r"its driver is no Python"),
    ("[[exercise]]", "[[exercises]]", r"exercises: there is no such key; did you mean exercise\?"),
    ("arrays = {", "arrays = ", r"c\.toml is not TOML that can be read: .*line 15"),
]


@pytest.mark.parametrize(("old", "new", "says"), MISTAKES, ids=[new[:50] for _, new, _ in MISTAKES])
def test_a_mistake_in_the_file_gets_a_sentence_with_its_place(tmp_path, old, new, says):
    path = tmp_path / "c.toml"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(CourseFileError) as error:
        toml_course.read(path)
    said = str(error.value)
    assert re.search(says, said), said
    assert "Traceback" not in said
    assert all(line.endswith((".", ")")) or "TOML" in line for line in said.splitlines())


def test_a_good_file_is_a_course_and_all_mistakes_are_told_at_once(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    course = toml_course.read(path)
    assert (course.name, course.about, len(course.exercises)) == ("mine", "Mine", 1)
    path.write_text(GOOD.replace("about", "abuot").replace("outputs", "ouputs").replace("Linear(", "Liner("))
    with pytest.raises(CourseFileError) as error:
        toml_course.read(path)
    assert len(str(error.value).splitlines()) >= 4


def test_refbp_check_takes_a_course_file(tmp_path):
    from refbp.cli import cli

    (tmp_path / "mine.toml").write_text(GOOD)
    layers = tmp_path / "layers.py"
    layers.write_text(
        "class Dense:\n    def __init__(self, n, m): pass\n"
        "    def forward(self, x):\n        self.x = x\n        return x @ self.W\n"
        "    def backward(self, dout):\n        self.dW = self.x.T @ dout\n        return dout @ self.W.T\n"
    )
    done = CliRunner().invoke(cli, ["check", str(layers), "--course", str(tmp_path / "mine.toml"), "--seed", "3"])
    assert "2 functions · 2 ok" in done.output
    done = CliRunner().invoke(cli, ["check", str(layers), "--course", str(tmp_path / "min.toml")])
    assert "did you mean mine.toml?" in str(done.exception or done.output)


def test_a_driver_runs_beside_the_submission_and_its_helpers_are_not_asked_of_it():
    course = toml_course.read(FILES / "fastai.toml")
    lin = next(e for e in course.exercises if e.name == "lin_grad")
    assert lin.needs == ("lin", "lin_grad")
    assert lin.rows == ("lin", "lin_grad")
    assert dataclasses.replace(lin, driver="").needs[:1] == ("tagged",)


def test_the_course_in_the_readme_is_one(tmp_path):
    text = (FILES.parent / "README.md").read_text()
    (tmp_path / "mine.toml").write_text(re.search(r"```toml\n(.*?)```", text, re.DOTALL)[1])
    assert toml_course.read(tmp_path / "mine.toml").exercises[0].gradients == {"dx": "x", "dW": "W"}
    assert {f"courses/{p.name}" for p in FILES.glob("*.toml")} == set(re.findall(r"courses/\w+\.toml", text))


def test_what_was_drawn_is_recovered_by_an_expression(tmp_path):
    path = tmp_path / "drop.toml"
    lines = [
        "[[exercise]]",
        'name = "dropout_backward"',
        'forward = "out, mask = dropout(x, p)"',
        'backward = "dx = dropout_backward(dout, mask)"',
        'arrays = { x = "x" }',
        'outputs = { out = "y" }',
        'noise = "out != 0"',
        'cases = ["Dropout(0.3): normal(7, 5)"]',
    ]
    path.write_text("\n".join(lines))
    space = names(path, DROPOUT)
    assert [r.verdict for r in _rows(toml_course.read(path), space, "dropout_backward")] == ["ok", "ok"]


DROPOUT = """
import numpy as np

def dropout(x, p):
    mask = (np.random.rand(*x.shape) > p) / (1 - p)
    return x * mask, mask

def dropout_backward(dout, mask):
    return dout * mask
"""


def test_a_course_is_found_by_name_or_by_file():
    from refbp import registry
    from refbp.errors import UnknownNameError
    from refbp.oracle.submission import named

    courses = registry.Registry().courses
    assert named(courses, str(FILES / "uva.toml")).file.endswith("uva.toml")
    assert named(courses, "dlfs").name == "dlfs"
    with pytest.raises(UnknownNameError, match="did you mean needle"):
        named(courses, "nedle")


def test_refbp_grade_takes_a_course_file(tmp_path):
    from refbp.cli import cli

    right = HERE / "toml" / "right" / "mit6036.py"
    (tmp_path / "ada.py").write_text(right.read_text())
    (tmp_path / "bob.py").write_text(right.read_text().replace("self.A @ dLdZ.T", "dLdZ @ self.A.T"))
    command = ["grade", str(tmp_path / "ada.py"), str(tmp_path / "bob.py"), "--course", str(FILES / "mit6036.toml")]
    done = CliRunner().invoke(cli, [*command, "--out", str(tmp_path / "journal")])
    assert "2 graded" in done.output, done.output
    assert re.search(r"bob +9 +10", done.output), done.output


def _script_of(style, old, new, tmp_path, exercise=""):
    from refbp.cli import cli

    text = (HERE / "toml" / "right" / f"{style}.py").read_text()
    assert old in text
    path = tmp_path / f"{style}.py"
    path.write_text(text.replace(old, new))
    command = ["check", str(path), "--course", str(FILES / f"{style}.toml"), "--script", str(tmp_path / "again.py")]
    done = CliRunner().invoke(cli, [*command, *(("--as", exercise) if exercise else ())])
    assert "1 to mend" in done.output, done.output
    return (tmp_path / "again.py").read_text()


@pytest.mark.parametrize(
    ("style", "old", "new", "exercise"),
    [
        ("uva", "self.x.T @ dout", "2 * self.x.T @ dout", "LinearModule.backward"),
        ("fastai", " = out.g.sum(0)", " = 2 * out.g.sum(0)", "lin_grad"),
    ],
)
def test_a_script_repeats_what_is_wrong(style, old, new, exercise, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    script = _script_of(style, old, new, tmp_path, exercise)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        exec(compile(script, "again.py", "exec"), {"__name__": "again"})
    sys.modules.pop(style)


def test_a_file_can_say_whatever_an_exercise_can():
    fields = {f.name for f in dataclasses.fields(toml_course.Exercise)}
    assert set(toml_course.EXERCISE) == fields | {"cases"}
