import pickle
import subprocess
import sys
from itertools import product

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from facehall_env.datasets import FaceDataset, load_dataset
from facehall_env.datasets.synthetic import DEFAULT_SIZES, SPLITS, SyntheticFaces, draw_face
from facehall_env.metrics import psnr
from facehall_env.resample import Resampler


@pytest.fixture(scope="module")
def faces():
    return SyntheticFaces("test", size=32, seed=5)


@pytest.fixture(scope="module")
def pictures(faces):
    return np.stack([faces[i] for i in range(len(faces))])


def test_it_is_a_face_dataset():
    data = load_dataset("synthetic", split="val", size=7, seed=3)
    assert isinstance(data, FaceDataset)
    assert (data.name, data.split, data.shape, len(data)) == ("synthetic", "val", (128, 128, 3), 7)
    assert data.id(3) == "synthetic-val-000003"
    assert data[3].shape == data.shape
    assert data[3].dtype == np.uint8


@pytest.mark.parametrize("split", SPLITS)
def test_default_sizes(split):
    assert len(SyntheticFaces(split)) == DEFAULT_SIZES[split] >= 1000
    assert SyntheticFaces(split)[DEFAULT_SIZES[split] - 1].std() > 0


def test_a_face_depends_on_nothing_but_its_index(faces, pictures):
    again = SyntheticFaces("test", size=1000, seed=5)
    for index in (31, 0, 7, 7):
        np.testing.assert_array_equal(again[index], pictures[index])


def test_a_face_survives_pickling(faces, pictures):
    twin = pickle.loads(pickle.dumps(faces))
    np.testing.assert_array_equal(twin[11], pictures[11])
    assert repr(twin) == repr(faces) == "SyntheticFaces(split='test', size=32, seed=5, image_size=128)"


def test_global_random_states_neither_matter_nor_change(faces, pictures):
    np.random.seed(1)  # noqa: NPY002 - the old global state is the one that must not matter
    cv2.setRNGSeed(1)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    np.testing.assert_array_equal(faces[2], pictures[2])
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_a_face_is_the_same_in_another_process(pictures):
    code = (
        "import sys; from facehall_env.datasets.synthetic import SyntheticFaces;"
        "sys.stdout.buffer.write(SyntheticFaces('test', seed=5)[4].tobytes())"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    np.testing.assert_array_equal(np.frombuffer(out, np.uint8).reshape(128, 128, 3), pictures[4])


def test_every_call_returns_a_fresh_array(faces, pictures):
    picture = faces[0]
    picture[:] = 0
    np.testing.assert_array_equal(faces[0], pictures[0])
    assert picture.flags.owndata or picture.base is None
    assert picture.flags.c_contiguous


def test_no_two_faces_are_alike_across_splits_seeds_and_indices():
    drawn = [
        SyntheticFaces(split, seed=seed)[i] for split, seed, i in product(SPLITS, (0, 1, 2**40), (0, 1, 2))
    ]
    drawn += [draw_face(seed) for seed in (0, 1, 2**40)]
    small = np.stack([cv2.resize(p, (16, 16), interpolation=cv2.INTER_AREA) for p in drawn]).astype(float)
    for i, first in enumerate(small):
        for second in small[i + 1 :]:
            assert np.abs(first - second).mean() > 4


def test_draw_face_is_pure():
    np.testing.assert_array_equal(draw_face(12), draw_face(12))
    assert draw_face(12, size=64).shape == (64, 64, 3)


@settings(max_examples=25)
@given(index=st.integers(0, 10**12 - 1), seed=st.integers(0, 2**63 - 1), split=st.sampled_from(SPLITS))
def test_any_index_gives_a_picture_with_contrast(index, seed, split):
    picture = SyntheticFaces(split, size=10**12, seed=seed)[index]
    assert picture.dtype == np.uint8
    assert picture.shape == (128, 128, 3)
    assert 5 < picture.std() < 110
    assert 8 < picture.mean() < 245
    assert (picture.max(axis=2) == 255).mean() < 0.7


@settings(max_examples=8)
@given(size=st.sampled_from([32, 64, 96, 120, 160, 256]), seed=st.integers(0, 1000))
def test_other_sizes_show_the_same_face(size, seed):
    """The grain differs, the face does not."""
    picture, reference = draw_face(seed, size), draw_face(seed)
    assert picture.shape == (size, size, 3)
    coarse = [
        cv2.resize(p, (16, 16), interpolation=cv2.INTER_AREA).astype(float) for p in (picture, reference)
    ]
    assert np.abs(coarse[0] - coarse[1]).mean() < 6


@pytest.mark.parametrize("index", [-1, 32, 10**9])
def test_an_index_outside_is_an_index_error(faces, index):
    for call in (faces.__getitem__, faces.id, faces.landmarks):
        with pytest.raises(IndexError, match=f"Face {index} .* test split of 32"):
            call(index)


def test_iteration_ends():
    assert len(list(SyntheticFaces("val", size=2))) == 2


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"split": "dev"}, "'dev'.*train, val, test"),
        ({"size": 0}, "size.* 0"),
        ({"size": -3}, "size.*-3"),
        ({"seed": -1}, "seed.*-1"),
        ({"seed": 2**63}, "seed"),
        ({"image_size": 8}, "32 and 1024.* 8"),
        ({"image_size": 4096}, "32 and 1024.* 4096"),
    ],
)
def test_wrong_arguments_are_named(arguments, named):
    with pytest.raises(ValueError, match=named):
        SyntheticFaces(**arguments)


