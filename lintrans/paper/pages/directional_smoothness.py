"""Directional smoothness: how often it is negative, and what the steps meet."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ..claims.c4 import METRIC, negative_shares
from ..problems import PROBLEMS
from ..scales import LABELS

METRICS = {"v'Hv": METRIC, "length of Hv": "hessian_step_norm"}
METRICS |= {"gradient norm": "gradient_norm", "step length": "step_length"}


def negative(frames: Mapping[str, pd.DataFrame]) -> str:
    """How often curvature along a step is negative, a line a setting, in Markdown."""
    lines = []
    for name, frame in frames.items():
        share = negative_shares(frame)
        parts = [f"{label} {share[optimizer]:.1%}" for optimizer, label in LABELS.items() if optimizer in share]
        lines.append(f"- {PROBLEMS[name].title}: curvature is negative along {', '.join(parts)} of the measured steps.")
    return "\n".join(lines)


def levels(frames: Mapping[str, pd.DataFrame], settled: int) -> pd.DataFrame:
    """Medians over seeds and steps from `settled` on of what steps meet, a row a setting and optimizer."""
    rows = []
    for name, frame in frames.items():
        for optimizer, steps in frame[frame["step"] >= settled].groupby("optimizer", sort=False):
            middle = steps.groupby("metric")["value"].median()
            numbers = {head: f"{middle[metric]:.3g}" for head, metric in METRICS.items()}
            rows.append({"setting": PROBLEMS[name].title, "optimizer": LABELS[str(optimizer)], **numbers})
    return pd.DataFrame(rows)
