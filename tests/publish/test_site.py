"""The built site as a reader has it, in a real browser without a network: desktop, phone, dark.

It looks at ``build/quick``, made by ``make book SCALE=quick``; without that, or without Chromium, a line says so.
"""

from __future__ import annotations

import csv
import functools
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlparse
from xml.etree import ElementTree

import pandas as pd
import pytest
from conftest import ROOT

from lintrans.paper.figures.data import COLUMNS
from lintrans.publish.chapters import chapters, pages
from lintrans.publish.doctor import browser as find_browser

SCALE = os.environ.get("LINTRANS_SITE", "quick")  # that of another scale can be looked at, too
SITE = ROOT / "build" / SCALE / "_build" / "html"
PAGES = pages(ROOT)
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-dev-shm-usage", "--no-first-run",
]  # fmt: skip
CHATTER = ("[PST]", "[togglebutton]")  # what the theme says at every page
# What a page must not show: progress frames, warnings, names of objects where their values belong.
LEFTOVERS = ["it/s]", "step/s", "%|", "Warning:", "<matplotlib", "<Figure", "object at 0x", "<IPython", "Traceback"]

pytestmark = pytest.mark.slow


def missing(why: str) -> None:
    if os.environ.get("LINTRANS_REQUIRE_SITE"):
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    if not (SITE / "index.html").exists():
        missing(f"no site in build/{SCALE}: make book SCALE={SCALE}")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(SITE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    path = find_browser()
    if path is None:
        missing("no Chromium on this machine (apt install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield started
        started.close()


class View:
    """A page in the browser, with what it asked for and complained about."""

    def __init__(self, chromium: Any, address: str, name: str, **look: Any) -> None:
        self.outside: list[str] = []
        self.complaints: list[str] = []
        self.context = chromium.new_context(**look)
        self.page = self.context.new_page()
        self.page.route(lambda url: not url.startswith((address, "data:", "blob:")), self._refuse)
        self.page.on("console", lambda message: self._note(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("requestfailed", lambda request: self.complaints.append(f"failed: {request.url}"))
        self.page.on("response", self._check)
        self.page.goto(f"{address}{name}.html")
        self.page.wait_for_function("window.MathJax === undefined || window.MathJax.startup?.promise !== undefined")
        self.page.evaluate("window.MathJax?.startup.promise")

    def _refuse(self, route: Any) -> None:
        self.outside.append(route.request.url)
        route.abort()

    def _note(self, text: str) -> None:
        if not text.startswith(CHATTER):
            self.complaints.append(text)

    def _check(self, response: Any) -> None:
        if response.status >= 400:
            self.complaints.append(f"{response.status}: {response.url}")

    def __enter__(self) -> View:
        return self

    def __exit__(self, *error: object) -> None:
        self.context.close()


@pytest.mark.parametrize("name", PAGES)
def test_page_on_a_desktop(chromium: Any, address: str, name: str) -> None:
    with View(chromium, address, name, viewport={"width": 1280, "height": 900}) as view:
        assert view.outside == []
        assert view.complaints == []
        assert view.page.locator("[data-mml-node=merror]").count() == 0
        formulas = view.page.locator("article .math")
        assert all(formulas.evaluate_all("all => all.map(m => !!m.querySelector('mjx-container'))")), "not typeset"
        text = view.page.locator("article").inner_text()
        assert [part for part in LEFTOVERS if part in text] == []
        assert not re.search(r"\{(glue|cite|eq|ref|doc|numref)", text)  # a role that was not read
        images = view.page.locator("article img").evaluate_all("all => all.map(i => [i.alt, i.src, i.naturalWidth])")
        for alt, source, width in images:
            assert len(alt.split()) >= 3, f"{source}: alt text {alt!r}"
            assert not re.search(r"\.(svg|png)|_images|/", alt), alt
            assert width > 0, source


@pytest.mark.parametrize("name", PAGES)
def test_page_on_a_phone(chromium: Any, address: str, name: str) -> None:
    with View(chromium, address, name, viewport={"width": 390, "height": 800}, is_mobile=True, has_touch=True) as view:
        assert view.complaints == []
        width = view.page.evaluate("Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)")
        assert width <= 390, "the page scrolls sideways"
        wide = view.page.evaluate(
            """() => [...document.querySelectorAll('article *')].filter(e => {
                if (e.getBoundingClientRect().right <= 391 || e.closest('.visually-hidden')) return false;
                for (let p = e; p && p.tagName !== 'ARTICLE'; p = p.parentElement)
                    if (['auto', 'scroll', 'hidden'].includes(getComputedStyle(p).overflowX)) return false;
                return true;
            }).map(e => e.tagName + '.' + e.className + ': ' + e.textContent.slice(0, 60))"""
        )
        assert wide == [], "these are cut off"
        figures = view.page.locator("article figure:has(picture) img")
        for source, size in figures.evaluate_all(
            "all => all.map(i => [i.currentSrc, i.getBoundingClientRect().width])"
        ):
            assert "/_static/data/" in source, "the copy for phones"
            assert size == 0 or size > 300, "in a tab that is hidden, or as wide as the screen"


@pytest.mark.parametrize("name", PAGES)
def test_page_in_the_dark(chromium: Any, address: str, name: str) -> None:
    with View(chromium, address, name, viewport={"width": 1280, "height": 900}, color_scheme="dark") as view:
        assert view.complaints == []
        assert view.page.evaluate("document.documentElement.dataset.theme") == "dark"
        light = "c => c.match(/[0-9.]+/g).slice(0, 3).reduce((sum, x) => sum + Number(x), 0) / 3"
        back = view.page.evaluate(f"({light})(getComputedStyle(document.body).backgroundColor)")
        ink = view.page.evaluate(f"({light})(getComputedStyle(document.querySelector('article p')).color)")
        assert ink - back > 100
        figures = view.page.locator('article img[src$=".svg"]')
        for filtered in figures.evaluate_all("all => all.map(i => getComputedStyle(i).filter)"):
            assert "invert" in filtered


@functools.cache
def links(page: Path) -> tuple[set[str], set[str]]:
    """Targets that a page links to, and the anchors that it has."""
    html = page.read_text("utf-8")
    html = re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
    targets = set(re.findall(r'<(?:a|link|img|script|source)\b[^>]*?\b(?:href|src)="([^"]*)"', html))
    return targets, set(re.findall(r'\b(?:id|name)="([^"]*)"', html))


def test_no_internal_link_is_broken(address: str) -> None:
    broken = []
    for page in (path for path in SITE.rglob("*.html") if "_static" not in path.parts):
        for target in links(page)[0]:
            if urlparse(target).scheme or target.startswith("//"):
                continue
            path, anchor = urldefrag(urljoin(page.relative_to(SITE).as_posix(), unquote(target.replace("&amp;", "&"))))
            file = SITE / path.partition("?")[0] if path else page
            named = anchor and "=" not in anchor  # else options of the lab
            gone = named and file.suffix == ".html" and file.exists() and anchor not in links(file)[1]
            if gone or not file.exists():
                broken.append(f"{page.name}: {target}")
    assert broken == []


def test_nothing_is_named_that_would_be_fetched_from_elsewhere(address: str) -> None:
    """In the files too, not only in what one visit happens to ask for."""
    loads = re.compile(r'<(?:script|img|source|iframe)\b[^>]*\bsrc="((?:https?:)?//[^"]*)"|<link\b([^>]*)>')
    for page in SITE.rglob("*.html"):
        for source, attributes in loads.findall(page.read_text("utf-8")):
            assert not source, f"{page.name}: {source}"
            assert not re.search(r'href="(?:https?:)?//', attributes), f"{page.name}: {attributes}"
        assert "mybinder" not in page.read_text("utf-8"), page.name


def test_every_page_says_how_it_was_made(address: str) -> None:
    for chapter in chapters(ROOT):
        html = (SITE / "book" / f"{chapter.name}.html").read_text("utf-8")
        for part in ("How this page was made", f"scale: {SCALE}", "device:", "PyTorch", "UTC", "seconds"):
            assert part in html, f"{chapter.name}: {part}"


def test_the_first_page_leads_into_the_book(chromium: Any, address: str) -> None:
    page = chromium.new_page()
    page.goto(f"{address}index.html")
    page.wait_for_url("**/book/intro.html")
    page.close()


def test_search_finds_a_word(chromium: Any, address: str) -> None:
    with View(chromium, address, "search", viewport={"width": 1280, "height": 900}) as view:
        view.page.goto(f"{address}search.html?q=prompt")
        view.page.wait_for_selector("#search-results li a", timeout=20_000)
        found = view.page.locator("#search-results li").all_inner_texts()
        assert any("prompt" in text.lower() for text in found)
        assert view.outside == []


def test_the_download_button_saves_both_halves(chromium: Any, address: str) -> None:
    name = chapters(ROOT)[0].name
    with View(chromium, address, f"book/{name}", viewport={"width": 1280, "height": 900}) as view:
        for kind, end in (("source", ".ipynb"), ("text", ".md")):
            view.page.locator(".dropdown-download-buttons > button").click()
            with view.page.expect_download() as download:
                view.page.locator(f"a.btn-download-{kind}-button").click()
            assert download.value.suggested_filename == f"{name}{end}"


# One that checks, one that trains, one that sums up; test_chapters executes them all.
@pytest.mark.parametrize("name", ["model", "adam_vs_sgd", "scorecard"])
def test_the_downloaded_notebook_runs(address: str, name: str, tmp_path: Path) -> None:
    download = SITE / "_sources" / "book" / f"{name}.ipynb"
    assert str(ROOT) not in download.read_text("utf-8")
    (tmp_path / f"{name}.ipynb").write_bytes(download.read_bytes())
    command = [sys.executable, "-m", "papermill", f"{name}.ipynb", "out.ipynb", "--no-progress-bar"]
    environment = {name: value for name, value in os.environ.items() if name != "LINTRANS_STORE"}  # reuse results
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=580
    )
    assert done.returncode == 0, done.stderr[-3000:]
    cells = json.loads((tmp_path / "out.ipynb").read_text("utf-8"))["cells"]
    assert not any(output["output_type"] == "error" for cell in cells for output in cell.get("outputs", []))


def test_one_switch_shows_all_code_and_lines_alone_have_no_bar(chromium: Any, address: str) -> None:
    with View(chromium, address, "book/adam_vs_sgd", viewport={"width": 1280, "height": 900}) as view:
        bars = view.page.locator("article details.hide")
        lines = bars.evaluate_all("all => all.map(d => d.querySelector('pre').textContent.trim().split('\\n').length)")
        assert lines
        assert min(lines) > 1
        shown = view.page.locator("article details.hide[open]")
        assert shown.count() == 0
        view.page.locator(".code-switch").click()
        assert shown.count() == bars.count()
        view.page.reload()
        assert shown.count() == bars.count(), "not remembered"
        view.page.locator(".code-switch").click()
        assert shown.count() == 0
        at_end = view.page.locator("article details.page-code, article .page-code details").first
        assert at_end.get_attribute("open") is None
        assert "protocol.judge_all(" in str(at_end.text_content()), "that of hidden cells too"


def test_parameters_and_provenance_are_folded(chromium: Any, address: str) -> None:
    with View(chromium, address, "book/depth", viewport={"width": 1280, "height": 900}) as view:
        box = view.page.locator("details.page-parameters, .page-parameters details").first
        assert box.get_attribute("open") is None
        assert f"papermill book/depth.ipynb out.ipynb --cwd book -p scale {SCALE}" in str(box.text_content())
        assert view.page.locator(".provenance li:visible").count() == 3
        cited = view.page.locator(".provenance .highlight-bibtex pre").text_content()
        assert "@software{lintrans," in cited
        assert "page depth" in cited
        facts = view.page.locator(".page-facts").inner_text()
        assert SCALE in facts
        assert "C9" in facts


def test_the_reference_is_folded_and_a_link_to_a_name_opens_it(chromium: Any, address: str) -> None:
    with View(chromium, address, "book/api", viewport={"width": 1400, "height": 900}) as view:
        assert view.page.evaluate("document.querySelector('article').scrollHeight") < 12_000
        folds = view.page.locator("article details.sd-dropdown")
        assert folds.count() == 5
        assert folds.evaluate_all("all => all.filter(each => each.open).length") == 0
        names = view.page.locator("article dt[id]").evaluate_all("all => all.map(each => each.id)")
        assert {"lintrans.train", "lintrans.Adam", "lintrans.experiment"} <= set(names)
        view.page.locator("article table a[href$='#lintrans.Adam']").click()
        view.page.locator("dt[id='lintrans.Adam']").wait_for(state="visible")
        assert folds.evaluate_all("all => all.filter(each => each.open).length") == 1
        top = view.page.locator("dt[id='lintrans.Adam']").evaluate("each => each.getBoundingClientRect().top")
        assert 0 <= top < 900
        view.page.emulate_media(media="print")
        view.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert folds.evaluate_all("all => all.filter(each => each.open && each.offsetHeight > 0).length") == 5


def test_tables_say_what_they_are_scroll_by_keys_and_copy(chromium: Any, address: str) -> None:
    with View(chromium, address, "book/adam_vs_sgd", viewport={"width": 390, "height": 900}) as view:
        view.page.evaluate("document.querySelectorAll('article details').forEach(each => { each.open = true; })")
        boxes = view.page.locator("article .pst-scrollable-table-container")
        assert boxes.count() > 3
        for box in boxes.all():
            over = box.evaluate("b => b.scrollWidth > b.clientWidth")
            assert not over or box.get_attribute("tabindex") == "0"
            assert box.locator("caption").text_content() == box.get_attribute("aria-label")
            assert box.locator("thead th:not([scope=col])").count() == 0
        wide = next(box for box in boxes.all() if box.evaluate("b => b.scrollWidth > b.clientWidth + 2"))
        before = wide.evaluate("b => b.scrollLeft")
        wide.focus()
        view.page.keyboard.press("ArrowRight")
        view.page.wait_for_timeout(300)
        assert wide.evaluate("b => b.scrollLeft") > before
        assert view.page.url.endswith("adam_vs_sgd.html")
        table = "[...document.querySelectorAll('article table')].find(t => /covariates/.test(t.rows[0].innerText))"
        text = view.page.evaluate(f"csvOf({table})")
        rows = list(csv.reader(text.splitlines()))
        assert rows[0][:3] == ["setting", "n", "covariates"]
        assert {len(row) for row in rows} == {len(rows[0])}
        assert "mathcal" in rows[1][2]


def test_the_state_is_seen_on_a_phone(chromium: Any, address: str) -> None:
    with View(chromium, address, "book/adam_vs_sgd", viewport={"width": 390, "height": 900}) as view:
        heads = view.page.locator("article th", has_text=re.compile("^state$"))
        assert heads.count() > 0
        for head in heads.all():
            assert head.evaluate("h => h.getBoundingClientRect().right") <= 390


def test_arrow_keys_turn_pages(chromium: Any, address: str) -> None:
    with View(chromium, address, PAGES[1], viewport={"width": 1280, "height": 900}) as view:
        view.page.keyboard.press("ArrowRight")
        view.page.wait_for_url(f"**/{PAGES[2]}.html")
        view.page.keyboard.press("ArrowLeft")
        view.page.wait_for_url(f"**/{PAGES[1]}.html")


def test_the_second_key_reaches_the_text(chromium: Any, address: str) -> None:
    with View(chromium, address, "book/depth", viewport={"width": 1280, "height": 900}) as view:
        view.page.keyboard.press("Tab")
        assert view.page.evaluate("document.activeElement.getAttribute('href')") == "#main-content"
        view.page.keyboard.press("Enter")
        view.page.keyboard.press("Tab")
        assert view.page.evaluate("!!document.activeElement.closest('#main-content')")


def test_from_a_file_search_has_excerpts_and_downloads_save(chromium: Any, address: str) -> None:
    folder = f"{SITE.as_uri()}/"
    with View(chromium, folder, "book/depth", viewport={"width": 1280, "height": 900}) as view:
        for kind, end in (("source", ".ipynb"), ("text", ".md")):
            view.page.locator(".dropdown-download-buttons > button").click()
            with view.page.expect_download() as download:
                view.page.locator(f"a.btn-download-{kind}-button").click()
            assert download.value.suggested_filename == f"depth{end}"
            source = SITE / "_sources" / "book" / f"depth{end}"
            same = Path(download.value.path()).read_bytes() == source.read_bytes()
            assert same, f"another {source.name}"  # without the bytes, whose differences take pytest hours to find
        assert view.complaints == []
        view.page.goto(f"{folder}search.html?q=curvature")
        view.page.wait_for_selector("#search-results li p.context", timeout=20_000)
        assert any("curvature" in text.lower() for text in view.page.locator("p.context").all_inner_texts())
        assert view.outside == []
        assert view.complaints == []


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("name", ["intro", "adam_vs_sgd", "scorecard", "glossary", "gallery"])
def test_nothing_serious_is_found_by_axe(chromium: Any, address: str, name: str, colours: Any) -> None:
    from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]

    with View(chromium, address, f"book/{name}", viewport={"width": 1280, "height": 900}, color_scheme=colours) as view:
        found = Axe().run(view.page).response["violations"]
        serious = [
            f"{each['id']}: {each['help']}; {len(each['nodes'])} such as {each['nodes'][0]['html'][:150]}"
            for each in found
            if each["impact"] in ("serious", "critical")
        ]
        assert serious == []


def test_words_are_explained_where_they_first_stand(chromium: Any, address: str) -> None:
    with View(chromium, address, "book/depth", viewport={"width": 1280, "height": 900}) as view:
        links = view.page.locator("article a.explained")
        targets = links.evaluate_all("all => all.map(a => a.getAttribute('href'))")
        assert len(targets) == len(set(targets)) > 5
        assert all(len(title.split()) > 4 for title in links.evaluate_all("all => all.map(a => a.title)"))


def test_every_figure_is_in_the_gallery_with_its_data(chromium: Any, address: str) -> None:
    labels = set()
    for chapter in chapters(ROOT):
        html = (SITE / "book" / f"{chapter.name}.html").read_text("utf-8")
        labels |= {f"{chapter.name}.html#{label}" for label in re.findall(r'<figure[^>]* id="([^"]+)"', html)}
    with View(chromium, address, "book/gallery", viewport={"width": 1280, "height": 900}) as view:
        cards = view.page.locator(".gallery > div")
        shown = cards.locator("p:last-child a:first-child").evaluate_all("all => all.map(a => a.getAttribute('href'))")
        assert set(shown) == labels
        for target in cards.locator("a[href$='.csv']").evaluate_all("all => all.map(a => a.getAttribute('href'))"):
            frame = pd.read_csv(SITE / "book" / target)
            assert list(frame) == COLUMNS
            assert len(frame)
        sources = cards.locator("img").evaluate_all("all => all.map(i => i.getAttribute('src'))")
        axes = ["xtick_1" in (SITE / "book" / source).read_text("utf-8") for source in sources]
        assert cards.locator("a[href$='.csv']").count() == sum(axes) > 0.9 * cards.count()


def axes_of(svg: Path) -> Iterator[tuple[str, str, set[float], list[str]]]:
    """Panel, direction, places of ticks and their labels, of each axis of a figure that matplotlib wrote."""
    root = ElementTree.parse(svg, ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))).getroot()
    named = [(each, each.get("id", "")) for each in root.iter() if isinstance(each.tag, str)]
    for panel, panel_name in named:
        for axis in panel if panel_name.startswith("axes_") else ():
            ticks = [each for each in axis if re.match("[xy]tick_", each.get("id", ""))]
            if ticks:
                which = ticks[0].get("id", "")[0]
                uses = [use for tick in ticks for use in tick.iter() if str(use.tag).endswith("}use") and use.get("x")]
                parts: list[Any] = [part for tick in ticks for part in tick.iter()]
                labels = [str(part.text).strip() for part in parts if part.tag is ElementTree.Comment]
                yield panel_name, which, {round(float(use.get(which, 0)), 1) for use in uses}, labels


