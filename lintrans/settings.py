"""The one table of what each scale computes; the settings themselves are in :mod:`lintrans.problems`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from types import MappingProxyType

import pandas as pd

from .budgets import (
    AttentionBudget,
    CheckBudget,
    ComparisonBudget,
    ControlBudget,
    CurvatureBudget,
    DepthBudget,
    DoubleCheckBudget,
    LargerBudget,
    NoiseBudget,
    OwnModelBudget,
    SizeBudget,
    TailBudget,
    TuningBudget,
)
from .errors import choice
from .optimizers import Looks
from .problems import ATTENTION_TITLES, FULL_LINEAR, HEADS, NONLINEAR, PROBLEMS, SIZES, TAIL_FAMILIES
from .problems import SETTINGS as SETTINGS  # outside code knows it by this name

LABELS = Looks("label")
SCALE_NAMES = ("paper", "quick")
JUDGING_SEEDS = 24
CURVATURE_SEEDS = 12
PAPER_SEEDS = 6
TUNING_SEEDS = (1000, 1001, 1002)
RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
TARGETS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)


def frame(names: Iterable[str]) -> pd.DataFrame:
    """Problems as a table for a page: context length, covariates, E||x||^2, published rates and clip."""
    rows = []
    for name in names:
        setting = PROBLEMS[name]
        rows.append(
            {
                "setting": setting.title,
                "$n$": setting.task.n,
                "covariates": setting.law,
                r"$\mathbb{E}\lVert x \rVert^2$": f"{setting.task.zero_loss:g}",
                **{f"{LABELS[optimizer]} rate": f"{lr:g}" for optimizer, lr in setting.lr.items()},
                "clip": f"{setting.clip:g}",
            }
        )
    return pd.DataFrame(rows)


INF = float("inf")
_THREE = ("1", "2", "3")

PROTOCOL = TuningBudget(
    _THREE, 10_000, JUDGING_SEEDS, 1000, 1000, 900, 50, RATES, (1.0, INF), TUNING_SEEDS, 1000, 3, 100
)
"""What the rules of judgement ask of claim C1; a page prints where its scale falls short of it."""

SCALES: MappingProxyType[str, TuningBudget] = MappingProxyType(
    {
        # The paper's steps, batch and seeds. The rules ask for 24 or 12: `seeds` of a chapter, for those who have time.
        "paper": replace(PROTOCOL, seeds=PAPER_SEEDS, seconds=420),
        "quick": TuningBudget(_THREE, 200, 4, 500, 20, 30, 10, RATES, (1.0, INF), TUNING_SEEDS[:1], 60, 2, 10),
    }
)
"""Steps, seeds, batch and grid of the judged trainings at each scale: the one place to change them."""


CURVATURE_PROTOCOL = CurvatureBudget(
    CURVATURE_SEEDS, (0, 250, 750, 1250, 2500, 5000, 7500, 10_000), (750, 1250), 250, 250, (50, 2000, 50), RATES, 1000,
    PAPER_SEEDS, 420,
)  # fmt: skip
"""What the rules of judgement ask of claims C3 to C5."""

CURVATURE: MappingProxyType[str, CurvatureBudget] = MappingProxyType(
    {
        "paper": replace(CURVATURE_PROTOCOL, seeds=PAPER_SEEDS, seconds=360),
        "quick": CurvatureBudget(3, (0, 30, 50, 100, 200), (30, 50), 30, 50, (10, 100, 10), RATES, 60, 3, 30),
    }
)


CONTROLS: MappingProxyType[str, ControlBudget] = MappingProxyType(
    {"paper": ControlBudget(1000, PAPER_SEEDS, 1000, 100, 50), "quick": ControlBudget(100, 3, 500, 10, 10)}
)


NOISE_PROTOCOL = NoiseBudget(_THREE, 16, 10_000, 1000, 100_000, (10, 100), (100, 300, 1000), 4, 1000, 330)
"""What the rules of judgement ask of claim C2: settings, initializations, minibatches and prompts."""

NOISE: MappingProxyType[str, NoiseBudget] = MappingProxyType(
    {
        "paper": NOISE_PROTOCOL,
        "quick": NoiseBudget(_THREE, 3, 300, 200, 10_000, (10, 50), (30, 100), 3, 200, 20),
    }
)


SPHERE_RATES = (2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
"""Further rates of the grid on the sphere. SGD's best lies among them, and one widening after another costs more."""


