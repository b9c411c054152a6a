"""Time the engines against other ways to do the same, side by side; print the ratios and store them with the machine.

    python -m benchmarks.bench                # all, about ten minutes on two cores
    python -m benchmarks.bench --quick        # Setting 1 and one sweep, about two minutes
    python -m benchmarks.bench --output FILE  # where the JSON goes; benchmarks/results.json by default

Times are noisy, ratios less so: candidates alternate in one process, and a ratio is the median over rounds. A time
printed is the least of its rounds. Plain code and vmap draw with torch's generator, the engines with the project's.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numba
import torch

from lintrans.diagnostics.curvature import hessian
from lintrans.diagnostics.derivatives import batch_gradients

from . import measure
from .candidates import CANDIDATES, SHAPES, Shape, ensemble

RUNS = (1, 12, 120)
TARGET_SECONDS = 0.25  # of one call
SWEEPS: dict[str, tuple[Any, ...]] = {
    "n": (5, 10, 20, 50, 100, 200),
    "layers": (1, 2, 3, 4, 6, 8),
    "d": (2, 5, 10, 20),
    "batch": (100, 300, 1000, 3000),
    "runs": (1, 2, 12, 48, 120),
    "threads": (1, 2),
}
COMPILED = ("cpu", "jax")


def parallel(name: str, runs: int) -> int:
    """Runs that a candidate takes at once: plain code takes one."""
    return 1 if name == "plain" else runs


def prepared(name: str, shape: Shape, runs: int) -> tuple[Any, float]:
    """(a call of about TARGET_SECONDS, run-steps it does)."""
    at_once = parallel(name, runs)
    pilot = CANDIDATES[name](shape, at_once, 1)
    pilot()
    began = time.perf_counter()
    pilot()
    seconds = time.perf_counter() - began
    steps = max(1, min(500, int(TARGET_SECONDS / max(seconds, 1e-6))))
    return CANDIDATES[name](shape, at_once, steps), float(steps * at_once)


def compare(shape: Shape, runs: int, names: tuple[str, ...], rounds: int) -> list[dict[str, Any]]:
    """One row a candidate: least milliseconds per run and step, and the median ratio to plain."""
    calls, work = {}, {}
    for name in names:
        try:
            calls[name], work[name] = prepared(name, shape, runs)
        except (ImportError, NotImplementedError) as error:
            print(f"  {name}: left out ({error})")
    times = measure.alternate(calls, rounds)
    each = {name: [t / work[name] * 1e3 for t in values] for name, values in times.items()}
    rows = []
    for name, values in each.items():
        row = {
            "shape": shape.name,
            "runs": runs,
            "candidate": name,
            "ms": min(values),
            "ratio": measure.ratio(each["plain"], values) if "plain" in each else None,
        }
        rows.append(row)
        print(
            f"  {shape.name:10} {runs:4} runs  {name:10} {row['ms']:9.4f} ms"
            + (f"  {row['ratio']:7.1f} x" if row["ratio"] else "")
        )
    return rows


def sweep(axis: str, values: tuple[Any, ...], rounds: int) -> list[dict[str, Any]]:
    """The CPU engine on Setting 1 with one number changed, its values alternating."""
    calls, work, extra = {}, {}, {}
    for value in values:
        if axis == "threads" and value > numba.config.NUMBA_NUM_THREADS:
            continue
        shape = SHAPES["Setting 1"]
        if axis in ("n", "layers", "d", "batch"):
            shape = dataclasses.replace(shape, **{axis: value})
        call, work[value] = prepared("cpu", shape, value if axis == "runs" else 12)

        def run(call: Any = call, value: Any = value) -> None:
            if axis == "threads":
                numba.set_num_threads(value)
            call()
            numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)

        calls[str(value)] = run
        model = shape.model
        extra[value] = (
            measure.multiplications(model.layers, model.block, model.heads, model.form == "sparse") * shape.batch
        )
    times = measure.alternate(calls, rounds)
    rows = [
        {
            "axis": axis,
            "value": value,
            "ms": min(times[str(value)]) / work[value] * 1e3,
            "multiplications": extra[value],
        }
        for value in work
    ]
    print(f"  {axis}: " + ", ".join(f"{row['value']}: {row['ms']:.3f}" for row in rows) + " ms")
    return rows


def contexts(rounds: int) -> list[dict[str, Any]]:
    """What a step costs at two context lengths, split into what runs of a seed share and what a run more costs.

    Shared are drawing and second moments; all else should not know the context length.
    """
    calls, steps = {}, {}
    for n in (20, 200):
        for runs in (12, 120):
            shape = dataclasses.replace(SHAPES["Setting 1"], n=n)
            calls[f"{n} {runs}"], work = prepared("cpu", shape, runs)
            steps[f"{n} {runs}"] = work / runs
    times = measure.alternate(calls, rounds)
    ms = {name: min(times[name]) / steps[name] * 1e3 for name in calls}
    rows = []
    for n in (20, 200):
        further = (ms[f"{n} 120"] - ms[f"{n} 12"]) / 108
        rows.append({"n": n, "step": ms[f"{n} 12"], "further": further, "shared": ms[f"{n} 12"] - 12 * further})
        print(
            f"  n = {n}: 12 runs {rows[-1]['step']:.2f} ms a step, shared {rows[-1]['shared']:.2f}, a run {further:.3f}"
        )
    return rows


def roofline(rounds: int) -> list[dict[str, Any]]:
    """The gradient alone, on given prompts and one thread, against the peak of one core, measured in turn with it.

    A core's clock changes with what its neighbours do, so a share is the median over rounds of neighbouring timings and
    ``low`` and ``high`` are its quartiles. Seconds are the process's own, without those in which it had no core.
    """
    rows = []
    numba.set_num_threads(1)
    for name in ("Setting 1", "L = 8", "C14"):
        for dtype in ("float32", "float64"):
            shape = dataclasses.replace(SHAPES[name], dtype=dtype)
            from lintrans.engines.cpu.moment_loops import MomentLoops

            loops, model = MomentLoops(shape.model, shape.kind), shape.model
            runs = 4
            points = loops.points(model.init(list(range(runs)), dtype=shape.kind))[..., None]
            data = loops.pack(shape.task.sample_moments(shape.batch, dtype=shape.kind))
            owner = torch.zeros(runs, dtype=torch.int64).numpy()
            count = measure.multiplications(model.layers, model.block, model.heads, model.form == "sparse")
            spin, spins = measure.peak(dtype)
            gradient = lambda: loops.differentiate(points, data, owner, shape.batch)  # noqa: E731, B023 - called before the loop goes on
            times = measure.alternate({"gradient": gradient, "peak": spin}, 8 * rounds, time.process_time)
            rates = [count * shape.batch * runs / seconds for seconds in times["gradient"]]
            peaks = [spins / seconds for seconds in times["peak"]]
            low, share, high = statistics.quantiles([r / p for r, p in zip(rates, peaks, strict=True)], n=4)
            work = loops.work().shape[1] * loops.kind.itemsize
            rows.append(
                {
                    "shape": name, "dtype": dtype, "ms": min(times["gradient"]) / runs * 1e3, "multiplications": count,
                    "rate": max(rates), "peak": max(peaks), "share": share, "low": low, "high": high,
                    "work_bytes": work,
                }
            )  # fmt: skip
            print(
                f"  {name:10} {dtype}: {max(rates) / 1e9:.1f} of {max(peaks) / 1e9:.1f} G multiply-adds/s; in turn "
                f"{share:.0%} ({low:.0%} to {high:.0%})"
            )
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    return rows


def derivatives(rounds: int) -> dict[str, float]:
    """Seconds of the instruments' two workhorses."""
    shape = SHAPES["Setting 1"]
    model, task = shape.model, shape.task
    parameters, prompts = model.init(0, dtype=torch.float64), task.sample_moments(1000, dtype=torch.float64)
    size = parameters.numel()
    calls: dict[str, Any] = {
        "hessian": lambda: hessian(model, parameters, prompts),
        "gradients": lambda: batch_gradients(model, task, parameters.float(), batch=1000, count=1000),
    }
    times = measure.alternate(calls, rounds)
    result = {"hessian": min(times["hessian"]), "ten_thousand_gradients": 10 * min(times["gradients"])}
    print(
        f"  {size} x {size} Hessian {result['hessian']:.3f} s; 10^4 gradients {result['ten_thousand_gradients']:.1f} s"
    )
    return result


