"""Notebooks to download, in plain Markdown: JupyterLab without an extension knows no MyST roles and directives.

Numbers of figures, exercises and equations, and titles of pages, are read off the links of the built pages.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..files import write
from .page import GLUE_PREFIX
from .shown import NARROW

LINK = re.compile(
    r'<a class="reference internal" href="([^"#]*)(?:#([^"]*))?"[^>]*>(?:<span class="[^"]*">)?(.*?)(?:</span>)?</a>'
)
ROLE = re.compile(r"(?<!`)\{([a-z:]+)\}`([^`]+)`")
FENCE = re.compile(r"(?P<fence>`{3,}|:{3,})(?:\{(?P<name>[\w-]+)\}(?P<title>.*)|[^`]*)$")
OPTION = re.compile(r":(\w+):[ \t]*(.*)$")
TARGET = re.compile(r"\([\w:-]+\)=[ \t]*$")
EQUATION = re.compile(r"\n\$\$[ \t]*\(([\w:-]+)\)")
NUMBERED = re.compile(
    r'\bid="((?:fig|ex)-[\w-]+)"(?:(?!\bid="(?:fig|ex)-).)*?<span class="caption-number">([^<]+)</span>', re.S
)
ENTRY = re.compile(r"^@\w+\{([^,]+),(.*?)^\}", re.M | re.S)
DROPPED = ("bibliography", "tableofcontents")
QUOTED = ("admonition", "note", "warning", "tip", "important", "seealso")


@dataclass(frozen=True)
class Site:
    """What a built site calls its pages, labels and works."""

    labels: Mapping[str, str] = field(default_factory=dict)
    titles: Mapping[str, str] = field(default_factory=dict)
    works: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def role(self, name: str, text: str, glued: Mapping[str, Any]) -> str:
        """A role as plain Markdown."""
        shown, _, target = text.rstrip(">").rpartition("<") if text.endswith(">") else ("", "", text)
        shown = shown.strip()
        if name == "doc":
            page = target.rpartition("/")[2]
            return f"[{shown or self.titles.get(page, page)}]({page}.ipynb)"
        if name.startswith("cite"):
            return self.cited([key.strip() for key in target.split(",")], name == "cite:t")
        if name.startswith("glue"):
            key, _, form = target.partition(":")
            value = glued.get(key, key)
            return format(value, form) if form and isinstance(value, int | float) else str(value)
        if name in ("numref", "ref", "eq"):
            return shown.replace("%s", self.number(target)) if shown else self.labels.get(target, target)
        return shown or target

    def number(self, label: str) -> str:
        """The number alone of a figure, an exercise or an equation."""
        return self.labels.get(label, label).rpartition(" ")[2].strip("()")

    def cited(self, keys: Iterable[str], in_text: bool) -> str:
        found = [self.works.get(key, (key, "")) for key in keys]
        if in_text:
            return ", ".join(f"{who} ({year})" if year else who for who, year in found)
        return f"({'; '.join(f'{who}, {year}' if year else who for who, year in found)})"


def site_of(pages: Path, bibliography: Path) -> Site:
    """Read titles, numbers and works of a site that was built."""
    labels: dict[str, str] = {}
    titles: dict[str, str] = {}
    for page in sorted(pages.rglob("*.html")):
        written = page.read_text("utf-8", "replace")
        labels |= {label: number.strip() for label, number in NUMBERED.findall(written)}
        for target, label, text in LINK.findall(written):
            plain = html.unescape(re.sub(r"<[^>]+>", "", text)).strip()
            if label:
                labels.setdefault(label.removeprefix("equation-").replace("eq-", "eq:", 1), plain)
                labels.setdefault(label, plain)
            elif target.endswith(".html"):
                titles.setdefault(Path(target).stem, plain)
    works = {}
    for key, entry in ENTRY.findall(bibliography.read_text("utf-8") if bibliography.exists() else ""):
        parts = {
            name: re.sub(r"[{}]", "", value) for name, value in re.findall(r"(\w+)\s*=\s*\{(.*)\},?\s*$", entry, re.M)
        }
        names = [each.partition(",")[0].strip() for each in parts.get("author", key).split(" and ")]
        who = f"{names[0]} et al." if len(names) > 2 else " and ".join(names)
        works[key.strip()] = who, parts.get("year", "")
    return Site(labels, titles, works)


def plain_markdown(text: str, site: Site, glued: Mapping[str, Any] | None = None) -> str:
    """MyST as the Markdown that any notebook shows; fenced code stays as it is."""
    return "\n".join(_plain_lines(text.split("\n"), site, glued or {}))


def _plain_lines(lines: list[str], site: Site, glued: Mapping[str, Any]) -> list[str]:
    done: list[str] = []
    start = place = 0
    while place < len(lines):
        opening = FENCE.match(lines[place])
        if opening is None:
            place += 1
            continue
        done += _plain_text(lines[start:place], site, glued)
        closes = re.compile(rf"{re.escape(opening['fence'])}+[ \t]*$")
        end = next((k for k in range(place + 1, len(lines)) if closes.match(lines[k])), len(lines))
        if opening["name"]:
            done += _plain_directive(opening["name"], opening["title"].strip(), lines[place + 1 : end], site, glued)
        else:
            done += lines[place : end + 1]
        start = place = end + 1
    return done + _plain_text(lines[start:], site, glued)


def _plain_text(lines: list[str], site: Site, glued: Mapping[str, Any]) -> list[str]:
    text = "\n".join(line for line in lines if not TARGET.match(line))
    text = EQUATION.sub(
        lambda found: f"\n\\tag{{{site.number(found[1])}}}\n$$" if found[1] in site.labels else "\n$$", text
    )
    return ROLE.sub(lambda found: site.role(found[1], found[2], glued), text).split("\n") if lines else []


def _plain_directive(name: str, title: str, lines: list[str], site: Site, glued: Mapping[str, Any]) -> list[str]:
    head = next((k for k, line in enumerate(lines) if not OPTION.match(line)), len(lines))
    options = {found[1]: found[2] for line in lines[:head] if (found := OPTION.match(line))}
    if name == "math":
        return ["$$", *lines[head:], "$$"]
    if name in DROPPED:
        return []
    body = _plain_lines(lines[head:], site, glued)
    if name in ("exercise", "solution"):
        label = options.get("label", "") if name == "exercise" else title
        number = site.labels.get(label, "Exercise")
        return [f"**{number}.**" if name == "exercise" else f"**Solution of {number}.**", "", *body]
    if name in QUOTED:
        return [f"> {line}".rstrip() for line in (f"**{title or name.capitalize()}**", "", *body)]
    return body


def plain_notebook(content: str, site: Site) -> str:
    """A notebook (JSON) whose texts, its own and those that it computed, are plain Markdown, with captions below."""
    notebook = json.loads(content)
    glued: dict[str, Any] = {}
    for output in (each for cell in notebook["cells"] for each in cell.get("outputs", [])):
        name = output.get("metadata", {}).get("scrapbook", {}).get("name")
        if name is not None:
            glued[name] = _value(output["data"])
    cells = []
    for cell in notebook["cells"]:
        cells.append(cell)
        if cell["cell_type"] == "markdown":
            cell["source"] = plain_markdown("".join(cell["source"]), site, glued)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            data.pop(NARROW, None)
            if "text/markdown" in data:
                data["text/markdown"] = plain_markdown("".join(data["text/markdown"]), site, glued)
        figure = cell["metadata"].get("mystnb", {}).get("figure", {})
        if caption := figure.get("caption"):
            head = site.labels.get(figure.get("name", ""), "Figure")
            text = f"*{head}.* {plain_markdown(caption, site, glued)}"
            own = {"id": f"{cell['id']}-caption"} if "id" in cell else {}
            cells.append({"cell_type": "markdown", "metadata": {}, "source": text, **own})
    notebook["cells"] = cells
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _value(data: Mapping[str, Any]) -> Any:
    text = "".join(data.get(f"{GLUE_PREFIX}text/plain", ""))
    try:
        return float(text)
    except ValueError:
        return text.strip("'\"")


def make_plain(pages: Path, bibliography: Path) -> None:
    """Write the notebooks that a built site offers again, in plain Markdown.

    All that it offers is written as scripts, too: where pages are opened as files, a browser can fetch nothing else.
    """
    site = site_of(pages, bibliography)
    for path in sorted((pages / "_sources").rglob("*.ipynb")):
        write(path, plain_notebook(path.read_text("utf-8"), site))
    for path in sorted((pages / "_sources" / "book").glob("*.*")):
        script = f"window.PAGE_SOURCE = {json.dumps(path.read_text('utf-8'))};\n"
        write(pages / "_static" / "offline" / f"{path.name}.js", script)
