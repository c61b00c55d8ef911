"""dlib's 68-point predictor, for those who may use its weights.

An optional extra: ``pip install "facehall[dlib]"``. The weights (``shape_predictor_68_face_landmarks.dat``,
in the package ``face-recognition-models``) were trained on the iBUG 300-W pictures, whose licence excludes
commercial use; what is trained on their answers inherits that question. The file is found without importing
the package, which needs setuptools' pkg_resources.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.landmarks.points import Pictures, Points, check_pictures, checked_boxes

WEIGHTS: Final = "shape_predictor_68_face_landmarks.dat"
_INSTALL: Final = 'install the extra with pip install "facehall[dlib]" (weights for non-commercial use only)'
# The square that dlib's own detector reports, as measured on LFW's crops: lower than the middle of the box,
# and smaller.
_DOWN, _SIDE = 7.5 / 128, 90 / 128


class DlibPredictor:
    """Kazemi and Sullivan's regression trees (CVPR 2014) as trained by dlib's author, a `LandmarkPredictor`.

    Args:
        weights: The .dat file; None for that of the package ``face-recognition-models``.

    Raises:
        ImportError: If dlib is not installed.
        FileNotFoundError: If the weights are not there.
    """

    name = "dlib"
    count = 68

    def __init__(self, weights: str | Path | None = None) -> None:
        dlib = _dlib()
        path = find_weights() if weights is None else Path(weights)
        if not path.is_file():
            raise FileNotFoundError(f"there is no weight file {path}: {_INSTALL}")
        self._rectangle = dlib.rectangle
        self._predictor = dlib.shape_predictor(str(path))

    def predict(self, pictures: Pictures, boxes: ArrayLike | None = None) -> Points:
        """68 points of every face, whole pixels, (N, 68, 2); see `LandmarkPredictor.predict`.

        Raises:
            ValueError: If pictures or boxes are not what they should be.
        """
        found = []
        for picture, (x, y, side) in zip(pictures, checked_boxes(boxes, pictures), strict=True):
            half, down = side * _SIDE / 2, side * _DOWN
            corners = (x - half, y + down - half, x + half, y + down + half)
            shape = self._predictor(_image(picture), self._rectangle(*(round(value) for value in corners)))
            found.append([(point.x, point.y) for point in shape.parts()])
        return np.array(found, dtype=np.float64)


def find_weights() -> Path:
    """The weight file in the package ``face-recognition-models``.

    Raises:
        FileNotFoundError: If the package or the file in it is missing.
    """
    package = importlib.util.find_spec("face_recognition_models")
    if package is None or package.origin is None:
        raise FileNotFoundError(f"face-recognition-models, which holds {WEIGHTS}, is missing: {_INSTALL}")
    path = Path(package.origin).parent / "models" / WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(f"there is no weight file {path}: {_INSTALL}")
    return path


def detect_boxes(pictures: Pictures) -> NDArray[np.float64]:
    """The box of the largest face that dlib's detector, whose weights are part of it, finds in each picture.

    Returns:
        Boxes (N, 3) as predictors take them; rows of NaN where no face was found.

    Raises:
        ImportError: If dlib is not installed.
        ValueError: If the pictures are not uint8 (N, H, W, C).
    """
    dlib = _dlib()
    detector = dlib.get_frontal_face_detector()
    boxes = np.full((len(check_pictures(pictures)), 3), np.nan)
    for box, picture in zip(boxes, pictures, strict=True):
        if found := detector(_image(picture), 0):
            face = max(found, key=lambda rectangle: rectangle.width())
            side = face.width() / _SIDE
            box[:] = (
                (face.left() + face.right()) / 2,
                (face.top() + face.bottom()) / 2 - side * _DOWN,
                side,
            )
    return boxes


def _dlib() -> Any:
    try:
        import dlib
    except ImportError as error:
        raise ImportError(f"dlib is not installed: {_INSTALL}") from error
    return dlib


def _image(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(picture if picture.shape[2] == 3 else picture[..., 0])