def test_a_fraction_is_no_size():
    with pytest.raises(TypeError):
        SyntheticFaces(size=2.5)


@pytest.mark.parametrize(("scale", "low", "high"), [(4, 27.5, 32.0), (8, 22.5, 26.5)])
def test_shrinking_loses_about_as_much_as_on_photographs(pictures, scale, low, high):
    """LFW's centre crops: 29.9 dB (x4) and 24.3 dB (x8)."""
    hr = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    resample = Resampler(128, 128, scale)
    assert low < float(psnr(resample.enlarge(resample.shrink(hr)), hr).mean()) < high


def test_faces_differ_as_faces_do(pictures):
    """Varied, yet all of them faces: the mean picture keeps eyes and mouth."""
    assert pictures.mean(axis=(1, 2, 3)).std() > 10
    mean = cv2.cvtColor(pictures.mean(axis=0).astype(np.uint8), cv2.COLOR_RGB2GRAY).astype(float)
    eyes = min(mean[46:58, 36:52].min(), mean[46:58, 76:92].min())
    assert eyes < mean[62:74, 36:92].mean() - 20  # darker than the cheeks
    assert mean[90:104, 54:74].min() < mean[62:74, 36:92].mean() - 10


def _at(picture, point, radius=1):
    x, y = np.rint(point).astype(int)
    return picture[max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1].astype(float)


def test_landmarks_are_framed_as_in_lfw(faces):
    points = np.stack([faces.landmarks(i) for i in range(32)])
    assert points.shape == (32, 68, 2)
    inner = points[:, 17:]  # all but the jaw, whose chin may be cut
    assert inner.min() > 0
    assert inner.max() < 127
    eyes = np.stack([points[:, 36:42].mean(axis=1), points[:, 42:48].mean(axis=1)], 1)
    assert abs(eyes[..., 1].mean() - 51) < 3
    assert 37 < np.linalg.norm(eyes[:, 1] - eyes[:, 0], axis=-1).mean() < 45
    assert abs(points[:, 27:31, 0].mean() - 63.5) < 4


