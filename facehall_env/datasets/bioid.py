"""The BioID face database: 1,521 gray faces aligned by their eyes, 1,028 to train on and 493 to test.

Nobody has published the paper's split. This one is drawn by a seed from *blocks* of consecutive pictures:
BioID was recorded in sittings, and two pictures of one sitting are often near-duplicates. It depends on the
numbers of the pictures alone and never on which of them are there, so the test pictures of an incomplete copy
are test pictures of the whole database too. People come back in several sittings, so the split is not one by
people.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np
from numpy.typing import NDArray

from facehall_env.datasets.alignment import CROP, EYE_DISTANCE, EYE_ROW, Point, align_eyes
from facehall_env.datasets.base import CachedFaces, check_fraction, check_split, seeded_order
from facehall_env.datasets.cache import FaceCache, Item, Recipe, data_dir, open_cache
from facehall_env.datasets.decoding import open_picture
from facehall_env.datasets.errors import BadPictureError, DatasetError, DatasetNotFoundError
from facehall_env.datasets.sources import Content, is_archive, read_files

COUNT: Final = 1521
TEST_COUNT: Final = 493
SPLITS: Final = ("train", "val", "test", "trainval")
BLOCK_STARTS: Final = (
    0, 16, 25, 46, 50, 76, 98, 147, 170, 180, 241, 449, 482, 483, 519, 556, 586, 603, 634, 643, 706,
    711, 741, 779, 874, 893, 918, 923, 942, 1015, 1027, 1079, 1122, 1153, 1174, 1214, 1293, 1319, 1359,
    1451, 1495, 1515,
)  # fmt: skip
"""Pictures that show somebody else than the picture before. Blocks end only where that is certain."""
NAME: Final = re.compile(r"bioid_(\d{4})", re.IGNORECASE)
WHERE: Final = (
    "get BioID-FaceDatabase-V1.2 from https://www.bioid.com/facedb/ and give its .zip or folder as root."
)


class BioID(CachedFaces):
    """Aligned gray crops of BioID, 160 rows by 120 columns: eyes level on row 64, 47 pixels apart, centred.

    Args:
        root: Folder of the ``.pgm`` and ``.eye`` files (searched recursively), an archive of them, or a
            folder that holds such an archive; ``bioid`` in the cache folder by default.
        split: ``train``, ``val``, ``trainval`` (both: 1,028) or ``test`` (493).
        val_fraction: Share of the training pictures that makes the validation split.
        seed: Draws the split.
        eye_distance: Distance of the eyes in the crop, in pixels.
        skip_bad: Leave out pictures that cannot be used when the cache has to be built.
        progress: Show a progress bar then; None shows it on a terminal only.

    Attributes:
        found: How many of the 1,521 pictures the source has, all splits together.

    Raises:
        DatasetNotFoundError: If there are no such files.
        DatasetError: If pictures or eye files cannot be used; it names all of them.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        split: str = "train",
        *,
        val_fraction: float = 0.05,
        seed: int = 0,
        eye_distance: float = EYE_DISTANCE,
        skip_bad: bool = False,
        progress: bool | None = None,
    ) -> None:
        check_split(split, SPLITS)
        check_fraction("val_fraction", val_fraction)
        cache = open_cache(recipe(find_pictures(root), eye_distance), skip_bad=skip_bad, progress=progress)
        self.found = len(cache)
        side = split_numbers(seed, val_fraction)
        wanted = {"train", "val"} if split == "trainval" else {split}
        ids = [name for name in sorted(cache.ids) if side[_number(name)] in wanted]
        super().__init__(cache, ids, name="bioid", split=split)


def recipe(source: Path, eye_distance: float = EYE_DISTANCE) -> Recipe:
    """How to cache the aligned crops of all pictures."""
    if not 8 <= eye_distance <= 120:
        raise DatasetError(f"eye_distance must be between 8 and 120 pixels, not {eye_distance}.")
    return Recipe(
        name="bioid",
        source=source,
        crop={"size": list(CROP), "eye_distance": float(eye_distance), "eye_row": EYE_ROW, "channels": 1},
        shape=(*CROP, 1),
        wanted=_is_wanted,
        items=lambda: _pairs(source),
        decode=lambda item: decode(item, eye_distance),
        expected=COUNT,
    )


def decode(item: Item, eye_distance: float = EYE_DISTANCE) -> NDArray[np.uint8]:
    """The aligned crop, uint8 (160, 120, 1), of ``item.data``: .pgm and .eye, None where one is missing."""
    pgm, eye = item.data
    if pgm is None:
        raise BadPictureError("there is no .pgm file to this .eye file")
    if eye is None:
        raise BadPictureError("there is no .eye file to this picture")
    picture = open_picture(pgm)
    if picture.mode != "L":
        raise BadPictureError(f"is of mode {picture.mode}, but BioID is 8-bit gray")
    if picture.height < CROP[0] or picture.width < CROP[1]:
        raise BadPictureError(
            f"is {picture.height}x{picture.width}, smaller than the crop {CROP[0]}x{CROP[1]}"
        )
    left, right = parse_eyes(eye)
    for x, y in (left, right):
        if not (0 <= x < picture.width and 0 <= y < picture.height):
            raise BadPictureError(
                f"its .eye file puts an eye at column {x:g}, row {y:g}, outside the picture"
            )
    return align_eyes(np.asarray(picture), left, right, distance=eye_distance)[..., None]


