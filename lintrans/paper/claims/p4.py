"""P4: Adam's directional smoothness is lower than SGD's on language models, and not on image networks (C4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.special import logit

from . import practice
from .c4 import SHARE, larger, share_unit
from .common import by_seed_and_batch
from .practice import BASIS as BASIS
from .practice import CHAPTER as CHAPTER
from .practice import GROUP as GROUP
from .practice import READINGS as READINGS
from .practice import Shown, by_network, keys, verdict
from .records import Verdict

CLAIM = "P4"
SENTENCE = "In practice directional smoothness is lower for Adam on language models, and not on image networks."
FIGURE = {"tuned": "fig-practice-smoothness"}


def shown(name: str, frame: pd.DataFrame, settled: int) -> Shown:
    """The share of measured steps at which SGD's v'Hv is the larger, signed."""
    points = larger(frame, settled)
    if points.empty:
        return practice.missing(name, SHARE)
    edge = 0.5 / int(points.groupby(level=["seed", "batch"]).size().min())  # as of an interval of shares
    shares = by_seed_and_batch(points).clip(edge, 1 - edge)
    logits, middle = shares.map(lambda share: float(logit(np.float64(share)))), float(shares.to_numpy().mean())
    return Shown(share_unit(name, frame, settled, keys(name)), logits, width=edge / (middle * (1 - middle)))


def judge(
    reading: str, scale: str, frames: Mapping[str, pd.DataFrame], settled: int, short: Sequence[str] = ()
) -> Verdict:
    """The verdict of one reading; robust where each evaluation set alone says the same."""

    def all_shown(measured: Mapping[str, pd.DataFrame]) -> dict[str, Shown]:
        return by_network(measured, SHARE, lambda name: shown(name, measured[name], settled))

    found = all_shown(frames)
    checks = {practice.ANOTHER_SET: practice.alone(frames, all_shown)}
    return verdict(CLAIM, __name__, reading, scale, found, short, checks)