PROBE = """
import sys
from benchmarks.candidates import CANDIDATES, SHAPES
from benchmarks.measure import high_water
name, runs = sys.argv[1], int(sys.argv[2])
before = high_water()
CANDIDATES[name](SHAPES["Setting 1"], runs, 3)()
print(high_water() - before)
"""


def memory(names: tuple[str, ...]) -> dict[str, float]:
    """Peak memory in MB that 12 runs of Setting 1 add to a process, compiler included where there is one."""
    result = {}
    for name in names:
        ran = subprocess.run(
            [sys.executable, "-c", PROBE, name, str(parallel(name, 12))], capture_output=True, text=True, check=False
        )
        if ran.returncode == 0:
            result[name] = float(ran.stdout.split()[-1])
            print(f"  {name}: {result[name]:.0f} MB")
    return result


START = """
import time
began = time.perf_counter()
import lintrans as lt
imported = time.perf_counter()
runs = lt.grid(optimizer="adam", lr=0.01)
lt.train(lt.LinearTransformer(), lt.LinearRegression(), runs, steps=1, engine="cpu", probes=[], device="cpu")
print(imported - began, time.perf_counter() - imported)
"""


def starts() -> dict[str, float]:
    """Seconds of a first training step in a fresh process: compiling, and loading what was compiled."""
    import os
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        first, cached = (
            subprocess.run(
                [sys.executable, "-c", START],
                env={**os.environ, "LINTRANS_KERNELS": folder},
                capture_output=True,
                text=True,
                check=True,
            ).stdout.split()
            for _ in range(2)
        )
    result = {"import": float(cached[0]), "compile": float(first[1]), "cached": float(cached[1])}
    print(
        f"  import {result['import']:.1f} s; first step {result['compile']:.1f} s, from disk {result['cached']:.1f} s"
    )
    return result


