"""Chapters are pairs, ``book/X.md`` (MyST text) and ``book/X.ipynb``; this keeps the two halves the same.

Which half was edited is decided by content, never by time stamps: a half is unedited if it says what git's HEAD says,
or what both said when they last agreed here (noted in ``build/pairs.json``). The edited half wins; if both were edited
nothing is touched. Notebooks are a function of their text and their cell ids: no outputs, no editor's metadata.
"""

from __future__ import annotations

import codecs
import contextlib
import difflib
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..files import write

# One header for all chapters, whatever an editor puts there; the lexer is the word after ``{code-cell}``.
METADATA = {
    "jupytext": {"default_lexer": "ipython3", "formats": "ipynb,md:myst"},
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
}
RECORD = Path("build") / "pairs.json"
SLOW = "rfc3987_syntax"
"""A module that :func:`quick_imports` spares."""
HALVES = ("text", "notebook")


class PairError(Exception):
    """The halves of a chapter disagree in a way that only a person can settle, or one cannot be read."""


class Unreadable(PairError):
    """A file of the book that is no text in UTF-8, or no notebook."""


@dataclass(frozen=True)
class Pair:
    """The two halves of one chapter."""

    root: Path
    name: str

    @property
    def text(self) -> Path:
        """The MyST half."""
        return self.root / "book" / f"{self.name}.md"

    @property
    def notebook(self) -> Path:
        """The Jupyter half."""
        return self.root / "book" / f"{self.name}.ipynb"


@dataclass(frozen=True)
class State:
    """How two halves compare: `edited` is "", "text", "notebook" or "both"; not `tidy` if only their form is off.

    That is `harmless` where an editor has noted something for itself and nothing else is off.
    """

    edited: str
    tidy: bool
    wanted: str  # the text that both should say; empty where both were edited
    why: str
    diff: str = ""
    harmless: bool = False

    @property
    def settled(self) -> bool:
        """Whether nothing is to be done."""
        return not self.edited and self.tidy


def pairs(root: Path) -> list[Pair]:
    """All chapters under ``book/``: texts whose header names a kernel, and notebooks."""
    book = root / "book"
    names = {path.stem for path in book.glob("*.ipynb")}
    names |= {path.stem for path in book.glob("*.md") if is_chapter(path)}
    return [Pair(root, name) for name in sorted(names)]


def read(path: Path) -> str:
    """A text file of the book, without a byte order mark; Unreadable where it is not in UTF-8."""
    try:
        text = path.read_text("utf-8-sig")
        if "\0" not in text:  # UTF-16 without a mark is valid UTF-8, a zero beside each letter
            return text
        why = "it holds zeros"
    except UnicodeDecodeError as error:
        why = f"byte {error.start} is {error.object[error.start]:#04x}"
    raise Unreadable(f"{_short(path)} is not in UTF-8 ({why}): save it as UTF-8, or take it from git again")


def is_chapter(path: Path) -> bool:
    """Whether a text is a chapter's half; one that cannot be read may be, and whoever reads it says so."""
    try:
        return is_notebook_text(read(path)) if path.exists() else False
    except Unreadable:
        return True


def marked(path: Path) -> bool:
    """Whether a file begins with a byte order mark."""
    return path.exists() and path.read_bytes().startswith(codecs.BOM_UTF8)


def drop_marks(pair: Pair) -> None:
    """Write the halves again without byte order marks."""
    for path in filter(marked, (pair.text, pair.notebook)):
        write(path, read(path))


def is_notebook_text(text: str) -> bool:
    """Whether a page is a chapter: its header (between ``---`` lines) has a ``kernelspec:``."""
    if not text.startswith("---\n"):
        return False
    header = text[4:].partition("\n---")[0]
    return any(line.startswith("kernelspec:") for line in header.splitlines())


def canonical(text: str, root: Path) -> str:
    """The text as Jupytext writes it, so that two texts that mean the same are the same."""
    return _write_text(_read_text(text, root), root)


def text_of(notebook: str, root: Path) -> str:
    """The text half that belongs to the inputs of a notebook (given as JSON)."""
    return _write_text(_read_notebook(notebook), root)


def code_of(pair: Pair) -> str:
    """The code of a chapter's cells, without IPython's own commands."""
    cells = _read_text(read(pair.text), pair.root).cells
    lines = "\n".join(cell.source for cell in cells if cell.cell_type == "code").splitlines()
    return "\n".join("pass" if line.lstrip().startswith(("%", "!")) else line for line in lines)


def notebook_of(text: str, root: Path, name: str, previous: str | None = None) -> str:
    """The notebook half (JSON) of a text: no outputs; cells keep the ids they have in `previous`."""
    import nbformat

    notebook = _read_text(text, root)
    notebook.metadata = nbformat.from_dict(METADATA)
    old = _read_notebook(previous).cells if previous is not None else []
    for cell, identity in zip(notebook.cells, _identities(name, notebook.cells, old), strict=True):
        cell["id"] = identity
        if cell.cell_type == "code":
            cell.update(outputs=[], execution_count=None)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return str(nbformat.writes(notebook)).rstrip("\n") + "\n"


