"""Other shapes of observations and actions: every wrapper passes the checkers, and does what it says."""

import copy
import functools
import json
import math
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import Autoreset, FilterObservation
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3
from stable_baselines3.common.vec_env import DummyVecEnv

from facehall_env import FaceHallucinationEnv
from facehall_env.patches import AffineLocations, PatchGeometry, StrideGrid
from facehall_env.wrappers import (
    ContinuousLocation,
    RowColumnLocation,
    StrideGridLocation,
    VisitChannel,
    VisitMask,
)

ENV_ID = "FaceHallucination-Synthetic-x4"
IDENTITY = {"enhancer": "identity"}
SMALL: dict[str, Any] = IDENTITY | {
    "horizon": 4,
    "patch_size": [12, 9],
    "data_options": {"image_size": 32, "size": 5},
}
HEIGHT = WIDTH = 32
WRAPPED: dict[str, Callable[[gym.Env], gym.Env]] = {
    "visits": VisitChannel,
    "centres": lambda env: VisitChannel(env, mark="centre"),
    "stride": lambda env: StrideGridLocation(env, stride=8),
    "rows and columns": RowColumnLocation,
    "continuous": ContinuousLocation,
    "mask": VisitMask,
    "all": lambda env: VisitMask(StrideGridLocation(VisitChannel(env), 4), distance=5.0),
}


def make(**changes: Any) -> gym.Env:
    return gym.make(ENV_ID, **(SMALL | changes))


def walk(env: gym.Env, seed: int) -> list[Any]:
    env.action_space.seed(seed)
    said, terminated = [env.reset(seed=seed)], False
    while not terminated:
        said.append(env.step(env.action_space.sample()))
        terminated = said[-1][2]
    return said


def assert_same_walks(first: list[Any], second: list[Any]) -> None:
    for one, other in zip(first, second, strict=True):
        np.testing.assert_equal(one, other)


@pytest.mark.parametrize("observation", ["image", "dict"])
@pytest.mark.parametrize("name", WRAPPED)
def test_both_checkers_are_content(name: str, observation: str) -> None:
    env = WRAPPED[name](make(observation=observation))
    with warnings.catch_warnings():
        # It would rather check what is within
        warnings.filterwarnings("ignore", ".*is different from the unwrapped version", UserWarning)
        check_env(env)
        # These pictures are smaller than those that its own convolutional network wants
        warnings.filterwarnings("ignore", "The minimal resolution for an image is 36x36", UserWarning)
        check_env_for_sb3(env)


@pytest.mark.parametrize("name", WRAPPED)
def test_specs_go_through_json_and_copies_go_on(name: str) -> None:
    env = WRAPPED[name](make(reward="delta", enhancer="tiny"))
    text = env.spec.to_json()
    assert json.loads(text)["additional_wrappers"]
    again = gym.make(EnvSpec.from_json(text))
    assert again.observation_space == env.observation_space
    assert again.action_space == env.action_space
    assert_same_walks(walk(env, 3), walk(again, 3))
    env.reset(seed=1)
    env.step(env.action_space.sample())
    for duplicate in (copy.deepcopy(env), pickle.loads(pickle.dumps(env))):
        action = env.action_space.sample()
        twin = copy.deepcopy(env)
        np.testing.assert_equal(duplicate.step(action), twin.step(action))


# --- visits -------------------------------------------------------------------------------------------


@functools.cache
def channel(boundary: str, mark: str) -> VisitChannel:
    return VisitChannel(make(boundary=boundary), mark=mark)


