"""What a number depends on, read off the imports: digests of the code behind it.

A module's **closure** is the module and whatever of this package it uses, wherever in its file, by its syntax tree; a
name that a module merely passes on counts for the one that makes it. Digests are blind to what decides no number:
comments, docstrings, layout, the names and places of files, the order of imports, the modules of :data:`NEUTRAL`. A
module that nobody thought of counts: forgetting fails safe.

A module with ``SERVES = ("Sphere",)`` counts only where one of these classes is in use: what draws one law decides no
number of another. Classes and functions from outside the package are known by their own source, and by that of their
author's other ones which they use.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import hashlib
import inspect
import json
import linecache
import sys
import sysconfig
import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, NamedTuple, TypeGuard

from torch import Tensor

PACKAGE = Path(__file__).resolve().parents[__name__.count(".") - 1]
NEUTRAL = frozenset(
    {"errors", "progress", "files", "interrupts", "unfinished"}
    | {f"store.{name}" for name in ("store", "specs", "sources", "results", "checkpoints")}
    | {f"store.{name}" for name in ("shards", "distributed", "planning")}
)
"""Modules of the package whose own code decides no number, but how it is said, shown and kept."""


class Use(NamedTuple):
    """A name of a module, "" for the module itself."""

    target: str
    name: str


class Module:
    """One file of a package, or any code that uses it, parsed; `package` is what its relative imports start from."""

    def __init__(self, code: Code, package: str, text: str) -> None:
        self._code, self._tree, self._package = code, ast.parse(text), package
        imports = [*_imports(self._tree, package, code.name)]
        self.bindings = dict(imports)
        self._stars = [use.target for alias, use in imports if alias == "*"]
        self.made = {*_made(self._tree)}
        self.serves = tuple(_serves(self._tree))

    @cached_property
    def _spelling(self) -> tuple[str, list[Use]]:
        spelling = _Spelling(self._code, self.bindings)
        return _text(spelling.visit(self._tree)), spelling.uses

    @cached_property
    def _names(self) -> dict[str, Use]:
        found = {alias: self._code.origin(use) for alias, use in self.bindings.items()}
        return {alias: use for alias, use in found.items() if use.name}

    def passes_on(self, name: str) -> Use | None:
        """What a name stands for that an import makes here; None for one that is made here, or nowhere."""
        if name in self.bindings:
            return self.bindings[name]
        for star in self._stars if name not in self.made else ():
            if name in self._code.module(star).made | self._code.module(star).bindings.keys():
                return Use(star, name)
        return None

    @cached_property
    def own(self) -> str:
        """Digest of its code alone, which calls all modules of the package by one name."""
        return _hash(self._spelling[0])

    @property
    def targets(self) -> set[str]:
        """Modules that it uses; all of its package, where it looks modules up by name."""
        found = {use.target for use in (*self._spelling[1], *self._names.values())}
        looks = any(f"{name}(" in self._spelling[0] for name in ("import_module", "iter_modules"))
        return found.union(self._code.inside(self._package) if looks else ())

    @cached_property
    def digest(self) -> str:
        """Digest of its code, and of that of each module behind a name that it uses."""
        names = sorted(f"{alias} {use.name} {self._code.own(use.target)}" for alias, use in self._names.items())
        chains = (f"{use.name} {self._code.own(use.target)}" for use in self._spelling[1])
        return _hash("\n".join([self.own, *names, *chains]))


class EditedError(RuntimeError):
    """A module may have been imported after an edit that its digest does not know."""


class Code:
    """The modules of a package as they lay on disk when this was made, which is before the process imports most."""

    def __init__(self, folder: Path = PACKAGE) -> None:
        self.folder, self.name = folder, folder.name
        self._modules: dict[str, Module] = {}
        self._texts = {path: path.read_bytes() for path in folder.rglob("*.py")}
        self._imported: set[str] = set()

    def check(self, names: Collection[str]) -> None:
        """Refuse modules whose file was edited after this was made, unless they were seen imported before the edit."""
        for name in {*names} - self._imported:
            path = self.path(name)
            if path is None or path.read_bytes() != self._texts.get(path):
                raise EditedError(
                    f"{path or name} was edited while this process ran: start it again (in a notebook, restart the "
                    f"kernel), so that what is stored is of one code"
                )
            if name in sys.modules:
                self._imported.add(name)

    def path(self, name: str) -> Path | None:
        """The file of a module, None where there is none of that name."""
        first, *rest = name.split(".")
        place = self.folder.joinpath(*rest)
        files = (place / "__init__.py", place.with_name(f"{place.name}.py"))
        return next((file for file in files if file.is_file()), None) if first == self.name else None

    def module(self, name: str) -> Module:
        """A module by its dotted name; a KeyError where there is none."""
        if name not in self._modules:
            if (path := self.path(name)) is None:
                raise KeyError(f"no module {name!r} in {self.folder}")
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            text = self._texts[path] if path in self._texts else path.read_bytes()
            self._modules[name] = Module(self, package, text.decode("utf-8"))
        return self._modules[name]

    def inside(self, package: str) -> list[str]:
        folder = self.folder.joinpath(*package.split(".")[1:])
        return [f"{package}.{path.stem}" for path in folder.glob("*.py") if path.name != "__init__.py"]

    def own(self, name: str) -> str:
        """Digest of a module's own code for those who use it; a constant for one that decides no number, or not all."""
        module = self.module(name)
        return "" if neutral(name) else ",".join(module.serves) or module.own

    def text(self, source: str) -> Module:
        return Module(self, "", source)

    def origin(self, use: Use) -> Use:
        """Where a name is made that a module may only pass on; a name that is a module becomes that module."""
        seen = {use}
        while use.name:
            passed = self.module(use.target).passes_on(use.name)
            if passed is not None and passed not in seen:
                use = passed
            elif self.path(f"{use.target}.{use.name}") is not None:
                use = Use(f"{use.target}.{use.name}", "")
            else:
                break
            seen.add(use)
        return use

    def closure(self, *roots: str, classes: Collection[str] = ()) -> dict[str, Module]:
        """The modules that some depend on, themselves included, by name, without neutral ones.

        `classes` are the names of the classes in use, for modules that serve some only; none given: all of them are.
        """
        found: dict[str, Module] = {}
        ahead = list(roots)
        while ahead:
            name = ahead.pop()
            module = self.module(name)
            if name in found or (module.serves and classes and not {*module.serves} & {*classes}):
                continue
            found[name] = module
            ahead += module.targets
        return {name: module for name, module in sorted(found.items()) if not neutral(name)}

    def digest(self, *roots: str, classes: Collection[str] = ()) -> str:
        """Digest of a closure, whatever its modules are called."""
        return _hash("\n".join(sorted({module.digest for module in self.closure(*roots, classes=classes).values()})))


