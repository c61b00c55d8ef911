"""Faces whose points are known: drawn ones, BioID's by their .eye files, others by another predictor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from agents.landmarks.points import LandmarkPredictor, Pictures, Points, eyes_of
from facehall_env.datasets import FaceDataset, bioid
from facehall_env.datasets.base import check_split
from facehall_env.datasets.decoding import open_picture
from facehall_env.resample import ProtocolName, Resampler


class Annotated(NamedTuple):
    """Faces and where their points are.

    Attributes:
        pictures: uint8 (N, H, W, C).
        points: (N, K, 2).
        boxes: (N, 3), or None for centred pictures.
        dataset: Name of the data set.
        truth: Where the points come from, in words.
    """

    pictures: Pictures
    points: Points
    boxes: NDArray[np.float64] | None
    dataset: str
    truth: str


@runtime_checkable
class KnowsLandmarks(Protocol):
    """A data set that has the points of its faces."""

    def landmarks(self, index: int, /) -> Points:
        """The 68 points of one face, (68, 2)."""


def annotate(
    dataset: FaceDataset, indices: Sequence[int], predictor: LandmarkPredictor | None = None
) -> Annotated:
    """Faces of a data set with their points.

    Args:
        dataset: Of centred faces.
        indices: Which of them.
        predictor: Who finds the points; None takes those that the data set has.

    Raises:
        ValueError: If there is no predictor, and the data set has no points.
    """
    pictures = np.stack([dataset[i] for i in indices])
    if predictor is not None:
        return Annotated(pictures, predictor.predict(pictures), None, dataset.name, predictor.name)
    if not isinstance(dataset, KnowsLandmarks):
        raise ValueError(f"{dataset.name!r} has no landmarks of its own: name a predictor that finds them")
    points = np.stack([dataset.landmarks(i) for i in indices])
    return Annotated(pictures, points, None, dataset.name, dataset.name)


def bioid_eyes(root: str | Path | None, split: str, *, seed: int = 0) -> Annotated:
    """BioID's whole pictures (286x384) with the two eyes of the .eye files, and boxes such as detectors give.

    A box is 3.1 times the eyes' distance wide and its middle 0.3 times below them, but for the errors of a
    detector, drawn by the seed: 3 % of the side either way, and 9 % of the size.

    Args:
        root: As for `facehall_env.datasets.bioid.BioID`.
        split: ``train`` or ``test``, by the seed 0 as everywhere.
        seed: Draws the boxes.
    """
    check_split(split, ("train", "test"))
    sides = bioid.split_numbers(val_fraction=0.0)
    pictures, points = [], []
    items: list[Any] = sorted(bioid.recipe(bioid.find_pictures(root)).items())
    for item in items:
        if sides[int(item.id[-4:])] == split and None not in item.data:
            pictures.append(np.asarray(open_picture(item.data[0]))[..., None])
            left, right = bioid.parse_eyes(item.data[1])
            points.append((right, left))
    eyes = np.array(points, dtype=np.float64)
    return Annotated(np.stack(pictures), eyes, _detections(eyes, seed), "bioid", "eye files")


def degraded(pictures: Pictures, scale: int, protocol: ProtocolName = "aligned") -> Pictures:
    """I_0 of the pictures, rounded to 8 bits: what a predictor sees of a small face."""
    resampler = Resampler(pictures.shape[1], pictures.shape[2], scale, protocol)
    enlarged = resampler(torch.from_numpy(pictures).permute(0, 3, 1, 2).float())
    rounded: Pictures = enlarged.round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()
    return rounded


def _detections(points: Points, seed: int) -> NDArray[np.float64]:
    eyes = eyes_of(points)
    between = np.linalg.norm(eyes[:, 1] - eyes[:, 0], axis=-1)
    rng = np.random.default_rng(seed)
    side = 3.1 * between
    middle = eyes.mean(1) + np.stack([0 * between, 0.3 * between], -1)
    middle += 0.03 * side[:, None] * rng.standard_normal(middle.shape)
    return np.column_stack([middle, side * np.exp(0.09 * rng.standard_normal(len(side)))])
