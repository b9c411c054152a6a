"""CONTRIBUTING's recipes, made from outside the package: the code blocks are taken out of the page and run."""

from __future__ import annotations

import importlib
import linecache
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from conftest import CHAPTER, HEADER, ROOT, git

import lintrans as lt
from lintrans.paper import figures
from lintrans.publish.chapters import execute
from lintrans.publish.notebooks import pairs, settle
from lintrans.tasks.covariates import tex

MARK = r"<!-- recipe: {} (\S+) -->\n+(`{{3,}})\w*\n(.*?)\n\2\n"
MODEL, TASK = lt.LinearTransformer(2, 3, init_std=0.3), lt.LinearRegression(3, 8)
SMALL: dict[str, Any] = {"steps": 8, "batch": 16, "device": "cpu", "engine": "reference"}


def recipe(name: str) -> dict[str, str]:
    """The files of a recipe: the code blocks that a comment marks, by the name it gives them."""
    found = re.findall(MARK.format(name), (ROOT / "CONTRIBUTING.md").read_text("utf-8"), flags=re.DOTALL)
    assert found, f"CONTRIBUTING has no recipe {name}"
    return {file: text + "\n" for file, _, text in found}


@pytest.fixture
def outside(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The first file of a recipe as a module, once the tests that it brings have passed; a store of its own."""
    name, count = request.param
    files = recipe(name)
    assert len(files) == count
    for file, text in files.items():
        (tmp_path / file).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("LINTRANS_STORE", str(tmp_path / "store"))
    modules = [importlib.import_module(Path(file).stem) for file in files]
    for module in modules:
        run_tests(module)
    yield modules[0]
    for module in modules:
        del sys.modules[module.__name__]


def run_tests(module: ModuleType) -> None:
    for name, test in vars(module).items():
        if name.startswith("test_"):
            test()


def twice(capsys: pytest.CaptureFixture[str], task: Any, runs: lt.Runs, **more: Any) -> lt.History:
    """A training that is stored, and found again."""
    first, again = (lt.experiment(MODEL, task, runs, **SMALL, **more) for _ in range(2))
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["computing", "reused"]
    assert again.frame.equals(first.frame)
    return first


@pytest.mark.parametrize("outside", [("law", 2)], indirect=True)
def test_a_law_is_two_files(outside: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    task = lt.LinearRegression(3, 8, outside.Pareto())
    history = twice(capsys, task, lt.grid(optimizer=["sgd", "adam"], lr=0.05, seed=range(2)))
    assert history.metric("test_loss")["value"].notna().all()
    assert task.zero_loss == 2.0
    noise = lt.gradient_noise(MODEL, task, history.parameters(8), batch=8, samples=4, reference=64, engine="reference")
    assert noise.shape == (4, 4)
    assert tex(task.covariates) == f"${outside.Pareto().tex}$"


@pytest.mark.parametrize("outside", [("optimizer", 2)], indirect=True)
def test_an_optimizer_is_two_files(outside: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    runs = lt.grid(optimizer=[outside.Lion(), "sgd"], lr=0.01, seed=range(2))
    history = twice(capsys, TASK, runs)
    assert set(history.frame["optimizer"]) == {"lion", "sgd"}
    legend = figures.loss_curves({"1": history}).legends[0]
    assert "lion" in [text.get_text() for text in legend.get_texts()]


@pytest.mark.parametrize("outside", [("diagnostic", 1)], indirect=True)
def test_a_diagnostic_is_one_file(
    outside: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its source is part of the key: once it is edited, the training is computed again."""
    runs = lt.grid(optimizer="adam", lr=0.05, seed=range(2))
    history = twice(capsys, TASK, runs, probes=[outside.ParameterNorm(every=4)])
    rows = history.metric("parameter_norm")
    assert rows["step"].tolist() == [0, 0, 4, 4, 8, 8]
    norms = history.parameters(8).flatten(1).norm(dim=1)
    torch.testing.assert_close(torch.tensor(rows["value"].tolist()[-2:]), norms, check_dtype=False)
    path = Path(str(outside.__file__))
    path.write_text(path.read_text().replace("vector_norm(", "vector_norm(2 * "))
    linecache.checkcache()
    edited = importlib.reload(outside)
    again = twice(capsys, TASK, runs, probes=[edited.ParameterNorm(every=4)])
    assert again.metric("parameter_norm")["value"].tolist() == [2 * value for value in rows["value"]]


def changed(root: Path) -> list[str]:
    """The files that differ from the last commit."""
    return [line[3:] for line in git(root, "status", "--porcelain", "-uall").splitlines()]


def test_a_chapter_is_three_files(tiny: Path) -> None:
    ((file, text),) = recipe("chapter").items()
    name = Path(file).stem
    (tiny / "book" / f"{name}.md").write_text(HEADER + text)
    with (tiny / "_toc.yml").open("a") as contents:
        contents.write(f"  - file: book/{name}\n")
    for pair in pairs(tiny):
        settle(pair)
    assert sorted(changed(tiny)) == ["_toc.yml", f"book/{name}.ipynb", f"book/{name}.md"]
    report = execute(tiny, "quick", (name,), say=lambda line: None, jobs=1)
    assert [outcome.error for outcome in report.outcomes] == [""]
    copy = (tiny / "build" / "quick" / "src" / "book" / f"{name}.ipynb").read_text()
    assert "Adam ends at " in copy
    assert "image/png" in copy or "image/svg+xml" in copy
    assert execute(tiny, "quick", (name,), say=lambda line: None, jobs=1).outcomes[0].reused


def test_a_claim_is_four_files(tiny: Path, tmp_path: Path) -> None:
    """In a copy of the package: its chapter's cells run, the verdict is kept, scorecard and `verdicts` show it."""
    shutil.copytree(ROOT / "lintrans", tiny / "lintrans", ignore=shutil.ignore_patterns("__pycache__"))
    git(tiny, "add", "-A")
    git(tiny, "commit", "-q", "-m", "the package")
    cells, judge, test = recipe("claim").values()
    (tiny / "lintrans" / "paper" / "claims" / "c99.py").write_text(judge)
    (tiny / "test_c99.py").write_text(test)
    page = HEADER + CHAPTER.format(name="first")
    (tiny / "book" / "first.md").write_text(page.replace("The rate is", f"{cells}\nThe rate is"))
    for pair in pairs(tiny):
        settle(pair)
    assert sorted(changed(tiny)) == ["book/first.ipynb", "book/first.md", "lintrans/paper/claims/c99.py", "test_c99.py"]
    program = (
        "import test_c99; from pathlib import Path; from lintrans.paper.claims import records\n"
        "from lintrans.paper.pages.scorecard import cards\n"
        "from lintrans.publish.cli import main; from lintrans.publish.notebooks import Pair, code_of\n"
        "test_c99.test_verdicts()\n"
        "exec(code_of(Pair(Path.cwd(), 'first')).replace('\"paper\"', '\"quick\"'), {})\n"
        "print(cards(records.verdict_records('quick'), 'quick', 'causes')['C99'])\n"
        "main(['verdicts', '--scale', 'quick', '--claim', 'C99', '--cases'])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tiny), "LINTRANS_STORE": str(tmp_path / "store")}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tiny, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Setting 1: the large rate is better." in done.stdout
    assert "*tuned*: **holds**" in done.stdout
    assert "C99, tuned: holds" in done.stdout
