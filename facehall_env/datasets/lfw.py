"""Labeled Faces in the Wild with the people of View 1: 9,525 faces to train on, 3,708 to test on."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np
from numpy.typing import NDArray

from facehall_env.datasets.base import CachedFaces, check_fraction, check_split, seeded_order
from facehall_env.datasets.cache import Item, Recipe, data_dir, open_cache
from facehall_env.datasets.decoding import open_picture
from facehall_env.datasets.errors import BadPictureError, DatasetError, DatasetNotFoundError
from facehall_env.datasets.sources import is_archive, read_files

SIDE: Final = 250
CROP: Final = 128
FIRST: Final = (SIDE - CROP) // 2
"""Rows and columns 61..188 of the official pictures: the central 128x128."""
COUNT: Final = 13_233
SPLITS: Final = ("train", "val", "test", "trainval")
TRAIN_LIST: Final = "peopleDevTrain.txt"
TEST_LIST: Final = "peopleDevTest.txt"
CSV_HEADER: Final = "name,images"
"""First line of the lists in the copy of LFW on Kaggle, which says ``.csv`` and has no number of people."""
VARIANTS: Final = ("lfw-funneled", "lfw-deepfunneled", "lfw")
"""Names of the variants as results are labelled; the paper used the first."""

People = dict[str, int]
"""Name of every person and the number of pictures of them."""


class LFW(CachedFaces):
    """The central 128x128 RGB crops of one of the three official variants of LFW.

    Training and test people are those of View 1 (``peopleDevTrain.txt``, ``peopleDevTest.txt``). The
    validation people are cut off the training people by the seed: they are the first of them in the order of
    a hash, so nobody is on two sides.

    Args:
        root: Folder that holds ``lfw-deepfunneled``, ``lfw_funneled`` or ``lfw``, that folder itself, or an
            official archive; the folder of ``facehall-prepare lfw --download`` by default.
        split: ``train``, ``val``, ``trainval`` (both: all 9,525) or ``test``.
        variant: Name of the variant (``lfw-deepfunneled``, ``lfw-funneled`` or ``lfw``) where a folder holds
            more than one, or has a name of its own.
        val_fraction: Share of the training people that makes the validation split.
        seed: Draws the validation people.
        skip_bad: Leave out pictures that cannot be read when the cache has to be built.
        progress: Show a progress bar then; None shows it on a terminal only.

    Raises:
        DatasetNotFoundError: If pictures or lists are not there.
        DatasetError: If a list is wrong or does not fit the pictures, or pictures cannot be read.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        split: str = "train",
        *,
        variant: str | None = None,
        val_fraction: float = 0.05,
        seed: int = 0,
        skip_bad: bool = False,
        progress: bool | None = None,
    ) -> None:
        check_split(split, SPLITS)
        check_fraction("val_fraction", val_fraction)
        name, source = find_pictures(root, variant)
        people, test = read_lists(source)
        cache = open_cache(recipe(name, source), skip_bad=skip_bad, progress=progress)
        if split == "test":
            people = test
        elif split != "trainval":
            held_out = set(seeded_order(people, seed)[: round(val_fraction * len(people))])
            people = {person: n for person, n in people.items() if (person in held_out) == (split == "val")}
        skipped = [entry.id for entry in cache.skipped]
        ids = _listed_ids(people, cache.rows, skipped, TEST_LIST if split == "test" else TRAIN_LIST, source)
        super().__init__(cache, ids, name=name, split=split)

    def identity(self, index: int) -> str:
        """Name of the person on one picture, as LFW writes it (``Aaron_Eckhart``)."""
        return _person(self.id(index))


def recipe(name: str, source: Path) -> Recipe:
    """How to cache the central crops of all pictures of one variant."""
    return Recipe(
        name=name,
        source=source,
        crop={"size": [CROP, CROP], "of": [SIDE, SIDE], "channels": 3},
        shape=(CROP, CROP, 3),
        wanted=_is_picture,
        items=lambda: _items(name, source),
        decode=decode,
        expected=COUNT,
    )


def decode(item: Item) -> NDArray[np.uint8]:
    """The central 128x128 of one picture, uint8 (128, 128, 3), exactly as Pillow decodes it."""
    picture = open_picture(item.data)
    if picture.size != (SIDE, SIDE):
        width, height = picture.size
        raise BadPictureError(f"is {height}x{width}, but the pictures of LFW are {SIDE}x{SIDE}")
    box = (FIRST, FIRST, FIRST + CROP, FIRST + CROP)
    return np.asarray(picture.convert("RGB").crop(box))


def find_pictures(root: str | Path | None, variant: str | None = None) -> tuple[str, Path]:
    """Finds the folder or the archive of one variant.

    Returns:
        Name of the variant and path of its pictures.

    Raises:
        DatasetNotFoundError: If there is none.
        DatasetError: If there are several, or the variant cannot be told from the name.
    """
    if variant is not None and variant not in VARIANTS:
        raise DatasetError(f"There is no variant {variant!r} of LFW; choose one of {', '.join(VARIANTS)}.")
    path = data_dir() / "lfw" if root is None else Path(root).expanduser()
    if not path.exists():
        raise DatasetNotFoundError(
            f"{path} does not exist; give the folder or the archive of LFW as root, "
            "or fetch it with 'facehall-prepare lfw --download'."
        )
    if path.is_dir() and not _holds_people(path):
        found = _variants_in(path)
        if variant is not None:
            found = {name: place for name, place in found.items() if name == variant}
        if not found:
            raise DatasetNotFoundError(
                f"{path} holds neither lfw, lfw_funneled nor lfw-deepfunneled"
                + (f" of the variant {variant}" if variant else "")
                + ", as a folder or a .tgz; get it with 'facehall-prepare lfw --download'."
            )
        if len(found) > 1:
            raise DatasetError(f"{path} holds {' and '.join(found)}; choose one with variant=...")
        return next(iter(found.items()))
    if path.is_file() and not is_archive(path):
        raise DatasetError(f"{path} is neither a folder nor a .tgz, .tar or .zip archive.")
    name = variant or _variant_of(path)
    if name is None:
        raise DatasetError(
            f"The name {path.name!r} does not say which LFW this is; add variant=... ({', '.join(VARIANTS)})."
        )
    return name, path


