"""Downloaded notebooks: plain Markdown, whatever MyST their pages were written in."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from lintrans.errors import plain_text
from lintrans.publish.downloads import Site, plain_markdown, plain_notebook, site_of
from lintrans.publish.page import GLUE_PREFIX, untagged

SITE = Site(
    {"fig-one": "Fig. 2.1", "ex-one": "Exercise 3.2", "eq:one": "(4)"}, {"model": "1. A model"},
    {"a2020": ("Ahn et al.", "2020"), "b2021": ("Li", "2021")},
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("see {doc}`model` and {doc}`here <model>`", "see [1. A model](model.ipynb) and [here](model.ipynb)"),
        ("{numref}`fig-one` and {numref}`panel %s <fig-one>`, {eq}`eq:one`", "Fig. 2.1 and panel 2.1, (4)"),
        ("{cite:t}`a2020`, {cite}`a2020,b2021`", "Ahn et al. (2020), (Ahn et al., 2020; Li, 2021)"),
        ("{ref}`words <somewhere>` of {glue:text}`rate:.2f`", "words of 0.12"),
        ("(label)=\n## Title", "## Title"),
        ("$$\nx\n$$ (eq:one)", "$$\nx\n\\tag{4}\n$$"),
        ("```{exercise}\n:label: ex-one\nShow {eq}`eq:one`.\n```\n\nAfter", "**Exercise 3.2.**\n\nShow (4).\n\nAfter"),
        (
            "````{solution} ex-one\n:class: dropdown\nSo:\n```python\n{doc}`x`\n```\n````",
            "**Solution of Exercise 3.2.**\n\nSo:\n```python\n{doc}`x`\n```",
        ),
        ("```{admonition} The claim\nIt *holds*.\n```", "> **The claim**\n>\n> It *holds*."),
        (":::{note}\nWords.\n:::", "> **Note**\n>\n> Words."),
        ("```{math}\n:label: m\nx\n```", "$$\nx\n$$"),
        ("```python\n{doc}`model`\n```", "```python\n{doc}`model`\n```"),
        ("```{bibliography}\n```", ""),
    ],
)  # fmt: skip
def test_plain_markdown(text: str, plain: str) -> None:
    assert plain_markdown(text, SITE, {"rate": 0.125}) == plain


def test_every_chapter_is_plain() -> None:
    left = re.compile(r"(?m)^[`:]{3,}\{|(?<!`)\{[a-z:]+\}`|^\([\w:-]+\)=")
    seen = 0
    for path in sorted((Path(__file__).resolve().parents[2] / "book").glob("*.ipynb")):
        before = path.read_text("utf-8")
        after = json.loads(plain_notebook(before, SITE))
        texts = ["".join(cell["source"]) for cell in after["cells"] if cell["cell_type"] == "markdown"]
        assert not [found for text in texts for found in left.findall(text)], path.name
        code = [
            ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]
            for book in (json.loads(before), after)
        ]
        assert code[0] == code[1]
        seen += 1
    assert seen > 10


def test_computed_texts_and_captions() -> None:
    glued = {"data": {f"{GLUE_PREFIX}text/plain": "0.125"}, "metadata": {"scrapbook": {"name": "rate"}}}
    said = {"data": {"text/markdown": ["As {numref}`fig-one`, ", "{glue:text}`rate:.1%`."]}, "metadata": {}}
    figure = {"mystnb": {"figure": {"name": "fig-one", "caption": "Of {doc}`model`."}}}
    cells = [{"cell_type": "code", "id": "a", "metadata": figure, "source": "1", "outputs": [glued, said]}]
    found = json.loads(plain_notebook(json.dumps({"cells": cells}), SITE))["cells"]
    assert found[0]["outputs"][1]["data"]["text/markdown"] == "As Fig. 2.1, 12.5%."
    assert found[1]["source"] == "*Fig. 2.1.* Of [1. A model](model.ipynb)."


def test_names_are_read_off_the_pages(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<figure id="fig-x"><img/><figcaption><span class="caption-number">Fig. 1.1 </span></figcaption></figure>'
        '<a class="reference internal" href="model.html"><span class="doc std std-doc">1. A &amp; B</span></a>'
        '<a class="reference internal" href="#equation-eq-layer">(3)</a>'
        '<div class="exercise admonition" id="ex-y"><p><span class="caption-number">Exercise 1.2 </span></p></div>'
    )
    (tmp_path / "b.bib").write_text("@book{k2020,\n  author = {Kim, A and {Li}, B and Wu, C},\n  year = {2020},\n}\n")
    site = site_of(tmp_path, tmp_path / "b.bib")
    assert site.labels["fig-x"] == "Fig. 1.1"
    assert site.labels["ex-y"] == "Exercise 1.2"
    assert site.labels["eq:layer"] == "(3)"
    assert site.titles == {"model": "1. A & B"}
    assert site.works == {"k2020": ("Kim et al.", "2020")}


def test_what_a_record_says_is_text() -> None:
    evil = "<script>alert(1)</script> `x` [a](javascript:b) $c$ | {d}"
    shown = plain_text(evil)
    assert "<" not in shown
    for mark in "`[]$|":
        assert all(shown[k - 1] == "\\" for k in range(len(shown)) if shown[k] == mark)
    assert untagged("a <b>x</b> <br> $x<y$ 1 < 2") == "a < b>x< /b> <br> $x< y$ 1 < 2"


def test_figures_have_their_own_alternative_texts() -> None:
    root = Path(__file__).resolve().parents[2] / "book"
    texts: list[str] = []
    for path in sorted(root.glob("*.ipynb")):
        for cell in json.loads(path.read_text("utf-8"))["cells"]:
            if alt := cell["metadata"].get("mystnb", {}).get("image", {}).get("alt"):
                texts.append(alt)
    assert len(texts) > 20
    assert len(set(texts)) == len(texts)
