"""What pages show of chapters, without building any: folded cells, tables, ways to cite, one file to print."""

from __future__ import annotations

import doctest
import json
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

import lintrans as lt
from lintrans.paper.claims.scorecard import CLAIMS
from lintrans.paper.figures import narrow
from lintrans.paper.places import PLACES
from lintrans.publish.chapters import BookError, chapters, pages
from lintrans.publish.citing import bibtex, paper
from lintrans.publish.notebooks import state
from lintrans.publish.printing import joined, site
from lintrans.publish.shown import DATA, NARROW, shown
from lintrans.publish.starting import start
from lintrans.publish.tables import usable


def code(source: str, *tags: str, text: str = "") -> dict[str, Any]:
    outputs = [{"output_type": "display_data", "data": {"text/markdown": [text]}, "metadata": {}}] if text else []
    return {"cell_type": "code", "metadata": {"tags": list(tags)}, "source": [source], "outputs": outputs}


MADE = (
    "**How this page was made**\n\n- scale: quick; seeds: 3; device: cpu\n- lintrans 0.1.0\n"
    "- 2026-01-02 03:04 UTC; 5 seconds\n- one (`a`): computed\n- two (`b`): reused"
)
CELLS = [
    {"cell_type": "markdown", "metadata": {}, "source": ["(label)=\n# Title\n", "\nText"]},
    code('scale: str = "paper"  # which | scale\nsteps: int = 0  # how many', "parameters"),
    code('# Parameters\nscale = "quick"', "injected-parameters"),
    code("figures.one()", "hide-input"),
    code("a = 1\n\nb = 2", "hide-input"),
    code("a = compute()", "remove-stdout"),
    code("a = 1\nb = 2", "remove-stderr"),
    code("shown = 'on purpose'"),
    code("x = 1\ny = 2", "remove-input"),
    code("seeds = 3\nlt.book.provenance(f'{seeds} seeds')", "remove-input", text=MADE),
]


def page() -> list[dict[str, Any]]:
    notebook = {"cells": json.loads(json.dumps(CELLS))}
    cells = shown(notebook, "depth", {"C9": "It grows."}, "@software{x}")["cells"]
    assert notebook["cells"] == CELLS, "the notebook itself is left alone"
    assert len(cells) == len(CELLS), "or complaints would name the wrong cell"
    return list(cells)


def test_lines_alone_have_no_bar_and_what_computes_is_folded() -> None:
    tags = [cell["metadata"].get("tags", []) for cell in page()]
    kinds = [{"hide-input", "remove-input"} & set(each) for each in tags[3:9]]
    assert kinds == [{"remove-input"}, {"hide-input"}, {"remove-input"}, {"hide-input"}, set(), {"hide-input"}]
    assert ["no-bar" in each for each in tags[3:9]] == [False, False, False, False, False, True]


def test_parameters_and_provenance_become_folded_text() -> None:
    cells = page()
    parameters, made = cells[1]["source"], cells[-1]["source"]
    assert "{dropdown} Parameters of this page" in parameters
    assert r"| `steps` | `0` | how many |" in parameters
    assert r"which \| scale" in parameters
    assert "papermill book/depth.ipynb out.ipynb --cwd book -p scale quick -p steps 12" in parameters
    outside, folded, sources, cited = re.split(r":{3,}\{dropdown\}", made)
    assert outside.count("\n- ") == 3
    assert folded.count("\n- ") == 2
    for cell in CELLS[1:-1]:
        assert (cell["source"][0] in sources) == ("injected-parameters" not in cell["metadata"]["tags"])
    assert "@software{x}" in cited


def test_a_narrow_copy_of_a_figure_is_for_phones_alone() -> None:
    figure = {"image/svg+xml": "<svg/>", NARROW: "<svg/>", DATA: "x,y"}
    cell = code("figures.one()") | {"outputs": [{"output_type": "display_data", "data": figure, "metadata": {}}]}
    [seen] = shown({"cells": [cell]}, "depth", {}, "")["cells"]
    assert list(seen["outputs"][0]["data"]) == ["image/svg+xml"]
    assert narrow.KIND == NARROW