def state(pair: Pair) -> State:
    """Compare the halves of a chapter with each other, with HEAD and with what they last agreed on."""
    text, notebook = _content(pair.text), _content(pair.notebook)
    if text is None and notebook is None:
        raise PairError(f"there is no book/{pair.name}.md and no book/{pair.name}.ipynb")
    if notebook is None:
        return State("text", False, canonical(text or "", pair.root), "there is no notebook yet")
    ours = _guard(pair.notebook, text_of, notebook, pair.root)
    if text is None:
        return State("notebook", False, ours, "there is no text yet")
    theirs = _guard(pair.text, canonical, text, pair.root)
    if theirs == ours:
        clean = notebook_of(theirs, pair.root, pair.name, notebook)
        plain = text == theirs and not (marked(pair.text) or marked(pair.notebook))
        if plain and notebook == clean:
            return State("", True, theirs, "")
        if plain and _without_metadata(notebook) == _without_metadata(clean):
            return State("", False, theirs, "same inputs; metadata of an editor to tidy", harmless=True)
        return State("", False, theirs, "same inputs; outputs or layout to tidy")
    for place, base_text, base_notebook in _baselines(pair):
        if ours == base_notebook or _digest(ours) == base_notebook:
            return State("text", False, theirs, f"only the text differs from {place}", _diff(ours, theirs))
        if theirs == base_text or _digest(theirs) == base_text:
            return State("notebook", False, ours, f"only the notebook differs from {place}", _diff(theirs, ours))
    known = "both were edited" if list(_baselines(pair)) else "they differ, and nothing here tells which was edited"
    return State("both", False, "", known, _diff(ours, theirs))


def settle(pair: Pair, take: str | None = None, keep_text: bool = False) -> str:
    """Make both halves say what the edited one says; returns a line that says what was done, empty for nothing.

    `take` ("text" or "notebook") is the half to believe, whatever was edited; `keep_text` leaves a text that is right
    in meaning as it was typed. Halves that were both edited, without `take`, are a PairError.
    """
    if take is not None:
        source = pair.text if take == "text" else pair.notebook
        content = _content(source)
        if content is None:
            raise PairError(f"there is no {_short(source)} to take")
        wanted = canonical(content, pair.root) if take == "text" else text_of(content, pair.root)
        why = f"took the {take}"
        keep_text = False
    else:
        found = state(pair)
        if found.edited == "both":
            raise PairError(conflict(pair, found))
        wanted, why = found.wanted, found.why
        keep_text = keep_text and found.edited != "notebook"
    written = []
    try:
        old = _content(pair.notebook)
    except Unreadable:  # the text was taken in its place
        old = None
    previous = old if old is not None else _head(pair.root, pair.notebook)
    if not keep_text:
        written += _replace(pair.text, wanted)
    written += _replace(pair.notebook, notebook_of(wanted, pair.root, pair.name, previous))
    remember(pair, wanted)
    return f"{pair.name}: rewrote {' and '.join(written)} ({why})" if written else ""


def save(pair: Pair, notebook: dict[str, Any]) -> None:
    """Write both halves of a chapter from a notebook that an editor holds; a PairError if one was edited elsewhere."""
    given = json.dumps(notebook)
    if any(cell.get("attachments") for cell in notebook.get("cells", [])):
        raise PairError("a pasted picture cannot be kept in the text half: put it into book/_static and link it")
    wanted = text_of(given, pair.root)
    if pair.text.exists() and pair.notebook.exists():
        lost = _edited_elsewhere(pair, wanted)
        if lost is not None:
            raise PairError(
                f"not saved: {_short(lost)} was edited outside this window. Copy what you need from here, "
                f"then reload the notebook from disk, or see the differences with: lintrans pairs --check"
            )
    _replace(pair.text, wanted)
    _replace(pair.notebook, notebook_of(wanted, pair.root, pair.name, given))
    remember(pair, wanted)


def conflict(pair: Pair, found: State) -> str:
    """Say in words that both halves differ, how, and what to do."""
    return (
        f"{pair.name}: book/{pair.name}.md and book/{pair.name}.ipynb differ, and {found.why}; nothing was touched\n"
        f"{found.diff}\n"
        f"  keep the text:     lintrans pairs --take text {pair.name}\n"
        f"  keep the notebook: lintrans pairs --take notebook {pair.name}"
    )


def remember(pair: Pair, agreed: str) -> None:
    """Note what both halves said when they agreed."""
    path = pair.root / RECORD
    record = _record(pair.root)
    if record.get(pair.name) != _digest(agreed):
        record[pair.name] = _digest(agreed)
        write(path, json.dumps(record, indent=1, sort_keys=True) + "\n")


