"""Judges again with other seeds and batches, and compares: what `lintrans stability` does."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from ..errors import nearest
from ..paper.claims import verdict_records
from ..paper.claims.records import DERIVED
from ..paper.claims.scorecard import CLAIMS
from ..paper.claims.stability import Comparison, comparison
from .chapters import BookError, Report, execute


def judging() -> dict[str, tuple[str, ...]]:
    """The claims that each chapter judges from measurements, by chapter."""
    chapters: dict[str, tuple[str, ...]] = {}
    for name, claim in CLAIMS.items():
        if name not in DERIVED:
            chapters[claim.CHAPTER] = (*chapters.get(claim.CHAPTER, ()), name)
    return chapters


def repeated(
    root: Path, scale: str, offset: int, names: tuple[str, ...], tell: Callable[[str], None], jobs: int | None = None
) -> tuple[Report, Comparison]:
    """Execute chapters (all that judge, if none is named) at ``SCALE+OFFSET``, and compare verdicts with the scale's.

    Raises:
        BookError: a chapter that judges nothing, or whose verdicts at the scale itself are not there.
    """
    chapters = judging()
    for name in names:
        if name not in chapters:
            raise BookError(f"{name!r} judges nothing: there are {', '.join(chapters)}{nearest(name, list(chapters))}")
    wanted = {claim for chapter in names or tuple(chapters) for claim in chapters[chapter]}
    first = {key: record for key, record in verdict_records(scale).items() if key[0] in wanted}
    if not first:
        raise BookError(f"nothing to compare with: lintrans execute {' '.join((*names, f'--scale {scale}'))}")
    report = execute(root, f"{scale}+{offset}", names or tuple(chapters), say=tell, jobs=jobs)
    second = verdict_records(f"{scale}+{offset}")
    return report, comparison(first, second, scale, offset, version("lintrans"))
