"""The whole book as one PDF, printed by Chromium from the built site: outline, page numbers, links inside.

All pages become one HTML file beside them, so that images and formulas are found; identifiers get their page's name in
front, so that links between pages lead within the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any

from .chapters import BookError, pages
from .doctor import browser

FOOTER = (
    '<div style="font: 8px sans-serif; width: 100%; text-align: center; color: #555">'
    '<span class="pageNumber"></span> / <span class="totalPages"></span></div>'
)
MARGIN = {"top": "16mm", "bottom": "18mm", "left": "16mm", "right": "16mm"}
WIDTH = 672  # px of the text on A4 within these margins
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
LOADED = "Promise.all([...document.images].map((each) => each.decode().catch(() => 0)))"
FIT = f"""() => {{
  document.querySelectorAll("details.library").forEach((each) => {{ each.open = true; }});
  document.querySelectorAll("article table").forEach((table) => {{
    const room = Math.min({WIDTH}, table.parentElement.clientWidth || {WIDTH}), wide = table.scrollWidth;
    if (wide > room) table.style.zoom = String(Math.max(0.4, room / wide));
  }});
  document.querySelectorAll("article mjx-container[display=true]").forEach((each) => {{
    const svg = each.querySelector("svg"), wide = svg ? svg.getBoundingClientRect().width : 0;
    if (wide > {WIDTH}) each.style.zoom = String({WIDTH} / wide);
  }});
}}"""


def pdf(root: Path, scale: str, target: Path | None = None) -> Path:
    """Print the site built at a scale; returns the file, ``build/SCALE/book.pdf`` unless named.

    Raises:
        BookError: there is no built site, no Chromium, or no Playwright to drive it.
    """
    html = site(root, scale)
    target = target or root / "build" / scale / "book.pdf"
    with sheet(html) as page:
        whole = html / "book" / "_whole.html"
        whole.write_text(joined(html, pages(root)), "utf-8")
        try:
            _print(page, whole, target)
        finally:
            whole.unlink()
    return target


def one_page(root: Path, scale: str, name: str, target: Path | None = None) -> Path:
    """Print one page of the site on one sheet of A4, as small as it has to be."""
    html = site(root, scale)
    source = html / "book" / f"{name}.html"
    if not source.exists():
        raise BookError(f"there is no page {name!r} in {html}")
    target = target or root / "build" / scale / f"{name}.pdf"
    with sheet(html) as page:
        alone = html / "book" / f"_{name}.html"
        alone.write_text(joined(html, [f"book/{name}"]), "utf-8")
        try:
            _print(page, alone, target, sheets=1)
        finally:
            alone.unlink()
    return target


def site(root: Path, scale: str) -> Path:
    """Folder of the built site."""
    html = root / "build" / scale / "_build" / "html"
    if not (html / "index.html").exists():
        raise BookError(f"no site is built at scale {scale}: lintrans build --scale {scale}")
    return html


@contextmanager
def sheet(html: Path) -> Iterator[Any]:
    """A page of a browser as wide as the text on paper."""
    path = browser()
    if path is None:
        raise BookError("no Chromium is installed, which prints the book: install it (apt install chromium)")
    try:
        import pypdf  # noqa: F401 - needed at the end, and missed before anything is printed
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError as error:
        raise BookError(f"{error.name} is not installed, which printing needs: pip install 'lintrans[test]'") from None
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        try:
            yield started.new_page(viewport={"width": WIDTH, "height": 950}, color_scheme="light")
        finally:
            started.close()


def _print(page: Any, source: Path, target: Path, sheets: int = 0) -> None:
    page.set_default_timeout(300_000)
    page.goto(source.resolve().as_uri())
    page.evaluate("window.MathJax?.startup.promise")
    page.evaluate(LOADED)
    page.emulate_media(media="print")
    page.evaluate(FIT)
    size = 1.0
    if sheets:  # A4 within the margins, in px
        height = page.evaluate("document.documentElement.scrollHeight")
        size = max(0.3, min(1.0, 0.97 * sheets * 990 / height))
    target.parent.mkdir(parents=True, exist_ok=True)
    page.pdf(
        path=str(target), format="A4", margin=MARGIN, print_background=True, outline=True, tagged=True, scale=size,
        display_header_footer=not sheets, header_template="<span></span>", footer_template=FOOTER,
        page_ranges=f"1-{sheets}" if sheets else "",
    )  # fmt: skip
    _mend_outline(target)


def _mend_outline(target: Path) -> None:
    """Say each title of the outline once: Chromium doubles those of headings that it moved to the next page."""
    from pypdf import PdfWriter
    from pypdf.generic import NameObject, TextStringObject

    writer = PdfWriter(clone_from=target)
    nodes = [writer.root_object["/Outlines"].get_object()] if "/Outlines" in writer.root_object else []
    while nodes:
        node: Any = nodes.pop()
        nodes += [node[key].get_object() for key in ("/First", "/Next") if key in node]
        title = str(node.get("/Title", ""))
        half = len(title) // 2
        if title and title[:half] == title[half:]:
            node[NameObject("/Title")] = TextStringObject(title[:half])
    writer.write(target)


def joined(html: Path, names: Iterable[str]) -> str:
    """All pages of these names (such as "book/depth") as the text of one HTML file that lies in ``book/``."""
    names = list(names)
    parts, head = [], ""
    for name in names:
        text = (html / f"{name}.html").read_text("utf-8")
        head = head or _head(text)
        found = re.search(r'<article class="bd-article">(.*?)</article>', text, re.S)
        parts.append(_moved(found[1] if found else "", name.rpartition("/")[2], names))
    body = "\n".join(f'<article class="bd-article printed">{part}</article>' for part in parts)
    return (
        f'<!DOCTYPE html>\n<html lang="en" data-theme="light" data-mode="light" data-content_root="../">'
        f'<head><meta charset="utf-8">{head}</head>\n'
        f'<body class="whole-book"><main class="bd-content">{body}</main></body></html>'
    )


def _head(text: str) -> str:
    """Style sheets, and MathJax with its settings; none of the scripts that make a page interactive."""
    title = re.search(r"<title>.*?</title>", text, re.S)
    styles = re.findall(r"<link\b[^>]*rel=\"(?:stylesheet|preload)\"[^>]*>|<style>.*?</style>", text, re.S)
    scripts = re.findall(r"<script\b.*?</script>", text, re.S)
    formulas = [each for each in scripts if "mathjax" in each.lower()]
    return "\n".join([title[0] if title else "", *styles, *formulas])


def _moved(part: str, page: str, names: list[str]) -> str:
    """A page's HTML with its identifiers and links as they are in the one file."""
    known = {name.rpartition("/")[2] for name in names}
    part = re.sub(r'\bid="([^"]+)"', lambda m: f'id="{page}--{m[1]}"', part)

    def to(match: re.Match[str]) -> str:
        file, _, anchor = match[1].partition("#")
        other = file.removesuffix(".html").rpartition("/")[2] if file else page
        if "://" in match[1] or other not in known or (file and not file.endswith(".html")):
            return match[0]
        return f'href="#{other}--{escape(anchor)}"' if anchor else f'href="#{other}--top"'

    return f'<a id="{page}--top"></a>' + re.sub(r'\bhref="([^"]*)"', to, part)
