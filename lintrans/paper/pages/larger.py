"""The page on a larger model: the tail of the noise when one number of the size changes alone."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from ...diagnostics.noise import tabulate_noise
from ...models.transformer import LinearTransformer
from ...store.results import measurement
from ...tasks.regression import LinearRegression

Shape = tuple[int, int, int]
"""Layers, dimension, examples."""
SAMPLES, REFERENCE = 2000, 25_000


def excess_by_shape(shapes: Iterable[Shape], batch: int) -> dict[Shape, float]:
    """E at the initialization of seed 0, minibatches of so many prompts, by layers, dimension and examples."""
    found = {}
    for layers, d, n in shapes:
        model, task = LinearTransformer(layers=layers, d=d), LinearRegression(d=d, n=n)
        how = {"batch": batch, "samples": SAMPLES, "reference": REFERENCE}
        of = {"what": "gradient noise", "model": model, "task": task, "seeds": [0], "parameters": "init", **how}
        compute = partial(tabulate_noise, model, task, model.init([0]), [0], keep=0, **how)
        table = measurement(f"L = {layers}, d = {d}, n = {n}, gradient noise", of, compute)
        found[layers, d, n] = float(table["excess"].iloc[0])
    return found
