"""P1: Adam ends lower than SGD on language models, and not on image networks (C1 in practice)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ...statistics import geometric_ratio
from ...training.history import History
from . import practice
from .c1 import COOLED_RATIO, LOSS_RATIO, STEP_RATIO
from .common import arms, floor, judged_losses, step_ratio, steps_to
from .practice import BASIS as BASIS
from .practice import CHAPTER as CHAPTER
from .practice import GROUP as GROUP
from .practice import READINGS as READINGS
from .practice import Shown, by_network, keys, verdict
from .records import Verdict
from .rules import agree, ratio_unit

CLAIM = "P1"
SENTENCE = "In practice Adam ends lower than SGD on language models, and not on image networks."
FIGURE = "fig-practice-gap"


def shown(name: str, history: History, zero_loss: float, lowest: float, cooled: bool = False) -> Shown:
    """The ratio of end losses, and of steps to sqrt(f0 f*) beside it; `lowest` is f*."""
    losses = judged_losses(history, zero_loss, cooled)
    ratio = geometric_ratio(*arms(losses, "loss"))
    logs = np.log(losses.pivot(index="seed", columns="optimizer", values="loss"))
    unit = ratio_unit(name, COOLED_RATIO if cooled else LOSS_RATIO, ratio, keys=keys(name))
    steps = step_ratio(steps_to(history, math.sqrt(zero_loss * lowest), zero_loss=zero_loss)).ratio()
    beside = ratio_unit(f"{name}, steps to target", STEP_RATIO, steps, False, keys(name, "steps"))
    return Shown(unit, pd.DataFrame({0: logs["sgd"] - logs["adam"]}), (beside,))


def judge(
    reading: str, scale: str, histories: Mapping[str, History], every: Mapping[str, Sequence[History]],
    zero_losses: Mapping[str, float], short: Sequence[str] = (),
) -> Verdict:  # fmt: skip
    """The verdict of one reading; `every` has all trainings of a network, for f*."""

    def all_shown(cooled: bool) -> dict[str, Shown]:
        return by_network(
            histories,
            LOSS_RATIO,
            lambda name: shown(name, histories[name], zero_losses[name], floor(*every[name]), cooled),
        )

    found, checks = all_shown(False), {}
    if reading == "tuned":
        checks["cooled"] = agree(*(practice.units_of(each) for each in (found, all_shown(True))))
    return verdict(CLAIM, __name__, reading, scale, found, short, checks)
