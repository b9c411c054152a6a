"""What a chapter calls while it runs: its parameters, computed sentences and numbers, its provenance.

Everything works in JupyterLab, under plain papermill and as plain Python; nothing here computes an experiment.
"""

from __future__ import annotations

import datetime
import platform
import re
import sys
import time
from importlib.metadata import version
from typing import Any

from ..errors import plain_text, shown
from .chapter_parameters import Declared, ParameterError, assigned, check, declared, is_declaration, unknown

GLUE_PREFIX = "application/papermill.record/"
MISSING = "–"
TAG = re.compile(r"<(?=[A-Za-z/!?])(?!br>)")
INJECTED = "# Parameters"  # the first line of the cell that papermill puts after the parameters cell


class Page:
    """The checked parameters of the running chapter, as attributes; `changed` names those not at their default."""

    changed: tuple[str, ...]

    def __init__(self, values: dict[str, Any], changed: tuple[str, ...]) -> None:
        self.__dict__.update(values, changed=changed, _names=tuple(values), _start=time.perf_counter())

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"this chapter has no parameter {name!r}: it has {', '.join(self.__dict__['_names'])}")

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"parameters are fixed once they are checked: set {name!r} in the parameters cell")

    def __repr__(self) -> str:
        return f"Page({', '.join(f'{name}={getattr(self, name)!r}' for name in self._names)})"

    @property
    def seconds(self) -> float:
        return time.perf_counter() - float(self.__dict__["_start"])


_page: Page | None = None


def parameters(**values: Any) -> Page:
    """Check the chapter's parameters and start the page's clock; call it first, right after the parameters cell.

    Give every parameter by its name: ``page = lt.book.parameters(scale=scale, seeds=seeds, device=device)``. Types are
    those of the parameters cell's annotations or, where there are none, of its defaults. `scale` is "paper" or
    "quick", `device` "auto" or one that this machine has, `seeds` a whole number, 0 for the scale's own. A name that
    papermill injected and the chapter does not declare is refused.

    Raises:
        ParameterError: an unknown name, a wrong type, or a value that is not allowed.
    """
    global _page
    _page = None
    known = sys._getframe(1).f_globals
    history = [str(cell) for cell in known.get("In", []) or []]
    cell = _declaration(history, set(values))
    _refuse_unknown(history, list(values), cell)
    kinds = _kinds(values, cell, known.get("__annotations__", {}))
    checked = {name: check(name, value, kinds[name]) for name, value in values.items()}
    changed = tuple(
        name
        for name, value in checked.items()
        if name in cell and name not in ("scale", "device") and not _same(value, cell[name].default)
    )
    _page = Page(checked, changed)
    return _page


def provenance(seeds: str = "") -> None:
    """Show how this page was made: scale, seeds (in words, if given), device, versions, date, seconds, experiments."""
    say(provenance_text(seeds))


def provenance_text(used_seeds: str = "") -> str:
    """Markdown that :func:`provenance` shows."""
    if _page is None:
        raise RuntimeError("call lt.book.parameters(...) at the top of the chapter before lt.book.provenance()")
    given = _page.__dict__
    asked = f"; seeds: {given['seeds'] or 'those of the scale'}" if "seeds" in given else ""
    seeds = f"; {used_seeds}" if used_seeds else asked
    now = datetime.datetime.now(datetime.UTC)
    lines = [
        "**How this page was made**",
        "",
        f"- scale: {given.get('scale', 'none')}{seeds}; device: {_device(given.get('device', 'cpu'))}",
        f"- lintrans {_version('lintrans')}, Python {platform.python_version()}, "
        f"PyTorch {_version('torch')}, NumPy {_version('numpy')}",
        f"- {now:%Y-%m-%d %H:%M} UTC; {_page.seconds:.1f} seconds",
    ]
    if _page.changed:
        changes = ", ".join(f"{name} = {plain_text(repr(given[name]))}" for name in _page.changed)
        lines.append(f"- parameters changed from the chapter's own: {changes}")
    return "\n".join(lines + [_experiment_line(entry) for entry in _used()])


def _device(asked: str) -> str:
    """Where the page was computed: with "auto" that is each experiment's own affair."""
    if asked != "auto":
        return asked
    from ..devices import resolve_device

    taken = sorted({plain_text(entry.device) for entry in _used()}) or [str(resolve_device())]
    return f"{' and '.join(taken)} (auto)"