def test_facts_stand_under_the_title_of_an_executed_page_only() -> None:
    text = page()[0]["source"]
    assert re.search(r"# Title\n\n:::\{div\} page-facts\n.*<c9>.*quick.*2026-01-02\n:::\n+Text", text, re.S)
    plain = shown({"cells": CELLS[:1]}, "depth", {}, "")["cells"]
    assert plain == CELLS[:1]


HTML = (
    '<h2><span class="section-number">2.1. </span>Ends &amp; means<a class="headerlink" href="#x">#</a></h2>'
    '<div class="pst-scrollable-table-container"><table class="table"><thead><tr>'
    '<th class="head text-left"><p>case</p></th><th class="head"><p>size</p></th><th class="head"><p>state</p></th>'
    "</tr></thead><tbody><tr><td><p>one</p></td>"
    '<td><p><span class="math notranslate nohighlight">\\(a &lt; b\\)</span></p></td>'
    "<td><p>holds</p></td></tr></tbody></table></div>"
)


def test_tables_have_captions_scopes_tex_and_the_state_in_sight() -> None:
    html = usable(HTML)
    assert '<caption class="visually-hidden">Table 1: Ends &amp; means</caption>' in html
    assert html.count('<th scope="col"') == 3
    assert 'data-tex="a &lt; b"' in html
    assert "<p>" not in html
    heads = [re.sub("<.*?>", "", cell) for cell in re.findall(r"<t[hd]\b.*?</t[hd]>", html)]
    assert heads[:5] == ["case", "state", "size", "one", "holds"]


def test_the_book_can_be_cited_and_the_paper_found() -> None:
    text = bibtex(ROOT, "depth")
    assert f"version = {{{lt.__version__}}}" in text
    assert "page depth" in text
    assert paper(ROOT) == "https://arxiv.org/abs/2310.01082"
    assert bibtex(ROOT / "book") == paper(ROOT / "book") == ""


def test_links_between_pages_lead_within_the_printed_file(tmp_path: Path) -> None:
    (tmp_path / "book").mkdir()
    for name in ("one", "two"):
        link = (
            '<a href="two.html#x">a</a><a href="#x">b</a><a href="two.html">c</a><a href="http://e.org/two.html">d</a>'
        )
        text = f'<title>T</title><article class="bd-article"><h1 id="x">{name}</h1>{link}</article>'
        (tmp_path / "book" / f"{name}.html").write_text(text)
    html = joined(tmp_path, ["book/one", "book/two"])
    assert re.findall(r'href="(.*?)"', html)[:4] == ["#two--x", "#one--x", "#two--top", "http://e.org/two.html"]
    anchors = re.findall(r'id="(.*?)"', html)
    assert len(anchors) == len(set(anchors))
    assert {"two--x", "one--x", "two--top"} <= set(anchors)


def test_printing_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(BookError, match="lintrans build --scale quick"):
        site(tmp_path, "quick")


