"""LFW: three variants as folders and archives, the lists, people-disjoint splits, and the real pictures."""

import io
import shutil
import warnings
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from facehall_env.datasets import FaceDataset, load_dataset
from facehall_env.datasets.errors import BadPicturesError, DatasetError, DatasetNotFoundError
from facehall_env.datasets.lfw import LFW, find_pictures, parse_people, recipe
from facehall_env.resample import Resampler

from .samples import TEST, TRAIN, encode, noise, pack, people_list, write_files


def ids(dataset: FaceDataset) -> list[str]:
    return [dataset.id(k) for k in range(len(dataset))]


def listed(people: dict[str, int]) -> list[str]:
    return [f"{name}_{k:04d}" for name, count in people.items() for k in range(1, count + 1)]


def test_splits_are_those_of_the_lists_in_their_order(small_lfw: Path) -> None:
    everyone = load_dataset("lfw", root=small_lfw, split="trainval")
    assert ids(everyone) == listed(TRAIN)
    assert ids(load_dataset("lfw", root=small_lfw, split="test")) == listed(TEST)
    assert everyone.shape == (128, 128, 3)
    assert isinstance(everyone, FaceDataset)


def test_the_crop_is_the_central_128_of_the_plain_decode(
    small_lfw: Path, lfw_pictures: dict[str, bytes]
) -> None:
    faces = LFW(small_lfw, "trainval")
    for k in range(len(faces)):
        whole = np.asarray(Image.open(io.BytesIO(lfw_pictures[f"{faces.identity(k)}/{faces.id(k)}.jpg"])))
        np.testing.assert_array_equal(faces[k], whole[61:189, 61:189])


def test_identities_are_names(small_lfw: Path) -> None:
    faces = LFW(small_lfw, "trainval")
    assert [faces.identity(k) for k in range(len(faces))] == ["Ann_Lee"] * 2 + ["Bo"] + ["Cy_Van_Dyk"] * 3 + [
        "Di_Wu"
    ]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("fraction", [0.25, 0.5])
def test_validation_people_are_cut_off_the_training_people(
    small_lfw: Path, seed: int, fraction: float
) -> None:
    options = {"root": small_lfw, "val_fraction": fraction, "seed": seed}
    train, val = (load_dataset("lfw", split=split, **options) for split in ("train", "val"))
    assert sorted(ids(train) + ids(val)) == sorted(listed(TRAIN))
    people = [{faces.identity(k) for k in range(len(faces))} for faces in (train, val)]
    assert not people[0] & people[1]
    assert len(people[1]) == round(fraction * len(TRAIN))


def test_the_seed_draws_the_validation_people(small_lfw: Path) -> None:
    drawn = {tuple(ids(LFW(small_lfw, "val", val_fraction=0.25, seed=seed))) for seed in range(20)}
    assert len(drawn) == 4


def test_a_face_is_read_by_any_index_and_not_beyond(small_lfw: Path) -> None:
    faces = load_dataset("lfw", root=small_lfw, split="test")
    np.testing.assert_array_equal(faces[-1], faces[np.int64(2)])
    assert len(list(faces)) == 3
    with pytest.raises(IndexError):
        faces[3]
    with pytest.raises(TypeError):
        faces[0.5]


VARIANTS = [("lfw-funneled", "lfw_funneled"), ("lfw-deepfunneled", "lfw-deepfunneled"), ("lfw", "lfw")]


@pytest.mark.parametrize(("name", "folder"), VARIANTS)
@pytest.mark.parametrize("kind", ["parent", "folder", "archive", "archive's folder"])
def test_every_variant_is_found_as_folder_and_archive(
    tmp_path: Path, lfw_pictures: dict[str, bytes], name: str, folder: str, kind: str
) -> None:
    root = tmp_path / "lfw"  # the name of the parent must not pass for a variant
    write_files(root, {"peopleDevTrain.txt": people_list(TRAIN), "peopleDevTest.txt": people_list(TEST)})
    if kind in ("parent", "folder"):
        write_files(root / folder, lfw_pictures)
    else:
        pack(root / f"{name}.tgz", {f"{folder}/{file}": content for file, content in lfw_pictures.items()})
    where = {"folder": root / folder, "archive": root / f"{name}.tgz"}.get(kind, root)
    faces = load_dataset("lfw", root=str(where), split="test")
    assert (faces.name, ids(faces)) == (name, listed(TEST))


