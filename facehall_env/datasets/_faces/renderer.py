"""From a random generator to a face: sampling, layers in their order, light, camera."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from facehall_env.datasets._faces import accessories, eyes, hair, lower_face
from facehall_env.datasets._faces.anatomy import Anatomy, landmarks, sample_anatomy
from facehall_env.datasets._faces.backdrop import draw_backdrop
from facehall_env.datasets._faces.brush import Canvas
from facehall_env.datasets._faces.camera import Pose, project, sample_pose, take_picture
from facehall_env.datasets._faces.look import Look, sample_look
from facehall_env.datasets._faces.relief import Relief, make_relief, pair, shade, stains


def face_landmarks(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """The iBUG 68 landmarks (68, 2) as (x, y) pixels of the face that :func:`render_face` draws from ``rng``."""
    anatomy, pose = sample_anatomy(rng), sample_pose(rng)
    points = project(pose, landmarks(anatomy), make_relief(anatomy).depth)
    return np.asarray((points + 0.5) * (size / 128.0) - 0.5)


def render_face(rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """Draw one face, RGB (size, size, 3); the generator alone decides which."""
    anatomy, pose = (
        sample_anatomy(rng),
        sample_pose(rng),
    )  # first and in this order: face_landmarks repeats it
    look = sample_look(anatomy, rng)
    relief = make_relief(anatomy)
    marks = landmarks(anatomy)
    canvas = Canvas(size)
    draw_backdrop(canvas, rng)
    _draw_person(canvas, anatomy, look, marks, rng)
    _light(canvas, relief, look)
    eyes.draw_catch_lights(canvas, anatomy, look, marks, rng)
    accessories.draw_glasses(canvas, anatomy, look, rng)
    return take_picture(canvas.image, canvas.scale, pose, relief.depth, size, rng)


def _draw_person(
    canvas: Canvas, a: Anatomy, look: Look, marks: NDArray[np.float64], rng: np.random.Generator
) -> None:
    layer = hair.strand_layer(canvas, look, rng)
    hair.draw_back_hair(canvas, a, look, layer, rng)
    accessories.draw_body(canvas, a, look, rng)
    accessories.draw_ears(canvas, a, look, rng)
    _draw_head(canvas, a, look, rng)
    lower_face.draw_skin_marks(canvas, a, look, rng)
    eyes.draw_eyes(canvas, a, look, marks, rng)
    lower_face.draw_nose(canvas, a, look, marks, rng)
    lower_face.draw_beard(canvas, a, look, marks, rng)
    lower_face.draw_mouth(canvas, a, look, marks, rng)
    eyes.draw_brows(canvas, a, look, marks, rng)
    hair.draw_front_hair(canvas, a, look, layer, rng)
    accessories.draw_hat(canvas, a, look, rng)


def _draw_head(canvas: Canvas, a: Anatomy, look: Look, rng: np.random.Generator) -> None:
    """Skull and jaw in skin colour, redder where blood is near."""
    from facehall_env.datasets._faces.anatomy import jaw_line

    jaw = jaw_line(a, np.linspace(-np.pi / 2, np.pi / 2, 60))
    outline = np.vstack(
        [jaw[::-1], hair.skull(a, 0.0, low=-6.0) * (a.cheek_width / (a.cheek_width + 1.0), 1.0)]
    )
    stencil = np.zeros_like(canvas.mask)
    cv2.fillPoly(stencil, [canvas.to_pixels(outline)], 255, cv2.LINE_8, 4)
    flush = rng.uniform(0.02, 0.16) + 0.1 * look.make_up
    red = stains(
        *pair(24, 18, 9, 8, flush), (0, a.nose_length - 4, 6, 6, flush), (0, a.chin - 5, 9, 6, 0.5 * flush)
    )
    mottle = cv2.resize(
        rng.standard_normal((44, 44), np.float32), red.shape[::-1], interpolation=cv2.INTER_CUBIC
    )
    mottle = mottle * np.float32(rng.uniform(0.005, 0.03))
    tone = np.asarray(look.skin, np.float32) * (
        1 + mottle[..., None] - red[..., None] * np.array([0.0, 1.0, 0.85], np.float32)
    )
    skin = cv2.resize(np.clip(tone, 0, 255).astype(np.uint8), stencil.shape[::-1])
    cv2.copyTo(skin, stencil, canvas.image)
    cv2.bitwise_or(canvas.mask, stencil, canvas.mask)


def _light(canvas: Canvas, relief: Relief, look: Look) -> None:
    """Multiply the person by the shading, then add the gloss."""
    diffuse, highlight = shade(relief, look.light)
    grid = canvas.mask.shape[::-1]
    factor = cv2.resize(np.clip(diffuse * 128, 0, 255).astype(np.uint8), grid)
    factor[canvas.mask == 0] = 128
    gloss = cv2.resize(np.clip(highlight, 0, 255).astype(np.uint8), grid)
    gloss = cv2.bitwise_and(gloss, canvas.mask)
    lit = cv2.multiply(canvas.image, factor, scale=1 / 128)
    cv2.add(lit, cv2.merge([gloss, gloss, gloss]), canvas.image)
