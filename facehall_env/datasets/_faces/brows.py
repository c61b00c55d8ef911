"""Eyebrows: a soft base and hair strokes."""

from __future__ import annotations

import numpy as np

from facehall_env.datasets._faces.anatomy import Anatomy
from facehall_env.datasets._faces.brush import Canvas, Points, spline
from facehall_env.datasets._faces.look import Look

_ALONG = np.linspace(0, 1, 20)  # outer end to inner end
_PROFILE = np.minimum(1, 0.25 + 1.3 * _ALONG) * np.minimum(1, 6 * (1.02 - _ALONG))


def draw_brows(canvas: Canvas, a: Anatomy, look: Look, marks: Points, rng: np.random.Generator) -> None:
    """Both brows, along their landmarks."""
    density, hairs = rng.uniform(0.35, 0.85), int(rng.integers(26, 46))
    half = 0.5 * a.brow_thickness * _PROFILE
    for side, brow in ((-1, marks[17:22]), (1, marks[26:21:-1])):
        centre = spline(brow, 20)
        rise = np.stack([np.zeros(20), half], -1)
        canvas.stain(np.concatenate([centre - rise, (centre + rise)[::-1]]), look.brow, density, 0.45)
        along, across = rng.random(hairs), rng.uniform(-1, 1, hairs)
        root = np.stack([np.interp(along, _ALONG, centre[:, 0]), np.interp(along, _ALONG, centre[:, 1])], -1)
        root[:, 1] += across * np.interp(along, _ALONG, half)
        lean = np.stack(
            [
                side * rng.uniform(1.2, 2.8, hairs),
                -rng.uniform(0.2, 1.8, hairs) * (along - 0.15) - 0.4 * across,
            ],
            -1,
        )
        strokes = np.stack([root - 0.4 * lean, root + 0.6 * lean], 1)
        middle = hairs // 2
        canvas.stroke(strokes[:middle], look.brow * 0.75)
        canvas.stroke(strokes[middle:], look.brow * 1.2 + 0.05 * look.skin)
