"""The one table of what each scale computes; the settings themselves are in :mod:`lintrans.paper.problems`.

A ``..._PROTOCOL`` is what the rules of judgement ask for; a page prints where its scale falls short of it. The table is
one long file, so that it can be read, and changed, as one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import pandas as pd

from ..training.optimizers import Looks
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
from .problems import ATTENTION_TITLES, FULL_LINEAR, HEADS, LARGER, NONLINEAR, PROBLEMS, SIZES, TAIL_FAMILIES, Setting
from .scale_names import SCALE_NAMES as SCALE_NAMES
from .scale_names import based_on

AnyBudget = TypeVar("AnyBudget", covariant=True)

LABELS = Looks("label")
JUDGING_SEEDS = 24
CURVATURE_SEEDS = 12
PAPER_SEEDS = 6
TUNING_SEEDS = tuple(range(1000, 1008))
RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
SPHERE_RATES = (2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
"""Further rates of the grid on the sphere. SGD's best lies among them, and one widening after another costs more."""
TARGETS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
INF = float("inf")


def shifted(budget: Any, offset: int) -> Any:
    """A budget whose judging seeds and evaluation batches, and those of the budgets in it, begin so much later."""
    changes: dict[str, Any] = {}
    for field in fields(budget):
        value = getattr(budget, field.name)
        if field.name in ("first_seed", "first_batch"):
            changes[field.name] = value + offset
        elif is_dataclass(value):
            changes[field.name] = shifted(value, offset)
    return replace(budget, **changes)


class Table(Mapping[str, AnyBudget]):
    """One kind of budget at every scale: ``NOISE("paper")``, or ``NOISE[name]`` where the name has been checked.

    ``NOISE("paper+100")`` is the same with other judging seeds and batches. Rates are part of a reading, so tuning
    seeds stay; and so does what stands `beside` and judges nothing.
    """

    def __init__(self, *, paper: AnyBudget, quick: AnyBudget, beside: bool = False) -> None:
        self._budgets = dict(zip(SCALE_NAMES, (paper, quick), strict=True))
        self._beside = beside

    def __call__(self, scale: str) -> AnyBudget:
        """The budget of a scale.

        Raises:
            ValueError: no such scale.
        """
        base, offset = based_on(scale)
        own = self._budgets[base]
        return own if self._beside or not offset else shifted(own, offset)

    def __getitem__(self, scale: str) -> AnyBudget:
        return self._budgets[scale]

    def __iter__(self) -> Iterator[str]:
        return iter(self._budgets)

    def __len__(self) -> int:
        return len(self._budgets)


def frame(names: Iterable[str]) -> pd.DataFrame:
    """Problems as a table for a page: context length, covariates, E||x||^2, published rates and clip.

    Where the zero predictor's loss f0 is another number than E||x||^2, it has a column too.
    """
    found = [PROBLEMS[name] for name in names]
    moments = [_second_moment(setting) for setting in found]
    other = any(moment != setting.task.zero_loss for moment, setting in zip(moments, found, strict=True))
    return pd.DataFrame(
        {
            "setting": setting.title,
            "$n$": setting.task.n,
            "covariates": setting.law,
            r"$\mathbb{E}\lVert x \rVert^2$": f"{moment:g}",
            **({"$f_0$": f"{setting.task.zero_loss:#.2g}"} if other else {}),
            **{f"{LABELS[optimizer]} rate": f"{lr:g}" for optimizer, lr in setting.lr.items()},
            "clip": f"{setting.clip:g}",
        }
        for setting, moment in zip(found, moments, strict=True)
    )


def _second_moment(setting: Setting) -> float:
    """E||x||^2; f0 stands for it where a task has no law of covariates."""
    task: Any = setting.task
    covariates = getattr(task, "covariates", None)
    return float(task.zero_loss if covariates is None else covariates.squared_norm(task.d))


# trainings of the paper's settings

