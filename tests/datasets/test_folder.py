"""Folders of pictures of any kind: modes, orientations, sizes, and a split that new files do not move."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from facehall_env.datasets import FaceDataset, load_dataset
from facehall_env.datasets.cache import Item
from facehall_env.datasets.errors import BadPictureError, BadPicturesError, DatasetError, DatasetNotFoundError
from facehall_env.datasets.folder import decode

from .samples import encode, noise, pack, write_files


def ids(dataset: FaceDataset) -> list[str]:
    return [dataset.id(k) for k in range(len(dataset))]


def decoded(content: bytes, size: tuple[int, int] = (128, 128), gray: bool = False) -> np.ndarray:
    return decode(Item("id", "file", content), size, gray)


def save(picture: Image.Image, path: Path, **options: object) -> bytes:
    picture.save(path, **options)
    return path.read_bytes()


@settings(max_examples=30, deadline=None)
@given(
    factor=st.integers(1, 4),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    extra=st.integers(0, 9),
    tall=st.booleans(),
    seed=st.integers(0, 99),
)
def test_the_largest_centred_part_is_averaged_over_areas(
    factor: int, height: int, width: int, extra: int, tall: bool, seed: int
) -> None:
    h, w = factor * height, factor * width
    pixels = noise(seed, h + 2 * extra * tall, w + 2 * extra * (not tall), 3)
    part = pixels[extra : extra + h] if tall else pixels[:, extra : extra + w]
    averages = part.reshape(height, factor, width, factor, 3).mean((1, 3))
    result = decoded(encode(pixels, "PNG"), (height, width))
    assert result.shape == (height, width, 3)
    assert np.abs(result - averages).max() <= 1.01  # Pillow rounds after each of its two passes


def test_a_fractional_size_keeps_the_mean_and_the_centre() -> None:
    pixels = np.zeros((301, 301, 3), np.uint8)
    pixels[100:201, 100:201] = 200
    result = decoded(encode(pixels, "PNG"))
    assert result.mean() == pytest.approx(pixels.mean(), abs=0.5)
    np.testing.assert_array_equal(result, result[::-1, ::-1])


@pytest.mark.parametrize("size", [(100, 100), (120, 120), (112, 112), (160, 120)])
def test_rounding_reaches_beyond_no_edge(size: tuple[int, int]) -> None:
    height, width = size
    for extra in range(40):
        picture = np.full((height + extra, width + extra, 3), 77, np.uint8)
        assert (decoded(encode(picture, "PNG"), size) == 77).all()


def test_gray_one_bit_palette_and_cmyk_become_rgb(tmp_path: Path) -> None:
    gray = noise(0, 128, 128)
    expected = np.repeat(gray[..., None], 3, axis=2)
    np.testing.assert_array_equal(decoded(encode(gray, "PNG")), expected)
    palette = Image.fromarray(gray).convert("P")
    np.testing.assert_array_equal(decoded(save(palette, tmp_path / "p.png")), expected)
    np.testing.assert_array_equal(decoded(save(palette, tmp_path / "p.gif")), expected)
    bits = Image.fromarray(gray).convert("1")
    np.testing.assert_array_equal(decoded(save(bits, tmp_path / "b.png"))[..., 0], np.asarray(bits) * 255)
    colour = Image.fromarray(noise(1, 128, 128, 3))
    cmyk = save(colour.convert("CMYK"), tmp_path / "c.tif")
    np.testing.assert_array_equal(decoded(cmyk), np.asarray(colour))


def test_colour_can_be_read_as_gray() -> None:
    pixels = noise(0, 128, 128, 3)
    result = decoded(encode(pixels, "PNG"), gray=True)
    np.testing.assert_array_equal(result[..., 0], np.asarray(Image.fromarray(pixels).convert("L")))


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_gray_is_scaled_and_not_clipped(format: str) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (128, 128), dtype=np.uint16)
    np.testing.assert_array_equal(decoded(encode(deep, format))[..., 1], np.rint(deep / 257))


@pytest.mark.parametrize(
    ("dtype", "message"), [(np.float32, "floating-point pixels"), (np.int32, "more than 16 bits per pixel")]
)
def test_pixels_of_unknown_range_are_refused(dtype: type, message: str) -> None:
    pixels = np.full((128, 128), 1 << 20, dtype)
    with pytest.raises(BadPictureError, match=message):
        decoded(encode(pixels, "TIFF"))


def test_transparency_is_put_on_white(tmp_path: Path) -> None:
    pixels = noise(0, 128, 128, 4)
    pixels[:64, :, 3], pixels[64:, :, 3] = 0, 255
    result = decoded(encode(pixels, "PNG"))
    assert (result[:64] == 255).all()
    np.testing.assert_array_equal(result[64:], pixels[64:, :, :3])
    indexed = Image.fromarray(np.repeat(np.array([0, 1], np.uint8), 128 * 64).reshape(128, 128), "P")
    indexed.putpalette([10, 20, 30, 40, 50, 60])
    result = decoded(save(indexed, tmp_path / "p.png", transparency=0))
    assert (result[:64] == 255).all()
    assert (result[64:] == [40, 50, 60]).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    upright = noise(0, 128, 200, 3)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    result = decoded(encode(np.ascontiguousarray(stored), "PNG", exif=exif))
    np.testing.assert_array_equal(result, upright[:, 36:164])


@pytest.mark.parametrize(("height", "width"), [(127, 500), (500, 127), (20, 20)])
def test_pictures_smaller_than_the_result_are_refused_by_name(
    tmp_path: Path, height: int, width: int
) -> None:
    write_files(tmp_path, {"big.png": encode(noise(0, 128, 128), "PNG")})
    write_files(tmp_path / "sub", {"small.png": encode(noise(0, height, width), "PNG")})
    with pytest.raises(
        BadPicturesError, match=rf"sub/small\.png: is {height}x{width}, smaller than the 128x128"
    ):
        load_dataset("folder", root=tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pictures = {f"person{k % 12}/{k:03d}.png": encode(noise(k, 8, 8, 3), "PNG") for k in range(120)}
    return write_files(tmp_path / "faces", pictures)


def load(root: Path, split: str, **options: object) -> FaceDataset:
    return load_dataset("folder", root=root, split=split, image_size=8, **options)


def test_splits_are_disjoint_and_complete(folder: Path) -> None:
    parts = {split: ids(load(folder, split)) for split in ("train", "val", "test", "trainval", "all")}
    assert sorted(parts["train"] + parts["val"]) == parts["trainval"]
    assert sorted(parts["trainval"] + parts["test"]) == parts["all"]
    assert len(parts["all"]) == 120
    assert 4 <= len(parts["test"]) <= 24
    assert parts["all"][0] == "person0/000.png"
    assert {load(folder, split).name for split in parts} == {"folder"}


def test_adding_and_removing_files_moves_no_others(folder: Path) -> None:
    before = {split: set(ids(load(folder, split))) for split in ("train", "val", "test")}
    write_files(folder, {f"new/{k}.png": encode(noise(k, 8, 8), "PNG") for k in range(30)})
    (folder / "person0/000.png").unlink()
    for split, old in before.items():
        now = {name for name in ids(load(folder, split)) if not name.startswith("new/")}
        assert now == old - {"person0/000.png"}


def test_moving_the_folder_moves_no_picture_to_another_split(folder: Path) -> None:
    before = ids(load(folder, "test"))
    assert ids(load(folder.rename(folder.parent / "elsewhere"), "test")) == before


def test_grouping_by_folder_keeps_people_together(folder: Path) -> None:
    people = [
        {name.split("/")[0] for name in ids(load(folder, split, group_by="folder", test_fraction=0.3))}
        for split in ("trainval", "test")
    ]
    assert not people[0] & people[1]
    assert len(people[0] | people[1]) == 12


def test_the_seed_and_the_fractions_draw_the_split(folder: Path) -> None:
    assert ids(load(folder, "test", seed=1)) != ids(load(folder, "test", seed=2))
    assert set(ids(load(folder, "test"))) < set(ids(load(folder, "test", test_fraction=0.5)))
    assert len(load(folder, "train", test_fraction=0, val_fraction=0)) == 120


def test_an_archive_of_pictures_does_as_well(folder: Path, tmp_path: Path) -> None:
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.png")}
    archive = pack(tmp_path / "faces.zip", files)
    assert ids(load(archive, "test")) == ids(load(folder, "test"))


def test_other_and_hidden_files_are_left_alone(folder: Path) -> None:
    write_files(folder, {"notes.txt": b"", ".hidden.png": b"", ".git/x.png": b"", "__MACOSX/y.png": b""})
    assert len(load(folder, "all")) == 120


def test_a_file_name_that_is_no_text_is_kept(tmp_path: Path) -> None:
    try:
        (tmp_path / "caf\udce9.png").write_bytes(encode(noise(0, 8, 8), "PNG"))
    except (OSError, UnicodeError):
        pytest.skip("this file system takes text names only")
    load(tmp_path, "all")
    assert ids(load(tmp_path, "all")) == ["caf\udce9.png"]


def test_one_size_one_cache(folder: Path) -> None:
    small, large = load(folder, "all"), load_dataset("folder", root=folder, split="all", image_size=(8, 4))
    assert (small.shape, large.shape) == ((8, 8, 3), (8, 4, 3))
    assert load(folder, "all", gray=True).shape == (8, 8, 1)


def test_wrong_roots_and_options_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="needs root"):
        load_dataset("folder")
    with pytest.raises(DatasetNotFoundError, match="nowhere does not exist; give the folder"):
        load_dataset("folder", root=tmp_path / "nowhere")
    with pytest.raises(DatasetError, match=r"000\.png is neither a folder nor an archive"):
        load_dataset("folder", root=folder / "person0/000.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"no usable picture of folder in .*empty"):
        load_dataset("folder", root=tmp_path / "empty")
    with pytest.raises(DatasetError, match=r"split 'test' of folder is empty \(120 usable pictures"):
        load(folder, "test", test_fraction=0)
    with pytest.raises(DatasetError, match=r"val_fraction \+ test_fraction must be"):
        load(folder, "test", test_fraction=0.6, val_fraction=0.6)
    with pytest.raises(DatasetError, match="group_by must be 'file' or 'folder', not 'person'"):
        load(folder, "test", group_by="person")
    for size in (0, -1, 8.0, "8", None, True, (8,), (8, 0), (8, 8, 8), (8.0, 8)):
        with pytest.raises(DatasetError, match=r"image_size is .*, but it must be a positive integer"):
            load_dataset("folder", root=folder, image_size=size)
    assert load_dataset("folder", root=folder, split="all", image_size=np.int64(8)).shape == (8, 8, 3)
