"""Files read one after the other from a folder, a tar archive or a zip archive, without unpacking anything.

Nothing is ever written under a name that an archive gives. Members with a name that leaves the archive, links
and devices are refused all the same: an archive that holds one is not the data set it claims to be.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from facehall_env.datasets.errors import DatasetError, DatasetNotFoundError, UnsafeArchiveError

TAR_SUFFIXES: Final = (".tar", ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz")
ARCHIVE_SUFFIXES: Final = (*TAR_SUFFIXES, ".zip")
MAX_MEMBER_BYTES: Final = 1 << 28
"""A picture file of more than 256 MiB is taken for a decompression bomb."""

Wanted = Callable[[PurePosixPath], bool]
Content = bytes | OSError
"""What a file holds, or why it cannot be read: one unreadable file must not hide the others."""


def is_archive(path: Path) -> bool:
    """Whether the file name is one of an archive that can be read."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def fingerprint(source: Path, wanted: Wanted) -> dict[str, int | str]:
    """A key that changes when the source does: sizes and modification times, without reading a picture.

    Args:
        source: A folder or an archive.
        wanted: Which files of a folder count, by their path relative to it.

    Returns:
        JSON-able numbers; for a folder the number of files and a hash over their names, sizes and times.
    """
    if source.is_dir():
        digest, count = hashlib.sha256(), 0
        for name, path in _walk(source, wanted):
            try:
                stat = path.stat()
                state = f"{stat.st_size}\0{stat.st_mtime_ns}"
            except OSError:  # a link to nowhere; reading it will say so
                state = "unreadable"
            digest.update(f"{name}\0{state}\n".encode("utf-8", "surrogateescape"))
            count += 1
        return {"files": count, "sha256": digest.hexdigest()}
    stat = source.stat()
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def read_files(source: Path, wanted: Wanted) -> Iterator[tuple[PurePosixPath, Content]]:
    """Yields path and content of every wanted file: a folder's in sorted order, an archive's in its own.

    Args:
        source: A folder (read recursively, links to folders are not followed), a tar archive (plain, gzip,
            bzip2, xz; read once from start to end) or a zip archive.
        wanted: Which files to read, by their path relative to the source.

    Raises:
        DatasetNotFoundError: If there is no such folder or file.
        UnsafeArchiveError: If a member's name leaves the archive, or a member is a link or a device.
        DatasetError: If the archive is damaged or cut off.
    """
    if source.is_dir():
        for name, path in _walk(source, wanted):
            try:
                content: Content = path.read_bytes()
            except OSError as error:
                content = error
            yield name, content
        return
    if not source.is_file():
        raise DatasetNotFoundError(
            f"{source} does not exist; give the folder or the archive that holds the pictures."
        )
    try:
        yield from (_read_zip if source.name.lower().endswith(".zip") else _read_tar)(source, wanted)
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        gzip.BadGzipFile,
        lzma.LZMAError,
        zlib.error,
        EOFError,
        RuntimeError,  # zipfile: a member is encrypted
        NotImplementedError,  # zipfile: a compression it does not know
    ) as error:
        raise DatasetError(f"{source} is damaged or cut off ({error}); download or copy it again.") from error
    except OSError as error:
        raise DatasetError(f"{source} cannot be read ({error.strerror or error}).") from error


def _walk(folder: Path, wanted: Wanted) -> Iterator[tuple[PurePosixPath, Path]]:
    """Sorted, so that the same folder gives the same order everywhere."""

    def refuse(error: OSError) -> None:
        raise DatasetError(
            f"{error.filename} cannot be listed ({error.strerror or error}); make it readable, or move it."
        ) from error

    for directory, folders, files in os.walk(folder, onerror=refuse):
        folders.sort()
        for file in sorted(files):
            path = Path(directory, file)
            name = PurePosixPath(path.relative_to(folder).as_posix())
            if wanted(name):
                yield name, path


def _read_tar(source: Path, wanted: Wanted) -> Iterator[tuple[PurePosixPath, bytes]]:
    # Not the stream mode "r|*": it takes gzip data apart by itself and never looks at their checksum.
    with tarfile.open(source, "r:*") as archive:
        for member in archive:
            if not (member.isreg() or member.isdir()):
                kind = "a link" if member.islnk() or member.issym() else "a device"
                raise UnsafeArchiveError(
                    f"{source}: member {member.name!r} is {kind}; use the official archive."
                )
            name = _safe_name(source, member.name)
            if member.isreg() and wanted(name):
                _check_size(source, member.name, member.size)
                content = archive.extractfile(member)
                assert content is not None  # a regular file has content
                blob = content.read()
                if len(blob) != member.size:
                    raise EOFError(f"{member.name} ends early")
                yield name, blob
        if archive.fileobj is not None and not _ends_properly(archive):
            raise EOFError("it stops before the mark of its end")
        while archive.fileobj is not None and archive.fileobj.read(1 << 20):
            pass  # the checksum of a compressed archive comes after its last member


def _ends_properly(archive: tarfile.TarFile) -> bool:
    """Whether the members ended at a block of zeros; tarfile takes a broken header for the end, too."""
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    return archive.fileobj.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE)


def _read_zip(source: Path, wanted: Wanted) -> Iterator[tuple[PurePosixPath, bytes]]:
    with zipfile.ZipFile(source) as archive:
        for info in archive.infolist():
            if (info.external_attr >> 16) & 0o170000 == 0o120000:
                raise UnsafeArchiveError(
                    f"{source}: member {info.filename!r} is a link; use the official archive."
                )
            name = _safe_name(source, info.filename)
            if not info.is_dir() and wanted(name):
                _check_size(source, info.filename, info.file_size)
                yield name, archive.read(info)


def _safe_name(source: Path, name: str) -> PurePosixPath:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
        raise UnsafeArchiveError(
            f"{source}: member {name!r} would be written outside of the folder it is unpacked to; "
            "do not trust this archive and use the official one."
        )
    return path


def _check_size(source: Path, name: str, size: int) -> None:
    if size > MAX_MEMBER_BYTES:
        raise UnsafeArchiveError(
            f"{source}: member {name!r} has {size:,} bytes, which no picture of a face needs."
        )
