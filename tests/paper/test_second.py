"""The second implementation against known answers, what it finds where the first is wrong, and its page."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import made_up
import numpy as np
import pandas as pd
import pytest
import torch
from made_up import unit
from matplotlib.lines import Line2D
from torch import Tensor

import lintrans as lt
from lintrans import settings
from lintrans.engines.cpu import compiling
from lintrans.engines.reference import ReferenceEngine
from lintrans.models.embedded import EmbeddedTransformer, FeatureRegression
from lintrans.models.transformer import TensorModel
from lintrans.paper import claims, figures
from lintrans.paper.budgets import ComparisonBudget
from lintrans.paper.claims import Keys, State, Unit, c14, scorecard
from lintrans.paper.claims.common import Basis
from lintrans.paper.claims.contradictions import Contradiction, basis, contradictions, missing
from lintrans.paper.pages import double_check as tables
from lintrans.paper.pages import scorecard as shown
from lintrans.paper.problems import LARGER, NONLINEAR, PROBLEMS, SIZES
from lintrans.paper.second import compare, long, plain
from lintrans.random import Stream
from lintrans.store.store import Store
from lintrans.training.runs import Run, Runs

TINY = ComparisonBudget(
    problems=("1",),
    measures=("noise", "curvature"),
    steps=4,
    seeds=2,
    batch=10,
    blocks=1,
    prompts=5,
    noise_batch=10,
    samples=20,
    reference=1200,
)
RATES = {"sgd": 0.02, "adam": 0.005}


# --- the model ---


@pytest.mark.parametrize("attention", plain.KINDS)
@pytest.mark.parametrize("form", ["sparse", "full"])
def test_predictions_are_those_of_the_specification(attention: str, form: str) -> None:
    model = lt.LinearTransformer(layers=3, d=2, heads=2, form=form, attention=attention, init_std=0.4)
    task = lt.LinearRegression(2, 4)
    parameters = model.init([0, 1, 2], dtype=torch.float64)
    shared, own = task.sample(6, dtype=torch.float64), task.sample(6, [3, 4, 5], dtype=torch.float64)
    torch.testing.assert_close(plain.predict(model, parameters, shared), model.predict(parameters, shared))
    each = torch.stack([model.loss(parameters[index], own[index]) for index in range(3)])
    torch.testing.assert_close(plain.losses(model, parameters, own), each)


def test_predictions_behind_a_network() -> None:
    model, task = EmbeddedTransformer(layers=2, d=2, hidden=3, init_std=0.4), FeatureRegression(2, 4, 3)
    parameters, prompts = model.init([0, 1], dtype=torch.float64), task.sample(6, dtype=torch.float64)
    torch.testing.assert_close(plain.predict(model, parameters, prompts), model.predict(parameters, prompts))


def test_one_layer_by_hand() -> None:
    """One prompt, two examples x = 1, 2 with y = 3, 5, query x = 4: TF = -q x (1 3 + 2 5) / 2, whatever P is."""
    model = lt.LinearTransformer(layers=1, d=1)
    prompts = lt.Prompts(
        torch.tensor([[[1.0], [2.0], [4.0]]], dtype=torch.float64), torch.tensor([[3.0, 5.0, 7.0]], dtype=torch.float64)
    )
    parameters = torch.tensor([9.0, 0.5], dtype=torch.float64).reshape(1, *model.parameter_shape)
    assert float(plain.predict(model, parameters, prompts)) == pytest.approx(-0.5 * 4 * 6.5)
    found = plain.curvature(model, parameters[0], prompts)  # loss (-26 q - 7)^2
    np.testing.assert_allclose(found.hessian, [[0, 0], [0, 2 * 26**2]], atol=1e-12)
    np.testing.assert_allclose(found.gradient, [0, 2 * (-26 * 0.5 - 7) * -26], atol=1e-12)


def test_models_optimizers_and_clips_that_it_does_not_know() -> None:
    class Strange:
        parameter_shape = (1,)

    with pytest.raises(TypeError, match="Strange has no second implementation here"):
        plain.predict(Strange(), torch.zeros(1, 1), lt.LinearRegression(2, 4).sample(1))  # type: ignore[arg-type]

    model, task = lt.LinearTransformer(1, 2), lt.LinearRegression(2, 4)
    methods = {"init": lambda *_: {}, "update": lambda _, gradient, *__: (gradient, {})}
    mine: Any = type("Mine", (), {"name": "mine", **methods})
    with pytest.raises(TypeError, match="has no counterpart in torch"):
        plain.train(model, task, [Run(mine(), 0.1, 0, 1.0)], 1, 5)
    with pytest.raises(TypeError, match="a run has no clip"):
        plain.train(model, task, [Run(lt.SGD(), 0.1, 0)], 1, 5)


# --- training ---


@pytest.mark.parametrize("clip", [0.05, math.inf])
def test_training_is_that_of_the_reference_engine(clip: float) -> None:
    model, task = lt.LinearTransformer(2, 2, init_std=0.3), lt.LinearRegression(2, 4)
    runs = lt.grid(optimizer=[lt.SGD(dampening=0.3), lt.Adam()], lr=0.02, clip=clip, seed=[3, 1])
    history = lt.train(
        model, task, runs, steps=6, batch=9, probes=[], snapshots=[5], dtype="float64", engine="reference"
    )
    found = plain.train(model, task, list(runs), 6, 9)
    torch.testing.assert_close(found.before, history.parameters(5), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(found.after, history.parameters(6), rtol=1e-12, atol=1e-14)
    assert not torch.equal(found.before, found.after)


def test_typical_losses_are_medians_over_the_evaluation_blocks() -> None:
    model, task = lt.LinearTransformer(2, 2, init_std=0.3), lt.LinearRegression(2, 4, lt.GammaScaled(0.1, 10.0))
    parameters = model.init(range(3), dtype=torch.float64)
    blocks = [
        model.loss(parameters, task.sample_moments(1000, 0, block, stream=Stream.EVALUATION, dtype=torch.float64))
        for block in range(4)
    ]
    expected = np.median(torch.stack(blocks).numpy(), axis=0)
    np.testing.assert_allclose(plain.typical_losses(model, task, parameters, 4), expected, rtol=1e-12)


# --- instruments ---


def test_curvature_against_differences_of_the_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    model, task = lt.LinearTransformer(2, 2, attention="softmax", init_std=0.5), lt.LinearRegression(2, 4)
    parameters, prompts = model.init(0, dtype=torch.float64), plain.test_prompts(task, 8)
    found = plain.curvature(model, parameters, prompts)
    step = 1e-5
    for index in range(parameters.numel()):
        shift = torch.zeros(parameters.numel(), dtype=torch.float64)
        shift[index] = step
        above, below = (
            plain.curvature(model, parameters + sign * shift.reshape(parameters.shape), prompts).gradient
            for sign in (1, -1)
        )
        torch.testing.assert_close(found.hessian[index], (above - below) / (2 * step), rtol=1e-6, atol=1e-8)
    monkeypatch.setattr(plain, "COLUMNS", 3)
    torch.testing.assert_close(plain.curvature(model, parameters, prompts).hessian, found.hessian)


def test_statistics_of_a_known_hessian() -> None:
    hessian = torch.diag(torch.tensor([-8.0, 4.0, 1.0, 0.0], dtype=torch.float64))
    found = plain.Curvature(torch.zeros(4), hessian)
    assert found.robust_condition == 8.0  # the lower of the two middle magnitudes 1 and 4
    assert found.norm == pytest.approx(8.0)
    assert found.along(torch.tensor([[3.0, 0.0], [0.0, 3.0]])) == pytest.approx(-4.0)
    assert plain.Curvature(torch.zeros(4), hessian * torch.tensor([1.0, 0, 0, 0])).robust_condition == math.inf


@pytest.mark.parametrize(("samples", "reference"), [(7, 2000), (3, 1300), (3, 40)])
def test_noise_is_that_of_the_streams(samples: int, reference: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, task = lt.LinearTransformer(2, 2, init_std=0.3), lt.LinearRegression(2, 4)
    parameters = model.init(5, dtype=torch.float64)
    options: dict[str, Any] = {"batch": 6, "samples": samples, "reference": reference, "seed": 5}
    expected = lt.gradient_noise(model, task, parameters, engine="reference", **options)
    found = plain.noise(model, task, parameters, 5, 6, samples, reference)
    assert found.shape == (samples, parameters.numel())
    np.testing.assert_allclose(found.norm(dim=-1), expected, rtol=1e-10)
    monkeypatch.setattr(plain, "NUMBERS", 1)  # one minibatch at a time
    torch.testing.assert_close(plain.noise(model, task, parameters, 5, 6, samples, reference), found)


def test_gaussian_noise_has_no_excess() -> None:
    """E of Gaussian rows is near 1; of rows whose length has a heavy tail it is not."""
    rows = torch.randn(20_000, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert long.tail(rows, 0) == pytest.approx(1.0, abs=0.03)
    assert long.tail(rows * rows[:, :1].abs().exp(), 0) > 1.5


# --- both sides ---


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first implementation without its compiled loops: nothing to compile in a test."""
    monkeypatch.setattr(compiling, "unsupported_cpu", lambda: "a test")


