"""P1 to P5 on made-up numbers that should pass, should not, and cannot be decided."""

from __future__ import annotations

from collections.abc import Mapping

import made_up
import numpy as np
import pandas as pd
import pytest

from lintrans.paper.claims import State, Unit, Verdict, Word, p1, p2, p3, p4, p5, practice, scorecard
from lintrans.paper.claims.practice import AGAINST, IMAGES, LACKS, LANGUAGE, NETWORKS, OWN, SHOWS, SMALLER, Shown
from lintrans.paper.claims.rules import ratio_unit
from lintrans.paper.judged import LOSS, end_steps
from lintrans.paper.practice.networks import IMAGES as OF_IMAGES
from lintrans.paper.practice.networks import LANGUAGE as OF_TEXT
from lintrans.statistics import mean_of
from lintrans.training.history import COLUMNS, History

YES, WEAK, NULL, REV, UNDECIDED, MISSING = State


def shown(name: str, effect: float, spread: float = 0.01) -> Shown:
    """A network whose ratio is `effect` in six seeds."""
    logs = np.log(effect) + spread * np.array([-1.0, 1.0, -0.5, 0.5, -0.2, 0.2])
    interval = mean_of(logs).exp()
    return Shown(ratio_unit(name, "ratio", interval, keys=practice.keys(name)), pd.DataFrame({0: logs}))


def networks(language: float, images: float, **others: Shown) -> dict[str, Shown]:
    every = {name: shown(name, language if name in LANGUAGE else images) for name in NETWORKS}
    return {**every, **others}


def test_networks_are_those_of_practice() -> None:
    assert (LANGUAGE, IMAGES) == (OF_TEXT, OF_IMAGES)
    claims = {name: claim for name, claim in scorecard.CLAIMS.items() if name.startswith("P")}
    assert list(claims) == ["P1", "P2", "P3", "P4", "P5"]
    assert list(scorecard.CLAIMS)[-5:] == list(claims)
    assert {claim.GROUP for claim in claims.values()} == {"practice"}


@pytest.mark.parametrize(
    ("language", "images", "word"),
    [
        (2.0, 1.0, Word.REPRODUCED),  # images show nothing
        (2.0, 0.5, Word.REPRODUCED),  # images show the opposite
        (2.0, 1.5, Word.REPRODUCED),  # images show it, but less
        (2.0, 2.0, Word.PARTLY),  # images show it as much
        (2.0, 4.0, Word.PARTLY),
        (1.15, 1.0, Word.PARTLY),  # weak
        (1.0, 1.0, Word.NOT),
        (0.5, 2.0, Word.NOT),
    ],
)
def test_verdicts(language: float, images: float, word: Word) -> None:
    assert practice.ruling_of(practice.units_of(networks(language, images))).word is word


def test_an_image_network_counts_by_its_effect_and_by_the_contrast() -> None:
    states = {}
    for effect in (1.0, 0.5, 1.5, 2.0, 4.0):
        unit = practice.image_unit("cnn", networks(2.0, 1.0, cnn=shown("cnn", effect)))
        states[effect] = unit.state, unit.remarks
        assert made_up.number(unit).estimate == pytest.approx(2.0 / effect)
    assert states == {
        1.0: (YES, (LACKS,)), 0.5: (YES, (LACKS,)), 1.5: (YES, (SMALLER,)), 2.0: (REV, (SHOWS,)), 4.0: (REV, (SHOWS,))
    }  # fmt: skip


def test_the_contrast_is_with_each_language_model() -> None:
    """One language model that shows less than the CNN spoils it."""
    every = networks(2.0, 1.0, cnn=shown("cnn", 1.5), lm_bare=shown("lm_bare", 1.3))
    assert practice.image_unit("cnn", every).state is REV


def test_open_cases_decide_nothing() -> None:
    wide = shown("cnn", 1.3, spread=2.0)
    assert wide.unit.state is UNDECIDED
    units = practice.units_of(networks(2.0, 1.0, cnn=wide))
    assert {unit.case: unit.state for unit in units}["cnn"] is UNDECIDED
    ruling = practice.ruling_of(units)
    assert ruling.word is Word.PARTLY
    assert "cnn" not in ruling.where
    lost = networks(1.0, 1.0, **{name: shown(name, 1.3, spread=2.0) for name in LANGUAGE})
    ruling = practice.ruling_of(practice.units_of(lost))
    assert (ruling.word, ruling.undecided) == (Word.UNMEASURABLE, True)


