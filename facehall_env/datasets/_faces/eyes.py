"""Eyes and brows."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from facehall_env.datasets._faces.anatomy import Anatomy
from facehall_env.datasets._faces.brush import Canvas, Points, spline
from facehall_env.datasets._faces.look import Look

_DARK = np.array([18.0, 12.0, 11.0])


def eye_openings(marks: NDArray[np.float64]) -> tuple[Points, Points]:
    """The six landmarks of either eye, outer corner first, upper lid, inner corner, lower lid."""
    return marks[36:42], marks[[45, 44, 43, 42, 47, 46]]


def iris_centres(a: Anatomy, marks: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Where the pupils are, image-left first."""
    centres = []
    for eye in eye_openings(marks):
        middle = 0.5 * (eye[0] + eye[3])
        rest = np.array([0.0, -0.42 * a.upper_lid + 0.2])
        centres.append(middle + rest + np.array(a.gaze))
    return centres


def draw_eyes(
    canvas: Canvas, a: Anatomy, look: Look, marks: NDArray[np.float64], rng: np.random.Generator
) -> None:
    """Sockets, eyeballs, lids, creases and lashes."""
    skin = look.skin
    fold = rng.uniform(1.6, 3.4) if rng.random() < 0.85 else 0.0
    spokes = rng.uniform(0.6, 1.3, (14,))
    spin = rng.uniform(0, 2 * np.pi)
    white = np.array([226.0, 218, 212]) * rng.uniform(0.84, 1.0) * (1 - 0.12 * look.tone)
    bag = rng.uniform(0.1, 0.35) + 0.35 * a.age
    lash = 0.45 + 0.45 * a.feminine + 0.3 * look.make_up
    shadow = rng.uniform(0, 255, 3) * 0.5
    for side, eye, centre in zip((-1, 1), eye_openings(marks), iris_centres(a, marks), strict=True):
        upper = spline(eye[:4], 16)
        lower = spline(eye[[3, 4, 5, 0]], 16)
        opening = np.vstack([upper, lower[1:-1]])

        if look.make_up > 0.25:
            lid = np.vstack([upper, upper[::-1] + (0.15 * side, -4.0)])
            canvas.soft_fill(lid, 0.6 * skin + 0.4 * shadow, 0.6 * look.make_up, 1.2)
        canvas.soft_fill(upper + (0, -1.8), skin * (0.62, 0.52, 0.5), 0.35, 1.3, width=3.0)
        canvas.soft_fill(lower + (0, 2.6), skin * (0.7, 0.58, 0.58), bag, 0.9, width=1.2)

        region = canvas.region(opening, 2.0)
        ball = np.empty((region[0].stop - region[0].start, region[1].stop - region[1].start, 3), np.uint8)
        ball[:] = white.astype(np.uint8)
        eyeball = _Window(canvas, region, ball)
        eyeball.dot(eye[3] + (side * 0.9, 0.0), 1.5, skin * (0.92, 0.62, 0.6))
        eyeball.dot(centre, a.iris_radius, look.iris * 0.45)
        eyeball.dot(centre, a.iris_radius - 0.55, look.iris)
        for k, gain in enumerate(spokes):
            angle = spin + 2 * np.pi * k / len(spokes)
            tip = np.array([np.cos(angle), np.sin(angle)])
            eyeball.line(centre + 1.6 * tip, centre + (a.iris_radius - 0.7) * tip, look.iris * gain * 1.25)
        eyeball.dot(centre, 2.3, look.iris * (1.15, 1.0, 0.75))
        eyeball.dot(centre, 1.55, _DARK * 0.7)
        ball = np.asarray(cv2.GaussianBlur(ball, (0, 0), 0.3 * canvas.scale), np.uint8)
        shade = canvas.soft_mask([upper + (0, 0.4)], region, width=2.6, blur=0.7) * np.float32(0.6)
        shaded = ball * (1 - shade[..., None]) + np.asarray(_DARK, np.float32) * shade[..., None]
        canvas.tint(region, canvas.soft_mask([opening], region), shaded)

        canvas.stroke([lower + (0, 0.1)], skin * (0.72, 0.5, 0.48), 0.5)
        canvas.soft_fill(
            upper, _DARK + 0.12 * skin, min(0.6 + lash * 0.35, 1.0), 0.15, width=0.7 + 0.7 * lash
        )
        if fold:
            crease = spline(eye[:4] + np.array([[0.6 * side, -0.6], [0, -fold], [0, -fold], [0, -1.0]]), 14)
            canvas.soft_fill(crease, skin * (0.5, 0.38, 0.36), 0.7, 0.2, width=0.6)
        if lash > 0.6:
            t = np.linspace(0, 9, 8).astype(int)
            roots = upper[t]
            flick = np.stack(
                [np.full(len(t), side * 1.0) * np.linspace(1.4, 0.0, 8), np.full(len(t), -1.6)], -1
            )
            canvas.stroke(np.stack([roots, roots + flick * lash], 1), _DARK, 0.4)


