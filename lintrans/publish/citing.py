"""How to cite these pages and the paper that they measure, from ``CITATION.cff``."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def citation(root: Path) -> dict[str, Any]:
    """What ``CITATION.cff`` says; empty where there is none."""
    import yaml

    path = root / "CITATION.cff"
    return dict(yaml.safe_load(path.read_text("utf-8"))) if path.exists() else {}


def bibtex(root: Path, page: str = "", scale: str = "") -> str:
    """BibTeX of the book or of one page, with version and scale."""
    found = citation(root)
    if not found:
        return ""
    authors = " and ".join(_name(author) for author in found["authors"])
    note = "; ".join(part for part in (page and f"page {page}", scale and f"scale {scale}") if part)
    fields = {"title": found["title"], "author": authors, "version": found["version"], "note": note}
    if date := found.get("date-released"):
        fields["year"] = str(date)[:4]
    if address := found.get("repository-code"):
        fields["url"] = address
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join(["@software{lintrans,", *lines, "}"])


def _name(author: dict[str, str]) -> str:
    if "name" in author:
        return f"{{{author['name']}}}"
    return f"{author['family-names']}, {author['given-names']}"


def paper(root: Path) -> str:
    """Address of the paper; empty where ``CITATION.cff`` names none."""
    notes = [str(each.get("notes", "")) for each in citation(root).get("references", [])]
    return next((f"https://arxiv.org/abs/{note.removeprefix('arXiv:')}" for note in notes if "arXiv:" in note), "")
