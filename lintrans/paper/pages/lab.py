"""The lab: settings, rates, experiments to start from, the story, and stored curves, as data for its script."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ...tasks.covariates import GammaScaled, Gaussian, Sphere
from ...training.history import History
from ...training.optimizers import SGD, Adam
from ..budgets import TuningBudget
from ..judged import COARSE_LOSS, Judged, Tuning
from ..problems import SETTINGS, Setting
from ..protocol import COARSE_BLOCKS

SEED = 0
"""The seed whose own curve is drawn behind the lab's; behind another seed's, the median over the judging seeds."""
METRICS = {"typical": COARSE_LOSS, "test": "test_loss"}
DIGITS = 4
POINTS = 28
"""About how many points of a stored curve a page carries, beside as many at its start."""


class Preset(NamedTuple):
    """An experiment that an address can name.

    Attributes:
        text: what it is, for the page's list.
        setting: name of the setting.
        rates: "published" or "best", of both optimizers or of (SGD, Adam).
        steps: horizon.
        changes: other options by name, such as {"adam.beta2": 0.999}.
    """

    text: str
    setting: str = "1"
    rates: str | tuple[str, str] = "published"
    steps: int = 2000
    changes: Mapping[str, Any] = {}


PRESETS = {
    "c1": Preset("Setting 1 at the published rates"),
    "c1-tuned": Preset("Setting 1 at each optimizer's best rate", rates="best", steps=10_000),
    "c1-sgd": Preset(
        "Setting 1, SGD at its best rate, Adam at the published one", rates=("best", "published"), steps=10_000
    ),
    "setting2": Preset("Setting 2 at the published rates", "2"),
    "setting2-tuned": Preset("Setting 2 at the best rates", "2", "best", 10_000),
    "setting2-batch": Preset("Setting 2, to be looked at with new test batches", "2", "published", 1000),
    "setting3": Preset("Setting 3 at the published rates", "3"),
    "setting3-tuned": Preset("Setting 3 at the best rates", "3", "best", 10_000),
    "tails": Preset("heavy tails at the best rates, to be compared with Setting 1's", "3", "best", 2000),
    "tails-light": Preset("Setting 3 with lighter tails, k = 2.5, at the same scale", "3", "best", 2000, {"k": 2.5}),
    "sphere": Preset("the sphere at the published rates and clip", "sphere"),
    "beta2": Preset("Setting 1 with PyTorch's beta2 = 0.999", changes={"adam.beta2": 0.999}),
    "dampening": Preset("Setting 1, SGD with dampening 0.9", changes={"sgd.dampening": 0.9}),
    "no-clip": Preset("Setting 1, SGD at 0.05 and without a clip", steps=500, changes={"sgd.lr": 0.05, "sgd.clip": 0}),
    "c2": Preset("Setting 3 at initialization: measure the noise", "3", steps=500),
    "c3": Preset("Setting 1, for the condition number under four conventions", steps=2000),
    "c4": Preset("Setting 1, for curvature along the step", steps=2000),
    "depth": Preset(
        "eight layers, batch 100, in double precision", steps=1000,
        changes={"layers": 8, "batch": 100, "sgd.lr": 0.01, "adam.lr": 0.01},
    ),
    "small-batch": Preset("Setting 1 with batch 20", changes={"batch": 20}),
}  # fmt: skip
"""Experiments by the name that an address gives them: ``lab.html#preset=c1-tuned``."""


class Step(NamedTuple):
    """A step of the story: a preset, a question to answer before it runs, what to look at, the chapter that judges.

    The question may name the preset's {steps}.
    """

    preset: str
    title: str
    question: str
    watch: str
    chapter: str
    claim: str


