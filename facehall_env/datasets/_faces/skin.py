"""The bare head, ears, neck, and what skin carries: flush, freckles, moles, lines."""

from __future__ import annotations

import cv2
import numpy as np

from facehall_env.datasets._faces.anatomy import Anatomy, jaw_line, skull_line
from facehall_env.datasets._faces.brush import Canvas, mirror, oval, spline
from facehall_env.datasets._faces.colours import any_colour
from facehall_env.datasets._faces.look import Look
from facehall_env.datasets._faces.relief import gaussians, pair

_CREASE = np.array([0.6, 0.47, 0.43])  # what a fold does to the colour of the skin


def draw_head(canvas: Canvas, a: Anatomy, look: Look, rng: np.random.Generator) -> None:
    """Skull and jaw in skin colour, redder where blood is near."""
    jaw = jaw_line(a, np.linspace(-np.pi / 2, np.pi / 2, 60))
    outline = np.concatenate([jaw[::-1], skull_line(a, 0.0)])
    flush = rng.uniform(0.02, 0.16) + 0.1 * look.make_up
    red = gaussians(
        *pair(25, 20, 9, 8, flush), (0, a.nose_length - 4, 6, 6, flush), (0, a.chin - 5, 9, 6, 0.5 * flush)
    )
    red = np.ascontiguousarray(red[::2, ::2])
    noise = rng.standard_normal((40, 40), np.float32) * np.float32(rng.uniform(0.005, 0.03))
    mottle = cv2.resize(noise, red.shape[::-1])
    r, g, b = look.skin.tolist()
    tone = cv2.merge(
        [
            cv2.convertScaleAbs(mottle, alpha=r, beta=r),
            cv2.addWeighted(mottle, g, red, -g, g, dtype=cv2.CV_8U),
            cv2.addWeighted(mottle, b, red, -0.85 * b, b, dtype=cv2.CV_8U),
        ]
    )
    skin = cv2.resize(tone, (canvas.pixels, canvas.pixels))
    canvas.lay(np.asarray(skin, np.uint8), outline)


def draw_ears(canvas: Canvas, a: Anatomy, look: Look, rng: np.random.Generator) -> None:
    """Both ears with helix and lobe; ear-rings now and then."""
    out, top, bottom = rng.uniform(4.0, 8.0), rng.uniform(-8, -3), rng.uniform(22, 29)
    ring = rng.uniform(1.2, 5) if rng.random() < 0.35 * a.feminine else 0.0
    gem = any_colour(rng) * 0.5 + 120
    x = a.cheek_width - 2
    edge = [
        (x, top + 5), (x + out - 1, top), (x + out + 1, top + 9),
        (x + out - 2, bottom - 7), (x + 2, bottom), (x - 2, bottom - 4),
    ]  # fmt: skip
    helix = [(x + 1, top + 6), (x + out - 2, top + 3), (x + out - 1.5, top + 10), (x + out - 4, bottom - 8)]
    for side in (-1, 1):
        canvas.fill(mirror(spline(edge, 30, closed=True), side), look.skin * (0.95, 0.84, 0.82))
        canvas.stain(mirror(spline(helix, 16), side), look.skin * (0.55, 0.4, 0.38), 0.7, 0.4, width=1.2)
        if ring:
            canvas.fill(oval(side * (x + 2.5), bottom + 1 + ring, 1.2, ring), gem)


def draw_skin_marks(canvas: Canvas, a: Anatomy, look: Look, rng: np.random.Generator) -> None:
    """Freckles, moles, forehead lines and crow's feet."""
    if look.freckles:
        spots = rng.normal((0, 14), (17, 9), (int(30 + 90 * look.freckles), 2))
        canvas.stroke(np.stack([spots, spots + 0.2], 1), look.skin * (0.8, 0.66, 0.56), 0.5)
    for _ in range(rng.poisson(0.5)):
        x, y, r = rng.uniform(-32, 32), rng.uniform(-28, 52), rng.uniform(0.5, 1.0)
        canvas.stain(oval(x, y, r, r), look.skin * (0.42, 0.3, 0.27), 0.8, 0.2)
    lines = a.age - rng.uniform(0, 0.6)
    if lines <= 0:
        return
    furrows = []
    for k in range(int(rng.integers(2, 5))):
        across = np.linspace(-1, 1, 7) * rng.uniform(14, 24)
        down = -21 - 4.5 * k + rng.normal(0, 0.5, 7) + 0.002 * across**2
        furrows.append(spline(np.stack([across, down], -1), 20))
    canvas.stain(furrows, look.skin * _CREASE, min(0.8 * lines, 0.55), 0.4, width=0.6)
    corner = a.eye_offset + a.eye_width + 2
    for side in (-1, 1):
        start = np.array([(corner, -1.5), (corner, 0.7), (corner, 2.9)])
        reach = np.stack([rng.uniform(4, 7, 3), [-2.5, 0.1, 2.7]], -1)
        feet = np.stack([start, start + reach], 1) * (side, 1)
        canvas.stain(list(feet), look.skin * _CREASE, min(lines, 0.5), 0.3, width=0.5)
