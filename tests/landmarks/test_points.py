"""Eyes, errors, boxes, alignment; dlib's predictor where it is installed; the commands and their records."""

import importlib.util
import json
import sys

import cv2
import numpy as np
import pytest

from agents.landmarks import DlibPredictor, align_faces, default_boxes, dlib68, eyes_of, relative_errors
from agents.landmarks.__main__ import main
from agents.landmarks.measurement import error_record, landmark_table, render_page, update_landmark_records
from agents.landmarks.sdm import SDM
from agents.landmarks.sources import annotate, bioid_eyes, degraded
from facehall_env.datasets.synthetic import draw_face
from tests.datasets.samples import encode, write_files
from tests.small import SmallFaces


def test_alignment_puts_the_eyes_where_they_belong(unseen):
    """Marks painted on the eyes come out level on row 64, 47 pixels apart around the middle."""
    canvas = np.zeros((4, 200, 220, 1), np.uint8)
    points = unseen.points[:4] + np.array([40, 30])
    for picture, eyes in zip(canvas, eyes_of(points), strict=True):
        for eye in eyes:
            cv2.circle(picture, [round(value * 16) for value in eye], 4 * 16, 255, -1, cv2.LINE_AA, 4)
    crops = align_faces(canvas, points)
    assert crops.shape == (4, 160, 120, 1)
    for crop in crops[..., 0].astype(float):
        for half, column in ((slice(0, 60), 36.0), (slice(60, 120), 83.0)):
            part = crop[:, half] / crop[:, half].sum()
            rows, columns = np.indices(part.shape)
            assert (part * rows).sum() == pytest.approx(64, abs=0.3)
            assert (part * columns).sum() + half.start == pytest.approx(column, abs=0.3)


def test_alignment_by_found_points_comes_close(sdm, unseen):
    true = align_faces(unseen.pictures, unseen.points)
    found = align_faces(unseen.pictures, sdm.predict(unseen.pictures))
    inside = np.s_[:, 40:100, 25:95]
    assert np.abs(true[inside].astype(int) - found[inside]).mean() < 8


def test_alignment_refuses_eyes_in_one_place(noise):
    with pytest.raises(ValueError, match="face 1 cannot be aligned"):
        align_faces(noise, np.array([[[1.0, 2], [8, 2]], [[5, 5], [5, 5]]]))
    with pytest.raises(ValueError, match="the eyes are known of"):
        align_faces(noise, np.zeros((2, 5, 2)))


def test_errors_are_shares_of_the_eyes_distance():
    true = np.array([[[10.0, 5], [30, 5]]])
    assert relative_errors(true + np.array([0, 2]), true) == pytest.approx([0.1])
    with pytest.raises(ValueError, match="shape"):
        relative_errors(true[:, :1], true)


def test_default_boxes_hold_equal_parts_of_the_face():
    """The eyes of LFW's crops lie at the same place of the box as those of BioID's crops."""
    lfw, bioid = default_boxes(2, 128, 128), default_boxes(1, 160, 120)
    assert lfw.tolist() == [[63.5, 63.5, 128.0]] * 2
    x, y, side = bioid[0]
    assert ((64 - y) / side, 47 / side, x) == pytest.approx(((52 - 63.5) / 128, 42 / 128, 59.5))


def test_only_some_data_sets_know_their_points():
    with pytest.raises(ValueError, match="no landmarks of its own"):
        annotate(SmallFaces(2), range(2))


def test_degraded_keeps_the_size_and_loses_detail(unseen):
    blurred = degraded(unseen.pictures, 8)
    assert blurred.shape == unseen.pictures.shape
    assert blurred.dtype == np.uint8
    assert np.diff(blurred.astype(int), axis=2).std() < np.diff(unseen.pictures.astype(int), axis=2).std()


def test_dlib_finds_points_in_the_box_alone(unseen):
    pytest.importorskip("dlib")
    if importlib.util.find_spec("face_recognition_models") is None:
        pytest.skip("needs the weights of face-recognition-models")
    found = DlibPredictor().predict(unseen.pictures)
    assert found.shape == (len(unseen.pictures), 68, 2)
    assert relative_errors(found, unseen.points).mean() < 0.12


def test_dlib_missing_or_without_weights_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(ImportError, match=r"facehall\[dlib\].*non-commercial"):
        DlibPredictor()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="face-recognition-models"):
        dlib68.find_weights()


