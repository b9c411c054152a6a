"""A traced program as a WebAssembly module: four prompts a register (f32x4), or two in double precision (f64x2).

Each of the program's numbers is a register of prompts, 16 bytes. The module exports its ``memory`` and, for L layers,
``gradient L`` and ``loss L``, which take the address of a first register of prompts and how many groups of prompts
follow: prompts lie in groups, and within a group number by number.

The encoding is that of the WebAssembly core specification, version 2.0, section 5.
"""

from __future__ import annotations

from typing import NamedTuple

from ...engines.cpu import algebra
from .tracing import SIZE, Assign, Call, Number, Place, Program, Trace

BYTES = 16
PAGE = 2**16
PROMPTS = 2048
"""Most prompts at once."""
I32, V128, VOID = b"\x7f", b"\x7b", b"\x40"
GET, SET, TEE, CONST, CALL, END = b"\x20", b"\x21", b"\x22", b"\x41", b"\x10", b"\x0b"
LOAD, STORE = b"\xfd\x00\x04", b"\xfd\x0b\x04"


class Lanes(NamedTuple):
    """A kind of register."""

    width: int
    add: bytes
    multiply: bytes


FLOAT32 = Lanes(4, b"\xfd\xe4\x01", b"\xfd\xe6\x01")
FLOAT64 = Lanes(2, b"\xfd\xf0\x01", b"\xfd\xf2\x01")


def unsigned(number: int) -> bytes:
    """LEB128 of a number that is not negative."""
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def signed(number: int) -> bytes:
    """LEB128 with a sign."""
    found = bytearray()
    while not -64 <= number < 64:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number & 127])


def vector(items: list[bytes]) -> bytes:
    """Items with their number before them."""
    return unsigned(len(items)) + b"".join(items)


def sized(content: bytes) -> bytes:
    """Bytes with their number before them."""
    return unsigned(len(content)) + content


class Writer:
    """The instructions of one function."""

    def __init__(self, trace: Trace, lanes: Lanes, local: int) -> None:
        self.trace, self.lanes = trace, lanes
        self.code = bytearray()
        self.first = self.locals = local  # the next local's number
        self.held: dict[Number, int] = {}
        self.calls = any(isinstance(each, Call) for each in trace.statements)
        for statement in trace.statements:
            if isinstance(statement, Call):
                for place in statement.arguments:
                    self.address(place)
                self.code += CALL + unsigned(statement.function)
            else:
                self.assign(statement)

    def address(self, place: Place) -> None:
        """Push the address of a place."""
        if place.base < 0:
            self.code += CONST + signed(BYTES * place.number)
            return
        self.code += GET + unsigned(place.base)
        if place.number:
            self.code += CONST + signed(BYTES * place.number) + b"\x6a"

    def assign(self, statement: Assign) -> None:
        """Compute all values, then store them."""
        uses: dict[Number, int] = {}
        for value in statement.values.values():
            _count(value, uses)
        results = []
        for value in statement.values.values():
            self.value(value, uses)
            results.append(self.locals)
            self.locals += 1
            self.code += SET + unsigned(results[-1])
        for place, local in zip(statement.values, results, strict=True):
            self.code += _base(place) + GET + unsigned(local) + STORE + unsigned(BYTES * place.number)

    def value(self, number: Number, uses: dict[Number, int]) -> None:
        """Push a number; what is used again is held in a local, and so is what a call could change."""
        if number in self.held:
            self.code += GET + unsigned(self.held[number])
            return
        if number.operation == "load":
            self.code += _base(number.first) + LOAD + unsigned(BYTES * number.first.number)
        else:
            self.value(number.first, uses)
            self.value(number.second, uses)
            self.code += self.lanes.add if number.operation == "+" else self.lanes.multiply
        if uses[number] > 1 or self.calls:
            self.held[number] = self.locals
            self.code += TEE + unsigned(self.locals)
            self.locals += 1


def _base(place: Place) -> bytes:
    return GET + unsigned(place.base) if place.base >= 0 else CONST + signed(0)


def _count(number: Number, uses: dict[Number, int]) -> None:
    uses[number] = uses.get(number, 0) + 1
    if uses[number] == 1 and number.operation != "load":
        _count(number.first, uses)
        _count(number.second, uses)


def module(program: Program, lanes: Lanes) -> bytes:
    """The module of a traced program."""
    most = max(trace.arguments for trace in program.functions) + 1
    types = [b"\x60" + vector([I32] * count) + vector([]) for count in range(most + 1)]
    drivers = {*program.gradients.values(), *program.losses.values()}
    bodies = []
    for number, trace in enumerate(program.functions):
        looping = number in drivers  # a driver takes the number of groups besides, and goes through them
        arguments = trace.arguments + looping
        writer = Writer(trace, lanes, arguments)
        code = bytes(writer.code)
        if looping:
            step = BYTES * algebra.data_size(SIZE, True)
            forward = GET + unsigned(0) + CONST + signed(step) + b"\x6a" + SET + unsigned(0)
            again = GET + unsigned(1) + CONST + signed(1) + b"\x6b" + TEE + unsigned(1) + b"\x0d" + unsigned(0)
            code = b"\x03" + VOID + code + forward + again + END
        count = writer.locals - arguments
        bodies.append(sized(vector([unsigned(count) + V128] if count else []) + code + END))
    pages = -(-BYTES * (program.memory.prompts + PROMPTS // lanes.width * algebra.data_size(SIZE, True)) // PAGE)
    names = [(f"gradient {layers}", number) for layers, number in program.gradients.items()]
    names += [(f"loss {layers}", number) for layers, number in program.losses.items()]
    exports = [sized(name.encode()) + b"\x00" + unsigned(number) for name, number in names]
    kinds = [unsigned(trace.arguments + (number in drivers)) for number, trace in enumerate(program.functions)]
    sections = {
        1: vector(types),
        3: vector(kinds),
        5: vector([b"\x00" + unsigned(pages)]),
        7: vector([*exports, sized(b"memory") + b"\x02\x00"]),
        10: vector(bodies),
    }
    return b"\0asm\1\0\0\0" + b"".join(bytes([number]) + sized(content) for number, content in sections.items())
