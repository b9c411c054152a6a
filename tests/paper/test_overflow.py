"""Why deep models overflow: formula against sampling, batches drawn again, worst prompts, basins, precision."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import lintrans as lt
from lintrans.diagnostics import batches, derivatives
from lintrans.diagnostics.batches import BatchLoss, batches_along, block_losses, worst_prompts
from lintrans.engines import choose
from lintrans.paper.figures import depth as figures
from lintrans.paper.figures.style import LARGEST
from lintrans.paper.measure import overflow
from lintrans.paper.problems import PROBLEMS
from lintrans.paper.scales import DEPTH_BUDGETS
from lintrans.random import Stream
from lintrans.training.probes import TypicalLoss

MODEL, TASK = lt.LinearTransformer(layers=2, d=2), lt.LinearRegression(d=2, n=4)


@pytest.fixture(autouse=True)
def by_torch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is small here takes longer to compile than to compute; the slow tests take the compiled loops."""
    if "slow" not in request.keywords:
        monkeypatch.setattr(batches, "choose", lambda _, plan: choose("reference", plan))
        monkeypatch.setattr(derivatives, "_loops", lambda *_: None)


def isotropic(p: list[float], q: list[float], d: int = 2) -> torch.Tensor:
    """Parameters of one run, P_l = p_l I and Q_l = q_l I."""
    values = torch.tensor([p, q], dtype=torch.float64).T  # [layers, (P, Q)]
    return values[:, None, :, None, None] * torch.eye(d, dtype=torch.float64)


def test_the_share_left_is_that_of_the_model() -> None:
    """Per prompt: with w and x along one eigenvector the squared error is the share times the squared answer."""
    p, q = [0.3, -0.2, 0.1], [-0.6, -1.5, -3.0]
    model = lt.LinearTransformer(layers=3, d=2)
    eigenvalue = 1.7
    s = torch.tensor([[eigenvalue, 0.0], [0.0, 0.4]], dtype=torch.float64)
    w, x = torch.tensor([1.3, 0.0]).double(), torch.tensor([0.7, 0.0]).double()
    prompt = lt.Moments(s[..., None], (s @ w)[:, None], (w @ s @ w)[None], x[:, None], (w @ x)[None])
    left = ((model.predict(isotropic(p, q), prompt) - prompt.target) / prompt.target) ** 2
    found = overflow.log_share(np.array(p), np.array(q), np.array([eigenvalue]))
    assert float(left.log10()) == pytest.approx(float(found[0]), rel=1e-12)


def test_the_share_has_degree_three_to_the_layers() -> None:
    """Log-log slope of the square far out: 3^L - 1, beyond what any float holds."""
    far = np.array([1e6, 1e7])
    for layers in (1, 2, 4, 8):
        values = overflow.log_share(np.full(layers, 0.5), np.full(layers, -0.7), far)
        assert values[1] - values[0] == pytest.approx(3**layers - 1, rel=1e-4)
    near = overflow.log_share(np.array([0.0]), np.array([-0.5]), np.array([2.0, 1.0]))
    assert near[0] == -math.inf
    assert near[1] == pytest.approx(math.log10(0.25))


def test_longer_prompts() -> None:
    """Factor 1 is the plain prompts; zero parameters leave the whole answer at any length."""
    setting = replace(PROBLEMS["depth 2"], model=MODEL, task=TASK)
    middle, high = overflow.lengthened(setting, torch.zeros(MODEL.parameter_shape), np.array([1.0, 3.0]), 200)
    prompts = TASK.sample_moments(200, 0, 0, stream=Stream.EVALUATION, dtype=torch.float64)
    squares = prompts.target**2
    assert middle.tolist() == pytest.approx([float((squares / squares.mean()).log10().median())] * 2, abs=0.05)
    assert (high > middle).all()


def runs_of(count: int = 2) -> lt.Runs:
    return lt.grid(optimizer=[lt.SGD(), lt.Adam()], lr=0.05, seed=range(count))


