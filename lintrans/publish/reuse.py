"""Whether an executed copy of a chapter still holds: digests of all that it depends on, and words for what changed.

``build/SCALE/digests/X.json`` notes them for the copy ``build/SCALE/src/book/X.ipynb``: the chapter's text, its
parameters, the code that its cells use, the lock file and, for the pages that show them, the stored verdicts,
those on real networks, benchmarks, or what was computed twice.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from pathlib import Path
from typing import Any

from ..files import write
from ..store.sources import code
from .notebooks import Pair, canonical, code_of, read

BENCHMARKS = "benchmarks/*.json"  # what performance.py shows
LAST = ("intro", "proxy_or_not", "scorecard", "summary", "verdict_changes")  # these show the verdicts of the others
AFTER_PRACTICE = (
    "adam_vs_sgd", "gradient_noise", "condition_number", "directional_smoothness", "generalized_smoothness",
)  # fmt: skip
"""These show what the page on practice keeps, and wait for it."""


def record(target: Path, scale: str, content: str, digests: dict[str, Any]) -> None:
    """Write an executed copy, and beside it what it depends on."""
    write(target, content)
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    write(note(target, scale), json.dumps({"executed": now, "copy": digest(content), "digests": digests}, indent=1))


def note(target: Path, scale: str) -> Path:
    """Where the digests of an executed copy lie: beside it, so that a downloaded notebook is free of them."""
    build = next(folder for folder in target.parents if folder.name == scale and folder.parent.name == "build")
    return build / "digests" / f"{target.stem}.json"


def digests_of(chapter: Pair, parameters: dict[str, Any]) -> dict[str, Any]:
    """Digest what a chapter depends on, part by part."""
    lock = chapter.root / "requirements.lock"
    text = read(chapter.text)
    digests: dict[str, Any] = {
        "text": digest(canonical(text, chapter.root)),
        "parameters": parameters,
        "library": library_digests(chapter),
        "lock": digest_file(lock),
    }
    if chapter.name in LAST:
        digests["verdicts"] = _verdicts()
    if chapter.name in AFTER_PRACTICE:
        digests["practice"] = _practice()
    if "performance.load(" in text:
        stored = sorted(chapter.root.glob(BENCHMARKS))
        digests["benchmarks"] = {record.name: digest_file(record) for record in stored}
    if "twice.read(" in text:
        digests["twice"] = _twice()
    if any(name.endswith(".claims.stability") for name in digests["library"]):
        digests["stability"] = _stability()
    return digests


def library_digests(chapter: Pair) -> dict[str, str]:
    """A digest of each module that a chapter's code stands on: the closure of what its cells use."""
    cells = code().text(code_of(chapter))
    return {name: module.digest for name, module in code().closure(*cells.targets).items()}


def _verdicts() -> str:
    from ..paper.claims import verdicts_digest

    return str(verdicts_digest())


def _practice() -> str:
    from ..paper.pages.in_practice import digest as practice_digest

    return practice_digest()


def _twice() -> str:
    from ..paper.claims.twice import PATH

    return digest_file(PATH)


def _stability() -> str:
    from ..paper.claims.stability import PATH

    return digest(PATH.read_text("utf-8")) if PATH.exists() else ""


def why_not(target: Path, note: Path, digests: dict[str, Any]) -> tuple[str, str]:
    """Why a chapter must be executed ("" if its copy still holds), and when the copy was made."""
    try:
        made = json.loads(note.read_text("utf-8"))
        old, when = made["digests"], str(made["executed"])
        modules = {str(name): str(module) for name, module in old.get("library", {}).items()}
        copy = digest(target.read_text("utf-8"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):  # not there, or not whole
        return "not executed before", ""
    if copy != made["copy"]:
        return "its executed copy was changed", ""
    words = {
        "text": "its text changed",
        "parameters": "its parameters changed",
        "library": "the library changed",
        "lock": "the lock file changed",
        "verdicts": "the stored verdicts changed",
        "practice": "what is kept of real networks changed",
        "benchmarks": "the stored benchmarks changed",
        "twice": "what is kept as computed twice changed",
        "stability": "the kept comparison on other seeds changed",
    }
    before, now = (
        {**each, "library": sorted(each.get("library", {}).values())} for each in (old | {"library": modules}, digests)
    )
    reasons = [words[name] for name in words if before.get(name) != now.get(name)]
    if "the library changed" in reasons:
        reasons[reasons.index("the library changed")] += f" ({_changed_modules(modules, digests['library'])})"
    return ", ".join(reasons), when


def _changed_modules(old: dict[str, str], new: dict[str, str]) -> str:
    names = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def digest_file(path: Path) -> str:
    """Hash a file, whatever it holds; empty where there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def digest(text: str) -> str:
    """Hash a text."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
