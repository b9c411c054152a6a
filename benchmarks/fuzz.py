"""Throws odd values at the public surface, and counts what ends otherwise than in an answer or in words of ours.

``python -m benchmarks.fuzz 5000 --seed 3``. An input fails when an exception comes from inside (it was not raised by a
``raise`` of this package, or its type is none of a caller's mistakes), when it cannot be interrupted, when a file stays
half-written, or when NaN is taken for a setting in silence. What a machine of 256 MB could not hold counts as refused:
:func:`small_memory` sees to it that a slip of the hand costs no memory here. The table of what is fed to what is most
of this long file: a new public name is one line there.
"""

from __future__ import annotations

import argparse
import contextlib
import decimal
import dis
import fractions
import io
import math
import os
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import hypothesis
import numpy as np
import torch
from hypothesis import strategies as st

import lintrans as lt
from lintrans import errors
from lintrans.diagnostics import along, batches, curvature, derivatives, noise
from lintrans.engines.cpu import compiling
from lintrans.models.flatten import pack
from lintrans.publish import chapter_parameters
from lintrans.random import Source

PACKAGE = Path(lt.__file__).parent
PATIENCE = 0.5
"""Seconds that a valid input may compute before it is stopped, as by Ctrl-C."""
HANG = 10.0
"""Seconds after which one that does not stop is one that hangs."""
OURS = (TypeError, ValueError, LookupError, OSError, NotImplementedError)
MODEL, TASK = lt.LinearTransformer(layers=1, d=2), lt.LinearRegression(d=2, n=4)
RUNS = lt.grid(optimizer="sgd", lr=0.1, seed=range(2))
PARAMETERS = MODEL.init([0, 1])
PROMPTS = TASK.sample(3)
HISTORY = lt.train(MODEL, TASK, RUNS, steps=2, batch=2, engine="reference", probes=[lt.TestLoss(every=1, batch=2)])
MODULE = torch.nn.Linear(2, 1)

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 3, 2**31, 2**32, 2**40, 2**64, 10**400, 0.0, -0.5, 0.5, 1.0, 1e-320, 1e200,
    1.7e308, math.nan, math.inf, -math.inf, 1j, "", "adam", "cpu", "cuda", "meta", "reference", "paper", "x" * 500,
    "\ud800", b"x", [], (), {}, set(), [1, 2], [0, 0], [math.nan], [[1]], {"a": 1}, [None], range(3), range(10**12),
    np.int64(2), np.float64(0.5), np.float32("nan"), np.array(3), np.array([1, 2]), np.zeros((2, 2)), np.array(["a"]),
    object(), object, torch.tensor(2), torch.tensor(math.nan), torch.zeros(0), torch.zeros(2, 3),
    torch.zeros(2, 1, 1, 2, 2, 2).long(), torch.zeros(0, 1, 1, 2, 2, 2), torch.zeros(3, 1, 1, 2, 2, 2),
    torch.zeros(1, 1, 2, 2, 2).to(torch.complex64), torch.zeros(1, 1, 2, 2, 2, device="meta"), torch.float16,
    torch.float64, torch.int64, torch.device("cpu"), torch.device("meta"), fractions.Fraction(1, 3),
    decimal.Decimal("0.5"), lt.SGD, lt.SGD(), lt.TestLoss, lt.TestLoss(), [lt.TestLoss],
    [lt.TestLoss(), lt.TestLoss(batch=3)], lt.Stream.TEST, MODEL, TASK, RUNS, PARAMETERS, PROMPTS, PROMPTS.moments(),
    lt.LinearTransformer(layers=1, d=3), lt.LinearRegression(d=3, n=4), lambda *_: 1, MODULE, Path(),
)  # fmt: skip

Arguments = dict[str, Any]


class Target(NamedTuple):
    """Something to call: a function, arguments that it takes, and those whose numbers are data, which may be NaN."""

    function: Callable[..., Any]
    valid: Arguments
    data: tuple[str, ...] = ()


class Failure(NamedTuple):
    """An input that ended badly: of which target, how, where, and what it was."""

    target: str
    kind: str
    place: str
    arguments: str


def _texts(**valid: str) -> Target:
    """The parameters of a chapter, as typed on the command line."""
    kinds = {"scale": "str", "device": "str"}

    def convert(**texts: Any) -> None:
        for name, text in texts.items():
            chapter_parameters.convert(name, str(text), kinds.get(name, "int"))

    return Target(convert, dict(valid), tuple(valid))


