"""The store: what comes back is what went in, whatever happens in between."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import lintrans as lt
from lintrans.random import Source
from lintrans.store import results, sources
from lintrans.store import store as stores
from lintrans.store.store import Store

TASK = lt.LinearRegression(2, 3)
MODEL = lt.LinearTransformer(1, 2)
RUNS = lt.grid(optimizer=["sgd", "adam"], lr=0.1, seed=range(2))


def ask(store: Store, **change: Any) -> lt.History:
    options: dict[str, Any] = {
        "steps": 4, "batch": 5, "probes": [lt.TestLoss(every=2)], "snapshots": [2], "title": "one",
        "engine": "reference", **change,
    }  # fmt: skip
    return lt.experiment(MODEL, TASK, options.pop("runs", RUNS), store=store, **options)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "a store")


def test_stored_results_come_back_equal(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    first = ask(store)
    assert "computing" in capsys.readouterr().out
    second = ask(store)
    line = capsys.readouterr().out
    assert line.startswith("one: reused ")
    assert "just now on cpu" in line
    pd.testing.assert_frame_equal(first.frame, second.frame)
    pd.testing.assert_frame_equal(first.runs, second.runs)
    assert list(first.snapshots) == list(second.snapshots)
    assert all(torch.equal(first.snapshots[step], second.snapshots[step]) for step in first.snapshots)
    assert (first.steps, first.info, first.key) == (second.steps, second.info, second.key)
    [entry] = store.entries()
    assert (entry.title, entry.device) == ("one", "cpu")
    assert entry.bytes > 0
    assert entry.key == first.key
    assert store.size() >= entry.bytes
    assert [use.reused for use in results.used()[-2:]] == [False, True]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"steps": 5}, "steps is 5, not 4"),
        ({"batch": 6}, "batch is 6, not 5"),
        ({"runs": lt.grid(optimizer="sgd", lr=0.2)}, "runs changed"),
        ({"dtype": "float64"}, "dtype is float64, not float32"),
        ({"probes": [lt.TestLoss(every=1)]}, "probes changed"),
        ({"clip": 1.0}, "runs changed"),
    ],
)
def test_says_why_it_computes(
    store: Store, capsys: pytest.CaptureFixture[str], change: dict[str, Any], why: str
) -> None:
    ask(store)
    assert "because the store is empty" in capsys.readouterr().out
    ask(store, **change)
    assert f"because {why}" in capsys.readouterr().out
    assert len(store.entries()) == 2


def test_code_is_part_of_the_hash(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(store)
    capsys.readouterr()
    monkeypatch.setattr(sources.Code, "digest", lambda *_, **__: "other")
    ask(store)
    assert "because the numerical code changed" in capsys.readouterr().out


def test_title_and_device_do_not_enter_the_hash(store: Store) -> None:
    ask(store)
    ask(store, title="another name", device="cpu", engine="reference")
    assert len(store.entries()) == 1


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def empty_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def drop_rows(file: Path) -> None:
    pd.read_parquet(file).iloc[1:].to_parquet(file)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-20]),
    "gone": lambda file: file.unlink(),
    "bit": flip,
    "folder": empty_folder,
    "more": lambda file: (file.parent / "more").write_text("x"),
}


@pytest.mark.parametrize("victim", ["record.json", "frame.parquet", "runs.parquet", "snapshots.safetensors"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_experiment_is_computed_again(
    store: Store, victim: str, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first = ask(store)
    DAMAGES[damage](store.entries()[0].path / victim)
    capsys.readouterr()
    again = ask(store)
    assert "is damaged" in capsys.readouterr().out
    pd.testing.assert_frame_equal(first.frame, again.frame)
    assert len(store.entries()) == 1
    assert [folder.name for folder in (store.path / "experiments").glob(".*")] == [f".damaged-{first.key}"]
    pd.testing.assert_frame_equal(first.frame, ask(store).frame)
    assert "reused" in capsys.readouterr().out


def test_another_experiments_files_are_noticed(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """A whole entry under another's hash, one file of another entry, and rows dropped by a well-meaning hand."""
    first, other = ask(store), ask(store, batch=6)
    place = store.path / "experiments"

    def replaced() -> None:
        shutil.rmtree(place / first.key)
        shutil.copytree(place / other.key, place / first.key)

    for damage in (
        replaced,
        lambda: shutil.copy(place / other.key / "frame.parquet", place / first.key),
        lambda: drop_rows(place / first.key / "frame.parquet"),
    ):
        damage()
        capsys.readouterr()
        pd.testing.assert_frame_equal(ask(store).frame, first.frame)
        assert "is damaged" in capsys.readouterr().out


