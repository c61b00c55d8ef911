"""Pictures decoded once into a memory-mapped array, with an index that says what they are.

A cache is a folder of two files: ``pixels-*.npy`` (uint8, (N, H, W, C)) and ``index.json`` (ids, source,
crop, format, fingerprint of the source, checksums). The index is written last and moved into place in one
step, and it names the pixel file it belongs to, so that a reader sees the old cache or the new one and never
a mixture, without taking a lock. The lock keeps two processes from doing the same work twice.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import secrets
import sys
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from platformdirs import user_cache_path
from tqdm import tqdm

from facehall_env.datasets.decoding import strict_decoding
from facehall_env.datasets.errors import BadPictureError, BadPicturesError, DatasetError
from facehall_env.datasets.sources import Wanted, fingerprint

FORMAT: Final = 1
SAMPLED_ROWS: Final = 64
"""Rows whose checksum is compared when a cache is opened; all others are checked when they are first read."""
INDEX: Final = "index.json"
ABANDONED_AFTER: Final = 3600.0
"""Seconds without a write after which a part file is taken for the remains of a killed process."""
UNWRITABLE: Final = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}
)


class CacheError(DatasetError):
    """A cache is damaged."""


class Item(NamedTuple):
    """One picture to decode: its id, the file to name in an error, and the content that ``decode`` wants."""

    id: str
    file: str
    data: Any


class Skipped(NamedTuple):
    """One picture that was left out: the id it would have had, its file, and why."""

    id: str
    file: str
    reason: str


@dataclass(frozen=True)
class Recipe:
    """How one source becomes one cache.

    Attributes:
        name: Name of the data set, the beginning of the cache folder's name.
        source: Folder or archive that is read.
        crop: What is cut out and how, JSON-able; another crop is another cache.
        shape: (H, W, C) of every picture.
        wanted: Which files of the source count for its fingerprint.
        items: Reads the source and yields what is to be decoded.
        decode: Turns one item into uint8 pixels of ``shape``; called from several threads.
        expected: Number of pictures where it is known beforehand, for the progress bar.
    """

    name: str
    source: Path
    crop: Mapping[str, Any]
    shape: tuple[int, int, int]
    wanted: Wanted
    items: Callable[[], Iterator[Item]]
    decode: Callable[[Item], NDArray[np.uint8]]
    expected: int | None = None

    @property
    def directory(self) -> Path:
        """Where the cache of this source and crop lies."""
        key = json.dumps([FORMAT, self.name, str(self.source.resolve()), dict(self.crop)], sort_keys=True)
        return data_dir() / "cache" / f"{self.name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


@dataclass
class FaceCache:
    """A finished cache, open for reading.

    Pickling keeps the path and not the pixels: the copy maps the same file again.

    Attributes:
        directory: Folder of the cache.
        index: Content of ``index.json``.
        ids: Id of every row.
        rows: Row of every id.
        skipped: What was left out on request.
    """

    directory: Path
    index: dict[str, Any]
    ids: list[str] = field(init=False)
    rows: dict[str, int] = field(init=False)
    skipped: list[Skipped] = field(init=False)

    def __post_init__(self) -> None:
        self.ids = self.index["ids"]
        self.skipped = [Skipped(*entry) for entry in self.index["skipped"]]
        self.rows = {name: row for row, name in enumerate(self.ids)}
        self._open()

    def _open(self) -> None:
        path = self.directory / self.index["pixels"]
        if path.stat().st_size != self.index["bytes"]:
            raise CacheError(f"{path} has {path.stat().st_size:,} bytes instead of {self.index['bytes']:,}.")
        self._pixels: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
        if self._pixels.dtype != np.uint8 or list(self._pixels.shape) != self.index["shape"]:
            raise CacheError(f"{path} does not hold what {INDEX} says.")
        self._checked = np.zeros(len(self.ids), dtype=bool)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_pixels", "_checked")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C) of every picture."""
        _, height, width, channels = self._pixels.shape
        return height, width, channels

    def read(self, row: int) -> NDArray[np.uint8]:
        """A fresh copy of one picture, uint8 (H, W, C), its checksum compared the first time it is read.

        Raises:
            CacheError: If the pixels on disk have changed since they were written.
        """
        picture = np.array(self._pixels[row])
        if not self._checked[row]:
            if zlib.crc32(picture.data) != self.index["crc32"][row]:
                raise CacheError(
                    f"{self.directory} is damaged at {self.ids[row]!r}; delete that folder, "
                    "it is built again when needed."
                )
            self._checked[row] = True
        return picture

    def verify(self, rows: Iterator[int] | range | None = None) -> None:
        """Compares the checksums of the given rows, of all by default.

        Raises:
            CacheError: At the first row that differs.
        """
        for row in range(len(self)) if rows is None else rows:
            self.read(row)


