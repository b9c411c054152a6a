"""Optimizers beyond SGD and Adam, on every engine, against recursions in NumPy; and one of a user's own."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

import lintrans as lt
from lintrans.engines import choose
from lintrans.models.transformer import GROUPINGS, TensorModel, groups_of
from lintrans.paper import figures
from lintrans.training.optimizers import Looks, Slots, resolve, rule_of
from lintrans.training.train import plan_training

BETAS, EPS, MOMENTUM, RATE, STEPS = (0.8, 0.95), 1e-6, 0.7, 0.03, 6
OPTIMIZERS: list[Any] = [
    lt.Signum(MOMENTUM),
    lt.NormalizedSGD(MOMENTUM),
    *(lt.Adam(BETAS, EPS, name=each, second_moment=each) for each in GROUPINGS),
]
FRONT_ENDS: dict[str, Any] = {
    "moments": (lt.LinearTransformer(2, 5), lt.LinearRegression(5, 20)),
    "softmax": (lt.LinearTransformer(2, 3, attention="softmax"), lt.LinearRegression(3, 7)),
    "embedded": (lt.EmbeddedTransformer(2, 3, hidden=6), lt.FeatureRegression(3, 7, hidden=4)),
}


def groups(front_end: str, by: str) -> np.ndarray:
    """Group of each parameter, written out: two layers of P and Q, after W1 (18), b1 (6), W2 (18) and b2 (3)."""
    size = {"moments": 25, "softmax": 9, "embedded": 16}[front_end]
    network = {"block": [0] * 18 + [1] * 6 + [2] * 18 + [3] * 3, "layer": [0] * 45, "kind": [0] * 45}
    p_q = {"block": [0, 1, 2, 3], "layer": [0, 0, 1, 1], "kind": [0, 1, 0, 1]}
    before = network.get(by, [0] * 45) if front_end == "embedded" else []
    if by in ("coordinate", "all"):
        total = len(before) + 4 * size
        return np.arange(total) if by == "coordinate" else np.zeros(total, int)
    return np.concatenate([np.array(before, int), np.repeat(p_q[by], size) + (max(before) + 1 if before else 0)])


def plain(name: str, by: np.ndarray, theta: np.ndarray, gradient: Any, clip: float | None) -> np.ndarray:
    """Parameters after some steps of one run."""
    m, v = np.zeros_like(theta), np.zeros(by.max() + 1)
    for step in range(STEPS):
        g = gradient(theta, step)
        if clip is not None:
            g = g * min(1.0, clip / (np.linalg.norm(g) + 1e-6))
        if name in ("signum", "normalized_sgd"):
            m = MOMENTUM * m + g
            direction = np.sign(m) if name == "signum" else m / np.linalg.norm(m)
        else:
            mean = np.array([np.mean(g[by == k] ** 2) for k in range(len(v))])
            m, v = BETAS[0] * m + (1 - BETAS[0]) * g, BETAS[1] * v + (1 - BETAS[1]) * mean
            corrected = np.sqrt(v[by] / (1 - BETAS[1] ** (step + 1))) + EPS
            direction = m / (1 - BETAS[0] ** (step + 1)) / corrected
        theta = theta - RATE * direction
    return theta


@pytest.mark.parametrize("engine", ["reference", "cpu"])
@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_the_recursions(front_end: str, engine: str) -> None:
    """With and without clipping; in float32 as closely as it can."""
    model, task = FRONT_ENDS[front_end]
    clips = [None, 0.02]
    runs = lt.grid(optimizer=OPTIMIZERS, lr=RATE, clip=clips, seed=3)
    reference = choose("reference", plan_training(model, task, runs, steps=STEPS, batch=40, dtype="float64"))

    def gradient(theta: np.ndarray, step: int) -> np.ndarray:
        prompts = model.draw(task, 40, 3, step, dtype=torch.float64)
        return (
            reference.gradient(torch.from_numpy(theta).reshape(1, *model.parameter_shape), prompts)[1].flatten().numpy()
        )

    start = model.init(3, dtype=torch.float64).flatten().numpy()
    expected = np.stack(
        [
            plain(o.name, groups(front_end, o.name if o.name in GROUPINGS else "all"), start, gradient, clip)
            for o in OPTIMIZERS
            for clip in clips
        ]
    )
    for dtype, tolerance in (("float64", 1e-10), ("float32", 3e-4)):
        options: dict[str, Any] = {"steps": STEPS, "batch": 40, "dtype": dtype, "device": "cpu", "probes": []}
        history = lt.train(model, task, runs, engine=engine, **options)
        assert history.info["engine"] == engine
        found = history.parameters(STEPS).reshape(len(runs), -1).double().numpy()
        smooth = [run for run in range(len(runs)) if dtype == "float64" or runs[run].optimizer.name != "signum"]
        np.testing.assert_allclose(found[smooth], expected[smooth], rtol=0, atol=tolerance)
    assert np.abs(expected[0::2] - expected[1::2]).max() > 1e-3  # the clip does something


@pytest.mark.parametrize("front_end", FRONT_ENDS)
@pytest.mark.parametrize("by", GROUPINGS)
def test_groups(front_end: str, by: str) -> None:
    assert groups_of(FRONT_ENDS[front_end][0], by).tolist() == groups(front_end, by).tolist()


def test_groups_that_a_model_does_not_have_are_refused() -> None:
    class Vector:
        parameter_shape = (3,)

    with pytest.raises(ValueError, match=r"of a Vector have no groups 'layer': take one of 'coordinate', 'all'"):
        lt.Adam(second_moment="layer").init(torch.zeros(1, 3), Vector())  # type: ignore[arg-type]


def test_names() -> None:
    runs = lt.grid(optimizer=["signum", "normalized_sgd", "adam"], lr=1.0)
    assert runs.frame["optimizer"].tolist() == ["signum", "normalized_sgd", "adam"]
    assert resolve("signum") == lt.Signum(0.9)


def test_arguments_of_pieces_are_in_their_order() -> None:
    """What is built by name is passed by place."""
    pytest.importorskip("numba")
    from lintrans.engines.cpu import arguments, mlp, shape_kernels, softmax

    double = np.dtype("float64")
    for fields, (_, function) in (
        (arguments.DrawArguments, shape_kernels.prompts(double)),
        (arguments.TokenArguments, mlp.gradient(2, 3, double, 0)),
        (arguments.TokenArguments, softmax.gradient(2, 2, double, 0)),
    ):
        assert fields._fields == tuple(inspect.signature(function).parameters)


@dataclass(frozen=True)
class Whitened:
    """A user's own: AdaGrad with one matrix a run, and how often it has moved; gradients G of its rows sum to G^T G."""

    eps: float = 1e-3
    name: str = "whitened"

    def init(self, parameters: Tensor, model: TensorModel) -> Slots:
        d = model.parameter_shape[-1]
        return {"matrix": parameters.new_zeros(len(parameters), d, d), "moved": torch.zeros(len(parameters))}

    def update(self, gradient: Tensor, slots: Slots, count: Tensor, model: TensorModel) -> tuple[Tensor, Slots]:
        rows = gradient.reshape(len(gradient), -1, model.parameter_shape[-1])
        matrix = slots["matrix"] + rows.mT @ rows
        values, vectors = torch.linalg.eigh(matrix)
        root = vectors @ torch.diag_embed((values.clamp(min=0) + self.eps).rsqrt()) @ vectors.mT
        return (rows @ root).reshape(gradient.shape), {"matrix": matrix, "moved": slots["moved"] + 1}


