"""Damaged files of a checkout and of the store: one line that names the file, and the other chapters go on."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lintrans.paper.claims import records
from lintrans.paper.claims.rules import Ruling, Word
from lintrans.publish import book, chapters, cli, doctor
from lintrans.publish.executing import Outcome
from lintrans.store.store import Store

DAMAGE: tuple[bytes, ...] = (
    b"", b"\0" * 20, b"\xff\xfe\x80", b"{", b"[]", b"{}", b"5", b"null", b'"text"', b"[" * 100_000, b"\x89PNG\r\n",
    b"1" * 5000, b'{"cells": 5}', b'{"cells": [5]}', b'{"cells": [{}]}', b'{"digests": [], "copy": 1, "executed": {}}',
    b'{"digests": {"library": 5}, "copy": "", "executed": ""}', b"a: [b", b"&a [*a]", b"root: [1]", b"root: book/no",
    b"chapters: 7", b"execute: 3",
)  # fmt: skip
FILES = (
    "_toc.yml", "requirements.lock", "book/first.md", "book/first.ipynb", "build/pairs.json",
    "build/quick/digests/first.json", "build/quick/src/book/first.ipynb",
)  # fmt: skip


def executed_at_once(chapter: Any, target: Path, *_: Any) -> Outcome:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("{}")
    return Outcome(chapter, target)


@pytest.fixture
def here(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tiny)
    monkeypatch.setattr(chapters, "execute_one", executed_at_once)
    return tiny


def odd_values(content: Any) -> Iterator[Any]:
    """A JSON value with one of its parts replaced by another kind, or gone; each part once."""
    if isinstance(content, dict):
        for name, part in content.items():
            yield {key: value for key, value in content.items() if key != name}
            for odd in odd_values(part):
                yield content | {name: odd}
    elif isinstance(content, list) and content:
        yield []
        for odd in odd_values(content[0]):
            yield [odd, *content[1:]]
    yield from (value for value in (None, -1, "x", [5], {"a": 1}, math.inf, True) if value != content)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [DAMAGE[4:7], pytest.param(DAMAGE, marks=pytest.mark.slow)], ids=["few", "all"])
def test_damaged_files_of_a_checkout(here: Path, name: str, damage: tuple[bytes, ...]) -> None:
    path = here / name
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.read_bytes() if path.exists() else None
    for content in damage:
        for command in (["execute", "--scale", "quick", "-j", "1"], ["chapters"], ["pairs", "--check"]):
            path.write_bytes(content)
            done = CliRunner().invoke(cli.main, command)
            assert done.exception is None or isinstance(done.exception, SystemExit), (command, content[:40])
            assert done.exit_code in (0, 1, 2)
            if before is not None:
                path.write_bytes(before)


@pytest.mark.slow
def test_a_folder_where_a_file_belongs(here: Path) -> None:
    for name in FILES:
        path = here / name
        before = path.read_bytes() if path.exists() else None
        path.unlink(missing_ok=True)
        path.mkdir(parents=True)
        for command in (["execute", "--scale", "quick", "-j", "1"], ["chapters"], ["pairs", "--check"]):
            done = CliRunner().invoke(cli.main, command)
            assert done.exception is None or isinstance(done.exception, SystemExit), (command, name)
        path.rmdir()
        if before is not None:
            path.write_bytes(before)


def kept(tmp_path: Path) -> tuple[Store, Path]:
    store = Store(tmp_path)
    verdict = records.Verdict("C1", "tuned", "quick", "adam_vs_sgd", (), Ruling(Word.REPRODUCED))
    records.record(verdict, store)
    return store, tmp_path / "verdicts" / "quick" / "C1-tuned.json"


def test_a_verdict_that_was_kept_is_read(tmp_path: Path) -> None:
    store, path = kept(tmp_path)
    assert list(records.verdict_records("quick", store)) == [("C1", "tuned")]
    content = json.loads(path.read_text())
    del content["sum"]  # as before there were sums
    path.write_text(json.dumps(content))
    assert list(records.verdict_records("quick", store)) == [("C1", "tuned")]


@pytest.mark.parametrize("evil", ["<script>x</script>", "{raw:html}`x`", "a\n\n:::{raw} html"])
@pytest.mark.parametrize("name", ["case", "statistic", "flags", "chapter", "deviations"])
def test_a_verdict_from_elsewhere_does_nothing_to_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evil: str, name: str
) -> None:
    monkeypatch.setattr(records, "say_once", lambda _: None)
    store, path = kept(tmp_path)
    content = json.loads(path.read_text())
    now = content["now"]
    row = now if name == "deviations" else now["rows"][0]
    row[name] = [evil] if isinstance(row[name], list) else evil
    del content["sum"]
    path.write_text(json.dumps(content))
    assert records.verdict_records("quick", store) == {}


def test_damaged_verdicts_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(records, "say_once", said.append)
    store, path = kept(tmp_path)
    content = json.loads(path.read_text())
    damaged = [each for each in DAMAGE if each]
    damaged += [
        json.dumps({**odd, "sum": content["sum"]}).encode() for odd in odd_values(content) if isinstance(odd, dict)
    ]
    for each in damaged:
        path.write_bytes(each)
        if json_of(each) == content:
            continue
        assert records.verdict_records("quick", store) == {}, each[:200]
        assert len(records.verdict_frame("quick", store)) == 0
        assert records.verdicts_digest(store)
    assert len(said) > 100
    assert all("is damaged and left out" in line for line in said)


def json_of(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def test_a_verdict_of_another_place_is_left_out(tmp_path: Path) -> None:
    store, path = kept(tmp_path)
    path.rename(path.with_name("C2-tuned.json"))
    assert records.verdict_records("quick", store) == {}


def test_a_jupyter_book_of_other_settings(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", lambda package: "2.1.0")
    assert "jupyter-book<2" in dict(doctor.findings())["book tools"]
    with pytest.raises(book.BookError, match=r"jupyter-book 2.1.0 .* pip install 'jupyter-book<2'"):
        book.build(tiny, "quick")
    assert not (tiny / "build").exists()


def test_a_folder_that_may_not_be_written_is_one_line(here: Path) -> None:
    (here / "build").write_text("")
    done = CliRunner().invoke(cli.main, ["execute", "first", "--scale", "quick"])
    assert done.exit_code == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "build" in done.stderr