def _command(*names: str) -> Target:
    """A command, with options of odd values: nothing of it computes."""

    def call(**options: Any) -> None:
        from click.testing import CliRunner

        from lintrans.publish.cli import main

        given = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        if not any("\0" in part or "\ud800" in part for part in given):
            done = CliRunner().invoke(main, [*names, *given])
            if done.exception is not None and not isinstance(done.exception, SystemExit):
                raise done.exception

    return Target(call, {}, ())


def _page(name: str) -> Callable[..., Any]:
    def call(**values: Any) -> Any:
        with contextlib.redirect_stdout(io.StringIO()):
            return getattr(lt.book, name)(**values)

    return call


def _trained(**options: Any) -> Any:
    return lt.train(**{"progress": False, **options})


def _experiment(**options: Any) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        return lt.experiment(**{"progress": False, **options})


def _prompts(**parts: Any) -> Any:
    prompts = lt.Prompts(**parts)
    return prompts.moments(), prompts.to(torch.float64)


TRAINING: Arguments = {
    "model": MODEL, "task": TASK, "runs": RUNS, "steps": 2, "batch": 2, "clip": 1.0, "probes": [lt.TestLoss(batch=2)],
    "snapshots": [1], "cooldown": 1, "device": "cpu", "dtype": "float64", "engine": "reference", "title": "t",
}  # fmt: skip
AT: Arguments = {"model": MODEL, "parameters": PARAMETERS, "prompts": PROMPTS}
DRAWN: Arguments = {
    "batch": 3,
    "seed": 0,
    "step": 0,
    "stream": lt.Stream.TEST,
    "first": 0,
    "dtype": None,
    "device": "cpu",
}
NOISE: Arguments = {
    "model": MODEL, "task": TASK, "parameters": PARAMETERS, "batch": 2, "samples": 3, "reference": 4, "seed": 0,
    "engine": "reference",
}  # fmt: skip
TARGETS: dict[str, Target] = {
    "LinearTransformer": Target(
        lambda **given: lt.LinearTransformer(**given).init(0),
        {"layers": 1, "d": 2, "heads": 1, "form": "full", "attention": "relu", "init_std": 0.1},
    ),
    "EmbeddedTransformer": Target(
        lambda **given: lt.EmbeddedTransformer(**given).init(0), {"layers": 1, "d": 2, "hidden": 3, "init_std": 0.1}
    ),
    "LinearRegression": Target(
        lambda **given: lt.LinearRegression(**given).sample(2), {"d": 2, "n": 4, "covariates": lt.Sphere()}
    ),
    "FeatureRegression": Target(
        lambda **given: lt.FeatureRegression(**given).sample(2), {"d": 2, "n": 4, "hidden": 3, "network": 0}
    ),
    "Gaussian": Target(lambda **given: lt.LinearRegression(2, 4, lt.Gaussian(**given)).zero_loss, {"std": 1.0}),
    "Sphere": Target(lambda **given: lt.LinearRegression(2, 4, lt.Sphere(**given)).zero_loss, {"radius": 1.0}),
    "GammaScaled": Target(
        lambda **given: lt.LinearRegression(2, 4, lt.GammaScaled(**given)).sample(2), {"shape": 0.1, "scale": 10.0}
    ),
    "Prompts": Target(
        _prompts, {"covariates": torch.ones(3, 5, 2), "responses": torch.ones(3, 5)}, ("covariates", "responses")
    ),
    "Moments": Target(lt.Moments, dict(vars(PROMPTS.moments())), ("xx", "xy", "yy", "query", "target")),
    "SGD": Target(lt.SGD, {"momentum": 0.9, "dampening": 0.0, "name": "a"}),
    "Adam": Target(lt.Adam, {"betas": (0.9, 0.9), "eps": 1e-8, "name": "a", "second_moment": "all"}),
    "Signum": Target(lt.Signum, {"momentum": 0.9, "name": "a"}),
    "NormalizedSGD": Target(lt.NormalizedSGD, {"momentum": 0.9, "name": "a"}),
    "grid": Target(lt.grid, {"optimizer": ["sgd", lt.Adam()], "lr": 0.1, "clip": [1.0, None], "seed": range(2)}),
    "Run": Target(lt.Run, {"optimizer": lt.SGD(), "lr": 0.1, "seed": 0, "clip": 1.0}),
    "Runs": Target(lambda runs: lt.Runs(runs).frame, {"runs": list(RUNS)}),
    "TestLoss": Target(lambda **given: lt.TestLoss(**given).times(5, 6), {"every": 2, "at": (3,), "batch": 4}),
    "TypicalLoss": Target(
        lambda **given: lt.TypicalLoss(**given).times(5, 6), {"every": 2, "at": (3,), "blocks": 4, "metric": "m"}
    ),
    "Conditions": Target(lambda **given: lt.Conditions(**given).times(5, 6), {"every": 2, "at": (3,), "batch": 4}),
    "StepCurvature": Target(
        lambda **given: lt.StepCurvature(**given).times(5, 6), {"every": 2, "at": (3,), "batch": 4, "spectral": True}
    ),
    "BatchLoss": Target(lambda **given: batches.BatchLoss(**given).times(5, 6), {"every": 2, "at": (3,)}),
    "Source": Target(
        lambda **given: Source(**given).normals(3),
        {"stream": lt.Stream.TEST, "seed": 0, "step": 0, "batch": 2, "first": 0, "device": "cpu"},
    ),
    "sample": Target(TASK.sample, DRAWN),
    "sample_moments": Target(TASK.sample_moments, DRAWN),
    "features": Target(lt.FeatureRegression(2, 4).sample, DRAWN),
    "init": Target(MODEL.init, {"seed": 0, "dtype": None, "device": "cpu"}),
    "embedded init": Target(lt.EmbeddedTransformer(1, 2, 3).init, {"seed": 0, "dtype": None, "device": "cpu"}),
    "loss": Target(MODEL.loss, {"parameters": PARAMETERS, "prompts": PROMPTS}, ("parameters",)),
    "embedded loss": Target(
        lt.EmbeddedTransformer(1, 2, 3).loss,
        {"parameters": lt.EmbeddedTransformer(1, 2, 3).init(0), "prompts": PROMPTS}, ("parameters",),
    ),
    "prompts.to": Target(PROMPTS.to, {"target": torch.float64}),
    "TorchModel": Target(
        lambda module, loss, parameters: lt.TorchModel(module, loss).loss(parameters, PROMPTS),
        {
            "module": MODULE, "loss": lambda module, prompts: module(prompts.covariates).mean(),
            "parameters": dict(MODULE.named_parameters()),
        },
        ("parameters",),
    ),
    "train": Target(_trained, TRAINING),
    "experiment": Target(_experiment, {**TRAINING, "store": None}),
    "history.parameters": Target(HISTORY.parameters, {"step": 2}),
    "history.select": Target(HISTORY.select, {"chosen": [1, 0]}),
    "history.metric": Target(HISTORY.metric, {"name": "test_loss"}),
    "gradient_noise": Target(lt.gradient_noise, NOISE, ("parameters",)),
    "measure_noise": Target(noise.measure_noise, NOISE, ("parameters",)),
    "gaussian_norms": Target(noise.gaussian_norms, {"spectrum": [1.0, 2.0], "samples": 5, "seed": 0}),
    "gradients": Target(derivatives.gradients, {**AT, "engine": "reference"}, ("parameters",)),
    "hessian_products": Target(
        derivatives.hessian_products, {**AT, "directions": PARAMETERS[:, None], "engine": "reference", "start": 0},
        ("parameters", "directions"),
    ),
    "batch_gradients": Target(
        derivatives.batch_gradients,
        {"model": MODEL, "task": TASK, "parameters": PARAMETERS, "batch": 2, "count": 2, "seed": 0, "first": 0,
         "stream": lt.Stream.NOISE, "engine": "reference"}, ("parameters",),
    ),
    "directional_smoothness": Target(
        lt.directional_smoothness, {**AT, "direction": PARAMETERS}, ("parameters", "direction")
    ),
    "hessian_diagonal": Target(lt.hessian_diagonal, AT, ("parameters",)),
    "robust_condition_number": Target(
        lt.robust_condition_number, {**AT, "median": "lower", "unused": True}, ("parameters",)
    ),
    "spectral_norm": Target(lt.spectral_norm, AT, ("parameters",)),
    "conditions": Target(curvature.conditions, {**AT, "eigenvalues": False}, ("parameters",)),
    "step_measures": Target(
        curvature.step_measures,
        {"model": MODEL, "before": PARAMETERS, "after": PARAMETERS + 1, "prompts": PROMPTS, "spectral": True,
         "residual": 1e-3}, ("before", "after"),
    ),
    "conditions_along": Target(
        along.conditions_along,
        {"history": HISTORY, "model": MODEL, "task": TASK, "steps": [2], "batch": 3, "batches": [-1, 0]},
    ),
    "pack": Target(pack, {"model": MODEL, "parameters": PARAMETERS}, ("parameters",)),
    "block_losses": Target(
        batches.block_losses, {"model": MODEL, "task": TASK, "parameters": PARAMETERS, "blocks": 1}, ("parameters",)
    ),
    "book.parameters": Target(_page("parameters"), {"scale": "quick", "seeds": 0, "device": "cpu", "steps": 10}),
    "book.say": Target(_page("say"), {"text": "words"}, ("text",)),
    "book.table": Target(_page("table"), {"frame": HISTORY.runs}, ("frame",)),
    "book.glue": Target(_page("glue"), {"key": 1.0}, ("key",)),
    "-p": _texts(scale="quick", seeds="2", device="cpu", steps="4", samples="9", batch="9", layers="1", d="2", n="4"),
    "results list": _command("results", "list"),
    "results remove": Target(_command("results", "remove", "--yes").function, {"older-than": 3}, ("older-than",)),
    "verdicts": Target(_command("verdicts").function, {"scale": "quick", "claim": "C1"}, ("scale", "claim")),
    "twice": Target(
        _command("twice", "--list").function,
        {"scale": "quick", "claim": "C1", "minutes": "1", "seeds": "1", "batches": "1"},
        ("scale", "claim", "minutes", "seeds", "batches"),
    ),
    "stability": Target(_command("stability", "nobody").function, {"offset": 100, "jobs": 1}, ("offset", "jobs")),
    "execute": Target(_command("execute", "nobody").function, {"scale": "quick", "jobs": 1}, ("scale", "jobs")),
}  # fmt: skip

