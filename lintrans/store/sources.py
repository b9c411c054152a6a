"""What a number depends on, read off the imports: digests of the code behind it.

A module's **closure** is the module and whatever of this package it uses, wherever in its file, by its syntax tree; a
name that a module merely passes on counts for the one that makes it. Digests are blind to what decides no number:
comments, docstrings, layout, the names and places of files, the order of imports, the modules of :data:`NEUTRAL`. A
module that nobody thought of counts: forgetting fails safe.

A module with ``SERVES = ("Sphere",)`` counts only where one of these classes is in use: what draws one law decides no
number of another. What comes from outside the package: :mod:`.outside`.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Collection, Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).resolve().parents[__name__.count(".") - 1]
NEUTRAL = frozenset(
    {"errors", "progress", "files", "interrupts", "unfinished"}
    | {f"store.{name}" for name in ("store", "specs", "sources", "outside", "results", "checkpoints")}
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
        return spelled(spelling.visit(self._tree)), spelling.uses

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
        return hashed(self._spelling[0])

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
        return hashed("\n".join([self.own, *names, *chains]))


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
        return hashed("\n".join(sorted({module.digest for module in self.closure(*roots, classes=classes).values()})))


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


class Plain(ast.NodeTransformer):
    """Takes away docstrings."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return ast.Pass() if text else self.generic_visit(node)


class _Spelling(Plain):
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


def spelled(tree: ast.AST) -> str:
    """Code in one spelling, without lines that do nothing."""
    return "\n".join(line for line in ast.unparse(tree).splitlines() if line.strip() not in ("", "pass"))


def hashed(text: str) -> str:
    """Sixteen hexadecimal digits of SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
