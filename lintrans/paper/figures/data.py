"""The numbers that a figure shows, read off what is drawn, so that each figure of the book has its data beside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.figure import Figure

COLUMNS = ["panel", "series", "kind", "x", "y"]
MOST = 20_000  # rows; a cloud of more points is thinned evenly


def drawn(figure: Figure) -> pd.DataFrame:
    """Points of lines, dots, bars and edges of bands, a row each, in the units of the axes.

    `panel` is a panel's title or its number, `series` a legend's words or the number of what was drawn.
    """
    rows = [row for number, axes in enumerate(figure.axes, 1) for row in _of(axes, number)]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return frame.iloc[:: len(frame) // MOST + 1]


def csv(figure: Figure) -> str:
    """:func:`drawn` as CSV, five digits."""
    return str(drawn(figure).to_csv(index=False, float_format="%.5g"))


def _of(axes: Axes, number: int) -> Iterator[tuple[Any, ...]]:
    panel = axes.get_title() or f"panel {number}"
    for count, line in enumerate(axes.get_lines(), 1):
        yield from _points(panel, _name(line, count), "line", np.asarray(line.get_xydata()))
    for count, dots in enumerate(axes.collections, 1):
        name = _name(dots, count)
        offsets = np.ma.getdata(dots.get_offsets())
        if len(offsets) > 1 or (len(offsets) == 1 and offsets.any()):
            yield from _points(panel, name, "dot", np.asarray(offsets, dtype=float))
        else:
            for path in dots.get_paths():
                yield from _points(panel, name, "edge", np.asarray(path.vertices))
    for count, bars in enumerate((each for each in axes.containers if isinstance(each, BarContainer)), 1):
        places = [(bar.get_x() + bar.get_width() / 2, bar.get_y() + bar.get_height()) for bar in bars]
        yield from _points(panel, _name(bars, count), "bar", np.array(places, dtype=float))


def _name(artist: Any, count: int) -> str:
    label = str(artist.get_label() or "")
    return label if label and not label.startswith("_") else str(count)


def _points(panel: str, name: str, kind: str, values: np.ndarray[Any, Any]) -> Iterator[tuple[Any, ...]]:
    if values.ndim == 2 and values.shape[1] == 2:
        yield from ((panel, name, kind, x, y) for x, y in values.tolist() if np.isfinite(x) and np.isfinite(y))