def _edited_elsewhere(pair: Pair, wanted: str) -> Path | None:
    """The half on disk that neither the editor nor a known state accounts for, if the halves differ."""
    text = canonical(read(pair.text), pair.root)
    notebook = text_of(read(pair.notebook), pair.root)
    if text == notebook:
        return None
    bases = list(_baselines(pair))[:1]
    known_text = {wanted, *(base for _, base, _ in bases)}
    known_notebook = {wanted, *(base for _, _, base in bases)}
    if not {text, _digest(text)} & known_text:
        return pair.text
    return None if {notebook, _digest(notebook)} & known_notebook else pair.notebook


def _baselines(pair: Pair) -> Iterator[tuple[str, str, str]]:
    """What each half said, as text or as its digest: when they last agreed here, then in git's HEAD."""
    record = _record(pair.root).get(pair.name)
    if record:
        yield "what both last said", record, record
    text, notebook = _head(pair.root, pair.text), _head(pair.root, pair.notebook)
    if text is not None and notebook is not None:
        yield "git's HEAD", canonical(text, pair.root), text_of(notebook, pair.root)


def _record(root: Path) -> dict[str, str]:
    try:
        noted = json.loads((root / RECORD).read_text("utf-8"))
        return {name: text for name, text in noted.items() if isinstance(text, str)}
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}


def _head(root: Path, path: Path) -> str | None:
    """A file's content in git's last commit; None without git, without a commit or without the file."""
    command = ["git", "-C", str(root), "show", f"HEAD:./{path.relative_to(root).as_posix()}"]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError:
        return None
    try:
        return done.stdout.decode("utf-8-sig").replace("\r\n", "\n") if done.returncode == 0 else None
    except UnicodeDecodeError:
        return None


def _content(path: Path) -> str | None:
    return read(path) if path.exists() else None


def _replace(path: Path, content: str) -> list[str]:
    with contextlib.suppress(Unreadable):
        if path.exists() and not marked(path) and read(path) == content:
            return []
    write(path, content)
    return [_short(path)]


def _short(path: Path) -> str:
    return f"book/{path.name}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _guard(path: Path, reader: Any, content: str, root: Path) -> str:
    try:
        return str(reader(content, root))
    except Exception as error:  # whatever the parsers raise, the reader needs the file's name
        raise Unreadable(f"{_short(path)} cannot be read as a notebook: {error}") from error


def _diff(old: str, new: str, most: int = 30) -> str:
    lines = list(difflib.unified_diff(old.splitlines(), new.splitlines(), "before", "after", lineterm="", n=1))[2:]
    more = [f"... {len(lines) - most} more lines"] if len(lines) > most else []
    return "\n".join("    " + line for line in lines[:most] + more)


def _identities(name: str, cells: list[Any], old: list[Any]) -> list[str]:
    """An id for each cell: that of the cell it was, if it was one; else one that follows from its content."""
    before = [(cell.cell_type, cell.source) for cell in old]
    after = [(cell.cell_type, cell.source) for cell in cells]
    found: list[str | None] = [None] * len(cells)
    for tag, i, i_end, j, j_end in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag in ("equal", "replace"):
            for left, right in zip(range(i, i_end), range(j, j_end), strict=False):
                if before[left][0] == after[right][0]:
                    found[right] = old[left].get("id")
    taken = {identity for identity in found if identity}
    result = []
    for identity, cell in zip(found, after, strict=True):
        count = 0
        while identity is None or (identity in result):
            fresh = _digest(f"{name}/{cell}/{count}")[:8]
            count += 1
            identity = None if fresh in taken else fresh
        result.append(identity)
        taken.add(identity)
    return result


def quick_imports() -> None:
    """Keep jsonschema, which nbformat imports, from compiling a grammar of web addresses: 4 s, for a check not used."""
    sys.modules.setdefault(SLOW, None)  # type: ignore[arg-type]  # None: an import of it fails


def _read_text(text: str, root: Path) -> Any:
    quick_imports()
    import jupytext

    return jupytext.reads(text, fmt="md:myst", config=_config(root))


def _read_notebook(content: str) -> Any:
    quick_imports()
    import nbformat

    return nbformat.reads(content, as_version=4)


def _without_metadata(content: str) -> dict[str, Any]:
    """A notebook less what is noted about it and its cells."""
    notebook = _read_notebook(content)
    cells = [{name: value for name, value in cell.items() if name != "metadata"} for cell in notebook.cells]
    return {"cells": cells}


def _write_text(notebook: Any, root: Path) -> str:
    import jupytext
    import nbformat

    notebook.metadata = nbformat.from_dict(METADATA)
    return str(jupytext.writes(notebook, fmt="md:myst", config=_config(root)))


@lru_cache
def _config(root: Path) -> Any:
    from jupytext.config import load_jupytext_configuration_file

    path = root / "pyproject.toml"
    return load_jupytext_configuration_file(str(path)) if path.exists() else None
