"""Which device and dtype a computation takes, and why not another."""

from __future__ import annotations

from typing import Any

import torch

from .errors import nearest, shown

_asked = False
KNOWN = ("auto", "cpu", "cuda", "mps", "xpu")


def resolve_device(device: str | torch.device = "auto", dtype: torch.dtype | None = None) -> torch.device:
    """The torch device a name stands for; ``"auto"`` is CUDA where there is one and the CPU otherwise.

    Raises:
        ValueError: no such device here, or it cannot hold the dtype.
    """
    global _asked
    if isinstance(device, str) and device == "auto":
        _asked = True
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        if not isinstance(device, str | torch.device):
            raise TypeError
        chosen = torch.device(device)
    except (RuntimeError, TypeError, UnicodeError):
        raise ValueError(
            f"device = {shown(device)} is not one of {', '.join(map(repr, KNOWN))}, 'cuda:1', ..."
            f"{nearest(str(device)[:20], KNOWN)}"
        ) from None
    if chosen.type == "cpu":  # it has no numbers, and holds every dtype
        return torch.device("cpu")
    if chosen.type == "meta":
        raise ValueError("device = 'meta' holds no numbers: use device='auto' or 'cpu'")
    _asked = True
    try:
        torch.zeros(1, dtype=torch.float32, device=chosen)
    except Exception as error:  # torch raises AssertionError, RuntimeError, NotImplementedError, ... by device
        build = f"PyTorch {torch.__version__}"
        why = (
            f"{build} is built without CUDA"
            if chosen.type == "cuda" and torch.version.cuda is None
            else str(error).split("\n")[0]
        )
        raise ValueError(
            f"device = {str(chosen)!r} is not available here ({why}): use device='auto' or 'cpu'"
        ) from None
    if dtype is not None:
        try:
            torch.zeros(1, dtype=dtype, device=chosen)
        except (TypeError, RuntimeError) as error:
            raise ValueError(
                f"device = {str(chosen)!r} cannot hold {dtype} ({str(error).splitlines()[0]}): "
                "use device='cpu' or another dtype"
            ) from None
    return chosen


def asked_for_cuda() -> bool:
    """Whether this process has looked for a device other than the CPU, which can start a driver."""
    return _asked


def real_dtype(dtype: Any, default: torch.dtype | None = None) -> torch.dtype:
    """Return a dtype of real numbers, or where it is None the default (torch's where that is None too)."""
    if dtype is None:
        return torch.get_default_dtype() if default is None else default
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ValueError(f"dtype = {shown(dtype)} is not allowed: give torch.float32, torch.float64 or None")
    return dtype


def resolve_dtype(dtype: torch.dtype | str | None, default: torch.dtype) -> torch.dtype:
    """float32 or float64, from a torch dtype, its name or None (the default)."""
    if dtype is None:
        return default
    names = {"float32": torch.float32, "float64": torch.float64}
    chosen = names.get(dtype) if isinstance(dtype, str) else dtype
    if not isinstance(chosen, torch.dtype) or chosen not in names.values():
        raise ValueError(
            f"dtype = {shown(dtype)} is not allowed: give torch.float32, torch.float64 or None (the rule by depth)"
        )
    return chosen
