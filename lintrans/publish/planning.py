"""What a chapter would compute, found by running its cells where nothing is computed: ``lintrans plan``.

Each cell runs as it stands, but a training that is not stored is timed and made up
(:mod:`lintrans.store.planning`), and a measurement that is not stored ends its cell. So the trainings listed are
certain, but for the rates that a search finds; what depends on such a measurement is not seen, and the plan says "at
least". What a cell computes by itself, without the store, it computes here too.
"""

from __future__ import annotations

import contextlib
import io
import json
import linecache
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ..store.planning import Cost, makespan, planned, process_bytes
from ..store.results import NotStoredError, Use, used
from ..store.store import VARIABLE, store
from .chapters import ALONE, Chapter, given, select
from .listing import fit, size, table
from .notebooks import read

WORKERS = (1, 2, 4, 16, 64, 256)
"""Numbers of workers that a plan shows times for."""


@dataclass(frozen=True)
class ChapterPlan:
    """What a chapter would compute.

    Attributes:
        costs: of trainings that are not stored.
        stored: those that are.
        unseen: titles of measurements that would be computed, untimed, before what depends on them is known.
        broken: the first lines of errors that ended other cells, which may have hidden trainings.
    """

    name: str
    costs: list[Cost]
    stored: list[Use]
    unseen: list[str]
    broken: list[str]

    @property
    def shards(self) -> list[float]:
        """Seconds of all shards."""
        return [seconds for cost in self.costs for seconds in cost.seconds]


def plan(root: Path, scale: str, names: tuple[str, ...], values: dict[str, str]) -> Iterator[ChapterPlan]:
    """The plans of chapters (all that compute trainings, if none is named), in the order of execution."""
    for chapter in select(root, names):
        if names or chapter.name not in ALONE:
            own = given(chapter, values)
            yield _planned(chapter, ({"scale": scale} if "scale" in chapter.parameters() else {}) | own)


def _planned(chapter: Chapter, parameters: dict[str, Any]) -> ChapterPlan:
    cells = [cell for cell in json.loads(read(chapter.notebook))["cells"] if cell["cell_type"] == "code"]
    unseen, broken = list[str](), list[str]()
    before = len(used())
    page = ModuleType("__main__")  # dataclasses and pickles look their module up
    with planned() as costs, _aside(page), contextlib.chdir(chapter.notebook.parent):
        for cell in cells:
            lines = "".join(cell["source"]).splitlines(keepends=True)
            lines = ["pass\n" if line.lstrip().startswith(("%", "!")) else line for line in lines]
            name = f"<{chapter.name}, {cell.get('id', '')}>"
            linecache.cache[name] = len(lines), None, lines, name  # where the source of its classes is looked for
            try:
                exec(compile("".join(lines), name, "exec"), page.__dict__)
            except NotStoredError as error:
                unseen.append(error.title or str(error))
            except NameError:  # of what a cell before was to make
                pass
            except Exception as error:  # what a cell makes of numbers that are made up
                broken.append(f"{type(error).__name__}: {error}".splitlines()[0])
            if "parameters" in cell["metadata"].get("tags", []):
                page.__dict__.update(parameters)
    return ChapterPlan(chapter.name, costs, used()[before:], unseen, broken)


@contextlib.contextmanager
def _aside(page: ModuleType) -> Iterator[None]:
    """Keep what cells say from the terminal and what they write from the store, whose results they see."""
    main, chosen, real = sys.modules["__main__"], os.environ.get(VARIABLE), store().path
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (real / "experiments").mkdir(parents=True, exist_ok=True)
        (Path(folder) / "experiments").symlink_to(real / "experiments")
        os.environ[VARIABLE], sys.modules["__main__"] = folder, page
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                yield
        finally:
            sys.modules["__main__"] = main
            if chosen is None:
                del os.environ[VARIABLE]
            else:
                os.environ[VARIABLE] = chosen


def plan_lines(plans: list[ChapterPlan], columns: int, workers: tuple[int, ...] = WORKERS) -> list[str]:
    """Plans as tables for a terminal."""
    lines = []
    for each in plans:
        reused = f"{len(each.stored)} stored" if each.stored else "none stored"
        lines.append(f"{each.name}: {len(each.costs)} trainings to compute, {reused}")
        if each.costs:
            rows = [
                [cost.title, f"{cost.runs}", f"{cost.steps:,}", f"{len(cost.seconds)}", size(cost.bytes),
                 duration(sum(cost.seconds)), cost.engine]
                for cost in each.costs
            ]  # fmt: skip
            head = ["training", "runs", "steps", "shards", "memory", "one process", "engine"]
            lines += table(head, rows, 0, columns)
        if each.unseen:
            lines.append(fit(f"not timed: {', '.join(dict.fromkeys(each.unseen))}, and what depends on it", columns))
        lines += [fit(f"a cell ended early: {error}", columns) for error in each.broken]
    lost = any(each.unseen or each.broken for each in plans)
    shards = [seconds for each in plans for seconds in each.shards]
    if shards:
        least = "at least " if lost else ""
        lines += ["", f"all trainings, {least}{len(shards)} shards, by number of processes like one of this machine:"]
        times = [duration(makespan(shards, count)) for count in workers]
        lines += table([f"{count}" for count in workers], [times], 0, columns)
        most = process_bytes() + max(cost.bytes for each in plans for cost in each.costs)
        lines.append(f"memory of a process: up to {size(most)}")
    return lines


def duration(seconds: float) -> str:
    """Seconds in words that are as exact as a plan."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"


def plan_json(plans: list[ChapterPlan]) -> list[dict[str, Any]]:
    """Plans as JSON knows them."""
    return [
        {
            "chapter": each.name, "trainings": [vars(cost) for cost in each.costs],
            "stored": [use.title for use in each.stored], "unseen": each.unseen, "broken": each.broken,
            "seconds": {count: makespan(each.shards, count) for count in WORKERS},
        } for each in plans
    ]  # fmt: skip
