"""BioID: pairs of files in any order, aligned crops, and a split that keeps sittings together."""

import random
import shutil
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from facehall_env.datasets import FaceDataset, load_dataset
from facehall_env.datasets.alignment import align_eyes
from facehall_env.datasets.bioid import (
    BLOCK_STARTS,
    NAME,
    BioID,
    decode,
    find_pictures,
    recipe,
    split_numbers,
)
from facehall_env.datasets.errors import BadPicturesError, DatasetError, DatasetNotFoundError
from facehall_env.datasets.sources import read_files
from facehall_env.resample import Resampler

from .samples import encode, noise, pack, write_files

NUMBERS = (0, 3, 77, 147, 200, 300, 700, 1100, 1300, 1520)


def eye_file(left: tuple[int, int], right: tuple[int, int]) -> bytes:
    return "#LX\tLY\tRX\tRY\n{}\t{}\t{}\t{}\n".format(*left, *right).encode()


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    pictures = {f"BioID_{n:04d}.pgm": encode(noise(n, 286, 384), "PPM") for n in NUMBERS}
    eyes = {f"BioID_{n:04d}.eye": eye_file((220 + n % 7, 110), (165, 105 + n % 5)) for n in NUMBERS}
    return pictures | eyes


def ids(dataset: FaceDataset) -> list[str]:
    return [dataset.id(k) for k in range(len(dataset))]


def everything(root: Path) -> dict[str, np.ndarray]:
    faces = [load_dataset("bioid", root=root, split=split) for split in ("trainval", "test")]
    return {part.id(k): part[k] for part in faces for k in range(len(part))}


def test_crops_are_aligned_by_the_persons_left_and_right_eye(tmp_path: Path, files: dict[str, bytes]) -> None:
    faces = everything(write_files(tmp_path, files))
    assert sorted(faces) == [f"BioID_{n:04d}" for n in NUMBERS]
    for n in NUMBERS:
        expected = align_eyes(noise(n, 286, 384), (220 + n % 7, 110), (165, 105 + n % 5), distance=47)
        np.testing.assert_array_equal(faces[f"BioID_{n:04d}"], expected[..., None])


def test_the_name_shape_and_number_found(tmp_path: Path, files: dict[str, bytes]) -> None:
    faces = BioID(write_files(tmp_path, files), "train")
    assert (faces.name, faces.shape, faces.found) == ("bioid", (160, 120, 1), 10)
    assert isinstance(faces, FaceDataset)


@pytest.mark.parametrize("name", ["BioID.zip", "BioID-V1.2.tar.xz", "bioid.tgz"])
@pytest.mark.parametrize("inside", [True, False])
def test_an_archive_gives_what_its_folder_gives(
    tmp_path: Path, files: dict[str, bytes], name: str, inside: bool
) -> None:
    shuffled = random.Random(0).sample(sorted(files), len(files))  # picture and eyes far apart
    archive = pack(tmp_path / "archive" / name, {f"BioID-V1.2/{file}": files[file] for file in shuffled})
    faces = everything(archive.parent if inside else archive)
    expected = everything(
        write_files(tmp_path / "folder" / "deeper", {k.upper(): v for k, v in files.items()})
    )
    assert faces.keys() == expected.keys()
    for name_, face in faces.items():
        np.testing.assert_array_equal(face, expected[name_])


def test_files_of_other_names_are_left_alone(tmp_path: Path, files: dict[str, bytes]) -> None:
    others = {"README": b"", "BioID_9999.pgm": b"", "._BioID_0000.pgm": b"", "portrait.pgm": b""}
    assert len(everything(write_files(tmp_path, files | others))) == len(NUMBERS)


@pytest.mark.parametrize("seed", range(5))
def test_the_split_has_the_papers_sizes_and_cuts_no_block(seed: int) -> None:
    side = split_numbers(seed)
    assert Counter(side) == {"train": 977, "val": 51, "test": 493}
    for start, end in pairwise((*BLOCK_STARTS, 1521)):
        assert len(set(side[start:end])) == 1


def test_the_split_of_seed_0_is_for_ever() -> None:
    side = split_numbers()
    test = [start for start in BLOCK_STARTS if side[start] == "test"]
    val = [start for start in BLOCK_STARTS if side[start] == "val"]
    assert test == [0, 16, 25, 46, 50, 449, 483, 603, 741, 779, 893, 942, 1174, 1293, 1495]
    assert val == [147, 586, 706, 1515]


def test_seeds_draw_different_splits() -> None:
    assert len({tuple(split_numbers(seed)) for seed in range(8)}) == 8


def test_a_larger_validation_split_leaves_the_test_split_alone() -> None:
    small, large = split_numbers(0, 0.05), split_numbers(0, 0.2)
    assert Counter(large) == {"train": 822, "val": 206, "test": 493}
    assert [side == "test" for side in small] == [side == "test" for side in large]


def test_missing_pictures_move_no_others(tmp_path: Path, files: dict[str, bytes]) -> None:
    few = {name: content for name, content in files.items() if name[6:10] not in ("0003", "1100")}
    whole, part = write_files(tmp_path / "whole", files), write_files(tmp_path / "part", few)
    for split in ("trainval", "test"):
        expected = [
            name for name in ids(load_dataset("bioid", root=whole, split=split)) if f"{name}.pgm" in few
        ]
        assert ids(load_dataset("bioid", root=part, split=split)) == expected