def test_the_copy_on_kaggle_is_read_with_its_folder_in_the_folder_and_its_csv_lists(
    tmp_path: Path, lfw_pictures: dict[str, bytes]
) -> None:
    root = tmp_path / "lfw-dataset"
    write_files(root / "lfw-deepfunneled" / "lfw-deepfunneled", lfw_pictures)
    for name, people in (("Train", TRAIN), ("Test", TEST)):
        rows = "".join(f"{person},{count}\r\n" for person, count in people.items())
        write_files(root, {f"peopleDev{name}.csv": f"name,images\r\n{rows}".encode()})
    for where in (root, root / "lfw-deepfunneled", root / "lfw-deepfunneled" / "lfw-deepfunneled"):
        faces = load_dataset("lfw", root=where, split="trainval")
        assert (faces.name, ids(faces)) == ("lfw-deepfunneled", listed(TRAIN))


def test_the_default_root_is_the_download_folder(small_lfw: Path, data_folder: Path) -> None:
    shutil.copytree(small_lfw, data_folder / "lfw")
    assert ids(load_dataset("lfw", split="test")) == listed(TEST)


def test_two_variants_in_one_folder_need_a_choice(small_lfw: Path) -> None:
    shutil.copytree(small_lfw / "lfw_funneled", small_lfw / "lfw-deepfunneled")
    with pytest.raises(DatasetError, match="lfw-deepfunneled and lfw-funneled; choose one with variant="):
        load_dataset("lfw", root=small_lfw)
    assert load_dataset("lfw", root=small_lfw, variant="lfw-funneled").name == "lfw-funneled"
    with pytest.raises(DatasetNotFoundError, match="of the variant lfw,"):
        load_dataset("lfw", root=small_lfw, variant="lfw")
    with pytest.raises(DatasetError, match="no variant 'funnelled'"):
        load_dataset("lfw", root=small_lfw, variant="funnelled")


def test_a_folder_of_another_name_needs_its_variant(small_lfw: Path) -> None:
    (small_lfw / "lfw_funneled").rename(small_lfw / "faces")
    with pytest.raises(DatasetError, match="'faces' does not say which LFW"):
        load_dataset("lfw", root=small_lfw / "faces")
    assert load_dataset("lfw", root=small_lfw / "faces", variant="lfw-funneled").name == "lfw-funneled"


def test_an_archive_is_not_taken_for_a_variant_it_does_not_hold(
    small_lfw: Path, lfw_pictures: dict[str, bytes]
) -> None:
    archive = pack(small_lfw / "lfw.tgz", {f"lfw-deepfunneled/{k}": v for k, v in lfw_pictures.items()})
    with pytest.raises(DatasetError, match="holds the variant lfw-deepfunneled, not lfw"):
        load_dataset("lfw", root=archive)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "does not exist; give the folder"),
        (lambda path: path.mkdir(), "holds neither lfw, lfw_funneled nor"),
        (lambda path: path.write_bytes(b"text"), "neither a folder nor a .tgz"),
    ],
)
def test_a_wrong_root_is_named(tmp_path: Path, make: Callable[[Path], None], message: str) -> None:
    make(tmp_path / "here")
    with pytest.raises((DatasetError, DatasetNotFoundError), match=f"here .*{message}"):
        load_dataset("lfw", root=tmp_path / "here")


def test_wrong_names_and_fractions_are_refused(small_lfw: Path) -> None:
    with pytest.raises(ValueError, match="no data set 'celeba'; choose one of lfw, bioid, folder, synthetic"):
        load_dataset("celeba")
    with pytest.raises(ValueError, match="no split 'dev'; choose one of train, val, test, trainval"):
        load_dataset("lfw", root=small_lfw, split="dev")
    with pytest.raises(ValueError, match=r"val_fraction must be at least 0 and less than 1, not 1\.5"):
        load_dataset("lfw", root=small_lfw, val_fraction=1.5)
    with pytest.raises(ValueError, match=r"split 'val' of lfw-funneled is empty \(10 usable"):
        load_dataset("lfw", root=small_lfw, split="val", val_fraction=0)


