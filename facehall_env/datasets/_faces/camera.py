"""The camera: head pose, framing, and what film and lens do to a picture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from facehall_env.datasets._faces.brush import LEFT, TOP
from facehall_env.datasets._faces.relief import Field

EYE_ROW, MIDDLE = 52.0, 63.5
"""Where the point between the eyes lands in a 128 x 128 picture."""


@dataclass(frozen=True)
class Pose:
    """Where a point (x, y, z) of the head lands: ``linear @ (x, y) + z * tilt + offset``, in 128-pixel units."""

    linear: NDArray[np.float64]  # (2, 2)
    tilt: NDArray[np.float64]  # (2,)
    offset: NDArray[np.float64]  # (2,)


def sample_pose(rng: np.random.Generator) -> Pose:
    """Draw yaw, pitch, roll, scale and a small shift; the eyes stay near their place."""
    yaw = float(np.clip(rng.normal(0, 0.17), -0.38, 0.38))
    pitch = float(np.clip(rng.normal(0, 0.09), -0.2, 0.2))
    roll = float(np.clip(rng.normal(0, 0.06), -0.18, 0.18))
    scale = float(np.clip(rng.normal(1.0, 0.045), 0.88, 1.12))
    c, s = np.cos(roll), np.sin(roll)
    turn = scale * np.array([[c, -s], [s, c]])
    linear = turn @ np.diag([np.cos(yaw), np.cos(pitch)])
    tilt = turn @ np.array([np.sin(yaw), -np.sin(pitch)])
    shift = rng.normal(0, 1.2, 2).clip(-3, 3)
    offset = np.array([MIDDLE, EYE_ROW]) + shift - 34.0 * tilt * (1.0, 1.0)
    return Pose(linear, tilt, offset)


def project(pose: Pose, points: NDArray[np.float64], depth: Field) -> NDArray[np.float64]:
    """Where points (k, 2) of the face frame land in a 128 x 128 picture (x, y), pixel centres at integers."""
    at = (points + (LEFT, TOP) - 0.5).astype(np.float32)[None]
    z = cv2.remap(depth, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
    return np.asarray(points @ pose.linear.T + np.float64(z)[:, None] * pose.tilt + pose.offset)


_GRID = 64


def back_project(pose: Pose, depth: Field) -> NDArray[np.float32]:
    """For a (64, 64) grid over the picture, the point (x, y) of the face frame seen there.

    The depth at the sought point is itself unknown: a few fixed-point rounds find it, the
    field being gentle enough for them to contract.
    """
    axis = (np.arange(_GRID) + 0.5) * (128 / _GRID) - 0.5
    target = np.stack(np.meshgrid(axis, axis), -1) - pose.offset
    inverse = np.linalg.inv(pose.linear)
    flat = (target @ inverse.T).astype(np.float32)
    slope = (inverse @ pose.tilt).astype(np.float32)
    origin = np.array([LEFT - 0.5, TOP - 0.5], np.float32)
    p = flat
    for _ in range(6):
        z = cv2.remap(depth, p + origin, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        p = flat - z[..., None] * slope
    return np.asarray(p, np.float32)


def take_picture(
    image: NDArray[np.uint8], scale: float, pose: Pose, depth: Field, size: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Turn, frame and expose the drawing; returns (size, size, 3)."""
    grid = (back_project(pose, depth) + np.array([LEFT, TOP], np.float32)) * np.float32(scale) - np.float32(
        0.5
    )
    maps = cv2.resize(grid, (size, size), interpolation=cv2.INTER_LINEAR)
    blurred = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.75, 1.4)) * scale / 2)
    picture = cv2.remap(blurred, maps, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    contrast, gamma = rng.uniform(0.95, 1.2), np.exp(rng.normal(0, 0.14))
    gain = 1 + rng.normal(0, 0.045, 3).clip(-0.12, 0.12)
    level = np.arange(256)[:, None] / 255.0
    curve = 0.5 + contrast * (level**gamma - 0.5)
    table = np.clip(255 * curve * gain + rng.normal(0, 4), 0, 255).astype(np.uint8)
    picture = cv2.LUT(picture, table[None])
    noise = rng.standard_normal((size, size, 1), np.float32) * np.float32(rng.gamma(2.0, 0.7))
    return np.asarray(np.clip(np.rint(picture + noise), 0, 255), np.uint8)
