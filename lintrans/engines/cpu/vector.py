"""Numbers that numba compiles to SIMD: a vector of prompts as one value, with or without tangents.

``Value(dtype, lanes, tangents)`` is `lanes` floats side by side (0: a plain scalar) and, for dual numbers, as many
tangents of the same kind. In LLVM it is ``<lanes x float>``, or a struct (value, tangent 1, tangent 2, ...). ``+ - *``
work on values, and between values and plain numbers; on duals they follow the product rule, so that any polynomial
written with them also yields its exact directional derivatives. ``Value(dtype, lanes, 2, jet=True)`` is a jet
a + b e + c e^2, whose products keep e^2: a polynomial of jets yields its second derivative 2 c along a line.

``Pointer(element)`` points to values in memory: ``p[i]`` loads, ``p[i] = v`` stores; a value without tangents is stored
to a dual place with tangents zero.

Why an explicit type: left to itself, LLVM turns loops over lanes into SIMD by luck, and is ten times slower without.
Loads and stores ask for the alignment of *one* float, because that is all NumPy guarantees. The floating-point flags
allow what turns a b + c into one fused instruction, and no more: "no NaNs" would compile a check for finiteness to
True, and without reassociation every sum is taken in the order written, on any machine.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, overload, register_model

from . import products
from . import target as processor

processor.choose()  # before the first function is compiled, and all modules with such functions import this one

FLAGS = ("contract", "nsz", "arcp")
OPTIONS: dict[str, Any] = {"fastmath": set(FLAGS), "error_model": "numpy", "boundscheck": False}
"""Options of every compiled function."""

INLINE: dict[str, Any] = {"forceinline": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True, **OPTIONS}
"""Options of functions that become part of their caller."""

INT32 = ir.IntType(32)


def inline(function: Any) -> Any:
    """Compile a function that becomes part of its caller, once for each kind of number.

    Numba takes a constant argument for a type of its own, also inside tuples: a matrix and its transpose, ``plus`` and
    not, would be compiled apart, a second and more for each kernel. LLVM sees the constants anyway, once functions have
    become part of one another.
    """
    compiled = njit(**INLINE)(function)
    original = compiled.get_call_template

    def get_call_template(args: Any, kws: Any) -> Any:
        return original(tuple(_plain(kind) for kind in args), kws)

    compiled.get_call_template = get_call_template
    return compiled


def _plain(kind: types.Type) -> types.Type:
    """A type without constants."""
    if isinstance(kind, types.BaseTuple):
        return types.Tuple([_plain(part) for part in kind.types])
    return types.unliteral(kind)


class Value(types.Type):
    """Numba's type of a vector of numbers, of dual numbers, or of jets."""

    def __init__(self, dtype: types.Float, lanes: int, tangents: int = 0, jet: bool = False) -> None:
        self.dtype, self.lanes, self.tangents, self.jet = dtype, lanes, tangents, jet
        super().__init__(name=f"Value({dtype},{lanes},{tangents},{jet})")


class Pointer(types.Type):
    """Numba's type of a pointer to :class:`Value` or to plain floats."""

    def __init__(self, element: types.Type) -> None:
        self.element = element
        super().__init__(name=f"Pointer({element})")


def component_type(kind: types.Type) -> ir.Type:
    """LLVM type of one component (the value, or one tangent)."""
    dtype = kind.dtype if isinstance(kind, Value) else kind
    lanes = kind.lanes if isinstance(kind, Value) else 0
    scalar = ir.FloatType() if dtype == types.float32 else ir.DoubleType()
    return ir.VectorType(scalar, lanes) if lanes else scalar


def tangents_of(kind: types.Type) -> int:
    """How many tangents a type carries."""
    return kind.tangents if isinstance(kind, Value) else 0


def llvm_type(kind: types.Type) -> ir.Type:
    """LLVM type of a value."""
    count = tangents_of(kind)
    return ir.LiteralStructType([component_type(kind)] * (1 + count)) if count else component_type(kind)


