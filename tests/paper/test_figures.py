"""Figures show what they say, byte for byte the same for the same numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from drawn import svg, texts
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

import lintrans as lt
from lintrans.paper import figures, protocol
from lintrans.paper.budgets import Budget
from lintrans.paper.problems import SETTINGS
from lintrans.paper.protocol import COARSE_LOSS, Choice, Tuning
from lintrans.paper.scales import PAPER_SEEDS
from lintrans.statistics import two_way

BUDGET = Budget(settings=("1", "3"), steps=20, seeds=2, batch=20, blocks=1, every=5)


def trained(budget: Budget) -> dict[str, lt.History]:
    return {
        name: protocol.train_to_judge(
            SETTINGS[name], protocol.published_runs(SETTINGS[name], range(budget.seeds)), budget, name
        )
        for name in budget.settings
    }


@pytest.fixture(autouse=True)
def style() -> None:
    figures.use()


def test_loss_curves() -> None:
    histories = trained(BUDGET)
    figure = figures.loss_curves(histories)
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "log"]
    assert figure.axes[0].get_ylabel()
    for axes, history in zip(figure.axes, histories.values(), strict=True):
        losses = history.metric("test_loss")
        mean = losses[(losses["optimizer"] == "adam") & (losses["step"] <= 20)].groupby("step")["value"].mean()
        assert any(np.array_equal(np.asarray(line.get_ydata()), mean) for line in axes.lines)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [
        "SGD",
        "Adam",
        "median",
        "95% interval of the geometric mean",
        "single seeds, the first 6 at most",
    ]
    assert svg(figure) == svg(figures.loss_curves(histories))


def test_loss_curves_of_one_seed() -> None:
    svg(figures.loss_curves(trained(replace(BUDGET, settings=("1",), seeds=1))))


def test_loss_against_rate_marks_the_best_and_the_lost() -> None:
    losses = pd.DataFrame(
        {
            "optimizer": ["sgd"] * 4 + ["adam"] * 4,
            "lr": [0.01, 0.1, 1.0, 10.0] * 2,
            "clip": 1.0,
            "seed": 1000,
            "steps": 40,
            "loss": [1.0, 0.1, 7.0, np.inf] * 2,
            "screened": True,
        }
    )
    best = {name: Choice(0.1, 1.0, 0.1, True, 40) for name in ("sgd", "adam")}
    figure = figures.loss_against_rate({"1": Tuning("1", losses, best, False)})
    [axes] = figure.axes
    assert axes.get_title() == "Setting 1\n40 steps"
    stars = [line for line in axes.lines if line.get_marker() == "*"]
    assert [float(np.asarray(line.get_xdata())[0]) for line in stars] == [0.1, 0.1]
    lost = [line for line in axes.lines if line.get_marker() == "^"]
    assert [list(np.asarray(line.get_xdata())) for line in lost] == [[1.0, 10.0]] * 2
    assert svg(figure)


def test_the_best_rate_stands_on_the_curve_of_its_horizon() -> None:
    """What the grid shows after fewer steps is pale; rates that are no neighbours are not joined."""
    rates, later = [0.01, 0.1, 1.0], [0.05, 0.1, 0.2, 1.0]
    rows = [(o, lr, 1.0, 1000, 40, 1.0, True) for o in ("sgd", "adam") for lr in rates]
    rows += [(o, lr, 1.0, 1000, 100, 0.1 if lr == 0.1 else 0.3, False) for o in ("sgd", "adam") for lr in later]
    losses = pd.DataFrame(rows, columns=["optimizer", "lr", "clip", "seed", "steps", "loss", "screened"])
    best = {name: Choice(0.1, 1.0, 0.1, True, 100) for name in ("sgd", "adam")}
    [axes] = figures.loss_against_rate({"1": Tuning("1", losses, best, True)}).axes
    assert axes.get_title() == "Setting 1\n100 steps (pale: 40)"
    stars = [line for line in axes.lines if line.get_marker() == "*"]
    assert [float(np.asarray(line.get_ydata())[0]) for line in stars] == [0.1, 0.1]
    curves = [line for line in axes.lines if line.get_marker() == "None" and line.get_alpha() == 1.0]
    dark = [np.asarray(line.get_ydata(), dtype=float).tolist() for line in curves]
    assert dark == [pytest.approx([0.3, 0.1, 0.3, math.nan, 0.3], nan_ok=True)] * 2


def test_the_fixed_batch_beside_the_typical_loss_does_not_set_the_axis() -> None:
    """One bad prompt lifts the batch a million fold; the panel stays that of the typical loss, each its own."""
    frames = {}
    for name, history in trained(replace(BUDGET, settings=("1", "3"))).items():
        wild = (history.frame["metric"] == "test_loss") & (history.frame["step"] == 15)
        scaled = history.frame["value"].where(~wild, 1e6)
        frames[name] = replace(history, frame=history.frame.assign(value=scaled))
    figure = figures.loss_curves(frames, COARSE_LOSS, batch="test_loss")
    typical = frames["1"].metric(COARSE_LOSS).query("step <= 20")["value"]
    low, high = figure.axes[0].get_ylim()
    assert low < typical.min() < typical.max() < high < 100
    assert figure.axes[0].get_ylim() != figure.axes[1].get_ylim()
    assert figure.axes[0].get_ylabel() == "typical loss"
    drawn = [np.asarray(line.get_ydata(), dtype=float).max() for line in figure.axes[0].lines]
    assert drawn.count(1e6) == 2, "cut off, not left out"
    assert "one fixed batch, median" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_one_layer_loss() -> None:
    x = np.linspace(-1, 1, 5)
    figure = figures.one_layer_loss(x, x**2, np.stack([x**2, x**2 + 0.1]), 0.0)
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "least possible loss",
        "exact",
        "sampled, one dot a seed",
    ]


Value = Callable[[int, str, int], float]


def measured(steps: tuple[int, ...] = (0, 5, 10), seeds: int = 3, **metrics: Value) -> pd.DataFrame:
    """A tidy frame of measurements along a training; each a function of seed, optimizer and step, alike on batches."""
    rows = [
        (optimizer, seed, step, metric, value(seed, optimizer, step), batch)
        for optimizer in ("sgd", "adam")
        for seed in range(seeds)
        for step in steps
        for metric, value in metrics.items()
        for batch in (-1, 0, 1, 2)
    ]
    return pd.DataFrame(rows, columns=["optimizer", "seed", "step", "metric", "value", "batch"])


def spoiled(frame: pd.DataFrame) -> pd.DataFrame:
    """The same with one bad prompt in the fixed batch and in one of three evaluation batches."""
    return frame.assign(value=frame["value"].where(~frame["batch"].isin((-1, 1)), 1e8))


def smooth(seed: int, optimizer: str, step: int) -> float:
    return (1.0 + seed) * (2.0 if optimizer == "sgd" else 1.0) * (1 + step)


def signed(seed: int, optimizer: str, step: int) -> float:
    return smooth(seed, optimizer, step) * (-0.01 if step == 5 else 1.0)


CONDITIONS = {"1": measured(r_lower=smooth, seeds=PAPER_SEEDS + 2), "3": measured(r_lower=smooth, seeds=1)}
SMOOTHNESS = {"1": measured(directional_smoothness=signed), "2": measured(directional_smoothness=smooth)}
GAINS = {"1": measured(lr_smoothness=smooth, local_gain=smooth)}
NORMS = {
    "1": measured(spectral_norm=lambda s, o, k: -1.0 if (s, k) == (1, 5) else smooth(s, o, k), gradient_norm=smooth)
}
BOUNDS = pd.DataFrame([("1", "adam", 2.0, 0.5), ("1", "sgd", 9.0, 9.0)], columns=["setting", "optimizer", "l0", "l1"])
FOREST = pd.DataFrame(
    [
        ("setting 1", "lower", 2.0, 1.5, 3.0),
        ("setting 1", "midpoint", 0.5, 0.4, 0.6),
        ("setting 2", "lower", 1.5, math.nan, math.nan),
        ("setting 2", "midpoint", math.nan, math.nan, math.nan),
    ],
    columns=["case", "statistic", "estimate", "low", "high"],
)
CELLS = pd.DataFrame(
    {
        "setting": ["1", "1", "2", "3"],
        "lr": 0.1,
        "batch": 0,
        "seed": [0, 1, 0, 0],
        "curvature": np.log([2.0, 4.0, 0.5, 3.0]),
        "speed": [math.log(3.0), math.nan, math.log(0.25), math.log(1.0)],
    }
)


SPLIT = pd.DataFrame(
    [("1", step, part, ratio, 0.9 * ratio, 1.1 * ratio) for step in (0, 5) for part, ratio in
     (("public", 6.0), ("within", 1.5), ("between", 8.0), ("convention", 0.5))],
    columns=["setting", "step", "part", "ratio", "low", "high"],
)  # fmt: skip


@pytest.mark.parametrize(
    ("draw", "labels"),
    [
        (lambda: figures.condition_curves(CONDITIONS, (5,)),
         ["robust condition number R_med", "step", "Setting 1", "Setting 3", "SGD", "Adam", "judged steps",
          "seeds and batches, 95% interval", "the paper's fixed batch, 6 seeds at most"]),
        (lambda: figures.split_curves(SPLIT, (5,)),
         ["ratio, SGD over Adam", "Setting 1", "between blocks", "within blocks", "convention"]),
        (lambda: figures.forest(FOREST, "ratio"), ["ratio", "setting 1", "setting 2", "lower", "midpoint"]),
        (lambda: figures.smoothness_curves(SMOOTHNESS),
         ["directional smoothness v'Hv", "step", "Setting 1", "Setting 2", "middle half of the seeds", "SGD", "Adam"]),
        (lambda: figures.gain_curves(GAINS, 0.9),
         ["lr v'Hv", "local gain (loss)", "step", "Setting 1", "stability bound of momentum SGD"]),
        (lambda: figures.speed_against_smoothness(CELLS),
         ["median v'Hv, SGD / Adam", "steps to target, SGD / Adam", "Setting 1", "Setting 2", "Setting 3"]),
        (lambda: figures.norms_scatter(NORMS, BOUNDS),
         ["spectral norm of the Hessian", "gradient norm", "Setting 1", "L0 + L1 · gradient norm (95% quantile)"]),
    ],
)  # fmt: skip
def test_figures_of_curvature(draw: Callable[[], Figure], labels: list[str]) -> None:
    """Every label is there, and the same numbers give the same bytes."""
    figure = draw()
    assert set(labels) <= texts(figure)
    assert svg(figure) == svg(draw())


def points(line: Line2D) -> np.ndarray:
    """The points of a line, a row each."""
    return np.asarray(line.get_xydata(), dtype=float)


def thick(axes: Axes) -> list[np.ndarray]:
    """The heights of the curves of an axes, SGD's before Adam's."""
    return [np.asarray(line.get_ydata(), dtype=float) for line in axes.lines if 1.3 < line.get_linewidth() < 2]


def test_condition_curves_are_geometric_means() -> None:
    """Of all seeds and evaluation batches, with the two-way interval as bars; of the paper's sample, thin."""
    [axes, other] = figures.condition_curves(CONDITIONS, (5, 10)).axes
    assert (axes.get_yscale(), other.get_yscale()) == ("log", "log")
    few, everyone = np.arange(1.0, PAPER_SEEDS + 1), np.arange(1.0, PAPER_SEEDS + 3)
    steps = np.array([1.0, 6.0, 11.0])
    np.testing.assert_allclose(thick(axes)[0], 2 * steps * np.exp(np.log(everyone).mean()))
    np.testing.assert_allclose(thick(axes)[1], steps * np.exp(np.log(everyone).mean()))
    thin = [points(line)[:, 1] for line in axes.lines if line.get_linewidth() == 0.7]
    np.testing.assert_allclose(thin, np.outer([2.0, 1.0], steps * np.exp(np.log(few).mean())))
    bars = [segment for each in axes.collections for segment in each.get_segments()]  # type: ignore[attr-defined]
    interval = two_way(np.log(np.repeat(2 * everyone[:, None], 3, axis=1))).exp()
    np.testing.assert_allclose(bars[0][:, 1], [interval.low, interval.high], rtol=1e-9)
    assert len(bars) == 6
    assert not other.collections  # one seed has no interval
    dense = {"1": measured((0, 2, 4), r_lower=lambda *_: 3.0)}
    [axes] = figures.condition_curves({"1": CONDITIONS["1"]}, (), dense=dense).axes
    assert [points(line)[:, 0].tolist() for line in axes.lines if line.get_linewidth() == 0.7] == [[0, 2, 4]] * 2