def small(name: str, model: TensorModel, task: Any) -> Any:
    return dataclasses.replace(PROBLEMS[name], model=model, task=task)


SMALL = {
    "1": small("1", lt.LinearTransformer(2, 2), lt.LinearRegression(2, 4)),
    "softmax": small("softmax", lt.LinearTransformer(2, 2, attention="softmax"), lt.LinearRegression(2, 4)),
    "nonlinear": small("nonlinear", EmbeddedTransformer(2, 2, 3), FeatureRegression(2, 4, 3)),
}


def both(name: str, group: ComparisonBudget = TINY) -> pd.DataFrame:
    setting = SMALL[name]
    runs = compare.runs_of(setting, group, RATES)
    fast, other = (compare.by_the_book(setting, runs, group, "cpu"), compare.independently(setting, runs, group))
    return compare.compared(name, fast, other, group.seeds)


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("name", SMALL)
def test_both_sides_agree(name: str) -> None:
    found = both(name)
    differences = found[found["statistic"] != "smoothness"]["difference"]
    assert differences.max() < 1e-4, found
    assert found["difference"].max() < 1e-3, found  # v'Hv is a small difference of large numbers
    assert not found["flips"].any()
    assert set(found["statistic"]) == set(compare.STATISTICS)
    assert (found.groupby("statistic")["seed"].nunique() == 2).all()
    assert tables.agrees(found)
    losses_alone = both(name, dataclasses.replace(TINY, measures=()))
    assert set(losses_alone["statistic"]) == {"loss_ratio", "sgd", "adam"}


