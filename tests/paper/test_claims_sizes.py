"""C16 on made-up behaviours that should pass, should fail, and lack something; a tiny measurement for real."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import made_up
import numpy as np
import pandas as pd
import pytest
from made_up import unit
from matplotlib import pyplot as plt

from lintrans.paper import figures
from lintrans.paper.budgets import SizeBudget
from lintrans.paper.claims import State, Unit, Verdict, Word, c16
from lintrans.paper.claims.c16 import FEATURES, LARGEST, Behaviour, Size, title
from lintrans.paper.figures.sizes import MARKS
from lintrans.paper.measure import variants
from lintrans.paper.pages import behaviours
from lintrans.paper.pages import smaller as tables
from lintrans.paper.problems import PROBLEMS, SIZES
from lintrans.paper.scales import SCALES, SIZE_BUDGETS, SIZE_PROTOCOL

YES, WEAK, NULL, REV, UNDECIDED, MISSING = State
Table = dict[Size, dict[str, Behaviour]]


def behaviour(state: State | None) -> Behaviour:
    """One unit in that state; None: undefined."""
    if state is None:
        return Behaviour((Unit("x", c16.CONSTANT, None, MISSING),), undefined=True)
    return Behaviour((unit(state),))


def table_of(whole: State | dict[str, State], smaller: State | dict[str, State], **special: Any) -> Table:
    """The largest size in some states, the others in other ones; single layers lack C3 and C5 by structure."""

    def row(states: State | dict[str, State], layers: int) -> dict[str, Behaviour]:
        own = {claim: states if isinstance(states, State) else states[claim] for claim in FEATURES}
        return {claim: behaviour(None if layers == 1 and claim in c16.CURVED else own[claim]) for claim in FEATURES}

    return {size: row(whole if size == LARGEST else special.get(title(size), smaller), size[0]) for size in SIZES}


def states(default: State, **other: State) -> dict[str, State]:
    return dict.fromkeys(FEATURES, default) | other


def judge(table: Table, scale: str = "paper", budget: SizeBudget = SIZE_PROTOCOL) -> Verdict:
    """The tuned reading, the cooled one being the same."""
    return c16.judge("tuned", scale, {"tuned": table, "cooled": table}, budget)


def shown(table: Table, case: str) -> Unit:
    """What the page has of a smaller size."""
    [unit] = [unit for unit in tables.sizes(judge(table), table) if unit.case == case]
    return unit


def named(table: Table) -> dict[str, dict[str, Behaviour]]:
    return {title(size): own for size, own in table.items()}


def ruling(table: Table) -> str:
    return str(judge(table).ruling)


def test_all_of_it_and_nothing_smaller_has_it() -> None:
    assert ruling(table_of(YES, states(YES, C1=NULL))) == "reproduced"
    assert ruling(table_of(YES, WEAK)) == "reproduced"  # there in part is less than there


def test_a_smaller_size_with_all_of_it_refutes() -> None:
    table = table_of(YES, NULL, **{"L = 2, d = 1": YES})
    verdict = judge(table)
    assert verdict.ruling.word is Word.NOT
    assert shown(table, "L = 2, d = 1").state is REV
    assert shown(table, "L = 3, d = 2").state is YES
    assert shown(table, "L = 3, d = 2").statistic.startswith("C1 (does not hold), C2 (does not hold)")
    assert len(tables.sizes(verdict, table)) == len(SIZES) - 1


def test_some_of_it() -> None:
    """What the largest has not, or has in part, nobody needs more of."""
    some = states(YES, C2=WEAK, C4=REV)
    assert ruling(table_of(some, NULL)) == "partly reproduced (C1, C2, C3, C5)"
    assert ruling(table_of(some, some)) == "not reproduced"
    assert ruling(table_of(some, states(YES, C4=NULL))) == "not reproduced"
    assert ruling(table_of(NULL, NULL)) == "not reproduced"
    assert ruling(table_of(states(NULL, C1=UNDECIDED), NULL)) == "not measurable here (undecided)"


def test_what_the_seeds_leave_open() -> None:
    assert ruling(table_of(YES, states(YES, C1=UNDECIDED))) == "not measurable here (undecided)"
    assert ruling(table_of(YES, states(UNDECIDED, C4=NULL))) == "reproduced"  # it lacks C4 for sure
    several = table_of(states(YES, C1=UNDECIDED), states(YES, C1=WEAK))
    assert ruling(several) == "not measurable here (undecided)"  # as much of C1 as the largest may have?
    assert c16.unsettled((2, 5), several) == ["C1"]
    assert ruling(table_of(states(YES, C1=UNDECIDED), YES)) == "not reproduced"  # no doubt of that


def test_of_one_layer_only_what_can_be_measured_counts() -> None:
    """Its Hessian is constant: C3 and C5 are not measurable, neither there nor missing."""
    table = table_of(YES, NULL, **{"L = 1, d = 5": states(YES, C2=WEAK)})
    verdict = judge(table)
    assert verdict.ruling.word is Word.REPRODUCED
    assert shown(table, "L = 1, d = 5").statistic == "C2 (holds in part)"
    assert behaviours.words(named(table)).loc["L = 1, d = 5", "C3"] == "not measurable"
    assert not table[1, 5]["C3"].missing
    whole = table_of(YES, NULL, **{"L = 1, d = 5": YES})
    assert shown(whole, "L = 1, d = 5").state is UNDECIDED, "it has all that can be measured: nobody knows of the rest"
    assert shown(whole, "L = 1, d = 5").statistic == "C3 (not measurable), C5 (not measurable)"
    assert ruling(whole) == "not measurable here (undecided)"
    neither = states(YES, C3=NULL, C5=NULL)
    assert ruling(table_of(neither, NULL, **{"L = 1, d = 5": YES})) == "not reproduced", "it needs neither"


def test_the_cooled_reading_and_its_check() -> None:
    tuned, cooled = table_of(YES, NULL), table_of(YES, NULL, **{"L = 2, d = 1": YES})
    both = {"tuned": tuned, "cooled": cooled}
    first, second = (c16.judge(reading, "paper", both, SIZE_PROTOCOL) for reading in c16.READINGS)
    assert (first.reading, first.ruling.word, first.checks) == ("tuned", Word.REPRODUCED, {"cooled": False})
    assert (second.reading, second.ruling.word, second.checks) == ("cooled", Word.NOT, {})
    assert judge(tuned).checks == {"cooled": True}


def test_what_e_cannot_show_is_marked() -> None:
    table = table_of(YES, states(YES, C2=NULL))
    assert shown(table, "L = 3, d = 1").flags == ()
    powerless = Behaviour((unit(NULL, remarks=(c16.POWERLESS,)),))
    table[3, 1] = table[3, 1] | {"C2": powerless}
    assert shown(table, "L = 3, d = 1").remarks == (f"lacks C2 alone: {c16.POWERLESS}",)
    assert any(c16.POWERLESS in flag for flag in judge(table).flags)
    table[3, 1] = table[3, 1] | {"C1": behaviour(NULL)}
    assert shown(table, "L = 3, d = 1").remarks == ()
    noise = pd.DataFrame({"directions": [1.0, 2.0, 40.0]})
    assert c16.few_directions(noise)
    assert not c16.few_directions(noise * 2)


def test_anything_missing_is_not_measurable() -> None:
    table = table_of(YES, NULL, **{"L = 3, d = 1": states(NULL, C2=MISSING)})
    verdict = judge(table)
    assert str(verdict.ruling) == "not measurable here"
    assert shown(table, "L = 3, d = 1").state is MISSING
    assert behaviours.words(named(table)).loc["L = 3, d = 1", "C2"] == "not measured"


def test_the_verdict_keeps_every_case() -> None:
    verdict = judge(table_of(YES, NULL))
    assert [unit.case for unit in verdict.units if unit.decides] == [title(size) for size in SIZES]
    assert sum(not unit.decides for unit in verdict.units) == len(SIZES) * len(FEATURES)
    assert verdict.deviations == (c16.FIRST_HALF,)
    short = judge(table_of(YES, NULL), "quick", SIZE_BUDGETS["quick"]).deviations
    assert "horizon T of 100 steps instead of 2,000" in short
    assert "noise: 100 minibatches instead of 10,000" in short


def test_sizes_are_setting_1_in_all_else() -> None:
    assert list(SIZES)[-1] == LARGEST
    for (layers, d), name in SIZES.items():
        setting, whole = PROBLEMS[name], PROBLEMS["1"]
        assert setting.model == replace(whole.model, layers=layers, d=d)  # type: ignore[type-var]
        assert setting.task == replace(whole.task, d=d)  # type: ignore[type-var]
        assert setting.clip == whole.clip
        assert c16.constant_hessian(name) == (layers == 1)


def test_the_grid_of_rates_is_shared_with_setting_1() -> None:
    own, whole = SIZE_BUDGETS("paper").training, SCALES["paper"]
    for field in ("rates", "clips", "tuning_seeds", "screening", "screening_seeds", "minima", "batch", "tuning_blocks"):
        assert getattr(own, field) == getattr(whole, field)


def test_every_word_has_a_mark() -> None:
    assert set(MARKS) == {*behaviours.NAMES.values(), behaviours.UNDEFINED, behaviours.MISSING}
    table = table_of(states(YES, C1=WEAK), states(NULL, C2=UNDECIDED), **{"L = 3, d = 1": MISSING})
    figure = figures.size_grid(behaviours.words(named(table)), FEATURES, title(LARGEST))
    [axes] = figure.axes
    assert len(axes.lines) == len(SIZES) * len(FEATURES)
    assert {text.get_text() for text in figure.legends[0].get_texts()} == set(MARKS)
    assert not plt.get_fignums()


TINY = SizeBudget(
    training=made_up.tuning(settings=("L = 1, d = 5", "1"), rates=(0.01, 0.2, 5.0)),
    curvature=made_up.curvature(),
    noise=made_up.noise(settings=("L = 1, d = 5", "1"), samples=10, batch=20, reference=100),
)


@pytest.mark.slow
def test_behaviours_for_real() -> None:
    """Two sizes whose kernels other tests compile too; the others are missing."""
    measured = variants.sizes(TINY)
    table = c16.behaviours(measured, TINY)
    complete = [size for size, own in table.items() if not any(found.missing for found in own.values())]
    assert set(complete) <= {(1, 5), (3, 5)}
    one, three = table[1, 5], table[3, 5]
    assert (one["C3"].undefined, one["C5"].undefined) == (True, True)
    assert not any(found.undefined for found in three.values())
    assert not one["C2"].missing
    if SIZES[3, 5] in measured.histories:
        assert set(measured.histories["1"].runs["optimizer"]) == {"sgd", "adam"}
        assert set(measured.norms["1"]["optimizer"]) == {"adam"}
        assert [unit.case for unit in three["C3"].units if unit.decides] == [
            "L = 3, d = 5, step 10",
            "L = 3, d = 5, step 15",
        ]
    verdict = judge(table, "quick", TINY)
    assert str(verdict.ruling) == "not measurable here"
    assert tables.best_rates(measured)["size"].tolist() == ["L = 1, d = 5", "L = 3, d = 5"]
    assert len(tables.above_least(measured)) <= 1
    rows = behaviours.details(named(table), "size")
    assert len(rows) == len(SIZES) * len(FEATURES) + (len(TINY.curvature.judged) - 1) * ("1" in measured.conditions)


def test_least_loss_of_one_layer() -> None:
    assert tables.least_of_one_layer((1, 5)) == pytest.approx(30 / 26)
    assert np.isfinite([tables.least_of_one_layer(size) for size in SIZES]).all()
    assert math.isclose(tables.least_of_one_layer((3, 1)), 2 / 22)


@pytest.mark.slow
def test_hessians_of_one_layer_do_not_change() -> None:
    """Compiles the kernels of d = 1 and 2."""
    one, more = tables.spreads()
    assert one < 1e-9
    assert more > 1e-3


@pytest.mark.parametrize(
    ("smaller", "words"), [(YES, "have all of it"), (NULL, "8 lack something"), (MISSING, "were not measured")]
)
def test_sizes_are_counted(smaller: State, words: str) -> None:
    assert words in tables.counted(judge(table_of(YES, smaller), "paper", SIZE_PROTOCOL))


RATIO = made_up.interval(2, 1, 3, kind="ratio")


def test_every_deciding_case_is_in_the_plot() -> None:
    def numbered(found: Behaviour, case: str) -> Behaviour:
        state = found.units[0].state
        return Behaviour((unit(state, case, interval=None if state is MISSING else RATIO),))

    rows = named(table_of(YES, NULL)).items()
    table = {name: {claim: numbered(found, name) for claim, found in row.items()} for name, row in rows}
    drawn = behaviours.forest({"tuned": table, "cooled": table})
    flat = sum(layers == 1 for layers, _ in SIZES)
    assert drawn.count('role="rowheader"') == len(SIZES) * len(FEATURES) - flat * len(c16.CURVED)