_CODE = Code()


def code() -> Code:
    """The code of this package as this process has it."""
    return _CODE


def neutral(name: str) -> bool:
    """Whether a module decides no number itself."""
    return name.partition(".")[2] in NEUTRAL


def _made(tree: ast.Module) -> Iterator[str]:
    """Names that a module itself gives to something."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        else:
            yield from (n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))


def _serves(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "SERVES":
            yield from ast.literal_eval(node.value)


class _Plain(ast.NodeTransformer):
    """Takes away docstrings."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return ast.Pass() if text else self.generic_visit(node)


class _Spelling(_Plain):
    """Takes away docstrings and imports of the package, and calls all of its modules by one name."""

    def __init__(self, code: Code, bindings: dict[str, Use]) -> None:
        self._code, self._bindings = code, bindings
        self.uses: list[Use] = []

    def visit_If(self, node: ast.If) -> ast.AST:
        return ast.Pass() if _for_the_checker(node) else self.generic_visit(node)

    def _import(self, node: ast.Import | ast.ImportFrom) -> ast.AST:
        node.names = [alias for alias in node.names if not _inside(node, alias, self._code.name)]
        return node if node.names else ast.Pass()

    visit_Import = visit_ImportFrom = _import

    def _chain(self, node: ast.Name | ast.Attribute) -> ast.AST:
        names, inner = list[str](), node
        while isinstance(inner, ast.Attribute):
            names.insert(0, inner.attr)
            inner = inner.value  # type: ignore[assignment]  # any expression, which ends the loop
        if not isinstance(inner, ast.Name) or inner.id not in self._bindings:
            return self.generic_visit(node)
        use = self._code.origin(self._bindings[inner.id])
        if use.name:  # an object, which keeps its name
            return self.generic_visit(node)
        while names and not use.name:
            use = self._code.origin(Use(use.target, names.pop(0)))
        self.uses.append(use)
        return ast.Name(".".join(["_module", *([use.name] if use.name else []), *names]))

    visit_Name = visit_Attribute = _chain


def _inside(node: ast.Import | ast.ImportFrom, alias: ast.alias, root: str) -> bool:
    name = alias.name if isinstance(node, ast.Import) else node.module or ""
    return bool(isinstance(node, ast.ImportFrom) and node.level) or name.split(".")[0] == root


def _imports(tree: ast.AST, package: str, root: str) -> Iterator[tuple[str, Use]]:
    """Names that imports of the package bind anywhere in a tree, and what each stands for."""
    ahead = [tree]
    while ahead:
        node = ahead.pop()
        if isinstance(node, ast.If) and _for_the_checker(node):
            continue
        ahead += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            for alias in node.names:
                if _inside(node, alias, root):
                    whole = alias.name if alias.asname else root  # `import a.b` binds a
                    yield alias.asname or root, Use(whole, "")
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = parts[: len(parts) - node.level + 1] if node.level else []
            for alias in node.names:
                if _inside(node, alias, root):
                    yield alias.asname or alias.name, Use(".".join([*base, *filter(None, [node.module])]), alias.name)


def _for_the_checker(node: ast.If) -> bool:
    return ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _text(tree: ast.AST) -> str:
    """Code in one spelling, without lines that do nothing."""
    return "\n".join(line for line in ast.unparse(tree).splitlines() if line.strip() not in ("", "pass"))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


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
        texts[name] = _text(tree)
        if isinstance(one, type):
            ahead += [base for base in one.__mro__[1:] if _tells(base) and not is_ours(base)]
        for name, value in _globals_of(one, tree):
            if isinstance(value, type | FunctionType):
                ahead.append(value)
            else:
                texts[name] = value
    return _hash("\n".join(f"{name} {text}" for name, text in sorted(texts.items())))


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
    return _Plain().visit(tree)  # type: ignore[no-any-return]  # NodeTransformer says Any


def _class_in_cell(thing: type | FunctionType) -> str:
    for function in _functions(thing):
        lines = linecache.getlines(function.__code__.co_filename)
        for node in ast.walk(ast.parse("".join(lines))) if lines else ():
            if isinstance(node, ast.ClassDef) and node.name == thing.__name__:
                return ast.unparse(node)
    return ""
