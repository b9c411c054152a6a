"""F11: what F1 and F2 say, and how six optimizers rank, once more on networks that read text and see images.

The ranking is that of the linear model in Settings 1 and 3 after 1,000 steps at the best rates. Networks, partitions,
thresholds and ranking were fixed before any of it was run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import scipy

from ...training.history import History
from . import f1, f2
from .adaptivity import CHAPTER, CLOSED, NO_GAP, SEARCHED, share_closed, threshold_state
from .common import Basis, judged_losses
from .predictions import GROUP, verdict_of
from .records import Verdict
from .rules import Keys, State, Unit, correlation_state
from .tails import tau_interval

CLAIM = "F11"
SENTENCE = (
    "On two language models and LeNet too, one second moment a layer closes at least 80% of the gap, one a kind or one "
    "for everything less than 60%, and six optimizers rank as on the linear model."
)
FIGURE = "fig-real-networks"
READINGS = ("tuned",)
BASIS = Basis()
"""Of no problem that is computed twice."""
NETWORKS = ("lm_softmax", "lm_linear", "cnn")
RANKING = ("layer", "adam", "signum", "kind", "all", "sgd")
"""From the lowest end loss on."""
SHARES = (("layer", "one a layer", f1.LEAST, True), *((arm, label, f2.MOST, False) for arm, label in f2.ARMS.items()))
TAU = "Kendall's tau of six end losses with the linear model's ranking"


def logs_of(history: History, zero_loss: float) -> pd.DataFrame:
    """Log end losses of training, a row a seed and a column an arm; a lost run counts as the zero predictor."""
    losses = judged_losses(history, zero_loss).pivot(index="seed", columns="optimizer", values="loss")
    return pd.DataFrame(np.log(losses))


def share_unit(name: str, logs: pd.DataFrame, arm: str, label: str, threshold: float, above: bool) -> Unit:
    """The share of the gap that an arm closes on a network."""
    case, keys = f"{name}, {label}", Keys((name,), part=arm)
    if not {"sgd", "adam", arm} <= set(logs):
        return Unit(case, CLOSED, None, State.MISSING, keys=keys, remarks=(SEARCHED,))
    sgd, own, adam = (logs[each].to_numpy(np.float64) for each in ("sgd", arm, "adam"))
    found = share_closed(sgd, own, adam, threshold)
    if found is None:
        return Unit(case, CLOSED, None, State.UNDECIDED, decides=False, keys=keys, remarks=(NO_GAP,))
    return Unit(case, CLOSED, found, threshold_state(found, threshold, above), keys=keys)


def ranking_unit(name: str, logs: pd.DataFrame) -> Unit:
    """Kendall's tau of the end losses with the ranking, a mean over seeds."""
    case, keys = f"{name}, ranking", Keys((name,), part="ranking")
    if not set(RANKING) <= set(logs):
        return Unit(case, TAU, None, State.MISSING, keys=keys, remarks=(SEARCHED,))
    places = range(len(RANKING))
    taus = [scipy.stats.kendalltau(places, row).statistic for row in logs[list(RANKING)].to_numpy(np.float64)]
    if not np.isfinite(taus).all():  # all six alike
        return Unit(case, TAU, None, State.UNDECIDED, keys=keys)
    interval = replace(tau_interval(np.asarray(taus), len(RANKING)), kind="correlation")
    return Unit(case, TAU, interval, correlation_state(interval), keys=keys)


def judge(
    scale: str, histories: Mapping[str, History], zero_losses: Mapping[str, float], short: Sequence[str] = ()
) -> Verdict:
    """The verdict from trainings by network, every arm with an interior best rate; missing networks are missing."""
    units = []
    for name in NETWORKS:
        logs = logs_of(histories[name], zero_losses[name]) if name in histories else pd.DataFrame()
        units += [share_unit(name, logs, *share) for share in SHARES]
        units.append(ranking_unit(name, logs))
    return verdict_of(__name__, CLAIM, READINGS[0], scale, CHAPTER, units, short)


__all__ = ["BASIS", "CHAPTER", "CLAIM", "FIGURE", "GROUP", "READINGS", "SENTENCE", "judge"]
