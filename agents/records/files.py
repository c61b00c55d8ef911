"""Files of records: read whole, checked, written at once."""

import errno
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from agents.records.record import Record, RecordError

if sys.platform != "win32":
    import fcntl

_NO_LOCKS: Final = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF)
"""What file systems say that have no locks, as some of clusters, or none for folders, as NFS."""


def load_records(path: str | Path) -> list[Record]:
    """The records of a JSON file.

    Args:
        path: A file that holds a list of objects, one a record.

    Returns:
        The records, in the file's order.

    Raises:
        FileNotFoundError: If there is no such file.
        RecordError: If it is not a list of records, or two of them have the same key; the sentence names the
            file, the place in the list (from 1) and the field.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No records at {path}; evaluate.py writes them")
    try:
        objects = json.loads(path.read_text(encoding="utf-8"), parse_constant=float)
    except ValueError as error:
        raise RecordError(f"{path} is not JSON: {error}") from None
    if not isinstance(objects, list) or not all(isinstance(values, dict) for values in objects):
        raise RecordError(f"{path} does not hold a list of objects, one a record")
    records: dict[tuple[object, ...], Record] = {}
    for place, values in enumerate(objects, start=1):
        try:
            record = Record.from_dict(values)
        except RecordError as error:
            raise RecordError(
                f"{path}, record {place} ({values.get('method', 'no method')}): {error}"
            ) from None
        if record.key in records:
            raise RecordError(
                f"{path}, record {place}: the key {record.key} stands there twice; remove one of them"
            )
        records[record.key] = record
    return list(records.values())


def save_records(path: str | Path, records: Iterable[Record]) -> list[Record]:
    """Write a file of these records and no others, sorted by `Record.order`, and return them in that order.

    Of records with the same key the last one is kept. The file is replaced in one step: a reader sees the old
    one or the new one, and an interruption leaves the old one.
    """
    by_key = {record.key: record for record in records}
    ordered = sorted(by_key.values(), key=lambda record: record.order)
    objects = [record.to_dict() for record in ordered]
    write_atomically(path, json.dumps(objects, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    return ordered


def update_records(path: str | Path, records: Iterable[Record]) -> list[Record]:
    """Put these records into a file: one with the key of an old one replaces it, all others stay as they are.

    Two processes may do so at once with the same file (not on Windows, where nothing locks it).

    Returns:
        All records of the file, in its order.

    Raises:
        RecordError: If the file is there and cannot be read; it is left as it is.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.parent):
        old = load_records(path) if path.exists() else []
        return save_records(path, [*old, *records])


def is_measured(path: str | Path, blank: Record, n: int, *, again: bool = False) -> bool:
    """Whether a file has the record of the same thing, trained alike, on as many images.

    Args:
        path: The file; it need not be there.
        blank: What is to be measured, still without values.
        n: On how many images.
        again: Say no in any case.

    Raises:
        RecordError: As `check_replaceable`.
    """
    old = check_replaceable(path, blank, n)
    return not again and old is not None and old.n == n and old.trained_alike(blank.budget, blank.weights)


def check_replaceable(path: str | Path, blank: Record, n: int) -> Record | None:
    """Refuse what could not be written, or would replace a record of more images.

    Args:
        path: The file; it need not be there.
        blank: What is to be measured, still without values.
        n: On how many images.

    Returns:
        The record that would be replaced, of any training; None if there is none.

    Raises:
        RecordError: If the file has a record of more images, or cannot be read or written.
    """
    _check_writable(Path(path))
    records = load_records(path) if Path(path).exists() else []
    old = next((record for record in records if record.key == blank.key), None)
    if old is not None and old.n > n:
        raise RecordError(
            f"{path} has a record of {old.method} on {old.n:,} images, which one on {n:,} would replace: "
            "name another file for the records, or measure all of them"
        )
    return old


def _check_writable(path: Path) -> None:
    if path.suffix != ".json":
        raise RecordError(
            f"{path} cannot hold records: its name must end in .json, as the images lie in a folder of the "
            "same name without that"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecordError(f"{path} cannot be written ({error}): name another file for the records") from error
    if not os.access(path.parent, os.W_OK):
        raise RecordError(f"{path} cannot be written: {path.parent} may not be changed")


def write_atomically(path: str | Path, text: str) -> None:
    """Write a UTF-8 text file, making its folder, such that no reader ever sees a part of it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, as a rename is atomic only within one file system.
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of a file or folder, which the system drops with the process: no stale lock can remain.

    On Windows, and on file systems that have no locks, nothing is locked.

    Args:
        path: What must be there.
        wait: Wait for whoever holds it.

    Raises:
        BlockingIOError: If somebody else holds it, without `wait`.
    """
    if sys.platform == "win32":
        yield
        return
    # NFS locks for writing only what is open for writing, which folders cannot be
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        yield
    finally:
        os.close(handle)
