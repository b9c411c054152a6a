"""Digests of the code behind a number: what must change them does, what must not does not."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lintrans as lt
from lintrans.paper.claims import claim_names
from lintrans.store import outside, sources
from lintrans.store.sources import PACKAGE, Code, EditedError, code

TRAINING = lt.train.__module__


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PACKAGE, tmp_path / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__")))


def edited(package: Path, name: str, old: str, new: str) -> None:
    file = Code(package).path(name)
    assert file is not None
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def small(folder: Path, files: dict[str, str]) -> Code:
    """A package of a few modules, by their paths."""
    for name, text in files.items():
        path = folder / "small" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        for parent in path.parents:
            if parent == folder:
                break
            if not (parent / "__init__.py").exists():
                (parent / "__init__.py").write_text("")
    return Code(folder / "small")


ONE = {
    "a": "from .b import f\nfrom . import c\nx = f(1) + c.g(2)\n",
    "b": "def f(n):\n    return n\n",
    "c": "def g(n):\n    return -n\n",
}


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"b": "'''Text.'''\n# why\ndef f(n):\n    \"\"\"Say.\"\"\"\n\n    return  n  # this\n"}, True),
        ({"b": "def f(n):\n    return 2 * n\n"}, False),
        ({"c": "def g(n):\n    return n\n"}, False),
        ({"d": "unused = 1\n"}, True),
        ({"a": "from . import c\nfrom .b import f\nx = f(1) + c.g(2)\n"}, True),
        ({"a": "from . import c as other\nfrom .b import f\nx = f(1) + other.g(2)\n"}, True),
        ({"a": "from .b import f\nfrom . import c\nx = f(2) + c.g(2)\n"}, False),
        ({"a": "from .b import f\nx = f(1) + f(2)\n"}, False),
        ({"a": "def x():\n    from .b import f\n    from . import c\n    return f(1) + c.g(2)\n"}, False),
        # moved, renamed, and named by a package that passes it on
        (
            {"c": "", "deep/down": ONE["c"], "a": "from .b import f\nfrom .deep import down\nx = f(1) + down.g(2)\n"},
            True,
        ),
        ({"b": "", "p/q": ONE["b"], "p/__init__": "from .q import f\n", "a": ONE["a"].replace(".b", ".p")}, True),
        # the same words, but another function behind them
        ({"a": ONE["a"].replace("from .b import f", "from .c import g as f")}, False),
        ({"e": "def f(n):\n    return n + 1\n", "a": ONE["a"].replace("from .b", "from .e")}, False),
    ],
)
def test_what_changes_a_digest(tmp_path: Path, change: dict[str, str], same: bool) -> None:
    before = small(tmp_path / "before", ONE).digest("small.a")
    assert (small(tmp_path / "after", {**ONE, **change}).digest("small.a") == before) is same


def test_two_modules_that_change_places_are_noticed(tmp_path: Path) -> None:
    text = "from . import b, c\nx = b.f(1), c.f(1)\n"
    parts = {"b": "def f(n):\n    return n\n", "c": "def f(n):\n    return -n\n"}
    before = small(tmp_path / "before", {"a": text, **parts}).digest("small.a")
    turned = {"a": text.replace("b.f(1), c.f(1)", "c.f(1), b.f(1)"), **parts}
    assert small(tmp_path / "after", turned).digest("small.a") != before


@pytest.mark.slow
def test_the_closure_covers_what_a_training_really_loads() -> None:
    """Against Python itself: every module that compiled and reference trainings load, but for neutral ones."""
    script = """
import sys
from lintrans import GammaScaled, LinearRegression, LinearTransformer, Sphere, grid, train
runs = grid(optimizer=["sgd", "adam"], lr=0.01)
for task in (LinearRegression(2, 3), LinearRegression(2, 3, GammaScaled(0.5, 2.0)), LinearRegression(2, 3, Sphere())):
    for engine in ("auto", "reference"):
        train(LinearTransformer(1, 2), task, runs, steps=2, batch=8, engine=engine, progress=False)
