"""Hair: a strand texture that follows the style's flow, laid into the regions the style covers."""

from __future__ import annotations

import cv2
import numpy as np

from facehall_env.datasets._faces.anatomy import Anatomy, skull_line
from facehall_env.datasets._faces.brush import (
    SIDE,
    Canvas,
    Picture,
    Points,
    mirror,
    moved,
    recolour,
    sample,
    spline,
)
from facehall_env.datasets._faces.look import Look
from facehall_env.datasets._faces.relief import X, Y

_ROOT = -92.0
"""Strands fan out from the point (parting, _ROOT), above the head."""


def strand_layer(canvas: Canvas, look: Look, rng: np.random.Generator) -> Picture:
    """A picture of nothing but hair, the size of the canvas."""
    level = _curls(look, rng) if look.style == "curly" else _strands(look, rng)
    sheen = np.array([1.0, 0.97, 0.92]) * (0.9 * look.hair + 42)
    table = look.hair * _DIM + sheen * _BRIGHT
    return np.asarray(cv2.resize(recolour(level, table), (canvas.pixels, canvas.pixels)), np.uint8)


_RAMP = np.linspace(-1, 1, 256)[:, None]
_DIM, _BRIGHT = 1 + 0.85 * np.minimum(_RAMP, 0), np.maximum(_RAMP, 0)


def _curls(look: Look, rng: np.random.Generator) -> Picture:
    """Gray levels of curls, (SIDE, SIDE): the ridges of smooth noise wind like locks."""
    coarse = cv2.resize(
        rng.standard_normal((36, 36), np.float32), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC
    )
    fine = cv2.resize(rng.standard_normal((80, 80), np.float32), (SIDE, SIDE))
    gain = 26 + 12 * look.wave
    level = cv2.addWeighted(np.abs(coarse), -gain, fine, 0.55 * gain, 124 + 0.6 * gain, dtype=cv2.CV_8U)
    return np.asarray(level, np.uint8)


def _strands(look: Look, rng: np.random.Generator) -> Picture:
    """Gray levels of strands, (SIDE, SIDE): noise, fine across and long along a fan of lines."""
    short = look.style in ("buzz", "receding", "bald")
    noise = rng.standard_normal((36 if short else 9, 512), np.float32)
    slow = cv2.resize(rng.standard_normal((4, 40), np.float32), (512, 72), interpolation=cv2.INTER_LINEAR)
    gain = 22 + 12 * look.wave
    tile = cv2.addWeighted(cv2.resize(noise, (512, 72)), 1.2 * gain, slow, 0.8 * gain, 128, dtype=cv2.CV_8U)
    x, y = np.broadcast_arrays(X - np.float32(look.parting), Y - np.float32(_ROOT))
    angle = np.arctan2(x, y)  # 0 straight down
    along = np.sqrt(x * x + y * y)
    if look.wave > 0.1:
        swing = along * np.float32(0.08 + 0.2 * look.wave) + np.float32(4) * angle
        angle += np.float32(0.05 * look.wave) * np.sin(swing)
    maps = cv2.merge([angle * np.float32(120) + np.float32(1024), along * np.float32(0.45)])
    return sample(tile, maps, cv2.BORDER_WRAP)


def _falls(a: Anatomy, look: Look) -> bool:
    """Whether hair hangs beside the face."""
    return look.style in ("long", "bob", "curly") or (look.style == "fringe" and a.feminine >= 0.5)


def _ragged(points: Points, rng: np.random.Generator, amount: float) -> Points:
    return points + rng.standard_normal(points.shape) * amount


def draw_back_hair(canvas: Canvas, a: Anatomy, look: Look, layer: Picture, rng: np.random.Generator) -> None:
    """What hangs behind face and neck."""
    if not _falls(a, look):
        return
    low, high = {"long": (96, 106), "bob": (42, 66), "curly": (10, 80), "fringe": (40, 100)}[look.style]
    length, curly = rng.uniform(low, high), look.style == "curly"
    w = a.cheek_width + rng.uniform(3, 11) + (5 if curly else 0)
    half = [(w, 25), (w + 1, length - 12), (w - 9, length)]
    outline = np.concatenate([skull_line(a, look.volume + 2, samples=24), half, mirror(half[::-1], -1)])
    shape = _ragged(spline(outline, 90, closed=True), rng, 1.6 if curly else 0.5)
    canvas.lay(np.asarray(cv2.convertScaleAbs(layer, alpha=0.6), np.uint8), shape)


