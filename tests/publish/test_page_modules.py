"""Each page module decides the numbers of one chapter: to edit it executes no other."""

from __future__ import annotations

from conftest import ROOT

from lintrans.publish.notebooks import pairs
from lintrans.publish.reuse import library_digests

PAGES = ROOT / "lintrans" / "paper" / "pages"


def test_a_page_module_is_in_the_closure_of_its_chapter_only() -> None:
    digests = {chapter.name: library_digests(chapter) for chapter in pairs(ROOT)}
    served = {
        path.stem: [name for name, modules in digests.items() if f"lintrans.paper.pages.{path.stem}" in modules]
        for path in PAGES.glob("*.py")
    }
    del served["__init__"]
    shared = {name for name in served if name not in digests}
    assert shared == {"common", "words", "behaviours"}
    assert {name: chapters for name, chapters in served.items() if name not in shared} == {
        name: [name] for name in served.keys() - shared
    }
    assert all(len(served[name]) > 1 for name in shared)
