"""Parameters of chapters: what cannot be computed is refused in one line, before anything runs."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest

from lintrans.publish import page
from lintrans.publish.chapter_parameters import AMOUNTS, ParameterError, check, convert
from lintrans.publish.chapters import chapters, find_root
from lintrans.store import results

BOOK = find_root(Path(__file__))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("layers", "0"), ("heads", "0"), ("d", "-1"), ("n", "0"), ("seeds", "-1"), ("seeds", "99999999999"),
        ("steps", "1"), ("steps", "-5"), ("steps", "99999999999"), ("samples", "1"), ("samples", "-1"), ("batch", "-1"),
        ("layers", "1e400"), ("steps", "nan"), ("seeds", "2.5"), ("seeds", "True"), ("n", "[1]"), ("d", "9" * 5000),
    ],
)  # fmt: skip
def test_amounts_that_no_chapter_can_do(name: str, text: str) -> None:
    with pytest.raises(ParameterError, match=rf"^{name} = ") as caught:
        convert(name, text, "int")
    assert len(str(caught.value)) < 300


def test_amounts_of_every_chapter_are_bounded() -> None:
    for chapter in chapters(BOOK):
        for name, item in chapter.parameters().items():
            if item.kind == "int":
                assert check(name, item.default, "int") == item.default
                least, most, or_zero = AMOUNTS[name]
                assert check(name, least, "int") == least
                for wrong in [most + 1, *([] if or_zero else [0])]:
                    with pytest.raises(ParameterError):
                        check(name, wrong, "int")


@pytest.mark.parametrize("text", ["meta", "cpu:x", "tpu", "", "cuda:-1", "a" * 1000])
def test_devices_that_hold_no_numbers(text: str) -> None:
    with pytest.raises(ParameterError, match=r"^device = "):
        convert("device", text, "str")


def test_provenance_shows_a_record_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    evil = "<script>alert(1)</script>"
    use = results.Use(f"title {evil}", "0" * 16, True, f"cpu {evil}", datetime.datetime.now(datetime.UTC), 1.0)
    monkeypatch.setattr(results, "_USED", [use])
    monkeypatch.setattr(page, "_page", page.Page({"scale": "quick", "device": "auto", "note": evil}, ("note",)))
    text = page.provenance_text()
    assert text.count("&lt;script&gt;") == 4
    assert "<" not in text


def test_a_table_has_no_tags_and_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    import pandas as pd

    frame: Any = pd.DataFrame({"a": ["<img src=x>", "x<br>y"], "b": [float("nan"), 1.5], "c": [1, 2]})
    page.table(frame)
    shown = capsys.readouterr().out
    assert "< img" in shown
    assert "<br>" in shown
    assert "nan" not in shown
    assert "1.5" in shown
    assert "| 1 " in shown
