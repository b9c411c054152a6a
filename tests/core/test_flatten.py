"""Parameters as vectors: nothing is lost on the way there and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import lintrans as lt
from lintrans.models.flatten import pack

DTYPES = (torch.float32, torch.float64)


class Named:
    """A model with nothing but names and shapes."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.parameter_shapes = shapes

    def loss(self, parameters: Mapping[str, Tensor], prompts: Any) -> Tensor:
        raise NotImplementedError


leads = st.lists(st.integers(1, 3), max_size=2).map(tuple)
shapes = st.dictionaries(
    st.text("abc", min_size=1, max_size=3), st.lists(st.integers(0, 3), max_size=3).map(tuple), min_size=1, max_size=4
)


@settings(max_examples=50)
@given(shapes=shapes, lead=leads, more=leads, dtype=st.sampled_from(DTYPES))
def test_mapping_there_and_back(
    shapes: dict[str, tuple[int, ...]], lead: tuple[int, ...], more: tuple[int, ...], dtype: torch.dtype
) -> None:
    """Exact, in any order of names, with axes of scalars and axes without entries."""
    model = Named(shapes)
    parameters = {name: torch.randn((*lead, *shape)).to(dtype) for name, shape in reversed(shapes.items())}
    flat, layout = pack(model, parameters)
    assert flat.shape == (math.prod(lead), layout.size)
    assert flat.dtype == dtype
    assert layout.lead == lead
    assert layout.size == sum(math.prod(shape) for shape in shapes.values())
    back = layout.unpack(flat.reshape(*lead, layout.size))
    assert list(back) == list(shapes)
    assert all(torch.equal(back[name], parameters[name]) for name in shapes)
    vectors = torch.randn(*more, layout.size)
    assert torch.equal(pack(model, layout.unpack(vectors))[0], vectors.reshape(math.prod(more), layout.size))


@settings(max_examples=20)
@given(lead=leads, layers=st.integers(1, 3), d=st.integers(1, 3), dtype=st.sampled_from(DTYPES))
def test_tensor_there_and_back(lead: tuple[int, ...], layers: int, d: int, dtype: torch.dtype) -> None:
    model = lt.LinearTransformer(layers, d)
    parameters = torch.randn(*lead, *model.parameter_shape).to(dtype)
    flat, layout = pack(model, parameters)
    assert (flat.shape, flat.dtype, layout.lead) == ((math.prod(lead), layout.size), dtype, lead)
    assert torch.equal(layout.unpack(flat.reshape(*lead, -1)), parameters)
    assert layout.unpack(torch.zeros(2, 1, layout.size)).shape == (2, 1, *model.parameter_shape)


def test_several_dtypes_are_promoted() -> None:
    model = Named({"a": (2,), "b": ()})
    flat, layout = pack(model, {"a": torch.ones(2, dtype=torch.float16), "b": torch.ones((), dtype=torch.float64)})
    assert flat.dtype == torch.float64
    assert {value.dtype for value in layout.unpack(flat).values()} == {torch.float64}
    assert layout.unpack(flat.float())["a"].dtype == torch.float32


def test_both_ways_are_differentiable_and_packing_copies() -> None:
    model = Named({"a": (2,), "b": (3,)})
    parameters = {"a": torch.ones(2, requires_grad=True), "b": torch.ones(3, requires_grad=True)}
    flat, layout = pack(model, parameters)
    back = layout.unpack(flat[0])
    slopes = torch.autograd.grad((2 * back["a"]).sum() + (3 * back["b"]).sum(), list(parameters.values()))
    assert [slope.tolist() for slope in slopes] == [[2.0] * 2, [3.0] * 3]
    single = lt.LinearTransformer(1, 2)
    tensor = single.init()
    pack(single, tensor)[0].fill_(9.0)
    assert (tensor != 9).all()


def test_bad_input_is_named() -> None:
    model = Named({"a": (2,), "b": (3,)})
    _, layout = pack(model, {"a": torch.ones(2), "b": torch.ones(3)})
    with pytest.raises(ValueError, match=r"vectors have shape \[2, 4\]; these parameters need \[..., 5\]"):
        layout.unpack(torch.zeros(2, 4))
    with pytest.raises(ValueError, match="parameters lack 'b'"):
        pack(model, {"a": torch.ones(2)})
    with pytest.raises(TypeError, match=r"model is a Linear: give lintrans.LinearTransformer.*TorchModel"):
        pack(torch.nn.Linear(1, 1), {"weight": torch.ones(1)})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="parameters are dict: give a floating-point tensor"):
        pack(lt.LinearTransformer(1, 2), {"a": torch.ones(2)})
    many = Named({f"layer{index}": (1,) for index in range(9)})
    with pytest.raises(ValueError, match=r"parameters lack 'layer0', .*'layer5' and 3 more: give"):
        pack(many, {})
