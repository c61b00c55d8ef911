"""Drawing in face units on a super-sampled canvas: splines, fills, strokes and soft stains."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from facehall_env.datasets._faces.colours import Rgb

Points = NDArray[np.float64]
"""Points (..., 2) as (x, y) in face units."""
PointsLike = Points | Sequence[tuple[float, float]]
Picture = NDArray[np.uint8]
Window = tuple[slice, slice]
"""Rows and columns of a rectangle of the canvas."""

LEFT, TOP, SIDE = 78, 66, 156
"""The canvas spans x in [-LEFT, SIDE - LEFT] and y in [-TOP, SIDE - TOP] face units.

Just small enough for OpenCV to resize it on the calling thread (it splits work by 2^16 pixels): where many
processes share the cores, waking its threads costs far more than the work. Hence also :func:`sample` and
:func:`recolour`, which keep to the calling thread where ``remap`` and ``applyColorMap`` would not.
"""

_NO_MAP: NDArray[np.float32] = np.empty(0, np.float32)

BITS = 4
"""Fractional bits of the coordinates handed to OpenCV."""


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
    return np.asarray(p + np.array((x, y)))


def moved(points: PointsLike, x: float, y: float) -> Points:
    """The points shifted by (x, y)."""
    return np.asarray(np.asarray(points, np.float64) + np.array((x, y)))


def mirror(points: PointsLike, side: int) -> Points:
    """The points as they are (``side`` 1, image-right) or on the other half of the face (-1)."""
    return np.asarray(np.asarray(points, np.float64) * (side, 1))


def sample(
    picture: NDArray[Any], maps: NDArray[np.float32], border: int = cv2.BORDER_REPLICATE
) -> NDArray[Any]:
    """Read a picture at ``maps`` (h, w, 2), pixels (column, row), linearly between pixels in 32nds of one."""
    fixed, part = cv2.convertMaps(maps, _NO_MAP, cv2.CV_16SC2)
    return np.asarray(cv2.remap(picture, fixed, part, cv2.INTER_LINEAR, borderMode=border))


def recolour(level: Picture, table: NDArray[np.float64]) -> Picture:
    """Give each gray level (h, w) its colour from a table (256, 3)."""
    entries = table.clip(0, 255).astype(np.uint8)[None]
    return np.asarray(cv2.LUT(cv2.merge([level, level, level]), entries), np.uint8)


class Canvas:
    """A picture of the face frame, and the mask of what belongs to the person.

    Args:
        size: side of the final picture in pixels; the canvas holds two pixels or more for each of its pixels.
    """

    def __init__(self, size: int) -> None:
        self.scale = 2.0 * max(size, 128) / 128.0
        self.pixels = round(SIDE * self.scale)
        self.image: Picture = np.zeros((self.pixels, self.pixels, 3), np.uint8)
        self.mask: Picture = np.zeros((self.pixels, self.pixels), np.uint8)
        one = 1 << BITS
        self._gain = self.scale * one
        self._shift = np.array([LEFT, TOP]) * self._gain - 0.5 * one + 0.5

    def to_pixels(self, points: PointsLike) -> NDArray[np.int32]:
        """Face units (..., 2) to OpenCV's fixed-point pixel coordinates."""
        return (np.asarray(points) * self._gain + self._shift).astype(np.int32)

    def thickness(self, width: float) -> int:
        """Pixels of a stroke ``width`` face units wide."""
        return max(1, round(width * self.scale))

    def fill(self, points: PointsLike, colour: Rgb) -> None:
        """Fill a polygon of the person with one colour."""
        p = self.to_pixels(points)
        cv2.fillPoly(self.image, [p], colour.tolist(), cv2.LINE_AA, BITS)
        cv2.fillPoly(self.mask, [p], 255, cv2.LINE_8, BITS)

    def stroke(self, lines: Points | Sequence[PointsLike], colour: Rgb, width: float = 0.4) -> None:
        """Draw opaque polylines of one colour, ``width`` face units wide; an array (n, k, 2) is n lines."""
        p = self.to_pixels(lines) if isinstance(lines, np.ndarray) else [self.to_pixels(q) for q in lines]
        cv2.polylines(self.image, list(p), False, colour.tolist(), self.thickness(width), cv2.LINE_AA, BITS)

    def window(self, points: Points, margin: float) -> Window:
        """The rectangle around ``points`` (n, 2), ``margin`` units wider on every side, never empty."""
        return self._window(self.to_pixels(points), margin)

    def _window(self, p: NDArray[np.int32], margin: float) -> Window:
        x, y, w, h = cv2.boundingRect(p)
        edge, last = round(margin * self.scale) + 1, self.pixels - 1
        x0, x1 = (x >> BITS) - edge, (x + w >> BITS) + edge
        y0, y1 = (y >> BITS) - edge, (y + h >> BITS) + edge
        x0, y0 = min(max(x0, 0), last), min(max(y0, 0), last)
        return slice(y0, max(min(y1, last), y0) + 1), slice(x0, max(min(x1, last), x0) + 1)

    def coverage(
        self, shapes: Sequence[Points], window: Window, *, width: float = 0.0, blur: float = 0.0
    ) -> Picture:
        """How much of each pixel polygons cover (strokes when ``width`` > 0), 0..255 over ``window``."""
        return self._coverage([self.to_pixels(shape) for shape in shapes], window, width, blur)

    def _coverage(self, p: list[NDArray[np.int32]], window: Window, width: float, blur: float) -> Picture:
        rows, columns = window
        cover: Picture = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
        origin = np.array((columns.start << BITS, rows.start << BITS), np.int32)
        p = [q - origin for q in p]
        if width > 0:
            cv2.polylines(cover, p, False, 255, self.thickness(width), cv2.LINE_AA, BITS)
        else:
            cv2.fillPoly(cover, p, 255, cv2.LINE_AA, BITS)
        reach = round(1.5 * blur * self.scale)
        if reach:  # a box will do for edges that the camera blurs again, and costs far less than a Gaussian
            cv2.blur(cover, (2 * reach + 1, 2 * reach + 1), dst=cover)
        return cover

    def blend(self, window: Window, cover: Picture, paint: Rgb | Picture, alpha: float) -> None:
        """Blend one colour (3,), or a picture of the window's shape, into the window."""
        area = self.image[window]
        if paint.ndim == 1:
            solid = np.empty_like(area)
            cv2.rectangle(solid, (0, 0), solid.shape[1::-1], paint.tolist(), -1)
            paint = solid
        weight = cover * np.float32(alpha / 255)
        cv2.blendLinear(paint, area, weight, 1 - weight, area)

    def stain(
        self,
        shapes: Points | Sequence[Points],
        colour: Rgb,
        alpha: float = 1.0,
        blur: float = 0.0,
        width: float = 0.0,
    ) -> None:
        """Blend polygons (strokes when ``width`` > 0) of one colour, edges blurred by ``blur`` units."""
        if isinstance(shapes, np.ndarray):
            extent = self.to_pixels(shapes)
            p = [extent]
        else:
            p = [self.to_pixels(shape) for shape in shapes]
            extent = np.concatenate(p)
        window = self._window(extent, 1.5 * blur + 0.5 * width)
        self.blend(window, self._coverage(p, window, width, blur), colour, alpha)

    def lay(self, layer: Picture, shape: PointsLike, hole: PointsLike | None = None) -> None:
        """Show a canvas-sized picture inside a polygon, which becomes part of the person."""
        stencil = np.zeros_like(self.mask)
        cv2.fillPoly(stencil, [self.to_pixels(shape)], 255, cv2.LINE_8, BITS)
        if hole is not None:
            cv2.fillPoly(stencil, [self.to_pixels(hole)], 0, cv2.LINE_8, BITS)
        cv2.copyTo(layer, stencil, self.image)
        cv2.bitwise_or(self.mask, stencil, self.mask)
