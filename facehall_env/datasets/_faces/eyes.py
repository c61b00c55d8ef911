"""Eyes: sockets, eyeballs, lids, creases, lashes and catch-lights."""

from __future__ import annotations

import cv2
import numpy as np

from facehall_env.datasets._faces.anatomy import Anatomy
from facehall_env.datasets._faces.brush import BITS, Canvas, Picture, Points, Window, moved, oval, spline
from facehall_env.datasets._faces.colours import Rgb
from facehall_env.datasets._faces.look import Look

_DARK = np.array([18.0, 12.0, 11.0])


def eye_outlines(marks: Points) -> tuple[Points, Points]:
    """The six landmarks of either eye: outer corner, upper lid, inner corner, lower lid."""
    return marks[36:42], marks[[45, 44, 43, 42, 47, 46]]


def iris_centres(a: Anatomy, marks: Points) -> list[Points]:
    """Where the pupils are, image-left first."""
    rest = np.array([0.0, -0.4 * a.upper_lid + 0.2]) + a.gaze
    return [0.5 * (eye[0] + eye[3]) + rest for eye in eye_outlines(marks)]


def draw_eyes(canvas: Canvas, a: Anatomy, look: Look, marks: Points, rng: np.random.Generator) -> None:
    """Both eyes, but for the catch-lights."""
    skin, outlines = look.skin, eye_outlines(marks)
    crease = rng.uniform(1.6, 3.4) if rng.random() < 0.85 else 0.0
    white = np.array([230.0, 222, 217]) * rng.uniform(0.88, 1.03) * (1 - 0.1 * look.tone)
    bag = rng.uniform(0.1, 0.3) + 0.3 * a.age
    lash = 0.4 + 0.45 * a.feminine + 0.3 * look.make_up
    shadow = rng.uniform(0, 127, 3)
    spokes = rng.uniform(0.6, 1.4, 16)
    uppers = [spline(eye[:4], 16) for eye in outlines]
    lowers = [spline(eye[[3, 4, 5, 0]], 16) for eye in outlines]

    if look.make_up > 0.25:
        lids = [np.concatenate([upper, upper[::-1] - (0, 4)]) for upper in uppers]
        canvas.stain(lids, 0.6 * skin + 0.4 * shadow, 0.6 * look.make_up, 1.0)
    canvas.stain([upper - (0, 1.8) for upper in uppers], skin * (0.62, 0.52, 0.5), 0.32, 1.1, width=3.0)
    canvas.stain([moved(lower, 0, 2.6) for lower in lowers], skin * (0.7, 0.58, 0.58), bag, 0.8, width=1.2)
    openings = [np.concatenate([upper, lower[1:-1]]) for upper, lower in zip(uppers, lowers, strict=True)]
    window = canvas.window(np.concatenate(openings), 1.0)
    balls = _eyeballs(canvas, window, a, look, marks, white, spokes)
    under = canvas.coverage([moved(upper, 0, 0.4) for upper in uppers], window, width=2.4, blur=0.6)
    keep = 1 - under * np.float32(0.55 / 255)  # shade of the upper lid
    balls = np.asarray(cv2.multiply(balls, cv2.merge([keep, keep, keep]), dtype=cv2.CV_8U), np.uint8)
    canvas.blend(window, canvas.coverage(openings, window), balls, 1.0)

    canvas.stroke([moved(lower, 0, 0.1) for lower in lowers], skin * (0.72, 0.5, 0.48), 0.5)
    canvas.stain(uppers, _DARK + 0.12 * skin, min(0.55 + lash * 0.4, 1.0), 0.0, width=0.6 + 0.8 * lash)
    if crease:
        rise = np.array([[0.0, -0.6], [0, -crease], [0, -crease], [0, -1.0]])
        canvas.stain(
            [spline(eye[:4] + rise, 14) for eye in outlines], skin * (0.48, 0.36, 0.34), 0.7, 0.2, width=0.6
        )
    if lash > 0.6:
        for side, upper in zip((-1, 1), uppers, strict=True):
            roots = upper[:10:1]
            flick = np.stack([side * np.linspace(1.6, 0.0, len(roots)), np.full(len(roots), -1.6)], -1) * lash
            canvas.stroke(np.stack([roots, roots + flick], 1), _DARK)


def _eyeballs(
    canvas: Canvas, window: Window, a: Anatomy, look: Look, marks: Points, white: Rgb, spokes: Points
) -> Picture:
    """Whites, tear ducts, irises with spokes and collarette, pupils: a picture of the window."""
    balls = np.empty((window[0].stop - window[0].start, window[1].stop - window[1].start, 3), np.uint8)
    cv2.rectangle(balls, (0, 0), balls.shape[1::-1], white.tolist(), -1)
    origin = np.array((window[1].start, window[0].start), np.int32) << BITS
    centres = iris_centres(a, marks)
    at = (canvas.to_pixels(np.stack(centres)) - origin).tolist()

    def discs(radius: float, colour: Rgb) -> None:
        for p in at:
            cv2.circle(
                balls, p, round(radius * canvas.scale * (1 << BITS)), colour.tolist(), -1, cv2.LINE_AA, BITS
            )

    tears = [oval(marks[k, 0] + nudge, marks[k, 1], 1.5, 1.5) for k, nudge in ((39, -0.9), (42, 0.9))]
    cv2.fillPoly(
        balls,
        [canvas.to_pixels(t) - origin for t in tears],
        (look.skin * (0.92, 0.62, 0.6)).tolist(),
        cv2.LINE_AA,
        BITS,
    )
    discs(a.iris_radius, look.iris * 0.4)
    discs(a.iris_radius - 0.55, look.iris)
    angle = np.arange(len(spokes)) * (2 * np.pi / len(spokes)) + spokes[0]
    ray = np.stack([np.cos(angle), np.sin(angle)], -1)
    star = np.stack([1.6 * ray, (a.iris_radius - 0.6) * ray], 1)
    stars = canvas.to_pixels(np.stack([centre + star for centre in centres], 1)) - origin
    for gain, some in ((1.45, spokes > 1), (0.68, spokes <= 1)):
        cv2.polylines(
            balls,
            list(stars[some].reshape(-1, 2, 2)),
            False,
            (look.iris * gain).tolist(),
            1,
            cv2.LINE_AA,
            BITS,
        )
    discs(2.25, look.iris * (1.12, 0.95, 0.7))
    discs(1.6, _DARK * 0.7)
    return balls


def draw_catch_lights(
    canvas: Canvas, a: Anatomy, look: Look, marks: Points, rng: np.random.Generator
) -> None:
    """Reflections of the key light on the eyes; to be drawn after the shading."""
    strength, size = rng.uniform(0.5, 1.0), rng.uniform(0.5, 0.95)
    if a.upper_lid < 1.5:
        return
    spots = []
    for eye, centre in zip(eye_outlines(marks), iris_centres(a, marks), strict=True):
        x, y = centre + 2.2 * look.light.direction[:2] - (0, 0.3)
        spots.append(oval(x, max(y, eye[1:3, 1].mean() + 1.0), size, size))
    canvas.stain(spots, np.array([255.0, 253, 248]), strength)
