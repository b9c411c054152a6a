"""The parameters of a chapter: read from its parameters cell, and each value checked against what the cell says.

A chapter declares them in one cell, ``steps: int = 50  # gradient steps``. The page itself
(:func:`lintrans.book.parameters`) and the command line (before anything runs) check values by the same rules.
"""

from __future__ import annotations

import ast
import io
import math
import numbers
import tokenize
from dataclasses import dataclass
from typing import Any

from ..errors import nearest, shown, whole
from ..paper.scale_names import based_on

LEAST_STEPS = 10
"""Steps of the shortest training on which every chapter has something to measure."""
LEAST_SAMPLES = 20
"""Minibatches of the smallest sample whose tails can be looked at."""
KINDS = "str, int, float, bool, a list or tuple of one of these, each with '| None' if need be"


AMOUNTS = {
    "seeds": (1, 1000, True), "steps": (LEAST_STEPS, 10**9, True), "samples": (LEAST_SAMPLES, 10**8, True),
    "batch": (1, 10**8, True), "layers": (1, 32, False), "d": (1, 100, False), "n": (1, 10_000, False),
    "heads": (1, 64, False),
}  # fmt: skip
"""What chapters take by these names: the least, the most, and whether 0 stands for the scale's own."""


class ParameterError(ValueError):
    """A chapter's parameter is unknown, of the wrong type or outside what is allowed."""

    def _render_traceback_(self) -> list[str]:
        """Tell IPython to show the message alone: a traceback through the library helps nobody here."""
        return [f"{type(self).__name__}: {self}"]


@dataclass(frozen=True)
class Declared:
    """One line of the parameters cell: its name, type as written (or that of its default), default and comment."""

    name: str
    kind: str
    default: Any
    comment: str = ""


def declared(source: str) -> dict[str, Declared]:
    """Parse a parameters cell, in its order; values that are no literals have the default ``...``."""
    comments = _comments(source)
    found = {}
    for node in ast.parse(source).body:
        target, value, annotation = _assignment(node)
        if target is None:
            continue
        default = _literal(value)
        kind = annotation or ("" if default is ... else type(default).__name__)
        found[target] = Declared(target, kind, default, comments.get(node.end_lineno or 0, ""))
    return found


def assigned(source: str) -> dict[str, str]:
    """Names that a cell assigns at its top level, with their values as written; empty for what does not parse."""
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return {}
    found = {}
    for node in body:
        target, value, _ = _assignment(node)
        if target is not None:
            found[target] = "" if value is None else ast.unparse(value)
    return found


def is_declaration(source: str) -> bool:
    """Whether a cell does nothing but assign literals: what a parameters cell looks like to a kernel."""
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return False
    pairs = [_assignment(node) for node in body]
    return bool(pairs) and all(name is not None and _literal(value) is not ... for name, value, _ in pairs)


def unknown(name: str, value: str, allowed: list[str], where: str = "") -> ParameterError:
    """Say that no parameter has this name, which there are and which is nearest."""
    owner = where or "this chapter"
    listed = ", ".join(allowed) or "none"
    return ParameterError(
        f"{name} = {value[:80]} is no parameter of {owner}: there are {listed}{nearest(name, allowed)}"
    )


def check(name: str, value: Any, kind: str) -> Any:
    """Return `value` if it has the type `kind` and is allowed for this name; an int is taken for a float."""
    value = _typed(name, value, kind) if kind else value
    try:
        if name == "scale":
            based_on(value)
        elif name in AMOUNTS and isinstance(value, int):
            least, most, or_zero = AMOUNTS[name]
            if value or not or_zero:
                whole(name, value, least, most)
        elif name == "device":
            from ..devices import resolve_device  # here, since it imports torch

            resolve_device(value)
    except (TypeError, ValueError) as error:
        raise ParameterError(str(error)) from None
    return value


def convert(name: str, text: str, kind: str) -> Any:
    """Read a value typed on the command line as the declared type, then :func:`check` it."""
    value: Any = text
    if "str" not in _alternatives(kind):
        words = {"true": True, "false": False, "none": None}
        try:
            value = words[text.lower()] if text.lower() in words else ast.literal_eval(text)
        except (ValueError, SyntaxError):
            number = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
            value = number.get(text.lower(), text)
    return check(name, value, kind)


def _alternatives(kind: str) -> list[str]:
    return [part.strip() for part in kind.split("|")]


def _typed(name: str, value: Any, kind: str) -> Any:
    for part in _alternatives(kind):
        fits, converted = _fits(value, part)
        if fits:
            return converted
    refused = " (NaN and infinity are not)" if isinstance(value, float) and not math.isfinite(value) else ""
    raise ParameterError(
        f"{name} = {shown(value)} ({type(value).__name__}) is not allowed: give {_article(kind)}{refused}"
    )


def _article(kind: str) -> str:
    numbers = {"int": "a whole number (int)", "float": "a finite number (float)"}
    words = {"str": "a string", "bool": "True or False", **numbers}
    return " or ".join(words.get(part, part) for part in _alternatives(kind))


def _fits(value: Any, part: str) -> tuple[bool, Any]:
    """Whether the value has one plain type, and the value as that type."""
    outer, _, inner = part.removesuffix("]").partition("[")
    inner = inner.removesuffix(", ...")
    if outer in ("list", "tuple"):
        if not isinstance(value, list | tuple):
            return False, value
        items = [_fits(item, inner) if inner else (True, item) for item in value]
        values = [item for _, item in items]
        return all(fits for fits, _ in items), values if outer == "list" else tuple(values)
    if outer == "None" or outer == "NoneType":
        return value is None, value
    if outer == "str":
        return isinstance(value, str), value
    if outer == "bool":
        return isinstance(value, bool), value
    if isinstance(value, bool):
        return False, value
    if outer == "int":
        return (True, int(value)) if isinstance(value, numbers.Integral) else (False, value)
    if outer == "float":
        real = isinstance(value, numbers.Real) and math.isfinite(value)
        return (True, float(value)) if real else (False, value)
    raise ParameterError(f"a parameter cannot be declared as {part!r}: use {KINDS}")


def _assignment(node: ast.stmt) -> tuple[str | None, ast.expr | None, str]:
    """Name, value and annotation of ``a = 1`` or ``a: int = 1``; the name is None for any other statement."""
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id, node.value, ast.unparse(node.annotation).strip("'\"")
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id, node.value, ""
    return None, None, ""


def _literal(value: ast.expr | None) -> Any:
    if value is None:
        return ...
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return ...


def _comments(source: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}