@pytest.mark.skipif(compiling.unsupported_cpu() is not None, reason="no compiled loops here")
def test_the_compiled_loops_agree_too() -> None:
    """On Setting 1, whose kernels other tests need as well; losses alone."""
    group = dataclasses.replace(TINY, measures=())
    found = compare.compare("1", group, RATES, "cpu")
    assert found["difference"].max() < 1e-4, found


def broken_update(self: ReferenceEngine, state: Any, moving: Tensor, gradient: Tensor, *others: Any) -> None:
    right_update(self, state, moving, 1.3 * gradient, *others)


right_update = ReferenceEngine._update


@pytest.mark.usefixtures("uncompiled")
def test_a_wrong_engine_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gradient that is a third too long moves SGD alone, by what the page calls a disagreement."""
    group = dataclasses.replace(TINY, steps=8, measures=())
    monkeypatch.setattr(ReferenceEngine, "_update", broken_update)
    found = both("1", group)
    worst = found.groupby("statistic")["difference"].max()
    assert worst["sgd"] > tables.TOLERANCE or worst["loss_ratio"] > tables.TOLERANCE, found
    assert worst["adam"] < 1e-4
    assert not tables.agrees(found)


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize(
    ("name", "change", "noticed"),
    [
        ("conditions", lambda found: {**found, "r_lower": found["r_midpoint"]}, "condition"),
        ("step_measures", lambda found: {**found, "directional_smoothness": -found["slope"]}, "smoothness"),
        ("step_measures", lambda found: {**found, "spectral_norm": 1.1 * found["spectral_norm"]}, "hessian"),
    ],
)
def test_a_wrong_instrument_is_detected(
    name: str, change: Callable[[dict[str, Tensor]], dict[str, Tensor]], noticed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = getattr(compare, name)
    monkeypatch.setattr(compare, name, lambda *given, **more: change(right(*given, **more)))
    worst = both("1").groupby("statistic")["difference"].max()
    assert worst[noticed] > tables.TOLERANCE
    assert worst.drop(noticed).max() < 1e-4


def values(sgd: float, adam: float, noise: float = 1.5, r: float = 2.0, smooth: float = 1.0) -> dict[str, Tensor]:
    def pair(above: float, below: float) -> Tensor:
        return torch.tensor([above, below], dtype=torch.float64)

    return {
        "loss": pair(sgd, adam), "noise": torch.tensor([noise], dtype=torch.float64), "r_lower": pair(r, 1.0),
        "directional_smoothness": pair(smooth, 0.5), "spectral_norm": pair(3, 2), "gradient_norm": pair(3, 2),
    }  # fmt: skip


def test_differences_and_sides() -> None:
    found = compare.compared("1", values(1.1, 1.0), values(0.9, 1.0), 1).set_index("statistic")
    assert found.loc["loss_ratio", "difference"] == pytest.approx(0.2 / 0.9)
    assert found.loc["loss_ratio", "flips"]
    assert not found.loc["sgd", "flips"]  # a loss has no side
    assert not found.drop("loss_ratio")["flips"].any()
    negative = compare.compared("1", values(2, 1, smooth=-1.0), values(2, 1, smooth=1.0), 1).set_index("statistic")
    assert negative.loc["smoothness", "flips"]
    tie = compare.compared("1", values(1.0, 1.0), values(1.0 + 1e-15, 1.0), 1).set_index("statistic")
    assert not tie.loc["loss_ratio", "flips"]
    noise = compare.compared("1", values(2, 1, noise=1.001), values(2, 1, noise=0.999), 1)
    assert noise[noise["flips"]]["statistic"].tolist() == ["noise"]


def test_what_is_not_finite() -> None:
    undefined = compare.compared("1", values(2, 1, r=math.nan), values(2, 1, r=math.inf), 1)
    assert "condition" not in set(undefined["statistic"])
    lost = compare.compared("1", values(math.inf, 1), values(2, 1), 1).set_index("statistic")
    assert lost.loc["sgd", "difference"] == math.inf
    assert lost.loc["sgd", "flips"]
    shown = tables.largest(lost.reset_index()).set_index("statistic")["side of 1 changes in"]
    assert shown["end loss, SGD"] == "finite in only one of the two: Setting 1, seed 0"


# --- what is computed twice ---


@pytest.mark.parametrize("name", settings.SCALE_NAMES)
def test_budgets_hold_problems_once(name: str) -> None:
    budget = settings.double_check(name)
    assert set(budget.problems) <= set(PROBLEMS)
    assert len(budget.problems) == len(set(budget.problems))
    for group in budget.groups:
        assert set(group.measures) <= set(compare.MEASURES)
        assert group.steps > 0
        for problem in group.problems:
            plain.known(PROBLEMS[problem].model)
    assert compare.changed(budget, 7, 3).groups[0].seeds == 7
    assert {group.steps for group in compare.changed(budget, 0, 3).groups} == {3}
    with pytest.raises(ValueError, match="did you mean 'paper'"):
        settings.double_check("papre")


def test_all_that_verdicts_rest_on_is_computed_twice() -> None:
    """At the paper's scale, problem by problem and statistic by statistic."""
    compared = {
        problem: {"loss_ratio", "sgd", "adam", *(name for each in group.measures for name in compare.MEASURES[each])}
        for group in settings.double_check("paper").groups
        for problem in group.problems
    }
    for claim in scorecard.CLAIMS:
        own = basis(claim)
        for problem in own.problems:
            assert set(own.statistics) <= compared[problem], (claim, problem)


