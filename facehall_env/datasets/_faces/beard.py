"""Stubble, moustache, goatee and full beard: a grainy stain and hair strokes."""

from __future__ import annotations

import cv2
import numpy as np

from facehall_env.datasets._faces.anatomy import Anatomy, jaw_line
from facehall_env.datasets._faces.brush import LEFT, TOP, Canvas, Points, moved, oval, spline
from facehall_env.datasets._faces.look import Look
from facehall_env.datasets._faces.mouth import lip_lines


def draw_beard(canvas: Canvas, a: Anatomy, look: Look, marks: Points, rng: np.random.Generator) -> None:
    """Whatever beard the look asks for; the lips stay free."""
    if look.beard == "none":
        return
    colour = look.hair * 0.85
    w, y = a.mouth_width, a.mouth_height
    upper, lower, _, _ = lip_lines(marks)
    over = spline(
        [(w + 2.5, y + 1), (a.nose_width + 1, a.nose_length + 3), (0, a.nose_length + 3.2),
         (-a.nose_width - 1, a.nose_length + 3), (-w - 2.5, y + 1)],
        20,
    )  # fmt: skip
    moustache = np.concatenate([upper - (0, 0.4), over])
    cheek = spline(
        [(0.94 * a.cheek_width, 8), (0.76 * a.cheek_width, 31), (w + 4, y - 3), (0, y - 8),
         (-w - 4, y - 3), (-0.76 * a.cheek_width, 31), (-0.94 * a.cheek_width, 8)],
        30,
    )  # fmt: skip
    full = np.concatenate([jaw_line(a, np.linspace(-1.25, 1.25, 25)) * 1.01, cheek])
    chin_top = float(marks[57, 1]) + 2.0
    goatee = oval(0, 0.5 * (chin_top + a.chin_height) + 1, 10.5, 0.5 * (a.chin_height - chin_top) + 2)
    shapes, alpha, blur, hairs = {
        "stubble": ([full], rng.uniform(0.15, 0.4), 2.2, 0),
        "moustache": ([moustache], rng.uniform(0.6, 0.9), 0.7, 110),
        "goatee": ([moustache, goatee], rng.uniform(0.55, 0.9), 0.8, 160),
        "full": ([full], rng.uniform(0.6, 0.92), 1.8, 330),
    }[look.beard]
    extent = np.concatenate(shapes)
    window = canvas.window(extent, 3)
    free = canvas.coverage([np.concatenate([upper, lower])], window, blur=0.4)
    cover = canvas.coverage(shapes, window, blur=blur)
    cover = np.minimum(cover, 255 - free)
    grain = cv2.resize(rng.integers(140, 256, (64, 96), np.uint8), cover.shape[::-1]).astype(np.uint16)
    canvas.blend(window, (cover * grain >> 8).astype(np.uint8), colour, alpha)
    if not hairs:
        return
    root = rng.uniform(extent.min(axis=0), extent.max(axis=0), (2 * hairs, 2))
    fall = np.stack([root[:, 0] * 0.05 + rng.normal(0, 0.5, 2 * hairs), rng.uniform(1.2, 2.6, 2 * hairs)], -1)
    pixel = (moved(root, LEFT, TOP) * canvas.scale - (window[1].start, window[0].start)).astype(int)
    pixel = np.clip(pixel, 0, (cover.shape[1] - 1, cover.shape[0] - 1))
    inside = cover[pixel[:, 1], pixel[:, 0]] > 150
    strands = np.stack([root, root + fall], 1)[inside]
    half = len(strands) // 2
    canvas.stroke(strands[:half], colour * 0.7)
    canvas.stroke(strands[half:], colour * 1.35 + 10)
