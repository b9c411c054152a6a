"""The page on the model: one prompt and what one attention layer does with it, softmax beside linear."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ...random import Stream
from ...tasks.regression import LinearRegression

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Attended:
    """A prompt and the weights that one layer gives its examples.

    Attributes:
        tokens: Z_0, [d + 1, n + 1]; the last entry, which the model has to fill in, is NaN.
        scores: x_i . x, of every example i with the question x, [n].
        linear, softmax: weights of the responses in the answer, [n].
        answers: sums of weights times responses, by kind.
        target: the missing response.
    """

    tokens: Array
    scores: Array
    linear: Array
    softmax: Array
    answers: dict[str, float]
    target: float


def one_prompt(task: LinearRegression, seed: int = 0) -> Attended:
    """A prompt of Gaussian covariates, read by the best linear layer there is and by softmax of the same scores.

    The linear layer has Q' = -n / (n + d + 1) I, which is best (Ahn et al. 2023); its scores are those of softmax too.
    """
    prompt = task.sample(1, seed, stream=Stream.TEST, dtype=torch.float64)
    x, y = prompt.covariates[0].numpy(), prompt.responses[0].numpy()
    d, n = x.shape[1], len(x) - 1
    scores = x[:n] @ x[n]
    linear = scores / (n + d + 1)
    softmax = np.exp(scores - scores.max())
    softmax /= softmax.sum()
    shown = y.copy()
    shown[n] = np.nan
    answers = {"linear": float(linear @ y[:n]), "softmax": float(softmax @ y[:n])}
    return Attended(np.vstack([x.T, shown]), scores, linear, softmax, answers, float(y[n]))


def weights_in_words(found: Attended) -> str:
    """What tells the two kinds of weights apart, in a sentence without its full stop."""
    negative = int((found.linear < 0).sum())
    return f"{negative} of {len(found.linear)} linear weights are negative; softmax's are positive and sum to 1"