class _Window:
    """Draws discs and lines in face units into a region's own picture."""

    def __init__(self, canvas: Canvas, region: tuple[slice, slice], picture: NDArray[np.uint8]) -> None:
        self.canvas, self.picture = canvas, picture
        self.origin = np.array([region[1].start, region[0].start], np.int32) << 4

    def dot(self, centre: NDArray[np.float64], radius: float, colour: NDArray[np.float64]) -> None:
        p = self.canvas.to_pixels(centre) - self.origin
        radius_pixels = round(radius * self.canvas.scale * 16)
        cv2.circle(
            self.picture, p.tolist(), radius_pixels, tuple(colour.clip(0, 255).tolist()), -1, cv2.LINE_AA, 4
        )

    def line(self, start: NDArray[np.float64], end: NDArray[np.float64], colour: NDArray[np.float64]) -> None:
        p, q = self.canvas.to_pixels(start) - self.origin, self.canvas.to_pixels(end) - self.origin
        cv2.line(self.picture, p.tolist(), q.tolist(), tuple(colour.clip(0, 255).tolist()), 1, cv2.LINE_AA, 4)


def draw_catch_lights(
    canvas: Canvas, a: Anatomy, look: Look, marks: NDArray[np.float64], rng: np.random.Generator
) -> None:
    """Reflections of the key light on the eyes; drawn after the shading."""
    strength = rng.uniform(0.5, 1.0)
    size = rng.uniform(0.55, 0.95)
    toward = look.light.direction[:2].astype(float)
    for eye, centre in zip(eye_openings(marks), iris_centres(a, marks), strict=True):
        spot = centre + 2.2 * toward + (0, -0.3)
        low = eye[1:3, 1].mean() + 0.9
        if spot[1] < low or a.upper_lid < 1.5:
            spot = np.array([spot[0], max(spot[1], low)])
        ring = spot + size * np.stack([np.cos(_ROUND), np.sin(_ROUND)], -1)
        canvas.soft_fill(ring, (255, 253, 248), strength * (0.2 if a.upper_lid < 1.5 else 1.0), 0.12)


_ROUND = np.linspace(0, 2 * np.pi, 10, endpoint=False)


def draw_brows(
    canvas: Canvas, a: Anatomy, look: Look, marks: NDArray[np.float64], rng: np.random.Generator
) -> None:
    """A soft base and hair strokes along each brow."""
    density = rng.uniform(0.35, 0.8)
    hairs = int(rng.integers(26, 44))
    for side, brow in ((-1, marks[17:22]), (1, marks[26:21:-1])):
        centre = spline(brow, 20)
        t = np.linspace(0, 1, 20)[:, None]
        half = 0.5 * a.brow_thickness * np.minimum(1.0, 0.25 + 1.3 * t) * np.minimum(1.0, 6.0 * (1.02 - t))
        shape = np.vstack([centre + half * (0, -1), (centre + half * (0, 1))[::-1]])
        canvas.soft_fill(shape, look.brow, density, 0.5)
        along = rng.random(hairs)
        across = rng.uniform(-1, 1, hairs)
        index = along * 18.999
        base, part = index.astype(int), (index % 1)[:, None]
        root = centre[base] * (1 - part) + centre[base + 1] * part
        width = half[base, 0] * (1 - part[:, 0]) + half[base + 1, 0] * part[:, 0]
        root = root + np.stack([np.zeros(hairs), across * width], -1)
        lean = np.stack(
            [
                side * rng.uniform(1.2, 2.8, hairs),
                -rng.uniform(0.2, 1.8, hairs) * (along - 0.15) - 0.4 * across,
            ],
            -1,
        )
        hair = np.stack([root - 0.4 * lean, root + 0.6 * lean], 1)
        split = hairs // 2
        canvas.stroke(hair[:split], look.brow * 0.75, 0.4)
        canvas.stroke(hair[split:], look.brow * 1.25 + 0.04 * look.skin, 0.4)
