"""What is installed here, which device is taken, and where results lie."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version

from .listing import size


def findings() -> list[tuple[str, str]]:
    """Names and what was found of each."""
    import torch

    from .. import engines
    from ..store.store import store

    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA in this build"
    cuda = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    auto = f"cuda ({cuda}) where an engine is made for it, else cpu" if cuda else "cpu (no CUDA device)"
    kept = store()
    needed = ("jupyter_book", "papermill", "jupytext", "jupyterlab")
    tools = [name for name in needed if importlib.util.find_spec(name) is None]
    missing = f"missing: {', '.join(tools)} (pip install 'lintrans[book]')" if tools else ""
    return [
        ("lintrans", _version("lintrans")),
        ("python", f"{platform.python_version()} ({sys.executable})"),
        ("torch", f"{torch.__version__} ({build}; {torch.get_num_threads()} threads)"),
        *((name, _version(name)) for name in ("numpy", "pandas", "scipy", "matplotlib")),
        ("device", f"auto takes {auto}"),
        *(("engine", line) for line in engines.status().splitlines()),
        ("store", f"{kept.path}: {len(kept.entries())} experiments, {size(kept.size())}"),
        ("book tools", missing or unsupported_tools() or "installed"),
        ("chromium", browser() or "not found: browser tests are skipped"),
    ]


def unsupported_tools() -> str | None:
    """Why the book cannot be built with the Jupyter Book that is here; None where it can, or where there is none."""
    found = _version("jupyter-book")
    if not found[:1].isdigit() or int(found.partition(".")[0]) < 2:
        return None
    return f"jupyter-book {found} reads no _config.yml and no _toc.yml: pip install 'jupyter-book<2'"


def browser() -> str | None:
    """The Chromium that the browser tests drive, if there is one."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for path in map(shutil.which, names) if path), None)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
