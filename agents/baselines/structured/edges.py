"""Edges: up-sampling that follows them, and gradients as steep as those of real faces.

A bicubic enlargement has edges in the right places, but too wide. How steep the gradients are at an edge of
a real face is looked up in a table learned on training faces: by the distance to the edge's ridge, the
gradient at the pixel and the gradient on the ridge.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from agents.baselines.structured.gradients import gradients, magnitude
from facehall_env.resample import Resampler

STEPS: Final = (
    *((0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)),
    *((1, 2), (2, 1), (-1, 2), (-2, 1), (1, -2), (2, -1), (-1, -2), (-2, -1)),
)
"""The 16 directions in which a pixel is compared with others: rows and columns."""
ROUNDS: Final = 6
_TOLERANCE: Final = 0.03  # difference of two patches (root mean square) at which a weight has fallen by half
_PATCH: Final = 5
_LEVELS: Final = 12
_STEEPEST: Final = 0.25  # gradients from here on share the last level
_CANNY: Final = (16.0, 40.0)  # on 8-bit pictures; low, as these are blurred
_PRIOR: Final = 4.0  # pixels' worth of "leave it as it is" in every cell of the table


def smooth_picture(low: Tensor, initial: Tensor, resampler: Resampler) -> Tensor:
    """Enlarge along edges: each pixel moves to the mean of those neighbours that look like it.

    Args:
        low: Luminance of low-resolution faces, (N, h, w).
        initial: Luminance of I_0, (N, H, W).
        resampler: Of the *aligned* protocol; after every round the picture is mended to shrink to ``low``.

    Returns:
        (N, H, W).
    """
    weights = torch.stack([_likeness(initial, step) for step in STEPS], 1)
    weights = weights / (1 + weights.sum(1, keepdim=True))  # the pixel itself has weight one
    picture = initial
    for _ in range(ROUNDS):
        near = torch.stack([_shifted(picture, step) for step in STEPS], 1)
        picture = picture + (weights * (near - picture[:, None])).sum(1)
        picture = picture + resampler.enlarge(low[:, None] - resampler.shrink(picture[:, None]))[:, 0]
    return picture


class EdgeTable:
    """How much steeper real gradients are than those of `smooth_picture`, by three features.

    Args:
        scale: s; pixels up to s away from a ridge belong to the edge.
        ratio: (s + 1, levels, levels), by distance, the pixel's gradient and the ridge's; None: all one.
    """

    def __init__(self, scale: int, ratio: Tensor | None = None) -> None:
        self.scale = scale
        self.ratio = torch.ones(self.shape(scale)) if ratio is None else ratio

    @staticmethod
    def shape(scale: int) -> tuple[int, int, int]:
        """Of the table."""
        return scale + 1, _LEVELS, _LEVELS

    @classmethod
    def learn(cls, smooth: Tensor, high: Tensor, scale: int) -> EdgeTable:
        """From smooth pictures and the real ones, both luminance, (N, H, W)."""
        table = cls(scale)
        real, blurred = torch.zeros_like(table.ratio), torch.zeros_like(table.ratio)
        for picture, original in zip(smooth, high, strict=True):
            steepness = magnitude(gradients(picture))
            cells, near = table._features(picture, steepness)
            chosen = tuple(part[near] for part in cells)
            real.index_put_(chosen, magnitude(gradients(original))[near], accumulate=True)
            blurred.index_put_(chosen, steepness[near], accumulate=True)
        middle = _STEEPEST * ((torch.arange(_LEVELS) + 0.5) / _LEVELS).square()[None, :, None]
        return cls(scale, (real + _PRIOR * middle) / (blurred + _PRIOR * middle))

    def edge_gradients(self, smooth: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients with the steepness of real faces, and how much of an edge each pixel is.

        Args:
            smooth: One picture of `smooth_picture`, (H, W).

        Returns:
            Gradients (4, H, W), and a weight (H, W) that falls from one on a ridge to zero s pixels away.
        """
        fields = gradients(smooth)
        cells, near = self._features(smooth, magnitude(fields))
        weight = near * (1 - cells[0] / (self.scale + 1))
        return fields * torch.where(near, self.ratio[cells], torch.ones(())), weight

    def _features(self, picture: Tensor, steepness: Tensor) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
        """Cell of the table of every pixel, (H, W) each, and which pixels are near a ridge."""
        image = (255 * picture).round().clamp(0, 255).byte().numpy()
        ridge: NDArray[np.uint8] = np.asarray(cv2.Canny(image, *_CANNY), np.uint8)
        if not ridge.any():
            nothing = torch.zeros_like(picture, dtype=torch.long)
            return (nothing, nothing, nothing), torch.zeros_like(picture, dtype=torch.bool)
        distance, (row, column) = distance_transform_edt(ridge == 0, return_indices=True)
        levels = _level(steepness)
        on_ridge = levels[torch.from_numpy(row).long(), torch.from_numpy(column).long()]
        away = torch.from_numpy(distance).float().round().long()
        return (away.clamp_max(self.scale), levels, on_ridge), away <= self.scale


def _level(steepness: Tensor) -> Tensor:
    """Level of a gradient's length; the levels of small gradients are narrow."""
    return (_LEVELS * (steepness / _STEEPEST).clamp(0, 1).sqrt()).long().clamp_max(_LEVELS - 1)


def _likeness(pictures: Tensor, step: tuple[int, int]) -> Tensor:
    """Weight of each pixel's neighbour, (N, H, W): near one where the 5x5 patches around both are alike."""
    difference = (_shifted(pictures, step) - pictures).square()[:, None]
    difference = F.avg_pool2d(difference, _PATCH, 1, _PATCH // 2, count_include_pad=False)[:, 0]
    return torch.exp2(-difference / _TOLERANCE**2)


def _shifted(pictures: Tensor, step: tuple[int, int]) -> Tensor:
    """The picture (N, H, W) that has at each pixel its neighbour; the edge goes on."""
    down, right = step
    height, width = pictures.shape[-2:]
    padded = F.pad(pictures[:, None], (2, 2, 2, 2), mode="replicate")[:, 0]
    return padded[:, 2 + down : 2 + down + height, 2 + right : 2 + right + width]
