"""A traced program as JavaScript on an array of doubles, one prompt at a time, for browsers without SIMD."""

from __future__ import annotations

from collections.abc import Iterator

from ...engines.cpu import algebra
from .tracing import SIZE, Assign, Call, Number, Place, Program


def source(program: Program) -> str:
    """The text of a function ``program(M)`` that returns {gradients, losses} by number of layers; M is the memory."""
    drivers = {*program.gradients.values(), *program.losses.values()}
    lines = []
    for number, trace in enumerate(program.functions):
        body: list[str] = []
        names = iter(range(10_000))
        held: dict[Number, str] = {}
        for statement in trace.statements:
            if isinstance(statement, Call):
                body.append(f"f{statement.function}({','.join(map(_address, statement.arguments))})")
            else:
                body += _assign(statement, names, held)
        arguments = ",".join(f"p{index}" for index in range(trace.arguments))
        text = ";".join(body)
        if number in drivers:
            text = f"do{{{text};p0+={algebra.data_size(SIZE, True)}}}while(--k)"
            arguments += ",k"
        lines.append(f"function f{number}({arguments}){{{text}}}")
    tables = [
        f"{name}:{{{','.join(f'{layers}:f{number}' for layers, number in functions.items())}}}"
        for name, functions in (("gradients", program.gradients), ("losses", program.losses))
    ]
    return "function program(M){" + "\n".join(lines) + "\nreturn{" + ",".join(tables) + "}}\n"


def _address(place: Place) -> str:
    if place.base < 0:
        return str(place.number)
    return f"p{place.base}+{place.number}" if place.number else f"p{place.base}"


def _assign(statement: Assign, names: Iterator[int], held: dict[Number, str]) -> list[str]:
    """Compute all values, then store them; a load, and what is stored, is a constant with a name."""
    constants, stores = [], []

    def named(number: Number, value: str) -> str:
        held[number] = f"v{next(names)}"
        constants.append(f"{held[number]}={value}")
        return held[number]

    def text(number: Number) -> str:
        if number in held:
            return held[number]
        if number.operation == "load":
            return named(number, f"M[{_address(number.first)}]")
        first, second = text(number.first), text(number.second)
        if number.operation == "+":
            return f"{first}+{second}"
        return "*".join(f"({each})" if "+" in each else each for each in (first, second))

    for place, value in statement.values.items():
        result = text(value)
        stores.append(f"M[{_address(place)}]={result if value in held else named(value, result)}")
    return [f"const {','.join(constants)}", *stores] if constants else stores