def draw_front_hair(canvas: Canvas, a: Anatomy, look: Look, layer: Picture, rng: np.random.Generator) -> None:
    """Crown, fringe, temples and locks over the face."""
    style = look.style
    if style == "bald":
        return
    if style == "receding":
        w = a.cheek_width
        half = [
            (w - 2, 8),
            (w - 6.5, -8),
            (w - 9, -26),
            (w - 14, -44),
            (w - 3, -46),
            (w + 3, -22),
            (w + 2.5, 6),
        ]
        patch = spline(half, 30, closed=True)
        for side in (-1, 1):
            canvas.lay(layer, _ragged(mirror(patch, side), rng, 0.6))
        return
    line, low = _hairline(a, look, rng)
    canvas.stain(moved(line[4:-4], 0, 1.5), look.skin * (0.5, 0.42, 0.4), 0.4, 1.8, width=3.5)
    tips = _locks(line, look, rng)
    curly = style == "curly"
    grow = 0.8 if style == "buzz" else look.volume * (0.3 if style == "updo" else 1.0) + (5 if curly else 0)
    crown = _ragged(skull_line(a, grow, low=low), rng, 1.5 if curly else 0.4)
    canvas.lay(layer, np.concatenate([crown, tips[::-1]]))
    if _falls(a, look):
        _draw_curtains(canvas, a, look, layer, rng)
    if style not in ("buzz", "curly"):
        _draw_wisps(canvas, line, look, rng)


def _hairline(a: Anatomy, look: Look, rng: np.random.Generator) -> tuple[Points, float]:
    """The smooth hairline (90, 2) from image-left to image-right, and how low it ends at the temples."""
    style, top, p = look.style, look.hairline, look.parting
    low = {"buzz": 2.0, "short": 8.0, "side": 8.0, "updo": -2.0, "fringe": 10.0}.get(style, 8.0)
    w = a.cheek_width - (3.5 if style in ("buzz", "short", "side", "updo") else 6.0)
    line = np.array(
        [(-w - 2, low), (-w, -10), (-w + 3, -22), (-24, top + 5), (-12, top), (0, top - 1),
         (12, top), (24, top + 5), (w - 3, -22), (w, -10), (w + 2, low)]
    )  # fmt: skip
    x = line[:, 0]
    if style == "fringe":
        line[3:8, 1] += rng.uniform(10, 21) * (1 - 0.02 * np.abs(x[3:8]))
        line[[2, 8], 1] += 3
    elif style in ("side", "short") and rng.random() < 0.7:
        line[2:9, 1] += rng.uniform(3, 12) * np.exp(-0.5 * ((x[2:9] + np.sign(p) * 16) / 12) ** 2)
    elif style in ("long", "bob", "updo"):
        line[3:8, 1] += 0.5 * np.abs(x[3:8] - p) - 6
    elif style in ("short", "buzz"):
        corner = rng.uniform(0, 9)  # receding temples
        line[[3, 7], 1] -= corner
        line[[4, 6], 1] -= 0.5 * corner
    return spline(_ragged(line, rng, 0.8), 90), low


def _locks(line: Points, look: Look, rng: np.random.Generator) -> Points:
    """The hairline with the ends of locks hanging over it: mostly short, some long."""
    if look.style == "curly":
        return _ragged(line, rng, 1.4)
    away = line - (look.parting, _ROOT)
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    reach = rng.exponential({"buzz": 0.35, "updo": 0.3, "fringe": 1.3}.get(look.style, 0.8), len(line))
    return line + away * np.minimum(reach, 4)[:, None]


def _draw_curtains(canvas: Canvas, a: Anatomy, look: Look, layer: Picture, rng: np.random.Generator) -> None:
    """Hair that falls in front of the ears."""
    length = {"long": 98.0, "fringe": 60.0, "bob": 50.0, "curly": 36.0}[look.style]
    tucked = rng.random() < 0.3
    for side in (-1, 1):
        inner = a.cheek_width - (-2.0 if tucked else rng.uniform(1.0, 7.0))
        outer = a.cheek_width + look.volume
        path = [
            (inner - 3, -20), (inner, 0), (inner + 1, 25), (inner + rng.uniform(-3, 4), 45),
            (inner + 5, length), (outer + 3, length), (outer + 4, 30), (outer + 1, -10), (inner - 2, -36),
        ]  # fmt: skip
        shape = spline(mirror(path, side), 60, closed=True)
        canvas.lay(layer, _ragged(shape, rng, 1.4 if look.style == "curly" else 0.5))


def _draw_wisps(canvas: Canvas, line: Points, look: Look, rng: np.random.Generator) -> None:
    """Single hairs across the hairline, so that it is no cut edge."""
    count = int(rng.integers(20, 60))
    start = line[rng.integers(6, len(line) - 6, count)]
    away = start - (look.parting, _ROOT)
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    bend = rng.normal(0, 0.35, (count, 1)) * away[:, ::-1] * (1, -1)
    reach = rng.uniform(1.5, 5.0, (count, 1))
    lines = np.stack([start - 5 * away, start, start + (away + bend) * reach], 1)
    half = count // 2
    canvas.stroke(lines[:half], look.hair * 0.7)
    canvas.stroke(lines[half:], look.hair * 1.2 + 8)