@pytest.mark.parametrize("boundary", ["pad", "clamp"])
@pytest.mark.parametrize("mark", ["patch", "centre"])
@settings(max_examples=30)
@given(path=st.lists(st.integers(0, HEIGHT * WIDTH - 1), min_size=4, max_size=4))
def test_the_channel_counts_the_visits_of_every_pixel(boundary: str, mark: str, path: list[int]) -> None:
    env = channel(boundary, mark)
    observation, _ = env.reset(seed=0)
    assert observation.shape == (HEIGHT, WIDTH, 4)
    assert not observation[:, :, 3].any()
    counts = np.zeros((HEIGHT, WIDTH), int)
    for location in path:
        row, column = divmod(location, WIDTH)
        if mark == "centre":
            counts[row, column] += 1
        else:
            top, left = row - 6, column - 4
            if boundary == "clamp":
                top, left = min(max(top, 0), HEIGHT - 12), min(max(left, 0), WIDTH - 9)
            for i in range(max(top, 0), min(top + 12, HEIGHT)):
                for j in range(max(left, 0), min(left + 9, WIDTH)):
                    counts[i, j] += 1
        observation = env.step(location)[0]
        assert np.array_equal(observation[:, :, 3] // env.unit, counts)
        assert np.array_equal(observation[:, :, 3], counts * 63)  # 255 // 4
        assert np.array_equal(observation[:, :, :3], env.unwrapped.pictures()["current"])
    assert not env.reset()[0][:, :, 3].any()


@pytest.mark.parametrize("horizon", [1, 2, 25, 35, 254, 255])
def test_no_count_overflows_its_byte(horizon: int) -> None:
    env = VisitChannel(make(horizon=horizon))
    env.reset(seed=0)
    for _ in range(horizon):
        observation = env.step(0)[0]
    assert int(observation[0, 0, 3]) == horizon * env.unit <= 255
    assert int(observation[0, 0, 3]) // env.unit == horizon


def test_what_was_shown_stays_as_it_was() -> None:
    for observation in ("image", "dict"):
        env = VisitChannel(make(observation=observation))
        shown, _ = env.reset(seed=0)
        kept = copy.deepcopy(shown)
        env.step(0)
        np.testing.assert_equal(shown, kept)
    later = env.step(0)[0]
    assert set(later) == {"image", "low_resolution", "location", "time", "visits"}
    assert later["visits"].shape == (HEIGHT, WIDTH, 1)
    assert later["visits"].max() == 2 * env.unit


@pytest.mark.parametrize(
    ("change", "make_env", "named"),
    [
        ({"mark": "pixel"}, make, "mark is 'pixel'"),
        ({}, lambda: make(horizon=256), "horizon is 256"),
        ({}, lambda: VisitChannel(make()), "inside the wrappers that change observations"),
        ({}, lambda: gym.make("CartPole-v1"), "CartPoleEnv has no patches"),
    ],
)
def test_a_channel_that_cannot_be_is_refused(change: dict[str, Any], make_env: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        VisitChannel(make_env(), **change)


# --- locations ----------------------------------------------------------------------------------------


@given(rows=st.integers(1, 6), columns=st.integers(1, 6), stride=st.sampled_from([1, 2, 4]))
def test_a_grid_is_the_same_for_numbers_tensors_and_arrays(rows: int, columns: int, stride: int) -> None:
    grid = StrideGrid(rows * stride, columns * stride, stride)
    numbers = [grid.location(place) for place in range(grid.places)]
    assert grid.location(torch.arange(grid.places)).tolist() == numbers
    assert grid.location(np.arange(grid.places)).tolist() == numbers
    assert [grid.place(location) for location in numbers] == list(range(rows * columns))
    middles = {(location // grid.width % stride, location % grid.width % stride) for location in numbers}
    assert middles == {(stride // 2, stride // 2)}


def test_a_place_is_the_middle_of_its_cell() -> None:
    env = StrideGridLocation(make(), stride=8)
    assert env.action_space == gym.spaces.Discrete(16)
    env.reset(seed=0)
    assert [env.step(place)[4]["location"] for place in (0, 1, 4, 15)] == [132, 140, 388, 924]


def test_rows_and_columns_are_those_of_the_centre() -> None:
    env = RowColumnLocation(make())
    assert env.action_space == gym.spaces.MultiDiscrete([HEIGHT, WIDTH])
    env.reset(seed=0)
    actions = [(0, 0), [31, 31], np.array([3, 17]), np.array([17, 3], np.int8)]
    assert [env.step(action)[4]["location"] for action in actions] == [0, 1023, 113, 547]


def test_points_are_those_of_the_authors() -> None:
    geometry, locations = PatchGeometry(128, 128), AffineLocations(128, 128)
    points = torch.tensor([[-1.0, -1.0], [0.0, 0.0], [1.0, 1.0], [-1.0, 1.0]])
    top, left = geometry.corners(locations.location(points))
    assert top.tolist() == [-29, 34, 97, -29]
    assert left.tolist() == [-22, 41, 105, 105]
    beyond = torch.tensor([[-7.0, -1.01], [1e-9, 0.0], [1.5, 99.0], [-2.0, 2.0]])
    assert torch.equal(locations.location(beyond), locations.location(points))


@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    share=st.tuples(st.floats(0.01, 1.0), st.floats(0.01, 1.0)),
    point=st.tuples(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5)),
)
def test_every_point_is_a_location(
    size: tuple[int, int], share: tuple[float, float], point: tuple[float, float]
) -> None:
    patch = tuple(math.ceil(n * part) for n, part in zip(size, share, strict=True))
    locations = AffineLocations(*size, patch)
    geometry = PatchGeometry(*size, patch)
    corner = geometry.corners(locations.location(torch.tensor([point], dtype=torch.float64)))
    for found, value, picture, rows in zip(corner, point, size, patch, strict=True):
        margin = (rows - 1) // 2
        at = (min(max(value, -1.0), 1.0) + 1.0) / 2.0 * (picture + 2 * margin - rows)
        assert math.isclose(int(found) + margin, math.floor(at), abs_tol=0.0) or math.isclose(at, round(at))
        assert -margin <= int(found) <= picture - rows + margin


def test_the_continuous_environment_looks_where_the_authors_would() -> None:
    env = ContinuousLocation(gym.make(ENV_ID, data_options={"size": 2}, **IDENTITY))
    assert env.action_space == gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
    env.reset(seed=0)
    points = ([-1, -1], np.zeros(2, np.float32), (1.0, 1.0), np.array([3.0, -8.0]))
    centres = [divmod(env.step(point)[4]["location"], 128) for point in points]
    corners = [(row - 30, column - 22) for row, column in centres]
    assert corners == [(-29, -22), (34, 41), (97, 105), (97, -22)]


BAD_PLACES = [-1, 16, 1.0, None, "1", np.array([1]), True + 0.0]
BAD_PAIRS = [3, (1,), (1, 2, 3), (-1, 0), (0, 32), (1.0, 2.0), None, "ab", (True, False)]
BAD_POINTS = [0.5, (0.1,), (0.1, 0.2, 0.3), (math.nan, 0.0), (0.0, math.inf), None, "ab", [[0.0, 0.0]]]


@pytest.mark.parametrize(
    ("name", "action"),
    [
        *(("stride", action) for action in BAD_PLACES),
        *(("rows and columns", action) for action in BAD_PAIRS),
        *(("continuous", action) for action in BAD_POINTS),
    ],
)
def test_what_is_no_action_is_refused_and_changes_nothing(name: str, action: Any) -> None:
    env = WRAPPED[name](make())
    env.reset(seed=0)
    good = env.action_space.sample()
    twin = copy.deepcopy(env)
    with pytest.raises(ValueError, match="the action is"):
        env.step(action)
    np.testing.assert_equal(env.step(good), twin.step(good))


@pytest.mark.parametrize("wrapper", [StrideGridLocation, RowColumnLocation, ContinuousLocation])
def test_actions_are_changed_only_once_and_only_of_ours(wrapper: Any) -> None:
    with pytest.raises(ValueError, match="only once"):
        wrapper(RowColumnLocation(make()))
    with pytest.raises(ValueError, match="CartPoleEnv has no patches"):
        wrapper(gym.make("CartPole-v1"))


@pytest.mark.parametrize("stride", [0, 3, 64, -2])
def test_a_stride_that_fits_no_grid_is_refused(stride: int) -> None:
    with pytest.raises(ValueError, match=f"stride is {stride}"):
        StrideGridLocation(make(), stride=stride)


# --- masks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distance", [0.0, 4.0, 11.3, 11.4])
def test_a_mask_forbids_what_lies_near_a_visited_place(distance: float) -> None:
    env = VisitMask(StrideGridLocation(make(), 8), distance=distance)
    env.reset(seed=0)
    assert env.action_masks().all()
    visited: list[tuple[int, int]] = []
    for place in (5, 15, 5):
        env.step(place)
        visited.append((place // 4 * 8, place % 4 * 8))
        found = env.action_masks()
        for other in range(16):
            far = all(math.dist(spot, (other // 4 * 8, other % 4 * 8)) > distance for spot in visited)
            assert found[other] == far, other
    env.action_masks()[:] = True  # the caller's own copy
    assert not env.action_masks()[5]
    env.reset()
    assert env.action_masks().all()


def test_a_mask_is_never_all_false() -> None:
    env = VisitMask(StrideGridLocation(make(horizon=6), 16))
    env.reset(seed=0)
    counts = []
    for place in (0, 1, 2, 3, 0):
        env.step(place)
        counts.append(int(env.action_masks().sum()))
    assert counts == [3, 2, 1, 4, 4]


def test_every_pixel_can_be_masked() -> None:
    env = VisitMask(make())
    env.reset(seed=0)
    for location in (7, 1000):
        env.step(location)
    assert np.flatnonzero(~env.action_masks()).tolist() == [7, 1000]


@pytest.mark.parametrize("distance", [-1.0, math.nan, math.inf])
def test_a_distance_that_is_none_is_refused(distance: float) -> None:
    with pytest.raises(ValueError, match="distance is"):
        VisitMask(make(), distance=distance)


def test_a_mask_needs_one_output_an_action() -> None:
    with pytest.raises(ValueError, match="masks Discrete actions, not MultiDiscrete"):
        VisitMask(RowColumnLocation(make()))


# --- with an agent ------------------------------------------------------------------------------------


class GrayNoise:
    """Gray pictures, whose channels are two with the visits."""

    name, split, shape = "noise", "train", (40, 48, 1)

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        return np.random.default_rng(index).integers(0, 256, self.shape, np.uint8)

    def id(self, index: int) -> str:
        return str(index)


@pytest.mark.parametrize(("policy", "observation"), [("CnnPolicy", "image"), ("MultiInputPolicy", "dict")])
@pytest.mark.parametrize("gray", [False, True])
def test_a_convolutional_policy_learns_from_the_channel(policy: str, observation: str, gray: bool) -> None:
    def make_env() -> gym.Env:
        task = {"scale": 4, "horizon": 4, "patch_size": [12, 9], "observation": observation} | IDENTITY
        faces = {"dataset": GrayNoise()} if gray else {"data_options": {"image_size": 48, "size": 2}}
        env = VisitChannel(FaceHallucinationEnv(**faces, **task))
        # Stable-Baselines3's convolutional network cannot take in the small picture
        return FilterObservation(env, ["image", "visits", "time"]) if observation == "dict" else env

    model = PPO(
        policy, DummyVecEnv([make_env] * 2), n_steps=4, batch_size=8, n_epochs=1, seed=0, device="cpu"
    )
    before = copy.deepcopy(model.policy.state_dict())
    model.learn(8)
    assert any(not torch.equal(before[name], value) for name, value in model.policy.state_dict().items())
    layers = model.policy.features_extractor.modules()
    seen = {layer.in_channels for layer in layers if isinstance(layer, torch.nn.Conv2d)}
    assert {1} < seen if observation == "dict" else (2 if gray else 4) in seen


def test_wrappers_run_in_a_vector_environment_of_stable_baselines() -> None:
    envs = DummyVecEnv([lambda: VisitMask(StrideGridLocation(make()))] * 2)
    assert envs.action_space == gym.spaces.Discrete(64)
    envs.reset()
    assert [info["location"] for info in envs.step(np.array([0, 63]))[3]] == [66, 990]
    masks = np.stack(envs.env_method("action_masks"))
    assert [np.flatnonzero(~mask).tolist() for mask in masks] == [[0], [63]]


@pytest.mark.parametrize("wrap", [VisitMask, VisitChannel])
def test_an_autoreset_beneath_begins_anew(wrap: Any) -> None:
    env = wrap(Autoreset(gym.make(ENV_ID, **SMALL)))
    fresh, _ = env.reset(seed=0)
    terminated = False
    while not terminated:
        seen, _, terminated, _, _ = env.step(33)
    seen, *_ = env.step(33)
    if wrap is VisitMask:
        assert env.action_masks().all()
    else:
        assert not seen[..., -1].any()
        assert not fresh[..., -1].any()
    env.step(33)  # and counts again
    assert wrap is VisitChannel or not env.action_masks().all()