def test_a_diverged_seed_is_left_out_where_it_is_lost() -> None:
    frame = CONDITIONS["1"]
    lost = (frame["optimizer"] == "sgd") & (frame["seed"] == 1) & (frame["step"] == 10)
    left = np.array([seed + 1.0 for seed in range(PAPER_SEEDS + 2) if seed != 1])
    for table in (frame[~lost], frame.assign(value=frame["value"].where(~lost, math.inf))):
        [axes] = figures.condition_curves({"1": table}, (5,)).axes
        whole = figures.condition_curves({"1": frame}, (5,)).axes[0]
        np.testing.assert_allclose(thick(axes)[0][:2], thick(whole)[0][:2])
        np.testing.assert_allclose(thick(axes)[0][2], 22 * np.exp(np.log(left).mean()))
        np.testing.assert_allclose(thick(axes)[1], thick(whole)[1])


def test_the_curves_of_a_split_multiply() -> None:
    [axes] = figures.split_curves(SPLIT, ()).axes
    heights = [points(line)[:, 1] for line in axes.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(heights[1] * heights[2] * heights[3], heights[0])
    assert len(axes.collections) == 3  # intervals of the factors
    svg(figures.split_curves(SPLIT[:0], ()))


def test_one_bad_prompt_does_not_move_the_typical_curve() -> None:
    """Not in one of three evaluation batches; where the fixed batch has it, the thin line shows it."""
    frame = SMOOTHNESS["2"]
    axes, other = (figures.smoothness_curves({"2": table}).axes[0] for table in (frame, spoiled(frame)))
    np.testing.assert_allclose(thick(other), thick(axes))
    [thin, _] = [points(line)[:, 1] for line in other.lines if line.get_linewidth() == 0.7]
    np.testing.assert_allclose(thin, 1e8)
    typical, bad = (figures.norms_scatter({"1": table}, BOUNDS).axes[0] for table in (NORMS["1"], spoiled(NORMS["1"])))
    dots = [np.asarray(each.collections[0].get_offsets()) for each in (typical, bad)]
    np.testing.assert_allclose(dots[1], dots[0])


def test_labels_of_signed_axes_stand_apart() -> None:
    """Over many decades nothing stands so close to zero that it would overprint it."""
    frame = measured(
        tuple(range(40)), directional_smoothness=lambda s, o, k: (-1) ** k * 10.0 ** (k / 2 - 8) * (1 + 0.1 * s)
    )
    figure = figures.smoothness_curves({"1": frame})
    svg(figure)
    axes = figure.axes[0]
    low, high = axes.get_ylim()
    ticks = np.array([tick for tick in axes.get_yticks() if low <= tick <= high])
    places = axes.transData.transform(np.stack([np.zeros_like(ticks), ticks], 1))[:, 1]
    assert 0.0 in ticks
    assert (ticks > 0).any()
    assert (ticks < 0).any()
    assert np.diff(places).min() > 0.06 * axes.bbox.height


@pytest.mark.parametrize(("top", "labels"), [(1.5, 3), (6.0, 3), (20.0, 4), (1e4, 2)])
def test_logarithmic_axes_have_numbers(top: float, labels: int) -> None:
    """Also those shorter than a decade and a half, which may hold no power of ten."""
    cells = CELLS.assign(curvature=np.log([1.1, top, 1.1, 1.1]), speed=np.log([1.1, top, 1.1, 1.1]))
    axes = figures.speed_against_smoothness(cells).axes[0]
    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        ticks = [tick for tick in axis.get_majorticklocs() if low <= tick <= high]
        assert len(ticks) >= labels
        assert all(axis.get_major_formatter().format_ticks(ticks))


def test_negative_curvature_is_seen() -> None:
    """On an axis that is logarithmic on both sides of zero, the curve below zero stands apart from it."""
    figure = figures.smoothness_curves(SMOOTHNESS)
    svg(figure)
    axes = figure.axes[0]
    assert axes.get_yscale() == "symlog"
    middle = thick(axes)[0]
    np.testing.assert_allclose(middle, [4.0, -0.24, 44.0])
    low, high = axes.get_ylim()
    assert low < -0.24 < 0 < 44 < high
    heights = axes.transData.transform([(0, value) for value in (-0.24, 0.0, high, low)])[:, 1]
    assert (heights[1] - heights[0]) > 0.02 * (heights[2] - heights[3])
    assert len(axes.collections) == 2  # the middle half of the seeds of each optimizer


def test_missing_seeds_are_harmless_in_curves_of_smoothness() -> None:
    frame = SMOOTHNESS["1"]
    lost = (frame["seed"] == 2) & (frame["step"] > 0)
    for table in (frame[~lost], frame.assign(value=frame["value"].where(~lost, math.nan))):
        figure = figures.smoothness_curves({"1": table})
        np.testing.assert_allclose(thick(figure.axes[0])[0], [4.0, -0.18, 33.0])
        svg(figure)
    flat = measured(directional_smoothness=lambda s, o, k: 0.0)
    svg(figures.smoothness_curves({"1": flat}))


def test_forest_rows() -> None:
    """Points and intervals at their values, cases from top to bottom, the line of no difference."""
    [axes] = figures.forest(FOREST, "ratio").axes
    assert axes.get_xscale() == "log"
    assert axes.yaxis_inverted()
    spans = [list(np.asarray(line.get_xdata(), dtype=float)) for line in axes.lines if len(points(line)) == 2]
    assert spans[0] == [1.0, 1.0]
    assert spans[1:3] == [[1.5, 3.0], [0.4, 0.6]]
    marks = [line for line in axes.lines if len(points(line)) == 1]
    assert [float(np.asarray(line.get_xdata())[0]) for line in marks][:3] == [2.0, 0.5, 1.5]
    assert marks[0].get_marker() == marks[2].get_marker() != marks[1].get_marker()
    assert marks[0].get_color() == marks[2].get_color() != marks[1].get_color()
    heights = [float(np.asarray(line.get_ydata())[0]) for line in marks]
    assert heights == sorted(heights)
    [plain] = figures.forest(FOREST, "share", reference=0.5, log=False).axes
    assert plain.get_xscale() == "linear"
    assert list(np.asarray(plain.lines[0].get_xdata())) == [0.5, 0.5]
    svg(figures.forest(FOREST[3:], "nothing"))


def test_gains_show_the_bound_of_stability() -> None:
    upper, lower = figures.gain_curves(GAINS, 0.9).axes
    assert (upper.get_yscale(), lower.get_yscale()) == ("log", "log")
    assert any(list(np.asarray(line.get_ydata())) == [3.8, 3.8] for line in upper.lines)
    np.testing.assert_allclose(thick(upper)[0], [4.0, 24.0, 44.0])  # the median seed, SGD
    own = GAINS["1"]
    gone = (own["metric"] == "local_gain") & (own["optimizer"] == "sgd")
    svg(figures.gain_curves({"1": own[~gone]}, 0.9))  # SGD met no positive curvature


def test_speed_against_smoothness_shows_ratios() -> None:
    """A dot a cell that has both, a panel a setting; the lines of no difference; nothing to show is no error."""
    every = figures.speed_against_smoothness(CELLS).axes
    dots = [line for axes in every for line in axes.lines if line.get_linestyle() == "None"]
    seen = sorted((float(x), float(y)) for line in dots for x, y in points(line))
    np.testing.assert_allclose(seen, [(0.5, 0.25), (2.0, 3.0), (3.0, 1.0)])
    svg(figures.speed_against_smoothness(CELLS.assign(speed=math.nan)))
    svg(figures.speed_against_smoothness(CELLS[:0]))


def test_norms_lie_beside_the_bound() -> None:
    """One dot a positive pair, and the line of the optimizer that is shown, not of the other."""
    figure = figures.norms_scatter(NORMS, BOUNDS)
    axes = figure.axes[0]
    dots = np.asarray(axes.collections[0].get_offsets())
    assert len(dots) == 8  # of nine, one is negative
    np.testing.assert_allclose(dots[:, 0], dots[:, 1])
    [line] = [line for line in axes.lines if len(points(line)) == 100]
    x, y = np.asarray(line.get_xdata(), dtype=float), np.asarray(line.get_ydata(), dtype=float)
    np.testing.assert_allclose(y, 2.0 + 0.5 * x)
    assert (x.min(), x.max()) == pytest.approx((dots[:, 0].min(), dots[:, 0].max()))
    other = figures.norms_scatter(NORMS, BOUNDS[:0], optimizer="sgd", metric="gradient_norm")
    assert other.axes[0].get_ylabel() == "gradient norm"
    assert not [line for line in other.axes[0].lines if len(points(line)) == 100]


def test_a_figure_of_nothing_says_why() -> None:
    [axes] = figures.smoothness_curves({}).axes
    assert [text.get_text() for text in axes.texts] == ["no best rate was found inside the grid: not measured"]