PROTOCOL = TuningBudget(
    settings=("1", "2", "3"), steps=10_000, seeds=JUDGING_SEEDS, batch=1000, blocks=1000, every=50,
    rates=RATES, clips=(1.0, INF), tuning_seeds=TUNING_SEEDS, screening=1000, screening_seeds=3, minima=2,
    tuning_blocks=100,
)  # fmt: skip
"""What the rules of judgement ask of claim C1."""

_QUICK = replace(
    PROTOCOL, steps=200, seeds=4, batch=500, blocks=20, every=10, early=(2, 40),
    tuning_seeds=TUNING_SEEDS[:1], screening=60, screening_seeds=1, minima=1, tuning_blocks=10,
)  # fmt: skip
_SMALL = replace(_QUICK, settings=(), steps=60, seeds=3, batch=200, blocks=10, clips=(1.0,))
"""Quick trainings of what several problems are compared on."""

SCALES = Table(paper=PROTOCOL, quick=_QUICK)
"""Steps, seeds, batch and grid of the judged trainings at each scale: the one place to change them."""

CONTROLS = Table(
    paper=ControlBudget(steps=1000, seeds=PAPER_SEEDS, batch=1000, blocks=100, tuning_seeds=2),
    quick=ControlBudget(steps=100, seeds=3, batch=500, blocks=10),
    beside=True,
)

CHECKS = Table(paper=CheckBudget(seeds=8, batch=1000), quick=CheckBudget(seeds=3, batch=200), beside=True)

OWN_MODEL = Table(
    paper=OwnModelBudget(seeds=4, batch=500, samples=200, reference=20_000),
    quick=OwnModelBudget(seeds=2, batch=100, samples=50, reference=2000),
    beside=True,
)


# curvature along them, and noise at initialization


def _without_grid(curvature: CurvatureBudget) -> CurvatureBudget:
    """A budget of curvature without its grid of rates."""
    return replace(curvature, rates=(), grid_steps=0, grid_seeds=0)


CURVATURE_PROTOCOL = CurvatureBudget(
    seeds=CURVATURE_SEEDS, probes=(0, 250, 750, 1250, 2500, 5000, 7500, 10_000), judged=(750, 1250), settled=250,
    every=250, spectral=(50, 2000, 50), rates=RATES, grid_steps=1000, grid_seeds=PAPER_SEEDS, batches=16,
)  # fmt: skip
"""What the rules of judgement ask of claims C3 to C5."""

_QUICK_CURVATURE = CurvatureBudget(
    seeds=3, probes=(0, 30, 50, 100, 200), judged=(30, 50), settled=30,
    every=50, spectral=(10, 100, 10), rates=RATES, grid_steps=60, grid_seeds=3,
)  # fmt: skip

CURVATURE = Table(paper=CURVATURE_PROTOCOL, quick=_QUICK_CURVATURE)

NOISE_PROTOCOL = NoiseBudget(
    settings=PROTOCOL.settings, seeds=16, samples=10_000, batch=1000, reference=100_000,
    batches=(10, 100), steps=(100, 300, 1000), trained_seeds=4, trained_samples=1000,
)  # fmt: skip
"""What the rules of judgement ask of claim C2: settings, initializations, minibatches and prompts."""

_SMALL_NOISE = NoiseBudget(settings=(), seeds=3, samples=100, batch=200, reference=5000)

NOISE = Table(
    paper=NOISE_PROTOCOL,
    quick=replace(
        _SMALL_NOISE, settings=PROTOCOL.settings, samples=300, reference=10_000,
        batches=(10, 50), steps=(30, 100), trained_seeds=3, trained_samples=200,
    ),
)  # fmt: skip

TAILS = Table(
    paper=TailBudget(
        training=replace(
            PROTOCOL, settings=(), steps=1000, seeds=PAPER_SEEDS, blocks=100, clips=(1.0,),
            tuning_seeds=TUNING_SEEDS[:3], minima=1,
        ),
        probes=(250, 500, 1000), noise_seeds=4, noise_samples=2000,
    ),
    quick=TailBudget(training=_SMALL, probes=(30,), noise_seeds=3, noise_samples=100),
    beside=True,
)  # fmt: skip
"""Levels of tail beside those that claims C6 to C8 are judged on: shorter, with fewer seeds and minibatches."""


# sizes of the model

_SIZES = tuple(SIZES.values())

SIZE_PROTOCOL = SizeBudget(
    training=replace(PROTOCOL, settings=_SIZES, steps=2000, seeds=CURVATURE_SEEDS),
    curvature=replace(CURVATURE_PROTOCOL, probes=(750, 1250)),
    noise=replace(NOISE_PROTOCOL, settings=_SIZES, batches=(), steps=()),
)
"""What the rules of judgement ask of claim C16: those of C1 to C5, at T = 2,000 and best rates, for every size."""

SIZE_BUDGETS = Table(
    paper=SizeBudget(
        training=replace(SIZE_PROTOCOL.training, blocks=200),
        curvature=_without_grid(SIZE_PROTOCOL.curvature),
        noise=replace(SIZE_PROTOCOL.noise, samples=3000),
    ),
    quick=SizeBudget(
        training=replace(_SMALL, settings=_SIZES, steps=100, rates=RATES[::3]),
        curvature=_without_grid(replace(_QUICK_CURVATURE, probes=(30, 50))),
        noise=replace(_SMALL_NOISE, settings=_SIZES),
    ),
)


# depths

_SHALLOW, _DEEP = ("depth 2", "depth 4"), ("depth 6", "depth 8")
_ALL_DEPTHS = (*_SHALLOW, *_DEEP)
_DEPTH_CURVATURE = replace(CURVATURE_PROTOCOL, rates=())
_DEPTH_NOISE = replace(NOISE_PROTOCOL, batches=(), steps=())

DEPTH_PROTOCOL = DepthBudget(
    long=replace(PROTOCOL, settings=_SHALLOW, seeds=CURVATURE_SEEDS),
    short=replace(
        PROTOCOL,
        settings=_ALL_DEPTHS,
        seeds=PAPER_SEEDS,
        steps=5000,
        fewer_tuning_seeds=tuple((name, 4) for name in _DEEP),
    ),
    long_curvature=_DEPTH_CURVATURE,
    short_curvature=replace(_DEPTH_CURVATURE, seeds=PAPER_SEEDS, probes=(0, 250, 750, 1250, 2500, 5000), batches=4),
    shallow_noise=replace(_DEPTH_NOISE, settings=_SHALLOW),
    deep_noise=replace(_DEPTH_NOISE, settings=_DEEP, seeds=8),
    batches=1,
    tail_blocks=1000,
    precision_steps=1000,
    precision_seeds=PAPER_SEEDS,
)
"""What the rules of judgement ask of claims C9 to C12."""


def _paper_depths(asked: DepthBudget) -> DepthBudget:
    """What is asked for, with fewer blocks, and a smaller grid for the contrasts with the deep models."""
    long, short = (replace(each, blocks=200, tuning_blocks=50) for each in (asked.long, asked.short))
    return replace(
        asked,
        long=long,
        short=replace(short, rates=RATES[2:9], clips=(1.0,), screening=500, screening_seeds=1),
        long_curvature=replace(asked.long_curvature, probes=asked.long_curvature.probes[1:]),
        short_curvature=replace(asked.short_curvature, probes=asked.short_curvature.probes[1:]),
        # a contrast of two depths uses the initializations that both have
        shallow_noise=replace(asked.shallow_noise, seeds=asked.deep_noise.seeds),
        deep_noise=replace(asked.deep_noise, samples=3000),
        precision_seeds=2,
    )


_QUICK_DEPTHS = replace(_SMALL, settings=_ALL_DEPTHS, rates=RATES[2:9:3], screening=40, tuning_blocks=5)
_QUICK_PROBE = CurvatureBudget(seeds=2, probes=(60,), judged=(), settled=50, every=50, spectral=(0, 0, 1))

