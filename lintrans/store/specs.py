"""What defines a result, as plain JSON that does not depend on the order of anything, and its hash."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Sequence
from types import FunctionType
from typing import Any

import numpy as np
import torch

from .outside import is_ours


def canonical(value: Any) -> Any:
    """A value as JSON that does not depend on the order of anything.

    Frozen dataclasses by class name and fields, tensors by dtype, shape and a digest of their numbers.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: canonical(_declared(value, field)) for field in dataclasses.fields(value)}
        return {"is": name_of(type(value)), **fields}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [canonical(item) for item in value]
    if isinstance(value, np.generic):  # NumPy's numbers are those of Python
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, torch.Tensor):
        digest = hashlib.sha256(value.detach().cpu().contiguous().numpy().tobytes()).hexdigest()
        return {"is": canonical(value.dtype), "shape": list(value.shape), "sha256": digest}
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(
        f"{value!r} ({type(value).__name__}) cannot be part of a stored experiment: "
        "give a frozen dataclass of plain values"
    )


def _declared(value: Any, field: dataclasses.Field[Any]) -> Any:
    """A field's value; a whole number where a float is declared is that float, so that std=1 is std=1.0."""
    found = getattr(value, field.name)
    whole = isinstance(found, int | np.integer) and not isinstance(found, bool)
    return float(found) if whole and field.type in (float, "float", "float | None") else found


def name_of(kind: type | FunctionType) -> str:
    """What a class or function is called in a record; one from outside with its module."""
    return kind.__qualname__ if is_ours(kind) else f"{kind.__module__}.{kind.__qualname__}"


def key_of(spec: dict[str, Any]) -> str:
    """The hash of what defines a result."""
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]


def flatten(spec: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted names for the leaves of a spec; a list is one leaf."""
    if isinstance(spec, dict):
        flat: dict[str, Any] = {}
        for name, value in spec.items():
            flat |= flatten(value, f"{prefix}.{name}" if prefix else name)
        return flat
    return {prefix: spec}


def change(name: str, old: Any, new: Any) -> str:
    """What differs between two specs at one name, in words."""
    if name == "numerics":
        return "the numerical code changed"
    if name.startswith("code."):
        return f"the code of {name.removeprefix('code.')} changed"
    if isinstance(old, list) or isinstance(new, list):
        return f"{name} changed"
    return f"{name} is {new}, not {old}"
