"""Drawing in face units on a super-sampled canvas: splines, fills, strokes and soft stains."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""Points (..., 2) as (x, y) in face units."""
PointsLike = Points | Sequence[tuple[float, float]]
Picture = NDArray[np.uint8]
Window = tuple[slice, slice]
"""Rows and columns of a rectangle of the canvas."""

LEFT, TOP, SIDE = 80, 68, 160
"""The canvas spans x in [-LEFT, SIDE - LEFT] and y in [-TOP, SIDE - TOP] face units."""

_BITS = 4  # fractional bits of the coordinates handed to OpenCV


@lru_cache(maxsize=256)
def _spline_matrix(knots: int, samples: int, closed: bool) -> NDArray[np.float64]:
    """Linear map from knots to samples of the Catmull-Rom spline through them."""
    spans = knots if closed else knots - 1
    t = np.arange(samples) * (spans / samples) if closed else np.linspace(0.0, spans, samples)
    span = np.minimum(t.astype(int), spans - 1)
    u = t - span
    weights = (
        0.5 * (-u + 2 * u**2 - u**3),
        0.5 * (2 - 5 * u**2 + 3 * u**3),
        0.5 * (u + 4 * u**2 - 3 * u**3),
        0.5 * (-(u**2) + u**3),
    )
    matrix = np.zeros((samples, knots))
    for offset, weight in zip((-1, 0, 1, 2), weights, strict=True):
        column = (span + offset) % knots if closed else np.clip(span + offset, 0, knots - 1)
        np.add.at(matrix, (np.arange(samples), column), weight)
    return matrix


def spline(points: PointsLike, samples: int = 24, *, closed: bool = False) -> Points:
    """Smooth curve (samples, 2) through ``points`` (k, 2)."""
    knots = np.asarray(points, dtype=np.float64)
    return _spline_matrix(len(knots), samples, closed) @ knots


@lru_cache(maxsize=8)
def _circle(samples: int) -> Points:
    angle = np.arange(samples) * (2 * np.pi / samples)
    return np.stack([np.cos(angle), np.sin(angle)], -1)


def oval(x: float, y: float, rx: float, ry: float, turn: float = 0.0) -> Points:
    """An ellipse as a polygon (14, 2), turned by ``turn`` radians."""
    p = _circle(14) * (rx, ry)
    if turn:
        c, s = np.cos(turn), np.sin(turn)
        p = p @ np.array([[c, s], [-s, c]])
    return p + np.array((x, y))


def moved(points: PointsLike, x: float, y: float) -> Points:
    """The points shifted by (x, y)."""
    return np.asarray(points, np.float64) + np.array((x, y))


def mirror(points: PointsLike, side: int) -> Points:
    """The points as they are (``side`` 1, image-right) or on the other half of the face (-1)."""
    return np.asarray(points, np.float64) * (side, 1)