TAILS: MappingProxyType[str, TailBudget] = MappingProxyType(
    {
        "paper": TailBudget(
            TuningBudget((), 1000, PAPER_SEEDS, 1000, 100, 100, 50, RATES, (1.0,), TUNING_SEEDS[:1], 1000, 3, 100),
            (250, 500, 1000), 4, 2000, 120,
        ),
        "quick": TailBudget(
            TuningBudget((), 60, 3, 200, 10, 8, 10, RATES, (1.0,), TUNING_SEEDS[:1], 60, 3, 10), (30,), 3, 100, 10
        ),
    }
)  # fmt: skip
"""Levels of tail beside those that claims C6 to C8 are judged on: shorter, with fewer seeds and minibatches."""


_SIZES = tuple(SIZES.values())

SIZE_PROTOCOL = SizeBudget(
    replace(PROTOCOL, settings=_SIZES, steps=2000, seeds=CURVATURE_SEEDS),
    replace(CURVATURE_PROTOCOL, probes=(750, 1250)),
    replace(NOISE_PROTOCOL, settings=_SIZES, batches=(), steps=()),
    0,
)
"""What the rules of judgement ask of claim C16: those of C1 to C5, at T = 2,000 and best rates, for every size."""

SIZE_BUDGETS: MappingProxyType[str, SizeBudget] = MappingProxyType(
    {
        "paper": SizeBudget(
            replace(SIZE_PROTOCOL.training, seeds=PAPER_SEEDS, blocks=200, seconds=120),
            replace(SIZE_PROTOCOL.curvature, seeds=PAPER_SEEDS, rates=(), grid_steps=0, grid_seeds=0, seconds=40),
            replace(SIZE_PROTOCOL.noise, seeds=PAPER_SEEDS, samples=3000, seconds=50),
            210,
        ),
        "quick": SizeBudget(
            TuningBudget(_SIZES, 100, 3, 200, 10, 8, 10, RATES[::3], (1.0,), TUNING_SEEDS[:1], 60, 1, 10),
            CurvatureBudget(3, (30, 50), (30, 50), 30, 50, (10, 100, 10), (), 0, 0, 4),
            NoiseBudget(_SIZES, 3, 100, 200, 5000, (), (), 0, 0, 4),
            20,
        ),
    }
)


_SHALLOW, _DEEP = ("depth 2", "depth 4"), ("depth 6", "depth 8")
_ALL_DEPTHS = (*_SHALLOW, *_DEEP)
_NO_RATES: tuple[float, ...] = ()

DEPTH_PROTOCOL = DepthBudget(
    replace(PROTOCOL, settings=_SHALLOW, seeds=CURVATURE_SEEDS),
    replace(PROTOCOL, settings=_ALL_DEPTHS, seeds=PAPER_SEEDS, steps=5000),
    replace(CURVATURE_PROTOCOL, rates=_NO_RATES),
    replace(CURVATURE_PROTOCOL, rates=_NO_RATES, seeds=PAPER_SEEDS, probes=(0, 250, 750, 1250, 2500, 5000)),
    replace(NOISE_PROTOCOL, settings=_SHALLOW, batches=(), steps=()),
    replace(NOISE_PROTOCOL, settings=_DEEP, seeds=8, samples=10_000, batches=(), steps=()),
    1, 1000, 1000, PAPER_SEEDS, 0,
)  # fmt: skip
"""What the rules of judgement ask of claims C9 to C12."""

