"""Digests of source files by their syntax: comments, docstrings and layout change nothing."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path


def syntax(source: Path) -> str:
    """A Python file's code in one spelling, without comments and docstrings."""
    state = source.stat()
    return _syntax(source, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=1024)  # all modules take a second and more, and every chapter's digests and results ask for them
def _syntax(source: Path, _time: int, _size: int) -> str:
    tree = ast.parse(source.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                first.value.value = ""
    return ast.unparse(tree)


def digest_of(sources: Iterable[Path]) -> str:
    """Digest of the code of Python files."""
    digest = hashlib.sha256()
    for source in sources:
        digest.update(syntax(source).encode())
    return digest.hexdigest()[:16]
