"""Numbers and figures of the book's performance page: stored benchmarks, and a small timing on the reader's machine.

Benchmarks are made by ``make bench`` (``benchmarks/bench.py``) and stored with the machine they ran on; nothing here
knows a number that is not in that file or measured now.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from ..engines import choose
from ..engines.cpu.algebra import data_size
from ..models.transformer import LinearTransformer
from ..tasks.regression import LinearRegression
from ..training.optimizers import SGD, Adam
from ..training.runs import grid
from ..training.train import plan_training
from .figures.parts import log_axis, subplots
from .figures.style import COLOURS, GREY, OTHERS, WIDTH

STORED = Path("benchmarks") / "results.json"
STORED_GPU = STORED.with_name("gpu.json")
NAMES = {
    "plain": "tokens, autograd, one run at a time",
    "vmap": "torch vmap, moment form",
    "reference": "reference engine (torch)",
    "cpu": "CPU engine (numba)",
    "cuda": "CUDA engine (numba-cuda)",
    "jax": "JAX jit(vmap), moment form",
}
AXES = {
    "n": "context length n",
    "layers": "layers L",
    "d": "dimension d",
    "batch": "prompts a batch",
    "runs": "runs",
    "threads": "threads",
}
DIMENSIONS = {"Setting 1": 5, "L = 8": 5, "C14": 20}  # of the roofline's shapes, all in the sparse form
MARKERS = {"plain": "o", "vmap": "s", "reference": "D", "cpu": "^", "jax": "v"}
LOOKS = dict(zip(MARKERS, (GREY, *OTHERS), strict=False))
"""A colour for each candidate."""
CLOSE = 1.25
"""Two timings within this factor are said to be alike."""


def stored(path: Path = STORED) -> Path | None:
    """Where a checkout keeps its benchmarks: the nearest above this folder, else the one this package runs from."""
    here = Path.cwd()
    files = (folder / path for folder in (here, *here.parents, Path(__file__).resolve().parents[2]))
    return next((file for file in files if file.is_file()), None)


def load(path: Path = STORED) -> dict[str, Any]:
    """The stored benchmarks, of a file or of the checkout; a FileNotFoundError says where there are none."""
    if (file := stored(path)) is None:
        raise FileNotFoundError(
            f"no benchmarks are stored in {path}, here or in a folder above: change into a checkout of the project, "
            f"which has them, and make some there with `make bench`"
        )
    record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return record


def compared(record: dict[str, Any], shape: str | None = None, runs: int | None = None) -> pd.DataFrame:
    """Rows of the comparison: shape, runs, candidate, ms (per run and step), ratio (to plain, median over rounds)."""
    frame = pd.DataFrame(record["compare"])
    for column, value in (("shape", shape), ("runs", runs)):
        frame = frame if value is None else frame[frame[column] == value]
    return frame.reset_index(drop=True)


def ratio_table(record: dict[str, Any]) -> pd.DataFrame:
    """Milliseconds per run and step in Setting 1, and the ratio to plain code in brackets."""
    rows = []
    for candidate, timings in compared(record, "Setting 1").groupby("candidate", sort=False):
        cells = {
            f"{row['runs']} run{'s' if row['runs'] > 1 else ''}": f"{row['ms']:.3g} ({row['ratio']:.3g}x)"
            for row in timings.sort_values("runs", kind="stable").to_dict("records")
        }
        rows.append({"": NAMES[str(candidate)], **cells})
    return pd.DataFrame(rows).fillna("")


def roofline_table(record: dict[str, Any]) -> pd.DataFrame:
    """The gradient alone on one core: multiplications a prompt, rate, and share of the peak measured in turn with it.

    With its quartiles over the rounds; older benchmarks have none.
    """
    frame = pd.DataFrame(record["roofline"])
    shares = [
        f"{row['share']:.0%}" + (f" ({row['low']:.0%} to {row['high']:.0%})" if "low" in row else "")
        for row in record["roofline"]
    ]
    billions = frame[["rate", "peak"]].div(1e9).map("{:.1f}".format)
    table = frame[["shape", "dtype"]].assign(
        multiplications=frame["multiplications"].map("{:,}".format), **billions, share=shares
    )
    return table.rename(columns={"multiplications": "multiplications a prompt", "rate": "10^9 a second"})


def gpu_table(record: dict[str, Any]) -> pd.DataFrame:
    """Milliseconds of a step of all runs on a GPU and on its host; a dash where it was not timed."""
    frame = pd.DataFrame(record["rows"])
    wide = frame.pivot_table("ms", ["shape", "runs"], "engine", sort=False)[["cuda", "reference", "cpu"]]
    shown = wide.map(lambda ms: "-" if pd.isna(ms) else f"{ms:.3g}").reset_index()
    where = {"cuda": "GPU", "reference": "GPU", "cpu": f"{record['host']['cores']} cores"}
    return shown.rename(columns={name: f"{NAMES[name]}, {place}" for name, place in where.items()})


def _versions(machine: dict[str, Any]) -> str:
    known = ((name, number) for name, number in machine["versions"].items() if number != "not installed")
    return ", ".join(f"{name} {number}" for name, number in known)


def gpu_words(record: dict[str, Any]) -> str:
    """The GPU, its host and the date in a sentence, and how much the CUDA engine gains with many runs."""
    rows = pd.DataFrame(record["rows"]).set_index(["shape", "runs", "engine"])["ms"]
    runs = max(n for shape, n, engine in rows.index if shape == "Setting 1" and engine == "cuda")
    gain = rows["Setting 1", runs, "cpu"] / rows["Setting 1", runs, "cuda"]
    slowest = max(row.get("first", 0.0) for row in record["rows"] if row["engine"] == "cuda")
    host = record["host"]
    return (
        f"{record['gpu']}, a host with {host['cores']} cores, {record['date']}; Python {host['python']}, "
        f"{_versions(host)}. {record.get('note', '')} With {runs:,} runs of Setting 1 the GPU "
        f"takes a step {gain:.0f} times faster than its host's cores. Its kernels are compiled anew in each process, "
        f"for each depth, shape and precision: that took up to {slowest:.0f} s."
    )


def machine_words(record: dict[str, Any]) -> str:
    """Machine, versions and date in a sentence."""
    machine = record["machine"]
    load = f" The machine was busy with other work (load {machine['load']})." if machine["load"] > 0.5 else ""
    return (
        f"Stored benchmarks: {machine['processor']}, {machine['cores']} cores, {machine['system']}, {record['date']}; "
        f"Python {machine['python']}, {_versions(machine)}; {record['threads']} threads.{load}"
    )


def bound_words(record: dict[str, Any]) -> str:
    """What bounds a step, read off the sweep over runs and the roofline."""
    sweep = pd.DataFrame(record["sweeps"])
    by_runs = sweep[sweep["axis"] == "runs"].set_index("value")["ms"]
    few, many = int(by_runs.index.min()), int(by_runs.index.max())
    first = next(row for row in record["roofline"] if row["shape"] == "Setting 1" and row["dtype"] == "float32")
    shared = by_runs[few] / by_runs[many]
    what = "drawing and its moments, which runs of a seed share" if shared > 1.5 else "the gradient itself"
    return (
        f"A run's step takes {by_runs[few]:.2f} ms alone and {by_runs[many]:.2f} ms among {many}: what a lone run pays "
        f"for is mostly {what}. The gradient runs at {first['share']:.0%} of the peak of multiply-adds; it is bound by "
        f"{'arithmetic' if first['share'] > 0.4 else 'something other than arithmetic'}, not by memory: a thread's "
        f"whole state is {first['work_bytes'] / 1024:.0f} KB."
    )


def context_words(record: dict[str, Any]) -> str:
    """What context length costs, read off steps at two of them, where benchmarks have them."""
    if "contexts" not in record:
        return "These benchmarks have no steps at two context lengths; `make bench` adds them."
    short, long = record["contexts"]
    extra, shared = long["step"] - short["step"], long["shared"] - short["shared"]
    return (
        f"A step of 12 runs takes {short['step']:.2f} ms at $n = {short['n']}$ and {long['step']:.2f} ms at "
        f"$n = {long['n']}$. Drawing and second moments, which the runs of a seed share, take "
        f"{short['shared']:.2f} and {long['shared']:.2f} ms of it: {shared / extra:.0%} of the difference. A further "
        f"run of a seed costs {short['further']:.3f} and {long['further']:.3f} ms."
    )


def ratios(record: dict[str, Any], title: str = "") -> Figure:
    """Ratio to plain code: left by number of runs in Setting 1, right by shape at 12 runs; under a title."""
    figure, (left, right) = subplots(1, 2, 3.6, sharey=True)
    frame = compared(record, "Setting 1")
    for candidate, part in frame.groupby("candidate", sort=False):
        style: dict[str, Any] = {
            "marker": MARKERS[str(candidate)], "color": LOOKS[str(candidate)], "linewidth": 1.2,
        }  # fmt: skip
        left.plot(part["runs"], part["ratio"], label=NAMES[str(candidate)], **style)
    left.set(xscale="log", yscale="log", xlabel="runs", ylabel="times faster than plain code", title="Setting 1")
    numbers = sorted(frame["runs"].unique())
    left.set_xticks(numbers, [str(runs) for runs in numbers])
    left.minorticks_off()
    shapes = compared(record, runs=12)
    names = list(shapes["shape"].unique())
    for candidate, part in shapes.groupby("candidate", sort=False):
        right.plot(
            [names.index(name) for name in part["shape"]],
            part["ratio"],
            linestyle="none",
            marker=MARKERS[str(candidate)],
            color=LOOKS[str(candidate)],
        )
    right.set_xticks(range(len(names)), names, rotation=40, ha="right")
    right.set(title="12 runs")
    figure.legend(loc="outside lower center", ncols=2, fontsize="small")
    figure.suptitle(title)
    return figure


def sweeps(record: dict[str, Any]) -> Figure:
    """Milliseconds per run and step of the CPU engine as one number of Setting 1 changes, a panel a number."""
    frame = pd.DataFrame(record["sweeps"])
    axes = [axis for axis in AXES if axis in set(frame["axis"])]
    rows = -(-len(axes) // 3)
    figure, panels = subplots(rows, 3, 2.3 * rows, squeeze=False)
    for panel in panels.flat[len(axes) :]:
        panel.set_visible(False)
    for panel, axis in zip(panels.flat, axes, strict=False):
        part = frame[frame["axis"] == axis]
        panel.plot(part["value"], part["ms"], marker="^", color=COLOURS["adam"], linewidth=1.2)
        if axis in ("batch", "d", "layers", "n"):
            panel.set(xscale="log")
            log_axis(panel, "y")
        panel.set(xlabel=AXES[axis])
        panel.set_xticks(part["value"], [str(value) for value in part["value"]], fontsize="x-small")
        panel.xaxis.minorticks_off()
        if panel in panels[:, 0]:
            panel.set_ylabel("ms / run and step")
    return figure


def roofline(record: dict[str, Any]) -> Figure:
    """Rate of the gradient against multiplications per byte of prompt read, under the measured peaks of one core."""
    figure, axes = subplots(1, 1, 3.4, 0.7 * WIDTH)
    for dtype, colour in (("float32", COLOURS["adam"]), ("float64", COLOURS["sgd"])):
        part = [row for row in record["roofline"] if row["dtype"] == dtype]
        bytes_of = {shape: data_size(d, True) * np.dtype(dtype).itemsize for shape, d in DIMENSIONS.items()}
        x, y = ([row["multiplications"] / bytes_of[row["shape"]] for row in part], [row["rate"] / 1e9 for row in part])
        peak = part[0]["peak"] / 1e9
        axes.plot(x, y, "o", color=colour, label=f"gradient, {dtype}")
        axes.axhline(peak, color=colour, linewidth=1.2, linestyle="--")
        axes.annotate(
            f"measured peak, {dtype}", (0.01, peak), xycoords=("axes fraction", "data"), va="bottom", fontsize="x-small"
        )
        above = dtype == "float32"
        for point, row in zip(zip(x, y, strict=True), part, strict=True):
            place: dict[str, Any] = {"xytext": (0, 7 if above else -12), "textcoords": "offset points", "ha": "center"}
            axes.annotate(row["shape"], point, fontsize="x-small", **place)
    axes.margins(0.15, 0.2)
    log_axis(axes, "x")
    log_axis(axes, "y")
    axes.set(xlabel="multiplications per byte of prompts read")
    axes.set_ylabel(r"$10^9$ multiply-adds a second")
    axes.legend(fontsize="small")
    return figure


def live(steps: int, rounds: int = 3) -> pd.DataFrame:
    """Both engines on 12 runs of Setting 1, alternating, here and now: engine, ms per run and step, ratio."""
    runs = grid(optimizer=[SGD(), Adam()], lr=0.01, seed=range(6))
    model, task = LinearTransformer(), LinearRegression()
    plan = plan_training(model, task, runs, steps=10**6, batch=1000, clip=1.0, device="cpu", dtype=torch.float32)
    engines = {"reference": choose("reference", plan), "auto": choose("auto", plan)}
    states = {name: engine.start() for name, engine in engines.items()}
    times: dict[str, list[float]] = {name: [] for name in engines}
    for engine, state in zip(engines.values(), states.values(), strict=True):
        engine.advance(state, 1)
    for _ in range(rounds):
        for name, engine in engines.items():
            count = steps if name == "reference" else 10 * steps
            began = time.perf_counter()
            engine.advance(states[name], count)
            times[name].append((time.perf_counter() - began) / count / len(runs) * 1e3)
    frame = pd.DataFrame(times)
    ratio = frame.rdiv(frame["reference"], axis=0).median()
    return pd.DataFrame({"engine": [e.name for e in engines.values()], "ms": [*frame.min()], "ratio": [*ratio]})


def gain(record: dict[str, Any], candidate: str = "cpu", runs: int = 12) -> float:
    """How many times faster than plain code a candidate takes a step of Setting 1."""
    rows = compared(record, "Setting 1", runs)
    return float(rows[rows["candidate"] == candidate]["ratio"].iloc[0])


def arithmetic(record: dict[str, Any], steps: int = 10_000, batch: int = 1000) -> float:
    """Multiply-adds of the gradients of one training of Setting 1."""
    row = next(row for row in record["roofline"] if row["shape"] == "Setting 1")
    return float(row["multiplications"]) * steps * batch


def fastest(record: dict[str, Any], along: str) -> tuple[int, int]:
    """In how many shapes or numbers of runs ("shape", "runs") the CPU engine is the fastest, and of how many."""
    frame = compared(record, runs=12) if along == "shape" else compared(record, "Setting 1")
    first = frame.sort_values("ms", kind="stable").drop_duplicates(along)["candidate"]
    return int((first == "cpu").sum()), len(first)


def growth(record: dict[str, Any], axis: str, low: int, high: int) -> float:
    """The power of a number of Setting 1 with which a step's time grows between two of its values."""
    times = {row["value"]: row["ms"] for row in record["sweeps"] if row["axis"] == axis}
    return float(np.log(times[high] / times[low]) / np.log(high / low))


def here_words(timing: pd.DataFrame, record: dict[str, Any]) -> str:
    """What :func:`live` found, beside what is stored of the same runs."""
    now = timing.iloc[-1]
    rows = compared(record, "Setting 1", 12)
    then = float(rows[rows["candidate"] == "cpu"]["ms"].iloc[0])
    return (
        f"On the machine that executed this page the {now['engine']} engine takes {now['ms']:.3f} ms per run and step, "
        f"{now['ratio']:.0f} times less than the reference engine; the stored benchmark of the same runs is "
        f"{then:.3f} ms. "
        "Timings of a machine that does other work as well are longer."
    )