def test_every_axis_has_two_numbers(address: str) -> None:
    """Or none, where a panel beside it has the same ticks with their numbers."""
    poor = []
    for picture in sorted([*(SITE / "_images").glob("*.svg"), *(SITE / "_static" / "data").glob("*.svg")]):
        found = list(axes_of(picture))
        for panel, which, places, labels in found:
            beside = [there for _, its, there, names in found if its == which and len(names) > 1]
            if len(labels) == 1 or (not labels and not any(places <= there for there in beside)):
                poor.append(f"{picture.name}, {panel}: {which} has {labels}")
    assert poor == []


@pytest.mark.usefixtures("chromium", "address")  # which say what is missing
def test_the_book_prints_as_one_file_with_an_outline(tmp_path: Path) -> None:
    """By the command: a second browser in the process of the first is one too many."""
    from pypdf import PdfReader

    def printed(name: str, *options: str) -> PdfReader:
        command = [sys.executable, "-m", "lintrans_command", "pdf", "--scale", SCALE, "--to", str(tmp_path / name)]
        subprocess.run([*command, *options], cwd=ROOT, check=True, timeout=600)
        return PdfReader(tmp_path / name)

    reader = printed("book.pdf")
    tops = [each for each in reader.outline if not isinstance(each, list)]
    assert len(tops) == len(PAGES)
    numbers = [reader.get_destination_page_number(each) or 0 for each in tops]
    assert numbers == sorted(numbers)
    assert len(PAGES) < len(reader.pages) < 400
    assert all(
        f"{number} / {len(reader.pages)}" in reader.pages[number - 1].extract_text() for number in (1, 20, len(PAGES))
    )
    text = "\n".join(page.extract_text() for page in reader.pages)
    assert [
        word for word in ("How this page was made", "copy as CSV", "hide code", "figures.use()") if word in text
    ] == []
    summary = printed("summary.pdf", "--page", "summary")
    assert len(summary.pages) == 1
    assert all(f"C{number} " in summary.pages[0].extract_text().replace("\n", " ") for number in (1, 17))
