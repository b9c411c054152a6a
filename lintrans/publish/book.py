"""The executable book, from both sides.

A chapter calls :func:`parameters`, :func:`say`, :func:`glue`, :func:`table` and :func:`provenance`; the command line
calls :func:`chapters`, :func:`execute` and :func:`build`. Where things are: ``page.py`` runs inside a chapter,
``chapter_parameters.py`` has the rules for its parameters, ``notebooks.py`` keeps its two halves the same,
``chapters.py`` finds chapters and has each executed (``executing.py``) whose copy no longer holds (``reuse.py``),
``site.py`` builds the pages.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .chapter_parameters import ParameterError
from .chapters import BookError, Chapter, Report, chapters, execute, find_root
from .checkout import alone
from .doctor import unsupported_tools
from .executing import Outcome
from .page import Page, glue, parameters, provenance, say, table
from .site import build as build_site

__all__ = [
    "BookError", "Built", "Chapter", "Outcome", "Page", "ParameterError", "Report", "build", "chapters", "execute",
    "find_root", "glue", "parameters", "provenance", "say", "table",
]  # fmt: skip


@dataclass(frozen=True)
class Built:
    """A built site: its first page, and what became of each chapter."""

    index: Path
    report: Report


def check_tools() -> None:
    """Refuse to build with a Jupyter Book that reads other settings, before anything is executed."""
    if (why := unsupported_tools()) is not None:
        raise BookError(why)


def build(
    root: Path, scale: str = "paper", run: bool = True, tell: Callable[[str], None] = print, jobs: int | None = None
) -> Built:
    """Execute what is missing or out of date, `jobs` chapters at a time, then build the site, also when one failed."""
    check_tools()
    with alone(root, tell):
        report = execute(root, scale, say=tell, jobs=jobs) if run else Report()
        tell("building the pages")
        return Built(build_site(root, scale, report.failed), report)
