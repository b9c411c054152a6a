"""The lab's files for a site: one script with everything in it, and a style sheet. Nothing is fetched."""

from __future__ import annotations

import base64
import json
import zlib
from functools import cache
from pathlib import Path

from ...files import write
from . import javascript, tracing, wasm

SOURCES = Path(__file__).parent / "js"
DEPTHS = (1, 2, 3, 4, 6, 8)
SHALLOW = (1, 2, 3, 4)
"""Numbers of layers that are trained in float32, and that plain JavaScript knows."""

BOTH = ("philox", "training")
"""What the page and its worker both need."""

WORKER = (*BOTH, "draws", "engine", "probes", "worker")
PAGE = (*BOTH, "plot", "options", "story", "toy", "main")


def _text(name: str) -> str:
    """A source, without indentation and lines of comment."""
    lines = (line.strip() for line in (SOURCES / name).read_text("utf-8").splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("// "))


def _packed(module: bytes) -> str:
    """A module as text: raw deflate, base64."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return base64.b64encode(packer.compress(module) + packer.flush()).decode()


@cache
def script() -> str:
    """The script: the page's part, and as texts in ``PARTS`` the worker, the modules, and what they know of memory."""
    shallow, deep = tracing.trace(SHALLOW), tracing.trace(DEPTHS)
    head = f'"use strict";\nconst D = {tracing.SIZE};\n'
    worker = [_text(f"{name}.js") for name in WORKER] + [javascript.source(shallow)]
    memories = {"float32": shallow.memory, "float64": deep.memory, "plain": shallow.memory}
    parts = {
        "html": _text("lab.html"),
        "toy": _text("toy.html"),
        "worker": head + "\n".join(worker),
        "modules": {
            "float32": _packed(wasm.module(shallow, wasm.FLOAT32)),
            "float64": _packed(wasm.module(deep, wasm.FLOAT64)),
        },
        "layouts": {
            kind: {name: getattr(memory, name) for name in ("parameters", "sums", "scale", "prompts")}
            for kind, memory in memories.items()
        },
    }
    page = "\n".join(_text(f"{name}.js") for name in PAGE)
    known = json.dumps(parts, ensure_ascii=False)
    return f"(() => {{\n{head}const PARTS = {known};\n{page}\n}})();\n"


def write_lab(folder: Path) -> None:
    """Write ``lab.js`` and ``lab.css`` into a folder of a site's static files."""
    write(folder / "lab.js", script())
    write(folder / "lab.css", _text("lab.css"))
