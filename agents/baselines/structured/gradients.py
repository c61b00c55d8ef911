"""Gradients as differences to neighbours, and their adjoint.

Yang et al. keep the differences to all eight neighbours. Those in opposite directions are the same numbers,
so four are kept here: right, down, and both diagonals down.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

DIRECTIONS: Final = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Rows and columns to the neighbour."""


def gradients(pictures: Tensor) -> Tensor:
    """Differences to the neighbours of each pixel; zero where there is no neighbour.

    Args:
        pictures: (..., H, W).

    Returns:
        (..., 4, H, W).
    """
    height, width = pictures.shape[-2:]
    found = pictures.new_zeros(*pictures.shape[:-2], len(DIRECTIONS), height, width)
    for k, direction in enumerate(DIRECTIONS):
        here, there = _pairs(direction, height, width)
        found[..., k, *here] = pictures[..., *there] - pictures[..., *here]
    return found


def gradients_adjoint(fields: Tensor) -> Tensor:
    """The adjoint of `gradients`: the inner products (gradients(x), g) and (x, adjoint(g)) are equal.

    Args:
        fields: (..., 4, H, W).

    Returns:
        (..., H, W).
    """
    height, width = fields.shape[-2:]
    picture = fields.new_zeros(*fields.shape[:-3], height, width)
    for k, direction in enumerate(DIRECTIONS):
        here, there = _pairs(direction, height, width)
        picture[..., *there] += fields[..., k, *here]
        picture[..., *here] -= fields[..., k, *here]
    return picture


def magnitude(fields: Tensor) -> Tensor:
    """Length of the gradient (right, down) of each pixel, (..., 4, H, W) to (..., H, W)."""
    return torch.hypot(fields[..., 0, :, :], fields[..., 1, :, :])


def _pairs(
    direction: tuple[int, int], height: int, width: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The pixels that have this neighbour, and the neighbours."""
    down, right = direction
    rows, rows_there = slice(0, height - down), slice(down, height)
    columns = slice(max(-right, 0), width - max(right, 0))
    columns_there = slice(max(right, 0), width - max(-right, 0))
    return (rows, columns), (rows_there, columns_there)