def read_lists(source: Path) -> tuple[People, People]:
    """The training and the test people of View 1, from the lists beside the pictures, else downloaded.

    Raises:
        DatasetNotFoundError: If a list is not there and cannot be downloaded.
        DatasetError: If a list is wrong, or somebody is on both.
    """
    train, test = (parse_people(_find_list(source, name)) for name in (TRAIN_LIST, TEST_LIST))
    if both := sorted(train.keys() & test.keys()):
        raise DatasetError(
            f"{TRAIN_LIST} and {TEST_LIST} share {len(both)} people, the first is {both[0]}; "
            "use the official lists."
        )
    return train, test


def parse_people(path: Path) -> People:
    """Reads one list: the number of people, then a line ``NAME<TAB>IMAGES`` for each of them.

    The lists of Kaggle's copy are read as well: ``name,images``, then a line ``NAME,IMAGES`` for each.

    Raises:
        DatasetError: If the file is not such a list; it names the file and the line.
    """
    advice = "get the official list with 'facehall-prepare lfw --download'."
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not a text file; {advice}") from error
    lines = [line.rstrip("\r") for line in lines]
    while lines and not lines[-1].strip():
        lines.pop()
    tab = "," if lines and lines[0].strip() == CSV_HEADER else "\t"
    if tab == "\t" and not (lines and lines[0].strip().isdecimal()):
        raise DatasetError(f"{path}: the first line must be the number of people; {advice}")
    people: People = {}
    for number, line in enumerate(lines[1:], start=2):
        name, _, images = line.partition(tab)
        if not name or "/" in name or "\\" in name or not images.strip().isdecimal() or int(images) < 1:
            raise DatasetError(
                f"{path}, line {number}: expected NAME<TAB>IMAGES, found {line[:60]!r}; {advice}"
            )
        if name in people:
            raise DatasetError(f"{path}, line {number}: {name} is listed twice; {advice}")
        people[name] = int(images)
    if tab == "\t" and len(people) != int(lines[0]):
        raise DatasetError(f"{path} announces {int(lines[0])} people and lists {len(people)}; {advice}")
    return people


def _listed_ids(
    people: People, present: Collection[str], skipped: Collection[str], list_name: str, source: Path
) -> list[str]:
    """The ids of the listed people's pictures without those skipped; list and pictures must fit."""
    wanted = [f"{person}_{number:04d}" for person, count in people.items() for number in range(1, count + 1)]
    known = {*present, *skipped}
    if missing := [name for name in wanted if name not in known]:
        absent = len({_person(name) for name in missing})
        raise DatasetError(
            f"{list_name} lists {len(missing)} picture(s) of {absent} people that are not in {source}, "
            f"the first is {missing[0]}.jpg; complete the pictures or use the official list."
        )
    if more := sorted(name for name in known.difference(wanted) if _person(name) in people):
        person = _person(more[0])
        raise DatasetError(
            f"{list_name} lists {people[person]} picture(s) of {person}, but {source} also has "
            f"{more[0]}.jpg; remove what does not belong to LFW or use the official list."
        )
    return [name for name in wanted if name in present]


def _items(name: str, source: Path) -> Iterator[Item]:
    for path, content in read_files(source, _is_picture):
        inside = _variant_of(Path(path.parts[0]))
        if inside not in (None, name):
            raise DatasetError(
                f"{source} holds the variant {inside}, not {name}; rename it, so that results say so."
            )
        yield Item(path.stem, str(path), content)


def _is_picture(path: PurePosixPath) -> bool:
    """``NAME/NAME_0001.jpg``, below whatever folder the archive starts with."""
    return (
        path.suffix.lower() == ".jpg"
        and not path.name.startswith(".")
        and path.parent.name == _person(path.stem)
    )


def _person(picture_id: str) -> str:
    return picture_id.rpartition("_")[0]


def _holds_people(folder: Path) -> bool:
    return any((person / f"{person.name}_0001.jpg").is_file() for person in _folders(folder))


def _folders(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if path.is_dir())


def _variants_in(folder: Path) -> dict[str, Path]:
    """Every variant that a folder holds; an unpacked one goes before its archive."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and is_archive(path) and (name := _variant_of(path)):
            found.setdefault(name, path)
    for path in _folders(folder):
        for place in (path, path / path.name):  # Kaggle's copy has the folder twice, one in the other
            if (name := _variant_of(place)) and place.is_dir() and _holds_people(place):
                found[name] = place
    return found


def _variant_of(path: Path) -> str | None:
    """The variant that a file or folder name stands for (``lfw_funneled``, ``lfw-funneled.tgz``)."""
    stem = path.name.lower().split(".")[0].replace("_", "-")
    return stem if stem in VARIANTS else None


def _find_list(source: Path, name: str) -> Path:
    around = [source.parent, source.parent.parent] if source.parent.name == source.name else [source.parent]
    for place in ([source] if source.is_dir() else []) + around + [data_dir() / "lfw"]:
        for path in (place / name, (place / name).with_suffix(".csv")):
            if path.is_file():
                return path
    # Here and not above: nobody who has the lists needs an HTTP client.
    from facehall_env.datasets.download import FILES, fetch

    return fetch(FILES[name], data_dir() / "lfw")
