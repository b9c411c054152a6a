"""The ways to train an ensemble that are timed against one another; each does whole steps, drawing included.

A candidate is made for a shape, a number of runs (half SGD, half Adam; two runs a seed and rate) and a number of steps
a call; calling it does that many steps of all its runs. Runs are independent, so a candidate that takes one run at a
time is timed on one, and counts as such.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import lintrans as lt
from lintrans.engines import choose
from lintrans.training.train import plan_training

LR, CLIP, MOMENTUM, BETAS = 1e-3, 1.0, 0.9, (0.9, 0.9)


GAUSSIAN = lt.Gaussian()


@dataclass(frozen=True)
class Shape:
    """A model and its task."""

    name: str
    layers: int = 3
    d: int = 5
    n: int = 20
    covariates: Any = GAUSSIAN
    form: str = "sparse"
    heads: int = 1
    dtype: str = "float32"
    batch: int = 1000

    @property
    def model(self) -> lt.LinearTransformer:
        """The model."""
        return lt.LinearTransformer(self.layers, self.d, self.heads, self.form)

    @property
    def task(self) -> lt.LinearRegression:
        """The task."""
        return lt.LinearRegression(self.d, self.n, self.covariates)

    @property
    def kind(self) -> torch.dtype:
        """The dtype."""
        kind: torch.dtype = getattr(torch, self.dtype)
        return kind


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("Setting 1"),
        Shape("Setting 2", n=5),
        Shape("Setting 3", covariates=lt.GammaScaled(0.1, 10.0)),
        Shape("spherical", covariates=lt.Sphere()),
        Shape("full form", form="full"),
        Shape("L = 6", layers=6, dtype="float64"),
        Shape("L = 8", layers=8, dtype="float64"),
        Shape("C14", layers=8, d=20, n=60, dtype="float64"),
    )
}


def ensemble(runs: int) -> lt.Runs:
    """1 run; 12: 6 seeds, SGD and Adam; 120: at ten rates."""
    optimizers = [lt.SGD(MOMENTUM), lt.Adam(BETAS)][: min(runs, 2)]
    seeds = min(6, -(-runs // 2))
    rates = [LR * (1 + k / 10) for k in range(max(1, runs // (len(optimizers) * seeds)))]
    return lt.grid(optimizer=optimizers, lr=rates, seed=range(seeds))


def covariates(shape: Shape, seeds: int) -> tuple[Tensor, Tensor]:
    """Tokens [seeds, batch, n + 1, d] and teachers [seeds, batch, d] from torch's generator, as research code."""
    x = torch.randn(seeds, shape.batch, shape.n + 1, shape.d, dtype=shape.kind)
    law = shape.covariates
    if not isinstance(law, lt.Gaussian):
        x = x / x.norm(dim=-1, keepdim=True)
    if isinstance(law, lt.GammaScaled):
        gamma = torch.distributions.Gamma(torch.tensor(law.shape, dtype=shape.kind), 1 / law.scale)
        x = x * gamma.sample((*x.shape[:-1], 1)).sqrt()
    return x, torch.randn(seeds, shape.batch, shape.d, dtype=shape.kind)


def plain(shape: Shape, runs: int, steps: int) -> Callable[[], None]:
    """Research code: one run at a time, tokens, autograd, torch.optim."""
    size, n = shape.d + 1, shape.n
    parameters = torch.nn.Parameter(shape.model.init(0, dtype=shape.kind))
    optimizer = torch.optim.Adam([parameters], lr=LR, betas=BETAS)
    mask = torch.diag(torch.tensor([1.0] * n + [0.0], dtype=shape.kind))

    def predict(z: Tensor) -> Tensor:  # z [batch, n + 1, d + 1]
        weights: Tensor = parameters
        if shape.form == "sparse":
            weights = torch.nn.functional.pad(parameters, (0, 1, 0, 1))
            corner = torch.zeros_like(weights)
            corner[:, :, 0, -1, -1] = 1.0
            weights = weights + corner
        for layer in range(shape.layers):
            update = torch.zeros(())
            for head in range(shape.heads):
                p, q = weights[layer, head, 0], weights[layer, head, 1]
                scores = torch.einsum("bik,kl,bjl->bij", z, q, z)
                update = update + torch.einsum("bji,bjk,lk->bil", mask @ scores, z, p)
            z = z + update / n
        return -z[:, -1, -1]

    def step() -> None:
        x, w = (part[0] for part in covariates(shape, 1))
        y = torch.einsum("bnd,bd->bn", x, w)
        z = torch.cat([x, y[:, :, None]], dim=-1).reshape(shape.batch, n + 1, size)
        z[:, -1, -1] = 0.0
        optimizer.zero_grad()
        loss = ((predict(z) - y[:, -1]) ** 2).mean()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        torch.nn.utils.clip_grad_norm_([parameters], CLIP)
        optimizer.step()

    def call() -> None:
        torch.set_num_threads(threads)
        for _ in range(steps):
            step()
        torch.set_num_threads(before)

    # research code does not think about threads; here it gets the number that serves it best
    before = torch.get_num_threads()
    seconds = {}
    for threads in (1, before):
        call()
        began = time.perf_counter()
        call()
        seconds[threads] = time.perf_counter() - began
    threads = min(seconds, key=lambda count: seconds[count])
    return call


def moments(x: Tensor, w: Tensor) -> lt.Moments:
    """Second moments [seeds, ..., batch] of tokens and teachers."""
    prompts = lt.Prompts(x, torch.einsum("sbnd,sbd->sbn", x, w))
    return prompts.moments()


