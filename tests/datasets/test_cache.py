"""The cache: what is read is what was written, whatever happens to the files in between."""

import json
import os
import pickle
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from facehall_env.datasets.cache import FaceCache, Recipe, data_dir, open_cache
from facehall_env.datasets.errors import BadPictureError, BadPicturesError, DatasetError
from facehall_env.datasets.prepare import prepare

from .samples import encode, noise, write_files

MakeRecipe = Callable[..., Recipe]


def check(cache: FaceCache, count: int) -> None:
    assert len(cache) == count
    assert cache.shape == (2, 3, 1)
    for row in range(count):
        assert cache.ids[row] == f"{row:03d}"
        np.testing.assert_array_equal(cache.read(row), noise(row, 2, 3, 1))


def pixel_file(recipe: Recipe) -> Path:
    (path,) = recipe.directory.glob("pixels-*")
    return path


def test_a_cache_gives_back_what_was_decoded(raw_recipe: MakeRecipe) -> None:
    check(open_cache(raw_recipe()), 5)


def test_the_pixel_file_is_plain_npy(raw_recipe: MakeRecipe) -> None:
    cache = open_cache(raw_recipe(300))
    pixels = np.load(pixel_file(raw_recipe(300)))
    assert pixels.shape == (300, 2, 3, 1)
    np.testing.assert_array_equal(pixels[299], cache.read(299))


def test_pictures_are_fresh_and_writable(raw_recipe: MakeRecipe) -> None:
    cache = open_cache(raw_recipe())
    cache.read(0)[:] = 0
    check(cache, 5)


def test_a_good_cache_is_opened_without_reading_the_source(raw_recipe: MakeRecipe) -> None:
    open_cache(raw_recipe())
    check(open_cache(raw_recipe()), 5)
    assert raw_recipe.reads == 5


def test_a_changed_source_makes_a_new_cache_and_leaves_no_old_pixels(raw_recipe: MakeRecipe) -> None:
    open_cache(raw_recipe(5))
    check(open_cache(raw_recipe(6)), 6)
    pixel_file(raw_recipe(6))


def truncate(recipe: Recipe) -> None:
    os.truncate(pixel_file(recipe), pixel_file(recipe).stat().st_size - 1)


def lengthen(recipe: Recipe) -> None:
    with pixel_file(recipe).open("ab") as file:
        file.write(b"\0")


def flip_pixel(recipe: Recipe) -> None:
    content = bytearray(pixel_file(recipe).read_bytes())
    content[-1] ^= 1
    pixel_file(recipe).write_bytes(content)


def flip_header(recipe: Recipe) -> None:
    content = pixel_file(recipe).read_bytes()
    pixel_file(recipe).write_bytes(content.replace(b"(5, 2, 3, 1)", b"(5, 3, 2, 1)"))


def halve_index(recipe: Recipe) -> None:
    path = recipe.directory / "index.json"
    os.truncate(path, path.stat().st_size // 2)


def edit_index(**changes: object) -> Callable[[Recipe], None]:
    def damage(recipe: Recipe) -> None:
        path = recipe.directory / "index.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        lengthen,
        flip_pixel,
        flip_header,
        halve_index,
        edit_index(format=0),
        edit_index(crc32=[]),
        edit_index(ids=None),
        edit_index(pixels="other.npy"),
        lambda recipe: pixel_file(recipe).unlink(),
        lambda recipe: (recipe.directory / "index.json").unlink(),
        lambda recipe: (recipe.directory / "index.json").write_bytes(b"\xff\xfe\0"),
        lambda recipe: (recipe.directory / "index.json").write_text("[]"),
    ],
)
def test_a_damaged_cache_is_built_again(raw_recipe: MakeRecipe, damage: Callable[[Recipe], None]) -> None:
    recipe = raw_recipe()
    open_cache(recipe)
    damage(recipe)
    check(open_cache(recipe), 5)
    assert raw_recipe.reads == 10


def test_damage_between_the_sampled_rows_is_found_when_it_is_read_and_mended_by_prepare(
    raw_recipe: MakeRecipe,
) -> None:
    recipe = raw_recipe(200)
    open_cache(recipe)
    content = bytearray(pixel_file(recipe).read_bytes())
    content[-200 * 6 + 6] ^= 1  # in row 1, which opening does not look at
    pixel_file(recipe).write_bytes(content)
    cache = open_cache(recipe)
    assert raw_recipe.reads == 200
    np.testing.assert_array_equal(cache.read(0), noise(0, 2, 3, 1))
    with pytest.raises(DatasetError, match="damaged at '001'"):
        cache.read(1)
    check(prepare(recipe), 200)


def test_an_interrupted_build_leaves_the_old_cache_and_nothing_else(raw_recipe: MakeRecipe) -> None:
    open_cache(raw_recipe(5))
    before = sorted(raw_recipe(5).directory.iterdir())
    with pytest.raises(KeyboardInterrupt):
        open_cache(raw_recipe(5, fail_after=3), rebuild=True)
    assert sorted(raw_recipe(5).directory.iterdir()) == before
    check(open_cache(raw_recipe(5)), 5)