def test_a_missing_list_that_cannot_be_fetched_says_where_to_put_it(
    small_lfw: Path, data_folder: Path
) -> None:
    (small_lfw / "peopleDevTest.txt").unlink()
    with pytest.raises(FileNotFoundError) as caught:
        load_dataset("lfw", root=small_lfw)
    message = str(caught.value)
    assert "peopleDevTest.txt could not be downloaded" in message
    assert f"put it into {data_folder / 'lfw'}" in message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the first line must be the number of people"),
        (b"Ann\t1\n", "the first line must be the number of people"),
        (b"\x89PNG\r\n\x1a\n\x00\xff\xfe", "is not a text file"),
        (b"1\nAnn 1\n", r"line 2: expected NAME<TAB>IMAGES, found 'Ann 1'"),
        (b"1\nAnn\tone\n", "line 2: expected"),
        (b"1\nAnn\t0\n", "line 2: expected"),
        (b"2\nAnn\t1\n\nBo\t1\n", "line 3: expected"),
        (b"1\n../Ann\t1\n", "line 2: expected"),
        (b"2\nAnn\t1\nAnn\t2\n", "line 3: Ann is listed twice"),
        (b"3\nAnn\t1\nBo\t1\n", "announces 3 people and lists 2"),
    ],
)
def test_a_wrong_list_is_named_with_its_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(DatasetError, match=rf"list\.txt.*{message}.*--download"):
        parse_people(tmp_path / "list.txt")


name = st.text(st.characters(categories=["L", "N"]) | st.just("_"), min_size=1)


@given(
    people=st.dictionaries(name, st.integers(1, 600)), end=st.sampled_from(["\n", "\r\n"]), bom=st.booleans()
)
def test_lists_are_read_whatever_their_line_ends(
    tmp_path_factory: pytest.TempPathFactory, people: dict[str, int], end: str, bom: bool
) -> None:
    path = tmp_path_factory.mktemp("list") / "list.txt"
    path.write_bytes(b"\xef\xbb\xbf" * bom + people_list(people).replace(b"\n", end.encode()))
    assert list(parse_people(path).items()) == list(people.items())


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (
            TRAIN | {"Gus": 2},
            TEST,
            r"lists 2 picture\(s\) of 1 people that are not in .*, the first is Gus_0001\.jpg",
        ),
        (TRAIN | {"Bo": 2}, TEST, r"lists 1 picture\(s\) of 1 people .* the first is Bo_0002\.jpg"),
        (TRAIN | {"Ann_Lee": 1}, TEST, r"lists 1 picture\(s\) of Ann_Lee, but .* also has Ann_Lee_0002\.jpg"),
        (TRAIN, TEST | {"Bo": 1}, "share 1 people, the first is Bo"),
    ],
)
def test_a_list_that_does_not_fit_is_refused(
    small_lfw: Path, train: dict[str, int], test: dict[str, int], message: str
) -> None:
    write_files(small_lfw, {"peopleDevTrain.txt": people_list(train), "peopleDevTest.txt": people_list(test)})
    with pytest.raises(DatasetError, match=message):
        load_dataset("lfw", root=small_lfw)


def test_all_bad_pictures_are_reported_and_can_be_skipped(
    small_lfw: Path, lfw_pictures: dict[str, bytes]
) -> None:
    good = lfw_pictures["Bo/Bo_0001.jpg"]
    write_files(
        small_lfw / "lfw_funneled",
        {
            "Bo/Bo_0001.jpg": good[:-1],
            "Ann_Lee/Ann_Lee_0002.jpg": b"",
            "Cy_Van_Dyk/Cy_Van_Dyk_0003.jpg": b"GIF89a? not at all",
            "Flo/Flo_0001.jpg": encode(noise(0, 100, 90, 3)),
        },
    )
    with pytest.raises(BadPicturesError) as caught:
        load_dataset("lfw", root=small_lfw)
    bad = caught.value.bad
    assert bad.keys() == {
        *("Bo/Bo_0001.jpg", "Ann_Lee/Ann_Lee_0002.jpg", "Cy_Van_Dyk/Cy_Van_Dyk_0003.jpg", "Flo/Flo_0001.jpg")
    }
    assert "truncated" in bad["Bo/Bo_0001.jpg"]
    assert bad["Ann_Lee/Ann_Lee_0002.jpg"] == "the file is empty"
    assert bad["Cy_Van_Dyk/Cy_Van_Dyk_0003.jpg"] == "not a picture that Pillow can read"
    assert bad["Flo/Flo_0001.jpg"] == "is 100x90, but the pictures of LFW are 250x250"
    with pytest.warns(UserWarning, match=r"4 picture\(s\) of lfw-funneled were skipped"):
        faces = load_dataset("lfw", root=small_lfw, split="trainval", skip_bad=True)
    assert ids(faces) == ["Ann_Lee_0001", "Cy_Van_Dyk_0001", "Cy_Van_Dyk_0002", "Di_Wu_0001"]
    with warnings.catch_warnings(record=True) as caught_warnings:
        warnings.simplefilter("always")
        assert ids(load_dataset("lfw", root=small_lfw, split="test")) == ["Ed_Ray_0001", "Ed_Ray_0002"]
    assert len(caught_warnings) == 1