train(LinearTransformer(1, 2, attention="softmax"), task, runs, steps=2, batch=8, progress=False)
print(*(name for name in sys.modules if name.split(".")[0] == "lintrans"))
"""
    before = subprocess.run(
        [sys.executable, "-c", "import lintrans, sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = {*done.stdout.split()} - {*before.stdout.split()}
    assert len(loaded) >= 8
    closure = code().closure(TRAINING)
    missing = {name for name in loaded.difference(closure) if not sources.neutral(name)}
    assert not {name for name in missing if (code().path(name) or Path()).name != "__init__.py"}


EDITS: dict[str, tuple[str, str]] = {
    "gamma": ("lintrans.engines.cpu.draw.gamma", "GammaScaled"),
    "normal": ("lintrans.engines.cpu.draw.normal", ""),
    "random": ("lintrans.random", ""),
    "devices": ("lintrans.devices", ""),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_changes_the_experiments_that_use_it_and_no_other(package: Path, name: str) -> None:
    module, only = EDITS[name]
    classes = {law: ("LinearRegression", law) for law in ("Gaussian", "GammaScaled")}
    before = {law: code().digest(TRAINING, classes=names) for law, names in classes.items()}
    first = "from __future__ import annotations\n"
    edited(package, module, first, f"{first}\nEDITED = 1\n")
    copy = Code(package)
    changed = {law for law, names in classes.items() if copy.digest(TRAINING, classes=names) != before[law]}
    assert changed == ({only} if only else {*classes})


@pytest.mark.slow
def test_an_edit_of_any_module_of_the_closure_changes_the_key(package: Path) -> None:
    before = Code(package).digest(TRAINING)
    for name in code().closure(TRAINING):
        file = Code(package).path(name)
        assert file is not None
        text = file.read_text()
        file.write_text(text + "\nEDITED = 1\n")
        assert Code(package).digest(TRAINING) != before, name
        file.write_text("# a comment\n" + text)
    assert Code(package).digest(TRAINING) == before


LAW = """
from dataclasses import dataclass
import torch

SCALE = 1.0
TABLE = {"one": [1.0]}

def factor():
    return SCALE * TABLE["one"][0]

def kept(function):
    return function

@dataclass(frozen=True)
class Law:
    std: float = 1.0

    def draw(self, source, tokens, d):
        x = source.normals(tokens * d)
        return factor() * self.std * x.reshape(*source.lead, tokens, d, source.batch)

    @kept
    def squared_norm(self, d):
        return d * self.std**2
"""
ASK = """
import lintrans as lt
history = lt.experiment(lt.LinearTransformer(1, 2), lt.LinearRegression(2, 3, Law()), lt.grid(optimizer="sgd", lr=0.1),
                        steps=2, batch=4, engine="reference")
