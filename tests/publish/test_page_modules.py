"""Each page module decides the numbers of one chapter: to edit it executes no other."""

from __future__ import annotations

from conftest import ROOT

from lintrans.publish import reuse
from lintrans.publish.notebooks import code_of, pairs
from lintrans.publish.reuse import library_digests
from lintrans.store.sources import code

PAGES = ROOT / "lintrans" / "paper" / "pages"


def test_a_page_module_is_in_the_closure_of_its_chapter_only() -> None:
    digests = {chapter.name: library_digests(chapter) for chapter in pairs(ROOT)}
    served = {
        path.stem: [name for name, modules in digests.items() if f"lintrans.paper.pages.{path.stem}" in modules]
        for path in PAGES.glob("*.py")
    }
    del served["__init__"]
    chapter_of = {name: next((each for each in digests if f"{name}_".startswith(f"{each}_")), "") for name in served}
    shared = {name for name, chapter in chapter_of.items() if not chapter}
    assert shared == {"common", "words", "behaviours", "template", "in_practice"}
    own = {name: [chapter] for name, chapter in chapter_of.items() if chapter}
    own["adam_vs_sgd"] += ["larger", "nonlinear"]  # which read their gaps along the run with its functions
    own["intro"] += ["summary"]  # which says the front page's sentences
    assert {name: chapters for name, chapters in served.items() if name not in shared} == own
    assert all(len(served[name]) > 1 for name in shared)


def test_the_last_chapters_are_those_that_show_the_kept_verdicts_of_others() -> None:
    """Their cells call what reads the store of verdicts."""
    readers = {"lintrans.paper.claims.scorecard", "lintrans.paper.claims.contradictions"}
    readers |= {"lintrans.paper.pages.proxy_or_not"}
    showing = {chapter.name for chapter in pairs(ROOT) if code().text(code_of(chapter)).targets & readers}
    assert showing == {*reuse.LAST}


def test_the_chapters_that_wait_for_practice_are_those_that_show_what_it_keeps() -> None:
    shown = "lintrans.paper.pages.in_practice"
    showing = {chapter.name for chapter in pairs(ROOT) if code().text(code_of(chapter)).targets & {shown}}
    assert showing == {*reuse.AFTER_PRACTICE}
