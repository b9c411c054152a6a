"""The moment algebra on recording numbers: what it does, as a program for another machine.

``engines/cpu/algebra.py`` only adds and multiplies numbers that it finds in memory. Run on a :class:`Pointer`, it
leaves behind each load, sum, product and store. Products of matrices become functions of their own (:data:`APART`),
traced once for each way in which they are called; the rest is one straight line for each number of layers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ...engines.cpu import algebra

SIZE = 5
"""The dimension d of the covariates, as in all of the paper's settings."""

APART = (
    "read", "multiply_to", "multiply_symmetric", "apply", "apply_plus", "apply_pair", "outer", "outer_pair",
    "outer_three", "_symmetrise",
)  # fmt: skip
"""What becomes a function; everything else is written out where it is called."""


@dataclass(eq=False)
class Number:
    """A load, a sum or a product: `operation` is "load", "+" or "*", of a place or of two numbers."""

    operation: str
    first: Any
    second: Any

    def __add__(self, other: Number) -> Number:
        return Number("+", self, other)

    def __mul__(self, other: Number) -> Number:
        return Number("*", self, other)


class Place(NamedTuple):
    """Number `number` after argument `base` of the function; base -1 counts from the beginning of memory."""

    base: int
    number: int


@dataclass
class Pointer:
    """Elements of memory, which a trace watches."""

    trace: Trace
    place: Place

    def __getitem__(self, index: Any) -> Any:
        base, start = self.place
        if isinstance(index, slice):
            return Pointer(self.trace, Place(base, start + index.start))
        return self.trace.load(Place(base, start + index))

    def __setitem__(self, index: int, value: Number) -> None:
        self.trace.stores[Place(self.place.base, self.place.number + index)] = value


class Call(NamedTuple):
    """A call of function number `function`."""

    function: int
    arguments: list[Place]


class Assign(NamedTuple):
    """What is stored at once: all values are computed before the first is stored."""

    values: dict[Place, Number]


@dataclass
class Trace:
    """One function: how many pointers it takes, and what it does."""

    arguments: int
    statements: list[Call | Assign] = field(default_factory=list)
    stores: dict[Place, Number] = field(default_factory=dict)

    def load(self, place: Place) -> Number:
        """What is in a place by now."""
        return self.stores.get(place) or Number("load", place, None)

    def commit(self) -> None:
        """End a run of stores. Places of different arguments may be the same: no store comes before a load."""
        if self.stores:
            self.statements.append(Assign(self.stores))
            self.stores = {}


@dataclass
class Program:
    """Functions by number, and among them the two of each depth: gradient and loss."""

    functions: list[Trace]
    gradients: dict[int, int]
    losses: dict[int, int]
    memory: Memory


@dataclass(frozen=True)
class Memory:
    """Where things are, in numbers: parameters, what is summed, 2 / batch, working memory, prompts."""

    layers: int

    @property
    def parameters(self) -> int:
        return 0

    @property
    def sums(self) -> int:
        return 2 * SIZE * SIZE * self.layers

    @property
    def scale(self) -> int:
        return 2 * self.sums + 1

    @property
    def work(self) -> int:
        return self.scale + 1

    @property
    def prompts(self) -> int:
        return self.work + algebra.work_size(self.layers, SIZE, 1)


def trace(depths: tuple[int, ...]) -> Program:
    """Trace ``algebra.gradient`` of the sparse form with one head, for each of these numbers of layers."""
    memory = Memory(max(depths))
    functions: list[Trace] = []
    known: dict[Any, int] = {}
    inside: list[Trace] = []  # the functions under way, the innermost last

    def apart(function: Callable[..., Any]) -> Callable[..., Any]:
        if function.__name__ not in APART:
            return function

        def called(*arguments: Any) -> None:
            if len(inside) > 1:  # within a function of its own nothing is called
                function(*arguments)
                return
            pointers: list[Place] = []
            key = (function.__name__, *(_shape(each, pointers) for each in arguments))
            if key not in known:
                own = Trace(len(pointers))
                inside.append(own)
                function(*_pointing(arguments, own))
                inside.pop().commit()
                functions.append(own)
                known[key] = len(functions) - 1
            inside[-1].commit()
            inside[-1].statements.append(Call(known[key], pointers))

        return called

    compiled = algebra.specialise(apart, registers=lambda x, size: [None] * size)

    def run(layers: int, back: int) -> int:
        own = Trace(1)
        inside.append(own)
        at = {name: Pointer(own, Place(-1, getattr(memory, name))) for name in ("parameters", "sums", "work", "scale")}
        tile = ([None] * SIZE**2, SIZE, SIZE)
        compiled.gradient(
            Pointer(own, Place(0, 0)), at["parameters"], at["sums"], at["scale"][0], at["work"], tile,
            (layers, SIZE, 1, True), back,
        )  # fmt: skip
        inside.pop().commit()
        functions.append(own)
        return len(functions) - 1

    gradients = {layers: run(layers, algebra.EVERY) for layers in depths}
    return Program(functions, gradients, {layers: run(layers, 0) for layers in depths}, memory)


def _shape(argument: Any, pointers: list[Place]) -> Any:
    """What a function depends on beside its pointers, which are appended to a list."""
    if isinstance(argument, Pointer):
        pointers.append(argument.place)
        return Pointer
    if isinstance(argument, tuple):
        return tuple(_shape(each, pointers) for each in argument)
    return list if isinstance(argument, list) else argument  # a list is registers: what is in it does not count


def _pointing(argument: Any, own: Trace, taken: list[int] | None = None) -> Any:
    """The same arguments with the function's own pointers, in the order of :func:`_shape`."""
    taken = [] if taken is None else taken
    if isinstance(argument, Pointer):
        taken.append(len(taken))
        return Pointer(own, Place(taken[-1], 0))
    return tuple(_pointing(each, own, taken) for each in argument) if isinstance(argument, tuple) else argument
