"""What happens to the store in odd places, and what it then says: no result is lost, no wrong one served."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import lintrans as lt
from lintrans.files import locked
from lintrans.store import store as stores
from lintrans.store.results import VARIABLE
from lintrans.store.specs import canonical
from lintrans.store.store import Store

MODEL, TASK = lt.LinearTransformer(1, 2), lt.LinearRegression(2, 3)
RUNS = lt.grid(optimizer=["sgd", "adam"], lr=0.1, seed=range(2))


def ask(store: Store | Path | str, **change: Any) -> lt.History:
    options: dict[str, Any] = {
        "steps": 4, "batch": 5, "snapshots": [2], "title": "one", "engine": "reference", **change,
    }  # fmt: skip
    return lt.experiment(options.pop("model", MODEL), options.pop("task", TASK), RUNS, store=store, **options)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everybody can reach."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def somebody() -> Iterator[None]:
    """Another user than the one who may do everything."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("limit", [0, 50, 700, 3000])
def test_a_full_disk_costs_no_result(tmp_path: Path, limit: int) -> None:
    """No file may be longer than so many bytes: a record, a table, the parameters fail to be written."""
    code = (
        "import lintrans as lt\n"
        "from lintrans.store import checkpoints\n"
        "checkpoints.SOONEST, checkpoints.SHARE = 0.0, 1e9\n"
        "history = lt.experiment(lt.LinearTransformer(1, 2), lt.LinearRegression(2, 3),\n"
        "    lt.grid(optimizer='sgd', lr=0.1, seed=range(2)), steps=300, batch=5, engine='reference')\n"
        "print(len(history.frame))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, VARIABLE: str(tmp_path)}, capture_output=True, text=True,
        timeout=300, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("not kept (") == 1
    assert "File too large" in done.stdout
    assert int(done.stdout.splitlines()[-1]) > 0
    assert "Traceback" not in done.stdout + done.stderr
    store = Store(tmp_path)
    assert store.entries() == []
    assert store.half_written() == []
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".part")]


@pytest.mark.parametrize("title", [object(), {1, 2}, "\ud800", ""])
def test_a_title_that_no_file_can_hold_is_refused_before_anything_is_computed(tmp_path: Path, title: Any) -> None:
    with pytest.raises(TypeError, match="title = "):
        ask(tmp_path, title=title)
    assert Store(tmp_path).entries() == []


def test_a_store_that_may_not_be_written_is_read(place: Path, somebody: None, capsys: Any) -> None:
    first = ask(place / "store")
    folders = [place / "store", *(path for path in (place / "store").rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        pd.testing.assert_frame_equal(ask(place / "store").frame, first.frame)
        assert "reused" in capsys.readouterr().out.splitlines()[-1]
        assert len(ask(place / "store", steps=5).frame)
        said = capsys.readouterr().out.splitlines()
        assert len(said) == 1
        assert "will not be kept (Permission denied" in said[0]
    finally:
        for folder in folders:
            folder.chmod(0o755)


def test_what_may_not_be_read_is_said_and_stays(place: Path, somebody: None, capsys: Any) -> None:
    first = ask(place)
    record = place / "experiments" / first.key / "record.json"
    record.chmod(0)
    capsys.readouterr()
    assert len(ask(place).frame)
    assert "may not be read (Permission denied" in capsys.readouterr().out
    assert [*Store(place).set_aside()] == []


@pytest.mark.parametrize(
    ("mask", "folder", "file"), [(0o002, 0o775, 0o664), (0o022, 0o755, 0o644), (0o077, 0o700, 0o600)]
)
def test_modes_are_those_that_the_umask_leaves(tmp_path: Path, mask: int, folder: int, file: int) -> None:
    before = os.umask(mask)
    try:
        ask(tmp_path / "store")
    finally:
        os.umask(before)
    for path in (tmp_path / "store").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o777 if path.is_dir() else 0o666) & ~mask, path


def test_no_home(tmp_path: Path) -> None:
    """Neither a home nor a store that can be written: computed, one line."""
    code = "import lintrans as lt\nlt.experiment(lt.LinearTransformer(1, 2), lt.LinearRegression(2, 3), " \
           "lt.grid(optimizer='sgd', lr=0.1), steps=2, batch=5, engine='reference')"  # fmt: skip
    (tmp_path / "file").write_text("in the way")
    gone = {"HOME": "/nowhere", VARIABLE: str(tmp_path / "file" / "store")}
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **gone}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert "will not be kept (Not a directory" in done.stdout


def test_a_lock_whose_owner_died_is_free(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom lintrans.store.store import Store\n"
        "with Store(sys.argv[1]).lock('a'):\n    print(1, flush=True)\n    time.sleep(60)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    assert owner.stdout.readline()
    assert Store(tmp_path).busy("a")
    owner.kill()
    owner.communicate(timeout=60)
    assert not Store(tmp_path).busy("a")
    began = time.monotonic()
    with locked(tmp_path / "locks" / "a.lock", lambda: pytest.fail("nobody holds it")) as held:
        assert held
    assert time.monotonic() - began < 5


def test_four_processes_compute_once_even_when_the_first_is_killed(tmp_path: Path) -> None:
    code = (
        "import lintrans as lt\n"
        "lt.experiment(lt.LinearTransformer(2, 2), lt.LinearRegression(2, 3), lt.grid(optimizer='sgd', lr=0.1),\n"
        "    steps=1500, batch=50, probes=[], engine='reference')"
    )
    environment = {**os.environ, VARIABLE: str(tmp_path), "OMP_NUM_THREADS": "1"}

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)

    first = start()
    assert first.stdout is not None
    assert "computing" in first.stdout.readline()
    others = [start() for _ in range(3)]
    first.kill()
    lines = [process.communicate(timeout=300)[0] for process in others]
    first.communicate(timeout=60)
    assert all(process.returncode == 0 for process in others)
    assert sum("computing" in line or "going on" in line for line in lines) == 1, lines
    assert sum("reused" in line for line in lines) == 2, lines
    assert len(Store(tmp_path).entries()) == 1
    assert Store(tmp_path).half_written() == []
    assert Store(tmp_path).unfinished() == []


