"""What every data set of faces offers, and the part that all cached ones share."""

from __future__ import annotations

import hashlib
import operator
import warnings
from collections.abc import Iterable, Sequence
from typing import Protocol, SupportsIndex, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from facehall_env.datasets.cache import FaceCache
from facehall_env.datasets.errors import DatasetError


@runtime_checkable
class FaceDataset(Protocol):
    """High-resolution faces of one size, read by index.

    Attributes:
        name: Which data set, as results are labelled: ``lfw-deepfunneled``, ``lfw-funneled``, ``lfw``,
            ``bioid``, ``folder`` or ``synthetic``.
        split: Which part of it: ``train``, ``val`` or ``test``.
        shape: (H, W, C) of every picture.
    """

    name: str
    split: str
    shape: tuple[int, int, int]

    def __len__(self) -> int:
        """Number of faces."""
        ...

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        """A fresh array of one face, uint8 (H, W, C), C = 3 (RGB) or 1 (gray)."""
        ...

    def id(self, index: int, /) -> str:
        """A name of one face that does not depend on the split or its order."""
        ...


class CachedFaces:
    """A :class:`FaceDataset` over rows of a :class:`~facehall_env.datasets.cache.FaceCache`.

    Args:
        cache: Where the pixels are.
        ids: The faces of this split, in order.
        name: Name of the data set.
        split: Name of the split.

    Raises:
        DatasetError: If the split is empty.
    """

    def __init__(self, cache: FaceCache, ids: Sequence[str], *, name: str, split: str) -> None:
        if not ids:
            raise DatasetError(
                f"The split {split!r} of {name} is empty ({len(cache)} usable pictures in "
                f"{cache.index['source']}); add pictures, or choose another split or other fractions."
            )
        self.name = name
        self.split = split
        self.shape = cache.shape
        self.cache = cache
        self._rows = np.array([cache.rows[name] for name in ids], dtype=np.int64)
        if cache.skipped:
            warnings.warn(
                f"{len(cache.skipped)} picture(s) of {name} were skipped when the cache was prepared: "
                + ", ".join(file for _, file, _ in cache.skipped[:5])
                + (", ..." if len(cache.skipped) > 5 else ""),
                stacklevel=3,
            )

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: SupportsIndex, /) -> NDArray[np.uint8]:
        """A fresh copy of one face, uint8 (H, W, C)."""
        return self.cache.read(int(self._rows[operator.index(index)]))

    def id(self, index: SupportsIndex, /) -> str:
        """The id of one face."""
        return self.cache.ids[int(self._rows[operator.index(index)])]

    def __repr__(self) -> str:
        kind = type(self).__name__
        return f"{kind}(name={self.name!r}, split={self.split!r}, faces={len(self)}, shape={self.shape})"


def check_split(split: str, allowed: Sequence[str]) -> None:
    """Raises a ValueError that lists the splits there are, unless ``split`` is one of them."""
    if split not in allowed:
        raise DatasetError(f"There is no split {split!r}; choose one of {', '.join(allowed)}.")


def check_fraction(name: str, value: float) -> None:
    """Raises a ValueError unless ``value`` lies in [0, 1)."""
    if not 0 <= value < 1:
        raise DatasetError(f"{name} must be at least 0 and less than 1, not {value}.")


def seeded_order(names: Iterable[str], seed: int) -> list[str]:
    """The names in an order that depends on them and the seed alone, on no library's random generator."""
    return sorted(names, key=lambda name: (hash_fraction(name, seed), name))


def hash_fraction(name: str, seed: int) -> float:
    """A number in [0, 1) drawn from a name and a seed, the same everywhere and for ever."""
    digest = hashlib.sha256(f"{seed}\0{name}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:6], "big") / (1 << 48)
