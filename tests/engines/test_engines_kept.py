"""Machine code that is loaded is executed: its folder is one user's own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from lintrans.engines.cpu import kept
from lintrans.engines.cpu.kept import Kept, Spec

owners = pytest.mark.skipif(not hasattr(os, "getuid"), reason="files have no owners here")


def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    monkeypatch.setenv(kept.VARIABLE, str(tmp_path / "kernels"))
    return Kept(Spec("lintrans.engines.cpu.kernels", "one", "label", 1, lambda: None))


@owners
def test_others_lose_the_right_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "kernels"
    folder.mkdir()
    folder.chmod(0o777)
    assert made(tmp_path, monkeypatch).place is not None
    assert folder.stat().st_mode & 0o777 == 0o755


@owners
def test_a_folder_of_another_user_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(kept, "say", said.append)
    (tmp_path / "kernels").mkdir()
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    assert made(tmp_path, monkeypatch).place is None
    assert len(said) == 1
    assert "belongs to another user" in said[0]


@owners
def test_a_planted_file_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = made(tmp_path, monkeypatch)
    assert one.place is not None
    for name in ("a.nbi", "a.1.nbc"):
        (one.place / name).write_bytes(b"code")
    one.note()
    assert one.compiled(lambda options: "loaded") == ("loaded", False)
    planted = one.place / "a.nbi"
    monkeypatch.setattr(kept, "mine", lambda path: path != planted)
    found: list[bool] = []

    def make(options: dict[str, Any]) -> str:
        found.append(planted.exists())
        return "made"

    assert one.compiled(make) == ("made", True)
    assert found == [False]