VALUES = st.one_of(
    st.sampled_from(ODD), st.integers(), st.floats(), st.text(max_size=12), st.lists(st.integers(-1, 5), max_size=3),
    st.lists(st.floats(), max_size=3),
)  # fmt: skip


@st.composite
def inputs(draw: Callable[[Any], Any], names: tuple[str, ...] = tuple(TARGETS)) -> tuple[str, Arguments]:
    """A target's name and its arguments, one to three of them odd; now and then an unknown or a missing one."""
    name = draw(st.sampled_from(names))
    arguments = dict(TARGETS[name].valid)
    if arguments:
        changed = draw(st.lists(st.sampled_from(sorted(arguments)), min_size=1, max_size=3, unique=True))
        arguments |= {key: draw(VALUES) for key in changed}
    return name, arguments


class Stopped(BaseException):
    """What a valid input is stopped by when it computes for too long."""


def _stop(_: int, frame: FrameType | None) -> None:
    if frame is not None and "hypothesis" in frame.f_code.co_filename:  # not in its own machinery: in a moment
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        return
    raise Stopped


@contextlib.contextmanager
def small_memory() -> Iterator[None]:
    """A machine of 256 MB, as far as this library asks."""
    before = errors.memory
    errors.memory = lambda: 2**28  # type: ignore[assignment]  # it is cached, which a lambda is not
    try:
        yield
    finally:
        errors.memory = before


