"""The head as a height field: depth for turning it, normals for lighting it.

All bumps and stains are separable Gaussians, so that any number of them is one matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from facehall_env.datasets._faces.anatomy import Anatomy, jaw_line
from facehall_env.datasets._faces.brush import LEFT, SIDE, TOP, Picture

Field = NDArray[np.float32]
Spot = tuple[float, float, float, float, float]
"""A Gaussian: x, y, sigma_x, sigma_y, amplitude."""

X: Field = (np.arange(SIDE, dtype=np.float32) + 0.5 - LEFT)[None, :]
Y: Field = (np.arange(SIDE, dtype=np.float32) + 0.5 - TOP)[:, None]

_NOTHING: Field = np.empty(0, np.float32)
_JAW = np.linspace(-np.pi / 2, np.pi / 2, 40)
_ABOVE = np.array([(SIDE, 0.0), (0.0, 0.0)])


def gaussians(*spots: Spot) -> Field:
    """Sum of Gaussians on the (SIDE, SIDE) grid of unit cells."""
    s = np.array(spots, dtype=np.float32)
    across = np.exp(-0.5 * ((X - s[:, :1]) / s[:, 2:3]) ** 2)
    along = np.exp(-0.5 * ((Y - s[:, 1]) / s[:, 3]) ** 2) * s[:, 4]
    # Not `@`: a BLAS wakes its threads for this, and waits for them on a busy machine.
    return np.asarray(cv2.gemm(along, across, 1.0, _NOTHING, 0.0), np.float32)


def pair(x: float, y: float, sx: float, sy: float, amplitude: float) -> tuple[Spot, Spot]:
    """The same Gaussian on both sides of the face."""
    return (x, y, sx, sy, amplitude), (-x, y, sx, sy, amplitude)


@dataclass(frozen=True)
class Relief:
    """Height fields (SIDE, SIDE) in face units, towards the viewer.

    Attributes:
        depth: gentle field that moves features when the head turns.
        surface: the same bumps on a rounder head, for lighting.
        body: 0 on the head .. 1 on neck, shoulders and what hangs there.
    """

    depth: Field
    surface: Field
    body: Field


def _bumps(a: Anatomy) -> Field:
    """Brow ridge, sockets, nose, cheeks, lips, chin and folds."""
    tip, wing, mouth, chin = a.nose_length - 3.0, a.nose_width * 0.72, a.mouth_height, a.chin_height
    smile = max(a.smile, 0.0)
    ridge = 1.5 - 1.2 * a.feminine
    return gaussians(
        *pair(14, -9, 9, 4.5, 0.8 + ridge),
        *pair(a.eye_offset, -1, 8.5, 5.5, -3.6),
        *pair(a.eye_offset, 0.5, 6.0, 3.6, 2.4),
        *pair(9.5, 0, 3.4, 5.5, -1.6),
        (0, 0.1 * tip, 4.6, 8, 3.0),
        (0, 0.6 * tip, 4.4, 8, 3.6),
        (0, tip, 4.6, 4.2, 5.6),
        *pair(wing, tip + 0.8, 2.8, 2.8, 3.4),
        *pair(25, 18 - 2 * smile, 9, 8, 2.4 + 1.8 * smile + 1.2 * a.fullness),
        *pair(19.5 + 1.5 * smile, 33, 2.6, 7.5, -0.7 - 0.9 * smile - 0.8 * a.age),
        *pair(30, 41, 7, 10, -1.4 + 1.6 * a.fullness),
        (0, mouth - 5, 11, 5, 1.6),
        (0, mouth - 2, 0.55 * a.mouth_width, 1.6, 1.3),
        (0, mouth + 2.4 + 0.9 * a.mouth_open, 0.5 * a.mouth_width, 2.0, 1.8),
        (0, mouth + 8.5 + 0.8 * a.mouth_open, 7, 2.4, -1.9),
        (0, chin - 9.5, 8, 5, 3.0),
        *pair(14, -27, 11, 9, 1.0),
    )


def make_relief(a: Anatomy) -> Relief:
    """Height fields of one head."""
    detail = _bumps(a)
    radius = (X / (a.cheek_width + 7)) ** 2 + ((Y - 3) / 79) ** 2
    depth = cv2.blur(44 * np.maximum(1 - radius, 0) + detail, (3, 3))
    rim = 0.85  # beyond it the head falls off along the tangent: hair at the sides turns from the light
    inside = np.minimum(radius, rim)
    surface = 44 * (np.sqrt(1 - inside) - (radius - inside) * np.float32(0.5 / (1 - rim) ** 0.5)) + detail
    face: Picture = np.full((SIDE, SIDE), 255, np.uint8)
    contour = jaw_line(a, _JAW) + np.array((LEFT, TOP))
    cv2.fillPoly(face, [np.concatenate([contour, _ABOVE]).astype(np.int32)], 0)
    body = cv2.blur(face, (3, 3)) * np.clip((Y - 28) * np.float32(0.1 / 255), 0, np.float32(1 / 255))
    return Relief(np.asarray(depth, np.float32), surface, np.asarray(body, np.float32))


@dataclass(frozen=True)
class Light:
    """One key light and the ambient light around it."""

    direction: NDArray[np.float64]  # (3,) unit vector towards the key light: x right, y down, z to the viewer
    key: NDArray[np.float64]  # (3,) RGB
    ambient: NDArray[np.float64]  # (3,) RGB
    exposure: float  # mean brightness of the middle of the face, as a factor on its colours
    gloss: float  # height of the highlights in gray levels


def shade(a: Anatomy, relief: Relief, light: Light) -> tuple[Picture, Picture]:
    """Factors (SIDE, SIDE, 3), 128 for one, and highlights (SIDE, SIDE) in gray levels, both uint8."""
    gx = cv2.Sobel(relief.surface, cv2.CV_32F, 1, 0, scale=1 / 8)
    gy = cv2.Sobel(relief.surface, cv2.CV_32F, 0, 1, scale=1 / 8)
    body = relief.body
    gx += body * (X * np.float32(-0.010) - gx)
    gy += body * (np.float32(-0.25) - gy)
    inverse = 1 / np.sqrt(gx * gx + gy * gy + 1)
    lx, ly, lz = light.direction.tolist()
    facing = (lz - lx * gx - ly * gy) * inverse
    diffuse = np.maximum(facing * 0.8 + 0.2, 0)
    chin = a.chin_height
    shadow = gaussians((-12 * lx, chin - 2, 30, 10 + 10 * max(-ly, 0), 0.6), (-8 * lx, chin + 1, 20, 4, 0.2))
    diffuse *= 1 - body * shadow
    around = 0.55 + 0.45 * inverse
    hollow = 1 - gaussians(
        *pair(a.eye_offset, -3.5, 9, 4, 0.15),
        *pair(9.5, -1, 3.5, 4.5, 0.12),
        *pair(0.55 * a.nose_width, a.nose_length, 5, 2.2, 0.14),
        (0, float(a.mouth_height + a.lower_lip + 0.9 * a.mouth_open + 3.0), 7, 2.2, 0.12),
    )
    diffuse *= hollow
    around *= hollow

    middle = (slice(TOP - 30, TOP + 50, 4), slice(LEFT - 26, LEFT + 27, 4))
    level = diffuse[middle].mean() * light.key.mean() + around[middle].mean() * light.ambient.mean()
    gain = 128 * light.exposure / float(level)
    factor = cv2.merge(
        [
            cv2.addWeighted(diffuse, gain * k, around, gain * m, 0, dtype=cv2.CV_8U)
            for k, m in zip(light.key.tolist(), light.ambient.tolist(), strict=True)
        ]
    )

    hx, hy, hz = (light.direction + np.array([0, 0, 1])).tolist()
    norm = float(np.sqrt(hx * hx + hy * hy + hz * hz))
    shine = np.maximum((hz - hx * gx - hy * gy) * inverse * np.float32(1 / norm), 0)
    for _ in range(4):
        shine *= shine  # to the power of 16
    oily = gaussians(
        (0, 16, 7, 17, 0.8), (0, -26, 26, 10, 0.7), *pair(22, 12, 9, 8, 0.6), (0, chin - 9, 8, 5, 0.4)
    )
    shine *= oily + np.float32(0.15)
    gloss = cv2.convertScaleAbs(shine, alpha=light.gloss)
    return np.asarray(factor, np.uint8), np.asarray(gloss, np.uint8)
