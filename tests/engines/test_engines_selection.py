"""Which engine is taken, what is said about it, and that one always works."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numba
import numpy as np
import pytest
import torch
from conftest import without_locks
from llvmlite import binding

import lintrans as lt
from lintrans import engines, progress
from lintrans.engines import rules
from lintrans.engines.cpu import compiling, target
from lintrans.engines.cpu import kept as kept_files
from lintrans.store.sources import PACKAGE, Code
from lintrans.training.optimizers import Rule
from lintrans.training.train import plan_training

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
    progress.say_once.cache_clear()


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own."""
    variables = {**os.environ, **environment}
    return subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=False)


def test_auto_falls_back_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(
        compiling, "unsupported_cpu", lambda: "numba cannot be used (ModuleNotFoundError: No module named 'numba')"
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

    def broken(self: Any, **named: Any) -> None:
        raise RuntimeError("LLVM ERROR: an odd processor\nand more")

    monkeypatch.setattr(compiling.Kernel, "__call__", broken)
    assert engines.choose("auto", plan_of()).name == "reference"
    said = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("compiling the ")]
    assert said == ["using the reference engine, which is slower: RuntimeError: LLVM ERROR: an odd processor"]
    with pytest.raises(RuntimeError, match="LLVM ERROR"):
        engines.choose("cpu", plan_of())


def test_what_the_cpu_engine_cannot_do() -> None:
    assert engines.unsupported_plan("reference", plan_of()) is None
    assert engines.unsupported_plan("cpu", plan_of(d=33)) == "d = 33 is larger than 32"
    assert engines.choose("auto", plan_of(d=33)).name == "reference"
    assert engines.unsupported_plan("cuda", plan_of()) == "the cuda engine does not run on device 'cpu'"
    with pytest.raises(ValueError, match="'auto', 'cpu', 'cuda', 'reference'"):
        engines.choose("gpu", plan_of())


class Halving(lt.SGD):
    """An optimizer of a user's own."""

    def update(self, gradient: Any, slots: Any, count: Any, model: Any) -> Any:
        return super().update(gradient / 2, slots, count, model)


def test_what_cuda_kernels_cannot_do() -> None:
    """What they can is asked for where there is no GPU, too."""
    base = plan_of()
    plans: dict[str, dict[str, Any]] = {
        "softmax attention has no moment form": {"model": lt.LinearTransformer(d=2, attention="softmax")},
        "works on matrices up to 8 x 8, not 9": {"model": lt.LinearTransformer(d=9)},
        "do not know the optimizer Signum": {"runs": lt.grid(optimizer="signum", lr=0.1)},
        "do not know the optimizer Halving": {"runs": lt.grid(optimizer=Halving(0.9), lr=0.1)},
    }
    for why, changes in plans.items():
        assert why in str(engines.unsupported_plan("cuda", replace(base, **changes)))


def test_rules_and_their_hyperparameters_have_fitting_lengths() -> None:
    """What CUDA kernels, too, index without looking."""
    optimizers: list[Any] = [lt.SGD(0.9), lt.Adam(), lt.Adam(second_moment="block"), lt.Signum(), lt.NormalizedSGD()]
    model = lt.LinearTransformer(2, 3)
    wide = torch.Size(model.parameter_shape).numel()
    rule, hyper, group, share = rules.rules_of(optimizers, model)
    assert sorted(rule) == sorted(number for number, _ in rules.NUMBERS.values()) == list(range(5))
    assert (hyper.shape, group.shape, share.shape) == ((5, rules.HYPER), (5, wide), (5, wide))
    assert max(needed for _, needed in rules.NUMBERS.values()) == rules.HYPER
    assert set(rules.ON_GPU) <= set(rules.NUMBERS)
    assert group.min() >= 0
    assert group.max() < wide
    on_gpu = rules.rules_of(
        [each for each in optimizers if not rules.unsupported_optimizers([each], rules.ON_GPU)], model
    )
    assert on_gpu[0].tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"numbers = \(0\.9,\): give 3"):
        rules.rules_of([Short()], model)