@pytest.mark.parametrize(
    ("change", "file", "message"),
    [
        ({"BioID_0003.eye": None}, "BioID_0003.pgm", "there is no .eye file to this picture"),
        ({"BioID_0003.pgm": None}, "BioID_0003.eye", "there is no .pgm file to this .eye file"),
        ({"BioID_0003.eye": b"#LX LY RX RY\n1 2 3\n"}, "BioID_0003.pgm", "a line of four numbers"),
        ({"BioID_0003.eye": b"\x00\xff"}, "BioID_0003.pgm", "a line of four numbers"),
        ({"BioID_0003.eye": b"#\n1 2 x 4\n"}, "BioID_0003.pgm", "a line of four numbers"),
        ({"BioID_0003.eye": b"#\nnan 2 3 4\n"}, "BioID_0003.pgm", "left eye at column nan"),
        ({"BioID_0003.eye": eye_file((165, 110), (220, 110))}, "BioID_0003.pgm", "left eye is on the right"),
        (
            {"BioID_0003.eye": eye_file((384, 110), (220, 110))},
            "BioID_0003.pgm",
            "column 384, row 110, outside",
        ),
        ({"BioID_0003.pgm": b"P5\n384 286\n255\n"}, "BioID_0003.pgm", "truncated"),
        ({"BioID_0003.pgm": encode(noise(0, 286, 384, 3), "PPM")}, "BioID_0003.pgm", "is of mode RGB"),
        (
            {"BioID_0003.pgm": encode(noise(0, 159, 384), "PPM")},
            "BioID_0003.pgm",
            "smaller than the crop 160x120",
        ),
    ],
)
def test_unusable_pictures_are_named(
    tmp_path: Path, files: dict[str, bytes], change: dict[str, bytes | None], file: str, message: str
) -> None:
    changed = {name: content for name, content in (files | change).items() if content is not None}
    with pytest.raises(BadPicturesError) as caught:
        load_dataset("bioid", root=write_files(tmp_path, changed))
    assert list(caught.value.bad) == [file]
    assert message in caught.value.bad[file]


def test_a_picture_that_is_there_twice_is_named(tmp_path: Path, files: dict[str, bytes]) -> None:
    write_files(tmp_path, files)
    write_files(tmp_path / "copy", {"BioID_0000.pgm": files["BioID_0000.pgm"]})
    with pytest.raises(DatasetError, match=r"BioID_0000\.pgm twice, the second time as"):
        load_dataset("bioid", root=tmp_path)


def test_wrong_roots_and_options_are_named(tmp_path: Path, files: dict[str, bytes]) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"bioid does not exist; get BioID.* from https://"):
        load_dataset("bioid")
    with pytest.raises(DatasetNotFoundError, match="neither the BioID"):
        load_dataset("bioid", root=tmp_path)
    (tmp_path / "x.txt").write_bytes(b"")
    with pytest.raises(DatasetError, match="neither a folder nor an archive"):
        load_dataset("bioid", root=tmp_path / "x.txt")
    pack(tmp_path / "BioID-a.zip", files)
    pack(tmp_path / "BioID-b.zip", files)
    with pytest.raises(DatasetError, match=r"holds BioID-a\.zip, BioID-b\.zip; give one"):
        load_dataset("bioid", root=tmp_path)
    with pytest.raises(DatasetError, match="eye_distance must be between 8 and 120 pixels, not 500"):
        load_dataset("bioid", root=tmp_path / "BioID-a.zip", eye_distance=500)


@pytest.fixture(scope="module")
def real(bioid_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The real files, unpacked once: taking the archive apart is nearly all the work."""
    folder = tmp_path_factory.mktemp("real-bioid")
    for path, content in read_files(
        find_pictures(bioid_root), lambda path: NAME.fullmatch(path.stem) is not None
    ):
        (folder / path.name).write_bytes(content)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.slow
def test_the_real_pictures_are_found_and_split(real: Path) -> None:
    parts = {split: BioID(real, split) for split in ("train", "val", "test")}
    found = parts["test"].found
    assert found <= 1521
    assert sum(len(part) for part in parts.values()) == found
    assert len(parts["test"]) == pytest.approx(found * 493 / 1521, rel=0.05)
    assert parts["test"].id(0) == "BioID_0000"


@pytest.mark.slow
def test_no_real_test_picture_has_a_twin_in_training(real: Path) -> None:
    faces = {split: BioID(real, split) for split in ("trainval", "test")}

    def thumbnails(part: BioID) -> np.ndarray:
        small = np.stack([part[k].reshape(20, 8, 15, 8).mean((1, 3)).ravel() for k in range(len(part))])
        small -= small.mean(1, keepdims=True)
        return small / np.linalg.norm(small, axis=1, keepdims=True)

    train, test = thumbnails(faces["trainval"]), thumbnails(faces["test"])
    twins = 0.95  # the median picture has a neighbour more similar than that
    within = np.sort(test @ test.T, axis=1)[:, -2]
    assert np.median(within) > twins
    assert (test @ train.T).max() < twins


@pytest.mark.slow
@pytest.mark.parametrize(
    ("distance", "golden"), [(45, (24.78, 20.68, 27.34, 23.11)), (50, (25.42, 21.30, 28.18, 23.67))]
)
def test_bicubic_on_every_fourth_real_picture_has_its_known_psnr(
    real: Path, distance: float, golden: tuple[float, ...]
) -> None:
    items = list(recipe(real).items())[::4]
    if len(items) != 286:
        pytest.skip("the golden numbers are those of the 1,141 pictures of the partial copy")
    faces = torch.from_numpy(np.stack([decode(item, distance) for item in items])).permute(0, 3, 1, 2).float()
    psnr = []
    for protocol in ("torch7", "aligned"):
        for scale in (4, 8):
            resampler = Resampler(160, 120, scale, protocol=protocol)
            output = resampler.enlarge(resampler.shrink(faces)).round().clamp(0, 255)
            psnr.append(float((10 * torch.log10(255**2 / (output - faces).square().mean((1, 2, 3)))).mean()))
    assert psnr == pytest.approx(golden, abs=0.006)
