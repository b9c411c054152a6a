"""Models: a Transformer on prompts, one behind a network, any PyTorch module; parameters as one vector."""

from __future__ import annotations

from .embedded import EmbeddedTransformer, FeatureRegression, Network
from .module_model import ModuleModel
from .torch_module import TorchModel
from .transformer import LinearTransformer, TensorModel

__all__ = [
    "EmbeddedTransformer",
    "FeatureRegression",
    "LinearTransformer",
    "ModuleModel",
    "Network",
    "TensorModel",
    "TorchModel",
]
