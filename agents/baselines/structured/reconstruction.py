"""From gradients to a picture: Yang et al., Eq. (7), by gradient descent with an exact line search."""

from __future__ import annotations

from torch import Tensor

from agents.baselines.structured.gradients import gradients, gradients_adjoint
from facehall_env.resample import Resampler


def reconstruct(
    low: Tensor, initial: Tensor, target: Tensor, resampler: Resampler, *, fidelity: float, iterations: int
) -> tuple[Tensor, list[Tensor]]:
    """Minimise ``fidelity |D I - y|^2 + |grad I - G|^2`` over pictures I, from I_0 on.

    The objective is a quadratic, so the best step along its gradient is known: no step is tried in vain, and
    none leads upwards.

    Args:
        low: y, (N, h, w).
        initial: Where to start, (N, H, W).
        target: G, (N, 4, H, W).
        resampler: D, the box average.
        fidelity: Weight of the first term.
        iterations: Steps.

    Returns:
        The pictures, (N, H, W), and the objective of each before every step and after the last, (N,) tensors.
    """
    picture = initial
    shrunk = _shrink(picture, resampler) - low
    slopes = gradients(picture) - target
    energies = [_energy(shrunk, slopes, fidelity)]
    for _ in range(iterations):
        uphill = fidelity * _shrink_adjoint(shrunk, resampler) + gradients_adjoint(slopes)
        along_shrunk, along_slopes = _shrink(uphill, resampler), gradients(uphill)
        curvature = _energy(along_shrunk, along_slopes, fidelity)
        step = uphill.square().sum((1, 2)) / curvature.clamp_min(1e-20)
        picture = picture - step[:, None, None] * uphill
        shrunk = shrunk - step[:, None, None] * along_shrunk
        slopes = slopes - step[:, None, None, None] * along_slopes
        energies.append(_energy(shrunk, slopes, fidelity))
    return picture, energies


def _energy(shrunk: Tensor, slopes: Tensor, fidelity: float) -> Tensor:
    return fidelity * shrunk.square().sum((1, 2)) + slopes.square().sum((1, 2, 3))


def _shrink(pictures: Tensor, resampler: Resampler) -> Tensor:
    return resampler.shrink(pictures[:, None])[:, 0]


def _shrink_adjoint(pictures: Tensor, resampler: Resampler) -> Tensor:
    return resampler.shrink_adjoint(pictures[:, None])[:, 0]
