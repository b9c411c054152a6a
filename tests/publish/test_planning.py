"""Plans: what is timed, what is seen of a chapter, and that nothing is computed or kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from conftest import HEADER, git

import lintrans as lt
from lintrans.publish.cli import main
from lintrans.publish.planning import plan
from lintrans.store.planning import cost, makespan, planned
from lintrans.store.store import Store, store

CELLS = """# First

```{{code-cell}} ipython3
:tags: [parameters]

scale: str = "paper"  # paper or quick
seeds: int = 3  # seeds
```

```{{code-cell}} ipython3
import pandas as pd
import lintrans as lt
from lintrans.store.results import measurement

page = lt.book.parameters(scale=scale, seeds=seeds)
model, task = lt.LinearTransformer(layers=1, d=2), lt.LinearRegression(d=2, n=4)
options = dict(batch=16, engine="reference", device="cpu", probes=[lt.TypicalLoss(every=10, blocks=2)])
runs = lt.grid(optimizer=["sgd", "adam"], lr=[0.01, 0.02, 0.05], seed=range(page.seeds))
first = lt.experiment(model, task, runs, steps=20, title="search {mark}", **options)
```

```{{code-cell}} ipython3
ends = first.metric("typical_loss").query("step == 20").groupby("lr")["value"].median()
best = lt.grid(optimizer="adam", lr=ends.idxmin(), seed=range(5))
second = lt.experiment(model, task, best, steps=30, title=f"at {{ends.idxmin()}} {mark}", **options)
table = measurement("a table {mark}", {{"of": second.key}}, lambda: pd.DataFrame({{"x": [1.0]}}))
```

```{{code-cell}} ipython3
lt.experiment(model, task, best, steps=int(table["x"].iloc[0]), title="unseen", **options)
```
"""


@pytest.fixture
def searching(tiny: Path) -> Path:
    """A book whose first chapter searches for a rate, trains at it, measures, and goes by what it measured."""
    from lintrans.publish.notebooks import pairs, settle

    (tiny / "book" / "first.md").write_text(HEADER + CELLS.format(mark=tiny.parent.name))
    for pair in pairs(tiny):
        settle(pair)
    git(tiny, "commit", "-qam", "a search")
    return tiny


def test_a_chapter_is_planned_and_nothing_is_computed(searching: Path) -> None:
    before = sorted(path.name for path in store().path.rglob("*"))
    (found,) = plan(searching, "quick", ("first",), {"seeds": "4"})
    assert [(cost.runs, cost.steps, len(cost.seconds)) for cost in found.costs] == [(24, 20, 4), (5, 30, 5)]
    assert all(seconds > 0 for seconds in found.shards)
    assert found.costs[1].title.startswith("at 0.02 ")  # the middle of the grid
    assert found.unseen == [f"a table {searching.parent.name}"]
    assert found.broken == []
    assert found.stored == []
    assert sorted(path.name for path in store().path.rglob("*") if path.name != "experiments") == [
        name for name in before if name != "experiments"
    ]


def test_what_is_stored_is_said(searching: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(searching)
    model, task = lt.LinearTransformer(layers=1, d=2), lt.LinearRegression(d=2, n=4)
    runs = lt.grid(optimizer=["sgd", "adam"], lr=[0.01, 0.02, 0.05], seed=range(3))
    probes = [lt.TypicalLoss(every=10, blocks=2)]
    lt.experiment(model, task, runs, steps=20, batch=16, engine="reference", device="cpu", probes=probes)
    done = CliRunner().invoke(main, ["plan", "first", "--json", "--scale", "quick"])
    assert done.exit_code == 0, done.output
    (found,) = json.loads(done.stdout)
    assert [title.split()[0] for title in found["stored"]] == ["search"]
    assert len(found["trainings"]) == 1
    shown = CliRunner().invoke(main, ["plan", "first", "--scale", "quick", "--workers", "3"]).stdout
    assert "1 trainings to compute, 1 stored" in shown
    assert "at least 5 shards" in shown


def test_planning_computes_and_keeps_nothing(tmp_path: Path) -> None:
    options: dict[str, Any] = {"steps": 1000, "batch": 20, "snapshots": [5], "device": "cpu", "engine": "reference"}
    model, task = lt.LinearTransformer(1, 2), lt.LinearRegression(d=2, n=4)
    runs = lt.grid(optimizer="sgd", lr=[0.01, 0.05, 0.02], seed=range(2))
    with planned() as costs:
        history = lt.experiment(model, task, runs, store=Store(tmp_path), title="a", **options)
        lt.experiment(model, task, runs, store=Store(tmp_path), title="b", **options)
    assert len(costs) == 1  # each training once
    assert not list(tmp_path.rglob("*.parquet"))
    ends = history.metric("test_loss").query("step == 1000").groupby("lr")["value"].median()
    assert ends.idxmin() == 0.02
    assert history.parameters(5).shape == (6, *model.parameter_shape)


def test_seconds_grow_with_steps() -> None:
    model, task = lt.LinearTransformer(2, 3), lt.LinearRegression(d=3, n=6)
    runs = lt.grid(optimizer="sgd", lr=[0.01, 0.02])
    options: dict[str, Any] = {"batch": 50, "device": "cpu", "engine": "reference"}
    short, long = (sum(cost(model, task, runs, steps=steps, **options).seconds) for steps in (100, 100_000))
    assert long > 50 * short  # a thousand times, on a machine where nobody else works


def test_makespan() -> None:
    assert makespan([3.0, 1.0, 1.0, 1.0], 1) == 6
    assert makespan([1.0, 1.0, 1.0, 3.0], 2) == 3
    assert makespan([1.0, 2.0], 100) == 2
    assert makespan([], 4) == 0


@pytest.mark.parametrize("command", [["execute", "first"], ["build"]])
def test_a_scheduler_that_is_not_there_is_one_line(command: list[str]) -> None:
    pytest.importorskip("distributed")
    done = CliRunner().invoke(main, [*command, "--dask", "tcp://127.0.0.1:9"])
    assert done.exit_code == 2
    assert "no Dask scheduler answers at 'tcp://127.0.0.1:9'" in done.output
    assert "Traceback" not in done.output
