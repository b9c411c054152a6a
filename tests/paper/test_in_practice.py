"""What chapters show of real networks: the kept numbers, and one line where there are none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import made_up
import pandas as pd
import pytest

from lintrans.paper.claims import State, Unit, practice, record
from lintrans.paper.pages import in_practice


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("LINTRANS_STORE", str(tmp_path))
    return tmp_path


def keep(claim: str, reading: str, states: Sequence[State]) -> None:
    """A verdict whose networks have the ratios 2, 3, ..., each in a state."""
    shown = {
        name: practice.Shown(
            Unit(name, "x", None, state, keys=practice.keys(name))
            if state is State.MISSING
            else Unit(
                name, "x", made_up.interval(2.0 + k, 1.5 + k, 2.5 + k, kind="ratio"), state, keys=practice.keys(name)
            ),
            None if state is State.MISSING else pd.DataFrame({0: [0.7, 0.8 + 0.1 * k, 0.9]}),
        )
        for k, (name, state) in enumerate(zip(practice.NETWORKS, states, strict=True))
    }
    record(practice.verdict(claim, "lintrans.paper.claims.p1", reading, "quick", shown, (), {}))


def test_the_numbers_are_those_that_networks_show_by_themselves() -> None:
    yes, _, null, rev, undecided, missing = State
    keep("P1", "tuned", (yes, yes, undecided, null, rev, missing))
    before = in_practice.digest()
    [rows] = in_practice.kept("C1", "quick").values()
    assert [row["case"] for row in rows] == list(practice.NETWORKS[:5])  # mlp has no number
    assert [row["estimate"] for row in rows] == [2.0, 3.0, 4.0, 5.0, 6.0]
    assert [row["state"] for row in rows] == [yes, yes, undecided, null, rev]
    forest, text = in_practice.forest("C1", "quick"), in_practice.said("C1", "quick")
    assert forest is not None
    assert forest.count("<title>") == 5
    assert all(name in forest and name in text for name in practice.NETWORKS[:5])
    assert "mlp" not in forest
    assert "{doc}`practice`" in text
    keep("P1", "default", (null,) * 6)
    assert in_practice.digest() != before
    both = in_practice.forest("C1", "quick")
    assert both is not None
    assert both.count("<title>") == 11
    assert len(in_practice.said("C1", "quick")) > len(text)


def test_where_nothing_is_kept_one_line_says_so_and_nothing_is_drawn() -> None:
    keep("P1", "tuned", (State.MISSING,) * 6)
    for claim in in_practice.CLAIMS:
        assert in_practice.said(claim, "quick").count("{doc}`practice`") == 1
        assert "\n" not in in_practice.said(claim, "quick")
        assert in_practice.forest(claim, "quick") is None
    keep("P1", "tuned", (State.YES,) * 6)
    assert in_practice.forest("C1", "quick") is not None
    assert in_practice.forest("C1", "paper") is None
    assert in_practice.forest("C2", "quick") is None
