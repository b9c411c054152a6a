"""The performance page's numbers come from the stored benchmarks, whatever these say."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from lintrans.paper import performance

pytestmark = pytest.mark.skipif(performance.stored() is None, reason="no benchmarks in an installed package")


def test_tables_and_sentences_say_what_is_stored() -> None:
    record = performance.load()
    table = performance.ratio_table(record)
    rows = performance.compared(record, "Setting 1", 12)
    ours = f"({float(rows[rows['candidate'] == 'cpu']['ratio'].iloc[0]):.3g}x)"
    assert sum(cell.endswith(ours) for cell in table["12 runs"]) == 1
    assert record["machine"]["processor"] in performance.machine_words(record)
    other = copy.deepcopy(record)
    other["machine"]["load"] = 9.0
    assert "busy with other work (load 9.0)" in performance.machine_words(other)
    short, long = (
        {"n": 20, "step": 3.0, "further": 0.1, "shared": 1.8},
        {"n": 200, "step": 9.0, "further": 0.1, "shared": 7.8},
    )
    assert "100% of the difference" in performance.context_words({"contexts": [short, long]})
    assert "`make bench` adds them" in performance.context_words({})
    for row in other["roofline"]:
        row["share"] = 0.1
    assert "something other than arithmetic" in performance.bound_words(other)


def test_figures_show_every_candidate_and_sweep() -> None:
    record = performance.load()
    left, _ = performance.ratios(record).axes
    assert len(left.lines) == len({row["candidate"] for row in record["compare"] if row["shape"] == "Setting 1"})
    visible = [axes for axes in performance.sweeps(record).axes if axes.get_visible()]
    assert len(visible) == len({row["axis"] for row in record["sweeps"]})
    assert performance.roofline(record).axes[0].lines


def test_missing_benchmarks_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="make some there with `make bench`"):
        performance.load(tmp_path / "none.json")


def test_benchmarks_are_those_of_the_checkout_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package has none of its own."""
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "book").mkdir()
    (tmp_path / performance.STORED).write_text('{"date": "here"}')
    monkeypatch.chdir(tmp_path / "book")
    monkeypatch.setattr(
        performance, "__file__", str(tmp_path / "site-packages" / "lintrans" / "paper" / "performance.py")
    )
    assert performance.load() == {"date": "here"}
    with pytest.raises(FileNotFoundError, match=r"no benchmarks are stored in benchmarks/gpu\.json.*change into"):
        performance.load(performance.STORED_GPU)


def test_live_timing_compares_two_engines() -> None:
    timing = performance.live(steps=1, rounds=1)
    assert timing["engine"].iloc[0] == "reference"
    assert (timing["ms"] > 0).all()


def test_what_a_gpu_gains_is_read_off_its_file() -> None:
    rows = [("cuda", 0.5), ("reference", 20.0), ("cpu", 20.0)]
    record: dict[str, Any] = {
        "date": "2000-01-01", "gpu": "a GPU", "host": {"cores": 4, "python": "3.11", "versions": {"torch": "2"}},
        "rows": [{"shape": "Setting 1", "runs": 1200, "engine": name, "ms": ms} for name, ms in rows],
    }  # fmt: skip
    assert "With 1,200 runs of Setting 1 the GPU takes a step 40 times faster" in performance.gpu_words(record)
    record["rows"].append({"shape": "L = 8", "runs": 12, "engine": "cuda", "ms": 1.0})
    assert performance.gpu_table(record).iloc[1].tolist() == ["L = 8", 12, "1", "-", "-"]
    assert len(performance.gpu_table(performance.load(performance.STORED_GPU)))


def test_who_is_fastest_and_how_time_grows() -> None:
    record = copy.deepcopy(performance.load())
    assert performance.gain(record, "plain") == 1
    for row in record["compare"]:
        row["ms"] = 1.0 if row["candidate"] == "cpu" else 2.0
    count = len({row["runs"] for row in record["compare"] if row["shape"] == "Setting 1"})
    assert performance.fastest(record, "runs") == (count, count)
    record["sweeps"] = [{"axis": "d", "value": value, "ms": value**3.0} for value in (2, 4)]
    assert performance.growth(record, "d", 2, 4) == pytest.approx(3)
