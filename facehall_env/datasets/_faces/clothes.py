"""Neck, shoulders, collars and ties."""

from __future__ import annotations

import numpy as np

from facehall_env.datasets._faces.anatomy import Anatomy
from facehall_env.datasets._faces.brush import Canvas, mirror, spline
from facehall_env.datasets._faces.colours import any_colour
from facehall_env.datasets._faces.look import Look


def draw_body(canvas: Canvas, a: Anatomy, look: Look, rng: np.random.Generator) -> None:
    """Everything below the chin."""
    neck = 22 + 5 * (1 - a.feminine) + 2 * a.fullness
    canvas.fill([(-neck, 20), (neck, 20), (neck + 2, 100), (-neck - 2, 100)], look.skin * 0.94)
    cloth, second = any_colour(rng), any_colour(rng)
    base = a.chin_height + rng.uniform(3, 15)
    half = np.array([(84, base + 16), (60, base + 9), (neck + 3, base - 3), (8, base + 13)])
    shoulders = spline(np.concatenate([half * (-1, 1), half[::-1]]), 40)
    canvas.fill(np.concatenate([shoulders, [(84, 100), (-84, 100)]]), cloth)
    kind = rng.random()
    if kind < 0.55:
        shirt = second * 0.3 + 175 if kind < 0.35 else cloth * 0.85 + 20
        collar = [(neck + 1.5, base - 8), (neck + 9, base + 3), (10, base + 19), (0, base + 12)]
        for side in (-1, 1):
            canvas.fill(mirror(collar, side), shirt)
        canvas.stroke([mirror(collar, -1), mirror(collar, 1)], shirt * 0.55, 0.5)
        if kind < 0.25:
            canvas.fill([(-4, base + 11), (4, base + 11), (6, 100), (-6, 100)], any_colour(rng))
    elif kind < 0.75:
        y = np.arange(base + 10, 100, rng.uniform(4, 9))
        lines = np.stack([np.stack([np.full_like(y, -84), y], -1), np.stack([np.full_like(y, 84), y], -1)], 1)
        canvas.stroke(lines, second, rng.uniform(0.8, 3))
