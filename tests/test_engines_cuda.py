"""The CUDA engine in numba-cuda's simulator, in a process of its own: no GPU is needed, and none is tested."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("numba")  # which brings a simulator of its own

CODE = """
import sys
import torch
import lintrans as lt
from lintrans.engines import ReferenceEngine
from lintrans.engines.cuda import CudaEngine
from lintrans.training import plan_training

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
    plan = plan_training(model, task, runs, steps=1, cooldown=1, batch=67, dtype="float64", device="cpu")
    states = []
    for kind in (CudaEngine, ReferenceEngine):
        engine = kind(plan)
        state = engine.start()
        state.parameters[3, 0] = torch.inf
        engine.advance(state, 2)
        states.append(state)
    a, b = states
    for name in ("step", "count", "skipped", "clipped", "diverged"):
        assert str(getattr(a, name)) == str(getattr(b, name)), name
    for name in ("parameters", "first", "second"):
        worst = max(worst, (getattr(a, name)[:3] - getattr(b, name)[:3]).abs().max().item())
print(worst)
"""


@pytest.mark.parametrize("cases", [1, pytest.param(6, marks=pytest.mark.slow)])
def test_simulated_steps_are_those_of_the_reference(cases: int) -> None:
    """One small shape of each form, all laws and optimizers, a run that diverges, a batch that fills no whole block."""
    variables = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", CODE, str(cases)], env=variables, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert float(ran.stdout.split()[-1]) < 1e-12
