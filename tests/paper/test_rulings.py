"""What stands beside a verdict: cases that Holm's correction takes away, and whether it is robust."""

from __future__ import annotations

from made_up import interval, unit, verdict

from lintrans.paper.claims import State


def test_cases_that_holm_takes_away_are_named() -> None:
    """YES alone, but not after the correction for three cases: named beside the verdict, and no part of it."""
    numbers = (interval(2, 1.5, 3, p=0.001), interval(2, 1.01, 3, p=0.03), interval(1, 0.5, 2, p=0.9))
    states, cases = (State.YES, State.YES, State.UNDECIDED), ("one", "two", "three")
    units = [unit(state, case, interval=own) for state, case, own in zip(states, cases, numbers, strict=True)]
    found = verdict(*units)
    assert found.ruling.where == ("one",)
    assert found.ruling.uncorrected == ("two",)
    assert "not after Holm's correction for 3 cases: two" in found.flags[0]
    assert "Holm" in found.markdown()
    assert not any("Holm" in flag for flag in verdict(*units[:1]).flags)


def test_robust_is_no_word_for_what_says_nothing() -> None:
    assert verdict(unit(State.UNDECIDED), checks={"fixed batch": True}).robust is None
    assert verdict(unit(State.YES), checks={"fixed batch": True}).robust is True
    assert verdict(unit(State.YES), checks={"fixed batch": False}).robust is False
