"""Pieces: what kernels call by address gets the arguments as they were meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

numba = pytest.importorskip("numba")
pieces = pytest.importorskip("lintrans.engines.cpu.shape_kernels")

from lintrans.engines.cpu.vector import OPTIONS, view  # noqa: E402


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_a_call_passes_pointers_floats_and_whole_numbers(kind: str) -> None:
    """Whole numbers arrive as int64 whatever they were; a large seed is no negative one."""
    dtype = np.dtype(kind)
    real = numba.from_dtype(dtype)
    pointer = numba.types.CPointer(real)

    @numba.cfunc(numba.types.void(pointer, *[numba.types.int64] * 3, real), **OPTIONS)  # type: ignore[untyped-decorator, unused-ignore]
    def piece(out: Any, seed: int, small: int, flag: int, number: float) -> None:
        out[0], out[1], out[2], out[3] = seed, small, flag, number

    @numba.njit(**OPTIONS)  # type: ignore[untyped-decorator, unused-ignore]
    def caller(address: int, out: Any, seed: Any, small: Any, flag: bool, number: Any) -> None:
        pieces.call(address, (view(out, 0, 0), seed, small, flag, number))

    out = np.zeros(4, dtype)
    caller(piece.address, out, np.uint32(2**32 - 1), np.int32(-3), True, dtype.type(0.1))
    assert out.tolist() == [float(dtype.type(2**32 - 1)), -3.0, 1.0, float(dtype.type(0.1))]


def test_columns_of_tiles_divide_every_size_and_fit_the_registers() -> None:
    for size in range(1, 40):
        for tangents in range(3):
            rows, columns = pieces.tile_of(size, tangents)
            assert 1 <= rows <= size
            assert size % columns == 0
            assert rows * columns <= 12


def test_loops_are_shared_by_shapes_and_pieces_are_not() -> None:
    from lintrans.engines.cpu import compiling

    single = np.dtype("float32")
    shapes = [compiling.piece("gradient", size, 1, True, single) for size in (2, 5)]
    assert shapes[0] is not shapes[1]
    assert shapes[0].name != shapes[1].name
    assert shapes[0] is compiling.piece("gradient", 2, 1, True, single)
    assert compiling.kernel("training", single) is compiling.kernel("training", single)


def test_a_compile_brings_its_family_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What shapes share is worked out once a process, so the book's shapes are compiled together; loading is not."""
    from lintrans.engines.cpu import compiling, kept

    monkeypatch.setenv(kept.VARIABLE, str(tmp_path))
    said: list[str] = []
    monkeypatch.setattr(kept, "say", said.append)
    double = np.dtype("float64")
    for clear in (compiling.piece.cache_clear, kept._forget.cache_clear):
        clear()
    try:
        assert compiling.piece("gradient", 2, 1, True, double, 1).address
        folders = {path.parent.parent.name for path in tmp_path.rglob("*.nbc")}
        assert folders == {f"gradient-sparse-{size}-1-float64-1" for size in (1, 2, 5)}
        compiled = sum("compiling" in text for text in said)
        assert compiled == 3
        compiling.piece.cache_clear()
        assert compiling.piece("gradient", 5, 1, True, double, 1).address
        assert sum("compiling" in text for text in said) == compiled
    finally:
        compiling.piece.cache_clear()