def data_dir() -> Path:
    """Where downloads and caches lie: ``$FACEHALL_DATA``, else the user's cache folder of this platform."""
    override = os.environ.get("FACEHALL_DATA")
    return Path(override).expanduser() if override else user_cache_path("facehall", appauthor=False)


def open_cache(
    recipe: Recipe,
    *,
    skip_bad: bool = False,
    rebuild: bool = False,
    workers: int | None = None,
    progress: bool | None = None,
) -> FaceCache:
    """Opens the cache of a recipe, building it first where it is missing, outdated or damaged.

    Args:
        recipe: What to read and how.
        skip_bad: Leave out pictures that cannot be used, and record them; without it they are an error.
        rebuild: Build even if there is a good cache.
        workers: Decoding threads, the number of processors by default.
        progress: Show a progress bar while building; None shows it on a terminal only.

    Raises:
        BadPicturesError: If pictures cannot be used and ``skip_bad`` is not set; it names all of them.
        DatasetError: If the source holds no picture at all, or the cache folder cannot be written.
    """
    stamp = fingerprint(recipe.source, recipe.wanted)
    if not rebuild and (cache := _open_existing(recipe, stamp)) is not None:
        return cache
    try:
        recipe.directory.mkdir(parents=True, exist_ok=True)
        with _exclusive(recipe.directory):
            if not rebuild and (cache := _open_existing(recipe, stamp)) is not None:
                return cache  # another process has built it while this one waited
            return _build(recipe, stamp, skip_bad=skip_bad, workers=workers, progress=progress)
    except OSError as error:
        if error.errno in UNWRITABLE:
            raise DatasetError(
                f"The cache {recipe.directory} cannot be written ({error.strerror}); "
                "set the environment variable FACEHALL_DATA to a folder with room for it."
            ) from error
        raise


