"""What an experiment computes, as data: steps, seeds, prompts, rates. The numbers are in :mod:`.scales`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much the judged trainings compute.

    Attributes:
        settings: names of the settings it covers.
        steps: horizon T.
        seeds: how many judging seeds.
        batch: fresh prompts per step.
        blocks: blocks of 1000 prompts behind a typical loss.
        every: steps between two points of a curve; steps to a target are multiples of it.
        early: (steps between two points, the step they end at): more points at the start, where targets may be near.
        first_seed: the judging seeds are this and those after it.
    """

    settings: tuple[str, ...]
    steps: int
    seeds: int
    batch: int
    blocks: int
    every: int
    early: tuple[int, int] = (5, 500)
    first_seed: int = 0

    @property
    def judging(self) -> range:
        """The judging seeds."""
        return range(self.first_seed, self.first_seed + self.seeds)

    @property
    def measured(self) -> tuple[int, ...]:
        """Steps at which the loss is compared with a target, beside the horizon."""
        every, end = self.early
        return tuple(sorted({*range(0, min(end, self.steps) + 1, every), *range(0, self.steps, self.every)}))


@dataclass(frozen=True, kw_only=True)
class TuningBudget(Budget):
    """How each optimizer's best rate is found, and whether it is then judged; there is no search where it is left out.

    Attributes:
        rates: the grid.
        clips: gradient-norm clips crossed with it; infinite for none.
        tuning_seeds: never used to judge.
        screening, screening_seeds: steps of the whole grid, and how many of the tuning seeds run it.
        minima: minima of the screened grid that are followed to the horizon with both neighbours; 0 ends after the
            screening, and the reading stays *not measurable here*.
        tuning_blocks: blocks behind the losses that tuning compares.
        fewer_tuning_seeds: (setting, how many of the tuning seeds) where training costs much.
        own_rates: (optimizer's name, its grid) where it starts from another one, nearer to its best rate.
    """

    rates: tuple[float, ...] = ()
    clips: tuple[float, ...] = ()
    tuning_seeds: tuple[int, ...] = ()
    screening: int = 0
    screening_seeds: int = 0
    minima: int = 0
    tuning_blocks: int = 0
    fewer_tuning_seeds: tuple[tuple[str, int], ...] = ()
    own_rates: tuple[tuple[str, tuple[float, ...]], ...] = ()

    def tuning_seeds_of(self, setting: str) -> tuple[int, ...]:
        """The tuning seeds of a setting, by its name."""
        return self.tuning_seeds[: dict(self.fewer_tuning_seeds).get(setting, len(self.tuning_seeds))]

    def rates_of(self, optimizer: str) -> tuple[float, ...]:
        """The grid of an optimizer, by its name."""
        return dict(self.own_rates).get(optimizer, self.rates)


@dataclass(frozen=True, kw_only=True)
class CurvatureBudget:
    """Where along the judged trainings curvature is measured, and what is trained beside them.

    Attributes:
        seeds: how many judging seeds; the rules of C3 to C5 ask for fewer than C1.
        probes: steps at which R_med is measured for all seeds.
        judged: those of them that claim C3 is judged at.
        settled: the first step that counts as "along the run".
        every: steps between two of the denser measurements of the paper's own seeds.
        spectral: first, last and distance of the steps at which the Hessian's norm is compared with the gradient's.
        rates: grid of rates behind the relation of smoothness and speed.
        grid_steps, grid_seeds: its horizon and its seeds 0, 1, ...
        batch: prompts of a batch; 0: as many as the fixed test batch of the loss curves has.
        batches, first_batch: evaluation batches that curvature is judged on, and the number of the first.
        first_seed: the judging seeds are this and those after it.
    """

    seeds: int
    probes: tuple[int, ...]
    judged: tuple[int, ...]
    settled: int
    every: int
    spectral: tuple[int, int, int]
    rates: tuple[float, ...] = ()
    grid_steps: int = 0
    grid_seeds: int = 0
    batch: int = 0
    batches: int = 3
    first_batch: int = 0
    first_seed: int = 0

    @property
    def judging(self) -> range:
        """The judging seeds."""
        return range(self.first_seed, self.first_seed + self.seeds)

    @property
    def evaluation(self) -> range:
        """Numbers of the evaluation batches."""
        return range(self.first_batch, self.first_batch + self.batches)


@dataclass(frozen=True, kw_only=True)
class ControlBudget:
    """The arms beside the published ones: horizon, seeds, prompts a step, blocks behind an end value.

    `tuning_seeds`: how many of the tuning seeds a beta2 of Adam gets its own rate on.
    """

    steps: int
    seeds: int
    batch: int
    blocks: int
    tuning_seeds: int = 1


@dataclass(frozen=True, kw_only=True)
class NoiseBudget:
    """How much gradient noise is measured.

    Attributes:
        settings: names of the settings it covers.
        seeds: how many initializations claim C2 is judged on.
        samples: minibatches behind each tail.
        batch: fresh prompts of a minibatch.
        reference: prompts behind the gradient that noise is measured from.
        batches: further batch sizes, on the paper's own seeds.
        steps: steps of trainings at the published rates at which noise is measured again.
        trained_seeds, trained_samples: how many seeds of these trainings, and minibatches at each step.
        first_seed: the seeds are this and those after it.
    """

    settings: tuple[str, ...]
    seeds: int
    samples: int
    batch: int
    reference: int
    batches: tuple[int, ...] = ()
    steps: tuple[int, ...] = ()
    trained_seeds: int = 0
    trained_samples: int = 0
    first_seed: int = 0

    @property
    def judging(self) -> range:
        """Seeds of the initializations."""
        return range(self.first_seed, self.first_seed + self.seeds)


@dataclass(frozen=True, kw_only=True)
class TailBudget:
    """How the levels of tail between the sphere and Setting 3, and around them, are trained and measured.

    Attributes:
        training: of each level; it names no settings, and each level has its own clip.
        probes: steps at which R_med is measured; the first that counts as "along the run" comes first.
        noise_seeds, noise_samples: initializations and minibatches behind the noise of a level that no claim judges.
    """

    training: TuningBudget
    probes: tuple[int, ...]
    noise_seeds: int
    noise_samples: int


@dataclass(frozen=True, kw_only=True)
class SizeBudget:
    """How the five behaviours are trained for and measured in C15 and C16."""

    training: TuningBudget
    curvature: CurvatureBudget
    noise: NoiseBudget


@dataclass(frozen=True, kw_only=True)
class DepthBudget:
    """How models of 2 to 8 layers are trained and measured.

    Attributes:
        long: trainings of the shallow depths alone, which contrast with each other.
        short: trainings of all depths, for contrasts with the deep ones.
        long_curvature, short_curvature: where along them R_med is measured.
        shallow_noise, deep_noise: gradient noise at initialization.
        batches: points of the curves between two at which the loss of the batch met there is looked up.
        tail_blocks: blocks of 1000 prompts behind the comparison of mean and typical loss.
        precision_steps, precision_seeds: trainings of the deepest model in both precisions.
    """

    long: TuningBudget
    short: TuningBudget
    long_curvature: CurvatureBudget
    short_curvature: CurvatureBudget
    shallow_noise: NoiseBudget
    deep_noise: NoiseBudget
    batches: int
    tail_blocks: int
    precision_steps: int
    precision_seeds: int


@dataclass(frozen=True, kw_only=True)
class LargerBudget:
    """The larger model: its trainings, the horizon at which its rates are chosen, its noise."""

    training: TuningBudget
    tuning_steps: int
    noise: NoiseBudget


@dataclass(frozen=True, kw_only=True)
class CheckBudget:
    """Seeds and prompts of the model page's live checks."""

    seeds: int
    batch: int


@dataclass(frozen=True, kw_only=True)
class AttentionBudget:
    """How kinds of attention are compared.

    Attributes:
        sparse: one head of each kind in the sparse form, with all that the five behaviours are judged on.
        full: trainings of the full form, linear and softmax by number of heads.
        tuning_steps: horizon at which the full form's rates are chosen.
    """

    sparse: SizeBudget
    full: TuningBudget
    tuning_steps: int


@dataclass(frozen=True, kw_only=True)
class OwnModelBudget:
    """Initializations, prompts of a batch, minibatches and reference prompts of the page on a module of one's own."""

    seeds: int
    batch: int
    samples: int
    reference: int


@dataclass(frozen=True, kw_only=True)
class ComparisonBudget:
    """How a group of problems is computed twice, by the book's engine and by the second implementation.

    Attributes:
        problems: their names.
        measures: what is compared beside end losses: "noise", "curvature".
        steps: of the trainings.
        seeds: 0, 1, ..., of trainings and of initializations.
        batch: fresh prompts per step.
        blocks: blocks of 1000 prompts behind a typical loss.
        prompts: of the test batch that curvature is taken on.
        noise_batch, samples: prompts of a minibatch, and minibatches.
        reference: prompts behind the gradient that noise is measured from.
    """

    problems: tuple[str, ...]
    measures: tuple[str, ...]
    steps: int
    seeds: int
    batch: int
    blocks: int
    prompts: int
    noise_batch: int
    samples: int
    reference: int


@dataclass(frozen=True, kw_only=True)
class DoubleCheckBudget:
    """What is computed twice.

    Attributes:
        groups: problems, and how much of each.
        sgd, adam: learning rates where none are published.
    """

    groups: tuple[ComparisonBudget, ...]
    sgd: float
    adam: float

    @property
    def lr(self) -> dict[str, float]:
        """The rates, by optimizer."""
        return {"sgd": self.sgd, "adam": self.adam}

    @property
    def problems(self) -> tuple[str, ...]:
        """Names of all problems."""
        return tuple(name for group in self.groups for name in group.problems)