def test_remains_of_killed_builds_are_swept_and_running_ones_are_not(raw_recipe: MakeRecipe) -> None:
    recipe = raw_recipe()
    recipe.directory.mkdir(parents=True)
    old, young = recipe.directory / "pixels-old.npy.part", recipe.directory / "pixels-young.npy.part"
    old.write_bytes(b"half")
    young.write_bytes(b"half")
    os.utime(old, (0, 0))
    open_cache(recipe)
    assert not old.exists()
    assert young.exists()


def test_another_crop_is_another_cache(raw_recipe: MakeRecipe) -> None:
    recipe = raw_recipe()
    other = Recipe(**{**recipe.__dict__, "crop": {"size": [2, 3], "channels": 1}})
    assert open_cache(recipe).directory != open_cache(other).directory


def test_a_pickled_cache_opens_the_same_file(raw_recipe: MakeRecipe) -> None:
    cache = open_cache(raw_recipe(300))
    stored = pickle.dumps(cache)
    assert zlib.crc32(noise(7, 2, 3, 1)) == cache.index["crc32"][7]
    check(pickle.loads(stored), 300)
    assert cache.read(0).tobytes() * 3 not in stored


def test_a_cache_folder_that_cannot_be_written_is_named(
    raw_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("FACEHALL_DATA", str(tmp_path / "file" / "below"))
    with pytest.raises(DatasetError, match="set the environment variable FACEHALL_DATA"):
        open_cache(raw_recipe())


def test_all_bad_pictures_are_named_at_once_and_can_be_skipped(raw_recipe: MakeRecipe) -> None:
    recipe = raw_recipe(60)
    decode = recipe.decode

    def picky(item: object) -> np.ndarray:
        if int(item.id) % 2:
            raise BadPictureError("is odd")
        return decode(item)

    recipe = Recipe(**{**recipe.__dict__, "decode": picky})
    with pytest.raises(
        BadPicturesError, match=r"30 bad picture\(s\)(.|\n)*001\.raw: is odd(.|\n)*10 more"
    ) as caught:
        open_cache(recipe)
    assert caught.value.bad == {f"{k:03d}.raw": "is odd" for k in range(1, 60, 2)}
    assert pickle.loads(pickle.dumps(caught.value)).bad == caught.value.bad
    assert not list(recipe.directory.glob("*.npy*"))
    cache = open_cache(recipe, skip_bad=True)
    assert cache.ids == [f"{k:03d}" for k in range(0, 60, 2)]
    assert [tuple(entry) for entry in open_cache(recipe).skipped] == [
        (f"{k:03d}", f"{k:03d}.raw", "is odd") for k in range(1, 60, 2)
    ]


def test_a_second_picture_of_one_id_is_bad(raw_recipe: MakeRecipe) -> None:
    recipe = raw_recipe(3)
    doubled = Recipe(**{**recipe.__dict__, "items": lambda: [*recipe.items(), *list(recipe.items())[:1]]})
    with pytest.raises(BadPicturesError, match="second picture with the id '000'"):
        open_cache(doubled)
    cache = open_cache(doubled, skip_bad=True)
    check(cache, 3)
    assert len(cache.skipped) == 1


def test_a_source_without_pictures_is_an_error(raw_recipe: MakeRecipe, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(DatasetError, match="no usable picture of raw"):
        open_cache(raw_recipe(0))


def test_a_progress_bar_counts_pictures(raw_recipe: MakeRecipe, capsys: pytest.CaptureFixture[str]) -> None:
    open_cache(raw_recipe(), progress=False)
    assert capsys.readouterr().err == ""
    open_cache(raw_recipe(), rebuild=True)  # None: not on a terminal
    assert capsys.readouterr().err == ""
    open_cache(raw_recipe(), rebuild=True, progress=True)
    assert "5/5" in capsys.readouterr().err


def test_the_data_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert data_dir() == tmp_path / "data"
    monkeypatch.setenv("FACEHALL_DATA", "~/faces")
    assert data_dir() == Path.home() / "faces"
    monkeypatch.delenv("FACEHALL_DATA")
    assert data_dir().name == "facehall"


PREPARE_IN_FOUR_PROCESSES = """
import os, sys
from facehall_env.datasets.prepare import main
children = []
for child in range(4):
    pid = os.fork()  # so that the imports are paid for once
    if pid == 0:
        rebuild = ["--rebuild"] if child else []
        os._exit(main(["folder", sys.argv[1], "--quiet", "--workers", "1", *rebuild]))
    children.append(pid)
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_processes_that_prepare_one_source_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    pictures = {f"{k:02d}.png": encode(noise(k, 128, 128, 3), "PNG") for k in range(40)}
    source = write_files(tmp_path / "pictures", pictures)
    done = subprocess.run(
        [sys.executable, "-c", PREPARE_IN_FOUR_PROCESSES, str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (directory,) = (data_dir() / "cache").iterdir()
    assert len(list(directory.glob("pixels-*"))) == 1
    cache = FaceCache(directory, json.loads((directory / "index.json").read_text()))
    for k in range(40):
        np.testing.assert_array_equal(cache.read(cache.rows[f"{k:02d}.png"]), noise(k, 128, 128, 3))
