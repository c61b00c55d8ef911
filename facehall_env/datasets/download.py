"""Fetching LFW: the archives and the lists of View 1, checked, and continued where a transfer was cut off.

The home of LFW (vis-www.cs.umass.edu/lfw) is off the net. The archives of two variants live on figshare,
where scikit-learn fetches them as well; everything else is asked for at the old address and at the Internet
Archive's copy of it. Whatever answers, the checksum decides.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pooch
import requests
from filelock import FileLock
from tqdm import tqdm

from facehall_env.datasets.errors import DatasetError, DatasetNotFoundError

HOME: Final = "http://vis-www.cs.umass.edu/lfw/"
ARCHIVED: Final = f"https://web.archive.org/web/2019id_/{HOME}"
FIGSHARE: Final = "https://ndownloader.figshare.com/files/"
BASE_URL_VARIABLE: Final = "FACEHALL_LFW_URL"
"""Environment variable with the address of a mirror that holds all files under their own names."""
TIMEOUT: Final = (10.0, 60.0)
"""Seconds to wait for a connection, and for the next bytes."""
CHUNK: Final = 1 << 14
"""Bytes at a time; what is lost of a chunk when a transfer breaks off has to come again."""
MAX_CONTINUATIONS: Final = 20


class DownloadError(DatasetNotFoundError):
    """A file cannot be fetched; the message says how to get it by hand."""


@dataclass(frozen=True)
class RemoteFile:
    """One file of LFW.

    Attributes:
        name: Its own name.
        checksum: ``algorithm:hex digest``, as pooch writes it.
        urls: Where to ask for it, in this order.
    """

    name: str
    checksum: str
    urls: Sequence[str]


def _file(name: str, checksum: str, *figshare: str) -> RemoteFile:
    mirrors = [FIGSHARE + number for number in figshare]
    return RemoteFile(name, checksum, (*mirrors, HOME + name, ARCHIVED + name))


# The sha256 of the archives are scikit-learn's, the md5 of the deep-funneled one is torchvision's (there is
# no other); those of the lists were taken of files with torchvision's md5.
FILES: Final[Mapping[str, RemoteFile]] = MappingProxyType(
    {
        file.name: file
        for file in (
            _file(
                "lfw-funneled.tgz",
                "sha256:b47c8422c8cded889dc5a13418c4bc2abbda121092b3533a83306f90d900100a",
                "5976015",
            ),
            _file(
                "lfw.tgz",
                "sha256:055f7d9c632d7370e6fb4afc7468d40f970c34a80d4c6f50ffec63f5a8d536c0",
                "5976018",
            ),
            _file("lfw-deepfunneled.tgz", "md5:68331da3eb755a505a502b5aacb3c201"),
            _file(
                "peopleDevTrain.txt",
                "sha256:2e58df13ba4cc143189336e001cc2c195f1dfa5b29a6475c02857be353c2a2fa",
            ),
            _file(
                "peopleDevTest.txt", "sha256:c3ed1f90499473401542101a56c14c1d82396bb8218c67a356d7460601047555"
            ),
        )
    }
)
LISTS: Final = ("peopleDevTrain.txt", "peopleDevTest.txt")


def download_lfw(
    destination: Path,
    variant: str = "lfw-funneled",
    *,
    base_url: str | None = None,
    progress: bool | None = None,
) -> Path:
    """Fetches the archive of one variant and the lists of View 1; what is there and right stays as it is.

    Args:
        destination: Folder to put them in.
        variant: ``lfw-funneled`` (the paper's), ``lfw-deepfunneled`` or ``lfw``.
        base_url: Address of a mirror to ask in place of the usual ones; ``$FACEHALL_LFW_URL`` by default.
        progress: Show progress bars; None shows them on a terminal only.

    Returns:
        Path of the archive.

    Raises:
        DownloadError: If a file cannot be fetched; it names all that were tried for.
    """
    archive = f"{variant}.tgz"
    if archive not in FILES:
        raise DatasetError(f"There is no LFW archive {archive!r} to download.")
    # The lists are small: a missing network shows before 100 megabytes have gone over it.
    for name in (*LISTS, archive):
        fetch(FILES[name], destination, base_url=base_url, progress=progress)
    return destination / archive


def fetch(
    file: RemoteFile, destination: Path, *, base_url: str | None = None, progress: bool | None = None
) -> Path:
    """Fetches one file unless it is there already, asking one address after the other.

    Raises:
        DownloadError: If no address gives the right bytes.
    """
    base_url = base_url or os.environ.get(BASE_URL_VARIABLE)
    if base_url:
        file = replace(file, urls=(f"{base_url.rstrip('/')}/{file.name}",))
    there = destination / file.name
    if there.is_file() and pooch.hashes.hash_matches(str(there), file.checksum):
        return there  # before the lock, as the folder may be read-only
    destination.mkdir(parents=True, exist_ok=True)
    failures = []
    with FileLock(destination / f".{file.name}.lock"):
        for url in file.urls:
            try:
                return _retrieve(url, file, destination, progress)
            except (requests.RequestException, OSError, ValueError) as error:
                failures.append(f"{url}: {_reason(error)}")
    reasons = "".join(f"\n  {failure}" for failure in failures)
    raise DownloadError(
        f"{file.name} could not be downloaded. Get it by hand (any copy with the {file.checksum}) and put it "
        f"into {destination}, set {BASE_URL_VARIABLE} to the address of a mirror, or give the folder of an "
        f"unpacked copy of LFW with its lists as root.{reasons}"
    )


def _retrieve(url: str, file: RemoteFile, destination: Path, progress: bool | None) -> Path:
    """Fetches from one address; raises a ValueError if what comes has the wrong checksum."""
    download = _Download(destination / f"{file.name}.part", progress)
    try:
        return Path(pooch.retrieve(url, file.checksum, file.name, destination, downloader=download))
    except ValueError:
        if not download.continued:
            raise
        # The part on disk may have been of another file; pooch has thrown it away, so this starts anew.
        return Path(pooch.retrieve(url, file.checksum, file.name, destination, downloader=download))


class _Download:
    """Downloads into a part file that outlives a failure, in the form that pooch wants of a downloader.

    Attributes:
        continued: Whether the last download started from a part that was there before.
    """

    def __init__(self, part: Path, progress: bool | None) -> None:
        self.part = part
        self.continued = False
        self._disable = None if progress is None else not progress

    def __call__(self, url: str, output_file: str, _: Any) -> None:
        """Gets the file whole, taking up a cut-off transfer as long as every attempt brings something."""
        for _attempt in range(MAX_CONTINUATIONS):
            before = self._size()
            try:
                self._transfer(url)
                break
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError):
                if self._size() <= before:
                    raise
        else:
            raise OSError(f"the transfer was cut off {MAX_CONTINUATIONS} times")
        self.part.replace(output_file)

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _transfer(self, url: str) -> None:
        start = self._size()
        # Without this header a server may compress on the fly, and then offsets mean nothing.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable and start:
                if response.headers.get("Content-Range") == f"bytes */{start}":
                    self.continued = True
                    return  # nothing was missing but the renaming
                self.part.unlink()  # of another file, and longer than this one
                self._transfer(url)
                return
            response.raise_for_status()
            resuming = response.status_code == requests.codes.partial_content and response.headers.get(
                "Content-Range", ""
            ).startswith(f"bytes {start}-")
            self.continued = self.continued or resuming
            start = start if resuming else 0
            length = response.headers.get("Content-Length")
            total = None if length is None else start + int(length)
            with (
                self.part.open("ab" if resuming else "wb") as file,
                tqdm(
                    desc=self.part.stem,
                    initial=start,
                    total=total,
                    unit="B",
                    unit_scale=True,
                    unit_divisor=1024,
                    mininterval=0.3,
                    disable=self._disable,
                ) as bar,
            ):
                for chunk in response.iter_content(CHUNK):
                    file.write(chunk)
                    bar.update(len(chunk))
            if total is not None and self._size() != total:
                raise requests.exceptions.ChunkedEncodingError(f"{self._size():,} of {total:,} bytes came")


def _reason(error: Exception) -> str:
    """A failure in few words: urllib3's chains of causes fill a screen."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the transfer was cut off; what came is kept, and the next try goes on from there"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    if isinstance(error, ValueError) and not isinstance(error, requests.RequestException):
        return "what came has the wrong checksum"
    return str(error)
