"""Nose, philtrum and the folds beside them; the relief does most of the nose."""

from __future__ import annotations

import numpy as np

from facehall_env.datasets._faces.anatomy import Anatomy
from facehall_env.datasets._faces.brush import Canvas, Points, mirror, moved, oval, spline
from facehall_env.datasets._faces.look import Look


def draw_nose(canvas: Canvas, a: Anatomy, look: Look, marks: Points, rng: np.random.Generator) -> None:
    """Under side, nostrils, wings, smile folds and philtrum."""
    skin, y, w, x = look.skin, a.nose_length, a.nose_width, float(marks[33, 0])
    half = np.array([(0.3 * w, y + 0.6), (0.62 * w, y - 0.4)])
    under = moved(spline(np.concatenate([mirror(half[::-1], -1), [(0, y + 1.5)], half]), 16), x, 0)
    canvas.stain(under, skin * (0.6, 0.46, 0.42), 0.6, 0.6, width=1.2)
    flare, turn = rng.uniform(0.8, 1.25), rng.uniform(0.2, 0.5)
    wing = spline([(0.74 * w, y - 5.4), (0.99 * w, y - 2.6), (0.9 * w, y), (0.64 * w, y - 0.1)], 12)
    fold = spline(
        [
            (w + 0.4, y - 3.5),
            (w + 4.6, y + 4),
            (a.mouth_width + 2.8, a.mouth_height - 4.5),
            (a.mouth_width + 3.4, a.mouth_height - 1.5),
        ],
        14,
    )
    canvas.stain(
        [moved(mirror(wing, -1), x, 0), moved(wing, x, 0)], skin * (0.52, 0.39, 0.36), 0.5, 0.35, width=0.7
    )
    holes = [oval(x + side * 0.42 * w, y - 0.5, 0.19 * w * flare, 0.95, -turn * side) for side in (-1, 1)]
    canvas.stain(holes, skin * (0.2, 0.12, 0.11), 0.9, 0.25)
    depth = 0.1 + 0.35 * max(a.smile, 0) + 0.35 * a.age
    canvas.stain([mirror(fold, -1), fold], skin * (0.62, 0.48, 0.44), min(depth, 0.7), 0.8, width=0.9)
    groove = np.array([(1.5, y + 3.0), (2.0, a.mouth_height - a.upper_lip - 1.2)])
    canvas.stain([mirror(groove, -1), groove], skin * (0.74, 0.62, 0.6), 0.35, 0.5, width=0.8)