DEPTH_BUDGETS = Table(
    paper=_paper_depths(DEPTH_PROTOCOL),
    quick=DepthBudget(
        long=replace(_QUICK_DEPTHS, settings=_SHALLOW, steps=100, seeds=4, screening=50),
        short=_QUICK_DEPTHS,
        long_curvature=replace(_QUICK_PROBE, probes=(100,)),
        short_curvature=_QUICK_PROBE,
        shallow_noise=replace(_SMALL_NOISE, settings=_SHALLOW, samples=200),
        deep_noise=replace(_SMALL_NOISE, settings=_DEEP),
        batches=1,
        tail_blocks=30,
        precision_steps=60,
        precision_seeds=2,
    ),
)
"""Depths at each scale. The rules ask for 10,000 steps and minibatches and 12 or 16 seeds up to four layers, and for
half the steps, 6 or 8 seeds beyond; two depths are compared at the horizon and the seeds that both have."""


# the larger model

_LARGER = (LARGER.name,)

LARGER_PROTOCOL = LargerBudget(
    training=replace(PROTOCOL, settings=_LARGER, steps=2000, seeds=PAPER_SEEDS, tuning_seeds=TUNING_SEEDS[:4]),
    tuning_steps=1000,
    noise=replace(NOISE_PROTOCOL, settings=_LARGER, seeds=8, batches=(), steps=()),
)
"""What the rules of judgement ask of claim C14."""

LARGER_BUDGETS = Table(
    paper=LargerBudget(
        training=replace(
            LARGER_PROTOCOL.training, batch=250, blocks=20, every=200, rates=RATES[1:5], clips=(1.0,),
            screening_seeds=1, minima=1, tuning_blocks=10, own_rates=(("sgd", RATES[5:9]),),
        ),
        tuning_steps=1000,
        noise=replace(LARGER_PROTOCOL.noise, seeds=4, samples=2000, batch=250, reference=25_000),
    ),
    quick=LargerBudget(
        training=replace(
            _SMALL, settings=_LARGER, steps=20, seeds=2, batch=32, blocks=1, every=20, rates=RATES[3:7:2],
            screening=10, tuning_blocks=1,
        ),
        tuning_steps=10,
        noise=NoiseBudget(settings=_LARGER, seeds=2, samples=40, batch=32, reference=1000),
    ),
)  # fmt: skip


# nonlinear regression

_NONLINEAR = (NONLINEAR.name,)

NONLINEAR_PROTOCOL = SizeBudget(
    training=TuningBudget(settings=_NONLINEAR, steps=2000, seeds=5, batch=2000, blocks=1000, every=50),
    curvature=_without_grid(replace(CURVATURE_PROTOCOL, seeds=5, batches=4)),
    noise=NoiseBudget(settings=_NONLINEAR, seeds=5, samples=10_000, batch=2000, reference=200_000),
)
"""What the rules of judgement ask of claim C15, with the paper's batches of 2000; published rates, so no search."""

NONLINEAR_BUDGETS = Table(
    paper=SizeBudget(
        training=replace(NONLINEAR_PROTOCOL.training, batch=1000, blocks=200),
        curvature=replace(NONLINEAR_PROTOCOL.curvature, probes=(1, 750, 1250)),
        noise=replace(NONLINEAR_PROTOCOL.noise, samples=1000, batch=1000, reference=100_000),
    ),
    quick=SizeBudget(
        training=TuningBudget(settings=_NONLINEAR, steps=100, seeds=3, batch=200, blocks=10, every=10),
        curvature=_without_grid(replace(_QUICK_CURVATURE, probes=(1, 30, 50), batch=100)),
        noise=replace(_SMALL_NOISE, settings=_NONLINEAR, batch=100),
    ),
)


# kinds of attention

_KINDS, _FULL = tuple(ATTENTION_TITLES), (FULL_LINEAR, *HEADS.values())

ATTENTION_PROTOCOL = AttentionBudget(
    sparse=SizeBudget(
        training=replace(PROTOCOL, settings=_KINDS, steps=1000, seeds=PAPER_SEEDS, tuning_seeds=TUNING_SEEDS[:4]),
        curvature=replace(CURVATURE_PROTOCOL, seeds=PAPER_SEEDS, rates=()),
        noise=replace(NOISE_PROTOCOL, settings=_KINDS, batches=(), steps=()),
    ),
    full=replace(PROTOCOL, settings=_FULL, steps=1000, seeds=PAPER_SEEDS, tuning_seeds=TUNING_SEEDS[:4]),
    tuning_steps=1000,
)
"""What the rules of judgement ask of claim C13, and what those of C1 to C5 ask of each kind of attention."""