def main() -> None:
    """Run the benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="Setting 1 and one sweep only")
    parser.add_argument("--roofline", action="store_true", help="only the gradient's share of the peak")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("results.json"))
    options = parser.parse_args()
    began = time.perf_counter()
    if options.roofline:
        record: dict[str, Any] = json.loads(options.output.read_text(encoding="utf-8"))
        if record["machine"]["processor"] != measure.machine()["processor"]:
            parser.error(f"{options.output} is of another processor: run all of it")
        record["roofline"] = roofline(options.rounds)
        options.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        return
    names = tuple(CANDIDATES)
    record = {"date": datetime.now(UTC).date().isoformat(), "machine": measure.machine()}
    record["threads"] = numba.config.NUMBA_NUM_THREADS
    print("whole steps, ms per run and step, ratio to plain:")
    record["compare"] = [row for runs in RUNS for row in compare(SHAPES["Setting 1"], runs, names, options.rounds)]
    if not options.quick:
        for name in list(SHAPES)[1:]:
            rounds = 2 if name == "C14" else max(3, options.rounds // 2)
            record["compare"] += compare(SHAPES[name], 12, names, rounds)
    print("sweeps of the CPU engine, 12 runs of Setting 1:")
    axes = ("runs",) if options.quick else tuple(SWEEPS)
    record["sweeps"] = [row for axis in axes for row in sweep(axis, SWEEPS[axis], options.rounds)]
    print("a step at two context lengths:")
    record["contexts"] = contexts(options.rounds)
    print("gradient alone, one thread:")
    record["roofline"] = roofline(options.rounds)
    print("instruments:")
    record["derivatives"] = derivatives(options.rounds)
    print("start and memory:")
    record["start"] = starts()
    record["memory"] = memory(names)
    record["seconds"] = round(time.perf_counter() - began)
    options.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"written to {options.output} after {record['seconds']} s ({len(ensemble(120))} runs at most)")


if __name__ == "__main__":
    main()