def test_batches_are_those_that_training_met() -> None:
    """Drawn again at kept parameters: the same losses as while it trained, and as the gradient the step was made of."""
    probe = BatchLoss(every=2)
    history = lt.train(
        MODEL, TASK, runs_of(), steps=4, batch=30, clip=1.0, probes=[probe], snapshots=range(5), engine="reference",
        dtype="float64", cooldown=2,
    )  # fmt: skip
    again = batches_along(history, MODEL, TASK, 30, (0, 2, 4))
    met = history.frame[history.frame["metric"].isin(["batch_loss", "batch_gradient"])]
    keys = ["metric", "step", "run"]
    merged = met.merge(again, on=keys, suffixes=("", "_again"))
    assert len(merged) == len(met) == 2 * 3 * 4
    assert merged["value"].to_numpy() == pytest.approx(merged["value_again"].to_numpy(), rel=1e-9)
    prompts = TASK.sample_moments(30, 1, 2, dtype=torch.float64)  # seed 1, step 2
    loss = float(MODEL.loss(history.parameters(2)[3], prompts))
    own = again.query("metric == 'batch_loss' and step == 2 and run == 3")
    assert float(own["value"].iloc[0]) == pytest.approx(loss, rel=1e-9)
    assert probe.times(4, 6) == {0, 2, 4}
    assert probe.times(4, 4) == {0, 2}


def test_a_batch_beyond_the_precision_is_infinite() -> None:
    model = lt.LinearTransformer(layers=4, d=2)
    huge = isotropic([1e3] * 4, [1e3] * 4).float()[None]
    history = lt.History(
        pd.DataFrame(), runs_of(1).frame.head(1).assign(skipped=0, clipped=0, diverged=-1), {0: huge}, 1
    )
    found = batches_along(history, model, TASK, 10, [0]).set_index("metric")["value"]
    assert found.to_dict() == {"batch_loss": math.inf, "batch_gradient": math.inf}


def test_blocks_and_their_worst_prompts() -> None:
    """Block losses are those behind the typical loss; the worst prompts those of a search through all."""
    parameters = MODEL.init([0, 1], dtype=torch.float64) * 4
    losses = block_losses(MODEL, TASK, parameters, 6)
    assert losses.shape == (2, 6)
    each = []
    for step in range(6):
        prompts = TASK.sample_moments(1000, 0, step, stream=Stream.EVALUATION, dtype=torch.float64)
        each.append((MODEL.predict(parameters, prompts) - prompts.target) ** 2)
    assert torch.allclose(losses, torch.stack([errors.mean(-1) for errors in each], dim=-1))
    expected = torch.stack(each, dim=1).flatten(1).sort(descending=True).values
    worst = worst_prompts(MODEL, TASK, parameters, losses, count=3)
    assert worst.shape == (2, 3)
    assert (worst <= expected[:, :3] * (1 + 1e-9)).all()
    assert torch.allclose(worst_prompts(MODEL, TASK, parameters, losses, count=6), expected[:, :6])
    assert (worst.diff(dim=-1) <= 0).all()


