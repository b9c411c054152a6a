"""The model page's live checks: they pass when the forms agree, and say so when they do not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lintrans as lt
from lintrans.paper.figures.prompt import prompt_and_layer
from lintrans.paper.measure import checks
from lintrans.paper.pages import model as pages
from lintrans.random import Stream


def test_forms_agree_and_a_wrong_one_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    task = lt.LinearRegression(3, 4)
    agreement = checks.token_against_moment(task, depths=(1, 3), heads=2, batch=5, seeds=range(2))
    assert len(agreement) == 8
    assert "agree to rounding" in checks.describe_agreement(agreement)
    assert list(checks.agreement_table(agreement).columns) == ["form", "layers", "prediction", "gradient"]

    def wrong(self: lt.LinearTransformer, parameters: torch.Tensor, moments: lt.Moments) -> torch.Tensor:
        return 1.001 * right(self, parameters, moments)

    right = lt.LinearTransformer._predict_moments
    monkeypatch.setattr(lt.LinearTransformer, "_predict_moments", wrong)
    assert "differ by more than" in checks.describe_agreement(
        checks.token_against_moment(task, (2,), batch=5, seeds=(0,))
    )


def test_one_layer_curve() -> None:
    curve = checks.one_layer(lt.LinearRegression(2, 5), batch=4000, seeds=range(3))
    assert curve.measured.shape == (3, len(curve.scales))
    assert curve.least == pytest.approx(0.75)
    assert abs(curve.measured.mean(0) / curve.exact - 1).max() < 0.15
    assert "the least possible is 0.750" in checks.describe_one_layer(curve)
    with pytest.raises(ValueError, match="not standard normal"):
        checks.one_layer(lt.LinearRegression(2, 5, lt.Sphere()))


def test_covariate_scale_is_a_reparameterization(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss and gradients to rounding, the balance of Q and P by c^4 and c^2; a wrong power would be seen."""
    found = checks.covariate_scale(lt.LinearRegression(3, 4, lt.GammaScaled(0.1, 10.0)), batch=20, seeds=range(2))
    assert len(found) == 2 * len(checks.SCALES)
    assert found[["loss", "gradient_p", "gradient_q"]].to_numpy().max() < 1e-12
    np.testing.assert_allclose(found["sgd"], found["factor"] ** 4, rtol=1e-10)
    np.testing.assert_allclose(found["adam"], found["factor"] ** 2, rtol=1e-10)
    assert "holds to rounding" in checks.describe_scale(found)
    assert "fails by more than" in checks.describe_scale(found.assign(adam=1.0))
    table = checks.scale_table(found)
    assert list(table["c²"]) == ["0.2", "9"]
    assert "c⁴ = 0.04" in str(table.loc[0, "SGD: Q over P"])


def test_gradient_descent_on_scaled_covariates_retraces_its_path() -> None:
    """With rates lr / c^2 for P and lr / c^6 for Q; with one rate for both it does not."""
    c, lr = 5**-0.5, 0.005
    model = lt.LinearTransformer(layers=3, d=3, init_std=0.1)
    prompts = lt.LinearRegression(3, 6).sample(50, dtype=torch.float64)
    scaled = lt.Prompts(c * prompts.covariates, c * prompts.responses)
    units = torch.tensor([1.0, c**2], dtype=torch.float64).reshape(2, 1, 1)

    def descend(parameters: torch.Tensor, batch: lt.Prompts, rates: torch.Tensor | float) -> torch.Tensor:
        for _ in range(5):
            leaf = parameters.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(model.loss(leaf, batch), leaf)
            parameters = parameters - rates * gradient
        return parameters

    start = model.init(0, dtype=torch.float64)
    expected = descend(start, prompts, lr)
    torch.testing.assert_close(units * descend(start / units, scaled, lr / c**2 / units**2), expected)
    other = units * descend(start / units, scaled, lr / c**2)
    assert not torch.allclose(other, expected, rtol=1e-6)


def test_the_picture_of_a_prompt() -> None:
    """Softmax weighs, the best linear layer takes shares of scores; the answer on the picture is the model's own."""
    task = lt.LinearRegression(3, 6)
    found = pages.one_prompt(task)
    assert found.softmax.sum() == pytest.approx(1)
    assert (found.softmax > 0).all()
    model = lt.LinearTransformer(layers=1, d=3)
    parameters = torch.zeros(model.parameter_shape, dtype=torch.float64)
    parameters[0, 0, 1] = -task.n / (task.n + task.d + 1) * torch.eye(3, dtype=torch.float64)
    prompts = task.sample(1, stream=Stream.TEST, dtype=torch.float64)
    assert found.answers["linear"] == pytest.approx(float(model.predict(parameters, prompts)))
    assert found.target == pytest.approx(float(prompts.target))
    assert np.isnan(found.tokens[-1, -1])
    top, linear, softmax, _ = prompt_and_layer(found.tokens, found.linear, found.softmax, "title").axes
    assert len(linear.patches) == len(softmax.patches) == task.n
    assert len(top.images) == 1