def test_an_interrupt_leaves_nothing_half_written_and_keeps_what_was_finished(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(store)

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(results, "train", interrupt)
    with pytest.raises(KeyboardInterrupt):
        ask(store, steps=6)
    monkeypatch.setattr("safetensors.torch.save_file", interrupt)
    monkeypatch.setattr(results, "train", lt.train)
    with pytest.raises(KeyboardInterrupt):
        ask(store, steps=7)
    monkeypatch.undo()
    assert len(store.entries()) == 1
    assert not list((store.path / "experiments").glob(".part-*"))
    ask(store, steps=7)  # no lock was left either
    assert len(store.entries()) == 2


def test_a_store_that_cannot_be_written_costs_no_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    history = ask(Store(blocker))
    assert "will not be kept" in capsys.readouterr().out
    assert len(history.frame)


def test_two_processes_asking_at_once_compute_once(tmp_path: Path) -> None:
    script = (
        "import lintrans as lt\n"
        "model, task = lt.LinearTransformer(2, 2), lt.LinearRegression(2, 3)\n"
        "runs = lt.grid(optimizer='sgd', lr=0.1)\n"
        "lt.experiment(model, task, runs, steps=1500, batch=50, probes=[], engine='reference')\n"
    )
    environment = {**os.environ, results.VARIABLE: str(tmp_path), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    lines = [process.communicate(timeout=120)[0] for process in processes]
    assert all(process.returncode == 0 for process in processes), lines
    assert sum("computing" in line for line in lines) == 1, lines
    assert sum("reused" in line for line in lines) == 1, lines
    assert len(Store(tmp_path).entries()) == 1


def test_removing(store: Store) -> None:
    ask(store)
    key = store.entries()[0].key
    with pytest.raises(KeyError, match="no experiment 'nothing'"):
        store.remove("nothing")
    for escape in ("", "..", "../experiments", f"../experiments/{key}"):
        with pytest.raises(KeyError):
            store.remove(escape)
    store.remove(key)
    assert store.entries() == []


def test_place_of_the_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(results.VARIABLE, str(tmp_path / "mine"))
    assert results.store().path == tmp_path / "mine"
    monkeypatch.delenv(results.VARIABLE)
    assert results.store().path == Path(results.__file__).parents[2] / "results"
    monkeypatch.setattr(stores, "PACKAGE", tmp_path / "site-packages" / "lintrans")
    assert "site-packages" not in str(results.store().path)
    assert "lintrans" in str(results.store().path)


def test_records_say_what_made_them(store: Store) -> None:
    ask(store)
    record = json.loads((store.entries()[0].path / "record.json").read_text())
    assert record["spec"]["task"] == {
        "is": "LinearRegression",
        "d": 2,
        "n": 3,
        "covariates": {"is": "Gaussian", "std": 1.0},
    }
    assert record["versions"]["torch"] == torch.__version__
    assert record["info"]["engine"] in ("reference", "cpu")


def test_what_cannot_be_named_cannot_be_stored(store: Store) -> None:
    class Mine:
        def draw(self, source: Source, tokens: int, d: int) -> torch.Tensor:
            return source.normals(tokens * d).reshape(*source.lead, tokens, d, source.batch)

        def squared_norm(self, d: int) -> float:
            return float(d)

    with pytest.raises(TypeError, match="cannot be part of a stored experiment: give a frozen dataclass"):
        lt.experiment(MODEL, lt.LinearRegression(2, 3, Mine()), RUNS, steps=1, store=store)


def test_a_measurement_is_computed_once(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    calls = []

    def compute() -> pd.DataFrame:
        calls.append(1)
        return pd.DataFrame({"x": [1.0, float("inf")]})

    of = {"what": "numbers", "task": TASK, "steps": [1, 2]}
    first = results.measurement("numbers", of, compute, store=store)
    pd.testing.assert_frame_equal(first, results.measurement("numbers", of, compute, store=store))
    assert len(calls) == 1
    assert "numbers: reused" in capsys.readouterr().out
    results.measurement("numbers", {**of, "steps": [1, 3]}, compute, store=store)
    assert len(calls) == 2
    assert "because steps changed" in capsys.readouterr().out


def test_some_runs_of_a_history(store: Store) -> None:
    history = ask(store, runs=lt.grid(optimizer=["sgd", "adam"], lr=[0.1, 0.2], seed=range(2)))
    chosen = [6, 1]
    part = history.select(chosen)
    assert list(part.runs["run"]) == [0, 1]
    assert list(part.runs["optimizer"]) == ["adam", "sgd"]
    assert torch.equal(part.parameters(2), history.parameters(2)[chosen])
    for new, old in enumerate(chosen):
        ours, theirs = part.metric("test_loss"), history.metric("test_loss")
        assert list(ours[ours["run"] == new]["value"]) == list(theirs[theirs["run"] == old]["value"])
    assert part.key != history.key
    assert part.key.startswith(history.key)
