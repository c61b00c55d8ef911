"""Reading folders and archives: the same files from each, and nothing from broken or hostile archives."""

import io
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facehall_env.datasets.errors import DatasetError, DatasetNotFoundError, UnsafeArchiveError
from facehall_env.datasets.sources import MAX_MEMBER_BYTES, fingerprint, read_files

from .samples import pack, write_files

FILES = {
    "b/two.jpg": b"2" * 3000,
    "a/one.jpg": bytes(range(256)),
    "a/readme.txt": b"not wanted",
    "c.jpg": b"",
}


def is_jpg(path: os.PathLike[str]) -> bool:
    return str(path).endswith(".jpg")


def wanted_files() -> dict[str, bytes]:
    return {name: content for name, content in FILES.items() if is_jpg(name)}


@pytest.mark.parametrize("name", ["x.tar", "x.tgz", "x.tar.gz", "x.tar.bz2", "x.tar.xz", "x.zip"])
def test_an_archive_reads_like_the_folder_it_was_made_of(tmp_path: Path, name: str) -> None:
    from_archive = {str(path): content for path, content in read_files(pack(tmp_path / name, FILES), is_jpg)}
    from_folder = {
        str(path): content for path, content in read_files(write_files(tmp_path / "f", FILES), is_jpg)
    }
    assert from_archive == from_folder == wanted_files()


def test_a_folder_is_read_in_sorted_order(tmp_path: Path) -> None:
    write_files(tmp_path, {f"{k}.jpg": b"" for k in ("b", "a", "c", "B", "a1")})
    names = [str(path) for path, _ in read_files(tmp_path, is_jpg)]
    assert names == sorted(names)
    assert len(names) == 5


def test_an_unreadable_file_does_not_hide_the_others(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.jpg": b"a", "c.jpg": b"c"})
    (tmp_path / "b.jpg").symlink_to(tmp_path / "nowhere.jpg")
    contents = {str(path): content for path, content in read_files(tmp_path, is_jpg)}
    assert isinstance(contents.pop("b.jpg"), FileNotFoundError)
    assert contents == {"a.jpg": b"a", "c.jpg": b"c"}
    assert fingerprint(tmp_path, is_jpg)["files"] == 3


@pytest.mark.parametrize(
    "name", ["../evil.jpg", "a/../../evil.jpg", "/evil.jpg", "..\\evil.jpg", "C:\\evil.jpg"]
)
@pytest.mark.parametrize("archive", ["x.tgz", "x.zip"])
def test_a_member_that_leaves_the_archive_is_refused(tmp_path: Path, archive: str, name: str) -> None:
    path = pack(tmp_path / "in" / archive, {"good.jpg": b"", name: b"evil"})
    with pytest.raises(UnsafeArchiveError, match="evil"):
        list(read_files(path, is_jpg))
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    path = tmp_path / "x.tgz"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("odd.jpg")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(UnsafeArchiveError, match=r"odd\.jpg"):
        list(read_files(path, is_jpg))


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("odd.jpg")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(UnsafeArchiveError, match=r"odd\.jpg"):
        list(read_files(tmp_path / "x.zip", is_jpg))


def test_a_decompression_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    member = tarfile.TarInfo("bomb.jpg")
    member.size = MAX_MEMBER_BYTES + 1
    (tmp_path / "x.tar").write_bytes(member.tobuf())  # only the header: refusing needs no more
    with pytest.raises(UnsafeArchiveError, match=r"bomb\.jpg"):
        list(read_files(tmp_path / "x.tar", is_jpg))


@settings(max_examples=60, deadline=None)
@given(
    kept=st.floats(0, 1, exclude_max=True), name=st.sampled_from(["x.tgz", "x.tar.xz", "x.tar.bz2", "x.zip"])
)
def test_a_cut_off_archive_is_an_error_wherever_it_is_cut(
    tmp_path_factory: pytest.TempPathFactory, kept: float, name: str
) -> None:
    noise = np.random.default_rng(0).bytes(
        5000
    )  # incompressible, so that every part of the archive is needed
    path = pack(tmp_path_factory.mktemp("cut") / name, {"a.jpg": noise, "b.jpg": noise[::-1]})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(DatasetError, match=r"damaged or cut off|cannot be read"):
        list(read_files(path, is_jpg))


@pytest.mark.parametrize("name", ["x.tgz", "x.tar.xz", "x.tar.bz2", "x.zip"])
def test_a_changed_byte_in_an_archive_is_an_error(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).bytes(20_000)
    path = pack(tmp_path / name, {"a.jpg": noise})
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(DatasetError, match=r"damaged or cut off|cannot be read"):
        list(read_files(path, is_jpg))


@settings(max_examples=60, deadline=None)
@given(kept=st.integers(0, 2 * 512 + 2 * 5120))
def test_a_plain_tar_that_lost_a_part_of_a_file_is_an_error(
    tmp_path_factory: pytest.TempPathFactory, kept: int
) -> None:
    files = {"a.jpg": bytes(range(256)) * 20, "b.jpg": bytes(5120)}
    path = pack(tmp_path_factory.mktemp("cut") / "x.tar", files)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DatasetError, match=r"damaged or cut off|cannot be read"):
        list(read_files(path, is_jpg))


def test_a_broken_header_in_a_plain_tar_is_an_error(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.tar", {"a.jpg": b"a" * 512, "b.jpg": b"b" * 512})
    assert len(list(read_files(path, is_jpg))) == 2
    content = bytearray(path.read_bytes())
    content[2 * 512 + 150] ^= 1  # in the checksum of the second member's header
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="damaged or cut off"):
        list(read_files(path, is_jpg))


def test_an_encrypted_zip_is_an_error(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.jpg", b"secret")
    content = bytearray(buffer.getvalue())
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(header) + flags] |= 1
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(DatasetError, match="encrypted"):
        list(read_files(tmp_path / "x.zip", is_jpg))


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="nothing-here"):
        list(read_files(tmp_path / "nothing-here", is_jpg))


def test_the_fingerprint_follows_the_wanted_files_only(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.jpg": b"one", "b.jpg": b"two"})
    seen = [fingerprint(tmp_path, is_jpg)]
    write_files(tmp_path, {"notes.txt": b"no picture"})
    assert fingerprint(tmp_path, is_jpg) == seen[0]
    (tmp_path / "a.jpg").write_bytes(b"three")
    seen.append(fingerprint(tmp_path, is_jpg))
    os.utime(tmp_path / "a.jpg", ns=(0, 12345))
    seen.append(fingerprint(tmp_path, is_jpg))
    (tmp_path / "a.jpg").rename(tmp_path / "c.jpg")
    seen.append(fingerprint(tmp_path, is_jpg))
    (tmp_path / "b.jpg").unlink()
    seen.append(fingerprint(tmp_path, is_jpg))
    assert len({str(stamp) for stamp in seen}) == len(seen)
