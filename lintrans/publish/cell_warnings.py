"""In a kernel that executes a chapter: marks the warnings that the chapter answers for, so that they fail it.

``lintrans execute`` loads this into its kernels as an IPython extension. What counts is where Python's warnings
machinery says that a warning belongs, and never that something was written to stderr: libraries write there to inform.
A mark is an output of the cell that no page shows; the cell runs on, and no ``except`` can hide it.
"""

from __future__ import annotations

import sys
import sysconfig
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TextIO

from .processes import end_with_parent

MARK = "application/vnd.lintrans.warning"
"""Kind of output that holds a warning in words."""
PACKAGE = Path(__file__).resolve().parents[1]


def load_ipython_extension(shell: Any) -> None:
    """Look at each warning that is shown; what filters ignore is still ignored. The kernel ends with its parent."""
    end_with_parent()
    shown, publish = warnings.showwarning, shell.display_pub.publish
    warnings.showwarning = marking(shell.user_ns, shown, lambda text: publish({MARK: text}, {}))
    # each time, not once a place: a place in NumPy that warned for somebody else would be silent for a cell
    warnings.filterwarnings("always", category=RuntimeWarning, append=True)
    # of a cell's syntax, which Python thinks is of a module named like the cell's temporary file
    warnings.filterwarnings("default", category=DeprecationWarning, module=r".*[\\/]ipykernel_\d+[\\/]")


def marking(cells: dict[str, Any], shown: Callable[..., None], mark: Callable[[str], None]) -> Callable[..., None]:
    """A ``warnings.showwarning`` that shows each warning once, by `shown`, and marks those that count for `cells`."""
    known = set()

    def show(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None,
        line: str | None = None,
    ) -> None:  # fmt: skip
        counted = counts(cells, category, filename)
        warning = (str(message), category, filename, lineno, counted)
        if warning not in known:
            known.add(warning)
            shown(message, category, filename, lineno, file, line)
            if counted:
                mark(f"{category.__name__}: {message}")

    return show


def counts(cells: dict[str, Any], category: type[Warning], filename: str) -> bool:
    """Whether a chapter answers for a warning: its cells, this library, or arithmetic that they had done.

    A ``RuntimeWarning`` is what NumPy, SciPy and pandas say of an overflow, of nan or of too few values, from whichever
    file of theirs a cell has called.
    """
    if _own(filename):
        return True
    made = filename.startswith("<") and not filename.startswith("<frozen ")  # by exec, as magics such as %%time do
    arithmetic = issubclass(category, RuntimeWarning) and _installed(filename)
    return (made or arithmetic) and _called_by(cells)


def _called_by(cells: dict[str, Any]) -> bool:
    frame = sys._getframe()
    while frame is not None and frame.f_globals is not cells:
        frame = frame.f_back  # type: ignore[assignment]  # None at the bottom
    return frame is not None


@cache
def _own(filename: str) -> bool:
    """Whether a file is a cell, of this library or of a user's own."""
    path = Path(filename)
    if not path.is_absolute():
        return False
    return path.resolve().is_relative_to(PACKAGE) or not (_installed(filename) or _below_python(path))


@cache
def _installed(filename: str) -> bool:
    """Whether a file is of an installed package, of whichever environment."""
    return not {"site-packages", "dist-packages"}.isdisjoint(Path(filename).parts)


def _below_python(path: Path) -> bool:
    folders = (Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))
    return any(path.resolve().is_relative_to(folder.resolve()) for folder in folders)