def test_truncated_pictures_are_refused_even_where_pillow_was_told_to_accept_them(
    small_lfw: Path, lfw_pictures: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("PIL.ImageFile.LOAD_TRUNCATED_IMAGES", True)
    write_files(small_lfw / "lfw_funneled", {"Bo/Bo_0001.jpg": lfw_pictures["Bo/Bo_0001.jpg"][:-2000]})
    with pytest.raises(BadPicturesError, match="truncated"):
        load_dataset("lfw", root=small_lfw)


def test_a_gray_picture_gets_three_channels(small_lfw: Path) -> None:
    gray = encode(noise(0, 250, 250))
    write_files(small_lfw / "lfw_funneled", {"Flo/Flo_0001.jpg": gray})
    faces = load_dataset("lfw", root=small_lfw, split="test")
    crop = np.asarray(Image.open(io.BytesIO(gray)))[61:189, 61:189]
    np.testing.assert_array_equal(faces[2], np.repeat(crop[..., None], 3, axis=2))


@pytest.fixture(scope="module")
def real(lfw_root: Path) -> dict[str, LFW]:
    """The real pictures, out of the cache of whoever runs the tests: its 650 MB are written once."""
    return {split: LFW(lfw_root, split) for split in ("train", "val", "trainval", "test")}


@pytest.mark.slow
def test_the_real_pictures_are_decoded_exactly(real: dict[str, LFW], lfw_root: Path) -> None:
    items = islice(recipe(*find_pictures(lfw_root)).items(), 0, None, 500)
    cache = real["test"].cache
    compared = 0
    for item in items:
        expected = np.asarray(Image.open(io.BytesIO(item.data)))[61:189, 61:189]
        np.testing.assert_array_equal(cache.read(cache.rows[item.id]), expected)
        compared += 1
    assert compared == len(range(0, 13_233, 500))


@pytest.mark.slow
def test_the_real_splits(real: dict[str, LFW]) -> None:
    assert real["test"].name == "lfw-deepfunneled"
    assert {split: len(faces) for split, faces in real.items()} == {
        "train": 9057,
        "val": 468,
        "trainval": 9525,
        "test": 3708,
    }
    people = {split: {faces.identity(k) for k in range(len(faces))} for split, faces in real.items()}
    assert {split: len(names) for split, names in people.items()} == {
        "train": 3836,
        "val": 202,
        "trainval": 4038,
        "test": 1711,
    }
    assert not people["trainval"] & people["test"]
    assert real["test"].id(0) == "AJ_Lamas_0001"
    assert real["trainval"].id(0) == "AJ_Cook_0001"
    assert real["val"].id(0) == "Aaron_Eckhart_0001"


@pytest.mark.slow
def test_bicubic_on_the_real_test_split_has_its_known_psnr(real: dict[str, LFW]) -> None:
    golden = {("torch7", 4): 26.789, ("torch7", 8): 21.896, ("aligned", 4): 29.935, ("aligned", 8): 24.277}
    resamplers = {key: Resampler(128, 128, key[1], protocol=key[0]) for key in golden}
    total = dict.fromkeys(golden, 0.0)
    for start in range(0, 3708, 103):
        faces = torch.from_numpy(np.stack([real["test"][k] for k in range(start, start + 103)]))
        faces = faces.permute(0, 3, 1, 2).float()
        for key, resampler in resamplers.items():
            output = resampler.enlarge(resampler.shrink(faces)).round_().clamp_(0, 255)
            errors = (output - faces).square_().mean((1, 2, 3))
            total[key] += float((10 * torch.log10(255**2 / errors)).sum())
    assert {key: psnr / 3708 for key, psnr in total.items()} == pytest.approx(golden, abs=0.01)
