"""Backgrounds: gradients, blurred shapes, stripes, noise and bokeh."""

from __future__ import annotations

import cv2
import numpy as np

from facehall_env.datasets._faces.accessories import vivid
from facehall_env.datasets._faces.brush import Canvas

_GRID = 88


def draw_backdrop(canvas: Canvas, rng: np.random.Generator) -> None:
    """Fill the canvas with what stands behind the person."""
    first, second = vivid(rng), vivid(rng)
    angle = rng.uniform(0, 2 * np.pi)
    axis = np.linspace(-0.5, 0.5, _GRID, dtype=np.float32)
    ramp = np.clip(0.5 + np.cos(angle) * axis[None, :] + np.sin(angle) * axis[:, None], 0, 1)[..., None]
    picture = np.asarray(first * (1 - ramp) + (first * 0.5 + second * 0.5) * ramp, np.uint8)
    kind = rng.integers(0, 6)
    blur = rng.uniform(0.3, 3.0)
    if kind == 1:
        for _ in range(int(rng.integers(3, 9))):
            x, y = rng.integers(-10, _GRID, 2).tolist()
            w, h = rng.integers(6, 60, 2).tolist()
            cv2.rectangle(picture, (x, y), (x + w, y + h), tuple(vivid(rng).tolist()), -1)
    elif kind == 2:
        tilt, step, thick = rng.uniform(-0.6, 0.6), int(rng.integers(7, 26)), int(rng.integers(1, 8))
        for x in range(-60, 150, step):
            cv2.line(
                picture, (x, 0), (int(x + tilt * _GRID), _GRID), tuple(second.tolist()), thick, cv2.LINE_AA
            )
    elif kind == 3:
        for _ in range(int(rng.integers(8, 26))):
            x, y = rng.integers(0, _GRID, 2).tolist()
            cv2.circle(picture, (x, y), int(rng.integers(2, 10)), tuple(vivid(rng).tolist()), -1, cv2.LINE_AA)
        blur = rng.uniform(0.8, 4.0)
    elif kind == 4:
        cells = int(rng.integers(5, 30))
        noise = rng.uniform(-1, 1, (cells, cells, 3)).astype(np.float32) * np.float32(rng.uniform(15, 60))
        grown = cv2.resize(noise, (_GRID, _GRID), interpolation=cv2.INTER_CUBIC)
        picture = np.clip(picture + grown, 0, 255).astype(np.uint8)
    elif kind == 5:
        for _ in range(int(rng.integers(2, 6))):
            corners = rng.integers(-20, _GRID + 20, (int(rng.integers(3, 6)), 2)).astype(np.int32)
            cv2.fillConvexPoly(picture, cv2.convexHull(corners), tuple(vivid(rng).tolist()), cv2.LINE_AA)
    picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), blur), np.uint8)
    cv2.resize(picture, (canvas.pixels, canvas.pixels), dst=canvas.image, interpolation=cv2.INTER_LINEAR)
