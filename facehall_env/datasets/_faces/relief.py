"""The head as a height field: depth for turning it, normals for lighting it.

All bumps and stains are separable Gaussians, so that any number of them is one matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from facehall_env.datasets._faces.anatomy import Anatomy
from facehall_env.datasets._faces.brush import LEFT, SIDE, TOP

Field = NDArray[np.float32]

X: Field = (np.arange(SIDE, dtype=np.float32) + 0.5 - LEFT)[None, :]
Y: Field = (np.arange(SIDE, dtype=np.float32) + 0.5 - TOP)[:, None]


def stains(*spots: tuple[float, float, float, float, float]) -> Field:
    """Sum of Gaussians (x, y, sigma_x, sigma_y, amplitude) on the (SIDE, SIDE) grid of unit cells."""
    s = np.array(spots, dtype=np.float32)
    across = np.exp(-0.5 * ((X - s[:, :1]) / s[:, 2:3]) ** 2)
    along = np.exp(-0.5 * ((Y.T - s[:, 1:2]) / s[:, 3:4]) ** 2) * s[:, 4:5]
    return np.asarray(along.T @ across, np.float32)


def pair(
    x: float, y: float, sx: float, sy: float, amplitude: float
) -> tuple[tuple[float, float, float, float, float], ...]:
    """The same Gaussian on both sides of the face."""
    return (x, y, sx, sy, amplitude), (-x, y, sx, sy, amplitude)


@dataclass(frozen=True)
class Relief:
    """Height fields (SIDE, SIDE) in face units, towards the viewer.

    Attributes:
        depth: gentle field that moves features when the head turns.
        surface: the same bumps on a rounder head, for lighting.
    """

    depth: Field
    surface: Field


def bumps(a: Anatomy) -> Field:
    """Brow ridge, sockets, nose, cheeks, lips, chin and folds."""
    tip, wing, mouth, chin = a.nose_length - 3.0, a.nose_width * 0.72, a.mouth_height, a.chin_height
    smile = max(a.smile, 0.0)
    ridge = 1.6 - 1.2 * a.feminine
    return stains(
        *pair(13, -9, 10, 4.5, 1.2 + ridge),
        *pair(a.eye_offset, -1, 8.5, 5.5, -4.2),
        *pair(a.eye_offset, 0.5, 6.0, 3.6, 2.4),
        *pair(10, 1, 3.2, 5.5, -2.4),
        (0, 2, 3.2, 7, 3.2),
        (0, 0.5 * tip, 3.0, 7.5, 5.2),
        (0, tip - 4, 3.4, 5.0, 6.0),
        (0, tip, 4.2, 3.0, 6.2),
        *pair(wing, tip + 0.6, 2.5, 2.6, 4.2),
        *pair(25, 16 - 2 * smile, 9, 7, 3.0 + 2.2 * smile + 1.2 * a.fullness),
        *pair(17 + 1.5 * smile, 30, 2.2, 7, -1.2 - 1.0 * smile - 0.9 * a.age),
        *pair(30, 36, 7, 9, -1.6 + 1.6 * a.fullness),
        (0, mouth - 5, 11, 5, 2.0),
        (0, mouth - 2, 0.55 * a.mouth_width, 1.5, 1.5),
        (0, mouth + 2.4 + 0.9 * a.mouth_open, 0.5 * a.mouth_width, 1.9, 2.0),
        (0, mouth + 8.5 + 0.8 * a.mouth_open, 7, 2.2, -2.4),
        (0, chin - 9.5, 8, 5, 3.4),
        (0, -26, 22, 9, 1.2),
    )


def make_relief(a: Anatomy) -> Relief:
    """Height fields of one head."""
    detail = bumps(a)
    radius = (X / (a.cheek_width + 7)) ** 2 + ((Y - 2) / 74) ** 2
    depth = 44 * np.maximum(1 - radius, 0) + detail
    surface = 50 * np.sqrt(np.maximum(1 - radius, 0.03)) + detail
    return Relief(cv2.GaussianBlur(depth, (0, 0), 1.0), surface)


@dataclass(frozen=True)
class Light:
    """One key light, its colour, and the ambient light around it."""

    direction: NDArray[np.float32]  # (3,) unit vector towards the light, x right, y down, z to the viewer
    key: NDArray[np.float32]  # (3,) RGB
    ambient: NDArray[np.float32]  # (3,) RGB
    gloss: float


def shade(relief: Relief, light: Light) -> tuple[Field, Field]:
    """Diffuse factor (SIDE, SIDE, 3) and highlight (SIDE, SIDE) of the surface under the light."""
    gx = cv2.Sobel(relief.surface, cv2.CV_32F, 1, 0, scale=1 / 8)
    gy = cv2.Sobel(relief.surface, cv2.CV_32F, 0, 1, scale=1 / 8)
    inverse = 1.0 / np.sqrt(gx * gx + gy * gy + 1.0)
    lx, ly, lz = (float(v) for v in light.direction)
    facing = (lz - lx * gx - ly * gy) * inverse
    diffuse = np.maximum(facing * 0.85 + 0.15, 0.0)
    half = np.array([lx, ly, lz + 1.0])
    hx, hy, hz = (float(v) for v in half / np.linalg.norm(half))
    highlight = np.maximum((hz - hx * gx - hy * gy) * inverse, 0.0) ** 24 * light.gloss
    colour = diffuse[..., None] * light.key + inverse[..., None] * light.ambient
    return np.asarray(colour, np.float32), np.asarray(highlight, np.float32)
