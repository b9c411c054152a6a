"""Six optimizers on a tiny language model: groups by name, each against a plain float64 recursion, all tuned alike."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch

import lintrans as lt
from lintrans.engines import choose
from lintrans.paper.claims import f11
from lintrans.paper.practice import arms
from lintrans.paper.practice.architectures import LeNet, Transformer
from lintrans.paper.practice.networks import NAMES, PracticeNetwork
from lintrans.training.train import plan_training

STEPS, RATE = 4, 0.01
MODEL = arms.GroupedModel(Transformer(words=5, length=3, width=4, layers=2, heads=2))
_WORDS = torch.randint(5, (40, 4), generator=torch.Generator().manual_seed(0))
TASK = lt.Examples(_WORDS[:30, :3], _WORDS[:30, 1:], _WORDS[30:, :3], _WORDS[30:, 1:], zero_loss=math.log(5))


def test_layers_and_kinds_by_name() -> None:
    names = ["embedding.weight", "layers.0.mlp.2.bias", "layers.1.mlp.0.bias", "norm.weight", "3.weight", "scale"]
    assert [*map(arms.layer_of, names)] == ["embedding", "layers.0", "layers.1", "norm", "3", ""]
    kinds = ["embedding.weight", "layers.mlp.bias", "layers.mlp.bias", "norm.weight", "weight", "scale"]
    assert [*map(arms.kind_of, names)] == kinds
    lenet = arms.GroupedModel(LeNet()).groups
    assert [int(lenet[by].max()) + 1 for by in ("block", "layer", "kind")] == [10, 5, 2]
    own = {by: MODEL.groups[by].tolist() for by in ("layer", "kind")}
    for by, rule in (("layer", arms.layer_of), ("kind", arms.kind_of)):
        expected = [rule(name) for name, size in zip(MODEL.block_names, MODEL.sizes, strict=True) for _ in range(size)]
        assert own[by] == arms.numbered(expected)


def plain(name: str, theta: np.ndarray, gradient: Any) -> np.ndarray:
    """Parameters after some steps, a second moment for each name that `label` gives."""
    label = {"adam": None, "layer": arms.layer_of, "kind": arms.kind_of, "all": lambda _: "all"}
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    whose = [each for each, size in zip(MODEL.block_names, MODEL.sizes, strict=True) for _ in range(size)]
    for step in range(1, STEPS + 1):
        g = gradient(theta, step - 1)
        if name in ("sgd", "signum"):
            m = 0.9 * m + g
            theta = theta - RATE * (np.sign(m) if name == "signum" else m)
            continue
        s, rule = g**2, label[name]
        if rule:
            groups = np.array([rule(each) for each in whose])
            s = np.select([groups == each for each in set(groups)], [s[groups == each].mean() for each in set(groups)])
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * s
        theta = theta - RATE * m / (1 - 0.9**step) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
    return theta


@pytest.mark.parametrize("optimizer", arms.ARMS, ids=lambda each: each.name)
def test_the_recursions(optimizer: Any) -> None:
    runs = lt.grid(optimizer=optimizer, lr=RATE, seed=3)
    options: dict[str, Any] = {"steps": STEPS, "batch": 8, "dtype": "float64", "engine": "reference"}
    reference = choose("reference", plan_training(MODEL, TASK, runs, steps=STEPS, batch=8, dtype="float64"))

    def gradient(theta: np.ndarray, step: int) -> np.ndarray:
        examples = TASK.sample(8, [3], step, dtype=torch.float64)
        return np.asarray(reference.gradient(torch.from_numpy(theta)[None], examples)[1][0])

    start = MODEL.init(3, dtype=torch.float64).numpy()
    found = lt.train(MODEL, TASK, runs, snapshots=[STEPS], **options).parameters(STEPS)[0].numpy()
    np.testing.assert_allclose(found, plain(optimizer.name, start, gradient), rtol=1e-9, atol=1e-12)
    assert abs(found - start).max() > 0.01


def test_all_are_tuned_alike_and_judged_on_the_same_batches() -> None:
    net = PracticeNetwork("tiny", MODEL, TASK, MappingProxyType({}), math.nan, "made up")
    own = arms.ArmsBudget(steps=6, seeds=2, screening=4, every=3, evaluation=16, tuning_seeds=(1000,), batch=8)
    history, tuning = arms.train_arms(net, own)
    tried = tuning.losses[tuning.losses["screened"]].groupby("optimizer")["lr"].nunique()
    assert set(tried) == {4}
    assert set(tried.index) == {arm.name for arm in arms.ARMS} == set(f11.RANKING)
    assert set(tuning.losses["seed"]) == {1000}
    assert {*history.runs["seed"]} == {100, 101}
    assert set(history.runs["optimizer"]) == {name for name, best in tuning.best.items() if best.interior}
    start = history.metric("typical_loss").query("step == 0").groupby("seed")["value"].nunique()
    assert (start == 1).all(), "all arms of a seed begin at one point"


def test_the_networks_are_those_of_practice() -> None:
    assert set(f11.NETWORKS) <= set(NAMES)
