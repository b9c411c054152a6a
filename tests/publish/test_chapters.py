"""Chapters by plain papermill, from another folder, as a reader would run them; one in the default set.

What the book has computed already is used again, as a reader's run would: `make book SCALE=quick` first, and most of
the chapters take seconds. Where nothing is asked for but the scale, the copy that it executed is read. Without it, all
is computed here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import filelock
import nbformat
import pytest
import torch
from conftest import ROOT

from lintrans.paper.claims import stability, verdict_records
from lintrans.publish import reuse
from lintrans.publish.chapters import chapters

NAMES = [chapter.name for chapter in chapters(ROOT)]
PAPERMILL = Path(sys.executable).with_name("papermill")


@pytest.fixture(scope="session")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that the chapters here share, whichever process runs them; it begins with what the book has computed."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "chapters"
    with filelock.FileLock(f"{folder}.lock"):
        if not folder.exists():
            folder.mkdir()
            for book in (ROOT / "results" / "experiments", ROOT / "results" / "verdicts"):
                if book.is_dir():  # links to its files; what is added or removed stays here
                    ignored = shutil.ignore_patterns(".*")
                    shutil.copytree(book, folder / book.name, copy_function=os.symlink, ignore=ignored)
    return folder


@pytest.fixture
def shared(computed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINTRANS_STORE", str(computed))


def papermill(name: str, folder: Path, *arguments: str) -> tuple[int, str, Any]:
    """Exit code, output and the executed notebook."""
    target = folder / "out.ipynb"
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(
        [PAPERMILL, ROOT / "book" / f"{name}.ipynb", target, "--no-progress-bar", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    notebook = nbformat.read(target, as_version=4) if target.exists() else None
    return done.returncode, done.stdout + done.stderr, notebook


def texts(notebook: Any) -> str:
    """All Markdown and HTML that the cells showed."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    kinds = ("text/markdown", "text/html")
    return "\n".join(output["data"].get(kind, "") for output in outputs if "data" in output for kind in kinds)


def shown(name: str, folder: Path, *arguments: str) -> str:
    code, said, notebook = papermill(name, folder, "-p", "scale", "quick", *arguments)
    assert code == 0, said
    return read(notebook)


def in_the_book(name: str, folder: Path) -> str:
    """What a chapter shows where `make book SCALE=quick` has executed it as it is now, else by papermill."""
    return read(nbformat.read(built, as_version=4)) if (built := executed(name)) else shown(name, folder)


def executed(name: str) -> Path | None:
    """The copy that the book executed; None if there is none, or its text or code has changed since."""
    [chapter] = (each for each in chapters(ROOT) if each.name == name)
    built = ROOT / "build" / "quick" / "src" / "book" / f"{name}.ipynb"
    note = reuse.note(built, "quick")
    if not note.exists():
        return None
    then = json.loads(note.read_bytes())["digests"]
    now = reuse.digests_of(chapter, then["parameters"])
    of_code = {part: now[part] for part in ("text", "library", "lock")}  # verdicts lie in the book's store, not in ours
    return built if not reuse.why_not(built, note, then | of_code)[0] else None


def read(notebook: Any) -> str:
    for cell in notebook.cells:
        if "remove-stderr" not in cell.metadata.get("tags", []):  # there a progress bar shows, and no page keeps it
            streams = [output for output in cell.get("outputs", []) if output.output_type == "stream"]
            assert not [output for output in streams if output.name == "stderr"], "a warning, or a progress bar"
    text = texts(notebook)
    assert "How this page was made" in text
    assert "scale: quick" in text
    return text


def test_model_chapter(tmp_path: Path) -> None:
    text = shown("model", tmp_path, "-p", "layers", "2", "-p", "seeds", "2")
    assert "The two forms **agree to rounding**" in text
    assert "the least possible is 1.154" in text


CURVATURE = {"condition_number": "C3", "directional_smoothness": "C4", "generalized_smoothness": "C5"}
OTHERS = ("learning_rates", "heavy_tails", "performance", "your_own_model")


