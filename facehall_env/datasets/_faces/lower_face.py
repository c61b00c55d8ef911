"""Nose, mouth, beard and marks of the skin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facehall_env.datasets._faces.anatomy import Anatomy, jaw_line
from facehall_env.datasets._faces.brush import Canvas, Points, spline
from facehall_env.datasets._faces.look import Look

_ROUND = np.linspace(0, 2 * np.pi, 12, endpoint=False)


def oval(x: float, y: float, rx: float, ry: float, turn: float = 0.0) -> Points:
    """An ellipse as a polygon (12, 2)."""
    p = np.stack([rx * np.cos(_ROUND), ry * np.sin(_ROUND)], -1)
    c, s = np.cos(turn), np.sin(turn)
    return p @ np.array([[c, s], [-s, c]]) + (x, y)


def draw_nose(
    canvas: Canvas, a: Anatomy, look: Look, marks: NDArray[np.float64], rng: np.random.Generator
) -> None:
    """Under side, nostrils, wings and bridge lines."""
    skin, y, w, x = look.skin, a.nose_length, a.nose_width, float(marks[33, 0])
    under = spline(
        [
            (x - 0.75 * w, y - 0.6),
            (x - 0.3 * w, y + 0.5),
            (x, y + 1.4),
            (x + 0.3 * w, y + 0.5),
            (x + 0.75 * w, y - 0.6),
        ],
        16,
    )
    canvas.soft_fill(under + (0, 0.6), skin * (0.58, 0.45, 0.42), 0.55, 0.8, width=1.6)
    flare = rng.uniform(0.8, 1.2)
    for side in (-1, 1):
        hole = oval(x + side * 0.42 * w, y - 0.6, 0.2 * w * flare, 1.15, side * -0.35)
        canvas.soft_fill(hole, skin * (0.22, 0.13, 0.12), 0.92, 0.25)
        wing = spline(
            [
                (x + side * 0.72 * w, y - 5.6),
                (x + side * 1.02 * w, y - 2.6),
                (x + side * 0.9 * w, y + 0.1),
                (x + side * 0.62 * w, y - 0.2),
            ],
            12,
        )
        canvas.soft_fill(wing, skin * (0.55, 0.42, 0.39), 0.55, 0.45, width=0.8)
        fold = spline(
            [
                (x + side * (w + 0.6), y - 4),
                (x + side * (w + 5), y + 4),
                (x + side * (a.mouth_width + 3.2), a.mouth_height - 3),
            ],
            12,
        )
        depth = 0.12 + 0.4 * max(a.smile, 0) + 0.4 * a.age
        canvas.soft_fill(fold, skin * (0.62, 0.48, 0.44), min(depth, 0.8), 0.7, width=0.9)
    for side in (-1, 1):
        canvas.soft_fill(
            np.array([(side * 1.5, y + 3.0), (side * 1.9, a.mouth_height - a.upper_lip - 1.2)]),
            skin * (0.72, 0.6, 0.58),
            0.35,
            0.5,
            width=0.8,
        )


def draw_mouth(
    canvas: Canvas, a: Anatomy, look: Look, marks: NDArray[np.float64], rng: np.random.Generator
) -> None:
    """Lips, parting line, teeth and the dark between."""
    lips, skin = look.lips, look.skin
    upper_out, lower_out = spline(marks[48:55], 24), spline(marks[[54, 55, 56, 57, 58, 59, 48]], 24)
    upper_in, lower_in = spline(marks[60:65], 20), spline(marks[[64, 65, 66, 67, 60]], 20)
    corners = marks[48], marks[54]
    canvas.soft_fill(
        spline(marks[[59, 58, 57, 56, 55]], 14) + (0, 1.5), skin * (0.66, 0.54, 0.5), 0.4, 1.0, width=1.8
    )
    soft = 0.45 - 0.3 * look.make_up
    canvas.soft_fill(
        np.vstack([upper_out, corners[1][None], upper_in[::-1], corners[0][None]]), lips * 0.86, 0.92, soft
    )
    canvas.soft_fill(
        np.vstack([corners[1][None], lower_out, corners[0][None], lower_in[::-1]]), lips * 1.04, 0.92, soft
    )
    mouth = np.vstack([upper_in, lower_in])
    if a.mouth_open > 0.6:
        inside = np.array([52.0, 18, 18])
        canvas.soft_fill(mouth, inside, 0.96, 0.2)
        if rng.random() < 0.85:
            _draw_teeth(canvas, a, marks, mouth, rng)
    seam = np.vstack([corners[0][None], upper_in, corners[1][None]])
    line = spline(seam[[0, 1, 5, 10, 15, 20, 21]], 24)
    canvas.soft_fill(line, lips * (0.36, 0.26, 0.26), 0.85, 0.2, width=0.65)
    for corner, side in zip(corners, (-1, 1), strict=True):
        canvas.soft_fill(
            oval(corner[0] + 0.5 * side, corner[1], 1.3, 0.9), skin * (0.45, 0.32, 0.3), 0.6, 0.5
        )
    if look.make_up > 0.2 or rng.random() < 0.5:
        y = marks[57, 1] - 0.5 * a.lower_lip
        canvas.soft_fill(oval(0.5, y, 0.32 * a.mouth_width, 0.55), lips * 0.4 + 150, 0.45, 0.5)


def _draw_teeth(
    canvas: Canvas, a: Anatomy, marks: NDArray[np.float64], mouth: Points, rng: np.random.Generator
) -> None:
    region = canvas.region(mouth, 1)
    white = np.array([232.0, 224, 208]) * rng.uniform(0.82, 1.02)
    reach = min(2.6 + 0.35 * a.mouth_open, 1.15 * a.mouth_open)
    top = marks[60:65] * (0.92, 1.0)
    row = np.vstack(
        [
            spline(top, 20),
            spline(top + (0, reach) * (1 - 0.6 * np.abs(np.linspace(-1, 1, 5))[:, None] ** 2), 20)[::-1],
        ]
    )
    coverage = canvas.soft_mask([row], region) * canvas.soft_mask([mouth], region, blur=0.15)
    gaps = np.array([0, 2.9, 5.4, 7.6, 9.6, 11.4])
    lines = [
        np.array([(s * g, a.mouth_height - 8), (s * g, a.mouth_height + 14)]) for g in gaps for s in (-1, 1)
    ]
    grooves = canvas.soft_mask(lines, region, width=0.4) * np.float32(0.3)
    canvas.tint(region, coverage, white * (1 - grooves[..., None]))


def draw_skin_marks(canvas: Canvas, a: Anatomy, look: Look, rng: np.random.Generator) -> None:
    """Freckles, moles, forehead lines and crow's feet."""
    skin = look.skin
    if look.freckles:
        count = int(30 + 90 * look.freckles)
        spots = rng.normal(0, (17, 9), (count, 2)) + (0, 14)
        canvas.stroke(np.stack([spots, spots + 0.2], 1), skin * (0.8, 0.66, 0.56), 0.5)
    for _ in range(rng.poisson(0.5)):
        x, y = rng.uniform(-32, 32), rng.uniform(-28, 52)
        canvas.soft_fill(oval(x, y, 0.8, 0.7), skin * (0.42, 0.3, 0.27), 0.8, 0.2)
    lines = a.age - rng.uniform(0, 0.6)
    if lines > 0:
        for k in range(int(rng.integers(2, 5))):
            y, reach = -20 - 4.3 * k + rng.normal(0, 0.4), rng.uniform(14, 24)
            x = np.linspace(-reach, reach, 7)
            line = spline(np.stack([x, y + rng.normal(0, 0.5, 7) + 0.002 * x**2], -1), 20)
            canvas.soft_fill(line, skin * (0.6, 0.48, 0.44), min(0.8 * lines, 0.6), 0.35, width=0.6)
        for side in (-1, 1):
            for k in range(3):
                start = np.array([side * (a.eye_offset + a.eye_width + 2), -1.5 + 2.2 * k])
                end = start + (side * rng.uniform(4, 7), -2.5 + 2.6 * k)
                canvas.soft_fill(
                    np.array([start, end]), skin * (0.6, 0.48, 0.44), min(lines, 0.55), 0.3, width=0.5
                )


