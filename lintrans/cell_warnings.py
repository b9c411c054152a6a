"""In a kernel that executes a chapter: a warning of the chapter's own code is an error, any other is for the terminal.

``lintrans execute`` loads this into its kernels as an IPython extension. What counts is where Python's warnings
machinery says that a warning belongs, and never that something was written to stderr: libraries write there to inform.
"""

from __future__ import annotations

import sys
import sysconfig
import threading
import warnings
from functools import cache, partial
from pathlib import Path
from typing import Any, TextIO

from . import progress

PACKAGE = Path(__file__).resolve().parent


def load_ipython_extension(shell: Any) -> None:
    """Take over how warnings are shown; what filters ignore is still ignored."""
    warnings.showwarning = partial(show, shell.user_ns)


def show(
    cells: dict[str, Any],
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Raise a warning that counts; say any other. As ``warnings.showwarning``, given the namespace of the cells."""
    if threading.current_thread() is threading.main_thread() and counts(cells, category, filename):
        raise message if isinstance(message, Warning) else category(message)
    text = warnings.formatwarning(message, category, filename, lineno, line)
    if file is None:
        progress.say(text.rstrip())
    else:
        file.write(text)


def counts(cells: dict[str, Any], category: type[Warning], filename: str) -> bool:
    """Whether a chapter answers for a warning: its cells, this library, or arithmetic that they had done.

    A ``RuntimeWarning`` is what NumPy, SciPy and pandas say of an overflow, of nan or of too few values, from whichever
    file of theirs a cell has called.
    """
    return _own(filename) or (issubclass(category, RuntimeWarning) and _installed(filename) and _called_by(cells))


def _called_by(cells: dict[str, Any]) -> bool:
    frame = sys._getframe()
    while frame is not None and frame.f_globals is not cells:
        frame = frame.f_back  # type: ignore[assignment]  # None at the bottom
    return frame is not None


@cache
def _own(filename: str) -> bool:
    """Whether a file is a cell, of this library or of a user's own."""
    if not Path(filename).is_absolute():
        return filename.startswith(("<string>", "<ipython-input"))
    return _below(filename, PACKAGE) or not _below(filename, *_folders("stdlib", "platstdlib", "purelib", "platlib"))


@cache
def _installed(filename: str) -> bool:
    return _below(filename, *_folders("purelib", "platlib"))


def _folders(*names: str) -> list[Path]:
    """Folders of Python's own library and of installed packages."""
    paths = sysconfig.get_paths()
    return [Path(paths[name]).resolve() for name in names]


def _below(filename: str, *folders: Path) -> bool:
    return any(Path(filename).resolve().is_relative_to(folder) for folder in folders)
