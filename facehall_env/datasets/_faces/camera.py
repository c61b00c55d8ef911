"""The camera: head pose, framing, and what film and lens do to a picture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from facehall_env.datasets._faces.brush import LEFT, TOP, Picture, Points, moved, sample
from facehall_env.datasets._faces.relief import Field

EYE_ROW, MIDDLE = 52.0, 63.5
"""Where the point between the eyes lands in a 128 x 128 picture."""

_EYE_DEPTH = 38.0
_GRID = 64
_AXIS = (np.arange(_GRID) + 0.5) * (128 / _GRID) - 0.5
_TARGET = np.stack(np.meshgrid(_AXIS, _AXIS), -1)

_LEVEL = np.linspace(0, 1, 256)[:, None]


@dataclass(frozen=True)
class Pose:
    """Where a point of the head lands: ``linear @ (x, y) + z * tilt + offset``, in 128ths of the picture."""

    linear: NDArray[np.float64]  # (2, 2)
    tilt: NDArray[np.float64]  # (2,)
    offset: NDArray[np.float64]  # (2,)


def sample_pose(rng: np.random.Generator) -> Pose:
    """Draw yaw, pitch, roll, scale and a small shift; the eyes stay near their place."""
    yaw, pitch, roll, size = (rng.standard_normal(4).clip(-2.1, 2.1) * (0.18, 0.09, 0.06, 0.035)).tolist()
    c, s = np.cos(roll), np.sin(roll)
    turn = (1 + size) * np.array([[c, -s], [s, c]])
    linear = turn * (np.cos(yaw), np.cos(pitch))
    tilt = turn @ (np.sin(yaw), -np.sin(pitch))
    shift = rng.normal(0, 1.2, 2).clip(-3, 3)
    return Pose(linear, tilt, moved(shift, MIDDLE, EYE_ROW) - _EYE_DEPTH * tilt)


def project(pose: Pose, points: Points, depth: Field) -> Points:
    """Where points (k, 2) of the face frame land in a 128 x 128 picture (x, y), pixel centres at integers."""
    at = moved(points, LEFT - 0.5, TOP - 0.5).astype(np.float32)[None]
    z = sample(depth, at)[0]
    return np.asarray(points @ pose.linear.T + z[:, None] * pose.tilt + pose.offset)


def back_project(pose: Pose, depth: Field) -> Field:
    """For a (64, 64) grid over the picture, the cell (column, row) of the relief seen there.

    The depth at the sought point is itself unknown: a few fixed-point rounds find it, the field being gentle
    enough for them to contract.
    """
    inverse = np.linalg.inv(pose.linear)
    flat = moved((_TARGET - pose.offset) @ inverse.T, LEFT - 0.5, TOP - 0.5).astype(np.float32)
    slope = (inverse @ pose.tilt).astype(np.float32)
    p = flat - np.float32(_EYE_DEPTH) * slope
    for _ in range(5):
        z = sample(depth, p)
        p = flat - z[..., None] * slope
    return np.asarray(p, np.float32)


def take_picture(
    image: Picture, scale: float, pose: Pose, depth: Field, size: int, rng: np.random.Generator
) -> Picture:
    """Turn, frame, focus and expose the drawing; returns (size, size, 3)."""
    grid = (back_project(pose, depth) + np.float32(0.5)) * np.float32(scale) - np.float32(0.5)
    maps = np.asarray(cv2.resize(grid, (size, size)), np.float32)
    cell = 2 * round(64 * scale / size) + 1  # canvas pixels that one pixel of the picture gathers
    picture = sample(cv2.blur(image, (cell, cell)), maps, cv2.BORDER_REFLECT)
    focus = float(rng.uniform(0.35, 0.85)) * size / 128
    spread = cv2.getGaussianKernel(2 * max(1, round(2.4 * focus)) + 1, focus)
    picture = cv2.sepFilter2D(picture, -1, spread, spread)
    contrast, gamma = rng.uniform(0.88, 1.16), np.exp(rng.normal(0, 0.12))
    cast = rng.standard_normal(2).clip(-2, 2) * (0.045, 0.02) + (0.03, 0)
    gain = np.array([1 + cast[0], 1 + cast[1], 1 - cast[0]])
    curve = 0.5 + contrast * (_LEVEL**gamma - 0.5)
    table = np.clip(255 * curve * gain + rng.normal(0, 4), 0, 255).astype(np.uint8)
    picture = cv2.LUT(picture, table[None])
    # Film grain: the sum of two uniform bytes is near enough to a bell, and ten times cheaper than one.
    grain = rng.integers(0, 256, (2, size, size), np.uint8)
    strength = min(float(rng.gamma(2.0, 0.006)), 0.03)
    noise = cv2.addWeighted(grain[0], strength, grain[1], strength, -255 * strength, dtype=cv2.CV_16S)
    return np.asarray(cv2.add(picture, cv2.merge([noise, noise, noise]), dtype=cv2.CV_8U), np.uint8)
