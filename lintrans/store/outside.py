"""Classes and functions from outside the package: known by their own source, and by their author's that they use."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import inspect
import json
import linecache
import sys
import sysconfig
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, TypeGuard

from torch import Tensor

from .sources import PACKAGE, Plain, hashed, spelled


def classes_in(value: Any) -> set[type]:
    """The classes of the frozen dataclasses in a value, at any depth, with those that they inherit from."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = (getattr(value, field.name) for field in dataclasses.fields(value))
        return {each for each in type(value).__mro__ if _tells(each)}.union(*map(classes_in, fields))
    if isinstance(value, Mapping):
        return set().union(*map(classes_in, value.values()))
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Tensor):
        return set().union(*map(classes_in, value))
    return set()


def is_ours(thing: type | FunctionType) -> bool:
    """Whether a class or function is of this package, whose closure tells what it depends on."""
    return thing.__module__.partition(".")[0] == PACKAGE.name


def digest_outside(thing: type | FunctionType) -> str:
    """Digest of the source of a class or function from outside, and of its author's others that it uses.

    Plain values that it takes from its module count as well: numbers, texts, lists and dictionaries of them.
    """
    texts: dict[str, str] = {}
    ahead: list[Any] = [thing]
    while ahead:
        one = ahead.pop()
        name = f"{one.__module__}.{one.__qualname__}"
        if name in texts:
            continue
        tree = _tree_of(one)
        texts[name] = spelled(tree)
        if isinstance(one, type):
            ahead += [base for base in one.__mro__[1:] if _tells(base) and not is_ours(base)]
        for name, value in _globals_of(one, tree):
            if isinstance(value, type | FunctionType):
                ahead.append(value)
            else:
                texts[name] = value
    return hashed("\n".join(f"{name} {text}" for name, text in sorted(texts.items())))


def _tells(each: type) -> bool:
    return each.__module__ not in ("builtins", "typing", "typing_extensions", "abc", "enum")


def _functions(thing: type | FunctionType) -> Iterator[FunctionType]:
    """A function, or those of a class."""
    for value in vars(thing).values() if isinstance(thing, type) else [thing]:
        inner = getattr(value, "__func__", getattr(value, "fget", getattr(value, "func", value)))
        if isinstance(inner, FunctionType):
            yield inner


def _globals_of(thing: type | FunctionType, tree: ast.AST) -> Iterator[tuple[str, Any]]:
    """What code takes from its module or others of its author's: functions, classes, and plain values as texts."""
    nodes = [*ast.walk(tree)]
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    own = next((function.__globals__ for function in _functions(thing)), vars(sys.modules[thing.__module__]))
    places = [(thing.__module__, own, names)]
    places += [(m.__name__, vars(m), attributes) for m in map(own.get, names) if _is_authors(m)]
    for module, place, used in places:
        for name in used & place.keys():
            value = place[name]
            if isinstance(value, type | FunctionType):
                if _is_authors(sys.modules.get(value.__module__)):
                    yield f"{module}.{name}", value
            else:
                with contextlib.suppress(TypeError, ValueError):  # an object, which has no spelling of its own
                    yield f"{module}.{name}", json.dumps(value, sort_keys=True)


def _is_authors(module: Any) -> TypeGuard[ModuleType]:
    """Whether a module is neither of this package nor an installed one."""
    if not isinstance(module, ModuleType) or module.__name__.partition(".")[0] == PACKAGE.name:
        return False
    file = getattr(module, "__file__", None)
    if file is None:
        return module.__name__ == "__main__"
    return not any(Path(file).is_relative_to(place) for place in _installed())


@cache
def _installed() -> tuple[str, ...]:
    return tuple({path for name, path in sysconfig.get_paths().items() if name in ("stdlib", "purelib", "platlib")})


def _tree_of(thing: type | FunctionType) -> ast.AST:
    """A class's or function's code without docstrings."""
    try:
        text = inspect.getsource(thing)
    except (OSError, TypeError):  # a class of a notebook or of a text handed to Python: where its methods are written
        text = _class_in_cell(thing)
    if not text:
        raise ValueError(
            f"the source of {thing.__module__}.{thing.__qualname__} cannot be read, so nobody could tell when a stored "
            "result is out of date: define it in a file or a notebook, or use lintrans.train, which keeps nothing"
        )
    try:
        tree = ast.parse(textwrap.dedent(text))
    except SyntaxError:  # a lambda amid an expression
        tree = ast.Module([ast.Expr(ast.Constant(text.encode()))], [])
    return Plain().visit(tree)  # type: ignore[no-any-return]  # NodeTransformer says Any


def _class_in_cell(thing: type | FunctionType) -> str:
    for function in _functions(thing):
        lines = linecache.getlines(function.__code__.co_filename)
        for node in ast.walk(ast.parse("".join(lines))) if lines else ():
            if isinstance(node, ast.ClassDef) and node.name == thing.__name__:
                return ast.unparse(node)
    return ""
