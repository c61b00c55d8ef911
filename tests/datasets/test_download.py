"""Downloads from a real server on loopback: whole, cut off and continued, wrong, and not at all."""

import hashlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from facehall_env.datasets import download, load_dataset
from facehall_env.datasets.download import DownloadError, RemoteFile, download_lfw, fetch
from facehall_env.datasets.errors import DatasetError
from facehall_env.datasets.prepare import main

from .samples import TEST, TRAIN, pack, people_list

CONTENT = np.random.default_rng(0).bytes(1_000_000)


class Mirror(ThreadingHTTPServer):
    """Serves files from memory.

    Attributes:
        files: Content by name.
        ranges: Whether it answers a Range request with a part.
        cut_at: Bytes after which a transfer breaks off, one entry a transfer.
        log: Name and Range header of every request.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {"file.bin": CONTENT}
        self.ranges = True
        self.cut_at: list[int] = []
        self.log: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        name, asked = self.path.strip("/"), self.headers["Range"]
        self.server.log.append((name, asked))
        content = self.server.files.get(name)
        if content is None:
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.ranges else 0
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = start + self.server.cut_at.pop(0) if self.server.cut_at else len(content)
        self.wfile.write(content[start:end])
        if end < len(content):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    server = Mirror()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def remote(content: bytes = CONTENT, name: str = "file.bin", *urls: str) -> RemoteFile:
    return RemoteFile(name, f"sha256:{hashlib.sha256(content).hexdigest()}", urls)


def test_a_file_comes_whole_and_alone(mirror: Mirror, tmp_path: Path) -> None:
    path = fetch(remote(), tmp_path / "new", base_url=mirror.url)
    assert path == tmp_path / "new" / "file.bin"
    assert path.read_bytes() == CONTENT
    assert [file.name for file in path.parent.iterdir() if not file.name.endswith(".lock")] == ["file.bin"]


def test_a_file_that_is_there_is_not_asked_for(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(CONTENT)
    fetch(remote(), tmp_path, base_url=mirror.url)
    assert mirror.log == []


def test_a_wrong_file_that_is_there_is_replaced(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(CONTENT[:-1])
    assert fetch(remote(), tmp_path, base_url=mirror.url).read_bytes() == CONTENT


def test_a_transfer_that_breaks_off_is_continued_where_it_broke(mirror: Mirror, tmp_path: Path) -> None:
    mirror.cut_at = [300_000, 500_000]
    assert fetch(remote(), tmp_path, base_url=mirror.url).read_bytes() == CONTENT
    starts = [int(asked.removeprefix("bytes=").rstrip("-")) for _, asked in mirror.log if asked]
    assert len(mirror.log) == 3
    assert 0 < starts[0] <= 300_000 < starts[1] <= 800_000


def test_the_part_of_an_earlier_run_is_continued(mirror: Mirror, tmp_path: Path) -> None:
    mirror.cut_at = [300_000] + [0] * 5  # breaks off, and then nothing comes any more
    with pytest.raises(DownloadError, match="cut off; what came is kept"):
        fetch(remote(), tmp_path, base_url=mirror.url)
    part = (tmp_path / "file.bin.part").stat().st_size
    assert 0 < part <= 300_000
    mirror.cut_at, mirror.log = [], []
    assert fetch(remote(), tmp_path, base_url=mirror.url).read_bytes() == CONTENT
    assert mirror.log == [("file.bin", f"bytes={part}-")]


def test_a_part_is_continued_from_another_address(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FACEHALL_LFW_URL")
    mirror.files["other.bin"] = CONTENT
    mirror.cut_at = [300_000, 0]
    file = remote(
        CONTENT, "file.bin", f"{mirror.url}/file.bin", f"{mirror.url}/missing", f"{mirror.url}/other.bin"
    )
    assert fetch(file, tmp_path).read_bytes() == CONTENT
    assert [name for name, _ in mirror.log] == ["file.bin", "file.bin", "missing", "other.bin"]
    assert mirror.log[-1][1] is not None


def test_a_server_that_cannot_continue_starts_over(mirror: Mirror, tmp_path: Path) -> None:
    mirror.ranges = False
    mirror.cut_at = [300_000]
    assert fetch(remote(), tmp_path, base_url=mirror.url).read_bytes() == CONTENT


@pytest.mark.parametrize("size", [400_000, 1_000_000, 2_000_000])
def test_a_part_of_something_else_is_thrown_away(mirror: Mirror, tmp_path: Path, size: int) -> None:
    (tmp_path / "file.bin.part").write_bytes(b"x" * size)
    assert fetch(remote(), tmp_path, base_url=mirror.url).read_bytes() == CONTENT
    assert not (tmp_path / "file.bin.part").exists()


def test_a_part_that_is_already_whole_needs_no_more_bytes(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    assert fetch(remote(), tmp_path, base_url=mirror.url).read_bytes() == CONTENT
    assert len(mirror.log) == 1


def test_a_wrong_checksum_is_an_error_and_leaves_nothing(mirror: Mirror, tmp_path: Path) -> None:
    mirror.files["file.bin"] = b"<html>Please log in.</html>"
    with pytest.raises(DownloadError, match=r"file\.bin: what came has the wrong checksum"):
        fetch(remote(), tmp_path, base_url=mirror.url)
    assert len(mirror.log) == 1
    assert [file.name for file in tmp_path.iterdir() if not file.name.endswith(".lock")] == []


def test_without_network_the_message_says_what_to_get_and_where_to_put_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        download_lfw(tmp_path)
    message = str(caught.value)
    assert "peopleDevTrain.txt could not be downloaded. Get it by hand" in message
    assert download.FILES["peopleDevTrain.txt"].checksum in message
    assert f"put it into {tmp_path}" in message
    assert "http://127.0.0.1:9/peopleDevTrain.txt: no connection" in message


def test_a_missing_file_is_reported_with_its_status(mirror: Mirror, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"nothing\.bin: HTTP 404"):
        fetch(remote(CONTENT, "nothing.bin"), tmp_path, base_url=mirror.url)


def test_a_progress_bar_counts_bytes(
    mirror: Mirror, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(remote(), tmp_path / "a", base_url=mirror.url, progress=False)
    assert "file.bin:" not in capsys.readouterr().err
    fetch(remote(), tmp_path / "b", base_url=mirror.url, progress=True)
    assert "977k/977k" in capsys.readouterr().err


def test_every_file_of_lfw_has_a_checksum_and_addresses() -> None:
    assert set(download.FILES) == {f"{v}.tgz" for v in ("lfw", "lfw-funneled", "lfw-deepfunneled")} | {
        *download.LISTS
    }
    for file in download.FILES.values():
        algorithm, digest = file.checksum.split(":")
        assert len(bytes.fromhex(digest)) == {"md5": 16, "sha256": 32}[algorithm]
        assert all(url.startswith(("http://", "https://")) for url in file.urls)
    with pytest.raises(DatasetError, match=r"no LFW archive 'lfwa\.tgz'"):
        download_lfw(Path("unused"), "lfwa")


@pytest.mark.parametrize("name", ["peopleDevTrain.txt", "peopleDevTest.txt"])
def test_the_checksums_of_the_lists_are_those_of_the_real_ones(lfw_root: Path, name: str) -> None:
    digest = hashlib.sha256((lfw_root / name).read_bytes()).hexdigest()
    assert download.FILES[name].checksum == f"sha256:{digest}"


def test_the_command_downloads_prepares_and_leaves_a_data_set_to_load(
    mirror: Mirror,
    tmp_path: Path,
    data_folder: Path,
    lfw_pictures: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    archive = pack(tmp_path / "lfw.tgz", {f"lfw_funneled/{k}": v for k, v in lfw_pictures.items()})
    mirror.files = {
        "lfw-funneled.tgz": archive.read_bytes(),
        "peopleDevTrain.txt": people_list(TRAIN),
        "peopleDevTest.txt": people_list(TEST),
    }
    files = {name: remote(content, name) for name, content in mirror.files.items()}
    monkeypatch.setattr(download, "FILES", MappingProxyType(files))
    mirror.cut_at = [10**9, 10**9, 50_000]
    assert main(["lfw", "--download", "--base-url", mirror.url]) == 0
    assert "lfw-funneled: 10 pictures of (128, 128, 3)" in capsys.readouterr().out
    assert (data_folder / "lfw" / "lfw-funneled.tgz").is_file()
    faces = load_dataset("lfw", split="test")
    assert (faces.name, len(faces)) == ("lfw-funneled", 3)


def test_lists_that_are_missing_beside_the_pictures_are_downloaded(
    mirror: Mirror, small_lfw: Path, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = people_list(TEST)
    (small_lfw / "peopleDevTest.txt").unlink()
    mirror.files = {"peopleDevTest.txt": content}
    files = {"peopleDevTest.txt": remote(content, "peopleDevTest.txt")}
    monkeypatch.setattr(download, "FILES", MappingProxyType(files))
    monkeypatch.setenv("FACEHALL_LFW_URL", f"{mirror.url}/")
    assert len(load_dataset("lfw", root=small_lfw, split="test")) == 3
    assert (data_folder / "lfw" / "peopleDevTest.txt").read_bytes() == content
