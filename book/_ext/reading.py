"""What a page gives its reader beyond the text: less code, tables one can use, terms explained, links out."""

from __future__ import annotations

import json
import re
from html import escape, unescape
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref

from lintrans.paper.claims.scorecard import CLAIMS
from lintrans.publish.citing import bibtex, paper
from lintrans.publish.shown import shown
from lintrans.publish.tables import usable

AFTER_THEME = 600  # the theme adds its buttons at 501
NOT_PROSE = (nodes.title, nodes.reference, nodes.literal, nodes.math, nodes.raw, nodes.term, nodes.table, nodes.caption)


def show_less(app: Any, docname: str, source: list[str]) -> None:
    """Change an executed notebook, before it is parsed, to what its page shows."""
    if not app.env.doc2path(docname).endswith(".ipynb"):
        return
    name, root = Path(docname).name, Path(app.srcdir)
    notebook = json.loads(source[0])
    claims = {claim: str(module.SENTENCE) for claim, module in CLAIMS.items() if name == module.CHAPTER}
    source[0] = json.dumps(shown(notebook, name, claims, bibtex(root, name)))


def lead_to_pages(app: Any, doctree: Any) -> None:
    """Resolve links such as ``X.md#c1`` and ``lab.html#preset=c1`` to chapters; MyST knows those to texts only."""
    for link in list(doctree.findall(pending_xref)):
        found = re.fullmatch(r"(\w+)\.(?:md|html)(#.*)?", link["reftarget"] if link["reftype"] == "myst" else "")
        page = f"{app.env.docname.rpartition('/')[0]}/{found[1]}" if found else ""
        if found and page in app.env.found_docs:
            address = f"{app.builder.get_relative_uri(app.env.docname, page) or f'{found[1]}.html'}{found[2] or ''}"
            link.replace_self(nodes.reference("", "", *link.children, refuri=address, internal=True))


def link_out(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Put the paper among the buttons of a page, its tables in a form to use, and the way to cite below."""
    found = paper(Path(app.srcdir))
    if found and "header_buttons" in context:
        button = {"type": "link", "url": found, "text": "", "icon": "fas fa-scroll", "label": "paper-button"}
        context["header_buttons"].append(button | {"tooltip": "The paper"})
    if "body" in context and doctree is not None:
        context["body"] = usable(context["body"])


def explain_terms(app: Any, doctree: Any, docname: str) -> None:
    """Link the first place of a page where a word of the glossary stands to it, its meaning as a hint."""
    known = getattr(app.env, "glossary_hints", None)
    if known is None:
        known = app.env.glossary_hints = _hints(app.env)
    if docname == known["page"] or not known["hints"]:
        return
    left = dict(known["hints"])
    for text in list(doctree.findall(nodes.Text)):
        if left and text.parent is not None and _is_prose(text):
            _link_one(app, docname, known["page"], text, left)


def _is_prose(text: nodes.Text) -> bool:
    above, node = [], text.parent
    while node is not None:
        above.append(node)
        node = node.parent
    if any(isinstance(node, NOT_PROSE) or "gallery" in node.get("classes", ()) for node in above):
        return False
    return any(isinstance(node, nodes.paragraph) for node in above)


def _link_one(app: Any, docname: str, page: str, text: nodes.Text, left: dict[str, tuple[str, str]]) -> None:
    words = "|".join(sorted(map(re.escape, left), key=len, reverse=True))
    found = re.search(rf"(?<![\w-])({words})(s?)(?![\w-])", str(text), re.I)
    if found is None:
        return
    anchor, meaning = left.pop(found[1].lower())
    address = f"{app.builder.get_relative_uri(docname, page)}#{anchor}"
    link = nodes.reference("", found[0], refuri=address, internal=True, reftitle=meaning, classes=["explained"])
    before, after = str(text)[: found.start()], nodes.Text(str(text)[found.end() :])
    text.parent.replace(text, [nodes.Text(before), link, after])
    if left:
        _link_one(app, docname, page, after, left)


def _hints(env: Any) -> dict[str, Any]:
    """Anchor and first sentences of every word of the glossary, by the word in small letters."""
    page = next((name for name in env.found_docs if Path(name).name == "glossary"), "")
    hints: dict[str, tuple[str, str]] = {}
    if page:
        for item in env.get_doctree(page).findall(nodes.definition_list_item):
            meaning = " ".join(part.astext() for part in item.findall(nodes.definition)).replace("\n", " ")
            for term in item.findall(nodes.term):
                if term["ids"]:
                    hints[term.astext().lower()] = (term["ids"][0], meaning)
    return {"page": page, "hints": hints}


def keep_for_files(app: Any, failure: Exception | None) -> None:
    """Write the texts of all pages as a script: a browser fetches no pages where they are opened as files."""
    if failure or app.builder.format != "html":
        return
    folder = Path(app.outdir)
    pages = {name: _text(folder / f"{name}.html") for name in sorted(app.env.found_docs) if "/" in name}
    scripts = folder / "_static" / "offline"
    scripts.mkdir(parents=True, exist_ok=True)
    (scripts / "texts.js").write_text(f"window.PAGE_TEXTS = {json.dumps(pages)};\n", "utf-8")


def _text(page: Path) -> str:
    """Sections of a page with their anchors and plain text, as much HTML as the search wants of it."""
    if not page.exists():
        return ""
    found = re.search(r'<article class="bd-article">(.*?)</article>', page.read_text("utf-8"), re.S)
    html = re.sub(r"<(script|style|svg|details)\b.*?</\1>", " ", found[1] if found else "", flags=re.S)
    html = re.sub(r'<a class="headerlink".*?</a>', "", html, flags=re.S)
    parts = re.split(r'(<section id="[^"]*">|</section>)', html)
    plain = [part if part.startswith(("<section", "</section")) else _plain(part) for part in parts]
    return f'<div role="main">{"".join(plain)}</div>'


def _plain(html: str) -> str:
    return escape(re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html))))


def plain_docstring(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Bars in docstrings are absolute values, stars products and arguments: no markup of reStructuredText."""
    lines[:] = [re.sub(r"(?<![\w*`])\*(?=\w)", r"\\*", line.replace("|", r"\|")) for line in lines]


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("source-read", show_less)
    app.connect("doctree-read", lead_to_pages)
    if "sphinx.ext.autodoc" in app.extensions:
        app.connect("autodoc-process-docstring", plain_docstring)
    app.connect("doctree-resolved", explain_terms)
    app.connect("html-page-context", link_out, priority=AFTER_THEME)
    app.connect("build-finished", keep_for_files, priority=AFTER_THEME)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