def history_with(parameters: torch.Tensor, diverged: tuple[int, ...] = ()) -> lt.History:
    runs = runs_of(len(parameters) // 2).frame
    table = runs.assign(skipped=0, clipped=0, diverged=[3 if run in diverged else -1 for run in runs["run"]])
    return lt.History(pd.DataFrame(), table, {5: parameters}, 5, key="made up")


def test_basins_are_groups_of_close_scales() -> None:
    one, two = isotropic([0.3, 0.0], [-0.6, -2.0]), isotropic([0.3, 0.0], [-0.6, -4.0])
    flipped = isotropic([0.3, 0.0], [0.6, -2.0])
    parameters = torch.stack([two, one, one * 1.2, one * 1.3, flipped, one])
    everyone = np.ones(6, bool)
    labels = overflow.basins(history_with(parameters, diverged=(5,)), everyone)
    assert labels[[1, 2, 3]].tolist() == [0, 0, 0]
    assert labels[5] == -1
    assert sorted(labels[[0, 4]].tolist()) == [1, 2]
    unfinished = overflow.basins(history_with(parameters, diverged=(5,)), np.arange(6) != 4)
    assert unfinished.tolist() == [1, 0, 0, 0, -1, -1]
    assert overflow.basins(history_with(torch.full_like(parameters, math.nan)), everyone).tolist() == [-1] * 6


def test_basins_hold_for_all_pairs() -> None:
    """A chain of runs, each close to the next, is not one basin."""
    chain = torch.stack([isotropic([0.0, 0.0], [-(1.3**k), -1.0]) for k in range(6)])
    labels = overflow.basins(history_with(chain), np.ones(6, bool))
    assert len(set(labels.tolist())) == 3
    q = overflow.scales(chain)[1][:, 0]
    for label in set(labels.tolist()):
        own = q[labels == label]
        assert own.min() / own.max() <= overflow.CLOSE


def test_isotropy_and_scales() -> None:
    parameters = isotropic([0.3, 0.1], [-0.6, -2.0])[None].clone()
    parameters[0, 1, 0, 1, 0, 1] = 2.0  # off the diagonal, as large as one entry on it
    p, q = overflow.scales(parameters)
    assert p.tolist() == pytest.approx(np.array([[0.3, 0.1]]))
    assert q.tolist() == pytest.approx(np.array([[-0.6, -2.0]]))
    assert overflow.isotropy(parameters)[0].tolist() == pytest.approx([1.0, 8 / 12])


@pytest.mark.parametrize(("most", "sizes"), [(1, [1]), (3, [1, 2, 3]), (30, [1, 2, 5, 10, 20, 30]), (2, [1, 2])])
def test_ladder(most: int, sizes: list[int]) -> None:
    assert overflow.ladder(most) == sizes


def test_mean_against_typical_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean of all blocks, their median, and the share of the worst prompts; figures of what is found."""
    monkeypatch.setenv("LINTRANS_STORE", str(tmp_path))
    setting = replace(PROBLEMS["depth 2"], model=MODEL, task=TASK)
    monkeypatch.setattr(overflow, "PROBLEMS", {"depth 2": setting})
    parameters = torch.cat([MODEL.init([0, 1], dtype=torch.float64)] * 2)
    history = history_with(parameters)
    frame = overflow.means({"depth 2": history}, 3)["depth 2"]
    losses = block_losses(MODEL, TASK, parameters, 3)
    last = frame[frame["prompts"] == 3000].reset_index(drop=True)
    assert last["mean"].to_numpy() == pytest.approx(losses.mean(-1).numpy())
    assert last["typical"].to_numpy() == pytest.approx(losses.quantile(0.5, dim=-1).numpy())
    share = worst_prompts(MODEL, TASK, parameters, losses).sum(-1) / (losses.mean(-1) * 3000)
    assert last["share"].to_numpy() == pytest.approx(share.numpy())
    assert list(frame["prompts"].unique()) == [1000, 2000, 3000]
    assert len(figures.running_means({"depth 2": frame}).axes) == 1
    met = overflow.batches_met({"depth 2": replace(history, snapshots={0: parameters})}, 20, 5, 1)
    assert set(met["depth 2"]["step"]) == {0}
    assert len(figures.batches_met(met).axes) == 1


@pytest.mark.parametrize("top", [1e150, 3e260, 1e300, 1.7e308, np.inf])
def test_figures_hold_the_largest_losses(top: float) -> None:
    """Deep models meet prompts whose loss is near the end of float64, or beyond."""
    rows = [
        {"optimizer": o, "seed": 0, "metric": "batch_loss", "step": step, "prompts": 1000 * (step + 1), "value": value,
         "mean": value, "typical": 0.5}
        for o in ("sgd", "adam") for step, value in enumerate((0.1, 1.0, top))
    ]  # fmt: skip
    frame = pd.DataFrame(rows)
    for figure in (figures.batches_met({"depth 8": frame}), figures.running_means({"depth 8": frame})):
        figure.canvas.draw()
        low, high = figure.axes[0].get_ylim()
        assert low < 0.1
        assert high > (top if top <= LARGEST else 1.0)


@pytest.mark.slow
def test_float32_ends_where_float64_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight layers, Adam at 0.01, seed 0: single precision meets a gradient it cannot hold within 800 steps."""
    monkeypatch.setenv("LINTRANS_STORE", str(tmp_path))
    setting = PROBLEMS["depth 8"]
    runs = lt.grid(optimizer="adam", lr=0.01, clip=1.0, seed=0)
    last = TypicalLoss(blocks=2, at=(800,))
    history = lt.train(setting.model, setting.task, runs, steps=800, probes=[last])
    budget = replace(DEPTH_BUDGETS["paper"], precision_seeds=1, precision_steps=800)
    found = overflow.precision("depth 8", history, budget)
    norms = {name: getattr(found, name).metric("batch_gradient")["value"] for name in ("single", "double")}
    assert np.isinf(norms["single"]).any()
    assert np.isfinite(norms["double"]).all()
    assert found.double.runs["skipped"].tolist() == [0]
