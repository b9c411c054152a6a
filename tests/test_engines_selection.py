"""Which engine is taken, what is said about it, and that one always works."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from llvmlite import binding

import lintrans as lt
from lintrans import engines
from lintrans.engines import compiling, processor
from lintrans.training import plan_training

SMALL = """
import lintrans as lt
runs = lt.grid(optimizer="adam", lr=0.01, seed=range(2))
model, task = lt.LinearTransformer(layers=2, d=2, form="full"), lt.LinearRegression(d=2, n=3)
history = lt.train(model, task, runs, steps=3, batch=50)
print(history.info["engine"], history.parameters(3).double().sum().item())
"""


def plan_of(d: int = 2, device: str = "cpu", **model: Any) -> engines.Plan:
    """A small plan."""
    runs = lt.grid(optimizer="sgd", lr=0.01)
    return plan_training(
        lt.LinearTransformer(layers=1, d=d, **model), lt.LinearRegression(d=d, n=2), runs, steps=2, device=device
    )


@pytest.fixture(autouse=True)
def _fresh() -> None:
    compiling.say_once.cache_clear()


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own."""
    variables = {**os.environ, **environment}
    return subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=False)


def test_auto_falls_back_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(
        compiling, "problem", lambda: "numba cannot be used (ModuleNotFoundError: No module named 'numba')"
    )
    for _ in range(2):
        assert engines.choose("auto", plan_of()).name == "reference"
    said = capsys.readouterr().err
    assert said == (
        "using the reference engine, which is slower: "
        "numba cannot be used (ModuleNotFoundError: No module named 'numba')\n"
    )
    with pytest.raises(ValueError, match=r"engine = 'cpu' cannot do this \(numba cannot be used.*use engine='auto'"):
        engines.choose("cpu", plan_of())
    assert "cpu: not available: numba cannot" in engines.status()


def test_auto_falls_back_where_compiling_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("numba")

    def broken(self: Any, *arguments: Any) -> None:
        raise RuntimeError("LLVM ERROR: an odd processor\nand more")

    monkeypatch.setattr(compiling.Kernel, "__call__", broken)
    assert engines.choose("auto", plan_of()).name == "reference"
    said = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("compiling the ")]
    assert said == ["using the reference engine, which is slower: RuntimeError: LLVM ERROR: an odd processor"]
    with pytest.raises(RuntimeError, match="LLVM ERROR"):
        engines.choose("cpu", plan_of())


def test_what_the_cpu_engine_cannot_do() -> None:
    assert engines.unable("reference", plan_of()) is None
    assert engines.unable("cpu", plan_of(d=33)) == "d = 33 is larger than 32"
    assert engines.choose("auto", plan_of(d=33)).name == "reference"
    assert engines.unable("cuda", plan_of()) == "the cuda engine does not run on device 'cpu'"
    with pytest.raises(ValueError, match="'auto', 'cpu', 'cuda', 'reference'"):
        engines.choose("gpu", plan_of())


class Halving(lt.SGD):
    """An optimizer of a user's own."""


def test_what_cuda_kernels_cannot_do() -> None:
    """What they can is asked for where there is no GPU, too."""
    base = plan_of()
    plans: dict[str, dict[str, Any]] = {
        "softmax attention has no moment form": {"model": lt.LinearTransformer(d=2, attention="softmax")},
        "works on matrices up to 8 x 8, not 9": {"model": lt.LinearTransformer(d=9)},
        "do not know the optimizer Halving": {"runs": lt.grid(optimizer=Halving(0.9), lr=0.1)},
    }
    for why, changes in plans.items():
        assert why in str(engines.unable("cuda", replace(base, **changes)))


def test_auto_takes_the_device_that_has_compiled_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    monkeypatch.setattr(compiling, "cuda_problem", lambda: None)
    cuda, small = torch.device("cuda"), plan_of()
    assert engines.place(small) == small.device == torch.device("cpu")
    assert engines.place(replace(small, device=cuda)) == cuda
    softmax = lt.LinearTransformer(d=2, attention="softmax")
    assert engines.place(replace(small, model=softmax, device=cuda)) == small.device
    assert engines.place(replace(plan_of(d=33), device=cuda)) == cuda  # neither has: torch, where it is fastest
    monkeypatch.setattr(compiling, "cuda_problem", lambda: "numba-cuda is missing")
    assert engines.place(replace(small, device=cuda)) == small.device


