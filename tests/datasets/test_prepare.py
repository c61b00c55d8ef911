"""The command line: what it prints, what it returns, and that it says all that is wrong at once."""

import json
import os
from pathlib import Path

import pytest

from facehall_env.datasets import load_dataset
from facehall_env.datasets.prepare import main

from .samples import encode, noise, write_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_files(
        tmp_path / "faces", {f"{k}.png": encode(noise(k, 130, 140, 3), "PNG") for k in range(6)}
    )


def index(data_folder: Path) -> dict[str, object]:
    (path,) = (data_folder / "cache").glob("*/index.json")
    return json.loads(path.read_text())


def test_the_summary_says_what_is_there_and_where(
    folder: Path, data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["folder", str(folder)]) == 0
    printed = capsys.readouterr()
    assert f"folder: 6 pictures of (128, 128, 3) from {folder}" in printed.out
    assert str(data_folder / "cache" / "folder-") in printed.out
    assert "6/6" in printed.err


def test_quiet_is_quiet(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["folder", str(folder), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_a_prepared_data_set_loads_without_its_pictures_being_read(folder: Path, data_folder: Path) -> None:
    main(["folder", str(folder), "--quiet"])
    pixels = index(data_folder)["pixels"]
    load_dataset("folder", root=folder, split="all")
    assert index(data_folder)["pixels"] == pixels
    main(["folder", str(folder), "--quiet", "--rebuild"])
    assert index(data_folder)["pixels"] != pixels


def test_the_index_says_what_the_cache_was_made_of(folder: Path, data_folder: Path) -> None:
    main(["folder", str(folder), "--image-size", "64", "32", "--gray", "--quiet"])
    content = index(data_folder)
    assert content["ids"] == [f"{k}.png" for k in range(6)]
    assert content["source"] == str(folder)
    assert content["crop"] == {"size": [64, 32], "channels": 1}
    assert content["shape"] == [6, 64, 32, 1]
    assert content["fingerprint"]["files"] == 6
    assert content["skipped"] == []


def test_all_bad_files_are_named_and_the_status_is_one(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {f"bad{k:02d}.png": b"no picture" for k in range(30)}
    write_files(folder, files | {"tiny.png": encode(noise(0, 9, 9), "PNG")})
    assert main(["folder", str(folder), "--quiet"]) == 1
    errors = capsys.readouterr().err
    assert f"31 bad picture(s) in {folder}:" in errors
    assert all(f"  {name}: not a picture that Pillow can read\n" in errors for name in files)
    assert "  tiny.png: is 9x9, smaller than the 128x128 wanted\n" in errors
    assert "--skip-bad" in errors


def test_skipped_files_are_recorded_and_reported(
    folder: Path, data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_files(folder, {"bad.png": b"no picture"})
    assert main(["folder", str(folder), "--skip-bad"]) == 0
    assert "skipped: bad.png: not a picture" in capsys.readouterr().out
    assert index(data_folder)["skipped"] == [["bad.png", "bad.png", "not a picture that Pillow can read"]]
    with pytest.warns(UserWarning, match=r"1 picture\(s\) of folder were skipped .*: bad\.png"):
        assert len(load_dataset("folder", root=folder, split="all")) == 6


def test_an_unreadable_file_is_a_bad_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    assert main(["folder", str(folder), "--quiet"]) == 1
    assert f"gone.png: cannot be read ({os.strerror(2)})" in capsys.readouterr().err


def test_lfw_is_summed_up_with_its_lists(small_lfw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lfw", str(small_lfw)]) == 0
    assert "View 1: 7 training and 3 test pictures" in capsys.readouterr().out


def test_a_wrong_list_shows_before_the_pictures_are_decoded(
    small_lfw: Path, data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (small_lfw / "peopleDevTrain.txt").write_bytes(b"2\nBo\t1\n")
    assert main(["lfw", str(small_lfw)]) == 1
    assert "announces 2 people and lists 1" in capsys.readouterr().err
    assert not (data_folder / "cache").exists()


def test_bioid_is_summed_up_with_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {
        "BioID_0000.pgm": encode(noise(0, 286, 384), "PPM"),
        "BioID_0000.eye": b"#LX\tLY\tRX\tRY\n232\t110\t161\t110\n",
    }
    assert main(["bioid", str(write_files(tmp_path / "bioid", files))]) == 0
    assert "1 of 1,521 pictures found, 1,520 missing" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["folder"], "needs root"),
        (["folder", "nowhere"], "nowhere does not exist"),
        (["bioid", "nowhere"], "nowhere does not exist"),
        (["lfw", "nowhere"], "nowhere does not exist"),
        (["lfw", "--download"], "peopleDevTrain.txt could not be downloaded"),
        (["folder", ".", "--image-size", "1", "2", "3"], "takes one or two numbers"),
    ],
)
def test_what_cannot_be_done_is_said_without_a_traceback(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("facehall-prepare: ")
    assert message in errors


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["celeba"],
        ["bioid", "--download"],
        ["folder", "--variant", "lfw"],
        ["lfw", "--variant", "lfw2"],
        ["lfw", "--gray"],
        ["bioid", "--image-size", "64"],
        ["bioid", "--workers", "-1"],
    ],
)
def test_wrong_usage_is_explained(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: facehall-prepare" in capsys.readouterr().err
