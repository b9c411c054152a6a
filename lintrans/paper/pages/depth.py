"""Tables and numbers of the page on depth."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ...statistics import Interval, band
from ...training.history import History
from ..claims.c9 import Gap
from ..claims.c12 import WAYS
from ..claims.common import judged_losses
from ..claims.depth import NAMES, Depths, Trained, contrast, end_losses, losses_of
from ..claims.records import Verdict
from ..claims.rules import Keys, State, Unit, ratio_unit, table_of
from ..measure import overflow
from ..problems import PROBLEMS
from ..protocol import COARSE_LOSS, LOSS
from ..scales import LABELS

FLOAT32_MOST = float(np.finfo(np.float32).max)
FEW = 3
"""Basins of one depth that the table lists; the rest is one row."""
GAP = ("grows", "shrinks", "stays", "the gap")
LOSSES = ("falls", "rises", "stays", "the loss")
TAIL = ("is heavier", "is lighter", "is alike", "the tail")
"""Words of :func:`tally` for a quantity."""
Frames = Mapping[str, pd.DataFrame]
Gaps = Mapping[int, Gap]
Histories = Mapping[str, History]


def tally(verdict: Verdict, more: str, less: str, alike: str, what: str = "it") -> str:
    """In how many of the cases that decide a quantity does more, less, neither, or is open: a sentence."""
    states = [unit.state for unit in verdict.units if unit.decides]
    sides = {more: (State.YES, State.WEAK), less: (State.REV,), alike: (State.NULL,)}
    counts = {words: sum(state in own for state in states) for words, own in sides.items()}
    parts = [f"{words} in {count}" for words, count in counts.items() if count]
    parts += [f"is open in {left}" for left in [len(states) - sum(counts.values())] if left]
    return f"{what} {', '.join(parts)} of {len(states)} cases."


def gains(trained: Trained) -> list[Unit]:
    """What the cooldown gains at each depth, end loss over the loss after it: a unit an optimizer."""
    found = []
    for layers, name in NAMES.items():
        ends, cooled = (end_losses(trained, layers, cool) for cool in (False, True))
        if ends is None or cooled is None:
            continue
        for optimizer, label in LABELS.items():
            ratio = contrast(losses_of(ends, optimizer), losses_of(cooled, optimizer))
            keys = Keys((name,), trained.budget.steps, optimizer)
            found.append(ratio_unit(f"L = {layers}, {label}", decades_text(ratio), ratio, keys=keys))
    return found


def decades_text(ratio: Interval | None) -> str:
    """A ratio as powers of ten: "3.7 decades [3.5, 3.9]"."""
    if ratio is None or not ratio.estimate > 0:
        return "not measured"
    own, low, high = (math.log10(value) if value > 0 else math.nan for value in (ratio.estimate, ratio.low, ratio.high))
    return f"{own:.2g} decades" + ("" if math.isnan(low) else f" [{low:.2g}, {high:.2g}]")


def longer(depths: Depths) -> list[Unit]:
    """End loss at the short horizon over that at the long one, each at rates tuned for it; which both horizons have.

    The statistic says what a cooldown gains after the longer run.
    """
    cooling = {(unit.keys.problem, unit.keys.optimizer): unit.statistic for unit in gains(depths.long)}
    found = []
    for layers, name in NAMES.items():
        short, long = (end_losses(trained, layers) for trained in (depths.short, depths.long))
        if short is None or long is None:
            continue
        for optimizer, label in LABELS.items():
            ratio = contrast(losses_of(short, optimizer), losses_of(long, optimizer))
            text, keys = cooling[name, optimizer], Keys((name,), None, optimizer)
            found.append(ratio_unit(f"L = {layers}, {label}", text, ratio, keys=keys))
    return found


def ends(trained: Trained, found: Gaps) -> pd.DataFrame:
    """Where the runs of each depth end, at the constant rate and after the cooldown, a row a depth and optimizer."""
    rows = []
    for unit in gains(trained):
        name, optimizer = str(unit.keys.problem), str(unit.keys.optimizer)
        layers = next(layers for layers, own in NAMES.items() if own == name)
        gap, table = found[layers], end_losses(trained, layers, cooled=True)
        assert table is not None
        done = gap.finished[optimizer]
        rows.append(
            {
                "model": PROBLEMS[name].title,
                "optimizer": LABELS[optimizer],
                "end loss": f"{gap.above[optimizer] * gap.floor:.2e}",
                "over f*": f"{gap.above[optimizer]:.3g}",
                "after the cooldown": f"{math.exp(float(losses_of(table, optimizer).mean())):.2e}",
                "gained": unit.statistic,
                "runs that reached the target": f"{int(done.sum())} of {len(done)}",
            }
        )
    return pd.DataFrame(rows)


def along(depths: Depths) -> pd.DataFrame:
    """The gap along every training and at its end: model, horizon, kind, step, estimate, low, high (ratios).

    Kinds: "along" the run (20 blocks), "tuned" (the end value), "cooled" (after the cooldown). A run worse than the
    zero predictor counts as that one.
    """
    rows: list[tuple[object, ...]] = []
    for trained in (depths.short, depths.long):
        for layers, name in NAMES.items():
            if name not in trained.histories:
                continue
            history, zero = trained.histories[name], PROBLEMS[name].task.zero_loss
            curve = history.metric(COARSE_LOSS).query("step <= @history.steps")
            curve = curve.assign(value=np.log(curve["value"].where(curve["value"] <= zero, zero)))
            wide = curve.pivot(index=["step", "seed"], columns="optimizer", values="value")
            logs = {"along": (wide["sgd"] - wide["adam"]).unstack("seed")}
            for cooled, kind in ((False, "tuned"), (True, "cooled")):
                table = end_losses(trained, layers, cooled)
                assert table is not None
                gap = losses_of(table, "sgd") - losses_of(table, "adam")
                last = int(history.metric(LOSS)["step"].max()) if cooled else history.steps
                logs[kind] = gap.to_frame(last).T
            for kind, values in logs.items():
                own = values.to_numpy(np.float64)
                numbers = np.exp(np.array([own.mean(-1), *band(own)]))
                head = (PROBLEMS[name].title, history.steps, kind)
                rows += [(*head, step, *found) for step, found in zip(values.index, numbers.T, strict=True)]
    return pd.DataFrame(rows, columns=["model", "horizon", "kind", "step", "estimate", "low", "high"])


def conditions(verdict: Verdict) -> pd.DataFrame:
    """Units of C12 as rows for a forest plot: case the depth, statistic the way to judge."""
    decided = {unit.keys.problems: unit.case for unit in verdict.units if unit.decides}
    cases = [decided[unit.keys.problems] for unit in verdict.units]
    ways = [WAYS[str(unit.keys.part or unit.keys.convention)] for unit in verdict.units]
    return table_of(verdict.units).assign(case=cases, statistic=ways)


def noise(tables: Frames) -> pd.DataFrame:
    """Width and tail side by side, a column a depth: medians over the initializations."""
    columns = {}
    for name, table in tables.items():
        middle = table[["median", "relative", "q99", "null_q99", "excess"]].median()
        columns[PROBLEMS[name].title] = {
            "median norm of the noise": f"{middle['median']:.3g}",
            "median norm / root of L": f"{middle['median'] / PROBLEMS[name].model.parameter_shape[0] ** 0.5:.3g}",
            "noise / gradient length": f"{middle['relative']:.2f}",
            "q99 / median": f"{middle['q99']:.2f}",
            "q99 / median of Gaussian noise of that covariance": f"{middle['null_q99']:.2f}",
            "E": f"{middle['excess']:.3f}",
            "initializations": f"{len(table)}",
        }
    return pd.DataFrame(columns).rename_axis("median over initializations").reset_index()


def isotropy(histories: Histories) -> dict[str, np.ndarray]:
    """Shares of the squared norm of Q that multiples of the identity carry, where finite, by depth."""
    shares = {PROBLEMS[name].title: overflow.isotropy(history.parameters()) for name, history in histories.items()}
    return {title: finite for title, share in shares.items() if len(finite := share[np.isfinite(share)])}


def _parts(frames: Frames) -> Iterator[tuple[str, dict[str, str], pd.DataFrame]]:
    """Problem, first cells of a row, and rows, of each problem and optimizer."""
    for name, frame in frames.items():
        for optimizer, rows in frame.groupby("optimizer", sort=False):
            yield name, {"model": PROBLEMS[name].title, "optimizer": LABELS[str(optimizer)]}, rows


def _batch_losses(met: pd.DataFrame, optimizer: str = "") -> pd.Series:
    losses = met[met["metric"] == "batch_loss"]
    return (losses[losses["optimizer"] == optimizer] if optimizer else losses)["value"]


def steps(histories: Histories, met: Frames) -> pd.DataFrame:
    """Clipped, skipped and diverged, and the largest batch loss met, a row a depth and optimizer."""
    rows = []
    ends = {name: judged_losses(history, PROBLEMS[name].task.zero_loss) for name, history in histories.items()}
    for name, cells, runs in _parts(ends):
        total = int(histories[name].metric(LOSS)["step"].max())
        losses = _batch_losses(met[name], runs["optimizer"].iloc[0])
        finite = losses[np.isfinite(losses)]
        numbers = {
            "steps clipped": f"{runs['clipped'].mean() / total:.1%}",
            "steps skipped, all runs": f"{int(runs['skipped'].sum())} of {total * len(runs):,}",
            "runs diverged": f"{int((runs['diverged'] >= 0).sum())} of {len(runs)}",
            "counted as the zero predictor": f"{int(runs['counted_as_zero'].sum())}",
            "median batch loss met": f"{losses.median():.2e}",
            "largest batch loss met": f"{finite.max():.1e}" if len(finite) else "none finite",
            "beyond float32": f"{int((losses > FLOAT32_MOST).sum())} of {len(losses):,} looked at",
        }
        rows.append(cells | numbers)
    return pd.DataFrame(rows)


def decades(met: Frames) -> dict[str, float]:
    """Powers of ten between the median and the largest batch loss met, by depth."""
    losses = {PROBLEMS[name].title: _batch_losses(frame) for name, frame in met.items()}
    good = {title: values[np.isfinite(values) & (values > 0)] for title, values in losses.items()}
    return {title: math.log10(values.max() / values.median()) for title, values in good.items() if len(values)}


def broken(history: History) -> pd.Series:
    """First step at which the gradient of a batch is not finite, of each run that meets one."""
    norms = history.metric("batch_gradient")
    first: pd.Series = norms[np.isinf(norms["value"])].groupby("run")["step"].min()
    return first


def precision(found: overflow.Precision) -> pd.DataFrame:
    """What the same short trainings meet in both precisions, a row an optimizer and precision."""
    rows = []
    for words, history in (("float32", found.single), ("float64", found.double)):
        last, first = history.metric(LOSS), broken(history)
        for optimizer, runs in history.runs.groupby("optimizer", sort=False):
            stops = first[first.index.isin(runs["run"])]
            losses = _batch_losses(history.frame, str(optimizer))
            seen = losses[np.isfinite(losses)]
            end = last[(last["optimizer"] == optimizer) & (last["step"] == history.steps)]["value"].median()
            rows.append(
                {
                    "optimizer": LABELS[str(optimizer)],
                    "precision": words,
                    "largest finite batch loss": f"{seen.max():.1e}" if len(seen) else "none",
                    "runs with a gradient that is not finite": f"{len(stops)} of {len(runs)}",
                    "first such step": ", ".join(f"{step:,}" for step in stops) or "none",
                    "steps skipped": f"{int(runs['skipped'].sum())}",
                    "runs diverged by our rule": f"{int((runs['diverged'] >= 0).sum())} of {len(runs)}",
                    "median typical loss at the end": f"{end:.2e}" if math.isfinite(end) else "infinite",
                }
            )
    return pd.DataFrame(rows)


def means(found: Frames) -> pd.DataFrame:
    """Mean against typical loss and the share of the ten worst prompts, medians over seeds, a row a depth."""
    rows, last = [], {name: frame[frame["prompts"] == frame["prompts"].max()] for name, frame in found.items()}
    for _, cells, runs in _parts(last):
        growth = runs["mean"] / runs["typical"]
        growth, middle = growth[np.isfinite(growth)], runs[["typical", "mean", "share"]].median()
        numbers = {
            "prompts": f"{int(runs['prompts'].iloc[0]):,}",
            "typical loss": f"{middle['typical']:.2e}",
            "mean loss": f"{middle['mean']:.2e}",
            "mean over typical, least and most of the seeds": (
                f"{growth.min():.3g} to {growth.max():.3g}" if len(growth) else "not finite"
            ),
            "share of the ten worst prompts": f"{middle['share']:.2%}",
        }
        rows.append(cells | numbers)
    return pd.DataFrame(rows)


def mean_growth(found: Frames) -> pd.DataFrame:
    """Mean loss of a run over all prompts by that over the fewest, where finite, a row a depth."""
    rows = []
    for name, frame in found.items():
        wide = frame.pivot_table(index=["optimizer", "seed"], columns="prompts", values="mean", aggfunc="first")
        first, last = wide.columns.min(), wide.columns.max()
        growth = (wide[last] / wide[first]).replace([np.inf, -np.inf], np.nan).dropna()
        rows.append((PROBLEMS[name].title, first, last, growth.median(), growth.min(), growth.max()))
    return pd.DataFrame(rows, columns=["model", "fewest", "most", "median", "least", "largest"]).dropna()


def finished(history: History, gap: Gap) -> np.ndarray:
    """Whether each run of a training was ever below the half-way target, cooldown included."""
    keys = zip(history.runs["optimizer"], history.runs["seed"], strict=True)
    return np.array([bool(gap.finished[key]) for key in keys])


@dataclass(frozen=True)
class Solutions:
    """Runs of one depth that reached the half-way target, by basin.

    Attributes:
        labels: a basin a run, -1 where it has none.
        counts: runs of each optimizer (columns) in each basin (rows).
        unfinished: runs of each optimizer that never reached the target.
        runs: all runs of each optimizer.
    """

    labels: np.ndarray
    counts: pd.DataFrame
    unfinished: dict[str, int]
    runs: dict[str, int]

    @property
    def shared(self) -> int:
        """Basins with runs of both optimizers."""
        return int((self.counts > 0).all(axis=1).sum())

    @property
    def comparable(self) -> bool:
        """Whether both optimizers have runs in a basin, so that it can be said which they share."""
        return bool((self.counts.sum() > 0).all())


def solutions(histories: Histories, gaps: Gaps) -> dict[str, Solutions]:
    """The basins of each depth, by its problem."""
    found = {}
    for layers, name in NAMES.items():
        if name not in histories:
            continue
        history, done = histories[name], finished(histories[name], gaps[layers])
        runs = history.runs.assign(basin=overflow.basins(history, done), unfinished=~done)
        inside = runs[runs["basin"] >= 0]
        counts = pd.crosstab(inside["basin"], inside["optimizer"]).reindex(columns=list(LABELS), fill_value=0)
        by = runs.groupby("optimizer")["unfinished"]
        lost, total = by.sum(), by.size()
        found[name] = Solutions(
            runs["basin"].to_numpy(),
            counts,
            {optimizer: int(lost[optimizer]) for optimizer in LABELS},
            {optimizer: int(total[optimizer]) for optimizer in LABELS},
        )
    return found


def described(found: Solutions) -> str:
    """What can be said of the solutions of one depth."""
    lost = [
        f"{found.unfinished[o]} of {found.runs[o]} runs of {label}"
        for o, label in LABELS.items()
        if found.unfinished[o]
    ]
    unfinished = f"{' and '.join(lost)} are unfinished; " if lost else ""
    if not found.comparable:
        return f"{unfinished}solutions of the two optimizers cannot be compared, since one of them has none"
    basins = len(found.counts)
    alike = f"{found.shared} of {basins} basins {'has' if found.shared == 1 else 'have'} runs of both optimizers"
    return f"{unfinished}{alike}" + ("" if found.shared else ", so that the gap in end loss compares solutions")


def basin_table(histories: Histories, found: Mapping[str, Solutions]) -> pd.DataFrame:
    """The basins of each depth, then its unfinished runs: at which scales, with which typical loss, a row each."""
    rows = []
    for name, own in found.items():
        history = histories[name]
        (_, q), last = overflow.scales(history.parameters()), history.metric(LOSS)
        losses = last[last["step"] == last["step"].max()].set_index("run")["value"].reindex(history.runs["run"])
        basins = [int(basin) for basin in own.counts.index]
        groups = {"ABCDEFGHIJ"[basin]: [basin] for basin in basins[:FEW]}
        groups |= {f"{len(basins) - FEW} further": basins[FEW:]} if len(basins) > FEW else {}
        for label, group in (groups | {"none: unfinished": [-1]}).items():
            inside = np.isin(own.labels, group)
            if not inside.any():
                continue
            middle = ", ".join(f"{value:.2f}" for value in np.median(q[inside], axis=0))
            count = history.runs[inside]["optimizer"].value_counts()
            rows.append(
                {
                    "model": PROBLEMS[name].title,
                    "basin": label,
                    **{f"{words} runs": f"{count.get(optimizer, 0)}" for optimizer, words in LABELS.items()},
                    "mean diagonals of Q, first to last layer": middle if len(group) == 1 else "various",
                    "median typical loss": f"{np.median(losses.to_numpy()[inside]):.2e}",
                }
            )
    return pd.DataFrame(rows)