def test_auto_on_cuda_takes_its_kernels_and_falls_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[str] = []

    def make(name: str, plan: engines.Plan) -> Any:
        made.append(name)
        if name == "cuda" and len(made) > 1:
            raise RuntimeError("no driver\nand more")

    monkeypatch.setattr(compiling, "cuda_problem", lambda: None)
    monkeypatch.setattr(engines, "_make", make)
    plan = replace(plan_of(), device=torch.device("cuda"))
    engines.choose("auto", plan)
    engines.choose("auto", plan)
    assert made == ["cuda", "cuda", "reference"]
    assert capsys.readouterr().err == "using the reference engine, which is slower: RuntimeError: no driver\n"


AVX2 = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ",".join(f"+{name}" for name in processor.FEATURES)}


def test_loops_are_compiled_for_one_processor_unless_the_user_names_another() -> None:
    code = "import numba\nimport lintrans.engines.vector\nprint(numba.config.CPU_NAME)"
    known = binding.get_host_cpu_features()
    modern = all(known.get(feature, False) for feature in processor.FEATURES)
    assert python(code).stdout.strip() == (processor.NAME if modern else "None")
    assert python(code, **AVX2).stdout.strip() == "haswell"


def test_without_numba() -> None:
    """In a process that cannot import it."""
    ran = python("import sys; sys.modules['numba'] = None\n" + SMALL, LINTRANS_PROGRESS="auto")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("reference ")
    assert ran.stderr.count("\n") == 1
    assert ran.stderr.startswith("using the reference engine, which is slower: numba cannot be used (")


def test_status_names_numba_and_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    numba = pytest.importorskip("numba")
    monkeypatch.setenv(compiling.VARIABLE, str(tmp_path))
    assert f"cpu: numba {numba.__version__} for " in engines.status()
    assert f"0 kernels kept in {tmp_path}" in engines.status()
    (tmp_path / "file").touch()
    monkeypatch.setenv(compiling.VARIABLE, str(tmp_path / "file"))
    assert "cannot be written" in engines.status()


def test_the_digest_covers_every_source_of_a_kernel() -> None:
    """A module that kernels are made of and the digest forgets would be served stale."""
    folder = Path(compiling.__file__).parent
    for name in compiling.SOURCES:
        text = (folder / f"{name}.py").read_text(encoding="utf-8")
        for other in folder.glob("*.py"):
            imported = f"from .{other.stem} import" in text or f"from . import {other.stem}" in text
            assert not imported or other.stem in compiling.SOURCES, f"{name} imports {other.stem}"


@pytest.mark.slow
def test_two_processes_compile_at_once(tmp_path: Path) -> None:
    """The second waits for the first, loads what it compiled, and gets the same numbers; so does a third, silently."""
    pytest.importorskip("numba")
    variables = {**os.environ, compiling.VARIABLE: str(tmp_path)}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", SMALL], env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    ended = [process.communicate() for process in started]
    outputs = {out for out, _ in ended}
    assert len(outputs) == 1
    assert outputs.pop().startswith("cpu ")
    assert "".join(err for _, err in ended).count("compiling the gradient of d = 2, full, float32, once") == 1
    third = python(SMALL, **{compiling.VARIABLE: str(tmp_path)})
    assert (third.stdout, third.stderr) == (ended[0][0], "")


@pytest.mark.slow
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    (tmp_path / "file").touch()
    ran = python(SMALL, **{compiling.VARIABLE: str(tmp_path / "file")})
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("cpu ")
    assert np.isfinite(float(ran.stdout.split()[1]))


def test_training_by_either_engine() -> None:
    """The same history to rounding, every engine under its name."""
    pytest.importorskip("numba")
    model, task = lt.LinearTransformer(layers=2, d=5), lt.LinearRegression(d=5, n=3)
    runs = lt.grid(optimizer=["sgd", "adam"], lr=0.01, seed=range(2))
    histories = []
    for engine in ("cpu", "reference", "auto"):
        probes = [lt.TestLoss(every=2, batch=100), lt.TypicalLoss(blocks=3, at=(4,))]
        options: dict[str, Any] = {
            "steps": 4,
            "batch": 50,
            "probes": probes,
            "engine": engine,
            "dtype": torch.float64,
            "device": "cpu",
        }
        histories.append(lt.train(model, task, runs, **options))
    assert [history.info["engine"] for history in histories] == ["cpu", "reference", "cpu"]
    first, second, third = (history.frame for history in histories)
    np.testing.assert_allclose(first["value"], second["value"], rtol=1e-10)
    assert first.equals(third)


def test_old_machine_code_is_forgotten(tmp_path: Path) -> None:
    for name, days in (("old", 40), ("recent", 3), (compiling.digest(), 40)):
        (tmp_path / name / "kernel").mkdir(parents=True)
        when = time.time() - days * 86400
        os.utime(tmp_path / name, (when, when))
    compiling._forget(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"recent", compiling.digest()}
