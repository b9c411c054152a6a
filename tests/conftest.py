"""What all tests share: the slow ones wait to be asked for, nothing touches the real store, a tiny book to work on."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

# the same examples on every machine and day; timing is no law
hypothesis.settings.register_profile("lintrans", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("lintrans")

if "PYTEST_XDIST_WORKER" in os.environ:  # torch's threads of several workers, and of what these start, would fight
    os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[1]

HEADER = """---
jupytext:
  formats: ipynb,md:myst
  text_representation:
    extension: .md
    format_name: myst
    format_version: 0.13
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

"""
CHAPTER = """# The {name}

A sentence.

```{{code-cell}} ipython3
:tags: [parameters]

scale: str = "paper"  # paper or quick
seeds: int = 0  # 0: the scale's own
device: str = "auto"  # cpu, cuda, ...
lr: float = 0.1  # learning rate
```

```{{code-cell}} ipython3
:tags: [hide-input]

from lintrans import book

page = book.parameters(scale=scale, seeds=seeds, device=device, lr=lr)
book.say(f"At scale **{{page.scale}}** the rate is {{page.lr}}; changed: {{page.changed}}.")
book.glue({name}_rate=page.lr)
```

The rate is {{glue:text}}`{name}_rate:.2f`.

```{{code-cell}} ipython3
:tags: [hide-input]

book.provenance()
```
"""
TOC = """format: jb-book
root: book/intro
chapters:
  - file: book/first
  - file: book/second
  - file: book/plain
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the slow tests too (make test SLOW=1)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name != "test_torture.py")  # minutes each: at the end one worker would idle
    if config.getoption("--slow"):
        return
    skip = pytest.mark.skip(reason="slow: run with --slow, or make test SLOW=1")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(autouse=True, scope="session")
def own_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Tests have a store of their own; so have the processes that they start."""
    patch = pytest.MonkeyPatch()
    store = tmp_path_factory.mktemp("store")
    patch.setenv("LINTRANS_STORE", str(store))
    patch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    patch.setenv("OMP_WAIT_POLICY", "PASSIVE")  # two processes whose threads spin slow each other down
    yield store
    patch.undo()


def git(root: Path, *arguments: str) -> str:
    """Run git in a folder, as nobody in particular."""
    person = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *person, *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A book of three chapters and a plain page."""
    return make_book(tmp_path / "tiny book")  # a blank in the path, as on many a laptop


def without_locks(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A file system whose answer to every lock is this error."""
    import fcntl

    def flock(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


def make_book(root: Path) -> Path:
    """Write a small book, in git, with the project's own settings."""
    from lintrans.publish.notebooks import pairs, settle

    book = root / "book"
    book.mkdir(parents=True)
    for name in ("pyproject.toml", "_config.yml"):
        shutil.copy(ROOT / name, root / name)
    for name in ("_static", "_ext"):
        shutil.copytree(ROOT / "book" / name, book / name, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "requirements.lock").write_text("torch==1.0\n")
    (root / "_toc.yml").write_text(TOC)
    (root / ".gitignore").write_text("build/\n.ipynb_checkpoints/\n")
    (book / "references.bib").write_text("")
    (book / "plain.md").write_text("# Plain\n\n:::{note}\nNothing to execute.\n:::\n")
    for name in ("intro", "first", "second"):
        (book / f"{name}.md").write_text(HEADER + CHAPTER.format(name=name))
    for pair in pairs(root):
        settle(pair)
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "start")
    shutil.rmtree(root / "build")  # as after a fresh clone: nothing is remembered but HEAD
    return root
