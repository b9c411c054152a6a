"""P1: Adam ends lower than SGD on language models, and not on image networks (C1 in practice)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType

import numpy as np
import pandas as pd

from ...statistics import geometric_ratio
from ...training.history import History
from ..judged import LOSS
from .c1 import LOSS_RATIO, STEP_RATIO
from .common import arms, floor, judged_losses, step_ratio, steps_to
from .practice import BASIS as BASIS
from .practice import CHAPTER as CHAPTER
from .practice import GROUP as GROUP
from .practice import READINGS as READINGS
from .practice import Shown, by_network, keys, verdict
from .records import Verdict
from .rules import Unit, agree, ratio_unit

CLAIM = "P1"
SENTENCE = "In practice Adam ends lower than SGD on language models, and not on image networks."
FIGURE = {"tuned": "fig-practice-gap"}


HELD_OUT = "held-out loss"


def _ends(history: History, zero_loss: float, held_out: bool) -> pd.DataFrame:
    """End losses of training, or the held-out loss at the end, by seed and optimizer; a lost run counts as zero's."""
    losses = judged_losses(history, zero_loss)
    if held_out:
        rows = history.metric("test_loss")
        last = rows[rows["step"] == history.steps].set_index("run")["value"]
        own = losses["run"].map(last)
        losses = losses.assign(loss=own.where(~losses["counted_as_zero"] & (own <= zero_loss), zero_loss))
    return losses


def shown(name: str, history: History, zero_loss: float, lowest: float, held_out: bool = False) -> Shown:
    """The ratio of end losses, and of steps to sqrt(f0 f*) beside it; `lowest` is f*."""
    losses = _ends(history, zero_loss, held_out)
    words = f"{LOSS_RATIO}, held out" if held_out else LOSS_RATIO
    unit = ratio_unit(name, words, geometric_ratio(*arms(losses, "loss")), keys=keys(name))
    logs = np.log(losses.pivot(index="seed", columns="optimizer", values="loss"))
    steps = step_ratio(steps_to(history, math.sqrt(zero_loss * lowest), LOSS, zero_loss)).ratio()
    beside = ratio_unit(f"{name}, steps to target", STEP_RATIO, steps, False, keys(name, "steps"))
    return Shown(unit, pd.DataFrame({0: logs["sgd"] - logs["adam"]}), (beside,))


def by_batch(name: str, histories: Mapping[str, History], zero_loss: float) -> list[Unit]:
    """The ratio of end losses at other batch sizes, by their words."""
    return [
        ratio_unit(
            f"{name}, {words}", LOSS_RATIO, geometric_ratio(*arms(judged_losses(history, zero_loss), "loss")), False,
            keys(name, words),
        )
        for words, history in histories.items()
    ]  # fmt: skip


def judge(
    reading: str, scale: str, histories: Mapping[str, History], every: Mapping[str, Sequence[History]],
    zero_losses: Mapping[str, float], short: Sequence[str] = (),
    larger: Mapping[str, Mapping[str, History]] = MappingProxyType({}),
) -> Verdict:  # fmt: skip
    """The verdict of one reading; robust where the held-out loss says the same.

    `every` has all trainings of a network at this batch size, for f*; `larger` those at others, by their words.
    """

    def of(name: str, held_out: bool) -> Shown:
        found = shown(name, histories[name], zero_losses[name], floor(*every[name]), held_out)
        more = by_batch(name, larger.get(name, {}), zero_losses[name])
        return replace(found, beside=(*found.beside, *more))

    found, other = (by_network(histories, LOSS_RATIO, partial(of, held_out=held_out)) for held_out in (False, True))
    checks = {HELD_OUT: agree(*([each.unit for each in own.values()] for own in (found, other)))}
    return verdict(CLAIM, __name__, reading, scale, found, short, checks)
