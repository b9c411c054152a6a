"""Builds the site: stages executed chapters, plain pages and settings in ``build/SCALE/src``, runs Jupyter Book.

Chapters in the staged tree are executed copies, so nothing executes here. One without a copy gets a page that says
so; its neighbours are built all the same.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from ..files import write
from .chapters import BookError, Chapter, chapters, read_yaml
from .downloads import make_plain
from .executing import Outcome, executed
from .live.page import write_lab
from .notebooks import SLOW, Unreadable, is_chapter, read

PLAIN = ("*.md", "*.bib")
# Works whatever PATH says, starts without this library, and ends before garbage would matter: half of the time.
JUPYTER_BOOK = (
    "import ctypes, sys; sys.platform == 'linux' and ctypes.CDLL(None).prctl(1, 9); "  # ends with this process
    f"import gc; gc.disable(); sys.modules[{SLOW!r}] = None; from jupyter_book.cli.main import main; main()"
)


def stage(root: Path, scale: str, failed: Iterable[Outcome] = ()) -> list[str]:
    """Lay out what Jupyter Book reads; returns the names of chapters that have no executed copy."""
    import yaml

    source = root / "build" / scale / "src"
    config = read_yaml(root / "_config.yml")
    settings = config.get("execute")
    own = settings if isinstance(settings, dict) else {}
    config["execute"] = {**own, "execute_notebooks": "off"}  # they carry their outputs
    write(source / "_config.yml", yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    for name in ("_toc.yml", "CITATION.cff"):
        if (root / name).exists():
            write(source / name, read(root / name))
    known = chapters(root)
    _sweep(executed(root, scale), {f"{chapter.name}.ipynb" for chapter in known})
    for pattern in PLAIN:
        for page in sorted((root / "book").glob(pattern)):
            if not is_chapter(page):
                write(source / "book" / page.name, read(page))
    for folder in ("_static", "_ext"):
        if (root / "book" / folder).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", ".*")
            shutil.copytree(root / "book" / folder, source / "book" / folder, ignore=ignored)
    if any(chapter.name == "lab" for chapter in known):
        write_lab(source / "book" / "_static" / "lab")
    reasons = {outcome.chapter.name: f"{outcome.cell}: {outcome.error}" for outcome in failed}
    missing = []
    for chapter in known:
        with contextlib.suppress(Unreadable):
            write(source / "text" / chapter.text.name, read(chapter.text))  # to download, not to build
        copy = executed(root, scale) / f"{chapter.name}.ipynb"
        if not copy.exists():
            missing.append(chapter.name)
            write(copy.with_suffix(".md"), _stub(chapter, reasons.get(chapter.name, "")))
    return missing


def build(root: Path, scale: str, failed: Iterable[Outcome] = ()) -> Path:
    """Stage and build the site, warnings being errors unless a chapter is missing; returns its first page."""
    missing = stage(root, scale, failed)
    folder = root / "build" / scale
    place, fresh = folder / "_build", folder / "building"
    shutil.rmtree(fresh, ignore_errors=True)
    strict = [] if missing else ["-W"]
    command = [sys.executable, "-c", JUPYTER_BOOK, "build", str(folder / "src"), "--path-output", str(fresh)]
    try:
        done = subprocess.run(
            [*command, *strict, "-n", "--keep-going", "--all", "-q"],
            capture_output=True, text=True, encoding="utf-8", errors="replace", check=False, cwd=root,
        )  # fmt: skip
        html = fresh / "_build" / "html"
        if done.returncode != 0 or not (html / "index.html").exists():
            raise BookError("Jupyter Book found something wrong:\n" + _complaint(done.stdout, done.stderr))
        make_plain(html, root / "book" / "references.bib")
        shutil.rmtree(place, ignore_errors=True)  # now that the new one is whole
        (fresh / "_build").replace(place)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return place / "html" / "index.html"


def _sweep(folder: Path, keep: set[str]) -> None:
    """Empty the staged tree of all but the executed copies."""
    if not folder.exists():
        return
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in keep:
            path.unlink()


def _stub(chapter: Chapter, reason: str) -> str:
    what = "This chapter failed, so there is nothing to show." if reason else "This chapter was not executed yet."
    detail = f"\n```text\n{reason}\n```\n" if reason else ""
    more = f"Run `lintrans execute {chapter.name}` to see more."
    return f"# {chapter.title}\n\n:::{{warning}}\n{what}\n{detail}\n{more}\n:::\n"


def _place(line: str) -> str:
    """Name page and cell: MyST-NB reports line 24 of the fifth cell as 50024, of a file deep in the staged tree."""
    found = re.match(r".*?/src/(\S+)\.ipynb:(\d+): (.*)", line)
    if found is None:
        return re.sub(r"^\S*?/src/", "", line)
    cell, number = divmod(int(found[2]), 10_000)
    return f"{found[1]}, cell {cell} of the executed copy, line {number}: {found[3]}"


def _complaint(output: str, errors: str, most: int = 30) -> str:
    lines = [_place(line) for line in errors.splitlines() if "WARNING" in line or "ERROR" in line]
    lines = lines or (errors or output).strip().splitlines()[-most:]
    more = [f"... {len(lines) - most} more lines"] if len(lines) > most else []
    return "\n".join(lines[:most] + more)