def test_results_are_kept_and_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LINTRANS_STORE", str(tmp_path))
    calls = []

    def stand_in(problem: str, group: ComparisonBudget, lr: dict[str, float], device: str) -> pd.DataFrame:
        calls.append((problem, group.problems, dict(lr)))
        return compare.compared(problem, values(2, 1), values(2, 1), 1)

    monkeypatch.setattr(compare, "compare", stand_in)
    budget = settings.double_check("quick")
    first = compare.compare_all(budget)
    assert list(dict.fromkeys(first["problem"])) == list(budget.problems)
    count = len(calls)
    assert count == len(budget.problems)
    assert ("2", ("2",), {"sgd": 0.01, "adam": 0.005}) in calls  # published
    assert ("depth 2", ("depth 2",), budget.lr) in calls
    pd.testing.assert_frame_equal(compare.compare_all(budget), first)
    assert len(calls) == count


def test_published_rates_where_there_are_any() -> None:
    runs = compare.runs_of(PROBLEMS["sphere"], TINY, RATES)
    assert [(run.optimizer.name, run.lr, run.clip, run.seed) for run in runs] == [
        ("sgd", 5.0, 0.1, 0), ("sgd", 5.0, 0.1, 1), ("adam", 0.1, 0.1, 0), ("adam", 0.1, 0.1, 1),
    ]  # fmt: skip
    assert isinstance(runs, Runs)
    assert {run.lr for run in compare.runs_of(PROBLEMS["depth 4"], TINY, RATES)} == set(RATES.values())


# --- contradictions ---


