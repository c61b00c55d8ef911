"""Glasses, hats, ear-rings and clothes."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from facehall_env.datasets._faces.anatomy import Anatomy
from facehall_env.datasets._faces.brush import Canvas, Points, spline
from facehall_env.datasets._faces.hair import skull
from facehall_env.datasets._faces.look import Look
from facehall_env.datasets._faces.lower_face import oval


def vivid(rng: np.random.Generator) -> NDArray[np.float64]:
    """Some colour of cloth."""
    value, saturation = rng.uniform(15, 245), rng.beta(1, 2)
    return np.asarray(value * (1 - saturation * rng.random(3)))


def draw_body(canvas: Canvas, a: Anatomy, look: Look, rng: np.random.Generator) -> None:
    """Neck, shoulders and collar."""
    skin, chin = look.skin, a.chin_height
    neck = 23 + 4 * (1 - a.feminine) + 2 * a.fullness
    canvas.fill([(-neck, 20), (neck, 20), (neck + 2, 100), (-neck - 2, 100)], skin * 0.9, solid=True)
    canvas.soft_fill(np.vstack([oval(0, chin + 1, neck + 6, 9)]), skin * (0.5, 0.4, 0.37), 0.6, 3.0)
    cloth, second = vivid(rng), vivid(rng)
    base = chin + rng.uniform(5, 16)
    shoulder = spline(
        [
            (-92, base + 16),
            (-60, base + 9),
            (-neck - 3, base - 3),
            (-8, base + 13),
            (8, base + 13),
            (neck + 3, base - 3),
            (60, base + 9),
            (92, base + 16),
        ],
        40,
    )
    canvas.fill(np.vstack([shoulder, [(92, 100), (-92, 100)]]), cloth, solid=True)
    kind = rng.random()
    if kind < 0.5:
        for side in (-1, 1):
            collar = np.array(
                [
                    (side * (neck + 2), base - 6),
                    (side * (neck + 9), base + 3),
                    (side * 10, base + 19),
                    (0, base + 12),
                ]
            )
            canvas.fill(collar, second if kind < 0.3 else cloth * 0.85 + 20, solid=True)
            canvas.stroke([collar], cloth * 0.5, 0.5)
        if kind < 0.2:
            canvas.fill([(-4, base + 11), (4, base + 11), (6, 100), (-6, 100)], vivid(rng))
    elif kind < 0.7:
        step = rng.uniform(4, 9)
        lines = [np.array([(-92, base + k), (92, base + k)]) for k in np.arange(12, 40, step)]
        canvas.stroke(lines, second, rng.uniform(0.8, 3))


def draw_glasses(canvas: Canvas, a: Anatomy, look: Look, rng: np.random.Generator) -> None:
    """Frames, bridge, temples, tint and reflections."""
    if look.glasses == "none":
        return
    kind = look.glasses
    rx = rng.uniform(13.5, 16.5)
    ry = {"round": 0.85, "half": 0.5, "wire": 0.72, "thin": 0.62, "thick": 0.7, "sun": 0.78}[kind] * rx
    power = {"round": 2.0, "wire": 2.4, "sun": 2.8}.get(kind, rng.uniform(2.6, 4.5))
    width = {"thick": rng.uniform(1.6, 2.6), "sun": rng.uniform(1.0, 2.0), "thin": 1.1}.get(kind, 0.7)
    metal = kind in ("wire", "half", "round")
    frame = (
        np.array([150.0, 138, 116]) * rng.uniform(0.4, 1.2) if metal else vivid(rng) * rng.uniform(0.1, 0.5)
    )
    y0 = rng.uniform(0.5, 3.5)
    offset = max(a.eye_offset + rng.uniform(-0.5, 1.5), rx + 2.0)
    glare = rng.random() < 0.55
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    for side in (-1, 1):
        c, s = np.cos(t), np.sin(t)
        lens = np.stack(
            [rx * np.sign(c) * np.abs(c) ** (2 / power), ry * np.sign(s) * np.abs(s) ** (2 / power)], -1
        )
        lens = lens * (1, 1) + (side * offset, y0)
        if kind == "sun":
            canvas.soft_fill(lens, frame * 0.2 + 12, rng.uniform(0.82, 0.95), 0.3)
        elif rng.random() < 0.6:
            canvas.soft_fill(lens, (225, 232, 236), rng.uniform(0.02, 0.14), 0.5)
        if glare:
            gx, gy = side * offset + rng.uniform(-7, 5), y0 - 0.35 * ry
            canvas.soft_fill(
                np.array([(gx, gy - 3), (gx + 6, gy - 3), (gx + 2, gy + 4), (gx - 4, gy + 4)]),
                (245, 248, 250),
                rng.uniform(0.15, 0.7),
                0.7,
            )
        ring = np.vstack([lens, lens[:1]])
        if kind == "half":
            ring = lens[20:] if rng.random() < 0.7 else ring
        canvas.soft_fill(ring + (0.3, 1.0), look.skin * 0.35, 0.3, 0.7, width=width + 0.5)
        canvas.stroke([ring], frame, width)
        if metal or rng.random() < 0.3:
            canvas.stroke([ring[21:34] + (0, -0.2)], frame * 0.4 + 140, 0.4)
        arm = np.array(
            [(side * (offset + rx - 0.3), y0 - 0.35 * ry), (side * (a.cheek_width + 5), y0 - 0.35 * ry - 1)]
        )
        canvas.stroke([arm], frame * 0.9, max(0.8 * width, 0.6))
    gap = offset - rx
    bridge = spline([(-gap - 0.5, y0 - 0.2 * ry), (0, y0 - 0.2 * ry - 2.0), (gap + 0.5, y0 - 0.2 * ry)], 10)
    canvas.stroke([bridge], frame, max(width, 0.7))


def draw_hat(canvas: Canvas, a: Anatomy, look: Look, rng: np.random.Generator) -> None:
    """Cap, beanie, head scarf or head band."""
    if look.hat == "none":
        return
    colour, brim = vivid(rng), rng.uniform(-34, -24)
    dome = skull(a, 7.0, low=brim)
    if look.hat == "scarf":
        w = a.cheek_width
        inner = spline(
            [
                (-w + 1, 40),
                (-w + 3, 0),
                (-w + 9, brim + 2),
                (0, brim - 5),
                (w - 9, brim + 2),
                (w - 3, 0),
                (w - 1, 40),
                (w - 14, a.chin_height + 2),
                (0, a.chin_height + 5),
                (-w + 14, a.chin_height + 2),
            ],
            60,
            closed=True,
        )
        outer = np.vstack(
            [skull(a, 9.0, samples=30), [(w + 16, 40), (w + 30, 100), (-w - 30, 100), (-w - 16, 40)]]
        )
        stencil = np.zeros_like(canvas.mask)
        cv2.fillPoly(stencil, [canvas.to_pixels(outer)], 255, cv2.LINE_8, 4)
        cv2.fillPoly(stencil, [canvas.to_pixels(inner)], 0, cv2.LINE_8, 4)
        cloth = np.empty_like(canvas.image)
        cloth[:] = colour.astype(np.uint8)
        for _ in range(5):
            x = rng.uniform(-14, 14)
            fold = spline(
                [(x, -75), (np.sign(x) * (w + 2), -10), (np.sign(x) * (w + rng.uniform(2, 16)), 60)], 20
            )
            cv2.polylines(
                cloth,
                [canvas.to_pixels(fold)],
                False,
                tuple((colour * 0.7).tolist()),
                round(2 * canvas.scale),
                cv2.LINE_AA,
                4,
            )
        cv2.copyTo(cv2.GaussianBlur(cloth, (0, 0), canvas.scale), stencil, canvas.image)
        cv2.bitwise_or(canvas.mask, stencil, canvas.mask)
        canvas.soft_fill(np.vstack([inner, inner[:1]]), colour * 0.5, 0.6, 0.6, width=1.0)
    elif look.hat == "band":
        edge = skull(a, 2.0, low=-14)
        lower = spline(
            [(a.cheek_width, -16), (20, brim + 1), (0, brim), (-20, brim + 1), (-a.cheek_width, -16)], 24
        )
        upper = lower[::-1] + (0, -rng.uniform(7, 14))
        del edge
        canvas.fill(np.vstack([lower, upper]), colour, solid=True)
        canvas.stroke([lower], colour * 0.6, 0.8)
    else:
        canvas.fill(
            np.vstack(
                [dome, spline([(a.cheek_width + 2, brim), (0, brim - 4), (-a.cheek_width - 2, brim)], 20)]
            ),
            colour,
            solid=True,
        )
        if look.hat == "cap":
            tilt = rng.uniform(-3, 3)
            visor = spline(
                [
                    (-36, brim - 3 - tilt),
                    (-20, brim + 5),
                    (0, brim + 8),
                    (20, brim + 5),
                    (36, brim - 3 + tilt),
                    (18, brim - 7),
                    (-18, brim - 7),
                ],
                40,
                closed=True,
            )
            canvas.soft_fill(visor + (0, 4), look.skin * 0.3, 0.6, 2.5)
            canvas.fill(visor, colour * rng.uniform(0.5, 0.9), solid=True)
            canvas.fill(oval(rng.uniform(-4, 4), brim - 18, 7, 6), vivid(rng))
        else:
            ribs = [np.array([(x, brim - 16), (x * 1.02, brim + 1)]) for x in np.arange(-44, 45, 3.0)]
            canvas.fill(
                [
                    (-a.cheek_width - 3, brim + 2),
                    (-a.cheek_width - 3, brim - 14),
                    (a.cheek_width + 3, brim - 14),
                    (a.cheek_width + 3, brim + 2),
                ],
                colour * 1.0,
                solid=True,
            )
            canvas.stroke(ribs, colour * 0.7, 0.8)


def draw_ears(canvas: Canvas, a: Anatomy, look: Look, rng: np.random.Generator) -> None:
    """Both ears with helix and lobe; ear-rings now and then."""
    skin = look.skin
    out, top, bottom = rng.uniform(4.0, 8.0), rng.uniform(-8, -3), rng.uniform(19, 25)
    ring = rng.random() < 0.35 * a.feminine
    gem = vivid(rng) * 0.5 + 120
    for side in (-1, 1):
        x = a.cheek_width - 2
        outline = [
            (x, top + 5),
            (x + out - 1, top),
            (x + out + 1, top + 9),
            (x + out - 2, bottom - 7),
            (x + 2, bottom),
            (x - 2, bottom - 4),
        ]
        ear = spline(np.array(outline) * (side, 1), 30, closed=True)
        canvas.fill(ear, skin * (0.95, 0.84, 0.82), solid=True)
        helix = spline(
            np.array(
                [
                    (x + 1, top + 6),
                    (x + out - 2, top + 3),
                    (x + out - 1.5, top + 10),
                    (x + out - 4, bottom - 8),
                ]
            )
            * (side, 1),
            16,
        )
        canvas.soft_fill(helix, skin * (0.55, 0.4, 0.38), 0.7, 0.5, width=1.2)
        if ring:
            drop: Points = oval(side * (x + 2.5), bottom + 2, 1.2, rng.uniform(1.2, 5))
            canvas.fill(drop, gem, solid=True)
