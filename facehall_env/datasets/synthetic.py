"""Drawn faces: the data set that needs no files.

A seeded parametric renderer draws as many different faces as one likes. They are framed as LFW's 128 x 128
centre crops are, lose about as much detail when shrunk, and come with their 68 landmarks.
"""

from __future__ import annotations

import operator

import numpy as np
from numpy.typing import NDArray

from facehall_env.datasets._faces import face_landmarks, render_face

SPLITS = ("train", "val", "test")
DEFAULT_SIZES = {"train": 1_000_000, "val": 1_000, "test": 1_000}

_WORD = 1 << 32


def _generator(seed: int, number: int) -> np.random.Generator:
    """The random generator of one face: fixed-width words, so that no two pairs (seed, number) coincide."""
    words = [seed % _WORD, seed // _WORD, number % _WORD, number // _WORD]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))


def _check_size(size: int) -> int:
    size = operator.index(size)
    if not 32 <= size <= 1024:
        raise ValueError(f"The side of a synthetic face must be between 32 and 1024 pixels, got {size}.")
    return size


def _check_seed(seed: int) -> int:
    seed = operator.index(seed)
    if not 0 <= seed < 1 << 63:
        raise ValueError(f"The seed of synthetic faces must be an integer in [0, 2**63), got {seed}.")
    return seed


def draw_face(seed: int, size: int = 128) -> NDArray[np.uint8]:
    """Draw one face.

    Args:
        seed: which face, an integer in [0, 2**63).
        size: side of the picture in pixels, 32 to 1024.

    Returns:
        RGB picture, uint8 (size, size, 3); the same for the same arguments and library versions.

    Raises:
        ValueError: ``seed`` or ``size`` is out of range.
    """
    return render_face(_generator(_check_seed(seed), 1 << 63), _check_size(size))


class SyntheticFaces:
    """An endless, deterministic data set of drawn faces.

    Face ``index`` depends on (seed, split, index) alone: not on the calls before, not on any global random
    state. Splits never share a face.

    Args:
        split: "train", "val" or "test".
        size: number of faces; None for 1,000,000 (train) or 1,000 (val, test).
        seed: a different seed is a different set of faces.
        image_size: side of the pictures in pixels, 32 to 1024.

    Raises:
        ValueError: an argument is out of range.
    """

    name = "synthetic"

    def __init__(
        self, split: str = "train", size: int | None = None, seed: int = 0, image_size: int = 128
    ) -> None:
        if split not in SPLITS:
            raise ValueError(
                f"Unknown split {split!r} of the synthetic faces; choose one of {', '.join(SPLITS)}."
            )
        count = DEFAULT_SIZES[split] if size is None else operator.index(size)
        if count < 1:
            raise ValueError(f"The size of a synthetic split must be at least 1, got {count}.")
        self.split = split
        self.seed = _check_seed(seed)
        self.shape = (_check_size(image_size), image_size, 3)
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        side = self.shape[0]
        return (
            f"SyntheticFaces(split={self.split!r}, size={self._count}, seed={self.seed}, image_size={side})"
        )

    def _face(self, index: int) -> np.random.Generator:
        index = self._check_index(index)
        return _generator(self.seed, index * len(SPLITS) + SPLITS.index(self.split))

    def _check_index(self, index: int) -> int:
        index = operator.index(index)
        if not 0 <= index < self._count:
            raise IndexError(
                f"Face {index} is outside the synthetic {self.split} split of {self._count} faces."
            )
        return index

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """Face ``index`` as a fresh RGB array, uint8 (H, W, 3)."""
        return render_face(self._face(index), self.shape[0])

    def id(self, index: int) -> str:
        """A name for face ``index``, for instance ``synthetic-train-000123``."""
        return f"synthetic-{self.split}-{self._check_index(index):06d}"

    def landmarks(self, index: int) -> NDArray[np.float64]:
        """The iBUG 68 points of face ``index``: (68, 2) pixels (x, y), pixel centres at integers."""
        return face_landmarks(self._face(index), self.shape[0])
