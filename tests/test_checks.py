"""The model page's live checks: they pass when the forms agree, and say so when they do not."""

from __future__ import annotations

import pytest
import torch

import lintrans as lt
from lintrans import checks


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