def test_a_missing_network_is_not_measurable() -> None:
    for name in ("lm_bare", "mlp"):
        units = practice.units_of(networks(2.0, 1.0, **{name: practice.missing(name, "ratio")}))
        assert practice.ruling_of(units).word is Word.UNMEASURABLE
    nothing = p2.judge("quick", {})
    assert nothing.ruling.word is Word.UNMEASURABLE
    assert {unit.state for unit in nothing.units} == {MISSING}


def test_what_stands_beside() -> None:
    units = {unit.case: unit for unit in practice.beside(networks(2.0, 1.0, lm_bare=shown("lm_bare", 4.0)))}
    assert units[f"lm_linear {AGAINST}"].state is NULL
    assert units[f"lm_bare {AGAINST}"].state is YES
    assert made_up.number(units[f"lm_bare {AGAINST}"]).estimate == pytest.approx(2.0)
    assert units[f"cnn, {OWN}"].state is NULL
    assert not any(unit.decides for unit in units.values())


def history(sgd: float, adam: float, held_out: float = 1.0) -> History:
    """Six seeds of both optimizers that end at these losses; held-out ones differ by a factor."""
    rows, runs = [], []
    for run, (optimizer, seed) in enumerate((optimizer, seed) for optimizer in ("sgd", "adam") for seed in range(6)):
        end = {"sgd": sgd, "adam": adam}[optimizer] * (1 + 0.002 * seed * (-1) ** run)
        base = (run, optimizer, 0.1, seed)
        rows += [(*base, 0, LOSS, 2.3, np.inf)]
        rows += [(*base, step, LOSS, end, np.inf) for step in end_steps(100)]
        rows += [(*base, 100, "test_loss", end * (held_out if optimizer == "sgd" else 1.0), np.inf)]
        runs.append((*base, np.inf, 0, 0, -1))
    table = pd.DataFrame(runs, columns=["run", "optimizer", "lr", "seed", "clip", "skipped", "clipped", "diverged"])
    return History(pd.DataFrame(rows, columns=list(COLUMNS)), table, {}, 100, key="made up")


def by_network(language: History, images: History) -> dict[str, History]:
    return {name: language if name in LANGUAGE else images for name in NETWORKS}


def judged1(histories: Mapping[str, History]) -> Verdict:
    every = {name: [own] for name, own in histories.items()}
    return p1.judge("tuned", "quick", histories, every, dict.fromkeys(histories, 2.4))


def test_p1() -> None:
    verdict = judged1(by_network(history(1.0, 0.5), history(0.5, 0.5)))
    assert verdict.ruling.word is Word.REPRODUCED
    assert verdict.checks == {p1.HELD_OUT: True}
    assert made_up.number(verdict.units[0]).estimate == pytest.approx(2.0, rel=0.02)
    other = judged1(by_network(history(1.0, 0.5, held_out=0.5), history(0.5, 0.5)))
    assert (other.ruling.word, other.robust) == (Word.REPRODUCED, False)
    assert judged1(by_network(history(0.5, 0.5), history(0.5, 0.5))).ruling.word is Word.NOT


def test_p1_counts_a_lost_run_as_the_zero_predictor() -> None:
    found = p1.shown("cnn", history(50.0, 0.5), 2.4, 0.5)
    assert made_up.number(found.unit).estimate == pytest.approx(2.4 / 0.5, rel=0.02)


