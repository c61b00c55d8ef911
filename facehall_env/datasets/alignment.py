"""Placing a face by its eyes: the similarity that puts them level, a given distance apart, on a given row."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]
"""Column x and row y in pixels, the centre of the first pixel at (0, 0)."""

EYE_DISTANCE: Final = 47.0
"""Distance of the eyes, in pixels, at which bicubic on BioID has the paper's PSNR."""
EYE_ROW: Final = 64.0
"""Row of both eyes."""
CROP: Final = (160, 120)
"""Rows and columns of the aligned picture."""


def eye_transform(
    left_eye: Point,
    right_eye: Point,
    *,
    distance: float = EYE_DISTANCE,
    row: float = EYE_ROW,
    size: tuple[int, int] = CROP,
) -> NDArray[np.float64]:
    """The similarity (rotation, scale, shift) from the picture to the aligned crop.

    Args:
        left_eye: The person's left eye, on the right of the picture.
        right_eye: The person's right eye.
        distance: Distance of the eyes in the crop, in pixels.
        row: Row of both eyes in the crop; their columns lie ``distance`` apart around the middle of the
            width.
        size: Rows and columns of the crop.

    Returns:
        Matrix (2, 3) that maps (x, y, 1) of the picture to (x, y) of the crop.

    Raises:
        ValueError: If both eyes are the same point, or the distance is not positive.
    """
    if distance <= 0:
        raise ValueError(f"the distance of the eyes must be positive, not {distance}")
    between = complex(left_eye[0] - right_eye[0], left_eye[1] - right_eye[1])
    if between == 0:
        raise ValueError("both eyes are the same point")
    # A similarity of the plane is a complex factor; this one turns the line between the eyes into the row.
    factor = distance / between
    linear = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    middle = (np.array(left_eye, dtype=np.float64) + np.array(right_eye, dtype=np.float64)) / 2
    target = np.array([(size[1] - 1) / 2, row])
    return np.column_stack([linear, target - linear @ middle])


def align_eyes(
    picture: NDArray[np.uint8],
    left_eye: Point,
    right_eye: Point,
    *,
    distance: float = EYE_DISTANCE,
    row: float = EYE_ROW,
    size: tuple[int, int] = CROP,
) -> NDArray[np.uint8]:
    """Cuts the aligned face out of a picture, by bicubic interpolation; outside the picture its edge goes on.

    Args:
        picture: Gray (H, W) or colour (H, W, C), uint8.
        left_eye: The person's left eye, on the right of the picture.
        right_eye: The person's right eye.
        distance: As in :func:`eye_transform`, like ``row`` and ``size``.
        row: Row of both eyes in the crop.
        size: Rows and columns of the crop.

    Returns:
        The crop, uint8, of ``size`` and the picture's channels.

    Raises:
        ValueError: As :func:`eye_transform`.
    """
    matrix = eye_transform(left_eye, right_eye, distance=distance, row=row, size=size)
    crop = cv2.warpAffine(
        picture, matrix, (size[1], size[0]), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(crop, dtype=np.uint8)
