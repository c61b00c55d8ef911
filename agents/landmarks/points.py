"""Points on a face: the interface of what finds them, where the search starts, and how an error is measured.

Points are (x, y) pixels, the centre of the first pixel at (0, 0), in iBUG's order where there are 68: jaw
0-16, brows 17-26, nose 27-35, eyes 36-47, mouth 48-67 (counted from 0). The first eye is the one on the left
of the picture, the person's right.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facehall_env.datasets.alignment import CROP, EYE_DISTANCE, EYE_ROW

Points = NDArray[np.float64]
Pictures = NDArray[np.uint8]

FIRST_EYE: Final = slice(36, 42)
"""The six points around the eye on the left of the picture, of 68."""
SECOND_EYE: Final = slice(42, 48)

# In LFW's 128x128 crops the eyes lie about 42 pixels apart on row 52: so much larger is a face of BioID's.
_LARGER: Final = EYE_DISTANCE / 42.0
_FRAMINGS: Final = {CROP: ((CROP[1] - 1) / 2, EYE_ROW + (63.5 - 52.0) * _LARGER, 128.0 * _LARGER)}


class LandmarkPredictor(Protocol):
    """Anything that finds the same K points on every face.

    Attributes:
        name: A word for records and error messages.
        count: K, 68 or the number of points that it was trained on.
    """

    @property
    def name(self) -> str:
        """A word for records and error messages."""

    @property
    def count(self) -> int:
        """How many points it finds, K."""

    def predict(self, pictures: Pictures, boxes: ArrayLike | None = None) -> Points:
        """Find the points.

        Args:
            pictures: uint8 (N, H, W, C), C = 3 (RGB) or 1 (gray).
            boxes: Squares that hold the faces, (N, 3): column and row of the centre, and side, in pixels;
                None for faces that are framed as the data sets of this project frame them, see
                `default_boxes`.

        Returns:
            Points (N, K, 2).
        """


def default_boxes(count: int, height: int, width: int) -> NDArray[np.float64]:
    """The square that holds the face of a centred picture, (count, 3): centre x, centre y, side.

    It is the whole of a square picture (framed as LFW's central crops are), the square that holds an equal
    part of the face in a crop of BioID, and the square over the longer side of any other picture.
    """
    box = _FRAMINGS.get((height, width), ((width - 1) / 2, (height - 1) / 2, float(max(height, width))))
    return np.tile(np.array(box, dtype=np.float64), (count, 1))


def checked_boxes(boxes: ArrayLike | None, pictures: Pictures) -> NDArray[np.float64]:
    """The boxes as floats (N, 3), the default ones for None.

    Raises:
        ValueError: If the pictures are not uint8 (N, H, W, C), or the boxes do not fit them.
    """
    pictures = check_pictures(pictures)
    count, height, width = pictures.shape[:3]
    if boxes is None:
        return default_boxes(count, height, width)
    values = np.asarray(boxes, dtype=np.float64)
    if values.shape != (count, 3):
        raise ValueError(
            f"boxes has the shape {values.shape}, but {count} pictures need ({count}, 3): column and row of "
            "the centre, and the side of the square around each face"
        )
    if not (np.isfinite(values).all() and (values[:, 2] >= 8).all()):
        raise ValueError("boxes holds a square that is not finite or less than 8 pixels wide")
    return values


def check_pictures(pictures: Any) -> Pictures:
    """Refuse what is not a batch of pictures, uint8 (N, H, W, 1 or 3).

    Raises:
        ValueError: If it is not; the sentence says what it is.
    """
    if not isinstance(pictures, np.ndarray) or pictures.dtype != np.uint8:
        kind = (
            f"an array of {pictures.dtype}" if isinstance(pictures, np.ndarray) else type(pictures).__name__
        )
        raise ValueError(f"pictures is {kind}, but it must be an array of uint8, (N, H, W, C)")
    if pictures.ndim != 4 or pictures.shape[3] not in (1, 3) or pictures.shape[0] < 1:
        raise ValueError(
            f"pictures has the shape {pictures.shape}, but it must be (N, H, W, C), C = 3 (RGB) or 1 (gray)"
        )
    return pictures


def check_points(points: ArrayLike, count: int) -> Points:
    """The points of ``count`` faces as floats (count, K, 2).

    Raises:
        ValueError: If the shape is another, or a number is not finite.
    """
    values = np.asarray(points, dtype=np.float64)
    if values.ndim != 3 or values.shape[0] != count or values.shape[1] < 1 or values.shape[2] != 2:
        raise ValueError(f"points has the shape {values.shape}, but {count} pictures need ({count}, K, 2)")
    if not np.isfinite(values).all():
        raise ValueError("points holds a number that is not finite")
    return values


def eyes_of(points: Points) -> Points:
    """The middles of both eyes, (N, 2, 2): first the one on the left of the picture.

    Args:
        points: (N, 68, 2), or (N, 2, 2) where the two points are the eyes already.

    Raises:
        ValueError: If there are neither 68 points nor two.
    """
    if points.ndim != 3 or points.shape[1:] not in ((68, 2), (2, 2)):
        raise ValueError(
            f"points has the shape {points.shape}: the eyes are known of (N, 68, 2) in iBUG's order and of "
            "(N, 2, 2), the eye on the left of the picture first"
        )
    if points.shape[1] == 2:
        return points
    return np.stack([points[:, FIRST_EYE].mean(1), points[:, SECOND_EYE].mean(1)], axis=1)


def relative_errors(found: Points, true: Points) -> NDArray[np.float64]:
    """Mean distance of a face's points from the true ones over the true distance of the eyes, (N,).

    Raises:
        ValueError: If the shapes differ, or `eyes_of` does not know the eyes.
    """
    if found.shape != true.shape:
        raise ValueError(f"found has the shape {found.shape} and true {true.shape}")
    eyes = eyes_of(true)
    between = np.linalg.norm(eyes[:, 1] - eyes[:, 0], axis=-1)
    errors: NDArray[np.float64] = np.linalg.norm(found - true, axis=-1).mean(1) / between
    return errors