def test_landmarks_are_in_their_order(faces):
    for i in range(8):
        p = faces.landmarks(i)
        assert (np.diff(p[3:14, 0]) > 0).all()  # jaw, image-left to image-right
        assert p[0, 0] < p[36, 0] < p[45, 0] < p[16, 0]
        assert (np.diff(p[17:22, 0]) > 0).all()
        assert (np.diff(p[22:27, 0]) > 0).all()
        assert (np.diff(p[27:31, 1]) > 0).all()  # down the bridge
        assert (np.diff(p[31:36, 0]) > 0).all()
        assert p[36, 0] < p[39, 0] < p[42, 0] < p[45, 0]
        assert p[37:39, 1].mean() < p[40:42, 1].mean()
        assert p[43:45, 1].mean() < p[46:48, 1].mean()
        assert p[48, 0] < p[51, 0] < p[54, 0]
        assert p[51, 1] < p[62, 1] <= p[66, 1] < p[57, 1]
        assert p[17:27, 1].mean() < p[36:48, 1].mean() < p[33, 1] < p[62, 1] < p[8, 1]


def test_landmarks_lie_on_the_features_they_name(faces, pictures):
    """Eyes are darker than the cheeks below them, nostrils than the nose's tip, lips redder than the chin."""
    dark_eyes, dark_nostrils, red_lips = [], [], []
    for i, picture in enumerate(pictures):
        p = faces.landmarks(i)
        gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        for eye in (p[36:42], p[42:48]):
            cheek = _at(gray, eye.mean(axis=0) + np.array([0, 17]), 2).mean()
            dark_eyes.append(_at(gray, eye.mean(axis=0), 3).min() < cheek)
        dark_nostrils.append(_at(gray, p[33], 5).min() < _at(gray, p[30], 1).mean())
        spots = (p[57] + p[66]) / 2, (p[57] + 2 * p[8]) / 3
        lip, chin = (_at(picture, spot).mean(axis=(0, 1)) for spot in spots)
        red_lips.append(lip[1] / lip[0] < chin[1] / chin[0])
    assert np.mean(dark_eyes) > 0.9
    assert np.mean(dark_nostrils) > 0.9
    assert np.mean(red_lips) > 0.75  # beards and red light excepted


def test_landmarks_scale_with_the_picture():
    small, large = SyntheticFaces(seed=2, image_size=64), SyntheticFaces(seed=2, image_size=128)
    np.testing.assert_allclose((small.landmarks(5) + 0.5) * 2 - 0.5, large.landmarks(5), atol=1e-9)


KNOWN = {
    0: [[13, 136, 44], [19, 154, 85], [6, 92, 45]],
    1: [[81, 139, 108], [102, 174, 168], [101, 147, 189]],
    2: [[193, 224, 133], [181, 197, 135], [197, 174, 161]],
}
"""Mean gray level of each ninth of three faces."""

KNOWN_POINTS = {
    0: [[70.9, 121.8], [38.0, 51.3], [93.5, 50.5], [59.0, 71.8], [50.5, 95.4], [81.6, 94.9]],
    1: [[69.9, 122.7], [39.7, 53.3], [95.3, 54.7], [62.4, 76.0], [50.5, 96.6], [83.6, 97.7]],
    2: [[66.3, 121.2], [31.2, 54.1], [93.8, 49.4], [66.8, 75.0], [48.8, 99.8], [83.1, 97.7]],
}
"""Chin, outer eye corners, tip of the nose and corners of the mouth of the same three."""


@pytest.mark.parametrize("index", KNOWN)
def test_known_faces_stay_as_they_are(index):
    """Coarse enough to survive another OpenCV or NumPy, fine enough to notice a changed renderer."""
    faces = SyntheticFaces("test", seed=0)
    ninths = cv2.resize(faces[index], (3, 3), interpolation=cv2.INTER_AREA).mean(axis=2)
    np.testing.assert_allclose(ninths, KNOWN[index], atol=4)
    np.testing.assert_allclose(faces.landmarks(index)[[8, 36, 45, 30, 48, 54]], KNOWN_POINTS[index], atol=0.5)
