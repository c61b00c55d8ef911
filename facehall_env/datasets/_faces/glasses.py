"""Glasses: frames, bridge, temples, tint and reflections."""

from __future__ import annotations

import numpy as np

from facehall_env.datasets._faces.anatomy import Anatomy
from facehall_env.datasets._faces.brush import Canvas, mirror, moved, spline
from facehall_env.datasets._faces.colours import any_colour
from facehall_env.datasets._faces.look import Look

_TURN = np.linspace(0, 2 * np.pi, 40, endpoint=False)
_HEIGHT = {"round": 0.85, "half": 0.55, "wire": 0.72, "thin": 0.62, "thick": 0.7, "sun": 0.78}


def draw_glasses(canvas: Canvas, a: Anatomy, look: Look, rng: np.random.Generator) -> None:
    """Draw over the lit face: lenses reflect, they take no shading."""
    kind = look.glasses
    if kind == "none":
        return
    rx = rng.uniform(13.5, 16.5)
    ry = _HEIGHT[kind] * rx
    power = {"round": 2.0, "wire": 2.4, "sun": 2.8}.get(kind, rng.uniform(2.6, 4.5))
    width = {"thick": rng.uniform(1.6, 2.6), "sun": rng.uniform(1.0, 2.0), "thin": 1.1}.get(kind, 0.7)
    metal = kind in ("wire", "half", "round")
    frame = (
        np.array([150.0, 138, 116]) * rng.uniform(0.4, 1.2)
        if metal
        else any_colour(rng) * rng.uniform(0.1, 0.5)
    )
    y = rng.uniform(0.5, 3.5)
    offset = max(a.eye_offset + rng.uniform(-0.5, 1.5), rx + 2.0)
    c, s = np.cos(_TURN), np.sin(_TURN)
    lens = np.stack(
        [rx * np.sign(c) * np.abs(c) ** (2 / power), ry * np.sign(s) * np.abs(s) ** (2 / power)], -1
    )
    rimless = kind == "half" and rng.random() < 0.6
    ring = lens[:21] if rimless else np.concatenate([lens, lens[:1]])
    lenses = [moved(lens, side * offset, y) for side in (-1, 1)]
    rings = [moved(ring, side * offset, y) for side in (-1, 1)]

    if kind == "sun":
        canvas.stain(lenses, frame * 0.2 + 12, rng.uniform(0.82, 0.95), 0.3)
    elif rng.random() < 0.6:
        canvas.stain(lenses, np.array([225.0, 232, 236]), rng.uniform(0.02, 0.12), 0.4)
    if rng.random() < 0.45:
        gx, gy = rng.uniform(-7, 5), y - 0.35 * ry
        flash = np.array([(gx, gy - 3), (gx + 6, gy - 3), (gx + 2, gy + 4), (gx - 4, gy + 4)])
        reach = np.array([1.0, rng.uniform(0.4, 1.2)])
        glares = [flash * reach + (side * offset, 0) for side in (-1, 1)]
        canvas.stain(glares, np.array([245.0, 248, 250]), rng.uniform(0.12, 0.6), 0.7)
    canvas.stain([moved(r, 0.3, 1.1) for r in rings], look.skin * 0.35, 0.3, 0.6, width=width + 0.5)
    canvas.stroke(rings, frame, width)
    if metal or rng.random() < 0.3:
        canvas.stroke([r[: len(r) // 3] - (0, 0.2) for r in rings], frame * 0.4 + 140)
    arm = [(offset + rx - 0.3, y - 0.35 * ry), (a.cheek_width + 4, y - 0.35 * ry - 1)]
    canvas.stroke([mirror(arm, side) for side in (-1, 1)], frame * 0.9, max(0.8 * width, 0.6))
    gap, level = offset - rx + 0.5, y - 0.2 * ry
    canvas.stroke([spline([(-gap, level), (0, level - 2), (gap, level)], 10)], frame, max(width, 0.7))
