"""What the faces of the environment share."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

from facehall_env.core import HallucinationCore
from facehall_env.datasets import load_dataset
from facehall_env.enhancer import PRESETS, make_enhancer
from facehall_env.task import FaceTask, choose_device, named_enhancer

FACES = {"image_size": 32, "size": 4}
SMALL = {"patch_size": [12, 9], "horizon": 3}


def test_words_become_a_core():
    task = FaceTask(
        "synthetic",
        4,
        split="val",
        boundary="clamp",
        protocol="torch7",
        reward="delta",
        coverage_weight=1.5,
        consistent=True,
        precision="bfloat16",
        compile="default",
        channels_last=True,
        data_options=FACES,
        **SMALL,
    )
    core = task.core
    assert task.dataset.split == "val"
    assert (core.shape, core.scale, core.horizon, core.patch_size) == ((3, 32, 32), 4, 3, (12, 9))
    assert (core.boundary, core.protocol, core.reward) == ("clamp", "torch7", "delta")
    assert core.consistent
    assert (core.compile, core.channels_last) == ("default", True)
    assert (core.coverage_weight, core.precision, core.device) == (1.5, "bfloat16", torch.device("cpu"))


@pytest.mark.parametrize(
    ("name", "value"),
    [("reward", "terminl"), ("boundary", "p"), ("precision", "half"), ("protocol", "both"), ("horizon", 0)],
)
def test_a_wrong_word_is_said_before_any_picture_is_read(name: str, value: object, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=name):
        FaceTask("folder", 4, root=str(tmp_path / "nowhere"), **{name: value})


def test_the_defaults_are_the_papers():
    core = FaceTask().core
    assert (core.shape, core.scale, core.horizon, core.patch_size) == ((3, 128, 128), 8, 25, (60, 45))
    assert (core.boundary, core.protocol, core.reward) == ("pad", "aligned", "terminal")
    assert not core.consistent
    assert (core.compile, core.channels_last) == (None, False)


def test_faces_come_as_the_core_takes_them():
    task = FaceTask(data_options=FACES, **SMALL)
    faces = task.faces([2, 0])
    assert (faces.dtype, tuple(faces.shape)) == (torch.uint8, (2, 3, 32, 32))
    assert np.array_equal(faces[0].permute(1, 2, 0).numpy(), task.dataset[2])


def test_an_open_data_set_is_taken_as_it_is():
    dataset = load_dataset("synthetic", split="test", **FACES)
    assert FaceTask(dataset, **SMALL).dataset is dataset
    for extra in ({"root": "somewhere"}, {"data_options": FACES}):
        with pytest.raises(ValueError, match="root and data_options"):
            FaceTask(dataset, **SMALL, **extra)


def test_spaces_are_those_of_one_row():
    task = FaceTask(data_options=FACES, observation="dict", **SMALL)
    assert task.action_space == gym.spaces.Discrete(1024)
    assert task.observation_space == gym.spaces.Dict(
        {
            "image": gym.spaces.Box(0, 255, (32, 32, 3), np.uint8),
            "low_resolution": gym.spaces.Box(0, 255, (4, 4, 3), np.uint8),
            "location": gym.spaces.Box(-1, 1023, (1,), np.int64),
            "time": gym.spaces.Box(0.0, 1.0, (1,), np.float32),
        }
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_stand_for_seeded_networks_of_the_right_shape(preset):
    network = named_enhancer(preset, (1, 16, 16), (8, 6))
    assert HallucinationCore((1, 16, 16), 4, patch_size=(8, 6), enhancer=network).enhancer is network
    assert not network.training
    twin = named_enhancer(preset, (1, 16, 16), (8, 6))
    assert all(map(torch.equal, network.state_dict().values(), twin.state_dict().values()))


def test_a_file_stands_for_its_weights(tmp_path: Path):
    network = make_enhancer("tiny", shape=(1, 16, 16), patch_size=(8, 6))
    network.save(tmp_path / "weights.safetensors")
    for name in (tmp_path / "weights.safetensors", str(tmp_path / "weights.safetensors")):
        loaded = named_enhancer(name, (1, 16, 16), (8, 6))
        assert all(map(torch.equal, loaded.state_dict().values(), network.state_dict().values()))
        assert not loaded.training
    assert named_enhancer("identity", (1, 16, 16), (8, 6)) is None


def test_a_file_of_weights_for_other_pictures_is_refused(tmp_path: Path):
    make_enhancer("tiny", shape=(3, 64, 64), patch_size=(12, 9)).save(tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match=r"was made for pictures \(3, 64, 64\)"):
        FaceTask(data_options=FACES, enhancer=str(tmp_path / "weights.safetensors"), **SMALL)


def test_devices_are_tried_before_they_are_used():
    assert choose_device("cpu") == torch.device("cpu")
    chosen = choose_device("auto")
    assert chosen.type == (
        "cpu" if not torch.accelerator.is_available() else torch.accelerator.current_accelerator().type
    )
    with pytest.raises(
        ValueError, match=r"device is 'abacus', which cannot be used here .*: choose 'cpu' or 'auto'"
    ):
        choose_device("abacus")