def vmap(shape: Shape, runs: int, steps: int) -> Callable[[], None]:
    """Batched research code: the moment form under torch.func for all runs at once, Adam written out."""
    model = shape.model
    who = list(ensemble(runs))
    seeds = torch.tensor([run.seed for run in who])
    theta = model.init([run.seed for run in who], dtype=shape.kind)
    first, second = torch.zeros_like(theta), torch.zeros_like(theta)

    def loss(parameters: Tensor, *parts: Tensor) -> Tensor:
        return model.loss(parameters, lt.Moments(*parts))

    gradients = torch.func.vmap(torch.func.grad(loss))
    count = 0

    def step() -> None:
        nonlocal theta, first, second, count
        count += 1
        drawn = moments(*covariates(shape, int(seeds.max()) + 1))
        g = gradients(theta, *(part[seeds] for part in drawn))
        norm = g.reshape(runs, -1).norm(dim=1)
        g = g * (CLIP / (norm + 1e-6)).clamp(max=1.0).reshape(-1, 1, 1, 1, 1, 1)
        first = BETAS[0] * first + (1 - BETAS[0]) * g
        second = BETAS[1] * second + (1 - BETAS[1]) * g * g
        corrected = (second / (1 - BETAS[1] ** count)).sqrt() + 1e-8
        theta = theta - LR * first / (1 - BETAS[0] ** count) / corrected

    def call() -> None:
        for _ in range(steps):
            step()

    return call


def by_engine(name: str) -> Callable[[Shape, int, int], Callable[[], None]]:
    """One of the library's engines."""

    def make(shape: Shape, runs: int, steps: int) -> Callable[[], None]:
        plan = plan_training(
            shape.model,
            shape.task,
            ensemble(runs),
            steps=10**8,
            batch=shape.batch,
            clip=CLIP,
            device="cpu",
            dtype=shape.kind,
        )
        engine = choose(name, plan)
        state = engine.start()
        return lambda: engine.advance(state, steps)

    return make


def jax(shape: Shape, runs: int, steps: int) -> Callable[[], None]:
    """JAX: jit(vmap(grad)) of the moment form, drawing and Adam inside, all steps of a call in one scan."""
    import jax as j
    import jax.numpy as jnp

    j.config.update("jax_enable_x64", True)
    kind = jnp.dtype(shape.dtype)
    who = list(ensemble(runs))
    seeds = jnp.array([run.seed for run in who])
    count = int(seeds.max()) + 1
    start = jnp.asarray(shape.model.init([run.seed for run in who], dtype=shape.kind).numpy())[:, :, 0]
    if shape.form != "sparse" or shape.heads != 1:
        raise NotImplementedError("the JAX candidate knows the sparse form with one head")
    law, n, d = shape.covariates, shape.n, shape.d

    def draw(key: Any) -> Any:
        k0, k1, k2 = j.random.split(key, 3)
        x = j.random.normal(k0, (count, shape.batch, n + 1, d), kind)
        w = j.random.normal(k1, (count, shape.batch, d), kind)
        if not isinstance(law, lt.Gaussian):
            x = x / jnp.linalg.norm(x, axis=-1, keepdims=True)
        if isinstance(law, lt.GammaScaled):
            x = x * jnp.sqrt(law.scale * j.random.gamma(k2, law.shape, (*x.shape[:-1], 1), kind))
        s = jnp.einsum("sbni,sbnj->sbij", x[:, :, :-1], x[:, :, :-1]) / n
        query = x[:, :, -1]
        return s, jnp.einsum("sbij,sbj->sbi", s, w), query, (query * w).sum(-1)

    def loss(theta: Any, s: Any, sv: Any, x: Any, target: Any) -> Any:
        y = 0.0
        for layer in range(shape.layers):
            p, q = theta[layer, 0], theta[layer, 1]
            g = sv @ q
            y = y + (g * x).sum(-1)
            a = p @ s @ q
            u = sv + jnp.einsum("bij,bj->bi", s, g)
            sv = u + jnp.einsum("bij,bj->bi", a, u)
            x = x + jnp.einsum("bij,bj->bi", a, x)
            grown = s + a @ s
            s = grown + grown @ a.swapaxes(-1, -2)
        return ((y + target) ** 2).mean()

    gradients = j.vmap(j.grad(loss))

    def step(state: Any, _: Any) -> Any:
        theta, first, second, t, key = state
        key, own = j.random.split(key)
        g = gradients(theta, *(part[seeds] for part in draw(own)))
        norm = jnp.sqrt((g * g).sum((1, 2, 3, 4), keepdims=True))
        g = g * jnp.minimum(1.0, CLIP / (norm + 1e-6)).astype(kind)
        first = BETAS[0] * first + (1 - BETAS[0]) * g
        second = BETAS[1] * second + (1 - BETAS[1]) * g * g
        corrected = jnp.sqrt(second / (1 - BETAS[1] ** t)) + 1e-8
        theta = (theta - LR * first / (1 - BETAS[0] ** t) / corrected).astype(kind)
        return (theta, first.astype(kind), second.astype(kind), t + 1, key), None

    many = j.jit(lambda state: j.lax.scan(step, state, None, length=steps)[0])
    state = (start, jnp.zeros_like(start), jnp.zeros_like(start), jnp.float32(1), j.random.PRNGKey(0))

    def call() -> None:
        nonlocal state
        state = many(state)
        state[0].block_until_ready()

    return call


CANDIDATES: dict[str, Callable[[Shape, int, int], Callable[[], None]]] = {
    "plain": plain,
    "vmap": vmap,
    "reference": by_engine("reference"),
    "cpu": by_engine("cpu"),
    "jax": jax,
}
