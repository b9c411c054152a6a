"""The wheel, in an environment that has what it asks for and nothing of the book's tools."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from lintrans.store.sources import PACKAGE

ROOT = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").is_file())


def needed(name: str, found: set[str]) -> Iterator[str]:
    """A distribution's requirements, none of an extra, at any depth."""
    for text in metadata.requires(name) or ():
        requirement = Requirement(text)
        if (requirement.marker is None or requirement.marker.evaluate({"extra": ""})) and requirement.name not in found:
            found.add(requirement.name)
            yield requirement.name
            yield from needed(requirement.name, found)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the wheel's modules and links to those of the distributions that it needs."""
    site, place = tmp_path_factory.mktemp("site"), Path(sysconfig.get_paths()["purelib"])
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    shutil.copytree(PACKAGE, source / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    # built in a copy, where setuptools may leave what it likes
    for name in ("lintrans_command.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(built), str(source)]
    subprocess.run(build, check=True, timeout=300)
    [wheel] = built.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", site, wheel], check=True, timeout=300)
    for name in needed("lintrans", set()):
        for file in metadata.files(name) or ():
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (site / top).exists():
                (site / top).symlink_to(place / top)
    return site


def run(environment: Path, home: Path, *arguments: str) -> str:
    settings = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(environment)}
    settings |= {name: os.environ[name] for name in ("LINTRANS_KERNELS",) if name in os.environ}
    command = [sys.executable, "-S", *arguments]
    done = subprocess.run(command, env=settings, cwd=home, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_readmes_ten_lines_run_from_the_wheel(environment: Path, tmp_path: Path) -> None:
    assert not [absent for absent in ("jupytext", "papermill", "nbformat", "pytest") if (environment / absent).exists()]
    kept = environment / "lintrans" / "paper" / "claims" / "kept"
    assert {path.name for path in kept.iterdir()} == {path.name for path in (PACKAGE / "paper/claims/kept").iterdir()}
    found = re.search(r"<!-- ten lines -->\n```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert found
    script = tmp_path / "ten_lines.py"
    script.write_text(found[1] + "\nimport lintrans\nprint(lintrans.__file__)\n", encoding="utf-8")
    lines = run(environment, tmp_path, str(script)).splitlines()
    assert lines[-1].startswith(str(environment))
    assert "tensor" in "".join(lines)


@pytest.mark.slow
@pytest.mark.parametrize("command", [["doctor"], ["--help"], ["results", "list"], ["verdicts"], ["--version"]])
def test_the_command_runs_from_the_wheel(environment: Path, tmp_path: Path, command: list[str]) -> None:
    [wheel] = metadata.distributions(name="lintrans", path=[str(environment)])
    [entry] = wheel.entry_points.select(group="console_scripts", name="lintrans")
    script = f"import sys; from {entry.module} import {entry.attr} as f; sys.argv = ['lintrans', *{command}]; f()"
    said = run(environment, tmp_path, "-c", script)
    assert said
    assert "Traceback" not in said
