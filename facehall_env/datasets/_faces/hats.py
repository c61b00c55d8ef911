"""Caps, beanies, head scarves and head bands."""

from __future__ import annotations

import cv2
import numpy as np

from facehall_env.datasets._faces.anatomy import Anatomy, skull_line
from facehall_env.datasets._faces.brush import Canvas, mirror, moved, oval, spline
from facehall_env.datasets._faces.colours import Rgb, any_colour
from facehall_env.datasets._faces.look import Look


def draw_hat(canvas: Canvas, a: Anatomy, look: Look, rng: np.random.Generator) -> None:
    """Draw the hat of the look, over hair and forehead."""
    if look.hat == "none":
        return
    colour, brim = any_colour(rng), rng.uniform(-34, -24)
    if look.hat == "scarf":
        _draw_scarf(canvas, a, colour, brim, rng)
        return
    w = a.cheek_width
    if look.hat == "band":
        edge = spline([(w, -16), (20, brim + 1), (0, brim), (-20, brim + 1), (-w, -16)], 24)
        canvas.fill(np.concatenate([edge, edge[::-1] - (0, rng.uniform(7, 14))]), colour)
        canvas.stroke([edge], colour * 0.6, 0.8)
        return
    rim = spline([(w + 2, brim), (0, brim - 4), (-w - 2, brim)], 20)
    canvas.fill(np.concatenate([skull_line(a, 7.0, low=brim), rim]), colour)
    if look.hat == "cap":
        tilt = rng.uniform(-3, 3)
        visor = spline(
            [(-36, brim - 3 - tilt), (-20, brim + 5), (0, brim + 8), (20, brim + 5), (36, brim - 3 + tilt),
             (18, brim - 7), (-18, brim - 7)],
            40,
            closed=True,
        )  # fmt: skip
        canvas.stain(moved(visor, 0, 5), look.skin * 0.3, 0.6, 2.5)
        canvas.fill(visor, colour * rng.uniform(0.5, 0.9))
        canvas.fill(oval(rng.uniform(-4, 4), brim - 16, 7, 5), any_colour(rng))
    else:
        canvas.stain(moved(rim, 0, 3), look.skin * 0.35, 0.4, 1.5, width=3)
        x = np.arange(-45, 46, 3.0)[:, None]
        cuff = np.array([(-w - 3, brim + 1), (-w - 3, brim - 13), (w + 3, brim - 13), (w + 3, brim + 1)])
        canvas.fill(cuff, colour)
        ribs = np.stack([x * (1, 0) + (0, brim - 13), x * (1.02, 0) + (0, brim + 1)], 1)
        canvas.stroke(ribs, colour * 0.7, 0.8)


def _draw_scarf(canvas: Canvas, a: Anatomy, colour: Rgb, brim: float, rng: np.random.Generator) -> None:
    """Cloth around the face, with folds from the crown down."""
    w, chin = a.cheek_width, a.chin_height
    half = [(w - 9, brim + 2), (w - 3, 0), (w - 2, 40), (w - 14, chin + 1)]
    inner = np.concatenate([[(0, brim - 5)], half, [(0, chin + 4)], mirror(half[::-1], -1)])
    inner = spline(inner, 60, closed=True)
    outer = np.concatenate([skull_line(a, 9.0), [(w + 16, 40), (w + 30, 100), (-w - 30, 100), (-w - 16, 40)]])
    cloth = np.empty_like(canvas.image)
    cloth[:] = colour.astype(np.uint8)
    for _ in range(6):
        x, gain = rng.uniform(-14, 14), rng.uniform(0.6, 1.2)
        side = 1 if x > 0 else -1
        fold = spline([(x, -70), (side * (w + 2), -10), (side * (w + rng.uniform(2, 16)), 60)], 20)
        tint = (colour * gain).tolist()
        cv2.polylines(cloth, [canvas.to_pixels(fold)], False, tint, round(2 * canvas.scale), cv2.LINE_AA, 4)
    reach = 2 * round(canvas.scale) + 1
    cloth = np.asarray(cv2.blur(cloth, (reach, reach)), np.uint8)
    canvas.lay(cloth, outer, hole=inner)
    canvas.stain(np.concatenate([inner, inner[:1]]), colour * 0.45, 0.55, 0.6, width=1.0)