STORY = (
    Step(
        "c1", "The paper's rates",
        "Setting 1, both optimizers at the rates of the paper's public code. Which is lower after {steps:,} steps,"
        " and by what factor?",
        "The grey curve is the one this book has stored: yours should lie on it, for it is the same computation.",
        "adam_vs_sgd", "C1, Adam against SGD",
    ),
    Step(
        "c1-sgd", "Turn SGD up",
        "Now SGD has its own best rate, Adam still the paper's. What is left of the gap after"
        " {steps:,} steps?",
        "Watch the gap against the step: a ratio of losses depends on when you look.",
        "learning_rates", "C1 at many rates",
    ),
    Step(
        "beta2", "PyTorch's beta2",
        "The paper's Adam forgets squared gradients within ten steps (beta2 = 0.9). PyTorch's default "
        "remembers a thousand (0.999). Does the lead survive?",
        "The first few hundred steps are where the memory is too long.",
        "adam_vs_sgd", "what the gap depends on",
    ),
    Step(
        "tails", "Heavy tails",
        "Setting 3: covariates with heavy tails, each optimizer at its best rate. Is the gap larger or "
        "smaller than in Setting 1?",
        "Move the tail k at fixed E||x||², and measure the noise: does its length leave the Gaussian's?",
        "heavy_tails", "C6 to C8, on tails",
    ),
    Step(
        "setting2-batch", "Another test batch",
        "Setting 2 has only five examples a prompt. How far does the loss on one fixed test batch stand for the rest?",
        "After the run press “New test batch” several times: the same parameters, other prompts.",
        "adam_vs_sgd", "the worst prompt of a batch",
    ),
    Step(
        "no-clip", "Without the clip",
        "SGD at 0.05, gradients as they are. Where does it end, beside Adam?",
        "Set SGD's clip back to 1 and start again: early on all gradients are cut to one "
        "length, and only their direction counts.",
        "adam_vs_sgd", "what the gap depends on",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Embedded:
    """Data that a page carries for its script, as JSON in a script element with an id."""

    name: str
    data: Any

    def _repr_html_(self) -> str:
        text = json.dumps(self.data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")
        return f'<script type="application/json" id="{self.name}">{text}</script>'


def law(setting: Setting) -> dict[str, Any]:
    """The law of a setting's covariates as the script knows it."""
    covariates = getattr(setting.task, "covariates", None)
    if covariates == Gaussian():
        return {"kind": "gaussian"}
    if covariates == Sphere():
        return {"kind": "sphere"}
    if isinstance(covariates, GammaScaled):
        return {"kind": "gamma", "k": covariates.shape, "scale": covariates.scale}
    raise ValueError(f"the lab draws no covariates {covariates!r}: Gaussian(), Sphere() or GammaScaled(shape, scale)")


def _arm(lr: float, clip: float) -> dict[str, float]:
    return {"lr": lr, "clip": 0.0 if math.isinf(clip) else clip}


def rates(name: str, tuning: Tuning | None) -> dict[str, dict[str, dict[str, float]]]:
    """Rate and clip of both optimizers by word: published, and best where a search was made."""
    setting = SETTINGS[name]
    found = {"published": {optimizer: _arm(lr, setting.clip) for optimizer, lr in setting.lr.items()}}
    if tuning is not None:
        found["best"] = {optimizer: _arm(best.lr, best.clip) for optimizer, best in tuning.best.items()}
    return found


def options(preset: Preset, tunings: Mapping[str, Tuning], batch: int) -> dict[str, Any]:
    """All options of a preset; a best rate that no search has found is the published one."""
    setting, known = SETTINGS[preset.setting], rates(preset.setting, tunings.get(preset.setting))
    words = (preset.rates, preset.rates) if isinstance(preset.rates, str) else preset.rates
    arms = [known.get(word, known["published"])[name] for word, name in zip(words, ("sgd", "adam"), strict=True)]
    sgd, adam = SGD(), Adam()
    chosen: dict[str, Any] = {
        "law": law(setting), "n": setting.task.n, "layers": 3, "batch": batch, "steps": preset.steps, "seed": SEED,
        "sgd": {"momentum": sgd.momentum, "dampening": sgd.dampening, **arms[0]},
        "adam": {"beta1": adam.betas[0], "beta2": adam.betas[1], **arms[1]},
    }  # fmt: skip
    for key, value in preset.changes.items():
        optimizer, _, option = key.rpartition(".")
        if key == "k":
            chosen["law"] = {"kind": "gamma", "k": value, "scale": 1 / value}
        elif optimizer:
            chosen[optimizer][option] = value
        else:
            chosen[key] = value
    return chosen


def ghosts(judged: Judged, budget: TuningBudget) -> Iterator[dict[str, Any]]:
    """Stored curves of the settings, each with the options that repeat it: of SEED, and the median over seeds."""
    for reading, histories in judged.histories.items():
        for name, history in histories.items():
            if name not in SETTINGS:
                continue
            arms = rates(name, judged.tunings.get(name))["published" if reading == "published" else "best"]
            for optimizer, arm in arms.items():
                curves = {metric: _curve(history, optimizer, column) for metric, column in METRICS.items()}
                steps = _thinned(curves["test"].index.intersection(curves["typical"].index).tolist(), budget.every)
                yield {
                    "optimizer": optimizer, "law": law(SETTINGS[name]), "n": SETTINGS[name].task.n, "layers": 3,
                    "batch": budget.batch, "reading": reading, "steps": steps, "options": {**arm, **_rule(optimizer)},
                    "median": {metric: _short(curve.loc[steps].median(axis=1)) for metric, curve in curves.items()},
                    **({"seed": {metric: _short(curve.loc[steps, SEED]) for metric, curve in curves.items()}}
                       if all(SEED in curve for curve in curves.values()) else {}),
                }  # fmt: skip


def _rule(optimizer: str) -> dict[str, float]:
    """Numbers of the optimizers that are judged."""
    sgd, adam = SGD(), Adam()
    if optimizer == "sgd":
        return {"momentum": sgd.momentum, "dampening": sgd.dampening}
    return {"beta1": adam.betas[0], "beta2": adam.betas[1]}


def _curve(history: History, optimizer: str, metric: str) -> pd.DataFrame:
    """A metric along the training, steps by seeds."""
    rows = history.metric(metric)
    rows = rows[(rows["optimizer"] == optimizer) & (rows["step"] <= history.steps)]
    return rows.pivot(index="step", columns="seed", values="value")


def _thinned(steps: list[int], every: int) -> list[int]:
    """The first POINTS multiples of `every`, and of the later ones about as many."""
    regular = [step for step in steps if step % every == 0]
    early, late = regular[: POINTS // 2], regular[POINTS // 2 :]
    return early + late[:: max(1, len(late) // POINTS)]


def _short(curve: pd.Series) -> list[float | None]:
    """Numbers of a curve, rounded; none where a run has no loss."""
    values = curve.to_numpy(np.float64)
    return [float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None for value in values]


def data(judged: Judged, budget: TuningBudget) -> Embedded:
    """Everything the lab's script needs to know of the paper and of this book."""
    return Embedded(
        "lab-data",
        {
            "seed": SEED,
            "blocks": COARSE_BLOCKS,
            "first": next(iter(PRESETS)),
            "settings": {
                name: {
                    "title": setting.title, "law": law(setting), "n": setting.task.n, "layers": 3,
                    **rates(name, judged.tunings.get(name)),
                }
                for name, setting in SETTINGS.items()
            },
            "presets": {
                name: {"text": preset.text, "options": options(preset, judged.tunings, budget.batch)}
                for name, preset in PRESETS.items()
            },
            "story": [
                step._asdict() | {"question": step.question.format(steps=PRESETS[step.preset].steps)} for step in STORY
            ],
            "ghosts": list(ghosts(judged, budget)),
        },
    )  # fmt: skip


def presets() -> pd.DataFrame:
    """The experiments that an address can name, for a page."""
    return pd.DataFrame(
        {"address": f"[`#preset={name}`](lab.html#preset={name})", "experiment": preset.text}
        for name, preset in PRESETS.items()
    )
