"""Feature similarity: Zhang, Zhang, Mou, Zhang, "FSIM", IEEE TIP 20(8), 2011, doi 10.1109/TIP.2011.2109730.

Phase congruency says where a picture has features whatever their contrast, the gradient how strong they
are; FSIM compares both and weights each pixel by the larger of the two phase congruencies. Written from the
paper and checked against the authors' MATLAB code, ``FeatureSIM.m``, whose conventions it follows where the
paper is silent: zeros beyond the border for the gradient, and its way of down-sampling pictures whose
shorter side exceeds 383 pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from facehall_env.metrics.phase import phase_congruency
from facehall_env.metrics.pixels import MetricInputError

T1 = 0.85
"""Steadies the ratio of phase congruencies (Eq. (4))."""
T2 = 160.0
"""Steadies the ratio of gradient magnitudes (Eq. (5))."""
FEATURELESS = 1e-6
"""Total weight below which a pair has no feature anywhere: two even pictures."""


def feature_similarity(x: Tensor, y: Tensor) -> Tensor:
    """FSIM of each pair, Eq. (9).

    Where neither picture has a feature, for which the equation says 0 / 0, all pixels weigh the same.

    Args:
        x: Luma 0..255 (N, H, W).
        y: Luma of the same shape.

    Returns:
        Similarity (N,), float64. Computed in float32, which is exact to better than 1e-6.

    Raises:
        MetricInputError: If the pictures are smaller than 2 x 2.
    """
    if min(x.shape[1:]) < 2:
        raise MetricInputError(
            f"FSIM needs pictures of at least 2 x 2 pixels, not {x.shape[1]} x {x.shape[2]}"
        )
    both = _downsample(torch.cat((x, y)))
    phase_x, phase_y = phase_congruency(both).chunk(2)
    gradient_x, gradient_y = _gradient_magnitude(both).chunk(2)
    similarity = _ratio(phase_x, phase_y, T1) * _ratio(gradient_x, gradient_y, T2)
    weight = torch.maximum(phase_x, phase_y)
    featureless = weight.sum((1, 2), keepdim=True) < FEATURELESS
    weight = torch.where(featureless, torch.ones_like(weight), weight).double()
    return (similarity * weight).sum((1, 2)) / weight.sum((1, 2))


def _ratio(a: Tensor, b: Tensor, constant: float) -> Tensor:
    return (2 * a * b + constant) / (a * a + b * b + constant)


def _gradient_magnitude(x: Tensor) -> Tensor:
    """Scharr's operator divided by 16 (Section II-B), zeros beyond the border."""
    x = F.pad(x, (1, 1, 1, 1))
    across = x[:, :, 2:] - x[:, :, :-2]
    down = x[:, 2:] - x[:, :-2]
    horizontal = (3 * (across[:, :-2] + across[:, 2:]) + 10 * across[:, 1:-1]) / 16
    vertical = (3 * (down[:, :, :-2] + down[:, :, 2:]) + 10 * down[:, :, 1:-1]) / 16
    return (horizontal * horizontal + vertical * vertical).sqrt()


def _downsample(x: Tensor) -> Tensor:
    """Average F x F pixels around every F-th one, with zeros beyond the border.

    F = max(1, round(min(H, W) / 256)): the index was fitted to the distance people look at pictures from.
    """
    height, width = x.shape[1:]
    factor = max(1, int(min(height, width) / 256 + 0.5))  # MATLAB's round: halves go up
    if factor == 1:
        return x
    before = (factor - 1) // 2
    padding = [(before, -(-size // factor) * factor - size - before) for size in (width, height)]
    return F.avg_pool2d(F.pad(x, padding[0] + padding[1]), factor)
