"""C14 on made-up trainings and noise that should pass, should fail, and lack something; what its page says."""

from __future__ import annotations

from dataclasses import replace

import made_up
import numpy as np
import pandas as pd
import pytest
import torch

import lintrans as lt
from lintrans.diagnostics import noise
from lintrans.paper.claims import State, Verdict, Word, c14
from lintrans.paper.judged import Judged
from lintrans.paper.measure import variants
from lintrans.paper.problems import LARGER, PROBLEMS
from lintrans.paper.protocol import end_steps
from lintrans.paper.scales import LARGER_BUDGETS, LARGER_PROTOCOL

SPREAD = (1.0, 1.1, 0.95, 1.05)


def history_of(ratio: float, cooled: float | None = None) -> lt.History:
    """Four seeds; SGD ends at `ratio` times Adam's loss, after the cooldown at `cooled` times it."""

    def loss(seed: int, optimizer: str, step: int, lr: float) -> float:
        share = ratio if cooled is None or step <= 200 else cooled
        return 0.1 * (share * SPREAD[seed] if optimizer == "sgd" else 1.0)

    return made_up.history(loss, 4, steps=200, every=50, ends=end_steps(200))


def noise_of(tail: float) -> pd.DataFrame:
    return pd.DataFrame(
        {"seed": range(4), "excess": [tail * s for s in SPREAD], "excess_999": [tail * s for s in SPREAD]}
    )


def larger_of(ratio: float | None, tail: float, cooled: float | None = None) -> c14.Larger:
    histories = {} if ratio is None else {LARGER.name: history_of(ratio, cooled)}
    return c14.Larger(Judged({"published": {}, "tuned": histories}, {}), noise_of(tail))


def judged(ratio: float | None, tail: float, reading: str = "tuned", cooled: float | None = None) -> Verdict:
    return c14.judge(reading, "paper", larger_of(ratio, tail, cooled), LARGER_PROTOCOL)


@pytest.mark.parametrize(
    ("ratio", "tail", "states", "word"),
    [
        (4.0, 2.0, (State.YES, State.YES), Word.REPRODUCED),
        (4.0, 1.0, (State.YES, State.NULL), Word.PARTLY),
        (0.5, 2.0, (State.REV, State.YES), Word.PARTLY),
        (0.5, 1.0, (State.REV, State.NULL), Word.NOT),
        (None, 2.0, (State.MISSING, State.YES), Word.UNMEASURABLE),
    ],
)
def test_one_verdict_on_two_halves(ratio: float | None, tail: float, states: tuple[State, State], word: Word) -> None:
    verdict = judged(ratio, tail)
    decide = [unit for unit in verdict.units if unit.decides]
    assert tuple(unit.state for unit in decide) == states
    assert [unit.case for unit in decide] == [c14.GAP, c14.NOISE]
    assert (verdict.ruling.word, verdict.reading, verdict.deviations) == (word, "tuned", ())


@pytest.mark.parametrize(
    ("cooled", "state", "word"),
    [(4.0, State.YES, Word.REPRODUCED), (1.0, State.NULL, Word.PARTLY), (0.3, State.REV, Word.PARTLY)],
)
def test_the_cooled_reading_of_the_first_half(cooled: float, state: State, word: Word) -> None:
    verdict = judged(4.0, 2.0, "cooled", cooled)
    assert [unit.state for unit in verdict.units if unit.decides] == [state, State.YES]
    assert (verdict.ruling.word, verdict.reading, verdict.checks) == (word, "cooled", {})
    tuned = judged(4.0, 2.0, cooled=cooled)
    assert tuned.ruling.word is Word.REPRODUCED
    assert tuned.checks == {"cooled": state is State.YES}
    assert judged(None, 2.0, "cooled").ruling.word is Word.UNMEASURABLE


def test_steps_are_a_bound_where_sgd_never_gets_there() -> None:
    steps = next(unit for unit in judged(40.0, 2.0).units if unit.keys.part == "steps")
    assert made_up.number(steps).bound == ">="
    assert not steps.decides


def test_the_problem_and_its_budgets() -> None:
    assert LARGER.model == lt.LinearTransformer(layers=8, d=20)
    assert lt.LinearRegression(d=20, n=60) == LARGER.task
    assert PROBLEMS["larger"] is LARGER
    assert not LARGER.lr
    paper = LARGER_BUDGETS["paper"]
    assert (paper.training.steps, paper.training.batch, paper.training.seeds, paper.tuning_steps) == (
        2000,
        250,
        6,
        1000,
    )
    texts = c14.judge("tuned", "paper", larger_of(None, 2.0), paper).deviations
    assert "batches of 250 prompts instead of 1,000" in texts
    assert "4 learning rates instead of 10" in texts
    assert "minibatches of 250 prompts instead of 1,000" in texts
    assert not any("horizon T" in text or "judging seeds" in text for text in texts)


def test_rates_chosen_early_are_judged_late(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def judge_all(budget: object, device: str, tuned_at: int) -> str:
        asked.append((budget, device, tuned_at))
        return "judged"

    monkeypatch.setattr(variants, "judge_all", judge_all)
    monkeypatch.setattr("lintrans.paper.measure.noise.at_initialization", lambda budget: {LARGER.name: noise_of(1.0)})
    budget = LARGER_BUDGETS["quick"]
    found = variants.larger(budget, "cpu")
    assert asked == [(budget.training, "cpu", budget.tuning_steps)]
    assert found.noise.equals(noise_of(1.0))


def test_the_gram_matrix_has_the_spectrum_of_the_covariance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer samples than parameters: the nonzero eigenvalues are the same, and so is the table of tail statistics."""
    model, task = lt.LinearTransformer(layers=2, d=2), lt.LinearRegression(d=2, n=4)
    options = {"batch": 10, "samples": 12, "reference": 2000, "seed": [0, 1], "engine": "reference"}
    parameters = model.init([0, 1], dtype=torch.float64)
    whole = noise.measure_noise(model, task, parameters, **options)  # type: ignore[arg-type]
    monkeypatch.setattr(noise, "DUAL", 8)
    dual = noise.measure_noise(model, task, parameters, **options)  # type: ignore[arg-type]
    assert whole.covariance.shape == (2, 16, 16)
    assert dual.covariance.shape == (2, 12, 12)
    assert torch.equal(whole.norms, dual.norms)
    assert torch.allclose(whole.spectrum[:, :12], dual.spectrum, rtol=1e-5, atol=1e-6 * float(whole.spectrum.max()))
    first, second = (noise.noise_table(each, [0, 1], null_samples=1000) for each in (whole, dual))
    pd.testing.assert_frame_equal(first, second, rtol=1e-4)
    many = noise.measure_noise(model, task, parameters, **{**options, "samples": 20})  # type: ignore[arg-type]
    assert many.covariance.shape == (2, 16, 16)
    assert np.isfinite(replace(dual).spectrum.numpy()).all()


def test_each_optimizer_may_start_from_a_grid_of_its_own() -> None:
    training = LARGER_BUDGETS["paper"].training
    assert training.rates_of("adam") == training.rates != training.rates_of("sgd")
    assert len(training.rates_of("sgd")) == len(training.rates) == 4
    assert [(min(own), max(own)) for own in map(training.rates_of, ("sgd", "adam"))] == [(0.05, 0.5), (0.002, 0.02)]