@dataclass(frozen=True)
class Short(lt.Adam):
    """An optimizer of a user's own, whose author forgot numbers of its rule."""

    @property
    def compiled(self) -> Rule:
        return Rule("adam", (0.9,))


def test_auto_takes_the_device_that_has_compiled_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    monkeypatch.setattr(compiling, "unsupported_cuda", lambda: None)
    cuda, small = torch.device("cuda"), plan_of()
    assert engines.device_for(small) == small.device == torch.device("cpu")
    assert engines.device_for(replace(small, device=cuda)) == cuda
    softmax = lt.LinearTransformer(d=2, attention="softmax")
    assert engines.device_for(replace(small, model=softmax, device=cuda)) == small.device
    assert engines.device_for(replace(plan_of(d=33), device=cuda)) == cuda  # neither has: torch, where it is fastest
    monkeypatch.setattr(compiling, "unsupported_cuda", lambda: "numba-cuda is missing")
    assert engines.device_for(replace(small, device=cuda)) == small.device


def test_auto_on_cuda_takes_its_kernels_and_falls_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[str] = []

    def make(name: str, plan: engines.Plan) -> Any:
        made.append(name)
        if name == "cuda" and len(made) > 1:
            raise RuntimeError("no driver\nand more")

    monkeypatch.setattr(compiling, "unsupported_cuda", lambda: None)
    monkeypatch.setattr(engines, "_make", make)
    plan = replace(plan_of(), device=torch.device("cuda"))
    engines.choose("auto", plan)
    engines.choose("auto", plan)
    assert made == ["cuda", "cuda", "reference"]
    assert capsys.readouterr().err == "using the reference engine, which is slower: RuntimeError: no driver\n"


AVX2 = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ",".join(f"+{name}" for name in target.FEATURES)}


def test_loops_are_compiled_for_one_processor_unless_the_user_names_another() -> None:
    code = "import numba\nimport lintrans.engines.cpu.vector\nprint(numba.config.CPU_NAME)"
    known = binding.get_host_cpu_features()
    modern = all(known.get(feature, False) for feature in target.FEATURES)
    assert python(code).stdout.strip() == (target.NAME if modern else "None")
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
    monkeypatch.setenv(kept_files.VARIABLE, str(tmp_path))
    assert f"cpu: numba {numba.__version__} for " in engines.status()
    assert f"0 kernels kept in {tmp_path}" in engines.status()
    (tmp_path / "file").touch()
    monkeypatch.setenv(kept_files.VARIABLE, str(tmp_path / "file"))
    assert "cannot be written" in engines.status()


@pytest.mark.parametrize(
    ("edited", "of"),
    [
        ("cpu.draw.gamma", {"kernels", "shape_kernels", "mlp", "softmax"}),
        ("cpu.algebra", {"kernels", "shape_kernels", "mlp", "softmax"}),
        ("cpu.mlp", {"mlp", "softmax"}),
        ("cpu.arguments", {"kernels", "shape_kernels", "mlp", "softmax"}),
        ("laws", set()),
        ("cpu.loops", set()),
    ],
)
def test_the_digest_covers_every_source_of_a_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edited: str, of: set[str]
) -> None:
    """A module that kernels are made of and the digest forgets would be served stale."""
    pytest.importorskip("numba")
    copy = Code(Path(shutil.copytree(PACKAGE, tmp_path / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))))
    engines_of = {name: f"lintrans.engines.cpu.{name}" for name in ("kernels", "shape_kernels", "mlp", "softmax")}
    before = {name: copy.digest(module) for name, module in engines_of.items()}
    file = copy.path(f"lintrans.engines.{edited}")
    assert file is not None
    file.write_text(file.read_text() + "\n\nMORE = 1\n")
    after = Code(copy.folder)
    assert {name for name, module in engines_of.items() if after.digest(module) != before[name]} == of
    stamps = []
    for code in (copy, after):
        monkeypatch.setattr(kept_files, "code", lambda code=code: code)
        stamps.append(kept_files.digest.__wrapped__(engines_of["kernels"]))
    assert (stamps[0] != stamps[1]) is ("kernels" in of)


