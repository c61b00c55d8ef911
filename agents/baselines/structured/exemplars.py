"""Laying exemplar faces over a test face by the similarity that fits their landmarks best."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Window = tuple[slice, slice]
"""Rows and columns."""


def similarities(source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rotations, scalings and shifts that bring points closest to others, in the least-squares sense.

    Args:
        source: Points of M faces, (M, K, 2).
        target: Points of one face, (K, 2).

    Returns:
        Matrices (M, 2, 3) that map (x, y, 1).
    """
    # A similarity of the plane is z -> a z + b with complex a and b.
    z, t = source[..., 0] + 1j * source[..., 1], target[..., 0] + 1j * target[..., 1]
    z_mean, t_mean = z.mean(-1, keepdims=True), t.mean()
    z, t = z - z_mean, t - t_mean
    a = (z.conj() * t).sum(-1) / (np.abs(z) ** 2).sum(-1).clip(1e-9)
    b = t_mean - a * z_mean[..., 0]
    return np.stack([np.stack([a.real, -a.imag, b.real], -1), np.stack([a.imag, a.real, b.imag], -1)], -2)


def warp(pictures: NDArray[np.uint8], matrices: NDArray[np.float64], window: Window) -> NDArray[np.float32]:
    """Windows of moved pictures, bicubic; outside a picture its edge goes on.

    Args:
        pictures: (M, H, W).
        matrices: Where each goes, (M, 2, 3).
        window: Which rows and columns of the result to compute.

    Returns:
        (M, rows, columns) in [0, 1].
    """
    rows, columns = window
    size = (columns.stop - columns.start, rows.stop - rows.start)
    shifted = matrices - np.array([[0, 0, columns.start], [0, 0, rows.start]])
    moved = [
        cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        for picture, matrix in zip(pictures, shifted, strict=True)
    ]
    pieces: NDArray[np.float32] = np.stack(moved).astype(np.float32) / np.float32(255)
    return pieces
