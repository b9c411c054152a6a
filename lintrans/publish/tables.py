"""Tables of a built page: a caption and scopes for who hears them, cells that copy, boxes that keys can scroll."""

from __future__ import annotations

import re
from html import escape, unescape

BOX = '<div class="pst-scrollable-table-container">'
_PIECES = re.compile(rf"(<h[1-4]>.*?</h[1-4]>|{BOX}<table class=\"[^\"]*table[^\"]*\"[^>]*>)", re.S)
_CELL = re.compile(r"(<t[dh]\b[^>]*>)<p>((?:(?!</?p>).)*)</p>\s*(</t[dh]>)", re.S)
_FORMULA = re.compile(r'<span class="math notranslate nohighlight">\\\((.*?)\\\)</span>', re.S)


def usable(body: str) -> str:
    """The page's HTML, with its tables as said above; captions name the section that a table stands in."""
    heading, count, made = "this page", 0, []
    for piece in _PIECES.split(body):
        if piece.startswith("<h"):
            heading, count = _words(piece), 0
        elif piece.startswith(BOX):
            count += 1
            label = escape(f"Table {count}: {heading}", quote=True)
            table = piece[len(BOX) :]
            box = BOX.replace(">", f' tabindex="0" role="region" aria-label="{label}">')
            piece = f'{box}{table}<caption class="visually-hidden">{label}</caption>'
        made.append(piece)
    body = "".join(made).replace('<th class="head', '<th scope="col" class="head')
    body = re.sub(r"<table\b.*?</table>", lambda table: _state_first(table[0]), body, flags=re.S)
    return _tex(_CELL.sub(r"\1\2\3", body))


def _state_first(table: str) -> str:
    """The table with its column *state*, if there is one, after the first, where a narrow screen shows it."""
    rows = re.findall(r"<tr\b.*?</tr>", table, re.S)
    names = [_words(cell) for cell in _cells(rows[0])] if rows else []
    if "state" not in names[2:]:
        return table
    place = names.index("state")
    for row in rows:
        cells = _cells(row)
        if len(cells) == len(names):
            order = [cells[0], cells[place], *cells[1:place], *cells[place + 1 :]]
            start = row.index(cells[0])
            table = table.replace(row, row[:start] + "\n".join(order) + "\n</tr>", 1)
    return table


def _cells(row: str) -> list[str]:
    return re.findall(r"<t[dh]\b.*?</t[dh]>", row, re.S)


def _tex(body: str) -> str:
    """Formulas in cells keep their TeX, which typesetting takes from the text."""

    def marked(cell: re.Match[str]) -> str:
        return _FORMULA.sub(lambda m: m[0].replace("<span ", f'<span data-tex="{m[1]}" ', 1), cell[0])

    return re.sub(r"<t[dh]\b[^>]*>.*?</t[dh]>", marked, body, flags=re.S)


def _words(html: str) -> str:
    html = re.sub(r'<a class="headerlink".*?</a>|<span class="section-number">.*?</span>', "", html, flags=re.S)
    return " ".join(unescape(re.sub(r"<[^>]+>", "", html)).split())
