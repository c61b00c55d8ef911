"""Lips, parting line, teeth and the dark between."""

from __future__ import annotations

import numpy as np

from facehall_env.datasets._faces.anatomy import Anatomy
from facehall_env.datasets._faces.brush import LEFT, Canvas, Points, moved, oval, spline
from facehall_env.datasets._faces.look import Look


def lip_lines(marks: Points) -> tuple[Points, Points, Points, Points]:
    """Smooth upper outer, lower outer, upper inner and lower inner line, each in landmark order."""
    return (
        spline(marks[48:55], 24),
        spline(marks[[54, 55, 56, 57, 58, 59, 48]], 24),
        spline(marks[60:65], 20),
        spline(marks[[64, 65, 66, 67, 60]], 20),
    )


def draw_mouth(canvas: Canvas, a: Anatomy, look: Look, marks: Points, rng: np.random.Generator) -> None:
    """The whole mouth."""
    lips, skin = look.lips, look.skin
    upper_out, lower_out, upper_in, lower_in = lip_lines(marks)
    left, right = marks[48:49], marks[54:55]
    canvas.stain(moved(lower_out[4:-4], 0, 1.4), skin * (0.66, 0.54, 0.5), 0.4, 0.9, width=1.8)
    soft = 0.5 - 0.3 * look.make_up
    canvas.stain(np.concatenate([upper_out, right, upper_in[::-1], left]), lips * 0.84, 0.92, soft)
    canvas.stain(np.concatenate([right, lower_out, left, lower_in[::-1]]), lips * 1.03, 0.92, soft)
    if look.make_up > 0.2 or rng.random() < 0.5:
        y = 0.5 * (marks[57, 1] + marks[66, 1])
        canvas.stain(oval(0.5, y, 0.32 * a.mouth_width, 0.6), lips * 0.45 + 135, 0.4, 0.6)
    inside = np.concatenate([upper_in, lower_in])
    if a.mouth_open > 0.6:
        canvas.stain(inside, np.array([48.0, 16, 17]), 0.96, 0.2)
        if rng.random() < 0.9:
            _draw_teeth(canvas, a, marks, inside, rng)
    seam = spline(np.concatenate([left, upper_in[[1, 5, 10, 14, 18]], right]), 24)
    canvas.stain(seam, lips * (0.36, 0.26, 0.26), 0.8, 0.2, width=0.6)
    corners = [oval(p[0] + 0.4 * side, p[1], 1.2, 0.8) for p, side in ((marks[48], -1), (marks[54], 1))]
    canvas.stain(corners, skin * (0.42, 0.3, 0.28), 0.6, 0.4)


def _draw_teeth(canvas: Canvas, a: Anatomy, marks: Points, inside: Points, rng: np.random.Generator) -> None:
    """The upper row, and sometimes the lower, inside the parted lips."""
    window = canvas.window(inside, 1)
    opening = canvas.coverage([inside], window, blur=0.2)
    white = np.array([236.0, 228, 212]) * rng.uniform(0.8, 1.0)
    fall = 1 - 0.45 * np.linspace(-1, 1, 5)[:, None] ** 2
    reach = min(3.0 + 0.3 * a.mouth_open, 1.3 * a.mouth_open + 0.6)
    top = marks[60:65] * (0.95, 1.0)
    rows = [np.concatenate([spline(top - (0, 1), 20), spline(top + (0, reach) * fall, 20)[::-1]])]
    if rng.random() < 0.25:
        base = marks[[60, 67, 66, 65, 64]] * (0.8, 1.0)
        rows.append(
            np.concatenate(
                [
                    spline(moved(base, 0, 1), 20),
                    spline(base - (0, 0.22 * a.mouth_open + 0.6) * fall, 20)[::-1],
                ]
            )
        )
    teeth = canvas.coverage(rows, window, blur=0.15)
    cover = (teeth.astype(np.uint16) * opening // 255).astype(np.uint8)
    x = np.array([0, 3.0, 5.6, 7.9, 9.9, 11.7, 13.2])
    gaps = [np.array([(s * g, a.mouth_height - 9), (s * g, a.mouth_height + 14)]) for g in x for s in (-1, 1)]
    grooves = canvas.coverage(gaps, window, width=0.5).astype(np.float32)
    across = (np.arange(cover.shape[1]) + window[1].start) / canvas.scale - LEFT
    dim = 1 - 0.45 * np.minimum(np.abs(across) / a.mouth_width, 1) ** 3  # teeth at the back lie in the dark
    paint = white.astype(np.float32) * (dim * (1 - grooves * (0.28 / 255)))[..., None].astype(np.float32)
    canvas.blend(window, cover, paint.astype(np.uint8), 1.0)
