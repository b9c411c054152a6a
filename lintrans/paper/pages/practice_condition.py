"""Practice: R_med of the networks' layers, and what it is made of, as tables and sentences."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd

from ...statistics import mean_of
from ..claims import practice
from ..claims.c3 import BLOCK, PUBLIC, log_ratios_along
from ..claims.practice import IMAGES, OWN
from ..claims.records import Verdict, interval_text
from ..scales import LABELS
from .words import listed

_WITHIN = "within_"
_PARTS = (_WITHIN, BLOCK)
"""Of each layer its R_med and its median."""


def layer_ratios(frames: Mapping[str, pd.DataFrame], settled: int) -> pd.DataFrame:
    """R_med of SGD over Adam inside each layer: columns network, layer, estimate, low, high."""
    rows = []
    for name, frame in frames.items():
        metrics = [each for each in dict.fromkeys(frame["metric"]) if each.startswith(_WITHIN)]
        for number, metric in enumerate(metrics, 1):
            logs = log_ratios_along(frame, metric, settled)
            if logs.size:
                found = mean_of(logs.to_numpy(np.float64)).exp()
                layer = metric.removeprefix(_WITHIN)
                layer = f"layer {number}" if layer.isdecimal() else layer
                rows.append((name, layer, found.estimate, found.low, found.high))
    return pd.DataFrame(rows, columns=["network", "layer", "estimate", "low", "high"])


def split_table(verdict: Verdict) -> pd.DataFrame:
    """The ratio of R_med within layers, between them, and of all together: their product is exact."""
    rows = []
    for name in practice.NETWORKS:
        own = {unit.keys.part: unit for unit in verdict.units if unit.keys.problem == name}
        within = own.get(OWN) if name in IMAGES else own.get(None)
        parts = {"within layers": within, "between layers": own.get("between layers")}
        parts["all layers together"] = own.get("all layers together")
        if within is not None and within.interval is not None:
            texts = {words: interval_text(unit.interval) if unit else "" for words, unit in parts.items()}
            rows.append({"network": name, **texts})
    return pd.DataFrame(rows)


def taken_apart(frames: Mapping[str, pd.DataFrame], settled: int) -> pd.DataFrame:
    """R_med within layers as a largest entry over a median: a row a network.

    Columns: network; largest and median, each SGD over Adam with its interval, geometric means over layers, whose
    ratio is exactly that of R_med within layers; and by optimizer the layer that most often has the largest entry.
    """
    rows = []
    for name, frame in frames.items():
        by = ["run", "optimizer", "seed", "step", "batch"]
        wide = frame.pivot(index=by, columns="metric", values="value")
        inside, middle = (wide.filter(regex=f"^{start}").rename(columns=partial(_after, start)) for start in _PARTS)
        ratios, medians = inside.apply(np.log), middle.apply(np.log)
        largest = ratios + medians
        logs = pd.DataFrame({"largest": largest.mean(axis=1), "median": medians.where(largest.notna()).mean(axis=1)})
        tidy = logs.apply(np.exp).melt(var_name="metric", ignore_index=False).dropna().reset_index()
        found = {metric: log_ratios_along(tidy, metric, settled) for metric in ("largest", "median")}
        if not found["largest"].size:
            continue
        row: dict[str, object] = {"network": name}
        row |= {metric: mean_of(table.to_numpy(np.float64)).exp() for metric, table in found.items()}
        late = largest[largest.index.get_level_values("step") >= settled].dropna(how="all")
        holders = late.idxmax(axis=1).groupby("optimizer").agg(lambda own: own.mode().iloc[0])
        rows.append(row | {LABELS[str(each)]: layer for each, layer in holders.items()})
    return pd.DataFrame(rows)


def _after(start: str, metric: str) -> str:
    return metric.removeprefix(start)


def apart_table(parts: pd.DataFrame) -> pd.DataFrame:
    """:func:`taken_apart` in words."""
    shown = parts.copy()
    for column in {"largest", "median"} & set(shown):
        shown[column] = [interval_text(interval) for interval in parts[column]]
    return shown.rename(columns={label: f"largest of {label} in" for label in LABELS.values()})


def why_condition(parts: pd.DataFrame, entries: int) -> str:
    """What makes the ratio of R_med: largest entries or medians, in sentences; empty where nothing is measured."""
    if parts.empty:
        return ""
    rows = parts.to_dict("records")
    largest, median = (
        listed([f"{row['network']} {row[metric].estimate:.2g}" for row in rows]) for metric in ("largest", "median")
    )
    return (
        "**Where it comes from**: $R_\\mathrm{med}$ is a largest entry over a median. The largest of SGD over that of "
        f"Adam, geometric mean over layers: {largest}; the median likewise: {median}. They are those of {entries} "
        "random entries a layer, which seldom have the layer's largest: $R_\\mathrm{med}$ of whole layers is larger, "
        "and its ratio need not be the same."
    )


def zero_medians(frames: Mapping[str, pd.DataFrame], settled: int) -> str:
    """How often the median of all entries is zero, by network and optimizer, in a sentence; empty where nothing is."""
    parts = []
    for name, frame in frames.items():
        rows = frame[(frame["metric"] == PUBLIC) & (frame["step"] >= settled)]
        shares = np.isinf(rows["value"]).groupby(rows["optimizer"]).mean()
        if shares.any():
            parts.append(f"{name} " + ", ".join(f"{LABELS[str(each)]} {share:.0%}" for each, share in shares.items()))
    if not parts:
        return ""
    return (
        "Entries that are exactly zero, such as those of absent words or of units that are off in every example, are "
        "left out. With them the median is itself zero, and $R_\\mathrm{med}$ infinite, in this share of measurements: "
        f"{'; '.join(parts)}."
    )
