"""Tasks: laws of covariates, and the prompts that are drawn by them."""

from __future__ import annotations

from .regression import Array, Covariates, GammaScaled, Gaussian, LinearRegression, Moments, Prompts, Sphere, Task

__all__ = ["Array", "Covariates", "GammaScaled", "Gaussian", "LinearRegression", "Moments", "Prompts", "Sphere", "Task"]
