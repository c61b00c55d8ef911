"""Structural similarity (Wang et al., IEEE TIP 13(4), 2004).

torchmetrics has it too, but averages over the padded border as well and is many times slower in double
precision, which the variances need; scikit-image computes exactly this, one picture at a time on the CPU,
and is what the tests compare with. Here the window is applied as a banded matrix from both sides, which any
device does fast.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from facehall_env.metrics.pixels import MetricInputError

WINDOW = 11
SIGMA = 1.5
C1 = (0.01 * 255) ** 2
C2 = (0.03 * 255) ** 2


def structural_similarity(x: Tensor, y: Tensor) -> Tensor:
    """Mean structural similarity of each pair.

    Args:
        x: Luma 0..255 (N, H, W), at least 11 x 11.
        y: Luma of the same shape.

    Returns:
        Similarity (N,), float64.

    Raises:
        MetricInputError: If the pictures are smaller than the window.
    """
    height, width = x.shape[1:]
    if height < WINDOW or width < WINDOW:
        raise MetricInputError(
            f"SSIM needs pictures of at least {WINDOW} x {WINDOW} pixels, not {height} x {width}"
        )
    rows, columns = _window_matrix(height, x.device), _window_matrix(width, x.device)
    x, y = x.double(), y.double()
    maps = torch.stack((x, y, x * x, y * y, x * y))
    mean_x, mean_y, xx, yy, xy = (rows @ (maps @ columns.T)).unbind()
    mean_xx, mean_yy, mean_xy = mean_x * mean_x, mean_y * mean_y, mean_x * mean_y
    luminance = (2 * mean_xy + C1) / (mean_xx + mean_yy + C1)
    structure = (2 * (xy - mean_xy) + C2) / ((xx - mean_xx) + (yy - mean_yy) + C2)
    return (luminance * structure).mean((1, 2))


@lru_cache(maxsize=16)
def _window_matrix(size: int, device: torch.device) -> Tensor:
    """Matrix (size - 10, size) of the Gaussian window at every position inside the picture."""
    offsets = np.arange(WINDOW) - WINDOW // 2
    window = np.exp(-(offsets**2) / (2 * SIGMA**2))
    window /= window.sum()
    positions = size - WINDOW + 1
    matrix = np.zeros((positions, size))
    for position in range(positions):
        matrix[position, position : position + WINDOW] = window
    return torch.from_numpy(matrix).to(device)
