"""What P1 to P5 share: whether networks of practice show a behaviour, and how they compare.

P1 to P5 are the other half of C1 to C5: *Transformers show it, CNNs do not*. A network's own unit is that of the
behaviour's claim, with its statistic and margins. A language model agrees if its unit is YES. An image network agrees
if its own is NULL or REV, or smaller than that of each language model by an interval; it disagrees if it shows the
behaviour and is not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ...statistics import Interval, holm, mean_of, no_narrower
from .common import Basis, rules_digest
from .records import Verdict
from .rules import LEVEL, Keys, Ruling, State, Unit, Word, agree, ratio_state, ratio_unit

LANGUAGE = ("lm_softmax", "lm_linear", "lm_bare")
IMAGES = ("cnn", "cnn_zipf", "mlp")
NETWORKS = (*LANGUAGE, *IMAGES)
TRANSFORMER = "lm_softmax"
"""The real one, which the two others are compared with."""
CHAPTER = "practice"
READINGS = ("default", "tuned")
"""At the rates that libraries have, and at each optimizer's best."""
GROUP = "practice"
BASIS = Basis()
"""Of no problem that is computed twice."""
CONTRAST = "effect of the nearest language model over that of this network"
OWN, AGAINST, EFFECT = "own effect", f"against {TRANSFORMER}", "effect over that of lm_softmax"
LACKS, SMALLER, SHOWS = "does not show it", "shows less than each language model", "shows it too"
ANOTHER_SET = "another evaluation set"


@dataclass(frozen=True)
class Shown:
    """What a network shows of a behaviour.

    Attributes:
        unit: its own, by the rule of the behaviour's claim.
        table: what its interval is the mean of, ``[seeds, batches]``, on a scale on which effects are differences
            (logarithm of a ratio, logit of a share, Fisher's z of a correlation); None where it was not measured.
        beside: further statistics.
        width: half the distance between two values that a share or a correlation can take there.
    """

    unit: Unit
    table: pd.DataFrame | None = None
    beside: tuple[Unit, ...] = ()
    width: float = 0.0


def keys(name: str, part: str | None = None) -> Keys:
    """What a case of one network is about."""
    return Keys((name,), part=part)


def missing(name: str, statistic: str) -> Shown:
    """A network that was not measured."""
    return Shown(Unit(name, statistic, None, State.MISSING, keys=keys(name)))


def contrast(first: Shown, second: Shown) -> Interval | None:
    """Effect of one network over that of another, as a ratio, over the seeds and batches that both have."""
    if first.table is None or second.table is None:
        return None
    one, other = first.table.align(second.table, join="inner")
    if not one.size:
        return None
    return no_narrower(mean_of((one - other).to_numpy(np.float64)), first.width + second.width).exp()


def image_unit(name: str, shown: Mapping[str, Shown]) -> Unit:
    """Whether an image network lacks what the language models have; its interval is that of the closest contrast."""
    own = shown[name].unit.state
    found = [contrast(shown[each], shown[name]) for each in LANGUAGE]
    known = [each for each in found if each is not None]
    if own is State.MISSING or len(known) < len(LANGUAGE):
        return Unit(name, CONTRAST, None, State.MISSING, keys=keys(name))
    closest = min(known, key=lambda each: each.estimate)
    smaller = all(ratio_state(each) in (State.YES, State.WEAK) for each in known)
    if own in (State.NULL, State.REV) or smaller:
        state, remark = State.YES, LACKS if own in (State.NULL, State.REV) else SMALLER
    elif own is State.UNDECIDED:
        return Unit(name, CONTRAST, closest, State.UNDECIDED, keys=keys(name))
    else:
        state, remark = State.REV, SHOWS
    return Unit(name, CONTRAST, closest, state, keys=keys(name), remarks=(remark,))


def units_of(shown: Mapping[str, Shown]) -> list[Unit]:
    """The units that decide, of language models and of image networks."""
    return [*(shown[name].unit for name in LANGUAGE), *(image_unit(name, shown) for name in IMAGES)]


def beside(shown: Mapping[str, Shown]) -> list[Unit]:
    """What stands beside them: effects of the image networks, the bridge's contrasts, further statistics."""
    own = [replace(shown[name].unit, case=f"{name}, {OWN}", decides=False, keys=keys(name, OWN)) for name in IMAGES]
    bridge = [
        ratio_unit(f"{name} {AGAINST}", EFFECT, contrast(shown[name], shown[TRANSFORMER]), False, keys(name, AGAINST))
        for name in LANGUAGE
        if name != TRANSFORMER
    ]
    return [*own, *bridge, *(unit for each in shown.values() for unit in each.beside)]


def ruling_of(units: Sequence[Unit]) -> Ruling:
    """The verdict over :func:`units_of`.

    An input missing: not measurable here. All agree: reproduced. No language model is YES, WEAK or open: not
    reproduced. A language model's YES or WEAK that survives Holm: partly, naming every network that agrees. Else open.
    """
    states = [unit.state for unit in units]
    if State.MISSING in states:
        return Ruling(Word.UNMEASURABLE)
    if all(state is State.YES for state in states):
        return Ruling(Word.REPRODUCED)
    models = [unit for unit in units if unit.keys.problem in LANGUAGE]
    if not {State.YES, State.WEAK, State.UNDECIDED} & {unit.state for unit in models}:
        return Ruling(Word.NOT)
    tested = [unit for unit in units if LACKS not in unit.remarks]
    adjusted = holm([unit.interval.p if unit.interval else np.nan for unit in tested])
    sure = {id(unit) for unit, p in zip(tested, adjusted, strict=True) if p < LEVEL}
    sure |= {id(unit) for unit in units if LACKS in unit.remarks}
    where, weak = (
        tuple(unit.case for unit in units if unit.state is state and id(unit) in sure)
        for state in (State.YES, State.WEAK)
    )
    lost = tuple(unit.case for unit in units if unit.state in (State.YES, State.WEAK) and id(unit) not in sure)
    if {*where, *weak} & {unit.case for unit in models}:
        return Ruling(Word.PARTLY, where, weak=weak, uncorrected=lost, tests=len(tested))
    return Ruling(Word.UNMEASURABLE, undecided=True, uncorrected=lost, tests=len(tested))


def by_network(measured: Mapping[str, object], statistic: str, of: Callable[[str], Shown]) -> dict[str, Shown]:
    """What every network shows; missing where it was not measured."""
    return {name: of(name) if name in measured else missing(name, statistic) for name in NETWORKS}


def alone(frames: Mapping[str, pd.DataFrame], of: Callable[[Mapping[str, pd.DataFrame]], Mapping[str, Shown]]) -> bool:
    """Whether each evaluation set alone says what they say together."""
    units = [each.unit for each in of(frames).values()]
    numbers = sorted({int(number) for frame in frames.values() for number in frame["batch"].unique()})
    return all(
        agree(units, [each.unit for each in of({n: f[f["batch"] == number] for n, f in frames.items()}).values()])
        for number in numbers
    )


def verdict(
    claim: str, module: str, reading: str, scale: str, shown: Mapping[str, Shown], short: Sequence[str],
    checks: Mapping[str, bool],
) -> Verdict:  # fmt: skip
    """The verdict of one behaviour and reading."""
    units = units_of(shown)
    every, digest = (*units, *beside(shown)), rules_digest(module)
    return Verdict(claim, reading, scale, CHAPTER, every, ruling_of(units), tuple(short), digest, checks)
