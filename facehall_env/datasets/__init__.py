"""High-resolution faces: LFW, BioID, any folder of pictures, and faces drawn without a download."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from facehall_env.datasets.base import CachedFaces, FaceDataset
from facehall_env.datasets.errors import (
    BadPicturesError,
    DatasetError,
    DatasetNotFoundError,
    UnsafeArchiveError,
)

DATASETS: Final = ("lfw", "bioid", "folder", "synthetic")

__all__ = [
    "DATASETS",
    "BadPicturesError",
    "CachedFaces",
    "DatasetError",
    "DatasetNotFoundError",
    "FaceDataset",
    "UnsafeArchiveError",
    "load_dataset",
]


def load_dataset(
    name: str, *, root: str | Path | None = None, split: str = "train", **options: Any
) -> FaceDataset:
    """Opens one split of a data set by name.

    The first use of a source decodes it into a memory-mapped cache (see ``facehall-prepare``); every later
    one only maps that file.

    Args:
        name: ``lfw``, ``bioid``, ``folder`` or ``synthetic``.
        root: Folder or archive of the pictures; ``synthetic`` takes none.
        split: ``train``, ``val`` or ``test``.
        **options: Passed on to the data set's class, which documents them.

    Raises:
        ValueError: If the name, the split, an option or the data are wrong.
        FileNotFoundError: If the data are not there.
    """
    if name == "lfw":
        from facehall_env.datasets.lfw import LFW

        return _opened(LFW, name, options, root, split)
    if name == "bioid":
        from facehall_env.datasets.bioid import BioID

        return _opened(BioID, name, options, root, split)
    if name == "folder":
        from facehall_env.datasets.folder import FolderFaces

        return _opened(FolderFaces, name, options, root, split)
    if name == "synthetic":
        from facehall_env.datasets.synthetic import SyntheticFaces

        if root is not None:
            raise DatasetError("The data set 'synthetic' is drawn, not read: leave root out.")
        return _opened(SyntheticFaces, name, options, split)
    raise DatasetError(f"There is no data set {name!r}; choose one of {', '.join(DATASETS)}.")


def _opened(kind: Callable[..., FaceDataset], name: str, options: dict[str, Any], *where: Any) -> FaceDataset:
    """A data set with these options, if it has them."""
    known = list(inspect.signature(kind).parameters)[len(where) :]
    if unknown := sorted(set(options) - set(known)):
        raise DatasetError(
            f"The data set {name!r} has no option {', '.join(unknown)}; its options are {', '.join(known)}."
        )
    return kind(*where, **options)
