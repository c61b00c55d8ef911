"""What a face looks like around its points: histograms of gradient orientations, as SIFT's.

Computed for a whole batch at once and at any fraction of a pixel, which the descriptors of OpenCV and
scikit-image are not: they take one picture a call, and OpenCV's HOG whole pixels only.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

ORIENTATIONS: Final = 8
CELLS: Final = 4
"""Cells along either side of the window."""
LENGTH: Final = ORIENTATIONS * CELLS * CELLS
"""Numbers that describe one point."""
_CLIP: Final = 0.2
"""Largest share of one bin (Lowe 2004, section 6.1), so that one strong edge does not rule a descriptor."""


def orientation_maps(gray: Tensor, cell: int) -> Tensor:
    """Gradient magnitude by orientation, gathered over a cell around every pixel.

    Args:
        gray: Pictures (N, H, W) in [0, 1].
        cell: Side of a cell in pixels.

    Returns:
        Maps (N, 8, H, W): each gradient counts for its two nearest orientations, and for pixels up to a cell
        away by a weight that falls off linearly.
    """
    padded = F.pad(gray[:, None], (1, 1, 1, 1), mode="replicate")
    right = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    down = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    angle = torch.atan2(down, right) * (ORIENTATIONS / (2 * torch.pi))
    bins = torch.arange(ORIENTATIONS, device=gray.device, dtype=gray.dtype)[None, :, None, None]
    away = (angle - bins + ORIENTATIONS / 2) % ORIENTATIONS - ORIENTATIONS / 2
    maps = torch.hypot(right, down) * (1 - away.abs()).clamp_min(0)
    gather = _gathering(gray.shape[1], cell).to(maps), _gathering(gray.shape[2], cell).to(maps)
    return gather[0] @ (maps @ gather[1].T)


@lru_cache(maxsize=8)
def _gathering(size: int, cell: int) -> Tensor:
    """Matrix (size, size) of the average weighted by a tent two cells wide, the picture's edge going on."""
    at = np.arange(size)[:, None] + np.arange(1 - cell, cell)
    weight = 1 - np.abs(np.arange(1 - cell, cell)) / cell
    matrix = np.zeros((size, size), np.float32)
    np.add.at(matrix, (np.arange(size)[:, None], at.clip(0, size - 1)), weight / weight.sum())
    return torch.from_numpy(matrix)


def describe(maps: Tensor, points: Tensor, cell: int) -> Tensor:
    """Descriptors of points.

    Args:
        maps: From `orientation_maps` with the same cell, (N, 8, H, W).
        points: (N, K, 2), pixels (x, y); outside the picture its edge goes on.
        cell: Side of a cell in pixels; the window is four cells wide.

    Returns:
        (N, K, 128), each of length one (zero where there is no gradient at all).
    """
    n, k = points.shape[:2]
    height, width = maps.shape[2:]
    offsets = (torch.arange(CELLS, device=points.device, dtype=points.dtype) - (CELLS - 1) / 2) * cell
    grid = torch.stack(torch.meshgrid(offsets, offsets, indexing="xy"), -1).reshape(1, 1, -1, 2)
    at = points[:, :, None] + grid
    size = torch.tensor([width, height], device=points.device, dtype=points.dtype)
    at = (2 * at + 1) / size - 1
    values = F.grid_sample(maps, at, mode="bilinear", padding_mode="border", align_corners=False)
    found = values.permute(0, 2, 3, 1).reshape(n, k, LENGTH)
    return F.normalize(F.normalize(found, dim=-1).clamp_max(_CLIP), dim=-1)