class Canvas:
    """A picture of the face frame, and the mask of what belongs to the person.

    Args:
        size: side of the final picture in pixels; the canvas holds two pixels for each of its pixels.
    """

    def __init__(self, size: int) -> None:
        self.scale = 2.0 * size / 128.0
        self.pixels = round(SIDE * self.scale)
        self.image: Picture = np.zeros((self.pixels, self.pixels, 3), np.uint8)
        self.mask: Picture = np.zeros((self.pixels, self.pixels), np.uint8)
        one = 1 << _BITS
        self._gain = self.scale * one
        self._shift = np.array([LEFT, TOP]) * self._gain - 0.5 * one + 0.5

    def to_pixels(self, points: PointsLike) -> NDArray[np.int32]:
        """Face units (..., 2) to OpenCV's fixed-point pixel coordinates."""
        return (np.asarray(points) * self._gain + self._shift).astype(np.int32)

    def fill(self, points: PointsLike, colour: NDArray[np.float64]) -> None:
        """Fill a polygon of the person with one colour."""
        p = self.to_pixels(points)
        cv2.fillPoly(self.image, [p], colour.tolist(), cv2.LINE_AA, _BITS)
        cv2.fillPoly(self.mask, [p], 255, cv2.LINE_8, _BITS)

    def stroke(
        self, lines: Points | Sequence[PointsLike], colour: NDArray[np.float64], width: float = 0.4
    ) -> None:
        """Draw opaque polylines of one colour, ``width`` face units wide; an array (n, k, 2) is n lines."""
        p = self.to_pixels(lines) if isinstance(lines, np.ndarray) else [self.to_pixels(q) for q in lines]
        pixels = max(1, round(width * self.scale))
        cv2.polylines(self.image, list(p), False, colour.tolist(), pixels, cv2.LINE_AA, _BITS)

    def window(self, points: Points, margin: float) -> Window:
        """The rectangle around ``points``, ``margin`` units wider on every side, never empty."""
        x0, y0 = (moved(points.min(axis=0), LEFT - margin, TOP - margin) * self.scale).astype(int).tolist()
        x1, y1 = (moved(points.max(axis=0), LEFT + margin, TOP + margin) * self.scale).astype(int).tolist()
        last = self.pixels - 1
        x0, y0 = min(max(x0, 0), last), min(max(y0, 0), last)
        return slice(y0, max(min(y1, last), y0) + 1), slice(x0, max(min(x1, last), x0) + 1)

    def coverage(
        self, shapes: Sequence[Points], window: Window, *, width: float = 0.0, blur: float = 0.0
    ) -> Picture:
        """How much of each pixel polygons cover (strokes when ``width`` > 0), 0..255 over ``window``."""
        rows, columns = window
        cover = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
        origin = np.array([columns.start << _BITS, rows.start << _BITS], np.int32)
        p = [self.to_pixels(shape) - origin for shape in shapes]
        if width > 0:
            pixels = max(1, round(width * self.scale))
            cv2.polylines(cover, p, False, 255, pixels, cv2.LINE_AA, _BITS)
        else:
            cv2.fillPoly(cover, p, 255, cv2.LINE_AA, _BITS)
        reach = round(1.5 * blur * self.scale)
        if (
            reach > 0
        ):  # a box is enough for edges that the camera blurs again, and far cheaper than a Gaussian
            cv2.blur(cover, (2 * reach + 1, 2 * reach + 1), dst=cover)
        return cover

    def blend(
        self, window: Window, cover: Picture, paint: NDArray[np.float64] | Picture, alpha: float
    ) -> None:
        """Blend one colour (3,), or a picture of the window's shape, into the window."""
        area = self.image[window]
        if paint.ndim == 1:
            solid = np.empty_like(area)
            solid[:] = paint.clip(0, 255).astype(np.uint8)
            paint = solid
        weight = cover * np.float32(alpha / 255)
        cv2.blendLinear(paint, area, weight, 1 - weight, area)

    def stain(
        self,
        shapes: Points | Sequence[Points],
        colour: NDArray[np.float64],
        alpha: float = 1.0,
        blur: float = 0.0,
        width: float = 0.0,
    ) -> None:
        """Blend polygons (strokes when ``width`` > 0) of one colour, edges blurred by ``blur`` units."""
        if isinstance(shapes, np.ndarray):
            shapes, extent = [shapes], shapes
        else:
            extent = np.concatenate(shapes)
        window = self.window(extent, 1.5 * blur + 0.5 * width + 1)
        self.blend(window, self.coverage(shapes, window, width=width, blur=blur), colour, alpha)

    def lay(self, layer: Picture, shape: PointsLike, hole: PointsLike | None = None) -> None:
        """Show a canvas-sized picture inside a polygon, which becomes part of the person."""
        stencil = np.zeros_like(self.mask)
        cv2.fillPoly(stencil, [self.to_pixels(shape)], 255, cv2.LINE_8, _BITS)
        if hole is not None:
            cv2.fillPoly(stencil, [self.to_pixels(hole)], 0, cv2.LINE_8, _BITS)
        cv2.copyTo(layer, stencil, self.image)
        cv2.bitwise_or(self.mask, stencil, self.mask)