DEPTH_BUDGETS: MappingProxyType[str, DepthBudget] = MappingProxyType(
    {
        "paper": replace(
            DEPTH_PROTOCOL,
            long=replace(
                DEPTH_PROTOCOL.long, seeds=PAPER_SEEDS, blocks=200, tuning_seeds=TUNING_SEEDS[:1], tuning_blocks=50
            ),
            short=replace(
                DEPTH_PROTOCOL.short, blocks=200, tuning_seeds=TUNING_SEEDS[:1], tuning_blocks=50, rates=RATES[2:9],
                clips=(1.0,), screening=500, finalists=2,
            ),
            long_curvature=replace(
                DEPTH_PROTOCOL.long_curvature, seeds=PAPER_SEEDS, probes=DEPTH_PROTOCOL.long_curvature.probes[1:]
            ),
            short_curvature=replace(DEPTH_PROTOCOL.short_curvature, probes=DEPTH_PROTOCOL.short_curvature.probes[1:]),
            # a contrast of two depths uses the initializations that both have
            shallow_noise=replace(DEPTH_PROTOCOL.shallow_noise, seeds=DEPTH_PROTOCOL.deep_noise.seeds),
            deep_noise=replace(DEPTH_PROTOCOL.deep_noise, samples=3000),
            precision_seeds=2,
            seconds=540,
        ),
        "quick": DepthBudget(
            TuningBudget(_SHALLOW, 100, 4, 200, 10, 3, 10, RATES[2:9:3], (1.0,), TUNING_SEEDS[:1], 50, 1, 5),
            TuningBudget(_ALL_DEPTHS, 60, 3, 200, 10, 5, 10, RATES[2:9:3], (1.0,), TUNING_SEEDS[:1], 40, 1, 5),
            CurvatureBudget(2, (100,), (), 50, 50, (0, 0, 1), _NO_RATES, 0, 0, 1),
            CurvatureBudget(2, (60,), (), 50, 50, (0, 0, 1), _NO_RATES, 0, 0, 4),
            NoiseBudget(_SHALLOW, 3, 200, 200, 5000, (), (), 0, 0, 2),
            NoiseBudget(_DEEP, 3, 100, 200, 5000, (), (), 0, 0, 3),
            1, 30, 60, 2, 25,
        ),
    }
)  # fmt: skip
"""Depths at each scale. The rules ask for 10,000 steps and minibatches and 12 or 16 seeds up to four layers, and for
half the steps, 6 or 8 seeds beyond; two depths are compared at the horizon and the seeds that both have."""


LARGER_PROTOCOL = LargerBudget(
    replace(PROTOCOL, settings=("larger",), steps=2000, seeds=PAPER_SEEDS),
    1000,
    replace(NOISE_PROTOCOL, settings=("larger",), seeds=8, batches=(), steps=()),
    0,
)
"""What the rules of judgement ask of claim C14."""

LARGER_BUDGETS: MappingProxyType[str, LargerBudget] = MappingProxyType(
    {
        "paper": LargerBudget(
            replace(
                LARGER_PROTOCOL.training, batch=250, blocks=20, every=200, rates=RATES[1:5], clips=(1.0,),
                tuning_seeds=TUNING_SEEDS[:1], tuning_blocks=10, own_rates=(("sgd", RATES[5:9]),),
            ),
            1000,
            replace(LARGER_PROTOCOL.noise, seeds=4, samples=2000, batch=250, reference=25_000),
            500,
        ),
        "quick": LargerBudget(
            TuningBudget(("larger",), 20, 2, 32, 1, 4, 20, RATES[3:7:2], (1.0,), TUNING_SEEDS[:1], 10, 1, 1),
            10,
            NoiseBudget(("larger",), 2, 40, 32, 1000, (), (), 0, 0, 2),
            8,
        ),
    }
)  # fmt: skip


_NONLINEAR = (NONLINEAR.name,)

NONLINEAR_PROTOCOL = SizeBudget(
    TuningBudget(_NONLINEAR, 2000, 5, 2000, 1000, 0, 50, (), (), (), 0, 0, 0),
    replace(CURVATURE_PROTOCOL, seeds=5, rates=(), grid_steps=0, grid_seeds=0),
    NoiseBudget(_NONLINEAR, 5, 10_000, 2000, 200_000, (), (), 0, 0, 0),
    0,
)
"""What the rules of judgement ask of claim C15, with the paper's batches of 2000; published rates, so no search."""

