"""Crops of any pictures, for networks that are pre-trained on what is not a face."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from facehall_env.datasets.base import seeded_order
from facehall_env.datasets.decoding import open_picture
from facehall_env.datasets.folder import SUFFIXES


class CropBatches:
    """An endless stream of batches of random crops, all crops of a batch of one size.

    Every epoch goes through the chosen pictures in a new order and cuts `a_picture` crops of each. What comes
    next depends on the position alone, as with `agents.faces.FaceBatches`.

    Args:
        root: A folder of pictures, searched recursively.
        batch_size: Crops a batch.
        channels: 1 (gray) or 3 (RGB).
        sides: The sizes a crop may have, in pixels.
        pictures: How many pictures to choose; fewer where the folder holds fewer.
        a_picture: Crops of one picture in a batch.
        seed: Of the choice, the order and the crops.

    Attributes:
        files: The chosen pictures.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it holds no picture that is large enough.
    """

    def __init__(
        self,
        root: str | Path,
        batch_size: int,
        *,
        channels: int,
        sides: Sequence[int],
        pictures: int = 7000,
        a_picture: int = 8,
        seed: int = 0,
    ) -> None:
        self.files = choose_pictures(Path(root), pictures, max(sides), seed)
        self.batch_size, self.channels, self.sides = batch_size, channels, tuple(sides)
        self.a_picture, self.seed = min(a_picture, batch_size), seed
        self.seen = 0
        self._epoch = -1
        self._order: NDArray[np.int64] = np.empty(0, np.int64)

    def next(self) -> Tensor:
        """The next batch: uint8, (batch_size, C, side, side), on the CPU."""
        rng = np.random.default_rng((self.seed, 1, self.seen))
        side = int(rng.choice(self.sides))
        crops: list[NDArray[np.uint8]] = []
        while len(crops) < self.batch_size:
            picture = self._picture(self.seen)
            self.seen += 1
            for _ in range(min(self.a_picture, self.batch_size - len(crops))):
                top = int(rng.integers(picture.shape[0] - side + 1))
                left = int(rng.integers(picture.shape[1] - side + 1))
                crops.append(picture[top : top + side, left : left + side])
        return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous()

    def _picture(self, position: int) -> NDArray[np.uint8]:
        epoch, place = divmod(position, len(self.files))
        if epoch != self._epoch:
            self._order = np.random.default_rng((self.seed, 0, epoch)).permutation(len(self.files))
            self._epoch = epoch
        path = self.files[int(self._order[place])]
        try:
            upright = ImageOps.exif_transpose(open_picture(path.read_bytes()))
            values: NDArray[Any] = np.asarray(upright.convert("L" if self.channels == 1 else "RGB"))
        except (ValueError, OSError) as error:
            raise ValueError(f"{path} cannot be used for pre-training ({error}); remove it") from error
        return values.reshape(*values.shape[:2], self.channels)

    def state_dict(self) -> dict[str, int]:
        """How many pictures have been opened."""
        return {"seen": self.seen}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where another stream of the same folder and seed stopped."""
        self.seen = state["seen"]


def choose_pictures(root: Path, count: int, smallest: int, seed: int) -> list[Path]:
    """A seeded choice of a folder's pictures, the same wherever the folder lies.

    Args:
        root: The folder, searched recursively.
        count: How many at most.
        smallest: Pictures with a side of fewer pixels are left out.
        seed: Of the choice.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If no picture is large enough.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"pretrain_root is {root}, but there is no such folder of pictures")
    names = [
        PurePosixPath(path.relative_to(root)).as_posix()
        for path in root.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    ]
    chosen: list[Path] = []
    for name in seeded_order(names, seed):
        if len(chosen) == count:
            break
        if _is_large_enough(root / name, smallest):
            chosen.append(root / name)
    if not chosen:
        raise ValueError(f"pretrain_root is {root}, but it holds no picture of {smallest}x{smallest} or more")
    return chosen


def _is_large_enough(path: Path, smallest: int) -> bool:
    """Looks at the head of the file only; what is no picture at all is left out too."""
    try:
        with Image.open(path) as picture:
            return min(picture.size) >= smallest
    except (OSError, SyntaxError, ValueError):
        return False