def draw_beard(
    canvas: Canvas, a: Anatomy, look: Look, marks: NDArray[np.float64], rng: np.random.Generator
) -> None:
    """Stubble, moustache, goatee or full beard, as a stain and hair strokes."""
    if look.beard == "none":
        return
    colour = look.hair * 0.85
    jaw = jaw_line(a, np.linspace(-1.25, 1.25, 25))
    mouth = marks[48:60]
    moustache = np.vstack(
        [spline(mouth[[0, 1, 2, 3, 4, 5, 6]] + (0, -0.4), 20),
         spline([(a.mouth_width + 2.5, a.mouth_height + 1), (a.nose_width + 1, a.nose_length + 3.0), (0, a.nose_length + 3.2), (-a.nose_width - 1, a.nose_length + 3.0), (-a.mouth_width - 2.5, a.mouth_height + 1)], 20)]
    )  # fmt: skip
    cheek = spline(
        [
            (0.93 * a.cheek_width, 10),
            (0.72 * a.cheek_width, 28),
            (a.mouth_width + 3, a.mouth_height - 4),
            (0, a.mouth_height - 7),
            (-a.mouth_width - 3, a.mouth_height - 4),
            (-0.72 * a.cheek_width, 28),
            (-0.93 * a.cheek_width, 10),
        ],
        30,
    )
    full = np.vstack([jaw * (1.01, 1.01), cheek])
    chin_top = marks[57, 1] + 2.0
    goatee = np.vstack(
        [oval(0, 0.5 * (chin_top + a.chin_height) + 1, 10.5, 0.5 * (a.chin_height - chin_top) + 2)]
    )
    regions, alpha, hairs = {
        "stubble": ([full], rng.uniform(0.2, 0.45), 0),
        "moustache": ([moustache], rng.uniform(0.6, 0.9), 110),
        "goatee": ([moustache, goatee], rng.uniform(0.55, 0.9), 150),
        "full": ([full], rng.uniform(0.6, 0.92), 320),
    }[look.beard]
    everything = np.vstack(regions)
    region = canvas.region(everything, 3)
    coverage = canvas.soft_mask(regions, region, blur=2.2 if len(everything) > 50 else 0.8)
    lips = canvas.soft_mask(
        [np.vstack([spline(mouth[:7], 20), spline(mouth[[6, 7, 8, 9, 10, 11, 0]], 20)])], region, blur=0.5
    )
    coverage = coverage * (1 - lips)
    noise = rng.uniform(0.55, 1.3, coverage.shape).astype(np.float32)
    canvas.tint(region, np.minimum(coverage * noise * np.float32(alpha), 1.0), colour)
    if hairs:
        low, high = everything.min(axis=0), everything.max(axis=0)
        root = rng.uniform(low, high, (hairs * 2, 2))
        pixel = ((root + (88, 80)) * canvas.scale - (region[1].start, region[0].start)).astype(int)
        root = root[coverage[pixel[:, 1], pixel[:, 0]] > 0.6]
        tip = root + np.stack(
            [root[:, 0] * 0.05 + rng.normal(0, 0.5, len(root)), rng.uniform(1.5, 3.2, len(root))], -1
        )
        strands = np.stack([root, tip], 1)
        half = len(strands) // 2
        canvas.stroke(strands[:half], colour * 0.7, 0.4)
        canvas.stroke(strands[half:], colour * 1.35 + 10, 0.4)
