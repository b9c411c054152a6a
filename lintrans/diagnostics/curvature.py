"""Curvature of the loss at given parameters: exact, in float64, for any number of runs at once.

A model of the user's own is evaluated in the dtype of its parameters, which its batches share: give a float64 module,
and a float64 batch, for derivatives that are exact to as many digits. Results are float64 in any case.

Everything stands on Hessian-vector products (:func:`.derivatives.hessian_products`), so that it works
for linear Transformers (compiled loops) and for any other model (autograd). The *robust condition number* is that of
Jiang, Malik and Li (2022, arXiv:2211.02254), the largest over the median magnitude of the Hessian's diagonal;
*directional smoothness* is that of Pan and Li (2023, arXiv:2306.00204), v'Hv along a unit vector v.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, cast

import torch
from torch import Tensor

from ..devices import resolve_dtype
from ..errors import choice, real, yes_or_no
from ..models.embedded import EmbeddedTransformer
from ..models.flatten import Layout, Model, P, pack
from ..models.transformer import LinearTransformer, TensorModel, has_tensor
from .derivatives import hessian_products, moment_loops, single_prompts, slopes_and_products

MEDIANS = ("lower", "midpoint")
COLUMN_BYTES = 2**26
"""Bound on the directions of one call."""

LANCZOS_STEPS = 100
RESIDUAL = 1e-6
"""Relative residual at which a Lanczos run ends; the error of an eigenvalue is of its square."""


def _vectors(model: Model, parameters: P) -> tuple[Tensor, Layout[Any]]:
    """Parameters as vectors [runs, parameters], in float64 but for models of the user's own."""
    flat, layout = pack(model, parameters)
    kind = torch.float64 if has_tensor(model) else flat.dtype
    return flat.detach().to(kind), layout


def _products(
    model: Model, flat: Tensor, layout: Layout[Any], directions: Tensor, prompts: Any, start: int = 0
) -> Tensor:
    """H v for directions [runs, count, parameters]; entries before `start` need not be right."""
    products = hessian_products(model, layout.unpack(flat), layout.unpack(directions), prompts, start=start)
    return pack(model, products)[0].reshape(directions.shape)