def say(text: str) -> None:
    """Show a computed sentence as Markdown; outside a notebook, print it."""
    if not isinstance(text, str):
        raise TypeError(f"text = {shown(text)} ({type(text).__name__}) cannot be said: give a string")
    if _in_notebook():
        from IPython.display import Markdown, display

        display(Markdown(text))
    else:
        print(text)


def table(frame: Any) -> None:
    """Show a pandas frame as a Markdown table, cells as they are and without its index; a dash where one is missing."""
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"frame is a {type(frame).__name__}: give a pandas.DataFrame")
    cells = frame.astype(object).where(frame.notna(), MISSING)
    say(untagged(cells.to_markdown(index=False, disable_numparse=True)))


def untagged(text: str) -> str:
    """Markdown without HTML but for line breaks: a blank ends what would be a tag, and harms no formula."""
    return TAG.sub("< ", text)


def glue(**values: Any) -> None:
    """Give computed numbers and words to the text of any page, whose role ``glue:text`` shows them."""
    plain = {key: _plain(key, value) for key, value in values.items()}
    if not _in_notebook():
        return
    from IPython import get_ipython
    from IPython.display import display

    for key, value in plain.items():  # what myst_nb.glue writes, without its import, which takes seconds
        bundle, _ = get_ipython().display_formatter.format(value)
        hidden = {GLUE_PREFIX + mime: data for mime, data in bundle.items()}
        display(hidden, raw=True, metadata={"scrapbook": {"name": key, "mime_prefix": GLUE_PREFIX}})


def _declaration(history: list[str], names: set[str]) -> dict[str, Declared]:
    """The parameters cell: the first cell of literals only that declares all names; empty where there is none.

    The first, not the last: a reader who edits values and runs the cell again has changed them.
    """
    for source in history:
        if not source.startswith(INJECTED) and is_declaration(source) and names <= set(assigned(source)):
            return declared(source)
    return {}


def _refuse_unknown(history: list[str], names: list[str], cell: dict[str, Declared]) -> None:
    injected = [source for source in history if source.startswith(INJECTED)]
    if injected:  # the last one, so that a cell put right and run again counts
        for name, value in assigned(injected[-1]).items():
            if name not in names:
                raise unknown(name, value, names)
    for name in cell:
        if name not in names:
            raise ParameterError(f"{name} is declared in the parameters cell: give it to lt.book.parameters() as well")


def _kinds(values: dict[str, Any], cell: dict[str, Declared], annotations: dict[str, Any]) -> dict[str, str]:
    kinds = {}
    for name in values:
        annotation = annotations.get(name)
        plain = isinstance(annotation, type) and not hasattr(annotation, "__args__")
        written = "" if annotation is None else annotation.__name__ if plain else str(annotation)
        kinds[name] = (cell[name].kind if name in cell else "") or written
    return kinds


def _same(value: Any, default: Any) -> bool:
    if isinstance(value, list | tuple) and isinstance(default, list | tuple):
        return list(value) == list(default)
    return bool(value == default)


def _plain(key: str, value: Any) -> str | int | float:
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, str | int):
        return value
    if hasattr(value, "item") and getattr(value, "size", 1) != 0:
        try:
            value = value.item()
        except (TypeError, ValueError, RuntimeError):
            pass
        else:
            return value if isinstance(value, str) else float(value)
    if isinstance(value, float):
        return float(value)
    raise TypeError(f"glue cannot format {key} = {value!r} ({type(value).__name__}): give a string or one number")


def _used() -> list[Any]:
    try:
        from ..store.results import used
    except ImportError:  # a page that computes nothing
        return []
    return list(used())


def _experiment_line(entry: Any) -> str:
    how = "reused" if entry.reused else "computed"
    when = f"{entry.created:%Y-%m-%d %H:%M}"
    title, device = plain_text(entry.title), plain_text(entry.device)
    return f"- {title} (`{entry.key[:12]}`): {how}; made {when} on {device} in {entry.seconds:.1f} s"


def _version(package: str) -> str:
    if package in sys.modules:
        return str(getattr(sys.modules[package], "__version__", version(package)))
    return version(package)


def _in_notebook() -> bool:
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return get_ipython() is not None
