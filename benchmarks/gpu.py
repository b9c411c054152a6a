"""Time whole training steps on a GPU, beside the same on its host's CPU; store them with both machines' names.

    python -m benchmarks.gpu                # about five minutes, most of it compiling
    python -m benchmarks.gpu --output FILE  # where the JSON goes; benchmarks/gpu.json by default

Engines: *cuda* and *reference* on the GPU, *cpu* on all cores of the host. Times are milliseconds a step of all runs.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from lintrans.engines import choose, unsupported_plan
from lintrans.training.train import plan_training

from . import measure
from .candidates import CLIP, SHAPES, Shape, ensemble

ENGINES = (("cuda", "cuda"), ("reference", "cuda"), ("cpu", "cpu"))
CASES = (("Setting 1", 1), ("Setting 1", 12), ("Setting 1", 120), ("Setting 1", 1200), ("Setting 3", 12), ("L = 8", 12))
SECONDS = 1.0  # of timed steps, at least


def step(name: str, device: str, shape: Shape, runs: int) -> dict[str, float]:
    """Milliseconds of a step of all runs, and seconds until the engine was ready, compiling included."""
    plan = plan_training(
        shape.model, shape.task, ensemble(runs), steps=10**8, batch=shape.batch, clip=CLIP, device=device,
        dtype=shape.kind,
    )  # fmt: skip
    if (why := unsupported_plan(name, plan)) is not None:
        raise NotImplementedError(why)
    began = time.perf_counter()
    engine = choose(name, plan)
    first = time.perf_counter() - began
    state, steps = engine.start(), 2
    while True:
        began = time.perf_counter()
        engine.advance(state, steps)
        if device == "cuda":
            torch.cuda.synchronize()
        spent = time.perf_counter() - began
        if spent > SECONDS:
            return {"ms": round(spent / steps * 1e3, 4), "first": round(first, 1)}
        steps = max(steps + 1, min(4 * steps, int(1.2 * SECONDS * steps / spent)))


def main() -> None:
    """Run the timings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("gpu.json"))
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("PyTorch sees no CUDA device: there is nothing to time here")
    rows: list[dict[str, Any]] = []
    for shape, runs in CASES:
        for engine, device in ENGINES:
            try:
                measured = step(engine, device, SHAPES[shape], runs)
            except NotImplementedError as error:
                print(f"  {engine}: left out ({error})")
                continue
            rows.append({"shape": shape, "runs": runs, "engine": engine, **measured})
            print(f"  {shape:10} {runs:5} runs  {engine:10} {measured['ms']:9.3f} ms a step", flush=True)
    record = {
        "date": datetime.now(UTC).date().isoformat(),
        "gpu": torch.cuda.get_device_name(0),
        "host": measure.machine(),
        "rows": rows,
    }
    options.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
