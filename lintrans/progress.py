"""Progress bars: steps, rate, time left, current loss; and nothing left behind.

A bar shows in a terminal and in a notebook, after a second, and is wiped at its end. ``LINTRANS_PROGRESS=off`` hides
it; ``LINTRANS_PROGRESS=terminal`` sends a kernel's bar to the terminal that started the kernel, so that an executed
notebook holds no frame of it (this is what ``lintrans execute`` does).
"""

from __future__ import annotations

import os
import sys
from typing import TextIO

from tqdm.std import tqdm

VARIABLE = "LINTRANS_PROGRESS"


def target() -> TextIO | None:
    """Where a bar goes; None for nowhere."""
    mode = os.environ.get(VARIABLE, "auto")
    if mode == "off":
        return None
    if mode == "terminal":
        return sys.__stderr__
    in_notebook = "ipykernel" in sys.modules and sys.stderr is not sys.__stderr__
    return sys.stderr if in_notebook or sys.stderr.isatty() else None


def bar(total: int, title: str, show: bool | None = None) -> tqdm[None]:
    """A bar over `total` steps; `show` None decides by where it would go."""
    stream = target() if show is None else (target() or sys.stderr) if show else None
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