def edit(change: Callable[[dict[str, Any]], object], sealed: bool = True) -> Callable[[Path], object]:
    """Change a record; `sealed`: with a checksum that fits, as another version of ours might write it."""

    def edited(file: Path) -> None:
        record = json.loads(file.read_text())
        change(record)
        record |= {"seal": stores._seal(record)} if sealed else {}
        file.write_text(json.dumps(record))

    return edited


RECORDS: dict[str, Callable[[Path], object]] = {
    "no zone": edit(lambda record: record.update(created="2024-01-01T00:00:00")),
    "no time": edit(lambda record: record.update(created=3)),
    "deep": lambda file: file.write_text("[" * 100_000),
    "huge integer": lambda file: file.write_text(file.read_text().replace('"seconds": ', '"seconds": ' + "9" * 5000)),
    "large integer": edit(lambda record: record["info"].update(seconds=10**400)),
    "no number": edit(lambda record: record["info"].update(seconds=float("nan"))),
    "a list": lambda file: file.write_text("[]"),
    "not text": lambda file: file.write_bytes(b"\xff\xfe\x00"),
    "no checksums": edit(lambda record: record.pop("files")),
    "older": edit(lambda record: record.pop("seal"), sealed=False),
    "another device": edit(lambda record: record["info"].update(device="<script>"), sealed=False),
    "another name": edit(lambda record: record["files"].update({"../../x": "0"})),
    "another spec": edit(lambda record: record["spec"].update(steps=5)),
}


@pytest.mark.parametrize("damage", RECORDS)
def test_records_that_are_not_ours_are_noticed(tmp_path: Path, damage: str, capsys: Any) -> None:
    first, store = ask(tmp_path), Store(tmp_path)
    RECORDS[damage](tmp_path / "experiments" / first.key / "record.json")
    [(key, problem)] = store.problems()
    assert key == first.key
    assert "\n" not in problem
    ask(tmp_path, steps=7)  # entries are listed on the way, to say why
    capsys.readouterr()
    pd.testing.assert_frame_equal(ask(tmp_path).frame, first.frame)
    assert "is damaged" in capsys.readouterr().out
    assert [*store.problems()] == []


class Planted:
    """What runs code wherever it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


@pytest.mark.parametrize("name", ["frame.parquet", "runs.parquet", "snapshots.safetensors"])
def test_reading_executes_nothing(tmp_path: Path, name: str) -> None:
    """A file with code in it, and a record that vouches for it."""
    flag, first = tmp_path / "flag", ask(tmp_path)
    folder = tmp_path / "experiments" / first.key
    content = pickle.dumps(Planted(flag))
    (folder / name).write_bytes(content)
    edit(lambda record: record["files"].update({name: hashlib.sha256(content).hexdigest()}))(folder / "record.json")
    pd.testing.assert_frame_equal(ask(tmp_path).frame, first.frame)
    assert not flag.exists()
    pickle.loads(content)
    assert flag.exists()


def test_what_killed_writes_have_left_is_swept(tmp_path: Path) -> None:
    first = ask(tmp_path)
    store, folder = Store(tmp_path), tmp_path / "experiments"
    shutil.rmtree(folder / first.key)
    left = folder / f".part-{first.key}-0123"
    left.mkdir()
    (left / "frame.parquet").write_text("half")
    assert [entry.key for entry in store.entries()] == []
    assert store.half_written() == [left]
    ask(tmp_path)
    assert store.half_written() == []


def test_numbers_of_numpy_and_whole_floats_are_the_same_experiment(tmp_path: Path) -> None:
    first = ask(tmp_path, task=lt.LinearRegression(2, 3, lt.Gaussian(std=1.0)))
    same = ask(
        str(tmp_path), task=lt.LinearRegression(2, np.int64(3), lt.Gaussian(std=1)),  # type: ignore[arg-type]
        snapshots=np.array([2]), steps=np.int64(4), batch=np.int32(5),
    )  # fmt: skip
    assert same.key == first.key
    assert len(Store(tmp_path).entries()) == 1
    assert canonical(np.float32(0.5)) == 0.5
    assert canonical(True) is True


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"step": 3}, "step is no option.*did you mean 'steps'"),
        ({"engine": "cup"}, "engine = 'cup' is not one of"),
        ({"progress": "no"}, "progress = 'no'.*give True or False"),
    ],
)
def test_wrong_options_are_refused_though_it_is_stored(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    ask(tmp_path)
    with pytest.raises((TypeError, ValueError), match=said):
        ask(tmp_path, **change)
    with pytest.raises(TypeError, match="store = 3 is no store"):
        ask(3)  # type: ignore[arg-type]