def test_training_by_command_writes_file_and_record(tmp_path, capsys):
    records = tmp_path / "landmarks.json"
    small = ["--faces=8", "--test_faces=3", "--sdm.starts=1", "--sdm.stages=1", f"--records={records}"]
    for scale in (1, 8, 8):
        elsewhere = ["--test_dataset=synthetic"] if scale == 8 else []
        out = f"--out={tmp_path / 'sdm.safetensors'}"
        assert main(["train", out, f"--scale={scale}", *small, *elsewhere]) == 0
    rows = json.loads(records.read_text())
    assert sorted((row["method"], row["scale"]) for row in rows) == [
        ("mean_shape", 1), ("mean_shape", 8), ("sdm", 1), ("sdm", 8),
    ]  # fmt: skip
    assert all(0 < row["error"] < 0.3 and row["n"] == 3 and row["commit"] for row in rows)
    assert "| synthetic | synthetic (68 points) |" in capsys.readouterr().out
    page = tmp_path / "page.md"
    page.write_text("Before\n<!-- landmarks: landmarks.json -->\n<!-- /landmarks -->\nAfter\n")
    assert main(["render", f"--page={page}", f"--root={tmp_path}"]) == 0
    assert landmark_table(rows) in page.read_text()
    assert page.read_text().endswith("After\n")
    assert render_page(page, tmp_path, check=True)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--test_faces=2"], "has a record of mean_shape on 3 faces, which one on 2 would replace"),
        (["--test_faces=1"], "test_faces is 1"),
        (["--scale=-8"], "scale is -8"),
        (["--records={folder}/bad.json"], "bad.json holds no records of landmarks"),
        (["--out={folder}"], "which is a folder: name a file"),
        (["--out={folder}/bad.json/sdm.safetensors"], "bad.json"),
    ],
)
def test_what_could_not_be_written_is_refused_before_it_is_trained(
    tmp_path, capsys, monkeypatch, more, message
):
    (tmp_path / "bad.json").write_text("[{}]")
    words = ["train", f"--out={tmp_path / 'sdm.safetensors'}", f"--records={tmp_path / 'landmarks.json'}"]
    words += ["--faces=8", "--test_faces=3", "--sdm.starts=1", "--sdm.stages=1"]
    assert main(words) == 0
    before = (tmp_path / "landmarks.json").read_bytes()
    monkeypatch.setattr(SDM, "train", None)  # must not be reached
    assert main([*words, *(word.format(folder=tmp_path) for word in more)]) == 2
    assert message in capsys.readouterr().err
    assert (tmp_path / "landmarks.json").read_bytes() == before


def test_eyes_by_command(tmp_path, unseen, capsys):
    """Eight pictures in BioID's layout, their eyes known: half of them to train on."""
    files = {}
    for number in (0, 1, 2, 3, 76, 77, 78, 79):  # the split's first test and training pictures
        picture = np.zeros((286, 384), np.uint8) + 60
        face = cv2.cvtColor(unseen.pictures[number % 12], cv2.COLOR_RGB2GRAY)
        picture[80:208, 120:248] = face
        first, second = eyes_of(unseen.points[number % 12][None])[0] + [120, 80]
        text = f"#LX\tLY\tRX\tRY\n{second[0]:.0f}\t{second[1]:.0f}\t{first[0]:.0f}\t{first[1]:.0f}\n"
        files[f"BioID_{number:04d}.pgm"] = encode(picture, "PPM")
        files[f"BioID_{number:04d}.eye"] = text.encode()
    write_files(tmp_path / "bioid", files)
    known = bioid_eyes(tmp_path / "bioid", "train")
    assert known.pictures.shape == (4, 286, 384, 1)
    assert known.points.shape == (4, 2, 2)
    assert (known.points[:, 0, 0] < known.points[:, 1, 0]).all()
    records, out = tmp_path / "landmarks.json", tmp_path / "eyes.safetensors"
    assert main(["eyes", f"--out={out}", f"--root={tmp_path / 'bioid'}", f"--records={records}"]) == 0
    assert {row["method"]: row["n"] for row in json.loads(records.read_text())} == {"mean_shape": 4, "sdm": 4}
    assert "2 points" in capsys.readouterr().out


def test_a_command_that_fails_says_why(tmp_path, capsys):
    assert main(["train", f"--out={tmp_path / 'a'}", "--dataset=nothing"]) == 2
    assert "no data set 'nothing'" in capsys.readouterr().err
    (tmp_path / "page.md").write_text("nothing")
    with pytest.raises(ValueError, match="no mark"):
        render_page(tmp_path / "page.md")
    (tmp_path / "bad.json").write_text("[{}]")
    with pytest.raises(ValueError, match="no records of landmarks"):
        update_landmark_records(tmp_path / "bad.json", [])
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for index in range(30):
        cv2.imwrite(str(pictures / f"{index}.png"), draw_face(index))
    words = ["train", f"--out={tmp_path / 'a'}", "--dataset=folder", f"--root={pictures}"]
    assert main(words) == 2
    assert "has no landmarks of its own: let dlib find them, --truth dlib" in capsys.readouterr().err


def test_a_record_keeps_mean_median_and_failures(unseen):
    found = unseen.points.copy()
    found[0, :, 0] += 0.5 * np.ptp(eyes_of(unseen.points[:1])[0, :, 0])
    words = {"scale": 1, "protocol": "-", "trained_on": "nothing"}
    record = error_record("sdm", found, unseen, **words)
    assert record["failures"] == pytest.approx(1 / 12)
    assert record["median"] == 0
    assert record["error"] == pytest.approx(record["inner"])
    assert record["error"] == pytest.approx(0.5 / 12, rel=0.02)