@pytest.mark.slow
def test_two_processes_compile_at_once(tmp_path: Path) -> None:
    """The second waits for the first, loads what it compiled, and gets the same numbers; so does a third, silently."""
    pytest.importorskip("numba")
    variables = {**os.environ, kept_files.VARIABLE: str(tmp_path)}
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
    third = python(SMALL, **{kept_files.VARIABLE: str(tmp_path)})
    assert (third.stdout, third.stderr) == (ended[0][0], "")


@pytest.mark.slow
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    (tmp_path / "file").touch()
    ran = python(SMALL, **{kept_files.VARIABLE: str(tmp_path / "file")})
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
    for name, days in (("old", 40), ("recent", 3)):
        (tmp_path / name / "kernel").mkdir(parents=True)
        when = time.time() - days * 86400
        os.utime(tmp_path / name, (when, when))
    kept_files._forget(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["recent"]


# --- what is kept of a kernel ---

MOMENTS = """
import sys, numpy as np
from lintrans.engines.cpu import compiling
piece = compiling.piece("moments", 2, 1, True, np.dtype("float64"))
print(piece.address != 0, piece.place)
"""
COMPILING = "compiling the moments of d = 2, sparse, float64, "


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one kernel in it."""
    pytest.importorskip("numba")
    folder = tmp_path_factory.mktemp("kernels")
    first = python(MOMENTS, **{kept_files.VARIABLE: str(folder)})
    assert first.returncode == 0, first.stderr
    assert first.stderr == f"{COMPILING}once (about 1 s)\n"
    return folder


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def nest(path: Path) -> None:
    path.write_bytes(b"[" * 100_000)


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [cut, zero, flip, nest, replace_by_folder, Path.unlink])
@pytest.mark.parametrize("pattern", ["*.nbc", "*.nbi", kept_files.SUMS])
def test_a_damaged_kernel_is_compiled_again_once(kept: Path, tmp_path: Path, pattern: str, damage: Any) -> None:
    """In this process, through the functions that a kernel is loaded by."""
    folder = tmp_path / "kernels"
    shutil.copytree(kept, folder)
    [victim] = folder.rglob(pattern)
    before = {path.name: path.read_bytes() for path in folder.rglob("*.nb[ci]")}
    damage(victim)
    said, made = loaded(folder)
    again = "" if pattern == kept_files.SUMS and damage is Path.unlink else "again"
    assert made == ["compiled"]
    assert len(said) == 1
    assert said[0].startswith(COMPILING)
    assert again in said[0]
    assert {path.name for path in folder.rglob("*.nb[ci]")} == set(before)
    assert loaded(folder) == ([], ["loaded"])


def loaded(folder: Path) -> tuple[list[str], list[str]]:
    """Ask for the kernel; what was said, and whether it was compiled or loaded."""
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(kept_files.VARIABLE, str(folder))
        patch.setattr(kept_files, "say", said.append)
        piece = compiling.piece.__wrapped__("moments", 2, 1, True, np.dtype("float64"))
        fresh = piece.prepare()
    assert piece.address
    return said, ["compiled" if fresh else "loaded"]


def test_code_that_cannot_be_loaded_is_compiled(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever numba makes of it, even where the checksums are right."""
    folder = tmp_path / "kernels"
    shutil.copytree(kept, folder)
    [victim] = folder.rglob("*.nbc")
    zero(victim)
    sums = victim.parent.parent / kept_files.SUMS
    noted = json.loads(sums.read_text())
    noted["files"][victim.relative_to(sums.parent).as_posix()] = hashlib.sha256(victim.read_bytes()).hexdigest()
    sums.write_text(json.dumps(noted))
    said, made = loaded(folder)
    assert made == ["compiled"]
    assert said == [f"{COMPILING}again, since what was kept of it cannot be loaded (about 1 s)"]


def test_another_kernels_files_are_not_taken_for_its_own(kept: Path, tmp_path: Path) -> None:
    folder = tmp_path / "kernels"
    shutil.copytree(kept, folder)
    [place] = (sums.parent for sums in folder.rglob(kept_files.SUMS))
    place.rename(place.with_name(place.name.replace("-2-", "-3-")))
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(kept_files.VARIABLE, str(folder))
        patch.setattr(kept_files, "say", said.append)
        assert compiling.piece.__wrapped__("moments", 3, 1, True, np.dtype("float64")).prepare()
    assert len(said) == 1
    assert "d = 3" in said[0]
    assert "damaged" in said[0]


@pytest.mark.parametrize("which", ["the kernel's folder", "numba's folder"])
@pytest.mark.parametrize("kind", ["a link", "a file"])
def test_what_is_no_folder_makes_room_for_one(kept: Path, tmp_path: Path, which: str, kind: str) -> None:
    folder = tmp_path / "kernels"
    shutil.copytree(kept, folder)
    [inner] = (path.parent for path in folder.rglob("*.nbc"))
    place = inner.parent if which == "the kernel's folder" else inner
    place.rename(tmp_path / "moved")
    if kind == "a link":
        place.symlink_to(tmp_path / "moved")
    else:
        place.touch()
    said, made = loaded(folder)
    assert (len(said), made) == (1, ["compiled"])
    assert loaded(folder) == ([], ["loaded"])


FULL = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))\n"


