"""Progress bars: steps, rate, time left, current loss; and nothing left behind.

A bar shows in a terminal and in a notebook, after a second, and is wiped at its end. ``LINTRANS_PROGRESS`` says
otherwise: ``off`` hides it; the path of a terminal sends it there. ``lintrans execute`` gives the kernels it starts its
own terminal this way (:func:`terminal`), because all that a kernel writes to its streams lands in the notebook.
"""

from __future__ import annotations

import os
import sys
from typing import TextIO

from tqdm.std import tqdm

VARIABLE = "LINTRANS_PROGRESS"


def terminal() -> str:
    """This process's terminal, as a value of ``LINTRANS_PROGRESS``; "off" where it has none."""
    try:
        return os.ttyname(sys.__stderr__.fileno()) if sys.__stderr__ is not None else "off"
    except (OSError, AttributeError, ValueError):
        return "off"


def target() -> TextIO | None:
    """Where a bar goes; None for nowhere."""
    mode = os.environ.get(VARIABLE, "auto")
    if mode == "auto":
        in_notebook = "ipykernel" in sys.modules and sys.stderr is not sys.__stderr__
        return sys.stderr if in_notebook or sys.stderr.isatty() else None
    if mode == "off":
        return None
    try:
        return open(mode, "w", encoding="utf-8")  # noqa: SIM115 - lives as long as its bar
    except OSError:
        return None


def bar(total: int, title: str, show: bool | None = None) -> tqdm[None]:
    """A bar over `total` steps; `show` None decides by where it would go, True takes stderr if need be."""
    stream = target() if show is not False else None
    if stream is None and show:
        stream = sys.stderr
    live = stream is not None and stream.isatty()
    return tqdm(
        total=total,
        desc=title,
        unit="step",
        file=stream,
        disable=stream is None,
        leave=False,
        delay=1.0,
        dynamic_ncols=live,
        mininterval=0.2 if live or "ipykernel" in sys.modules else 30.0,  # a log wants few lines
    )
