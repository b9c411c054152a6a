"""Digests of sources: code counts, comments and docstrings do not."""

from __future__ import annotations

from pathlib import Path

from lintrans.sources import digest_of


def test_comments_docstrings_and_layout_change_nothing(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text('"""Text."""\nx = 1\n\ndef f():\n    """Say."""\n    return 1\n')
    before = digest_of([source])
    source.write_text(
        '"""Other text."""\n# a comment\nx  =  1\n\n\ndef f():\n    """Say more."""\n    return 1  # one\n'
    )
    assert digest_of([source]) == before
    source.write_text('"""Text."""\nx = 1\n\ndef f():\n    """Say."""\n    return 2\n')
    assert digest_of([source]) != before