def parse_eyes(eye: Content) -> tuple[Point, Point]:
    """Reads an ``.eye`` file: a comment ``#LX LY RX RY``, then four numbers.

    Returns:
        The person's left eye (on the right of the picture) and right eye, as (x, y).

    Raises:
        BadPictureError: If the file is unreadable or something else, or the eyes are swapped or in one place.
    """
    if isinstance(eye, OSError):
        raise BadPictureError(f"its .eye file cannot be read ({eye.strerror})") from eye
    try:
        lines = [
            line for line in eye.decode("ascii").splitlines() if line.strip() and not line.startswith("#")
        ]
        left_x, left_y, right_x, right_y = (float(word) for word in " ".join(lines).split())
    except ValueError as error:
        raise BadPictureError(
            "its .eye file is not a line '#LX LY RX RY' and a line of four numbers"
        ) from error
    if not left_x - right_x >= 1:  # so that NaN fails as well
        raise BadPictureError(
            f"its .eye file has the left eye at column {left_x:g} and the right eye at {right_x:g}, but the "
            "person's left eye is on the right of the picture"
        )
    return (left_x, left_y), (right_x, right_y)


def split_numbers(seed: int = 0, val_fraction: float = 0.05) -> list[str]:
    """The split of each of the 1,521 pictures: 493 ``test``, a share of the rest ``val``, else ``train``.

    Args:
        seed: Draws the blocks of the test and validation splits.
        val_fraction: Share of the 1,028 that makes the validation split, to the nearest size that blocks
            allow.
    """
    blocks = {f"{start:04d}": range(start, end) for start, end in pairwise((*BLOCK_STARTS, COUNT))}
    test = _choose({name: len(numbers) for name, numbers in blocks.items()}, TEST_COUNT, seed)
    rest = {name: len(numbers) for name, numbers in blocks.items() if name not in test}
    val = _choose(rest, round(val_fraction * (COUNT - TEST_COUNT)), seed)
    side = ["train"] * COUNT
    for name, numbers in blocks.items():
        for number in numbers:
            side[number] = "test" if name in test else "val" if name in val else "train"
    return side


def find_pictures(root: str | Path | None = None) -> Path:
    """Finds the folder or the archive of BioID.

    Raises:
        DatasetNotFoundError: If there is none.
    """
    path = data_dir() / "bioid" if root is None else Path(root).expanduser()
    if not path.exists():
        raise DatasetNotFoundError(f"{path} does not exist; {WHERE}")
    if path.is_file():
        if not is_archive(path):
            raise DatasetError(
                f"{path} is neither a folder nor an archive (.zip, .tar, .tar.gz, .tar.xz); {WHERE}"
            )
        return path
    if any(NAME.fullmatch(file.stem) for file in path.rglob("*.[pP][gG][mM]")):
        return path
    archives = [file for file in sorted(path.iterdir()) if is_archive(file) and "bioid" in file.name.lower()]
    if len(archives) == 1:
        return archives[0]
    if archives:
        raise DatasetError(
            f"{path} holds {', '.join(file.name for file in archives)}; give one of them as root."
        )
    raise DatasetNotFoundError(f"{path} holds neither the BioID_*.pgm files nor an archive of them; {WHERE}")


def describe(cache: FaceCache) -> str:
    """How complete a copy of the database is, in words."""
    missing = COUNT - len(cache)
    return f"{len(cache):,} of {COUNT:,} pictures found" + (f", {missing:,} missing" if missing else "")


def _pairs(source: Path) -> Iterator[Item]:
    """Brings picture and eye file together, in whatever order the source has them."""
    halves: dict[str, dict[str, tuple[str, Content]]] = {}
    done: set[str] = set()
    for path, blob in read_files(source, _is_wanted):
        name, kind = f"BioID_{_number(path.stem):04d}", path.suffix.lower()
        if name in done or kind in halves.get(name, {}):
            raise DatasetError(
                f"{source} holds {path.name} twice, the second time as {path}; remove one of them."
            )
        halves.setdefault(name, {})[kind] = (str(path), blob)
        if len(halves[name]) == 2:
            done.add(name)
            yield _item(name, halves.pop(name))
    for name, half in halves.items():
        yield _item(name, half)


def _item(name: str, half: Mapping[str, tuple[str, Content]]) -> Item:
    file = (half.get(".pgm") or half[".eye"])[0]
    return Item(name, file, tuple(half[kind][1] if kind in half else None for kind in (".pgm", ".eye")))


def _is_wanted(path: PurePosixPath) -> bool:
    known = NAME.fullmatch(path.stem) is not None and _number(path.stem) < COUNT
    return known and path.suffix.lower() in (".pgm", ".eye")


def _number(name: str) -> int:
    return int(name[-4:])


def _choose(sizes: Mapping[str, int], target: int, seed: int) -> set[str]:
    """Blocks of ``target`` pictures in all, or the most that fit, early ones in the seed's order first."""
    sums: dict[int, tuple[str, ...]] = {0: ()}
    for name in seeded_order(sizes, seed):
        for total, chosen in sorted(sums.items(), reverse=True):
            reached = total + sizes[name]
            if reached <= target:
                sums.setdefault(reached, (*chosen, name))
    return set(sums[max(sums)])
