"""lintrans: linear Transformers on random linear regression, and what training them shows.

The names below are the library: a task draws prompts, a model predicts, :func:`train` trains runs together with
probes, :func:`experiment` keeps the result. :mod:`.paper` and :mod:`.publish`, one paper's claims and the book that
shows them, use it and are not used by it.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import TYPE_CHECKING

from .diagnostics.along import Conditions, StepCurvature
from .diagnostics.curvature import directional_smoothness, hessian_diagonal, robust_condition_number, spectral_norm
from .diagnostics.noise import gradient_noise
from .models.embedded import EmbeddedTransformer, FeatureRegression
from .models.module_model import ModuleModel
from .models.torch_module import TorchModel
from .models.transformer import LinearTransformer
from .random import Stream
from .store.distributed import distributed
from .store.results import experiment
from .tasks.examples import Examples
from .tasks.regression import GammaScaled, Gaussian, LinearRegression, Moments, Prompts, Sphere
from .training.history import History
from .training.optimizers import SGD, Adam, NormalizedSGD, Signum
from .training.probes import TestLoss, TypicalLoss
from .training.runs import Run, Runs, grid
from .training.train import train

try:
    __version__ = version("lintrans")
except PackageNotFoundError:  # a source tree that was not installed
    __version__ = "0+unknown"

__all__ = [
    "SGD",
    "Adam",
    "Conditions",
    "EmbeddedTransformer",
    "Examples",
    "FeatureRegression",
    "GammaScaled",
    "Gaussian",
    "History",
    "LinearRegression",
    "LinearTransformer",
    "ModuleModel",
    "Moments",
    "NormalizedSGD",
    "Prompts",
    "Run",
    "Runs",
    "Signum",
    "Sphere",
    "StepCurvature",
    "Stream",
    "TestLoss",
    "TorchModel",
    "TypicalLoss",
    "__version__",
    "book",
    "directional_smoothness",
    "distributed",
    "experiment",
    "gradient_noise",
    "grid",
    "hessian_diagonal",
    "robust_condition_number",
    "settings",
    "spectral_norm",
    "train",
]  # fmt: skip

if TYPE_CHECKING:
    from . import book, settings
else:

    def __getattr__(name: str) -> ModuleType:
        """Import the book or its settings when somebody asks for them: the library needs neither."""
        if name in ("book", "settings"):
            return import_module(f".{name}", __name__)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