@register_model(Value)
class _ValueModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, llvm_type(kind))


@register_model(Pointer)
class _PointerModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, llvm_type(kind.element).as_pointer())


# Arithmetic. A value is taken apart into components (value, tangent 1, ...), combined, and packed again.


def splat(builder, scalar, kind):
    """A vector whose lanes all hold `scalar`."""
    undefined = ir.Constant(kind, ir.Undefined)
    one = builder.insert_element(undefined, scalar, ir.Constant(INT32, 0))
    return builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(INT32, kind.count), [0] * kind.count))


def components(context, builder, value, kind, out):
    """Components of `value` (of numba type `kind`), each brought to the lanes of `out`."""
    if not isinstance(kind, Value):
        parts = [context.cast(builder, value, kind, out.dtype if isinstance(out, Value) else out)]
    elif kind.tangents:
        parts = [builder.extract_value(value, k) for k in range(1 + kind.tangents)]
    else:
        parts = [value]
    target = component_type(out)
    if isinstance(target, ir.VectorType):
        parts = [part if isinstance(part.type, ir.VectorType) else splat(builder, part, target) for part in parts]
    return parts


def pack(builder, parts, kind):
    """The inverse of :func:`components`."""
    if not tangents_of(kind):
        return parts[0]
    packed = ir.Constant(llvm_type(kind), ir.Undefined)
    for k, part in enumerate(parts):
        packed = builder.insert_value(packed, part, k)
    return packed


def add(builder, a, b):
    """(a + b), tangents added; a missing tangent is zero."""
    both = min(len(a), len(b))
    return [builder.fadd(x, y, flags=FLAGS) for x, y in zip(a, b, strict=False)] + a[both:] + b[both:]


def subtract(builder, a, b):
    """(a - b), tangents subtracted."""
    both = min(len(a), len(b))
    negated = [builder.fneg(y, flags=FLAGS) for y in b[both:]]
    return [builder.fsub(x, y, flags=FLAGS) for x, y in zip(a, b, strict=False)] + a[both:] + negated


def multiply(builder, a, b):
    """(a b), with tangents a b' + a' b."""
    from_b = [builder.fmul(a[0], y, flags=FLAGS) for y in b[1:]]
    from_a = [builder.fmul(x, b[0], flags=FLAGS) for x in a[1:]]
    return [builder.fmul(a[0], b[0], flags=FLAGS), *add(builder, from_b, from_a)]


def multiply_jets(builder, a, b):
    """(a b) to second order."""
    parts = multiply(builder, a, b)
    if len(a) == len(b):
        parts[2] = builder.fadd(parts[2], builder.fmul(a[1], b[1], flags=FLAGS), flags=FLAGS)
    return parts


def result_type(a: types.Type, b: types.Type) -> Value:
    """Type of a sum or product: the wider of the two in lanes and in tangents."""
    values = [kind for kind in (a, b) if isinstance(kind, Value)]
    lanes, tangents = max(kind.lanes for kind in values), max(kind.tangents for kind in values)
    return Value(values[0].dtype, lanes, tangents, any(kind.jet for kind in values))


def _register(operation, emit, emit_jets):
    @infer_global(operation)
    class _Typing(AbstractTemplate):
        def generic(self, args, kws):
            allowed = len(args) == 2 and all(isinstance(kind, Value | types.Number) for kind in args)
            if allowed and any(isinstance(kind, Value) for kind in args):
                return signature(result_type(*args), *args)
            return None

    def lower(context, builder, sig, args):
        out = sig.return_type
        a, b = (components(context, builder, value, kind, out) for value, kind in zip(args, sig.args, strict=True))
        return pack(builder, (emit_jets if out.jet else emit)(builder, a, b), out)

    for pair in ((Value, Value), (Value, types.Number), (types.Number, Value)):
        lower_builtin(operation, *pair)(lower)


_register(operator.add, add, add)
_register(operator.sub, subtract, subtract)
_register(operator.mul, multiply, multiply_jets)


# Memory.