NONLINEAR_BUDGETS: MappingProxyType[str, SizeBudget] = MappingProxyType(
    {
        "paper": SizeBudget(
            replace(NONLINEAR_PROTOCOL.training, batch=1000, blocks=200, seconds=90),
            replace(NONLINEAR_PROTOCOL.curvature, probes=(1, 750, 1250), seconds=180),
            NoiseBudget(_NONLINEAR, 5, 1000, 1000, 100_000, (), (), 0, 0, 15),
            300,
        ),
        "quick": SizeBudget(
            TuningBudget(_NONLINEAR, 100, 3, 200, 10, 4, 10, (), (), (), 0, 0, 0),
            CurvatureBudget(3, (1, 30, 50), (30, 50), 30, 50, (10, 100, 10), (), 0, 0, 12, 100),
            NoiseBudget(_NONLINEAR, 3, 100, 100, 5000, (), (), 0, 0, 2),
            20,
        ),
    }
)


CHECKS: MappingProxyType[str, CheckBudget] = MappingProxyType(
    {"paper": CheckBudget(8, 1000), "quick": CheckBudget(3, 200)}
)


_KINDS, _FULL = tuple(ATTENTION_TITLES), (FULL_LINEAR, *HEADS.values())

ATTENTION_PROTOCOL = AttentionBudget(
    SizeBudget(
        replace(PROTOCOL, settings=_KINDS, steps=1000, seeds=PAPER_SEEDS),
        replace(CURVATURE_PROTOCOL, seeds=PAPER_SEEDS, rates=()),
        replace(NOISE_PROTOCOL, settings=_KINDS, batches=(), steps=()),
        0,
    ),
    replace(PROTOCOL, settings=_FULL, steps=1000, seeds=PAPER_SEEDS),
    1000,
    0,
)
"""What the rules of judgement ask of claim C13, and what those of C1 to C5 ask of each kind of attention."""

_ATTENTION_TRAINING = replace(
    ATTENTION_PROTOCOL.sparse.training, batch=250, blocks=30, rates=RATES[2:9:2], clips=(1.0,),
    tuning_seeds=TUNING_SEEDS[:1], tuning_blocks=20, seconds=70,
)  # fmt: skip

ATTENTION: MappingProxyType[str, AttentionBudget] = MappingProxyType(
    {
        "paper": AttentionBudget(
            SizeBudget(
                _ATTENTION_TRAINING,
                CurvatureBudget(4, (750,), (750,), 250, 250, (50, 950, 100), (), 0, 0, 25, batch=250),
                NoiseBudget(_KINDS, 4, 500, 250, 50_000, (), (), 0, 0, 10),
                130,
            ),
            replace(_ATTENTION_TRAINING, settings=_FULL, seeds=3, blocks=20, every=200, screening=500, seconds=110),
            500,
            240,
        ),
        "quick": AttentionBudget(
            SizeBudget(
                TuningBudget(_KINDS, 60, 3, 64, 3, 4, 15, RATES[2:9:2], (1.0,), TUNING_SEEDS[:1], 60, 1, 1),
                CurvatureBudget(3, (30,), (30,), 15, 15, (0, 45, 15), (), 0, 0, 4, batch=32),
                NoiseBudget(_KINDS, 3, 60, 64, 1000, (), (), 0, 0, 2),
                12,
            ),
            TuningBudget(_FULL, 60, 2, 64, 3, 6, 30, RATES[2:9:2], (1.0,), TUNING_SEEDS[:1], 30, 1, 1),
            30,
            20,
        ),
    }
)


OWN_MODEL: MappingProxyType[str, OwnModelBudget] = MappingProxyType(
    {"paper": OwnModelBudget(4, 500, 200, 20_000), "quick": OwnModelBudget(2, 100, 50, 2000)}
)


def _twice(
    name: str, shallow: ComparisonBudget, deep: ComparisonBudget, large: ComparisonBudget
) -> tuple[ComparisonBudget, ...]:
    """All problems that verdicts of a scale rest on, in groups by what a step of the second implementation costs."""
    levels = [level for shape, level in TAIL_FAMILIES["moment"].items() if math.isfinite(shape)]
    depths, attention = DEPTH_BUDGETS[name].short.settings, ATTENTION[name]
    first = (
        *SCALES[name].settings, "sphere", levels[0], levels[-1], *(each for each in depths if each not in _DEEP),
        *SIZE_BUDGETS[name].training.settings, *attention.sparse.training.settings,
    )  # fmt: skip
    return (
        replace(shallow, problems=tuple(dict.fromkeys(first))),
        replace(shallow, problems=attention.full.settings, measures=()),
        replace(deep, problems=(*_DEEP, *NONLINEAR_BUDGETS[name].training.settings)),
        replace(large, problems=LARGER_BUDGETS[name].training.settings),
    )