@contextlib.contextmanager
def uncompiled() -> Iterator[None]:
    """Without compiled loops, whose compiles take minutes; torch does all."""
    before = compiling.unsupported_cpu
    compiling.unsupported_cpu = lambda: "not while values are odd"  # type: ignore[assignment]  # cached as well
    try:
        yield
    finally:
        compiling.unsupported_cpu = before


def _nan(value: Any) -> bool:
    if isinstance(value, list | tuple | set):
        return any(map(_nan, value))
    return isinstance(value, float | np.floating) and math.isnan(value)


def _raised_here(error: BaseException) -> bool:
    """Whether an exception comes from a ``raise`` of this package, or of click on our behalf."""
    places = [*traceback.walk_tb(error.__traceback__)]
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None:
        return False
    frame, _ = places[-1]
    here = Path(frame.f_code.co_filename).is_relative_to(PACKAGE)
    return here and frame.f_code.co_code[last.tb_lasti] in (dis.opmap["RAISE_VARARGS"], dis.opmap["RERAISE"])


def _place(error: BaseException) -> str:
    ours = [
        (frame, line) for frame, line in traceback.walk_tb(error.__traceback__)
        if Path(frame.f_code.co_filename).is_relative_to(PACKAGE)
    ]  # fmt: skip
    if not ours:
        return "outside"
    frame, line = ours[-1]
    return f"{Path(frame.f_code.co_filename).relative_to(PACKAGE)}:{line}"