def noise(excess: float, null_error: float = 0.0) -> pd.DataFrame:
    rows = [
        {"seed": seed, "layer": layer, "excess": value * (1 + 0.01 * seed), "reference_error": 0.1,
         "null_error": null_error}
        for seed in range(6)
        for layer, value in ((p2.WHOLE, excess), ("output", 9.0))
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_p2() -> None:
    def of(language: float, images: float, error: float = 0.0) -> Verdict:
        return p2.judge("quick", {name: noise(language if name in LANGUAGE else images, error) for name in NETWORKS})

    assert of(2.0, 1.0).ruling.word is Word.REPRODUCED
    assert of(1.0, 1.0).ruling.word is Word.NOT
    assert of(2.0, 1.0).robust is True
    assert of(1.3, 1.0, np.log(1.3)).checks == {"null without correction": False}
    lost = noise(2.0).assign(reference_error=0.9)  # single examples rule the reference
    assert p2.shown("cnn", lost).unit.state is MISSING


def curved(sgd: float, lean: float = 0.0) -> pd.DataFrame:
    """R_med of SGD over Adam per layer, and larger by `lean` on evaluation set 1."""

    def value(seed: int, optimizer: str, step: int, batch: int) -> float:
        ratio = (sgd + lean * batch) if optimizer == "sgd" else 1.0
        return ratio * (1 + 0.01 * seed + 0.002 * batch)

    return made_up.measured([0, 10, 60], 6, [0, 1], r_blocks=value, r_used=lambda *a: 3 * value(*a))


def test_p3() -> None:
    def of(language: pd.DataFrame, images: pd.DataFrame) -> Verdict:
        frames = {name: language if name in LANGUAGE else images for name in NETWORKS}
        return p3.judge("tuned", "quick", frames, 5)

    verdict = of(curved(2.0), curved(1.0))
    assert verdict.ruling.word is Word.REPRODUCED
    assert verdict.checks == {"all layers together": True, practice.ANOTHER_SET: True}
    between = next(unit for unit in verdict.units if unit.case == "lm_bare, between layers")
    assert made_up.number(between).estimate == pytest.approx(1.0)
    assert of(curved(1.0), curved(1.0)).ruling.word is Word.NOT
    assert of(curved(1.0, lean=2.0), curved(1.0)).units[0].state is UNDECIDED  # sets that differ are in the interval


def test_each_evaluation_set_alone_has_to_say_the_same() -> None:
    """A table whose second set shows nothing, judged by a rule that looks at the first."""
    both = pd.DataFrame({"batch": [0, 1], "value": [2.0, 1.0]})

    def of(frames: Mapping[str, pd.DataFrame]) -> dict[str, Shown]:
        return {name: shown(name, float(frame["value"].iloc[0])) for name, frame in frames.items()}

    assert practice.alone({"cnn": both}, of) is False
    assert practice.alone({"cnn": both.assign(value=2.0)}, of) is True


def smooth(share: float) -> pd.DataFrame:
    """V'Hv that is larger for SGD at a share of ten steps; negative curvature counts by its sign."""

    def value(seed: int, optimizer: str, step: int, batch: int) -> float:
        larger = (step + seed + batch) % 10 < 10 * share
        return -1.0 if optimizer == "adam" else (0.0 if larger else -2.0)

    return made_up.measured(range(5, 15), 6, [0, 1], directional_smoothness=value)


@pytest.mark.parametrize(
    ("language", "images", "word"),
    [(0.9, 0.5, Word.REPRODUCED), (0.9, 0.7, Word.REPRODUCED), (0.5, 0.5, Word.NOT), (0.9, 0.9, Word.PARTLY)],
)
def test_p4(language: float, images: float, word: Word) -> None:
    frames = {name: smooth(language if name in LANGUAGE else images) for name in NETWORKS}
    verdict = p4.judge("tuned", "quick", frames, 5)
    assert verdict.ruling.word is word
    assert made_up.number(verdict.units[0]).estimate == pytest.approx(language, abs=0.03)


def norms(sign: float) -> pd.DataFrame:
    def gradient(seed: int, optimizer: str, step: int, batch: int) -> float:
        return 1.0 + (7 * step + 3 * seed) % 11

    def hessian(seed: int, optimizer: str, step: int, batch: int) -> float:
        return float(gradient(seed, optimizer, step, batch) ** sign) * (1 + 0.001 * ((5 * step + batch) % 7))

    return made_up.measured(range(0, 12), 6, [0, 1], spectral_norm=hessian, gradient_norm=gradient)


def test_p5() -> None:
    def of(language: float, images: float) -> Verdict:
        frames = {name: norms(language if name in LANGUAGE else images) for name in NETWORKS}
        return p5.judge("tuned", "quick", frames, 1)

    assert of(1.0, -1.0).ruling.word is Word.REPRODUCED
    assert of(-1.0, 1.0).ruling.word is Word.NOT
    assert of(1.0, 1.0).ruling.word is Word.PARTLY
    unit: Unit = of(1.0, -1.0).units[0]
    assert made_up.number(unit).kind == "correlation"