def _place(builder, pointer, index, element, k):
    inside = [index, ir.Constant(INT32, k)] if tangents_of(element) else [index]
    return builder.gep(pointer, inside)


def _alignment(element: types.Type) -> int:
    dtype = element.dtype if isinstance(element, Value) else element
    return int(dtype.bitwidth // 8)


@infer_global(operator.getitem)
class _GetItem(AbstractTemplate):
    def generic(self, args, kws):
        if isinstance(args[0], Pointer):
            return signature(args[0].element, args[0], types.intp)
        return None


@infer_global(operator.setitem)
class _SetItem(AbstractTemplate):
    def generic(self, args, kws):
        if isinstance(args[0], Pointer):
            return signature(types.void, args[0], types.intp, args[2])
        return None


@lower_builtin(operator.getitem, Pointer, types.Integer)
def _load(context, builder, sig, args):
    element = sig.args[0].element
    places = [_place(builder, args[0], args[1], element, k) for k in range(1 + tangents_of(element))]
    parts = [builder.load(place, align=_alignment(element)) for place in places]
    return pack(builder, parts, element)


@lower_builtin(operator.setitem, Pointer, types.Integer, types.Any)
def _store(context, builder, sig, args):
    element = sig.args[0].element
    parts = components(context, builder, args[2], sig.args[2], element)
    parts += [ir.Constant(component_type(element), None)] * (1 + tangents_of(element) - len(parts))
    for k, part in enumerate(parts):
        builder.store(part, _place(builder, args[0], args[1], element, k), align=_alignment(element))
    return context.get_dummy_value()


@intrinsic
def _advance(typing, pointer, count):
    def generate(context, builder, sig, args):
        return builder.gep(args[0], [args[1]])

    return pointer(pointer, types.intp), generate


@overload(products.offset, jit_options=INLINE)
def _offset(elements, count):
    if isinstance(elements, Pointer):
        return lambda elements, count: _advance(elements, count)
    return None


@intrinsic
def flat(typing, pointer):
    """The components of values in memory, one after the other, as values without tangents."""
    if not isinstance(pointer, Pointer):
        return None
    plain = Pointer(Value(pointer.element.dtype, pointer.element.lanes))

    def generate(context, builder, sig, args):
        return builder.bitcast(args[0], llvm_type(plain.element).as_pointer())

    return plain(pointer), generate


@intrinsic
def scratch(typing, like, count):
    """`count` (a literal) elements of the kind `like` points to, on the stack: meant to end up in registers."""
    if not isinstance(count, types.IntegerLiteral):
        return None
    size = ir.Constant(ir.IntType(64), count.literal_value)

    def generate(context, builder, sig, args):
        return cgutils.alloca_once(builder, llvm_type(like.element), size=size)

    return like(like, count), generate


SHORT = 8
"""Longest vector that is kept in registers."""


@intrinsic
def registers(typing, x, size):
    """:func:`products.registers`: memory of the calling function, so that it must be asked for where it is used."""
    if not isinstance(x, Pointer):
        return None

    def generate(context, builder, sig, args):
        if tangents_of(x.element):  # too many components
            return args[0]
        room = cgutils.alloca_once(builder, llvm_type(x.element), size=ir.Constant(ir.IntType(64), SHORT))
        long = builder.icmp_signed(">", args[1], ir.Constant(args[1].type, SHORT))
        return builder.select(long, args[0], room)

    return x(x, types.int64), generate


@intrinsic
def view(typing, array, lanes, tangents):
    """The memory of a C-contiguous array as a pointer to values; `lanes` and `tangents` are literals."""
    if not (isinstance(lanes, types.IntegerLiteral) and isinstance(tangents, types.IntegerLiteral)):
        return None
    wide, dual = lanes.literal_value, tangents.literal_value
    element = Value(array.dtype, wide, dual) if wide or dual else array.dtype
    pointer = Pointer(element)

    def generate(context, builder, sig, args):
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        return builder.bitcast(data, llvm_type(element).as_pointer())

    return pointer(array, lanes, tangents), generate
