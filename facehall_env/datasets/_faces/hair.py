"""Hair: a strand texture that follows the style's flow, laid into the regions the style covers."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from facehall_env.datasets._faces.anatomy import Anatomy
from facehall_env.datasets._faces.brush import SIDE, Canvas, Points, spline
from facehall_env.datasets._faces.look import Look
from facehall_env.datasets._faces.relief import X, Y


def strand_layer(canvas: Canvas, look: Look, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A picture of nothing but hair, the size of the canvas."""
    if look.style in ("buzz", "bald", "receding"):
        grain, stretch = 1.2, 3
    else:
        grain, stretch = 1.0, 18
    if look.style == "curly":
        coarse = rng.standard_normal((SIDE // 3, SIDE // 3), np.float32)
        texture = cv2.resize(coarse, (canvas.pixels, canvas.pixels), interpolation=cv2.INTER_CUBIC) * 0.9
        fine = rng.standard_normal((SIDE, SIDE), np.float32)
        texture = texture + 0.35 * cv2.resize(fine, (canvas.pixels, canvas.pixels))
    else:
        noise = rng.standard_normal((64, 512), np.float32)
        noise = cv2.GaussianBlur(noise, (0, 0), sigmaX=0.5 * grain, sigmaY=0.01 + 0.12 * stretch)
        noise = noise / max(float(noise.std()), 1e-6)
        slow = cv2.resize(rng.standard_normal((4, 40), np.float32), (512, 64), interpolation=cv2.INTER_CUBIC)
        noise = noise + 0.8 * slow
        x, y = X - np.float32(look.parting), Y + np.float32(92)
        angle = np.arctan2(x, y)
        along = np.sqrt(x * x + y * y)
        angle = angle + np.float32(0.06 * look.wave) * np.sin(
            along * np.float32(0.1 + 0.25 * look.wave) + np.float32(3 * look.wave) * angle
        )
        u = (angle * np.float32(120) + 1024) % 511
        v = (along * np.float32(0.45)) % 63
        # The maps grow smoothly but for the wrap-around: sample at unit resolution times the canvas scale.
        grid = (canvas.pixels, canvas.pixels)
        wide = cv2.resize(angle, grid) * np.float32(120) + 1024
        far = cv2.resize(along, grid) * np.float32(0.45)
        del u, v
        texture = cv2.remap(
            noise, np.asarray(wide % 511, np.float32), np.asarray(far % 63, np.float32), cv2.INTER_LINEAR
        )
    contrast = 0.16 + 0.1 * look.wave
    level = np.asarray(np.clip(128 + texture * (128 * contrast), 0, 255), np.uint8)
    ramp = np.linspace(-1, 1, 256)[:, None]
    sheen = np.array([1.0, 0.97, 0.92]) * (0.55 * look.hair + 26)
    table = np.clip(look.hair * (1 + 0.85 * np.minimum(ramp, 0)) + sheen * np.maximum(ramp, 0) * 1.6, 0, 255)
    return np.asarray(cv2.applyColorMap(level, table.astype(np.uint8)[:, None, :]), np.uint8)


def skull(a: Anatomy, grow: float, low: float = 4.0, samples: int = 40) -> Points:
    """The head's upper outline, from image-left to image-right, ``grow`` units outside the skin."""
    t = np.linspace(-np.pi / 2, np.pi / 2, samples)
    w = a.cheek_width + 1.0 + 0.6 * grow
    x = w * np.sin(t) * (1 + 0.04 * np.cos(t))
    y = low + (a.skull_top - grow - low) * np.abs(np.cos(t)) ** 0.8
    return np.stack([x, y], -1)


def draw_back_hair(
    canvas: Canvas, a: Anatomy, look: Look, layer: NDArray[np.uint8], rng: np.random.Generator
) -> None:
    """What hangs behind face and neck."""
    if look.style not in ("long", "bob", "curly", "fringe"):
        return
    if look.style == "fringe" and a.feminine < 0.5:
        return
    length = {
        "long": 100.0,
        "bob": rng.uniform(42, 66),
        "curly": rng.uniform(10, 80),
        "fringe": rng.uniform(40, 100),
    }[look.style]
    spread = rng.uniform(4, 14) + (6 if look.style == "curly" else 0)
    w = a.cheek_width + spread
    outline = np.vstack(
        [
            skull(a, look.volume + 2, samples=24),
            [(w, 25), (w + 2, length - 10), (w - 8, length)],
            [(-w + 8, length), (-w - 2, length - 10), (-w, 25)],
        ]
    )
    shape = _ragged(spline(outline, 90, closed=True), rng, 1.6 if look.style == "curly" else 0.5)
    dark = cv2.convertScaleAbs(layer, alpha=0.6)
    _lay(canvas, dark, shape)


def draw_front_hair(
    canvas: Canvas, a: Anatomy, look: Look, layer: NDArray[np.uint8], rng: np.random.Generator
) -> None:
    """Crown, fringe, temples and locks over the face."""
    style, top = look.style, look.hairline
    if style == "bald":
        return
    w = a.cheek_width
    p = look.parting
    if style == "receding":
        for side in (-1, 1):
            patch = spline(
                [
                    (side * (w - 2), 8),
                    (side * (w - 6.5), -8),
                    (side * (w - 9), -26),
                    (side * (w - 14), -44),
                    (side * (w - 3), -46),
                    (side * (w + 3), -22),
                    (side * (w + 2.5), 6),
                ],
                30,
                closed=True,
            )
            _lay(canvas, layer, _ragged(patch, rng, 0.5))
        return
    side_low = {"buzz": 2, "short": 8, "side": 8, "updo": -2, "long": 8, "bob": 8, "curly": 8, "fringe": 10}[
        style
    ]
    inset = 3.5 if style in ("buzz", "short", "side", "updo") else 6.0
    line = np.array(
        [(-w + inset - 2, side_low), (-w + inset, -10), (-w + inset + 3, -22), (-24, top + 5), (-12, top), (0, top - 1.0),
         (12, top), (24, top + 5), (w - inset - 3, -22), (w - inset, -10), (w - inset + 2, side_low)]
    )  # fmt: skip
    x = line[:, 0]
    if style == "fringe":
        drop = rng.uniform(10, 21)
        line[3:8, 1] += drop * (1 - 0.02 * np.abs(x[3:8]))
        line[[2, 8], 1] += 3
    elif style in ("side", "short") and rng.random() < 0.7:
        sweep = rng.uniform(3, 12)
        line[2:9, 1] += sweep * np.exp(-0.5 * ((x[2:9] + np.sign(p) * 16) / 12) ** 2)
    elif style in ("long", "bob", "updo"):
        centre = float(np.clip(p, -20, 20))
        line[3:8, 1] += 0.5 * np.abs(x[3:8] - centre) - 6
    line[:, 1] += rng.normal(0, 0.8, len(line))
    hairline = _ragged(spline(line, 70), rng, {"buzz": 0.35, "updo": 0.3, "curly": 1.6}.get(style, 0.9))
    grow = (
        0.8
        if style == "buzz"
        else look.volume * (0.3 if style == "updo" else 1.0) + (5 if style == "curly" else 0)
    )
    cap = _ragged(skull(a, grow, low=side_low), rng, 1.5 if style == "curly" else 0.4)
    _lay(canvas, layer, np.vstack([cap, hairline[::-1]]))
    if style in ("long", "bob", "curly") or (style == "fringe" and a.feminine >= 0.5):
        _draw_curtains(canvas, a, look, layer, rng)
    if style not in ("buzz", "curly"):
        _draw_wisps(canvas, hairline, look, rng)


def _draw_curtains(
    canvas: Canvas, a: Anatomy, look: Look, layer: NDArray[np.uint8], rng: np.random.Generator
) -> None:
    """Hair that falls in front of the ears."""
    w = a.cheek_width
    length = {"long": 98.0, "fringe": 60.0, "bob": 50.0, "curly": 36.0}[look.style]
    tuck = rng.random() < 0.3
    for side in (-1, 1):
        inner = rng.uniform(1.0, 7.0) if not tuck else -2.0
        path = [
            (side * (w - inner - 3), -20),
            (side * (w - inner), 0),
            (side * (w - inner + 1), 25),
            (side * (w - inner + rng.uniform(-3, 4)), 45),
            (side * (w + 2), length),
            (side * (w + 14), length),
            (side * (w + look.volume + 5), 30),
            (side * (w + look.volume + 1), -10),
            (side * (w - 4), -36),
        ]
        _lay(
            canvas, layer, _ragged(spline(path, 60, closed=True), rng, 1.5 if look.style == "curly" else 0.6)
        )


def _draw_wisps(canvas: Canvas, hairline: Points, look: Look, rng: np.random.Generator) -> None:
    """Single hairs across the hairline, so that it is no cut edge."""
    count = int(rng.integers(14, 44))
    start = hairline[rng.integers(6, len(hairline) - 6, count)]
    away = start - (look.parting, -92.0)
    away = away / np.linalg.norm(away, axis=1, keepdims=True)
    bend = rng.normal(0, 0.35, count)[:, None] * np.stack([away[:, 1], -away[:, 0]], -1)
    reach = rng.uniform(1.5, 5.0, count)[:, None]
    lines = np.stack([start - 5 * away, start, start + (away + bend) * reach], 1)
    half = count // 2
    canvas.stroke(lines[:half], look.hair * 0.7, 0.4)
    canvas.stroke(lines[half:], look.hair * 1.2 + 8, 0.4)


def _ragged(points: Points, rng: np.random.Generator, amount: float) -> Points:
    return points + rng.normal(0, amount, points.shape)


def _lay(canvas: Canvas, layer: NDArray[np.uint8], shape: Points) -> None:
    """Show the hair layer inside a polygon."""
    stencil = np.zeros_like(canvas.mask)
    cv2.fillPoly(stencil, [canvas.to_pixels(shape)], 255, cv2.LINE_8, 4)
    cv2.copyTo(layer, stencil, canvas.image)
    cv2.bitwise_or(canvas.mask, stencil, canvas.mask)