def _signature(error: BaseException) -> bool:
    """Whether Python itself refused the call, for an argument too few or too many."""
    return isinstance(error, TypeError) and error.__traceback__ is not None and error.__traceback__.tb_next is None


def attempt(name: str, arguments: Arguments) -> Failure | None:
    """Call a target; how it failed, None where it answered or refused in words."""
    target = TARGETS[name]
    written = errors.shown(arguments, 300)
    before = signal.signal(signal.SIGALRM, _stop)
    began, (others, _) = time.monotonic(), signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            target.function(**arguments)
    except Stopped:
        pass
    except Exception as error:
        if not (isinstance(error, OURS) and (_raised_here(error) or _signature(error)) and str(error)):
            message = (str(error) or "no message").splitlines()[0][:90]
            return Failure(name, f"{type(error).__name__}: {message}", _place(error), written)
        if len(str(error)) > 2000:
            return Failure(name, "a message of more than 2,000 characters", _place(error), written)
    else:
        if any(_nan(value) for key, value in arguments.items() if key not in target.data):
            return Failure(name, "NaN accepted in silence", "", written)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, max(0.01, others - (time.monotonic() - began)) if others else 0)
    if time.monotonic() - began > HANG:
        return Failure(name, "not to be interrupted", "", written)
    if parts := [*Path(os.environ["LINTRANS_STORE"]).rglob("*part*")]:
        return Failure(name, f"left {parts[0].name}", "", written)
    return None


@contextlib.contextmanager
def own_store() -> Iterator[None]:
    """A store that is gone afterwards."""
    before = os.environ.get("LINTRANS_STORE")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LINTRANS_STORE"] = folder
        try:
            yield
        finally:
            os.environ.pop("LINTRANS_STORE")
            if before is not None:
                os.environ["LINTRANS_STORE"] = before


def fuzz(
    count: int, seed: int, names: tuple[str, ...] = tuple(TARGETS), compiled: bool = True
) -> tuple[Counter[str], list[Failure]]:
    """Try so many inputs of a seed: how many of each target, and those that failed."""
    tried: Counter[str] = Counter()
    failures: list[Failure] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count, database=None, deadline=None, phases=[hypothesis.Phase.generate], derandomize=False,
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    @hypothesis.given(inputs(names))
    def once(drawn: tuple[str, Arguments]) -> None:
        tried[drawn[0]] += 1
        if (failure := attempt(*drawn)) is not None:
            failures.append(failure)

    with (
        own_store(), small_memory(), contextlib.nullcontext() if compiled else uncompiled(), warnings.catch_warnings()
    ):  # fmt: skip
        warnings.simplefilter("ignore")
        for target in names:  # what is compiled or imported is so once, and undisturbed
            with contextlib.suppress(Exception):
                TARGETS[target].function(**TARGETS[target].valid)
        once()
    return tried, failures


def report(tried: Counter[str], failures: list[Failure]) -> str:
    """A row a target, then each kind of failure once."""
    failed = Counter(each.target for each in failures)
    lines = [f"{'target':26} {'inputs':>7} {'failed':>7}", "-" * 42]
    lines += [f"{name:26} {count:7} {failed[name]:7}" for name, count in sorted(tried.items())]
    lines += ["-" * 42, f"{'all':26} {sum(tried.values()):7} {len(failures):7}"]
    kinds: dict[tuple[str, str], Failure] = {}
    for each in failures:
        kinds.setdefault((each.kind.partition(":")[0], each.place or each.target), each)
    for each in kinds.values():
        lines += ["", f"{each.target} at {each.place or '-'}: {each.kind}", f"    {each.arguments}"]
    return "\n".join(lines)


def main() -> None:
    """Print what became of so many inputs; exit with 1 where some failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--uncompiled", action="store_true", help="with torch alone")
    parser.add_argument("--target", action="append", choices=[*TARGETS], help="only this one; repeatable")
    given = parser.parse_args()
    began = time.monotonic()
    tried, failures = fuzz(given.count, given.seed, tuple(given.target or TARGETS), not given.uncompiled)
    print(report(tried, failures))
    print(f"\nfuzz: {sum(tried.values())} inputs, {len(failures)} failed, {time.monotonic() - began:.0f} s")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
