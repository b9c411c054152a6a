"""The CUDA engine: in numba-cuda's simulator, in a process of its own, and on a GPU where there is one.

The simulator runs kernels as Python. It finds wrong numbers, and nothing of what the compiler refuses.
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from typing import Any

import pytest
import torch

import lintrans as lt
from lintrans.diagnostics.curvature import hessian
from lintrans.diagnostics.derivatives import batch_gradients, gradients
from lintrans.engines.cpu import compiling

pytest.importorskip("numba")  # which brings a simulator of its own

CODE = """
import sys
import torch
import lintrans as lt
from lintrans.engines import ReferenceEngine
from lintrans.engines.cuda.engine import CudaEngine
from lintrans.training.train import plan_training

device = sys.argv[2]
worst = 0.0
cases = (
    ("sparse", 1, lt.GammaScaled(0.1, 10.0), 2, 3), ("full", 2, lt.Sphere(1.5), 3, 3),
    ("sparse", 1, lt.Gaussian(0.5), 2, 3), ("sparse", 1, lt.GammaScaled(0.5, 2.0), 5, 3),
    ("full", 1, lt.Gaussian(0.5), 2, 12), ("sparse", 1, lt.Sphere(), 1, 4),
)
for form, heads, law, d, n in cases[:int(sys.argv[1])]:
    model = lt.LinearTransformer(layers=2, d=d, heads=heads, form=form)
    optimizers = [lt.SGD(0.8, 0.1), lt.Adam((0.8, 0.95), 1e-6)]
    runs = lt.grid(optimizer=optimizers, lr=0.01, seed=[5], clip=[0.1, None])
    task = lt.LinearRegression(d=d, n=n, covariates=law)
    states, losses = [], []
    for kind, where in ((CudaEngine, device), (ReferenceEngine, "cpu")):
        plan = plan_training(model, task, runs, steps=1, cooldown=1, batch=67, dtype="float64", device=where)
        engine = kind(plan)
        state = engine.start()
        state.parameters[3, 0] = torch.inf
        engine.advance(state, 2)
        states.append(state)
        losses.append(engine.block_losses(state.parameters[:3], 3, lt.Stream.EVALUATION, 67).cpu())
    a, b = states
    for name in ("step", "count", "skipped", "clipped", "diverged"):
        ours, theirs = getattr(a, name), getattr(b, name)
        assert ours == theirs if name == "step" else ours.tolist() == theirs.tolist(), name
    worst = max(worst, (a.parameters[:3].cpu() - b.parameters[:3]).abs().max().item())
    kept = {name: part.cpu() for name, part in a.slots["compiled"].items()}
    worst = max(worst, (kept["first"][:2] - b.slots["sgd"]["first"]).abs().max().item())
    worst = max(worst, *((kept[name][2] - part[0]).abs().max().item() for name, part in b.slots["adam"].items()))
    worst = max(worst, (losses[0] / losses[1] - 1).abs().max().item())
print(worst)
"""


def worst(cases: int, device: str, **variables: str) -> float:
    """Largest difference to the reference engine on the CPU; a run diverges, a batch fills no whole block."""
    command = [sys.executable, "-c", CODE, str(cases), device]
    ran = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return float(ran.stdout.split()[-1])


@pytest.mark.parametrize("cases", [1, pytest.param(6, marks=pytest.mark.slow)])
def test_simulated_steps_are_those_of_the_reference(cases: int) -> None:
    """One small shape of each form, all laws and optimizers."""
    assert worst(cases, "cpu", NUMBA_ENABLE_CUDASIM="1") < 1e-12


with warnings.catch_warnings():  # of numba-cuda's own, which pytest would make the engine's problem
    warnings.simplefilter("ignore")
    PROBLEM = compiling.unsupported_cuda()
on_gpu = pytest.mark.skipif(bool(PROBLEM), reason=f"no CUDA engine here: {PROBLEM}")


@on_gpu
@pytest.mark.filterwarnings("ignore")
def test_steps_on_a_gpu_are_those_of_the_reference() -> None:
    """The same, compiled."""
    assert worst(6, "cuda") < 1e-12


@on_gpu
@pytest.mark.filterwarnings("ignore")
def test_a_run_is_the_same_alone_and_in_an_ensemble() -> None:
    """Bit for bit; sums have one order."""
    runs = lt.grid(optimizer=[lt.SGD(), lt.Adam()], lr=[0.01, 0.02], seed=range(5))
    options: dict[str, Any] = {"steps": 20, "clip": 1.0, "device": "cuda", "engine": "cuda", "probes": []}
    model, task = lt.LinearTransformer(), lt.LinearRegression()
    together = lt.train(model, task, runs, **options)
    alone = lt.train(model, task, lt.Runs([list(runs)[7]]), **options)
    assert together.info["engine"] == alone.info["engine"] == "cuda"
    assert together.parameters(20)[7].equal(alone.parameters(20)[0])


@on_gpu
@pytest.mark.filterwarnings("ignore")
def test_instruments_take_tensors_of_a_gpu() -> None:
    """By way of the CPU's compiled loops, and back."""
    model, task = lt.LinearTransformer(), lt.LinearRegression()
    here = model.init([0, 1], dtype=torch.float64)
    there, prompts = here.cuda(), task.sample(100, dtype=torch.float64)
    many: dict[str, Any] = {"batch": 10, "count": 3}
    for found, expected in (
        (gradients(model, there, prompts.to("cuda"))[1], gradients(model, here, prompts)[1]),
        (batch_gradients(model, task, there, **many)[1], batch_gradients(model, task, here, **many)[1]),
        (hessian(model, there, prompts.to("cuda")), hessian(model, here, prompts)),
    ):
        assert found.device.type == "cuda"
        assert found.cpu().equal(expected)
