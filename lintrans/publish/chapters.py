"""Finds the book's chapters and executes them (``executing.py``), each once for what it depends on (``reuse.py``)."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import nearest
from . import forking, reuse
from .chapter_parameters import Declared, convert, declared, unknown
from .checkout import alone
from .executing import WAITING, Outcome, execute_one, executed
from .notebooks import Pair, PairError, Unreadable, drop_marks, is_chapter, read, state
from .workers import Workers, default_jobs

ALONE = ("performance", "scaling_up")  # they time what they run
EARLY = (
    "practice", "which_adaptivity", "larger", "depth", "attention", "nonlinear", "your_own_model", "model",
    "adam_vs_sgd", "gradient_noise", "heavy_tails",
)  # fmt: skip
"""Begun first: what takes long, what others build on, and what would be left over at the end, alone."""


class BookError(Exception):
    """A book command cannot do what it was asked; the message says why, in one line."""


@dataclass(frozen=True)
class Chapter(Pair):
    """A page of the table of contents that executes."""

    @property
    def title(self) -> str:
        with contextlib.suppress(Unreadable):
            lines = read(self.text).splitlines()
            return next((line[2:].strip() for line in lines if line.startswith("# ")), self.name)
        return self.name

    def parameters(self) -> dict[str, Declared]:
        try:
            for cell in json.loads(read(self.notebook))["cells"]:
                if "parameters" in cell["metadata"].get("tags", []):
                    return declared("".join(cell["source"]))
        except SyntaxError as error:
            raise Unreadable(f"the parameters cell of book/{self.notebook.name} is no Python: {error.msg}") from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            why = f"{type(error).__name__}: {error}"
            raise Unreadable(f"book/{self.notebook.name} cannot be read as a notebook: {why}") from error
        return {}


@dataclass
class Report:
    """The outcomes of all chapters that were asked for."""

    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def failed(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.path is None]


def find_root(start: Path | None = None) -> Path:
    """The book's folder: the nearest one upward that has a ``_toc.yml``, else the checkout this package runs from."""
    here = (start or Path.cwd()).resolve()
    for folder in [here, *here.parents, Path(__file__).resolve().parents[2]]:
        if (folder / "_toc.yml").is_file() and (folder / "book").is_dir():
            return folder
    raise BookError(
        f"no book here: {here} is in no checkout of the project (a folder with _toc.yml and book/); "
        "change into one, or use the library alone, which needs none"
    )