def kept(folder: Path, claim: str, reading: str, *units: Unit) -> None:
    claims.record(made_up.verdict(*units, claim=claim, reading=reading, scale="paper"), Store(folder))


def test_contradictions_are_read_from_the_store(tmp_path: Path) -> None:
    assert contradictions("paper", Store(tmp_path)) == []
    kept(tmp_path, "C1", "published", unit(State.YES, "setting 1"), unit(State.YES, "setting 2"))
    kept(tmp_path, "C1", "tuned", unit(State.REV, "setting 1"), unit(State.NULL, "setting 2"))
    kept(tmp_path, "C2", "init", unit(State.YES, "setting 1"), unit(State.UNDECIDED, "setting 2"))
    kept(tmp_path, "C3", "tuned", unit(State.UNDECIDED, "a"), unit(State.REV, "b", decides=False))
    kept(tmp_path, "C10", "tuned", unit(State.UNDECIDED, "SGD from L = 2 to 4"), unit(State.REV, "b"))
    found = contradictions("paper", Store(tmp_path))
    assert [(each.claim, each.reading, each.cases) for each in found] == [
        ("C1", "tuned", (("setting 1", State.REV), ("setting 2", State.NULL))),
        ("C10", "tuned", (("b", State.REV),)),
    ]
    assert found[0].words == "reversed: setting 1. no difference: setting 2"
    assert found[0].verdict == "not reproduced"
    assert contradictions("quick", Store(tmp_path)) == []
    absent = missing("paper", Store(tmp_path))
    assert "C1 published ({doc}`adam_vs_sgd`)" not in absent
    assert "C3 published ({doc}`condition_number`)" in absent
    assert shown.against(found)["claim"].tolist() == ["C1", "C10"]


BOTH = ("sgd", "adam")
DEEP = ("depth 2", "depth 4", "depth 6", "depth 8")


@pytest.mark.parametrize(
    ("claim", "keys", "expected"),
    [
        ("C1", Keys(("2",)), Basis(("2",), ("loss_ratio",))),
        ("C3", Keys(("3",), 750, convention="r_lower"), Basis(("3",), ("condition",))),
        ("C4", Keys(part="speed"), Basis(("1", "2", "3"), ("smoothness", "loss_ratio"))),
        ("C6", Keys(("3", "sphere")), Basis(("3", "sphere"), ("noise",))),
        ("C8", Keys(("3", "sphere"), optimizer="sgd"), Basis(("3", "sphere"), ("sgd",))),
        ("C8", Keys(("3", "sphere"), part="gap"), Basis(("3", "sphere"), BOTH)),
        ("C9", Keys(("depth 6", "depth 4")), Basis(("depth 4", "depth 6"), ("loss_ratio",))),
        ("C10", Keys(("depth 2", "depth 4"), optimizer="adam"), Basis(("depth 2", "depth 4"), ("adam",))),
        ("C11", Keys(("depth 2", "depth 8")), Basis(("depth 2", "depth 8"), ("noise",))),
        ("C11", Keys(DEEP), Basis(DEEP, ("noise",))),
        ("C12", Keys(("depth 2", "depth 8"), convention="r_lower"), Basis(("depth 2", "depth 8"), ("condition",))),
        ("C13", Keys(("softmax", "linear"), optimizer="sgd"), Basis(("linear", "softmax"), ("sgd",))),
        ("C13", Keys(("softmax-visible", "linear"), optimizer="adam"), Basis(("linear", "softmax-visible"), ("adam",))),
        ("C14", Keys((LARGER.name,), claim="C1"), Basis((LARGER.name,), ("loss_ratio",))),
        ("C14", Keys((LARGER.name,), claim="C2"), Basis((LARGER.name,), ("noise",))),
        ("C15", Keys((NONLINEAR.name,), claim="C3"), Basis((NONLINEAR.name,), ("condition",))),
        ("C16", Keys(("depth 2",)), Basis(("depth 2",), tuple(compare.STATISTICS))),
        ("C16", Keys(("L = 1, d = 2",)), Basis(("L = 1, d = 2",), tuple(compare.STATISTICS))),
        ("C17", Keys(claim="C6"), Basis(("3", "sphere"), ("noise",))),
        ("C17", Keys(claim="C8"), Basis(("3", "sphere"), BOTH)),
    ],
)
def test_what_a_case_rests_on(claim: str, keys: Keys, expected: Basis) -> None:
    assert basis(claim, keys) == expected


