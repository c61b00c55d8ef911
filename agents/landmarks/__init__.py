"""Points on faces: finding them, learning to find them, and aligning faces by them."""

from agents.landmarks.align import align_faces
from agents.landmarks.dlib68 import DlibPredictor, detect_boxes
from agents.landmarks.points import LandmarkPredictor, default_boxes, eyes_of, relative_errors
from agents.landmarks.sdm import SDM, SDMConfig

__all__ = [
    "SDM",
    "DlibPredictor",
    "LandmarkPredictor",
    "SDMConfig",
    "align_faces",
    "default_boxes",
    "detect_boxes",
    "eyes_of",
    "relative_errors",
]
