"""P5: the Hessian's norm grows with the gradient's on language models, and not on image networks (C5 in practice)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from . import practice
from .c5 import LEVELS, NORM, correlations, norm_units
from .practice import BASIS as BASIS
from .practice import CHAPTER as CHAPTER
from .practice import GROUP as GROUP
from .practice import READINGS as READINGS
from .practice import Shown, by_network, keys, verdict
from .records import Verdict

CLAIM = "P5"
SENTENCE = "In practice curvature grows with the gradient's norm on language models, and not on image networks."
FIGURE = {"tuned": "fig-practice-norms"}


def shown(name: str, frame: pd.DataFrame) -> Shown:
    """Adam's rank correlation of both norms, that of their differences beside it."""
    levels, differences = norm_units(name, frame, keys(name))
    table, points = correlations(frame, "adam", NORM, differences=False)
    if not points:
        return Shown(levels, None, (differences,))
    swap = 6.0 / (points * (points**2 - 1.0))  # as of an interval of correlations
    inside = table.clip(swap - 1.0, 1.0 - swap)
    width = swap / (1.0 - float((inside**2).to_numpy().mean()))
    return Shown(levels, pd.DataFrame(np.arctanh(inside)), (differences,), width)


def judge(
    reading: str, scale: str, frames: Mapping[str, pd.DataFrame], settled: int, short: Sequence[str] = ()
) -> Verdict:
    """The verdict of one reading, on Adam's runs; robust where each evaluation set alone says the same."""
    frames = {name: frame[frame["step"] >= settled] for name, frame in frames.items()}

    def all_shown(measured: Mapping[str, pd.DataFrame]) -> dict[str, Shown]:
        return by_network(measured, LEVELS, lambda name: shown(name, measured[name]))

    found = all_shown(frames)
    checks = {practice.ANOTHER_SET: practice.alone(frames, all_shown)}
    return verdict(CLAIM, __name__, reading, scale, found, short, checks)
