"""Backgrounds: gradients, blurred shapes, stripes, noise and bokeh."""

from __future__ import annotations

import cv2
import numpy as np

from facehall_env.datasets._faces.brush import Canvas
from facehall_env.datasets._faces.colours import any_colour

_GRID = 80
_ACROSS, _DOWN = (a.astype(np.float32) for a in np.meshgrid(*2 * [np.linspace(-0.6, 0.6, _GRID)]))


def draw_backdrop(canvas: Canvas, rng: np.random.Generator) -> None:
    """Fill the canvas with what stands behind the person."""
    first, second = any_colour(rng), any_colour(rng)
    turn = rng.uniform(0, 2 * np.pi)
    ramp = cv2.add(_ACROSS * np.cos(turn), _DOWN * np.sin(turn) + 0.5)
    half = 0.5 * (second - first)
    wall = cv2.merge(
        [
            cv2.convertScaleAbs(ramp, alpha=h, beta=f)
            for h, f in zip(half.tolist(), first.tolist(), strict=True)
        ]
    )
    picture = np.asarray(wall, np.uint8)
    kind, blur = int(rng.integers(0, 7)), rng.uniform(0.4, 3.0)
    if kind == 1:
        for x, y, w, h in rng.integers(
            (-10, -10, 6, 6), (_GRID, _GRID, 60, 60), (int(rng.integers(3, 9)), 4)
        ).tolist():
            cv2.rectangle(picture, (x, y), (x + w, y + h), any_colour(rng).tolist(), -1)
    elif kind == 2:
        tilt, step, thick = rng.uniform(-0.6, 0.6), int(rng.integers(7, 26)), int(rng.integers(1, 8))
        for x in range(-60, 140, step):
            cv2.line(picture, (x, 0), (int(x + tilt * _GRID), _GRID), second.tolist(), thick, cv2.LINE_AA)
    elif kind == 3:
        blur = rng.uniform(0.8, 4.0)
        for x, y, r in rng.integers((0, 0, 2), (_GRID, _GRID, 11), (int(rng.integers(8, 26)), 3)).tolist():
            cv2.circle(picture, (x, y), r, any_colour(rng).tolist(), -1, cv2.LINE_AA)
    elif kind == 4:
        cells, strength = int(rng.integers(3, 14)), np.float32(rng.uniform(8, 36))
        noise = rng.standard_normal((cells, cells, 1), np.float32) + 0.4 * rng.standard_normal(
            (cells, cells, 3), np.float32
        )
        grown = cv2.resize(noise, (_GRID, _GRID), interpolation=cv2.INTER_CUBIC)
        picture = np.asarray(cv2.add(wall, grown * strength, dtype=cv2.CV_8U), np.uint8)
    elif kind >= 5:
        for _ in range(int(rng.integers(2, 6))):
            corners = rng.integers(-20, _GRID + 20, (int(rng.integers(3, 6)), 2), np.int32)
            cv2.fillConvexPoly(picture, cv2.convexHull(corners), any_colour(rng).tolist(), cv2.LINE_AA)
    reach = 2 * round(1.2 * blur) + 1
    picture = np.asarray(cv2.blur(cv2.blur(picture, (reach, reach)), (reach, reach)), np.uint8)
    cv2.resize(picture, (canvas.pixels, canvas.pixels), dst=canvas.image)