_KINDS_TRAINING = replace(
    ATTENTION_PROTOCOL.sparse.training, batch=250, blocks=30, rates=RATES[2:9:2], clips=(1.0,),
    screening_seeds=1, minima=1, tuning_blocks=20,
)  # fmt: skip
_QUICK_KINDS = replace(
    _SMALL, settings=_KINDS, batch=64, blocks=3, every=15, rates=RATES[2:9:2], tuning_blocks=1
)  # fmt: skip

ATTENTION = Table(
    paper=AttentionBudget(
        sparse=SizeBudget(
            training=_KINDS_TRAINING,
            curvature=CurvatureBudget(
                seeds=4,
                probes=(750,),
                judged=(750,),
                settled=250,
                every=250,
                spectral=(50, 950, 100),
                batch=250,
                batches=4,
            ),
            noise=NoiseBudget(settings=_KINDS, seeds=4, samples=500, batch=250, reference=50_000),
        ),
        full=replace(_KINDS_TRAINING, settings=_FULL, seeds=3, blocks=20, every=200, screening=500),
        tuning_steps=500,
    ),
    quick=AttentionBudget(
        sparse=SizeBudget(
            training=_QUICK_KINDS,
            curvature=CurvatureBudget(
                seeds=3, probes=(30,), judged=(30,), settled=15, every=15, spectral=(0, 45, 15), batch=32
            ),
            noise=NoiseBudget(settings=_KINDS, seeds=3, samples=60, batch=64, reference=1000),
        ),
        full=replace(_QUICK_KINDS, settings=_FULL, seeds=2, every=30, screening=30),
        tuning_steps=30,
    ),
)


# what is computed twice


def _double_check(
    scale: str, each: ComparisonBudget, deep: ComparisonBudget, large: ComparisonBudget
) -> DoubleCheckBudget:
    """All problems that verdicts of a scale rest on, in groups by what a step of the second implementation costs."""
    levels = [level for shape, level in TAIL_FAMILIES["moment"].items() if math.isfinite(shape)]
    depths, attention = DEPTH_BUDGETS[scale].short.settings, ATTENTION[scale]
    first = (
        *SCALES[scale].settings, "sphere", levels[0], levels[-1], *(name for name in depths if name not in _DEEP),
        *SIZE_BUDGETS[scale].training.settings, *attention.sparse.training.settings,
    )  # fmt: skip
    groups = (
        replace(each, problems=tuple(dict.fromkeys(first))),
        replace(each, problems=attention.full.settings, measures=()),
        replace(deep, problems=(*_DEEP, *NONLINEAR_BUDGETS[scale].training.settings)),
        replace(large, problems=LARGER_BUDGETS[scale].training.settings, measures=("noise",), prompts=0),
    )
    return DoubleCheckBudget(groups=groups, sgd=0.02, adam=0.005)


_TWICE = ComparisonBudget(
    problems=(), measures=("noise", "curvature"), steps=25, seeds=2, batch=50, blocks=1, prompts=12, noise_batch=50,
    samples=50, reference=500,
)  # fmt: skip
_QUICK_TWICE = replace(_TWICE, steps=10, seeds=1, batch=16, prompts=4, noise_batch=16, samples=20, reference=100)

DOUBLE_CHECKS = Table(
    paper=_double_check(
        "paper", _TWICE, replace(_TWICE, prompts=6),
        replace(_TWICE, steps=8, batch=16, noise_batch=16, samples=40, reference=200),
    ),
    quick=_double_check(
        "quick", _QUICK_TWICE, _QUICK_TWICE,
        replace(_QUICK_TWICE, steps=3, batch=4, noise_batch=4, samples=10, reference=50),
    ),
    beside=True,
)  # fmt: skip
"""What is computed a second time at each scale, by plain code; a short horizon, since that code is slow."""
