"""Placing faces by points that were found on them, for pictures that come without annotation."""

from __future__ import annotations

import numpy as np

from agents.landmarks.points import Pictures, Points, check_pictures, check_points, eyes_of
from facehall_env.datasets.alignment import CROP, EYE_DISTANCE, EYE_ROW, align_eyes


def align_faces(
    pictures: Pictures,
    points: Points,
    *,
    distance: float = EYE_DISTANCE,
    row: float = EYE_ROW,
    size: tuple[int, int] = CROP,
) -> Pictures:
    """Turns, scales and crops faces so that their eyes are level, on one row and a given distance apart.

    Args:
        pictures: uint8 (N, H, W, C), C = 3 (RGB) or 1 (gray).
        points: What a `LandmarkPredictor` found, (N, 68, 2), or the two eyes (N, 2, 2), the one on the left
            of the picture first.
        distance: As in `facehall_env.datasets.alignment.eye_transform`, like ``row`` and ``size``; BioID's by
            default.
        row: Row of both eyes.
        size: Rows and columns of the crop.

    Returns:
        uint8 (N, *size, C).

    Raises:
        ValueError: If pictures and points do not fit, or the eyes of a face are in one place.
    """
    pictures = check_pictures(pictures)
    eyes = eyes_of(check_points(points, len(pictures)))
    crops = []
    for number, (picture, (first, second)) in enumerate(zip(pictures, eyes, strict=True)):
        try:
            crop = align_eyes(picture, tuple(second), tuple(first), distance=distance, row=row, size=size)
        except ValueError as error:
            raise ValueError(f"face {number} cannot be aligned: {error}") from error
        crops.append(crop.reshape(*size, pictures.shape[3]))
    return np.stack(crops)
