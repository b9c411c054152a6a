"""What is computed twice and compared: the numbers that claims are judged on."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Statistic:
    """A number that is compared.

    Attributes:
        words: what it is.
        claims: whose rules read it, or the numbers it is a part of.
        sided: whether it matters on which side of 1 it lies.
    """

    words: str
    claims: tuple[str, ...]
    sided: bool


STATISTICS: MappingProxyType[str, Statistic] = MappingProxyType(
    {
        "loss_ratio": Statistic("end loss, SGD over Adam", ("C1", "C9", "C14", "C15", "C16"), True),
        "sgd": Statistic("end loss, SGD", ("C8", "C10", "C13"), False),
        "adam": Statistic("end loss, Adam", ("C8", "C10", "C13"), False),
        "noise": Statistic("noise ratio E", ("C2", "C6", "C11", "C14", "C15", "C16"), True),
        "condition": Statistic("R_med, SGD over Adam", ("C3", "C7", "C12", "C15", "C16"), True),
        "smoothness": Statistic("v'Hv, SGD over Adam", ("C4", "C15", "C16"), True),
        "hessian": Statistic("norm of H, Adam", ("C5", "C15", "C16"), False),
        "gradient": Statistic("norm of g, Adam", ("C5", "C15", "C16"), False),
    }
)
"""What is compared, by name. Losses are typical ones; curvature is that met by the last step."""

MEASURES: MappingProxyType[str, tuple[str, ...]] = MappingProxyType(
    {"noise": ("noise",), "curvature": ("condition", "smoothness", "hessian", "gradient")}
)
"""Statistics beside the losses, by what has to be measured for them."""