def pages(root: Path) -> list[str]:
    """The pages of ``_toc.yml`` in reading order, such as "book/intro"."""

    def walk(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            for key in ("root", "file"):
                if key in node:
                    yield str(node[key])
            for key in ("parts", "chapters", "sections"):
                yield from walk(node.get(key, []))
        elif isinstance(node, list):
            for item in node:
                yield from walk(item)

    found = list(walk(read_yaml(root / "_toc.yml")))
    if not found:
        raise BookError("_toc.yml names no page: take it from git again")
    return found


def read_yaml(path: Path) -> dict[str, Any]:
    """A settings file of the book; a BookError that names it where it is damaged."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text("utf-8"))
        why = "" if isinstance(content, dict) else f"it holds a {type(content).__name__}, no settings"
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        why = " ".join(str(error).split())
    if why:
        raise BookError(f"{path.name} cannot be read ({why}): mend it, or take it from git again")
    return dict(content)


def chapters(root: Path) -> list[Chapter]:
    """The pages that execute, in the order of execution: what had better be early, the others, the summing up."""
    found = []
    for page in pages(root):
        chapter = Chapter(root, Path(page).name)
        if chapter.notebook.exists() or is_chapter(chapter.text):
            found.append(chapter)

    def turn(chapter: Chapter) -> int:
        if chapter.name in EARLY:
            return EARLY.index(chapter.name) - len(EARLY)
        return 1 if chapter.name in reuse.LAST else 0

    return sorted(found, key=turn)


def select(root: Path, names: tuple[str, ...]) -> list[Chapter]:
    """The chapters of these names (all, if none is named), in the order of execution."""
    known = chapters(root)
    allowed = [chapter.name for chapter in known]
    wanted = {Path(name).stem for name in names}
    for name in sorted(wanted - set(allowed)):
        raise BookError(f"there is no chapter {name!r}: there are {', '.join(allowed)}{nearest(name, allowed)}")
    return [chapter for chapter in known if not wanted or chapter.name in wanted]


def given(chapter: Chapter, texts: dict[str, str]) -> dict[str, Any]:
    """Parameters typed on the command line, checked against the chapter's parameters cell."""
    cell = chapter.parameters()
    values = {}
    for name, text in texts.items():
        if name not in cell:
            raise unknown(name, text, list(cell), chapter.name)
        values[name] = convert(name, text, cell[name].kind or "str")
    return values


def execute(
    root: Path, scale: str = "paper", names: tuple[str, ...] = (), values: dict[str, str] | None = None,
    force: bool = False, say: Callable[[str], None] = print, jobs: int | None = None,
) -> Report:  # fmt: skip
    """Execute chapters (all, if none is named), or use their executed copies again where nothing has changed.

    With other parameters (`values`, as text) a run never enters the book: it goes to ``build/SCALE/custom``. Of `jobs`
    chapters at a time (None: two, where there are two processors) one computes what two of them need, and the other
    waits. Pages that sum up wait for the others; one that times things runs alone.

    Raises:
        BookError: an unknown chapter, or halves of a chapter that differ.
        ParameterError: a parameter that a chapter does not take.
    """
    for chapter in select(root, names) if values else ():
        with contextlib.suppress(Unreadable):  # said below
            given(chapter, values or {})
    with alone(root, say):
        return _execute(root, scale, names, values, force, say, jobs)


def _execute(
    root: Path, scale: str, names: tuple[str, ...], values: dict[str, str] | None, force: bool,
    say: Callable[[str], None], jobs: int | None,
) -> Report:  # fmt: skip
    wanted = select(root, names)
    unread = {chapter.name: why for chapter in wanted if (why := _unreadable(chapter))}
    readable = [chapter for chapter in wanted if chapter.name not in unread]
    changed = {chapter.name: given(chapter, values or {}) for chapter in readable}
    most = min(default_jobs() if jobs is None else jobs, len(readable))
    heads = {chapter.name: f"[{number}/{len(wanted)}] {chapter.name}" for number, chapter in enumerate(wanted, 1)}
    outcomes: dict[str, Outcome] = {}
    start = time.monotonic()

    def finish(chapter: Chapter, outcome: Outcome) -> None:
        outcomes[chapter.name] = outcome
        if outcome.path is None:
            say(f"{heads[chapter.name]}: FAILED in {outcome.cell}: {outcome.error}")
        elif not outcome.reused:
            total = time.monotonic() - start
            took = f"{_duration(outcome.seconds)} ({_duration(total)} since the start)"
            say(f"{heads[chapter.name]}: done in {took}")
            for note in outcome.notes:
                say(f"{heads[chapter.name]}: {note}")

    for chapter in wanted:
        if chapter.name in unread:
            finish(chapter, Outcome(chapter, error=unread[chapter.name], cell="its files"))
    with Workers[Outcome]() as workers:
        waiting = readable
        under_way: dict[str, Chapter] = {}
        while waiting or under_way:
            while len(under_way) < most and (ready := [each for each in waiting if _may_start(each, under_way)]):
                chapter = ready[0]
                waiting.remove(chapter)
                own = changed[chapter.name]
                parameters = ({"scale": scale} if "scale" in chapter.parameters() else {}) | own
                target = _target(chapter, scale, own)
                head = heads[chapter.name]
                digests = reuse.digests_of(chapter, parameters)
                why, when = ("asked to", "") if force else reuse.why_not(target, reuse.note(target, scale), digests)
                if not why:
                    say(f"{head}: reused (unchanged since {when})")
                    finish(chapter, Outcome(chapter, target, reused=True))
                    continue
                say(f"{head}: executing: {why}")
                if most == 1:
                    finish(chapter, execute_one(chapter, target, parameters, digests, scale, head))
                    continue
                under_way[chapter.name] = chapter
                forking.ready(tuple(WAITING.items()))  # before the first one, and for all
                workers.start(chapter.name, execute_one, chapter, target, parameters, digests, scale, "")
            if under_way:
                for name, result in workers.finished():
                    chapter = under_way.pop(name)
                    finish(chapter, result or Outcome(chapter, cell="its process", error="the process died"))
    return Report([outcomes[chapter.name] for chapter in wanted])


def _may_start(chapter: Chapter, under_way: dict[str, Chapter]) -> bool:
    """Whether a chapter may run beside those under way."""
    names = {chapter.name, *under_way}
    if len(names) > 1 and names.intersection(ALONE):
        return False
    if chapter.name in reuse.AFTER_PRACTICE and "practice" in under_way:
        return False
    return chapter.name not in reuse.LAST or names.issubset(reuse.LAST)


def _unreadable(chapter: Chapter) -> str:
    """Why a chapter's halves cannot be read, if so; halves that differ stop everything."""
    try:
        found = state(chapter)
        drop_marks(chapter)  # papermill would stumble
    except Unreadable as error:
        return str(error)
    except PairError as error:
        raise BookError(str(error)) from error
    if found.edited:
        raise BookError(f"the two halves of {chapter.name} differ ({found.why}): run `lintrans pairs` first")
    return ""


def _target(chapter: Chapter, scale: str, own: dict[str, Any]) -> Path:
    if not own:
        return executed(chapter.root, scale) / f"{chapter.name}.ipynb"
    short = reuse.digest(json.dumps(own, sort_keys=True))[:8]
    return chapter.root / "build" / scale / "custom" / f"{chapter.name}-{short}.ipynb"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds // 60:.0f}:{seconds % 60:02.0f} min"
