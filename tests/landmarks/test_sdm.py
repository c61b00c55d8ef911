"""The supervised descent: what it learns, what a file keeps of it, and what it refuses."""

import json

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from agents.landmarks import SDM, SDMConfig, default_boxes, relative_errors
from agents.landmarks.descriptors import describe, orientation_maps
from agents.landmarks.sdm import ridge_regression


def test_it_finds_points_far_better_than_the_mean_shape(sdm, unseen):
    boxes = default_boxes(*unseen.pictures.shape[:3])
    start = relative_errors(sdm.mean_shape(boxes), unseen.points).mean()
    found = relative_errors(sdm.predict(unseen.pictures), unseen.points).mean()
    assert start > 0.06
    assert found < start / 2


def test_every_stage_comes_closer(drawn):
    left = []
    SDM.train(
        drawn.pictures,
        drawn.points,
        config=SDMConfig(starts=2, stages=3),
        report=lambda stage, distance: left.append((stage, distance)),
    )
    stages, distances = zip(*left, strict=True)
    assert stages == (1, 2, 3)
    assert distances[0] > distances[1] > distances[2]


def test_a_box_says_where_the_face_is_in_a_larger_picture(sdm, unseen):
    """The same face at half the size somewhere in a large gray picture."""
    small = np.stack([cv2.resize(p, (64, 64), interpolation=cv2.INTER_AREA) for p in unseen.pictures])
    large = np.full((len(small), 150, 200, 3), 128, np.uint8)
    large[:, 30:94, 70:134] = small
    boxes = np.tile([70 + 31.5, 30 + 31.5, 64.0], (len(small), 1))
    true = (unseen.points + 0.5) / 2 - 0.5 + [70, 30]
    assert relative_errors(sdm.predict(large, boxes), true).mean() < 0.06
    assert relative_errors(sdm.predict(large), true).mean() > 0.3


def test_a_batch_is_answered_as_each_face_alone(sdm, unseen):
    together = sdm.predict(unseen.pictures[:3])
    alone = np.concatenate([sdm.predict(unseen.pictures[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(together, alone, atol=1e-3)


def test_training_is_deterministic(drawn):
    config = SDMConfig(starts=2, stages=1)
    first, again = (SDM.train(drawn.pictures[:6], drawn.points[:6], config=config) for _ in range(2))
    assert torch.equal(first.weights, again.weights)


def test_any_number_of_points(drawn, unseen):
    """Both eyes alone, as BioID has them."""
    eyes = SDM.train(drawn.pictures, drawn.points[:, [36, 45]], config=SDMConfig(starts=3, ridge=1.0))
    assert eyes.count == 2
    true = unseen.points[:, [36, 45]]
    assert relative_errors(eyes.predict(unseen.pictures), true).mean() < 0.06


def test_a_file_gives_back_the_same_answers(sdm, unseen, tmp_path):
    sdm.save(tmp_path / "sdm.safetensors")
    loaded = SDM.load(tmp_path / "sdm.safetensors")
    assert loaded.config == sdm.config
    np.testing.assert_array_equal(loaded.predict(unseen.pictures), sdm.predict(unseen.pictures))


def test_files_that_are_refused(sdm, tmp_path):
    path = tmp_path / "sdm.safetensors"
    with pytest.raises(FileNotFoundError, match=r"agents\.landmarks"):
        SDM.load(path)
    sdm.save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="cut off"):
        SDM.load(path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="unlabelled weights"):
        SDM.load(path)
    meta = {"kind": "facehall landmarks (SDM)", "config": json.dumps({"stages": 2})}
    save_file(sdm.state(), path, meta)
    with pytest.raises(ValueError, match="do not belong"):
        SDM.load(path)


@pytest.mark.parametrize(
    ("pictures", "points", "message"),
    [
        (np.zeros((2, 40, 40, 3)), np.zeros((2, 4, 2)), "array of float64"),
        (np.zeros((2, 40, 40), np.uint8), np.zeros((2, 4, 2)), r"\(N, H, W, C\)"),
        (np.zeros((2, 40, 40, 1), np.uint8), np.zeros((3, 4, 2)), r"need \(2, K, 2\)"),
        (np.zeros((2, 40, 40, 1), np.uint8), np.full((2, 4, 2), np.nan), "not finite"),
        (np.zeros((1, 40, 40, 1), np.uint8), np.zeros((1, 4, 2)), "at least two"),
    ],
)
def test_training_data_that_are_refused(pictures, points, message):
    with pytest.raises(ValueError, match=message):
        SDM.train(pictures, points)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"stages": 0}, "stages"), ({"window": 30}, "multiple of 4"), ({"ridge": float("nan")}, "ridge")],
)
def test_settings_that_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SDMConfig(**options)


@pytest.mark.parametrize("boxes", [np.zeros((1, 3)), np.full((2, 3), np.nan), np.full((2, 3), 2.0)])
def test_boxes_that_are_refused(sdm, noise, boxes):
    with pytest.raises(ValueError, match="boxes"):
        sdm.predict(noise, boxes)


@pytest.mark.parametrize("samples", [5, 60])
def test_ridge_regression_solves_its_equation(samples):
    """Few samples and many take different ways to the same minimum."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(samples, 20, generator=generator)
    y = torch.randn(samples, 3, generator=generator)
    weight, bias = ridge_regression(x, y, 0.5)
    centred = x - x.mean(0)
    penalty = 0.5 * centred.square().sum() / 20
    gradient = centred.T @ (x @ weight + bias - y) + penalty * weight
    assert gradient.abs().max() < 1e-3


def test_descriptors_are_of_length_one_and_turn_with_the_picture():
    gray = torch.rand(1, 40, 40, generator=torch.Generator().manual_seed(0))
    point = torch.tensor([[[19.5, 19.5]]])
    upright = describe(orientation_maps(gray, 4), point, 4)
    turned = describe(orientation_maps(gray.rot90(dims=(1, 2)), 4), point, 4)
    assert upright.norm().item() == pytest.approx(1, abs=1e-5)
    # A quarter turn counter-clockwise moves every cell so, and every orientation on by a quarter, y down.
    bins = upright.reshape(4, 4, 8).rot90(dims=(0, 1)).roll(-2, dims=2)
    torch.testing.assert_close(turned.reshape(4, 4, 8), bins, atol=1e-4, rtol=0)


def test_a_flat_picture_has_no_descriptor():
    maps = orientation_maps(torch.full((1, 30, 30), 0.5), 8)
    assert describe(maps, torch.tensor([[[3.0, 3.0]]]), 8).abs().max() == 0
