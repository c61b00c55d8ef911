"""Faces of one's own: any folder of pictures, whatever their sizes and modes."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from facehall_env.arguments import whole
from facehall_env.datasets.base import CachedFaces, check_fraction, check_split, hash_fraction
from facehall_env.datasets.cache import Item, Recipe, open_cache
from facehall_env.datasets.decoding import open_picture
from facehall_env.datasets.errors import BadPictureError, DatasetError, DatasetNotFoundError
from facehall_env.datasets.sources import is_archive, read_files

SPLITS: Final = ("train", "val", "test", "trainval", "all")
SUFFIXES: Final = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".webp", ".avif"),
    *(".jp2", ".ppm", ".pgm", ".pbm", ".pnm", ".tga"),
)
"""File names that are taken for pictures; everything else in the folder is left alone."""


class FolderFaces(CachedFaces):
    """All pictures below a folder, cut to the wanted shape of picture and shrunk to the wanted size.

    The largest centred part of the wanted aspect is shrunk by area averaging. EXIF orientation is applied,
    transparency is put on white, 16-bit gray is scaled to 8 bits. Pictures smaller than the result are
    refused: enlarging them would make high-resolution faces that never were.

    A picture's side of the split is drawn from its path below the folder, so that adding pictures moves none.

    Args:
        root: Folder (searched recursively) or archive.
        split: ``train``, ``val``, ``test``, ``trainval`` or ``all``.
        image_size: Rows and columns of the result; one number for a square.
        gray: One channel in place of three.
        val_fraction: Probability of a picture to be in the validation split.
        test_fraction: Probability of a picture to be in the test split.
        group_by: ``"file"`` draws every picture by itself; ``"folder"`` keeps the pictures of one folder
            together, for data with a folder for every person.
        seed: Draws the split.
        skip_bad: Leave out pictures that cannot be used when the cache has to be built.
        progress: Show a progress bar then; None shows it on a terminal only.

    Raises:
        DatasetNotFoundError: If there is no such folder.
        DatasetError: If it holds no picture, pictures cannot be used (it names all of them), or the split is
            empty.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        split: str = "train",
        *,
        image_size: int | tuple[int, int] = 128,
        gray: bool = False,
        val_fraction: float = 0.05,
        test_fraction: float = 0.1,
        group_by: str = "file",
        seed: int = 0,
        skip_bad: bool = False,
        progress: bool | None = None,
    ) -> None:
        check_split(split, SPLITS)
        check_fraction("val_fraction", val_fraction)
        check_fraction("test_fraction", test_fraction)
        check_fraction("val_fraction + test_fraction", val_fraction + test_fraction)
        if group_by not in ("file", "folder"):
            raise DatasetError(f"group_by must be 'file' or 'folder', not {group_by!r}.")
        cache = open_cache(
            recipe(find_pictures(root), image_size, gray), skip_bad=skip_bad, progress=progress
        )

        def side(name: str) -> str:
            key = name if group_by == "file" else str(PurePosixPath(name).parent)
            drawn = hash_fraction(key, seed)
            return (
                "test"
                if drawn < test_fraction
                else "val"
                if drawn < test_fraction + val_fraction
                else "train"
            )

        wanted = {"trainval": ("train", "val"), "all": ("train", "val", "test")}.get(split, (split,))
        super().__init__(
            cache, [name for name in sorted(cache.ids) if side(name) in wanted], name="folder", split=split
        )


def recipe(source: Path, image_size: int | tuple[int, int] = 128, gray: bool = False) -> Recipe:
    """How to cache all pictures of a folder at one size."""
    height, width = _rows_and_columns(image_size)
    channels = 1 if gray else 3
    return Recipe(
        name="folder",
        source=source,
        crop={"size": [height, width], "channels": channels},
        shape=(height, width, channels),
        wanted=_is_picture,
        items=lambda: (
            Item(str(path), str(path), content) for path, content in read_files(source, _is_picture)
        ),
        decode=lambda item: decode(item, (height, width), gray),
    )


def _rows_and_columns(image_size: Any) -> tuple[int, int]:
    sides = tuple(image_size) if isinstance(image_size, list | tuple) else (image_size, image_size)
    try:
        rows, columns = (whole("image_size", side) for side in sides)
    except ValueError as error:
        raise DatasetError(
            f"image_size is {image_size!r}, but it must be a positive integer, or two: rows and columns."
        ) from error
    return rows, columns


def decode(item: Item, size: tuple[int, int] = (128, 128), gray: bool = False) -> NDArray[np.uint8]:
    """One picture as uint8 of ``size`` (rows, columns) with one channel (gray) or three (RGB)."""
    picture = open_picture(item.data)
    try:
        picture = _eight_bits(ImageOps.exif_transpose(picture), "L" if gray else "RGB")
    except BadPictureError:
        raise
    except Exception as error:  # as in decoding: a broken EXIF block or colour profile raises anything
        raise BadPictureError(f"cannot be converted ({error})") from error
    height, width = size
    scale = min(picture.width / width, picture.height / height)
    if scale < 1:
        raise BadPictureError(
            f"is {picture.height}x{picture.width}, smaller than the {height}x{width} wanted"
        )
    # One of the sides is the picture's own, but for rounding, which would reach beyond the picture
    cut_width, cut_height = min(scale * width, picture.width), min(scale * height, picture.height)
    left, top = (picture.width - cut_width) / 2, (picture.height - cut_height) / 2
    box = (left, top, left + cut_width, top + cut_height)
    resized = picture.resize((width, height), Image.Resampling.BOX, box=box)
    return np.asarray(resized).reshape(height, width, -1)


def find_pictures(root: str | Path | None) -> Path:
    """The folder or the archive, if it is one.

    Raises:
        DatasetNotFoundError: If it is not given or not there.
        DatasetError: If it is some other file.
    """
    if root is None:
        raise DatasetNotFoundError("The data set 'folder' needs root, the folder of your pictures.")
    path = Path(root).expanduser()
    if not path.exists():
        raise DatasetNotFoundError(f"{path} does not exist; give the folder of your pictures as root.")
    if path.is_file() and not is_archive(path):
        raise DatasetError(
            f"{path} is neither a folder nor an archive; give the folder of your pictures as root."
        )
    return path


def _eight_bits(picture: Image.Image, mode: str) -> Image.Image:
    """The picture in 8-bit gray (``L``) or ``RGB``, transparency on white."""
    if picture.mode.startswith("I"):  # Pillow clips these when it converts them, so they are scaled by hand
        values = np.asarray(picture)
        if values.min() < 0 or values.max() > 65535:
            raise BadPictureError("has more than 16 bits per pixel; save it with 8 or 16")
        picture = Image.fromarray(np.rint(values / 257.0).astype(np.uint8))
    if picture.mode == "F":
        raise BadPictureError("has floating-point pixels of unknown range; save it with 8 or 16 bits")
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    return picture.convert(mode)


def _is_picture(path: PurePosixPath) -> bool:
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden
