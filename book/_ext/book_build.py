"""What the book needs of Sphinx beyond settings: MathJax from an installed package, both halves to download."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from shutil import copyfile
from typing import Any

ENGINE = "tex-svg-full.js"  # one file with its glyphs: no fonts to fetch
AFTER_THEME = 600  # the theme adds its buttons at 501


def bring_mathjax(app: Any, failure: Exception | None) -> None:
    """Copy MathJax out of its package, which is found and not imported: it is an application of a web framework."""
    if failure or app.builder.format != "html":
        return
    spec = find_spec("mathjax")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("MathJax is not installed: pip install -r requirements.lock")
    package = Path(spec.submodule_search_locations[0])
    folder = Path(app.outdir) / "_static" / "mathjax"
    folder.mkdir(parents=True, exist_ok=True)
    copyfile(package / "static" / "mathjax" / "es5" / ENGINE, folder / ENGINE)


def text_half(app: Any, pagename: str) -> Path:
    """Where the staged tree has the text half of an executed chapter."""
    return Path(app.srcdir) / "text" / f"{Path(pagename).name}.md"


def bring_texts(app: Any, failure: Exception | None) -> None:
    """Put the text halves beside the notebooks that the site offers."""
    if failure or app.builder.format != "html":
        return
    for notebook in (Path(app.outdir) / "_sources").rglob("*.ipynb"):
        text = text_half(app, notebook.stem)
        if text.exists():
            copyfile(text, notebook.with_suffix(".md"))


def offer_text(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Add the text half to the download button of a chapter."""
    if not str(context.get("sourcename", "")).endswith(".ipynb") or not text_half(app, pagename).exists():
        return
    for group in context.get("header_buttons", []):
        if group.get("label") == "download-buttons":
            url = f"{context['pathto']('_sources', 1)}/{pagename}.md"
            button = {"type": "link", "url": url, "text": ".md", "icon": "fas fa-file-lines"}
            group["buttons"].insert(1, button | {"tooltip": "Download text half", "label": "download-text-button"})


def drop_live_code(app: Any, config: Any) -> None:
    """Unhook the live-code extension that Jupyter Book brings: it names a script elsewhere, twice on every page."""
    for event in ("env-before-read-docs", "doctree-resolved"):
        listeners = app.events.listeners[event]
        app.events.listeners[event] = [item for item in listeners if item.handler.__module__ != "sphinx_thebe"]


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("config-inited", drop_live_code)
    app.connect("build-finished", bring_mathjax)
    app.connect("build-finished", bring_texts)
    app.connect("html-page-context", offer_text, priority=AFTER_THEME)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
