"""The project around the code: lock, conda's file, README, settings that agree with each other."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lintrans.publish.chapters import pages

TOML = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = TOML["project"]
LOCKED_EXTRAS = TOML["tool"]["pip-tools"]["extra"]


LOCK = (ROOT / "requirements.lock").read_text()


def out_of_step(lock: str, project: dict[str, Any]) -> set[str]:
    """Requirements that the lock does not meet, pins that nobody asks for, and builds of one machine."""
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *(line for extra in LOCKED_EXTRAS for line in extras[extra])]
    wanted = {canonicalize_name(each.name): each.specifier for each in map(Requirement, lines)}
    pins = {canonicalize_name(name): pin for name, pin in re.findall(r"^([\w.-]+)\S*==(\S+)", lock, re.M)}
    direct = {
        canonicalize_name(re.split(r"\[|==", block)[0])
        for block in re.split(r"\n(?=\w)", lock)
        if "lintrans (pyproject.toml)" in block
    }
    unmet = {name for name, allowed in wanted.items() if not allowed.contains(pins.get(name, "0"), prereleases=True)}
    return unmet | (direct - set(wanted)) | {name for name, pin in pins.items() if "+" in pin}


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("", "", set()),
        ("numpy==2", "numpy==1", {"numpy"}),
        ("click==", "clock==", {"click", "clock"}),
        ("torch==2.13.0", "torch==2.13.0+cpu", {"torch"}),
    ],
)
def test_a_lock_out_of_step_is_found(old: str, new: str, found: set[str]) -> None:
    """The first case is the lock as it is; `make lock` resolves it again."""
    assert old in LOCK
    assert out_of_step(LOCK.replace(old, new) if old else LOCK, PROJECT) == found


def test_a_requirement_taken_out_of_the_project_is_found_in_the_lock() -> None:
    kept = [line for line in PROJECT["dependencies"] if not line.startswith("scipy")]
    assert out_of_step(LOCK, {**PROJECT, "dependencies": kept}) == {"scipy"}


def test_conda_gets_the_same_versions() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, rest = environment["dependencies"]
    assert environment["name"] == PROJECT["name"]
    assert pip == "pip"
    assert rest == {"pip": ["-r requirements.lock", "-e ."]}  # no version is written twice
    version = python.removeprefix("python=")
    assert version == PROJECT["requires-python"].removeprefix(">=")
    locked_for = re.search(r"pip-compile with Python (\S+)", (ROOT / "requirements.lock").read_text())
    assert locked_for is not None
    assert locked_for[1] == version


def test_the_readmes_ten_lines_run(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    block = re.search(r"<!-- ten lines -->\n+```python\n(.*?)```", readme, flags=re.DOTALL)
    assert block is not None
    lines = [line for line in block[1].splitlines() if line.strip()]
    assert len(lines) <= 10
    (tmp_path / "ten.py").write_text(block[1])
    command = [sys.executable, "-W", "error", "ten.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "optimizer" in done.stdout


def test_make_help_lists_every_target() -> None:
    done = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True)
    makefile = (ROOT / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.*)$", makefile, flags=re.MULTILINE)
    assert targets is not None
    listed = {line.split()[0] for line in done.stdout.splitlines()}
    assert set(targets[1].split()) <= listed


def test_make_says_so_where_python_is_too_old(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).touch()
    done = subprocess.run(["make", "setup", "PYTHON="], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "no Python 3.11 or newer found" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_make_clean_leaves_stored_results_alone(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    for folder in ("build", "results"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file").touch()
    subprocess.run(["make", "-s", "clean"], cwd=tmp_path, check=True)
    assert not (tmp_path / "build").exists()
    assert (tmp_path / "results" / "file").exists()


def test_every_page_of_the_contents_is_there() -> None:
    for page in pages(ROOT):
        assert (ROOT / f"{page}.md").is_file(), page
    listed = {Path(page).name for page in pages(ROOT)}
    assert {path.stem for path in (ROOT / "book").glob("*.md")} == listed


def test_who_and_what_is_said_once_in_the_same_way() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"] == "MIT"
    assert citation["authors"] == [{"name": "The lintrans authors"}]
    assert PROJECT["authors"] == [{"name": "The lintrans authors"}]
    assert "The lintrans authors" in (ROOT / "LICENSE").read_text()
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text()
    assert yaml.safe_load((ROOT / "_config.yml").read_text())["author"] == "The lintrans authors"
