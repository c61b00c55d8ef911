"""Drawing in face units on a super-sampled canvas: splines, fills, soft fills and strokes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Colour = NDArray[np.float64] | Sequence[float]

LEFT, TOP, SIDE = 88, 80, 176
"""The canvas spans x in [-LEFT, SIDE - LEFT] and y in [-TOP, SIDE - TOP] face units."""

_SHIFT = 4  # fractional bits of the coordinates handed to OpenCV


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


def spline(points: Points | Sequence[Sequence[float]], samples: int = 24, *, closed: bool = False) -> Points:
    """Smooth curve (samples, 2) through ``points`` (k, 2)."""
    knots = np.asarray(points, dtype=np.float64)
    return _spline_matrix(len(knots), samples, closed) @ knots


class Canvas:
    """A picture of the face frame, and the mask of what belongs to the person.

    Args:
        size: side of the final picture in pixels; the canvas holds twice as many pixels a unit.
    """

    def __init__(self, size: int) -> None:
        self.scale = 2.0 * size / 128.0
        self.pixels = round(SIDE * self.scale)
        self.image: NDArray[np.uint8] = np.zeros((self.pixels, self.pixels, 3), np.uint8)
        self.mask: NDArray[np.uint8] = np.zeros((self.pixels, self.pixels), np.uint8)

    def to_pixels(self, points: Points | Sequence[Sequence[float]]) -> NDArray[np.int32]:
        """Face units (..., 2) to OpenCV's fixed-point pixel coordinates."""
        p = (np.asarray(points, dtype=np.float64) + (LEFT, TOP)) * self.scale - 0.5
        return np.rint(p * (1 << _SHIFT)).astype(np.int32)

    def fill(
        self, points: Points | Sequence[Sequence[float]], colour: Colour, *, solid: bool = False
    ) -> None:
        """Fill a polygon; ``solid`` adds it to the person's mask."""
        p = self.to_pixels(points)
        cv2.fillPoly(self.image, [p], tuple(map(float, colour)), cv2.LINE_AA, _SHIFT)
        if solid:
            cv2.fillPoly(self.mask, [p], 255, cv2.LINE_8, _SHIFT)

    def stroke(self, lines: Sequence[Points] | Points, colour: Colour, width: float = 0.5) -> None:
        """Draw opaque polylines, all of one colour; ``width`` in face units."""
        pixels = max(1, round(width * self.scale))
        p = [self.to_pixels(line) for line in lines]
        cv2.polylines(self.image, p, False, tuple(map(float, colour)), pixels, cv2.LINE_AA, _SHIFT)

    def region(self, points: Points, margin: float) -> tuple[slice, slice]:
        """Rows and columns of the bounding box of ``points``, ``margin`` units wider on every side."""
        low = (points.min(axis=0) + (LEFT, TOP) - margin) * self.scale
        high = (points.max(axis=0) + (LEFT, TOP) + margin) * self.scale
        x0, y0 = (int(max(0, v)) for v in low)
        x1, y1 = (int(min(self.pixels, v + 1)) for v in high)
        return slice(y0, max(y1, y0 + 1)), slice(x0, max(x1, x0 + 1))

    def soft_mask(
        self,
        points: Sequence[Points],
        region: tuple[slice, slice],
        *,
        width: float | None = None,
        blur: float = 0.0,
    ) -> NDArray[np.float32]:
        """Coverage in [0, 1] of polygons (or of strokes when ``width`` is given) within ``region``."""
        rows, columns = region
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        coverage = np.zeros(shape, np.uint8)
        origin = np.array([columns.start, rows.start], np.int32) << _SHIFT
        p = [self.to_pixels(line) - origin for line in points]
        if width is None:
            cv2.fillPoly(coverage, p, 255, cv2.LINE_AA, _SHIFT)
        else:
            pixels = max(1, round(width * self.scale))
            cv2.polylines(coverage, p, False, 255, pixels, cv2.LINE_AA, _SHIFT)
        if blur > 0:
            coverage = np.asarray(cv2.GaussianBlur(coverage, (0, 0), blur * self.scale), np.uint8)
        return coverage.astype(np.float32) * np.float32(1 / 255)

    def tint(self, region: tuple[slice, slice], coverage: NDArray[np.float32], colour: Colour) -> None:
        """Blend one colour, or a picture of the region's shape, into the region."""
        area = self.image[region]
        target = np.asarray(colour, np.float32)
        area[:] = area + (target - area) * coverage[..., None]

    def soft_fill(
        self,
        points: Points,
        colour: Colour,
        alpha: float = 1.0,
        blur: float = 0.0,
        width: float | None = None,
    ) -> None:
        """Blend a polygon (or, with ``width``, a stroke) whose edge is blurred by ``blur`` units."""
        region = self.region(points, 3 * blur + (width or 0) + 1)
        self.tint(
            region, self.soft_mask([points], region, width=width, blur=blur) * np.float32(alpha), colour
        )