"""


def run(tmp_path: Path, code: str) -> subprocess.CompletedProcess[str]:
    places = {"LINTRANS_STORE": str(tmp_path / "store"), "PYTHONPATH": f"{tmp_path}:{PACKAGE.parent}", "PATH": ""}
    own = {**places, "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, "-c", code], env=own, capture_output=True, text=True, check=False)


def asked(tmp_path: Path, law: str) -> str:
    """One process that defines a law in a module and asks for an experiment: "computing" or "reused"."""
    (tmp_path / "mine.py").write_text(law)
    done = run(tmp_path, f"from mine import Law\n{ASK}")
    assert done.returncode == 0, done.stderr
    return "reused" if "reused" in done.stdout else done.stdout.strip().splitlines()[0]


def test_a_users_own_code_is_part_of_the_key(tmp_path: Path) -> None:
    assert "because the store is empty" in asked(tmp_path, LAW)
    assert asked(tmp_path, f"# a comment\n{LAW}") == "reused"
    assert "because the code of mine.Law changed" in asked(tmp_path, LAW.replace("self.std * x", "2 * self.std * x"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("self.std * x", "2 * self.std * x"),  # the class
        ("return SCALE *", "return SCALE + 1 *"),  # a function that it calls
        ("SCALE = 1.0", "SCALE = 3.0"),  # constants that this one reads
        ("[1.0]", "[2.0]"),
        ("return function", "print(); return function"),  # a decorator
    ],
)
def test_a_users_code_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    def digest(law: str, name: str) -> str:
        path = tmp_path / name / "mine.py"
        path.parent.mkdir()
        path.write_text(law)
        spec = importlib.util.spec_from_file_location("mine", path)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "mine", module)
        spec.loader.exec_module(module)
        return outside.digest_outside(module.Law)

    assert old in LAW
    assert digest(LAW, "one") == digest(f"# a comment\n{LAW}", "same") != digest(LAW.replace(old, new), "other")


def test_code_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path, LAW + ASK)
    assert done.returncode == 1
    assert "the source of __main__.Law cannot be read" in done.stderr


def test_classes_of_a_notebook_are_read_from_their_cell() -> None:
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    digests = []
    for text in (LAW, f"# a comment\n{LAW}", LAW.replace("return d *", "return 2 * d *")):
        assert shell.run_cell(text).success
        digests.append(outside.digest_outside(shell.user_ns["Law"]))
    assert digests[0] == digests[1] != digests[2]


BUDGETS = [
    ("lintrans.paper.scales", "JUDGING_SEEDS = 24", "JUDGING_SEEDS = 6"),
    ("lintrans.paper.scales", "CURVATURE_SEEDS = 12", "CURVATURE_SEEDS = 6"),
    ("lintrans.paper.problems", "LinearTransformer(layers=3, d=5)", "LinearTransformer(layers=2, d=5)"),
    ("lintrans.paper.budgets", "early: tuple[int, int] = (5, 500)", "early: tuple[int, int] = (5, 50)"),
    ("lintrans.paper.claims.rules", "MARGIN = 1.25", "MARGIN = 1.2"),
    ("lintrans.statistics", "CONFIDENCE = 0.95", "CONFIDENCE = 0.9"),
]


@pytest.mark.parametrize(("name", "old", "new"), BUDGETS)
def test_the_digest_of_a_verdict_covers_rules_budgets_and_settings(
    package: Path, name: str, old: str, new: str
) -> None:
    """Of every claim: seeds cannot be lowered, nor a setting changed, under an unchanged digest."""
    claims = [f"lintrans.paper.claims.{claim.lower()}" for claim in claim_names()]
    before = {claim: code().digest(claim) for claim in claims}
    edited(package, name, old, new)
    copy = Code(package)
    assert [claim for claim in claims if copy.digest(claim) == before[claim]] == []


def test_a_comment_on_a_budget_changes_no_verdict(package: Path) -> None:
    edited(package, "lintrans.paper.scales", "JUDGING_SEEDS = 24", "JUDGING_SEEDS = 24  # those of the rules")
    claim = "lintrans.paper.claims.c1"
    assert Code(package).digest(claim) == code().digest(claim)


def test_what_is_neutral_is_there() -> None:
    """A module that was moved or renamed would count again: safe, but everything would be computed once more."""
    assert all(code().path(f"{PACKAGE.name}.{name}") for name in sources.NEUTRAL)
    assert not sources.neutral("lintrans.paper.results")


def test_a_module_edited_after_the_start_is_refused_unless_it_was_imported_before(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = "lintrans.training.train", "lintrans.training.runs"
    monkeypatch.delitem(sys.modules, second)
    here = Code(package)
    digest = here.digest(TRAINING)
    here.check([first, second])
    for name in (first, second):
        edited(
            package, name, "from __future__ import annotations\n", "from __future__ import annotations\n\nEDITED = 1\n"
        )
    here.check([first])
    with pytest.raises(EditedError, match=r"runs\.py was edited while this process ran"):
        here.check([first, second])
    assert here.digest(TRAINING) == digest, "of what the process began with"