def _hessian(model: Model, flat: Tensor, layout: Layout[Any], prompts: Any) -> Tensor:
    """Dense Hessians [runs, parameters, parameters], float64; NaN where a parameter is not finite.

    Part by part of the model: the products with a layer's directions need not be taken back to earlier layers, whose
    entries are known by symmetry.
    """
    runs, size = flat.shape
    lost = ~flat.isfinite().all(-1)
    safe = torch.where(lost[:, None], 0.0, flat)
    if has_tensor(model):
        distinct, place = torch.unique(safe, dim=0, return_inverse=True)
        if len(distinct) < runs:  # before the first step all arms of a seed are the same
            dense = _hessian(model, distinct, layout, prompts)[place]
            dense[lost] = math.nan
            return dense
    columns = max(2, COLUMN_BYTES // (8 * runs * size) // 2 * 2)
    used = _used(model, size).to(flat.device)
    dense = torch.zeros(runs, size, size, dtype=torch.float64, device=flat.device)  # unused rows and columns stay zero
    parts = model.parts if isinstance(model, LinearTransformer | EmbeddedTransformer) else (0,)
    for first, end in zip(parts, (*parts[1:], size), strict=True):
        own = used[(used >= first) & (used < end)]
        for some in torch.split(own, columns):
            units = torch.zeros(len(some), size, dtype=flat.dtype, device=flat.device)
            units[torch.arange(len(some)), some] = 1.0
            rows = _products(model, safe, layout, units.expand(runs, -1, -1), prompts, first)
            dense[:, some, first:] = rows[..., first:].to(torch.float64)
        block = dense[:, first:end, first:end]
        dense[:, first:end, first:end] = 0.5 * (block + block.transpose(-1, -2))
        dense[:, end:, first:end] = dense[:, first:end, end:].transpose(-1, -2)
    dense[lost] = math.nan
    return dense


def _diagonal(model: Model, flat: Tensor, layout: Layout[Any], prompts: Any, dense: Tensor | None = None) -> Tensor:
    """Diagonals of the Hessian [runs, parameters], float64; NaN for runs whose parameters or curvature are not finite.

    By jets in the moment form, which at three layers takes an eighth of the time of dense Hessians; where there are
    none it is that of `dense`, if known.
    """
    found = moment_loops(model, layout.unpack(flat), prompts)
    if found is None:
        dense = _hessian(model, flat, layout, prompts) if dense is None else dense
        return dense.diagonal(dim1=-2, dim2=-1)
    loops, moments = found
    distinct, place = torch.unique(flat, dim=0, return_inverse=True)  # before the first step all arms are the same
    diagonal = loops.diagonals(distinct.cpu(), moments)[place.cpu()].to(flat.device)
    known = flat.isfinite().all(-1) & diagonal.isfinite().all(-1)
    return torch.where(known[:, None], diagonal, math.nan)


def hessian(model: Model, parameters: P, prompts: Any) -> Tensor:
    """Hessian of the loss on prompts, ``[..., G, G]`` in float64, with G parameters a run in the order of `pack`."""
    flat, layout = _vectors(model, parameters)
    dense = _hessian(model, flat, layout, prompts)
    return dense.reshape(*layout.lead, *dense.shape[1:])


def hessian_diagonal(model: Model, parameters: P, prompts: Any) -> P:
    """Diagonal of the Hessian in float64, shaped like the parameters."""
    flat, layout = _vectors(model, parameters)
    diagonal = _diagonal(model, flat, layout, prompts)
    shaped: P = layout.unpack(diagonal.reshape(*layout.lead, -1))
    return shaped


def spectrum(model: Model, parameters: P, prompts: Any) -> Tensor:
    """Eigenvalues of the Hessian, ascending, ``[..., G]`` in float64."""
    return _eigenvalues(hessian(model, parameters, prompts))


def _eigenvalues(dense: Tensor) -> Tensor:
    """Ascending eigenvalues; NaN where the matrix is not finite.

    One matrix at a time, in memory of its own: LAPACK's last bits can depend on where a matrix begins.
    """
    lost = ~dense.isfinite().flatten(-2).all(-1)
    finite = torch.where(lost[..., None, None], 0.0, dense).reshape(-1, *dense.shape[-2:])
    values = torch.stack([torch.linalg.eigvalsh(each.clone()) for each in finite]).reshape(dense.shape[:-1])
    values[lost] = math.nan
    return values


def _middle(magnitudes: Tensor, median: str) -> Tensor:
    """Median over the last axis: the lower of the two middle elements, or their mean."""
    count = magnitudes.shape[-1]
    ordered = magnitudes.sort(dim=-1).values
    lower, upper = ordered[..., (count - 1) // 2], ordered[..., count // 2]
    return lower if median == "lower" else 0.5 * (lower + upper)


def _condition(diagonal: Tensor, median: str) -> Tensor:
    """Largest over median magnitude of the last axis; infinite where the median is zero, NaN where undefined."""
    magnitudes = diagonal.abs()
    return magnitudes.max(-1).values / _middle(magnitudes, median)


def _used(model: Model, size: int) -> Tensor:
    """Indices of the parameters that can affect the loss."""
    if has_tensor(model):
        return (~model.structural_zeros.reshape(-1)).nonzero().squeeze(-1)
    return torch.arange(size)


def _met(model: Model, flat: Tensor, layout: Layout[Any], dense: Tensor, prompts: Any) -> Tensor:
    """Indices of the parameters whose value the loss meets in some run: NaN in its place reaches the loss.

    Only rows of zeros in the Hessian are tried: a linear term or a dead unit has such a row too, and counts.
    """
    used = torch.ones(layout.size, dtype=torch.bool, device=flat.device)
    points = torch.where(flat.isfinite().all(-1, keepdim=True), flat, 0.0)
    with torch.no_grad():
        for entry in (dense.nan_to_num(0.0) == 0).all(-1).all(0).nonzero().squeeze(-1).tolist():
            spoiled = points.clone()
            spoiled[:, entry] = math.nan
            try:
                used[entry] = cast(Any, model).loss(layout.unpack(spoiled), prompts).isnan().any()
            except (ArithmeticError, ValueError, RuntimeError):  # the loss looked, and refused
                used[entry] = True
    if not used.any():
        raise ValueError("no parameter affects the loss on these prompts: the robust condition number has no entries")
    return used.nonzero().squeeze(-1)


def robust_condition_number(
    model: Model, parameters: P, prompts: Any, *, median: str = "lower", unused: bool = True
) -> Tensor:
    """R_med = max |H_ii| / median |H_ii| of the loss on prompts (Jiang, Malik & Li 2022), ``[...]`` in float64.

    The value hangs on conventions that are easily left unsaid: with an even number of entries there are two middle
    ones, and entries that no loss depends on are zeros which pull the median down. Infinite, with a warning, where the
    median is zero. Parameters are ``[..., *model.parameter_shape]``, or a mapping.

    `median` is "lower" (the lower of the two middle elements, as ``torch.median``) or "midpoint" (their mean, as
    ``numpy.median``). `unused` says whether entries count that can never affect the loss, such as the last layer's P in
    the sparse form; of a model with named parameters those whose value the loss on these prompts never meets.

    Raises:
        ValueError: `unused` is False, and no entry affects the loss.
    """
    choice("median", median, MEDIANS)
    yes_or_no("unused", unused)
    flat, layout = _vectors(model, parameters)
    if unused or has_tensor(model):
        diagonal = _diagonal(model, flat, layout, prompts)
        diagonal = diagonal if unused else diagonal[:, _used(model, layout.size)]
    else:
        dense = _hessian(model, flat, layout, prompts)
        met = _met(model, flat, layout, dense, prompts)
        diagonal = dense.diagonal(dim1=-2, dim2=-1)[:, met]
    values = _condition(diagonal, median)
    if (values.isinf() & (_middle(diagonal.abs(), median) == 0)).any():
        advice = ": leave out entries without effect (unused=False)" if unused else ""
        warnings.warn(
            f"the median of the Hessian's diagonal is zero, so the robust condition number is infinite{advice}",
            stacklevel=2,
        )
    return values.reshape(layout.lead)


def conditions(model: TensorModel, parameters: Tensor, prompts: Any, *, eigenvalues: bool = True) -> dict[str, Tensor]:
    """All conventions of R_med and the ends of the spectrum, each ``[...]`` in float64, NaN for lost runs.

    Keys: ``r_lower``, ``r_midpoint``, ``r_used`` (without structural zeros, midpoint), ``r_blocks`` (the largest over
    the median magnitude, midpoint, inside each block, geometric mean over ``model.blocks``), and of a model that has
    ``block_names`` the median magnitude of each block, ``block_P1``, ``block_Q1`` and so on. So r_lower is exactly
    r_blocks (within blocks) times r_used / r_blocks (between blocks) times r_lower / r_used (convention).

    With `eigenvalues`, which takes the dense Hessian and ten times as long, also ``eigenvalue_max``,
    ``eigenvalue_min``, and ``r_eigenvalues``, the largest over the median magnitude of the eigenvalues that structure
    does not make zero.
    """
    yes_or_no("eigenvalues", eigenvalues)
    flat, layout = _vectors(model, parameters)
    dense = _hessian(model, flat, layout, prompts) if eigenvalues else None
    diagonal, used = _diagonal(model, flat, layout, prompts, dense), _used(model, layout.size)
    blocks = torch.stack([_condition(diagonal[:, block], "midpoint") for block in model.blocks], dim=-1)
    values = {
        "r_lower": _condition(diagonal, "lower"),
        "r_midpoint": _condition(diagonal, "midpoint"),
        "r_used": _condition(diagonal[:, used], "midpoint"),
        "r_blocks": blocks.log().mean(-1).exp(),
    }
    for name, block in zip(getattr(model, "block_names", ()), model.blocks, strict=False):
        values[f"block_{name}"] = _middle(diagonal[:, block].abs(), "midpoint")
    if dense is not None:
        spectra = _eigenvalues(dense[:, used][:, :, used])
        values["r_eigenvalues"] = _condition(spectra, "midpoint")
        values["eigenvalue_max"], values["eigenvalue_min"] = spectra[:, -1], spectra[:, 0]
    return {name: value.reshape(layout.lead) for name, value in values.items()}


def worst_shares(model: LinearTransformer | EmbeddedTransformer, parameters: Tensor, prompts: Any) -> dict[str, Tensor]:
    """What the single worst prompt of a batch has of the whole, each ``[...]`` in float64, NaN for lost runs.

    Keys: ``loss``, the mean over the batch; ``worst_loss_share``, the largest squared error over the sum of all; and
    ``worst_trace_share``, the largest magnitude of a prompt's own trace of the Hessian over the sum of all magnitudes
    (traces may be negative), which need not be the same prompt's.
    """
    flat, layout = _vectors(model, parameters)
    squares, traces = single_prompts(model, flat.reshape(-1, *model.parameter_shape), prompts)
    values = {
        "loss": squares.mean(-1),
        "worst_loss_share": squares.max(-1).values / squares.sum(-1),
        "worst_trace_share": traces.abs().max(-1).values / traces.abs().sum(-1),
    }
    lost = ~(flat.isfinite().all(-1) & values["loss"].isfinite())
    return {name: torch.where(lost, math.nan, value).reshape(layout.lead) for name, value in values.items()}


def directional_smoothness(model: Model, parameters: P, direction: P, prompts: Any) -> Tensor:
    """V'Hv with v the direction at unit length (Pan & Li 2023), ``[...]`` in float64; NaN where the direction is zero.

    It is signed: negative curvature stays negative. The direction is shaped like the parameters,
    ``[..., *model.parameter_shape]`` or a mapping: the step that an optimizer made from there, say.
    """
    flat, layout = _vectors(model, parameters)
    unit, _, product = _along(model, flat, layout, _vectors(model, direction)[0], prompts)
    return (unit * product).sum(-1).reshape(layout.lead)


def _along(
    model: Model, flat: Tensor, layout: Layout[Any], direction: Tensor, prompts: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """(v, g, Hv) for vectors [runs, parameters], float64: the gradient is a by-product."""
    direction = direction / direction.abs().amax(-1, keepdim=True)  # first, so that no square overflows
    unit = direction / torch.linalg.vector_norm(direction, dim=-1, keepdim=True)  # NaN where there is no direction
    lost = ~(unit.isfinite().all(-1) & flat.isfinite().all(-1))
    v, points = (torch.where(lost[:, None], 0.0, each) for each in (unit, flat))
    found = slopes_and_products(model, layout.unpack(points), layout.unpack(v[:, None]), prompts)
    slope, product = (pack(model, part)[0].reshape(flat.shape).to(torch.float64) for part in found)
    return unit.to(torch.float64), slope, torch.where(lost[:, None], math.nan, product)


def step_measures(
    model: Model, before: P, after: P, prompts: Any, *, spectral: bool = False, residual: float = RESIDUAL
) -> dict[str, Tensor]:
    """What one realised step meets, each ``[...]`` in float64, NaN for runs that did not move.

    Keys: ``directional_smoothness`` (v'Hv at `before`, v the unit vector of the step), ``hessian_step_norm`` (||Hv||),
    ``gradient_norm`` (||g||, g the gradient on the prompts), ``slope`` (g.v), ``step_length``; with `spectral` also
    ``spectral_norm``, the largest magnitude of an eigenvalue, to a relative `residual`, whose square is its error.
    """
    residual = real("residual", residual, above=0)
    yes_or_no("spectral", spectral)
    flat, layout = _vectors(model, before)
    step = _vectors(model, after)[0] - flat
    unit, gradient, product = _along(model, flat, layout, step, prompts)
    curvature = (unit * product).sum(-1)
    values = {
        "directional_smoothness": curvature,
        "hessian_step_norm": torch.linalg.vector_norm(product, dim=-1),
        "gradient_norm": torch.linalg.vector_norm(gradient, dim=-1),
        "slope": (gradient * unit).sum(-1),
        "step_length": torch.linalg.vector_norm(step, dim=-1),
    }
    if spectral:
        values["spectral_norm"] = _largest(model, flat, layout, prompts, residual).abs()
    moved = curvature.isfinite()
    return {name: torch.where(moved, value, math.nan).reshape(layout.lead) for name, value in values.items()}


def spectral_norm(
    model: Model, parameters: P, prompts: Any, *, residual: float = RESIDUAL, dtype: str | torch.dtype | None = None
) -> Tensor:
    """||H||_2, the largest magnitude of an eigenvalue, negative ones included, ``[...]`` in float64.

    To a relative `residual`, whose square is its error. A :class:`~lintrans.models.transformer.TensorModel` may make
    its products in `dtype` "float32", on a network two to three times as fast as in float64, and good to four digits.

    Raises:
        ValueError: `dtype` was given for another kind of model, which computes in that of its parameters.
    """
    residual = real("residual", residual, above=0)
    flat, layout = _vectors(model, parameters)
    if dtype is not None:
        if not has_tensor(model):
            raise ValueError(
                f"dtype = {dtype!r} is not allowed for a model of your own, which computes in the dtype of its "
                f"parameters, here {flat.dtype}: leave it out, or convert the parameters and the batch"
            )
        flat = flat.to(resolve_dtype(dtype, flat.dtype))
        prompts = prompts.to(flat.dtype)
    return _largest(model, flat, layout, prompts, residual).abs().reshape(layout.lead)


def _largest(model: Model, flat: Tensor, layout: Layout[Any], prompts: Any, residual: float) -> Tensor:
    """Signed eigenvalue of largest magnitude for every run at once, by Lanczos with full reorthogonalization.

    Each run goes on until its residual is `residual`, relative to its eigenvalue (or what its dtype allows), whatever
    the others do; those that go on share their products.
    """
    size = flat.shape[1]
    values = torch.full((len(flat),), math.nan, dtype=torch.float64, device=flat.device)
    least = torch.finfo(flat.dtype).eps
    residual = max(residual, 10 * least)
    left = flat.isfinite().all(-1).nonzero().squeeze(-1)
    start = torch.randn(size, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(flat)
    basis = (start / torch.linalg.vector_norm(start)).expand(len(left), 1, -1)  # [runs left, steps, parameters]
    diagonal = beside = flat.new_zeros(len(left), 0)  # the tridiagonal matrix of each run
    for _ in range(min(size, LANCZOS_STEPS)):
        if not len(left):
            break
        q = basis[:, -1]
        w = _products(model, flat[left], layout, q[:, None], prompts)[:, 0]
        lost = ~w.isfinite().all(-1)
        w = torch.where(lost[:, None], 0.0, w)
        diagonal = torch.cat([diagonal, (w * q).sum(-1, keepdim=True)], dim=1)
        for _ in range(2):  # twice is enough for orthogonality to rounding
            along = (basis * w[:, None]).sum(-1)  # no matrix products, whose last bits depend on the other runs
            w = w - (along[..., None] * basis).sum(1)
        norm = torch.linalg.vector_norm(w, dim=-1)
        value, last = _ritz(diagonal, beside)
        values[left] = torch.where(lost, math.nan, value).to(torch.float64)
        exhausted = norm <= 50 * least * value.abs()  # of a Krylov space that is complete
        on = ~(lost | exhausted | (norm * last.abs() <= residual * value.abs()))
        left, diagonal, beside = left[on], diagonal[on], torch.cat([beside, norm[:, None]], dim=1)[on]
        basis = torch.cat([basis[on], (w[on] / norm[on, None])[:, None]], dim=1)
    return values


def _ritz(diagonal: Tensor, beside: Tensor) -> tuple[Tensor, Tensor]:
    """Ritz value of largest magnitude and the last entry of its vector, of tridiagonals [runs, k] and [runs, k - 1]."""
    matrix = torch.diag_embed(diagonal)
    if beside.shape[1]:
        matrix = matrix + torch.diag_embed(beside, offset=1) + torch.diag_embed(beside, offset=-1)
    values, vectors = map(torch.stack, zip(*[torch.linalg.eigh(each.clone()) for each in matrix], strict=True))
    place = values.abs().argmax(-1)
    rows = torch.arange(len(values), device=values.device)
    return values[rows, place], vectors[rows, -1, place]
