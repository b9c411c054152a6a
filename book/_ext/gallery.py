"""All figures on one page, and the paper's figures beside them; each with its chapter, its data, a copy for phones."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from lintrans.paper.places import PLACES, Place
from lintrans.publish.shown import DATA, NARROW

PICTURE = re.compile(r'(?P<before><figure\b[^>]* id="(?P<label>[^"]+)"[^>]*>\s*)(?P<image><img\b[^>]*>)')


class gallery(nodes.General, nodes.Element):
    """Where all figures go, once every page is read."""


class paper_map(nodes.General, nodes.Element):
    """Where the table of the paper's figures goes."""


class Gallery(SphinxDirective):
    """``{gallery}``: all figures of the book."""

    def run(self) -> list[nodes.Node]:
        return [gallery()]


class PaperMap(SphinxDirective):
    """``{paper-map}``: the paper's figures and tables, and where this book has them."""

    def run(self) -> list[nodes.Node]:
        return [paper_map()]


def figures(app: Any) -> dict[str, tuple[str, nodes.figure]]:
    """Page and figure by the figure's label, in the order of reading."""
    found = {}
    for name in [name for name in _order(app.env) if name in app.env.found_docs]:
        for figure in app.env.get_doctree(name).findall(nodes.figure):
            if figure["ids"] and next(figure.findall(nodes.image), None) is not None:
                found[figure["ids"][0]] = (name, figure)
    return found


def _order(env: Any) -> list[str]:
    """Pages in the order of the contents."""
    seen, left = [], [env.config.root_doc]
    while left:
        name = left.pop(0)
        if name not in seen:
            seen.append(name)
            left = [*env.toctree_includes.get(name, []), *left]
    return seen


def fill(app: Any, doctree: Any, docname: str) -> None:
    """Put cards and table in place."""
    if not any(list(doctree.findall(kind)) for kind in (gallery, paper_map)):
        return
    known = figures(app)
    for place in list(doctree.findall(gallery)):
        cards = [_card(app, docname, label, known) for label in known]
        place.replace_self([nodes.container("", *cards, classes=["gallery"])] if cards else [])
    for place in list(doctree.findall(paper_map)):
        place.replace_self([_table(app, docname, known)])


def _address(app: Any, docname: str, page: str, label: str) -> str:
    return f"{app.builder.get_relative_uri(docname, page)}#{label}"


def _title(app: Any, page: str, label: str, figure: nodes.figure) -> str:
    number = app.env.toc_fignumbers.get(page, {}).get("figure", {}).get(label, ())
    return "Fig. " + ".".join(map(str, number)) if number else "Figure"


def _card(app: Any, docname: str, label: str, known: dict[str, tuple[str, nodes.figure]]) -> nodes.container:
    """A figure in small, its number with a link to it, the first sentence of its caption, its data."""
    page, figure = known[label]
    image = next(figure.findall(nodes.image)).deepcopy()
    address = _address(app, docname, page, label)
    caption = next((each.astext() for each in figure.findall(nodes.caption)), "")
    for other, (where, its) in known.items():  # references are not resolved yet
        caption = re.sub(rf"\b{other}(?![\w-])", _title(app, where, other, its), caption)
    title = f"{_title(app, page, label, figure)}, {app.env.titles[page].astext()}"
    text = nodes.paragraph("", "", nodes.reference("", title, refuri=address, internal=True))
    if short := caption.partition(". ")[0].rstrip("."):
        text += nodes.Text(f". {short}.")
    if (_data(app, page) / f"{label}.csv").exists():
        to_data = f"{app.builder.get_relative_uri(docname, page).rpartition('/')[0] or '.'}/../_static/data/{label}.csv"
        text += [nodes.Text(" "), nodes.reference("", "data (CSV)", refuri=to_data, internal=True)]
    link = nodes.reference("", "", image, refuri=address, internal=True)
    return nodes.container("", nodes.paragraph("", "", link), text)


def _data(app: Any, page: str) -> Path:
    return Path(app.outdir) / "_static" / "data"


def bring_data(app: Any) -> None:
    """Write what figures carry in their chapters, numbers and narrow copies, by label, before pages are made."""
    if app.builder.format != "html":
        return
    for notebook in sorted((Path(app.srcdir) / "book").glob("*.ipynb")):
        for cell in json.loads(notebook.read_text("utf-8"))["cells"]:
            label = cell["metadata"].get("mystnb", {}).get("figure", {}).get("name", "")
            for kind, ending in ((DATA, "csv"), (NARROW, "svg")):
                found = [out["data"][kind] for out in cell.get("outputs", []) if kind in out.get("data", {})]
                content = "".join(found[-1]) if label and found else ""
                if content.count("\n") > 1:  # a figure that says why it is empty has only a head of columns
                    folder = _data(app, notebook.stem)
                    folder.mkdir(parents=True, exist_ok=True)
                    (folder / f"{label}.{ending}").write_text(content, "utf-8")


def stack_on_phones(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Show a figure's narrow copy, where it has one, on a narrow screen."""

    def picture(found: re.Match[str]) -> str:
        narrow = _data(app, pagename) / f"{found['label']}.svg"
        if not narrow.exists():
            return found[0]
        address = context["pathto"](f"_static/data/{narrow.name}", 1)
        source = f'<source media="(max-width: 576px)" srcset="{address}"/>'
        return f"{found['before']}<picture>{source}{found['image']}</picture>"

    if "body" in context and doctree is not None:
        context["body"] = PICTURE.sub(picture, context["body"])


def _table(app: Any, docname: str, known: dict[str, tuple[str, nodes.figure]]) -> nodes.table:
    """A row for each figure and table of the paper: its section, what it shows, and ours with links."""
    titles = ("paper", "section", "what it shows", "here")
    head = nodes.row("", *(nodes.entry("", nodes.paragraph("", text)) for text in titles))
    rows = [nodes.row("", *(nodes.entry("", cell) for cell in _cells(app, docname, place, known))) for place in PLACES]
    columns = [nodes.colspec(colwidth=width) for width in (14, 9, 40, 37)]
    group = nodes.tgroup("", *columns, nodes.thead("", head), nodes.tbody("", *rows), cols=len(titles))
    return nodes.table("", group, classes=["table"])


def _cells(
    app: Any, docname: str, place: Place, known: dict[str, tuple[str, nodes.figure]]
) -> tuple[nodes.paragraph, ...]:
    ours = nodes.paragraph()
    for label in place.labels():
        if label in known:
            page, figure = known[label]
            title = f"{_title(app, page, label, figure)}, {app.env.titles[page].astext()}"
            link = nodes.reference("", title, refuri=_address(app, docname, page, label), internal=True)
            ours += [nodes.Text("; "), link] if len(ours) else [link]
    for page in () if len(ours) else place.pages():
        doc = f"book/{page}"
        if doc in app.env.titles:
            link = nodes.reference("", app.env.titles[doc].astext(), internal=True)
            link["refuri"] = app.builder.get_relative_uri(docname, doc)
            ours += [link]
    if not len(ours):
        ours += nodes.Text("not measured here: borrowed from other work" if place.borrowed else "none")
    return *(nodes.paragraph("", text) for text in (place.name, place.section, place.shows)), ours


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_node(gallery)
    app.add_node(paper_map)
    app.add_directive("gallery", Gallery)
    app.add_directive("paper-map", PaperMap)
    app.connect("builder-inited", bring_data)
    app.connect("doctree-resolved", fill, priority=400)
    app.connect("html-page-context", stack_on_phones)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