@pytest.mark.slow
def test_the_front_page_where_nothing_is_computed(tmp_path: Path) -> None:
    """No verdicts either."""
    shown("intro", tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize("name", NAMES)
def test_chapters_as_they_are(name: str, tmp_path: Path) -> None:
    """No warning, no progress bar, and how they were made; without a built book only those that nothing else runs."""
    if name not in OTHERS and not executed(name):
        pytest.skip(f"build/quick has no {name}: make book SCALE=quick")
    in_the_book(name, tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize("name", CURVATURE)
def test_curvature_chapters(name: str, tmp_path: Path) -> None:
    text = shown(name, tmp_path, "-p", "seeds", "2")
    for reading in ("published", "tuned"):
        assert f"{CURVATURE[name]}</a>, {reading}:</b>" in text, "the verdict above its cases"
    assert "2 judging seeds instead of 12" in text
    assert "Setting 3" in text


@pytest.mark.slow
def test_double_check_chapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone, with an empty store: it computes everything twice, and the scorecard says what is not there."""
    monkeypatch.setenv("LINTRANS_STORE", str(tmp_path / "empty"))
    assert "**agree** to 1%" in shown("double_check", tmp_path)
    text = shown("scorecard", tmp_path)
    assert "are **not there yet**" in text
    assert "No stored verdict of this scale goes against the paper." in text


@pytest.mark.slow
@pytest.mark.usefixtures("shared")
def test_gradient_noise_chapter(tmp_path: Path) -> None:
    text = shown("gradient_noise", tmp_path, "-p", "seeds", "2")
    assert "C2</a>, init:</b>" in text, "the verdict above its cases"
    assert text.count("::::{dropdown} The answer") == 4


@pytest.mark.slow
@pytest.mark.usefixtures("shared")
def test_adam_vs_sgd_chapter(tmp_path: Path) -> None:
    text = in_the_book("adam_vs_sgd", tmp_path)
    for reading in ("published", "tuned", "cooled"):
        assert f"C1</a>, {reading}:</b>" in text, "the verdict above its cases"
    assert text.count("::::{dropdown} The answer") == 2
    assert 'class="lamps"' in text
    for case in ("Setting 1", "Setting 2", "Setting 3"):
        assert case in text
    changed = shown("adam_vs_sgd", tmp_path, "-p", "steps", "20", "-p", "seeds", "2")
    assert "parameters changed" in changed
    assert "horizon T of 20 steps instead of 10,000" in changed
    assert "SGD, dampening 0.9" in text


@pytest.mark.slow
def test_a_chapter_judges_again_with_other_seeds(
    computed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other numbers for the same cases, at the same rates; the scale's own verdicts stay."""
    shutil.copytree(computed, tmp_path / "store")
    monkeypatch.setenv("LINTRANS_STORE", str(tmp_path / "store"))
    if ("C1", "tuned") not in verdict_records("quick"):
        shown("adam_vs_sgd", tmp_path)
    kept = verdict_records("quick")
    shown("adam_vs_sgd", tmp_path, "-p", "scale", "quick+100")
    second = verdict_records("quick+100")
    assert verdict_records("quick") == kept
    first = {place: record for place, record in kept.items() if place[0] == "C1"}
    assert set(first) == set(second) >= {("C1", "published"), ("C1", "tuned")}
    for place, record in first.items():
        assert second[place]["rules"] == record["rules"]
        pairs = zip(record["rows"][:-1], second[place]["rows"][:-1], strict=True)
        assert all(one["case"] == two["case"] for one, two in pairs)
        pairs = zip(record["rows"][:3], second[place]["rows"][:3], strict=True)
        assert all(one["estimate"] != two["estimate"] for one, two in pairs)
    made = stability.comparison(first, second, "quick", 100, "0.1.0")
    assert made.lost == ()
    assert all(row.state_again for row in made.rows)


def test_every_chapter_is_in_the_table_of_contents() -> None:
    assert {"intro", "model", "adam_vs_sgd"} <= set(NAMES)
    assert {path.stem for path in (ROOT / "book").glob("*.ipynb")} == set(NAMES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-p", "sale", "quick"), "sale = 'quick' is no parameter of this chapter"),
        pytest.param(
            ("-p", "scale", "papre"),
            "scale = 'papre' is not one of 'paper', 'quick' (did you mean 'paper'?)",
            marks=pytest.mark.slow,
        ),
        pytest.param(("-p", "seeds", "2.5"), "seeds = 2.5 (float) is not allowed", marks=pytest.mark.slow),
    ],
)
def test_bad_parameters_stop_plain_papermill_in_words(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    code, said, _ = papermill("model", tmp_path, *arguments)
    assert code != 0
    assert message in said


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_without_cuda_says_so(tmp_path: Path) -> None:
    code, said, _ = papermill("model", tmp_path, "-p", "device", "cuda")
    assert code != 0
    assert "device = 'cuda' is not available here" in said
    assert "use device='auto' or 'cpu'" in said