def test_one_of_a_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It trains on either engine, is stored and found again, and has a place in figures; a broken one is named."""
    monkeypatch.setenv("LINTRANS_STORE", str(tmp_path))
    model, task = FRONT_ENDS["moments"]
    runs = lt.grid(optimizer=[Whitened(), lt.SGD()], lr=[0.01, 0.02], seed=range(2))
    options: dict[str, Any] = {"steps": 20, "batch": 50, "probes": [lt.TestLoss(every=5)], "device": "cpu"}
    history, again = (lt.experiment(model, task, runs, **options) for _ in range(2))
    assert again.frame.equals(history.frame)
    losses = history.metric("test_loss").query("optimizer == 'whitened'").groupby("step")["value"].mean()
    assert losses[20] < losses[0]
    one = plan_training(model, task, lt.Runs(list(runs)[:4]), steps=4, dtype="float64", device="cpu")
    states = []
    for engine in ("reference", "cpu"):
        worker = choose(engine, one)
        states.append(worker.start())
        worker.advance(states[-1], 3)
        assert states[-1].slots["whitened"]["moved"].tolist() == [3.0] * 4
    torch.testing.assert_close(states[0].parameters, states[1].parameters, rtol=1e-9, atol=1e-12)
    single = lt.train(model, task, lt.grid(optimizer=[Whitened(), "signum"], lr=0.01, seed=range(2)), **options)
    labels = [text.get_text() for text in figures.loss_curves({"1": single}).legends[0].get_texts()]
    assert "whitened" in labels
    assert "Signum" in labels
    assert Looks("colour")["whitened"] != Looks("colour")["sgd"]

    class Broken(Whitened):
        def init(self, parameters: Tensor, model: TensorModel) -> Slots:
            return {"matrix": torch.zeros(3, 3)}

    with pytest.raises(TypeError, match="first axis is the 1 runs"):
        lt.train(model, task, lt.grid(optimizer=Broken(), lr=0.1), steps=1, batch=4)


def test_a_subclass_that_changes_the_update_has_no_compiled_rule() -> None:
    class Other(lt.Adam):
        def init(self, parameters: Tensor, model: TensorModel) -> Slots:
            return super().init(parameters + 1, model)

    class Same(lt.Adam):
        note: ClassVar[str] = ""

    assert rule_of(Other()) is None
    assert rule_of(Same()) == rule_of(lt.Adam())
    assert rule_of(Whitened()) is None
