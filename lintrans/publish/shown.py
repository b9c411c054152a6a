"""What a reader sees of an executed chapter: less code, a line of facts, folded parameters and provenance.

A change of the copy that Sphinx reads and of nothing else: the notebook that one downloads is the executed one. Cells
stay where they are, one for one, so that complaints still name the right cell.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .chapter_parameters import Declared, declared

PROVENANCE = re.compile(r"^lt\.book\.provenance\(", re.M)
MADE = "**How this page was made**"
OUTSIDE = 3  # lines of the provenance that are not folded
HIDING = {"hide-input", "remove-input", "remove-cell", "hide-cell", "parameters", "injected-parameters"}
DATA, NARROW = "text/csv", "application/x.narrow+svg"  # what a figure carries for the gallery and for phones
NO_BAR = "no-bar"  # folded code that only the page's switch shows
QUIET = {"remove-stdout", "remove-stderr"}  # cells that compute, and show nothing
Notebook = dict[str, Any]


def shown(notebook: Notebook, name: str, claims: Mapping[str, str], bibtex: str) -> Notebook:
    """The chapter `name` as its page shows it.

    Args:
        notebook: an executed notebook, parsed.
        name: of the chapter, such as "depth".
        claims: the claims it judges, by name, and what each says.
        bibtex: how to cite these pages.
    """
    made, cells = _made(notebook), []
    for cell in notebook["cells"]:
        tags = set(cell["metadata"].get("tags", []))
        if cell["cell_type"] != "code":
            cells.append(_with_facts(cell, made, claims) if made else cell)
            made = made if cells[-1] is cell else {}
        elif "parameters" in tags:
            cells.append(_markdown(cell, _parameters(declared(_source(cell)), name, _injected(notebook))))
        elif PROVENANCE.search(_source(cell)) and _provenance_of(cell):
            cells.append(_markdown(cell, _provenance(_provenance_of(cell), _code(notebook), bibtex)))
        else:
            cells.append(_without_data(_less_code(cell, tags)))
    return {**notebook, "cells": cells}


def _source(cell: Mapping[str, Any]) -> str:
    return "".join(cell["source"])


def _markdown(cell: Mapping[str, Any], text: str) -> dict[str, Any]:
    own = {"id": cell["id"]} if "id" in cell else {}
    return {"cell_type": "markdown", "metadata": {}, "source": text, **own}


def _less_code(cell: dict[str, Any], tags: set[str]) -> dict[str, Any]:
    """The cell without its code where that is one line; more is folded, and without a bar where the chapter hides it.

    What has no bar is shown by the page's switch.
    """
    foldable = bool(tags & {"hide-input", "remove-input"}) or (bool(tags & QUIET) and not tags & HIDING)
    if not foldable:
        return cell
    lines = [line for line in _source(cell).splitlines() if line.strip()]
    new = {"remove-input"} if len(lines) <= 1 else {"hide-input", NO_BAR} if "remove-input" in tags else {"hide-input"}
    return {**cell, "metadata": {**cell["metadata"], "tags": sorted(tags - {"hide-input", "remove-input"} | new)}}


def _without_data(cell: dict[str, Any]) -> dict[str, Any]:
    return {**cell, "outputs": [_without_beside(output) for output in cell.get("outputs", [])]}


def _without_beside(output: dict[str, Any]) -> dict[str, Any]:
    data = {name: each for name, each in output.get("data", {}).items() if name not in (DATA, NARROW)}
    return {**output, "data": data} if "data" in output else output


def _provenance_of(cell: Mapping[str, Any]) -> str:
    for output in cell.get("outputs", []):
        text = "".join(output.get("data", {}).get("text/markdown", ""))
        if text.startswith(MADE):
            return text
    return ""


def _made(notebook: Notebook) -> dict[str, str]:
    """Scale and date of the provenance; nothing where there is none."""
    text = "\n".join(_provenance_of(cell) for cell in notebook["cells"] if cell["cell_type"] == "code")
    scale, date = re.search(r"^- scale: ([^;]+);", text, re.M), re.search(r"^- (\d{4}-\d\d-\d\d) ", text, re.M)
    return {"scale": scale[1], "date": date[1]} if scale and date else {}


def _with_facts(cell: dict[str, Any], made: Mapping[str, str], claims: Mapping[str, str]) -> dict[str, Any]:
    """The cell with a line of facts under the page's title; the same cell where it has no title."""
    found = re.search(r"^# .+$", _source(cell), re.M)
    if found is None:
        return cell
    links = ", ".join(f"{{ref}}`{claim} <{claim.lower()}>`" for claim in claims)
    facts = [
        *([f"claim{'s' if len(claims) > 1 else ''} {links}"] if claims else []),
        f"scale <span class='badge-scale'>{made['scale']}</span>",
        f"built {made['date']}",
    ]
    line = "\n\n:::{div} page-facts\n" + " · ".join(facts) + "\n:::\n"
    source = _source(cell)
    return {**cell, "source": source[: found.end()] + line + source[found.end() :]}


def _injected(notebook: Notebook) -> dict[str, str]:
    for cell in notebook["cells"]:
        if "injected-parameters" in cell["metadata"].get("tags", []):
            pairs = re.findall(r"^(\w+) = (.+)$", _source(cell), re.M)
            return {key: value.strip("\"'") for key, value in pairs}
    return {}


def _parameters(items: Mapping[str, Declared], name: str, injected: Mapping[str, str]) -> str:
    """The parameters of a page as a table, and the line that runs it with others; folded."""
    rows = [f"| `{item.name}` | `{item.default!r}` | {_cell(item.comment)} |" for item in items.values()]
    scale = injected.get("scale", "paper")
    own = next((item for item in items.values() if item.name != "scale" and isinstance(item.default, int)), None)
    more = f" -p {own.name} {own.default or 12}" if own else ""
    return "\n".join([
        "::::{dropdown} Parameters of this page",
        ":class-container: page-parameters",
        "",
        "| parameter | default | meaning |", "|---|---|---|", *rows, "",
        "The chapter again with others, `-p NAME VALUE` for each; the second line keeps what is unchanged:",
        "",
        "```text",
        f"papermill book/{name}.ipynb out.ipynb --cwd book -p scale {scale}{more}",
        f"lintrans execute {name} --scale {scale}{more}",
        "```",
        "::::",
    ])  # fmt: skip


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def _code(notebook: Notebook) -> str:
    """All code of a chapter, cell by cell, that of hidden cells too."""
    own = (cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    return "\n\n".join(
        _source(cell).strip()
        for cell in own
        if "injected-parameters" not in cell["metadata"].get("tags", []) and not PROVENANCE.search(_source(cell))
    )


def _provenance(text: str, code: str, bibtex: str) -> str:
    """What was used to make a page: the first lines, then every training, the code, and how to cite it, folded."""
    lines = [line for line in text.splitlines() if line.startswith("- ")]
    first, rest = lines[:OUTSIDE], lines[OUTSIDE:]
    folded = (
        ["", f":::{{dropdown}} {len(rest)} stored result{'s' * (len(rest) > 1)} that it used", *rest, ":::"]
        if rest
        else []
    )
    return "\n".join([
        "::::::::{div} provenance", MADE, "", *first, *folded, "",
        ":::::::{dropdown} Code of this page", ":class-container: page-code", "",
        "`````python", code, "`````", ":::::::", "",
        ":::{dropdown} Cite this page", "```bibtex", bibtex, "```", ":::", "::::::::",
    ])  # fmt: skip
