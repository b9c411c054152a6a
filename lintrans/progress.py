"""Progress bars: steps, rate, time left, current loss; and nothing left behind.

A bar shows in a terminal and in a notebook, after a second, and is wiped at its end. ``LINTRANS_PROGRESS`` says
otherwise: ``off`` hides it; the path of a terminal sends it there. ``lintrans execute`` gives the kernels it starts its
own terminal this way (:func:`terminal`), because all that a kernel writes to its streams lands in the notebook.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from tqdm.std import tqdm

VARIABLE = "LINTRANS_PROGRESS"


def terminal() -> str:
    """Name of the terminal of this process, as a value of ``LINTRANS_PROGRESS``; "off" where it has none."""
    try:
        return os.ttyname(sys.__stderr__.fileno()) if sys.__stderr__ is not None else "off"
    except (OSError, AttributeError, ValueError):
        return "off"


@contextlib.contextmanager
def target(show: bool | None = None) -> Iterator[TextIO | None]:
    """Where a bar goes; None for nowhere. `show` True takes stderr if need be, False is nowhere."""
    mode = os.environ.get(VARIABLE, "auto")
    in_notebook = "ipykernel" in sys.modules and sys.stderr is not sys.__stderr__
    if show is False:
        yield None
    elif mode == "auto" or show:
        yield sys.stderr if show or in_notebook or sys.stderr.isatty() else None
    elif mode == "off":
        yield None
    else:
        try:
            stream = Path(mode).open("w", encoding="utf-8")  # noqa: SIM115 - closed below, unless it cannot be opened
        except OSError:
            yield None
        else:
            with stream:
                yield stream


@contextlib.contextmanager
def bar(total: int, title: str, show: bool | None = None) -> Iterator[tqdm[Any]]:
    """A bar over `total` steps, shown where :func:`target` says."""
    with target(show) as stream:
        live = stream is not None and stream.isatty()
        with tqdm(
            total=total,
            desc=title,
            unit="step",
            file=stream,
            disable=stream is None,
            leave=False,
            delay=1.0,
            dynamic_ncols=live,
            mininterval=0.2 if live or "ipykernel" in sys.modules else 30.0,  # a log wants few lines
        ) as shown:
            yield shown
