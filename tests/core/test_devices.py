"""Devices and dtypes: what is taken, and what is said of the rest."""

from __future__ import annotations

import pytest
import torch

from lintrans.devices import resolve_device, resolve_dtype


def test_auto_and_named() -> None:
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device(torch.device("cpu"), torch.float64) == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cud", "", "cuda:x"])
def test_unknown_devices_are_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"device = '{name}' is not one of 'auto', 'cpu', 'cuda'"):
        resolve_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_is_refused_in_words() -> None:
    with pytest.raises(
        ValueError, match=r"device = 'cuda' is not available here \(.*\): use device='auto' or 'cpu'"
    ) as caught:
        resolve_device("cuda")
    assert "\n" not in str(caught.value)


def test_a_device_that_cannot_hold_the_dtype(monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch.zeros

    def zeros(*size: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        if dtype is torch.float64:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        return real(*size, dtype=dtype)

    monkeypatch.setattr(torch, "zeros", zeros)
    with pytest.raises(ValueError, match=r"device = 'mps' cannot hold torch\.float64"):
        resolve_device("mps", torch.float64)


def test_dtypes() -> None:
    assert resolve_dtype(None, torch.float64) is torch.float64
    assert resolve_dtype("float32", torch.float64) is torch.float32
    for bad in (torch.bfloat16, "double", 32):
        with pytest.raises(ValueError, match=r"dtype = .* is not allowed: give torch.float32, torch.float64 or None"):
            resolve_dtype(bad, torch.float32)  # type: ignore[arg-type]
