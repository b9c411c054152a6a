"""The matrix of proxies and networks: its numbers are the kept ones, its distances what they say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import made_up
import pytest
from matplotlib.figure import Figure

from lintrans.paper import figures
from lintrans.paper.claims import Keys, State, Unit, Verdict, practice, record, rule
from lintrans.paper.claims.records import number_text
from lintrans.paper.pages import proxy_or_not as proxies
from lintrans.statistics import Interval
from lintrans.store.results import Store

YES, WEAK, NULL, REV, UNDECIDED, MISSING = State
EFFECTS = {
    "1": 2.0,
    "2": 1.5,
    "3": 1.3,
    "lm_softmax": 2.0,
    "lm_linear": 1.9,
    "lm_bare": 1.4,
    "cnn": 1.0,
    "cnn_zipf": 1.2,
}
KIND = {"C1": "ratio", "C2": "ratio", "C3": "ratio", "C4": "share", "C5": "correlation"}


def interval(claim: str, effect: float) -> Interval:
    """A number that stands for an effect of ln(effect) / ln(1.25) least clear ones, with a little error."""
    size = math.log(effect) / math.log(1.25)
    edges = [size, size - 0.1, size + 0.1]
    values = {
        "ratio": [1.25**z for z in edges],
        "share": [1 / (1 + 3.0**-z) for z in edges],
        "correlation": [math.tanh(z * math.atanh(0.3)) for z in edges],
    }[KIND[claim]]
    return made_up.interval(*values, kind=KIND[claim])


def keep(store: Store, claim: str, reading: str, units: Sequence[Unit]) -> None:
    record(Verdict(claim, reading, "paper", "x", tuple(units), rule(units)), store)


def state(effect: float) -> State:
    return YES if effect >= 1.25 else NULL


def unit(claim: str, name: str, decides: bool = True, part: str | None = None, convention: str | None = None) -> Unit:
    keys = Keys((name,), part=part, convention=convention)
    return Unit(f"{name} {part} {convention}", "x", interval(claim, EFFECTS[name]), state(EFFECTS[name]), decides, keys)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Store:
    monkeypatch.setenv("LINTRANS_STORE", str(tmp_path))
    monkeypatch.setattr(proxies, "_softmax", lambda scale: [])
    store = Store()
    for claim in proxies.BEHAVIOURS:
        reading = "init" if claim == "C2" else "tuned"
        per_block = "r_blocks" if claim == "C3" else None
        units = [unit(claim, name, claim != "C3", convention=per_block) for name in ("1", "2", "3")]
        keep(store, claim, reading, [*units, unit(claim, "1", convention="speed")] if claim == "C4" else units)
        language = [unit(claim, name) for name in ("lm_softmax", "lm_linear", "lm_bare")]
        images = [unit(claim, name, False, practice.OWN) for name in ("cnn", "cnn_zipf")]
        keep(store, claim.replace("C", "P"), reading, [*language, *images])
    return store


def test_numbers_are_the_kept_ones(kept: Store) -> None:
    cells = proxies.matrix("paper")
    assert set(cells) == set(proxies.COLUMNS)
    for name, effect in EFFECTS.items():
        assert set(cells[name]) == set(proxies.BEHAVIOURS), name
        for claim, cell in cells[name].items():
            expected = interval(claim, effect)
            assert (cell.interval.estimate, cell.interval.low) == (expected.estimate, expected.low)
            assert cell.state is state(effect)
            assert cell.effect == pytest.approx(math.log(effect) / math.log(1.25))
            assert cell.error == pytest.approx(0.1 / 1.96)
    assert cells["softmax"] == {}
    table = proxies.table(cells)
    assert list(table["behaviour"]) == list(proxies.BEHAVIOURS.values())
    assert str(table.loc[0, "Setting 1"]).startswith("2 [")
    assert table.loc[0, "softmax"] == ""
    shown = proxies.effects(cells)
    assert len(shown) == 5 * len(EFFECTS)
    assert shown.query("column == 'cnn'")["effect"].abs().max() == pytest.approx(0.0, abs=1e-9)


def test_distances_and_the_answer(kept: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = proxies.matrix("paper")
    rows = {str(row["column"]): row for row in proxies.distances(cells).to_dict("records")}
    found = {name: [float(row[each]) for each in ("low", "distance", "high")] for name, row in rows.items()}
    step = math.log(1.25)
    for name, effect in EFFECTS.items():
        if name != "lm_softmax":
            squared = (math.log(effect / 2.0) / step) ** 2 - 2 * (0.1 / 1.96) ** 2
            assert found[name][1] == pytest.approx(math.sqrt(max(0.0, squared)), abs=1e-9)
            assert found[name] == sorted(found[name])
    assert next(iter(rows)) == "1"
    assert found["3"][0] < found["3"][2]
    assert [rows[name]["nearest"] for name in ("1", "2", "3")] == [1.0, 0.0, 0.0]
    assert math.isnan(rows["cnn"]["nearest"])
    answer = proxies.answer("paper")
    assert answer is not None
    assert (answer.nearest, answer.share, answer.lacks) == ("Setting 1", 1.0, ())
    assert answer.bridge == found["lm_linear"][1]
    assert "**Setting 1**" in answer.text, "the nearest"
    low, distance, high = map(number_text, found["lm_linear"])
    assert f"{distance} [{low}, {high}]" in answer.text, "a distance has its interval"
    assert "Setting 1" in answer.finding
    assert "%" not in answer.finding
    monkeypatch.setattr(proxies, "SURE", 1.01)
    unsure = proxies.answer("paper")
    assert unsure is not None
    assert "open which proxy" in unsure.text
    assert "**Setting 1**" not in unsure.text
    assert "open" in unsure.finding
    differences = [abs(one - other) for _, one, other in proxies.apart(cells, "3")]
    assert len(differences) == len(proxies.BEHAVIOURS)
    assert differences == sorted(differences, reverse=True)
    lacks, adds, unsettled = proxies.missed(cells, "cnn")
    assert (lacks, adds, unsettled) == (list(proxies.BEHAVIOURS.values()), [], [])
    assert proxies.missed(cells, "softmax")[2] == list(proxies.BEHAVIOURS.values())


def test_without_practice_there_is_no_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LINTRANS_STORE", str(tmp_path))
    assert proxies.answer("paper") is None
    cells = proxies.matrix("quick")
    assert all(not row for row in cells.values())
    assert proxies.distances(cells).empty
    assert "not measured" in proxies.misses(cells)
    assert isinstance(figures.effect_matrix(proxies.effects(cells), proxies.COLUMNS, 5), Figure)


def test_the_figure_draws_every_number(kept: Store) -> None:
    cells = proxies.matrix("paper")
    figure = figures.effect_matrix(proxies.effects(cells), proxies.COLUMNS, len(proxies.NETWORKS))
    drawn = [
        float(line.get_ydata()[0])  # type: ignore[index, arg-type]
        for axes in figure.axes
        for line in axes.lines
        if line.get_marker() not in ("None", None, "")
    ]
    expected = [cell.effect for row in cells.values() for cell in row.values()]
    assert sorted(drawn) == pytest.approx(sorted(expected))
    assert isinstance(figures.distance_bars(proxies.distances(cells)), Figure)


def test_two_units_of_one_behaviour_are_joined() -> None:
    one, other = made_up.interval(1.0, 0.5, 2.0, kind="ratio"), made_up.interval(4.0, 2.0, 8.0, kind="ratio")
    cell = proxies._joined([(one, NULL), (other, YES)])
    assert cell is not None
    assert (cell.interval.estimate, cell.interval.low, cell.interval.high) == pytest.approx((2.0, 1.0, 4.0))
    assert cell.state is UNDECIDED
