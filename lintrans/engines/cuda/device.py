"""How functions written for any kind of number become device functions of numba-cuda, for the numbers of one thread.

They return places in arrays (``products.offset``), which numba-cuda allows of pointers, not of arrays: so outside the
simulator, whose arrays are NumPy's, ``pointer(array)`` makes a pointer and ``offset`` moves it on.
"""

from __future__ import annotations

from typing import Any

from numba import config, cuda

from ..cpu import products

SIMULATED: bool = bool(config.ENABLE_CUDASIM)

if SIMULATED:
    device = inline = cuda.jit(device=True)
    offset = products.offset

    def pointer(array: Any) -> Any:
        """The array itself."""
        return array

else:
    from numba.cuda import types
    from numba.cuda.extending import intrinsic

    device = cuda.jit(device=True)

    def inline(function: Any) -> Any:
        """Compile a function that becomes part of its caller; constants among its arguments make no type of their own.

        See ``vector.inline``, which does the same on a CPU, and why.
        """
        compiled = cuda.jit(device=True, forceinline=True)(function)
        original = compiled.get_call_template

        def get_call_template(args: Any, kws: Any) -> Any:
            return original(tuple(_plain(kind) for kind in args), kws)

        compiled.get_call_template = get_call_template
        return compiled

    def _plain(kind: Any) -> Any:
        if isinstance(kind, types.BaseTuple):
            return types.Tuple([_plain(part) for part in kind.types])
        return types.unliteral(kind)

    @intrinsic
    def pointer(typingctx, array):
        """A pointer to the first element of a contiguous array."""

        def build(context, builder, signature, arguments):
            return context.make_array(signature.args[0])(context, builder, arguments[0]).data

        return types.CPointer(array.dtype)(array), build

    @intrinsic
    def offset(typingctx, place, count):
        """The pointer `count` elements on."""

        def build(context, builder, signature, arguments):
            return builder.gep(arguments[0], [arguments[1]])

        return place(place, types.intp), build
