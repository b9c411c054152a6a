"""JupyterLab for the book: either half of a chapter opens as a notebook, and saving writes both, without outputs.

Jupytext's own contents manager goes by time stamps; this one goes by content, by the rules of ``notebooks.py``: opening
brings the halves in step first, and a save that would overwrite an edit made elsewhere is refused in words.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from jupyter_server.services.contents.largefilemanager import LargeFileManager
from jupytext.sync_contentsmanager import build_sync_jupytext_contents_manager_class
from tornado.web import HTTPError

from .notebooks import Pair, PairError, is_chapter, save, settle

CONFLICT = 409
Base: Any = build_sync_jupytext_contents_manager_class(LargeFileManager)


class ChapterContents(Base):  # type: ignore[misc]  # Jupytext makes its base when asked
    """Serves the files of the checkout; chapters as pairs."""

    def get_config(self, path: str, use_cache: bool = False) -> Any:
        """Jupytext's settings, less its look at time stamps: the halves are in step before it reads them."""
        config = super().get_config(path, use_cache)
        config.outdated_text_notebook_margin = float("inf")
        return config

    def get(self, path: str, content: bool = True, type: Any = None, format: Any = None, **more: Any) -> Any:
        """Read a file; a chapter that is opened as a notebook has its halves brought in step first."""
        pair = self._pair(path)
        if pair is not None and content and type in (None, "notebook"):
            self._in_words(settle, pair)
        elif str(path).endswith(".md") and type is None and pair is None:
            type = "file"  # a plain page, which is no notebook
        return super().get(path, content=content, type=type, format=format, **more)

    def save(self, model: dict[str, Any], path: str = "") -> Any:
        """Write a file; of a chapter, both halves."""
        pair = self._pair(path)
        if pair is None or "content" not in model:
            return super().save(model, path)
        if model.get("type") == "notebook":
            self._in_words(save, pair, model["content"])
        else:
            super().save(model, path)
            self._in_words(settle, pair, keep_text=True)
        return super().get(path, content=False, type=model.get("type"))

    def _pair(self, path: str) -> Pair | None:
        """The chapter that a path is a half of, if it is."""
        parts = Path(str(path).strip("/"))
        if parts.parent != Path("book") or parts.suffix not in (".md", ".ipynb"):
            return None
        pair = Pair(Path(self.root_dir), parts.stem)
        if pair.notebook.exists():
            return pair
        return pair if is_chapter(pair.text) else None

    def _in_words(self, function: Any, pair: Pair, *arguments: Any, **more: Any) -> Any:
        try:
            return function(pair, *arguments, **more)
        except PairError as error:
            self.log.warning("%s", error)
            raise HTTPError(CONFLICT, str(error), reason=str(error).splitlines()[0]) from error


def options(root: Path, port: int, browser: bool) -> list[str]:
    """What JupyterLab is started with: this machine only, our contents manager."""
    chosen = [
        f"--ServerApp.root_dir={root}",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        f"--ServerApp.contents_manager_class={ChapterContents.__module__}.{ChapterContents.__name__}",
    ]
    return chosen if browser else [*chosen, "--no-browser"]


def serve(root: Path, port: int = 8888, browser: bool = True, more: tuple[str, ...] = ()) -> NoReturn:
    """Become JupyterLab, with `more` options of its own."""
    os.chdir(root)
    os.execv(sys.executable, [sys.executable, "-m", "jupyterlab", *options(root, port, browser), *more])
