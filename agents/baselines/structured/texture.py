"""Texture: small patches of the nearest exemplars, each from the place near its own that fits best."""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from facehall_env.resample import Resampler

SEARCH: Final = 4
"""How far a patch is looked for, in high-resolution pixels either way."""
PATCH: Final = 5
"""Side of a patch in low-resolution pixels."""
_SPREAD: Final = 1.0  # of the weights by which overlapping patches are averaged, in low-resolution pixels


def texture_picture(low: Tensor, exemplars: Tensor, resampler: Resampler) -> Tensor:
    """The picture that the best patches make together.

    Each 5x5 patch of the low-resolution face takes the exemplar, and the shift of up to 4 high-resolution
    pixels, whose own low-resolution patch is nearest. Overlapping patches are averaged, near the middle of a
    patch with more weight, and what their low-resolution versions lack is added, enlarged.

    Args:
        low: Luminance of the low-resolution face, (h, w).
        exemplars: Exemplars laid over the face, luminance, (E, H, W).
        resampler: Of the *aligned* protocol, as what is lacking lies where the pixels are.

    Returns:
        (H, W).
    """
    scale = resampler.scale
    h, w = low.shape
    padded = F.pad(exemplars[:, None], (SEARCH,) * 4, mode="replicate")
    boxes = F.avg_pool2d(padded, scale, stride=1)[:, 0]
    padded = padded[:, 0]
    shifts = range(2 * SEARCH + 1)
    best = torch.full((h, w), torch.inf)
    which, row, column = (torch.zeros((h, w), dtype=torch.long) for _ in range(3))
    for down in shifts:
        for right in shifts:
            shrunk = boxes[:, down::scale, right::scale][:, :h, :w]
            cost = F.avg_pool2d(
                (shrunk - low).square()[:, None], PATCH, stride=1, padding=PATCH // 2, count_include_pad=False
            )[:, 0]
            value, exemplar = cost.min(0)
            better = value < best
            best = torch.where(better, value, best)
            which = torch.where(better, exemplar, which)
            row, column = torch.where(better, down, row), torch.where(better, right, column)
    return _assemble(low, padded, boxes, (which, row, column), resampler)


def _assemble(
    low: Tensor, padded: Tensor, boxes: Tensor, match: tuple[Tensor, Tensor, Tensor], resampler: Resampler
) -> Tensor:
    """Average what all patches say about each block of pixels, then mend its low-resolution version."""
    scale = resampler.scale
    h, w = low.shape
    i, j = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    inside = torch.arange(scale)
    high, shrunk, total = torch.zeros(h, w, scale, scale), torch.zeros(h, w), 0.0
    reach = range(-(PATCH // 2), PATCH // 2 + 1)
    for down in reach:
        for right in reach:
            weight = float(torch.exp(torch.tensor(-(down**2 + right**2) / (2 * _SPREAD**2))))
            centre = ((i + down).clamp(0, h - 1), (j + right).clamp(0, w - 1))  # of the patch that speaks
            which, row, column = (part[centre] for part in match)
            row, column = row + scale * i, column + scale * j
            rows = (row[..., None] + inside)[..., :, None]
            columns = (column[..., None] + inside)[..., None, :]
            high += weight * padded[which[..., None, None], rows, columns]
            shrunk += weight * boxes[which, row, column]
            total += weight
    picture = (high / total).permute(0, 2, 1, 3).reshape(h * scale, w * scale)
    return picture + resampler.enlarge((low - shrunk / total)[None, None])[0, 0]