_ALL_MEASURES = ("noise", "curvature")

DOUBLE_CHECKS: MappingProxyType[str, DoubleCheckBudget] = MappingProxyType(
    {
        "paper": DoubleCheckBudget(
            _twice(
                "paper",
                ComparisonBudget((), _ALL_MEASURES, 25, 2, 50, 1, 12, 50, 50, 500),
                ComparisonBudget((), _ALL_MEASURES, 25, 2, 50, 1, 6, 50, 50, 500),
                ComparisonBudget((), ("noise",), 8, 2, 16, 1, 0, 16, 40, 200),
            ),
            0.02, 0.005, 180, 4, 250,
        ),
        "quick": DoubleCheckBudget(
            _twice(
                "quick",
                ComparisonBudget((), _ALL_MEASURES, 10, 1, 16, 1, 4, 16, 20, 100),
                ComparisonBudget((), _ALL_MEASURES, 10, 1, 16, 1, 4, 16, 20, 100),
                ComparisonBudget((), ("noise",), 3, 1, 4, 1, 0, 4, 10, 50),
            ),
            0.02, 0.005, 20, 2, 50,
        ),
    }
)  # fmt: skip
"""What is computed a second time at each scale, by plain code; a short horizon, since that code is slow."""


def scale(name: str) -> TuningBudget:
    """The budget of a scale's judged trainings.

    Raises:
        ValueError: no such scale.
    """
    return SCALES[choice("scale", name, SCALE_NAMES)]


def curvature(name: str) -> CurvatureBudget:
    """The budget of a scale's measurements of curvature.

    Raises:
        ValueError: no such scale.
    """
    return CURVATURE[choice("scale", name, SCALE_NAMES)]


def controls(name: str) -> ControlBudget:
    """The budget of a scale's arms beside the published ones.

    Raises:
        ValueError: no such scale.
    """
    return CONTROLS[choice("scale", name, SCALE_NAMES)]


def noise(name: str) -> NoiseBudget:
    """The budget of a scale's gradient noise.

    Raises:
        ValueError: no such scale.
    """
    return NOISE[choice("scale", name, SCALE_NAMES)]


def tails(name: str) -> TailBudget:
    """The budget of a scale's levels of tail.

    Raises:
        ValueError: no such scale.
    """
    return TAILS[choice("scale", name, SCALE_NAMES)]


def nonlinear(name: str) -> SizeBudget:
    """The budget of a scale's nonlinear regression.

    Raises:
        ValueError: no such scale.
    """
    return NONLINEAR_BUDGETS[choice("scale", name, SCALE_NAMES)]


def own_model(name: str) -> OwnModelBudget:
    """The budget of a scale's page on a module of one's own.

    Raises:
        ValueError: no such scale.
    """
    return OWN_MODEL[choice("scale", name, SCALE_NAMES)]


def sizes(name: str) -> SizeBudget:
    """The budget of a scale's sizes of model.

    Raises:
        ValueError: no such scale.
    """
    return SIZE_BUDGETS[choice("scale", name, SCALE_NAMES)]


def depth(name: str) -> DepthBudget:
    """The budget of a scale's depths.

    Raises:
        ValueError: no such scale.
    """
    return DEPTH_BUDGETS[choice("scale", name, SCALE_NAMES)]


def larger(name: str) -> LargerBudget:
    """The budget of a scale's larger model.

    Raises:
        ValueError: no such scale.
    """
    return LARGER_BUDGETS[choice("scale", name, SCALE_NAMES)]


def attention(name: str) -> AttentionBudget:
    """The budget of a scale's kinds of attention.

    Raises:
        ValueError: no such scale.
    """
    return ATTENTION[choice("scale", name, SCALE_NAMES)]


def double_check(name: str) -> DoubleCheckBudget:
    """The budget of what a scale computes twice.

    Raises:
        ValueError: no such scale.
    """
    return DOUBLE_CHECKS[choice("scale", name, SCALE_NAMES)]