def _open_existing(recipe: Recipe, stamp: Mapping[str, int | str]) -> FaceCache | None:
    """The cache if it is there, whole, of this format and of the source as it is now; else None."""
    try:
        index = json.loads((recipe.directory / INDEX).read_text(encoding="utf-8"))
        if index["format"] != FORMAT or index["fingerprint"] != stamp:
            return None
        cache = FaceCache(recipe.directory, index)
        if cache.shape != recipe.shape:
            return None
        count = len(cache)
        cache.verify(iter(sorted({row * (count - 1) // SAMPLED_ROWS for row in range(SAMPLED_ROWS + 1)})))
    except (OSError, ValueError, KeyError, TypeError, EOFError, IndexError):
        return None  # missing or damaged: in both cases it is built anew
    return cache


@contextmanager
def _exclusive(directory: Path) -> Iterator[None]:
    """Holds the lock of a cache folder, and says so where it has to wait for it."""
    lock = FileLock(directory / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print("Waiting for another process that prepares the same pictures.", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _build(
    recipe: Recipe,
    stamp: Mapping[str, int | str],
    *,
    skip_bad: bool,
    workers: int | None,
    progress: bool | None,
) -> FaceCache:
    pixels = f"pixels-{secrets.token_hex(8)}.npy"
    temporary = recipe.directory / f"{pixels}.part"
    ids: dict[str, None] = {}
    checksums: list[int] = []
    skipped: list[Skipped] = []
    try:
        with temporary.open("wb") as file:
            file.write(_npy_header(0, recipe.shape))
            for item, outcome in _decoded(recipe, workers, progress):
                if not isinstance(outcome, str) and item.id in ids:
                    outcome = f"there is a second picture with the id {item.id!r}"
                if isinstance(outcome, str):
                    skipped.append(Skipped(item.id, item.file, outcome))
                    continue
                file.write(outcome.data)
                ids[item.id] = None
                checksums.append(zlib.crc32(outcome.data))
            if skipped and not skip_bad:
                raise BadPicturesError(recipe.source, {file: reason for _, file, reason in skipped})
            if not ids:
                raise DatasetError(f"There is no usable picture of {recipe.name} in {recipe.source}.")
            file.seek(0)
            file.write(_npy_header(len(ids), recipe.shape))
            # No fsync, which takes minutes on a busy disk: the checksums find what a power cut leaves undone.
        index = {
            "format": FORMAT,
            "name": recipe.name,
            "source": str(recipe.source.resolve()),
            "crop": dict(recipe.crop),
            "fingerprint": dict(stamp),
            "shape": [len(ids), *recipe.shape],
            "pixels": pixels,
            "bytes": temporary.stat().st_size,
            "ids": list(ids),
            "crc32": checksums,
            "skipped": skipped,
        }
        temporary.replace(recipe.directory / pixels)
        _write_atomically(recipe.directory / INDEX, json.dumps(index).encode())
    finally:
        temporary.unlink(missing_ok=True)
    _sweep(recipe.directory, keep=pixels)
    return FaceCache(recipe.directory, index)


def _decoded(
    recipe: Recipe, workers: int | None, progress: bool | None
) -> Iterator[tuple[Item, NDArray[np.uint8] | str]]:
    """Yields every item with its pixels, or with the reason why it has none, in the order of the source."""
    workers = workers or os.cpu_count() or 1
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    bar = tqdm(
        desc=recipe.name,
        total=recipe.expected,
        unit="picture",
        mininterval=0.3,
        disable=None if progress is None else not progress,
    )
    window: deque[tuple[Item, Future[NDArray[np.uint8]]]] = deque()

    def oldest() -> tuple[Item, NDArray[np.uint8] | str]:
        item, future = window.popleft()
        bar.update()
        try:
            picture = future.result()
        except BadPictureError as error:
            return item, str(error)
        assert picture.shape == recipe.shape
        assert picture.dtype == np.uint8
        return item, np.ascontiguousarray(picture)

    try:
        with strict_decoding(), bar:
            for item in recipe.items():
                window.append((item, pool.submit(recipe.decode, item)))
                if len(window) >= 32 * workers:  # reading runs ahead of decoding, but not out of memory
                    yield oldest()
            while window:
                yield oldest()
            bar.total = bar.n
    finally:
        pool.shutdown(cancel_futures=True)


def _npy_header(count: int, shape: tuple[int, int, int]) -> bytes:
    """The header of a .npy file; numpy pads it so that its length does not depend on ``count``."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "|u1", "fortran_order": False, "shape": (count, *shape)}
    )
    return buffer.getvalue()


def _write_atomically(path: Path, content: bytes) -> None:
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _sweep(directory: Path, keep: str) -> None:
    """Removes pixel files that no index names any more; one that is still mapped stays readable."""
    for path in directory.glob("pixels-*"):
        try:
            # A part file that somebody writes to is young; one that a killed process left is not.
            in_use = path.suffix == ".part" and time.time() - path.stat().st_mtime < ABANDONED_AFTER
            if path.name != keep and not in_use:
                path.unlink()
        except OSError:  # gone already, or mapped on a system that keeps such files: the next sweep will
            continue