def test_every_claim_has_a_basis() -> None:
    practice = {"F11"} | {name for name, claim in scorecard.CLAIMS.items() if claim.GROUP == "practice"}
    assert all(basis(name).problems and basis(name).statistics for name in scorecard.CLAIMS.keys() - practice)
    assert all(basis(name, Keys(("cnn",))).problems == () for name in practice)  # these networks are not computed twice
    assert set(basis("C16").problems) == set(SIZES.values())
    assert {"noise", "condition", "loss_ratio"} <= set(basis("C17").statistics)
    assert basis("C3").problems == ("1", "2", "3")


def frame(*rows: tuple[str, str, float, bool]) -> pd.DataFrame:
    return pd.DataFrame(
        [(problem, name, 0, 2.0, 2.0, difference, flips) for problem, name, difference, flips in rows],
        columns=list(compare.COLUMNS),
    )


def test_contradictions_are_named_with_what_checks_them() -> None:
    found = frame(
        ("1", "loss_ratio", 1e-7, False), ("2", "loss_ratio", 0.3, True), ("2", "noise", 1e-6, False),
        ("depth 2", "noise", 1e-9, False),
    )  # fmt: skip
    first = Contradiction("C1", "tuned", "not reproduced", (("setting 1", State.REV),), (Keys(("1",)),))
    second = Contradiction("C1", "published", "not reproduced", (("setting 2", State.REV),), (Keys(("2",)),))
    third = Contradiction(
        "C11", "init", "not reproduced", (("L = 8 against 2", State.NULL),), (Keys(("depth 2", "depth 8")),)
    )
    fourth = Contradiction("C14", "tuned", "not reproduced", ((c14.NOISE, State.NULL),), (Keys(claim="C2"),))
    assert first.rows(found)["problem"].tolist() == ["1"]
    assert third.unchecked(found) == ["L = 8"]
    assert Contradiction("C2", "init", "partly reproduced (setting 1)", ()).rows(found)["statistic"].tolist() == [
        "noise"
    ]
    all_of = [first, second, third, fourth]
    assert [shown.checked(each, found) for each in all_of] == [True, False, False, False]
    table = shown.checks(all_of, found)
    assert table["largest relative difference"].tolist() == ["1e-07", "3e-01", "1e-09", "not checked"]
    assert table["sides changed"].tolist() == ["0", "1", "0", "not checked"]
    assert "*not computed twice: L = 8*" in table["checked on"].tolist()[2]


def test_tables_on_agreement() -> None:
    found = frame(("1", "loss_ratio", 1e-7, False), ("depth 8", "loss_ratio", 1e-14, False), ("1", "sgd", 3e-7, False))
    assert tables.agrees(found)
    assert len(tables.sided(found)) == 2
    ratio = tables.largest(found).iloc[0]
    assert ratio.tolist()[:3] == ["end loss, SGD over Adam", "C1, C9, C14, C15, C16", 2]
    assert ratio.tolist()[3:] == ["1.0e-07 (Setting 1, seed 0)", "none"]
    assert tables.by_precision(found) == {"float32": 3e-7, "float64": 1e-14}
    flipped = frame(("1", "loss_ratio", 1e-3, True))
    assert not tables.agrees(flipped)
    assert tables.largest(flipped)["side of 1 changes in"].tolist() == ["Setting 1, seed 0"]
    assert not tables.agrees(frame())
    assert tables.details(found)["relative difference"].tolist() == ["1e-07", "1e-14", "3e-07"]


def test_figure() -> None:
    figures.use()
    found = frame(("1", "loss_ratio", 1e-7, False), ("1", "sgd", 0.0, False), ("1", "smoothness", math.inf, True))
    found.loc[2, "fast"] = -1.0
    names = {name: each.words for name, each in compare.STATISTICS.items()}
    figure = figures.agreement(found, names)
    left, right = figure.axes
    assert left.get_xscale() == left.get_yscale() == right.get_xscale() == "log"
    points = [line for line in left.get_lines() if line.get_linestyle() == "None"]
    assert [len(np.asarray(line.get_xdata())) for line in points] == [1, 1, 0]  # nothing negative
    identity = left.get_lines()[0]
    np.testing.assert_array_equal(identity.get_xdata(), identity.get_ydata())
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "end loss, SGD over Adam", "end loss, SGD", "v'Hv, SGD over Adam", "identity",
    ]  # fmt: skip
    looks = {(line.get_color(), line.get_marker()) for line in points if isinstance(line, Line2D)}
    assert len(looks) == 3
    assert figures.agreement(frame(), names).axes[0].texts[0].get_text() == "nothing was computed twice"
