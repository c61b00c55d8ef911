"""From a random generator to a face: sampling, layers in their order, light, camera."""

from __future__ import annotations

import cv2
import numpy as np

from facehall_env.datasets._faces.anatomy import Anatomy, landmarks, sample_anatomy
from facehall_env.datasets._faces.backdrop import draw_backdrop
from facehall_env.datasets._faces.beard import draw_beard
from facehall_env.datasets._faces.brows import draw_brows
from facehall_env.datasets._faces.brush import Canvas, Picture, Points
from facehall_env.datasets._faces.camera import project, sample_pose, take_picture
from facehall_env.datasets._faces.clothes import draw_body
from facehall_env.datasets._faces.eyes import draw_catch_lights, draw_eyes
from facehall_env.datasets._faces.glasses import draw_glasses
from facehall_env.datasets._faces.hair import draw_back_hair, draw_front_hair, strand_layer
from facehall_env.datasets._faces.hats import draw_hat
from facehall_env.datasets._faces.look import Look, sample_look
from facehall_env.datasets._faces.mouth import draw_mouth
from facehall_env.datasets._faces.nose import draw_nose
from facehall_env.datasets._faces.relief import Relief, make_relief, shade
from facehall_env.datasets._faces.skin import draw_ears, draw_head, draw_skin_marks


def face_landmarks(rng: np.random.Generator, size: int) -> Points:
    """The iBUG 68 points (68, 2), pixels (x, y), of the face that :func:`render_face` draws from ``rng``."""
    anatomy, pose = sample_anatomy(rng), sample_pose(rng)
    points = project(pose, landmarks(anatomy), make_relief(anatomy).depth)
    return (points + 0.5) * (size / 128.0) - 0.5


def render_face(rng: np.random.Generator, size: int) -> Picture:
    """Draw one face, RGB (size, size, 3); the generator alone decides which."""
    anatomy, pose = (
        sample_anatomy(rng),
        sample_pose(rng),
    )  # first and in this order: face_landmarks repeats it
    look = sample_look(anatomy, rng)
    relief, marks, canvas = make_relief(anatomy), landmarks(anatomy), Canvas(size)
    draw_backdrop(canvas, rng)
    _draw_person(canvas, anatomy, look, marks, rng)
    _light(canvas, anatomy, relief, look)
    draw_catch_lights(canvas, anatomy, look, marks, rng)
    draw_glasses(canvas, anatomy, look, rng)
    return take_picture(canvas.image, canvas.scale, pose, relief.depth, size, rng)


def _draw_person(canvas: Canvas, a: Anatomy, look: Look, marks: Points, rng: np.random.Generator) -> None:
    """All that has a colour of its own, back to front."""
    strands = strand_layer(canvas, look, rng)
    draw_back_hair(canvas, a, look, strands, rng)
    draw_body(canvas, a, look, rng)
    draw_ears(canvas, a, look, rng)
    draw_head(canvas, a, look, rng)
    draw_skin_marks(canvas, a, look, rng)
    draw_eyes(canvas, a, look, marks, rng)
    draw_nose(canvas, a, look, marks, rng)
    draw_beard(canvas, a, look, marks, rng)
    draw_mouth(canvas, a, look, marks, rng)
    draw_brows(canvas, a, look, marks, rng)
    draw_front_hair(canvas, a, look, strands, rng)
    draw_hat(canvas, a, look, rng)


def _light(canvas: Canvas, a: Anatomy, relief: Relief, look: Look) -> None:
    """Multiply the person by the shading, then add the gloss; what is behind stays as it is."""
    factor, gloss = shade(a, relief, look.light)
    grid = (canvas.pixels, canvas.pixels)
    lit = cv2.multiply(canvas.image, cv2.resize(factor, grid), scale=1 / 128)
    shine = cv2.resize(gloss, grid)
    lit = cv2.add(lit, cv2.merge([shine, shine, shine]))
    cv2.copyTo(lit, canvas.mask, canvas.image)