@pytest.mark.skipif(sys.platform == "win32", reason="limits are Unix's")
def test_a_folder_where_nothing_fits_costs_the_compile_and_nothing_else(tmp_path: Path) -> None:
    """A limit on a file's size stands for a full disk, or a quota."""
    pytest.importorskip("numba")
    for _ in range(2):
        ran = python(FULL + MOMENTS, **{kept_files.VARIABLE: str(tmp_path)})
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout == "True None\n"
        assert ran.stderr == f"{COMPILING}once (about 1 s)\n"
    assert not list(tmp_path.rglob("*.nb*"))


def test_a_disk_without_room_is_not_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=kept_files.ROOM - 1))
    for _ in range(2):
        assert loaded(tmp_path)[1] == ["compiled"]
    assert not list(tmp_path.rglob("*.nb*"))


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK])
def test_a_folder_without_locks(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """As on some network file systems, and where there were locks before."""
    folder = tmp_path / "kernels"
    shutil.copytree(kept, folder)
    without_locks(monkeypatch, number)
    assert loaded(folder) == ([], ["loaded"])
    assert loaded(tmp_path / "other")[1] == ["compiled"]
    assert loaded(tmp_path / "other") == ([], ["loaded"])


def test_other_types_of_arguments_are_noted_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What numba compiles and keeps later is no damage."""
    pytest.importorskip("numba")
    monkeypatch.setenv(kept_files.VARIABLE, str(tmp_path))
    said: list[str] = []
    monkeypatch.setattr(kept_files, "say", said.append)

    def build(jit: Any) -> Any:
        return jit(add)

    for _ in range(2):
        kernel = compiling.Kernel(kept_files.Spec("lintrans.engines.cpu.kernels", "add", "sum", 1, build))
        out = np.zeros(1)
        kernel(out=out, more=np.ones(1))
        kernel(out=out, more=np.ones(1, np.float32))
        assert out[0] == 2
    assert len(said) == 1
    assert len(list(tmp_path.rglob("*.nbc"))) == 2


def add(out: Any, more: Any) -> None:
    """For a kernel."""
    for i in numba.prange(len(out)):
        out[i] += more[i]
