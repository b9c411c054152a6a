"""Executes one chapter with papermill, in a kernel of its own, and says what became of it.

A copy appears under its name only when every cell ran without an error and without a warning of its own code
(``cell_warnings.py``); what a failed run left lies in ``build/SCALE/failed``. What cells wrote to stderr while all went
well is for the person at the terminal, and on no page.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import progress
from . import cell_warnings, forking, reuse
from .notebooks import Pair, quick_imports

WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}  # torch's threads would spin while they wait: dear on a busy machine
KERNEL_ENVIRONMENT = {"PYDEVD_DISABLE_FILE_VALIDATION": "1", **WAITING}
KERNEL_ARGUMENTS = [
    "--IPKernelApp.log_level=50",  # else each kernel says that it runs over TCP without encryption
    f"--IPKernelApp.extra_extensions={cell_warnings.__name__}",
]

MOST_LINES = 6
"""Lines that are shown of what a cell wrote to stderr."""


@dataclass
class Outcome:
    """What became of a chapter: its executed copy, or the reason why there is none; and what it wrote to stderr."""

    chapter: Pair
    path: Path | None = None
    error: str = ""
    cell: str = ""
    notes: tuple[str, ...] = ()
    reused: bool = False
    seconds: float = 0.0


def executed(root: Path, scale: str) -> Path:
    """The folder of a scale's executed copies."""
    return root / "build" / scale / "src" / "book"


def execute_one(
    chapter: Pair, target: Path, parameters: dict[str, Any], digests: dict[str, Any], scale: str, head: str
) -> Outcome:
    """Run one chapter in its own kernel, with a progress bar under `head`; only a clean run reaches `target`."""
    import nbformat

    part = chapter.root / "build" / scale / "running" / f"{chapter.name}.ipynb"
    failed = chapter.root / "build" / scale / "failed" / f"{chapter.name}.ipynb"
    part.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    outcome = Outcome(chapter)
    try:
        _papermill(chapter, part, parameters, head)
    except KeyboardInterrupt:
        part.unlink(missing_ok=True)
        raise
    except Exception as error:  # a failing cell, a dead kernel, a notebook that papermill cannot read
        outcome.error = _last_line(error)
    notebook: Any = nbformat.read(part, as_version=4) if part.exists() else None
    if notebook is not None:
        outcome.cell, message = (_broken_cell(notebook), "") if outcome.error else _warned_cell(notebook)
        outcome.error = outcome.error or message
    outcome.seconds = time.monotonic() - start
    if outcome.error:
        outcome.cell = outcome.cell or "its kernel"
        if notebook is not None:
            failed.parent.mkdir(parents=True, exist_ok=True)
            part.replace(failed)
        if target.parent == executed(chapter.root, scale):
            target.unlink(missing_ok=True)  # a page that no longer holds
        return outcome
    failed.unlink(missing_ok=True)
    outcome.notes = _clean(notebook)
    reuse.record(target, scale, nbformat.writes(notebook) + "\n", digests)
    part.unlink()
    outcome.path = target
    return outcome


def _papermill(chapter: Pair, part: Path, parameters: dict[str, Any], head: str) -> None:
    quick_imports()
    import papermill
    from traitlets.config import Config

    # its ports beside the copy, where the next run writes over it: a killed one cannot take it away
    config = Config(ConnectionFileMixin={"connection_file": str(part.with_suffix(".json").resolve())})
    copies: dict[str, Any] = {}
    if forking.ready(tuple(WAITING.items())):
        copies["kernel_manager_class"] = forking.manager()
    live = head and sys.stderr.isatty()  # a log gets a line when a chapter begins and one when it ends
    with _environment(KERNEL_ENVIRONMENT):
        papermill.execute_notebook(
            chapter.notebook, part, parameters=parameters, kernel_name="python3", cwd=chapter.notebook.parent,
            progress_bar={"desc": head, "leave": False, **progress.shape(sys.stderr)} if live else False,
            extra_arguments=KERNEL_ARGUMENTS, config=config, **copies,
        )  # fmt: skip


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _named_cells(notebook: Any) -> Iterator[tuple[str, Any]]:
    """The cells that papermill did not put there as notes, each with a name: counted as in the source notebook."""
    number = 0
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if "papermill-error-cell-tag" in tags:
            continue
        if "injected-parameters" in tags:
            name = "the injected parameters"
        else:
            number += 1
            name = f"cell {number}"
        first = next((line.strip() for line in cell.source.splitlines() if line.strip()), "")
        yield (f"{name} ({first[:60]!r})" if first else name), cell


def _broken_cell(notebook: Any) -> str:
    """The cell where a run went wrong: the one with an error or, where the kernel died, the last that it began."""
    last = ""
    for name, cell in _named_cells(notebook):
        papermill = cell.metadata.get("papermill", {})
        if papermill.get("status") in ("running", "failed") or _outputs(cell, "error"):
            return name
        last = name if papermill.get("start_time") else last
    return last


def _warned_cell(notebook: Any) -> tuple[str, str]:
    """The first cell with a warning that counts, and the warning; empty where there is none."""
    for name, cell in _named_cells(notebook):
        for output in _outputs(cell, "display_data"):
            if cell_warnings.MARK in output.data:
                return name, str(output.data[cell_warnings.MARK]).strip().splitlines()[0]
    return "", ""


def _outputs(cell: Any, kind: str, name: str = "") -> list[Any]:
    found = [output for output in cell.get("outputs", []) if output.output_type == kind]
    return [output for output in found if output.name == name] if name else found


def _last_line(error: Exception) -> str:
    """A failure in one line: a cell's exception with its message, else the error's own last line."""
    name, value = getattr(error, "ename", ""), getattr(error, "evalue", "")
    if name:
        return f"{name}: {value}".strip().splitlines()[0]
    if type(error).__name__ == "DeadKernelError":
        return "the kernel died (out of memory, or killed)"
    return f"{type(error).__name__}: {_shown(str(error))}"


def _shown(text: str) -> str:
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    warnings = [line for line in lines if "Warning" in line or "Error" in line]
    return (warnings or lines or [""])[0][:300]


def _clean(notebook: Any) -> tuple[str, ...]:
    """Drop papermill's notes, which change with every run, and what cells wrote to stderr; returns that, in lines."""
    notes = []
    for name, cell in _named_cells(notebook):
        written = _outputs(cell, "stream", "stderr")
        lines = [line.rstrip() for output in written for line in output.text.splitlines() if line.strip()]
        more = [f"... {len(lines) - MOST_LINES} more lines"] if len(lines) > MOST_LINES else []
        notes += [f"{name} wrote: {line}" for line in lines[:MOST_LINES] + more]
        if written:
            cell.outputs = [output for output in cell.outputs if output not in written]
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
    return tuple(notes)
