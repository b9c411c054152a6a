"""Verdicts on disk: one file per scale, claim and reading, beside the experiments they come from.

A verdict of one scale never overwrites that of another. When a claim's rule changes, the last verdict under the old
rule stays beside the new one.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from ...files import write
from ...progress import say_once
from ...statistics import Interval
from ...store.store import Store
from ..scale_names import SCALE_NAMES
from .rules import EDITION, NO_INTERVAL, THRESHOLDS, Keys, Ruling, State, Unit, word_of

PACKAGED = Path(__file__).parent / "kept"
"""Verdicts that are part of the package: those of the first edition, and the last comparison on other seeds."""
DERIVED = ("C17",)
"""Claims judged from the kept verdicts of others."""
COLUMNS = (
    "claim", "reading", "scale", "case", "statistic", "estimate", "low", "high", "state", "verdict", "chapter", "n",
    "bound", "kind", "decides", "robust", "flags", "deviations", "edition",
)  # fmt: skip


def claim_order(claim: str) -> tuple[str, int]:
    """What claims are sorted by: C1, C2, ..., C10, ..., F1, ..., P1, ..."""
    return claim[0], int(claim[1:])


ACTING = re.compile(r"<[A-Za-z/!?]|[`\n]")
"""What no verdict holds, and what would do something on a page: tags, roles, directives."""


@dataclass(frozen=True)
class Verdict:
    """A judged claim.

    Attributes:
        claim, reading, scale, chapter: what was judged, how, at which scale, and the page that shows it.
        units: the cases, those that decide and those beside.
        ruling: the verdict.
        deviations: where the scale falls short of the rules' own numbers, in words.
        rules: digest of the code that judged.
        checks: other ways to judge ("other conventions", "matched loss", "other batches", ...), and whether the cases
            that decide say the same then.
    """

    claim: str
    reading: str
    scale: str
    chapter: str
    units: tuple[Unit, ...]
    ruling: Ruling
    deviations: tuple[str, ...] = ()
    rules: str = ""
    checks: Mapping[str, bool] = field(default_factory=dict)
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    @property
    def robust(self) -> bool | None:
        """Whether every check holds; None where there is none, or no case says anything."""
        said = any(unit.decides and unit.state not in (State.UNDECIDED, State.MISSING) for unit in self.units)
        return all(self.checks.values()) if self.checks and said else None

    @property
    def flags(self) -> tuple[str, ...]:
        """What a reader has to know beside the verdict: failing checks, cases lost to Holm, flags of cases."""
        failing = [name for name, holds in self.checks.items() if not holds]
        own = [f"not robust: {', '.join(failing)}"] if failing else []
        if cases_left := self.ruling.uncorrected:
            words = f"YES or WEAK, but not after Holm's correction for {self.ruling.tests} cases"
            own.append(f"{words}: {'; '.join(cases_left)}")
        cases: dict[str, list[str]] = {}
        for unit in self.units:
            for text in unit.flags if unit.decides else ():
                cases.setdefault(text, []).append(unit.case)
        return (*own, *(f"{text}: {'; '.join(found)}" for text, found in cases.items()))

    def rows(self) -> list[dict[str, Any]]:
        """A row per case, then case "all", which carries the verdict; numbers finite or None."""
        common = {"claim": self.claim, "reading": self.reading, "scale": self.scale}
        last = {"chapter": self.chapter, "deviations": list(self.deviations), "edition": EDITION}
        rows: list[dict[str, Any]] = []
        for unit in self.units:
            interval = unit.interval or NO_INTERVAL
            own = {
                "case": unit.case, "statistic": unit.statistic, "state": str(unit.state), "n": interval.n,
                "bound": interval.bound, "kind": interval.kind, "decides": unit.decides, "flags": list(unit.flags),
                **{name: finite(getattr(interval, name)) for name in ("estimate", "low", "high")},
            }  # fmt: skip
            rows.append({**dict.fromkeys(COLUMNS), **common, **last, **own})
        statistic = next((unit.statistic for unit in self.units if unit.decides), None)
        whole = {
            "case": "all", "statistic": statistic, "verdict": str(self.ruling), "robust": self.robust,
            "flags": list(self.flags),
        }  # fmt: skip
        return [*rows, {**dict.fromkeys(COLUMNS), **common, **last, **whole}]

    def table(self, decides: bool = False) -> pd.DataFrame:
        """The cases for a page; with `decides`, only those that decide."""
        return pd.DataFrame(
            [
                {
                    "case": unit.case,
                    "statistic": unit.statistic,
                    "estimate [95% interval]": interval_text(unit.interval),
                    "seeds": unit.interval.n if unit.interval else 0,
                    "state": str(unit.state) if unit.decides else f"({unit.state})",
                }
                for unit in self.units
                if unit.decides or not decides
            ]
        )

    def markdown(self, deviations: bool = True) -> str:
        """The verdict and what qualifies it, as a quotation in Markdown.

        A page with several verdicts leaves the deviations to :func:`shortfalls`.
        """
        lines = [f"**{self.claim}, {self.reading} reading, scale *{self.scale}*: {self.ruling}.**"]
        if self.robust:
            lines[0] += f" Robust: the same under {', '.join(self.checks)}."
        lines += [text for flag in self.flags for text in ("", f"*{flag[:1].upper()}{flag[1:]}.*")]
        if deviations and self.deviations:
            lines += ["", "This scale falls short of the rules of judgement:", ""]
            lines += [f"- {text}" for text in self.deviations]
        return "\n".join(f"> {line}".rstrip() for line in lines)


def shortfalls(*verdicts: Verdict) -> str:
    """The deviations of a page's verdicts as a list in Markdown, each once, with the claims it concerns.

    Empty where the scale does what the rules ask for.
    """
    claims: dict[str, list[str]] = {}
    for verdict in verdicts:
        for text in verdict.deviations:
            claims.setdefault(text, []).append(verdict.claim)
    lines = [f"- {text} ({', '.join(dict.fromkeys(own))});" for text, own in claims.items()]
    if not lines:
        return ""
    return "\n".join(["Where this scale falls short of the rules of judgement:", "", *lines]).removesuffix(";") + "."


def finite(value: float) -> float | None:
    """A finite number, or None."""
    return float(value) if math.isfinite(value) else None


def number_text(value: float) -> str:
    """Three digits, or up to five where fewer would round a number onto a threshold of the rules."""
    texts = [f"{value:.{count}g}" for count in (range(3, 6) if math.isfinite(value) else (3,))]
    return next((text for text in texts if float(text) == value or float(text) not in THRESHOLDS), texts[0])


def interval_text(interval: Interval | None) -> str:
    """``"3.21 [2.80, 3.67]"``."""
    if interval is None or math.isnan(interval.estimate):
        return "not measured"
    sign = {">=": "≥ ", "<=": "≤ ", "?": "about "}.get(interval.bound, "")
    if math.isnan(interval.low):
        return f"{sign}{interval.estimate:.3g} [no interval from one seed]"
    return f"{sign}{number_text(interval.estimate)} [{number_text(interval.low)}, {number_text(interval.high)}]"


def _folder(store: Store | None) -> Path:
    return (store or Store()).path / "verdicts"


def _read(path: Path) -> dict[str, Any] | None:
    """A file of verdicts; None where there is none, and with a word where it is not what was written."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        noted = content.pop("sum", None)
        if noted is not None and noted != _sum(content):
            raise ValueError("it was changed")
        _check(content["now"], path)
        if content.setdefault("before", None) is not None:
            _check(content["before"], path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        say_once(f"{path} is damaged and left out: execute its chapter again (lintrans execute)")
        return None
    return dict(content)


def _sum(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _check(kept: Mapping[str, Any], path: Path) -> None:
    """Ask of the verdict in a file what its readers rely on; any exception where it is not so."""
    *cases, whole = kept["rows"]
    place = path.parent.name, path.stem
    wrong = [row for row in kept["rows"] if (row["scale"], f"{row['claim']}-{row['reading']}") != place]
    texts = [kept["rules"], kept["created"], whole["verdict"], *kept["deviations"], *(row["case"] for row in cases)]
    texts += [text for row in kept["rows"] for text in row.get("flags") or ()]
    if any(map(ACTING.search, _strings(kept))):
        raise ValueError("its words are markup")
    numbers = [row[name] for row in cases for name in ("estimate", "low", "high") if row[name] is not None]
    marks, keys = (kept.get(name) or [None] * len(cases) for name in ("decides", "keys"))
    for row in cases:
        State(row["state"]), int(row.get("n") or 0)
    if wrong or len(marks) != len(cases) or len(keys) != len(cases) or len(keys_of(kept)) != len(cases):
        raise ValueError("it is that of another verdict")
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("what is no text stands where one belongs")
    if not all(isinstance(number, int | float) and math.isfinite(number) for number in numbers):
        raise ValueError("what is no number stands where one belongs")
    word_of(whole["verdict"])


def _strings(value: Any) -> Iterator[str]:
    """All texts in what JSON holds, those of its keys left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _strings(each)


def packaged(path: Path) -> dict[str, Any] | None:
    """The content of one of the package's own files; None where it is not there."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return content


def record(verdict: Verdict, store: Store | None = None) -> None:
    """Keep a verdict; the last one under other rules stays beside it. A line says so where it cannot be kept."""
    path = _folder(store) / verdict.scale / f"{verdict.claim}-{verdict.reading}.json"
    now = {
        "rules": verdict.rules,
        "created": verdict.created,
        "deviations": list(verdict.deviations),
        "decides": [unit.decides for unit in verdict.units],
        "keys": [unit.keys._asdict() for unit in verdict.units],
        "rows": verdict.rows(),
    }
    old = _read(path)
    before = None
    if old is not None:
        before = old["now"] if old["now"]["rules"] != verdict.rules else old.get("before")
    try:
        content = {"now": now, "before": before}
        write(path, json.dumps({**content, "sum": _sum(content)}, indent=1, allow_nan=False))
    except OSError as error:
        print(f"verdict on {verdict.claim}: not kept ({error.strerror or error}: {path})", flush=True)


def _records(scale: str | None, store: Store | None) -> list[dict[str, Any]]:
    paths: Iterable[Path] = sorted(_folder(store).glob(f"{scale or '*'}/*.json"))
    return [content for path in paths if (content := _read(path)) is not None]


def verdict_frame(scale: str | None = None, store: Store | None = None) -> pd.DataFrame:
    """All kept verdicts: a row per claim, reading, scale and case; None where there is no number."""
    rows = [row for content in _records(scale, store) for row in content["now"]["rows"]]
    return _frame(rows)


def earlier_verdicts(scale: str | None = None, store: Store | None = None) -> pd.DataFrame:
    """Verdicts under earlier rules, in the same form."""
    rows = [row for content in _records(scale, store) if content["before"] for row in content["before"]["rows"]]
    return _frame(rows)


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype(object)
    return frame.where(frame.notna(), None)


def verdict_records(scale: str, store: Store | None = None) -> dict[tuple[str, str], dict[str, Any]]:
    """What is kept of a scale's verdicts by claim and reading: rules (digest), created, deviations, rows."""
    kept = [content["now"] for content in _records(scale, store)]
    return {(now["rows"][0]["claim"], now["rows"][0]["reading"]): now for now in kept if now["rows"]}


def keys_of(record: Mapping[str, Any]) -> list[Keys]:
    """What each case of a kept verdict is about; nothing where an older record does not say."""
    kept = record.get("keys") or [{}] * (len(record["rows"]) - 1)
    return [Keys(**{**keys, "problems": tuple(keys.get("problems", ()))}) for keys in kept]


def verdicts_digest(store: Store | None = None) -> str:
    """A text that changes with any kept verdict, but not with the time it was computed, nor with what follows of it.

    Verdicts on other seeds are on no page, and the package's own files of earlier verdicts are.
    """
    kept: list[Any] = [path.read_text(encoding="utf-8") for path in sorted(PACKAGED.glob("*.json"))]
    kept += [
        (content["now"]["rules"], content["now"]["rows"], content["before"])
        for scale in SCALE_NAMES
        for content in _records(scale, store)
        if not {row["claim"] for row in content["now"]["rows"]} & set(DERIVED)
    ]
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]