def test_a_new_chapter_is_in_step_and_in_the_contents(tmp_path: Path) -> None:
    (tmp_path / "book").mkdir()
    for name in ("_toc.yml", "pyproject.toml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    text = start(tmp_path, "two_rates", "Two rates")
    known = {chapter.name: chapter for chapter in chapters(tmp_path)}
    assert known["two_rates"].title == "Two rates"
    assert set(known["two_rates"].parameters()) == {"scale", "seeds", "device"}
    assert state(known["two_rates"]).settled
    assert set(pages(tmp_path)) - set(pages(ROOT)) == {"book/two_rates"}
    assert "TITLE" not in text.read_text()
    assert "LABEL" not in text.read_text()
    before = (tmp_path / "_toc.yml").read_text()
    for name in ("two_rates", "Two", "a-b", "_a", ""):
        with pytest.raises(BookError, match="give"):
            start(tmp_path, name)
    assert (tmp_path / "_toc.yml").read_text() == before


def test_the_reference_has_every_public_name() -> None:
    text = (ROOT / "book" / "api.md").read_text()
    named = re.findall(r"\.\. auto(?:class|function|module):: (?:lintrans\.)?(\w+)", text)
    assert sorted(named) == sorted(name for name in lt.__all__ if name != "__version__")
    public = {name for name, thing in vars(lt).items() if getattr(thing, "__module__", "").startswith("lintrans")}
    assert {name for name in public if not name.startswith("_")} <= set(lt.__all__)


def test_examples_in_docstrings_give_what_they_say() -> None:
    modules = {
        sys.modules[getattr(lt, name).__module__] for name in lt.__all__ if hasattr(getattr(lt, name), "__module__")
    }
    results = [doctest.testmod(module) for module in modules | {import_module("lintrans.models.flatten")}]
    assert sum(result.attempted for result in results) >= 20
    assert sum(result.failed for result in results) == 0


def test_the_map_of_the_paper_knows_every_claim_and_figure() -> None:
    assert sorted({claim for place in PLACES for claim in place.claims}) == sorted(
        name for name in CLAIMS if name.startswith("C")
    ), "the paper's own"
    texts = "\n".join(chapter.text.read_text() for chapter in chapters(ROOT))
    labels = {label for place in PLACES for label in place.labels()}
    assert {label for label in labels if not re.search(rf"^ +name: {label}$", texts, re.M)} == set()


def test_chapters_name_the_section_that_a_figure_of_the_paper_stands_in() -> None:
    sections = {place.name: place.section for place in PLACES}
    said = [
        (chapter.name, found[1], number)
        for chapter in chapters(ROOT)
        for found in re.finditer(r"section (\d[\d.]*) and figures? (\d+)(?: to (\d+))?", chapter.text.read_text())
        for number in range(int(found[2]), int(found[3] or found[2]) + 1)
    ]
    assert len(said) >= 10
    assert [each for each in said if sections[f"Figure {each[2]}"] != each[1]] == []


def figures_seen(section: str) -> int:
    """Places of figures in a part of a chapter: tabs are one, what is folded is none."""
    count, tab_before, end = 0, False, 0
    for cell in re.finditer(r"^```\{code-cell\}.*?^```$", section, re.M | re.S):
        tab = "tab-" in cell[0] and not section[end : cell.start()].strip()
        drawn = "\n  figure:\n" in cell[0] and "hide-output" not in cell[0]
        count += drawn and not (tab and tab_before)
        tab_before, end = drawn and "tab-" in cell[0], cell.end()
    return count


def test_a_result_has_at_most_three_figures() -> None:
    cell = "```{code-cell} ipython3\n---\nmystnb:\n  figure:\n    name: a\ntags: [%s]\n---\na()\n```\n"
    assert figures_seen(cell % "hide-input" * 2) == 2
    assert figures_seen(cell % "tab-a" + "\n" + cell % "tab-b" + cell % "hide-output") == 1
    assert figures_seen(cell % "tab-a" + "\nwords\n\n" + cell % "tab-b") == 2
    results = {
        chapter.name: figures_seen(found[1])
        for chapter in chapters(ROOT)
        if (found := re.search(r"^## Result\n(.*?)^## ", chapter.text.read_text(), re.M | re.S))
    }
    assert len(results) >= 20
    assert {name: count for name, count in results.items() if count > 3} == {}


def test_symbols_and_words_are_said_once() -> None:
    terms = re.findall(r"^(\S.*)\n  \S", (ROOT / "book" / "glossary.md").read_text().split("{glossary}")[1], re.M)
    assert len(terms) == len({term.lower() for term in terms}) > 30
