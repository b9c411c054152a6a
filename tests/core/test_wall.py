"""The walls between core, paper and publisher: arrows go one way, and the library alone is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter

from conftest import ROOT

FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "lintrans").rglob("*.py"))
}
LAYERS = {"book": 2, "publish": 2, "settings": 1, "paper": 1}
HEAVY = {"numba", "matplotlib", "seaborn", "IPython", "ipykernel", "jupyter_core", "jupytext", "nbformat", "papermill"}
HEAVY |= {
    "scipy.stats",
    "scipy.optimize",
    "scipy.special",
    "scipy.linalg",
    "pyarrow.parquet",
    "tqdm.auto",
    "dask",
    "distributed",
}


def layer(module: str) -> int:
    return LAYERS.get(f"{module}.".split(".")[1], 0)


def imports(module: str, deferred: bool) -> Iterator[str]:
    """Modules of the library that one imports; `deferred`: in its functions and for type checkers, too."""
    package = module.split(".") if FILES[module].name == "__init__.py" else module.split(".")[:-1]
    nodes: list[ast.AST] = [ast.parse(FILES[module].read_text("utf-8"))]
    while nodes:
        node = nodes.pop()
        typing = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not deferred and (typing or isinstance(node, ast.FunctionDef)):
            continue
        nodes += ast.iter_child_nodes(node)
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        if isinstance(node, ast.ImportFrom):
            parts = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*parts, node.module] if node.module else parts)
            names = [f"{base}.{name}" if f"{base}.{name}" in FILES else base for name in names]
        yield from (name for name in names if name in FILES and name != module)


def test_arrows_go_from_publisher_to_paper_to_core() -> None:
    graph = {module: set(imports(module, deferred=True)) for module in FILES}
    graph["lintrans"] -= {"lintrans.book", "lintrans.settings"}  # named for type checkers, loaded when asked for
    upward = {(one, other) for one, others in graph.items() for other in others if layer(other) > layer(one)}
    assert upward == set()
    TopologicalSorter({module: set(imports(module, deferred=False)) for module in FILES}).prepare()  # no circle


def test_the_library_alone_is_light_and_knows_the_book_when_asked() -> None:
    code = "import sys, lintrans; print(*sys.modules); [getattr(lintrans, name) for name in lintrans.__all__]"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert loaded & HEAVY == set()
    assert [module for module in loaded & set(FILES) if layer(module)] == []
