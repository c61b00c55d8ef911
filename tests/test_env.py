"""The Gymnasium face: whole episodes, any sequence of actions, and everything that is refused."""

import functools
import json
import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3

from facehall_env import FaceHallucinationEnv, FaceHallucinationVectorEnv
from facehall_env.enhancer import make_enhancer
from tests.small import SmallFaces
from tests.test_core import numpy_episode, squared_error

SMALL = {
    "horizon": 4,
    "patch_size": (12, 9),
    "enhancer": "identity",
    "data_options": {"image_size": 32, "size": 5},
}
"""Five drawn faces of 32x32 and short episodes."""


def small(**arguments) -> FaceHallucinationEnv:
    return FaceHallucinationEnv(**(SMALL | arguments))


def walk(env, seed: int, episodes: int = 1) -> list[tuple]:
    """Whole episodes of random actions: all that the environment said."""
    env.action_space.seed(seed)
    said = []
    for episode in range(episodes):
        said.append(env.reset(seed=seed if episode == 0 else None))
        terminated = False
        while not terminated:
            step = env.step(env.action_space.sample())
            terminated = step[2]
            said.append(step)
    return said


def same(first, second) -> bool:
    """Whether two answers are equal through and through, NaN included."""
    if isinstance(first, np.ndarray):
        return np.array_equal(first, second) and first.dtype == second.dtype
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, tuple | list):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second and type(first) is type(second)


# --- one episode --------------------------------------------------------------------------------------


@pytest.mark.parametrize("observation", ["image", "dict"])
@pytest.mark.parametrize("reward", ["terminal", "delta", "coverage"])
def test_types_and_keys_are_those_of_the_contract(observation, reward):
    env = small(observation=observation, reward=reward)
    said = walk(env, seed=0)
    keys = {"mse": float, "psnr": float, "coverage": float, "index": int}
    for t, (seen, *middle, info) in enumerate(said):
        assert env.observation_space.contains(seen)
        if t:
            keys["location"] = int
            assert [type(part) for part in middle] == [float, bool, bool]
        if t == 4:
            keys |= {"psnr_input": float, "psnr_gain": float}
        assert {key: type(value) for key, value in info.items()} == keys
        json.dumps(info)
    assert info["psnr"] == pytest.approx(-10 * math.log10(info["mse"]))


def test_the_numbers_are_those_of_the_pictures():
    env = small(enhancer="tiny", reward="terminal")
    torch.nn.init.constant_(env.core.enhancer.convolutions[-1].bias, 0.1)
    _, start = env.reset(seed=0, options={"index": 3})
    face = env.task.dataset[3]
    assert start["index"] == 3
    rewards = []
    for action in (0, 500, 500, 1023):
        seen, reward, *_, info = env.step(action)
        rewards.append(reward)
        assert info["location"] == action
        pictures = env.pictures()
        assert np.array_equal(seen, pictures["current"])
        assert np.array_equal(pictures["high_resolution"], face)
        error = np.mean((pictures["current"] / 255.0 - face / 255.0) ** 2)
        assert info["mse"] == pytest.approx(error, rel=0.02)  # the error is that of the unrounded picture
    assert rewards == [0, 0, 0, -info["mse"]]
    assert info["psnr_input"] == start["psnr"]
    assert info["psnr_gain"] == pytest.approx(info["psnr"] - start["psnr"])
    assert info["psnr_gain"] != 0
    assert 0 < info["coverage"] < 1
    assert pictures["low_resolution"].shape == (4, 4, 3)
    assert not np.array_equal(pictures["input"], pictures["current"])


def test_a_perfect_picture_has_infinite_psnr_and_no_gain():
    class Flat:
        name, split, shape = "flat", "train", (32, 32, 1)

        def __len__(self):
            return 1

        def __getitem__(self, index):
            return np.full(self.shape, 255, np.uint8)

        def id(self, index):
            return "flat"

    env = FaceHallucinationEnv(dataset=Flat(), horizon=1, patch_size=(8, 8), enhancer="identity")
    _, info = env.reset(seed=0)
    assert info["psnr"] == math.inf
    *_, info = env.step(0)
    assert (info["psnr_input"], info["psnr_gain"]) == (math.inf, 0.0)


def test_observations_are_fresh_and_rounding_never_flows_back():
    first, second = small(enhancer="tiny"), small(enhancer="tiny")
    for env in (first, second):
        torch.nn.init.constant_(env.core.enhancer.convolutions[-1].bias, 0.0017)  # less than half a level
    seen, _ = first.reset(seed=0)
    second.reset(seed=0)
    kept, copies = [seen], [seen.copy()]
    for action in (500, 500, 500, 500):
        seen, *_ = first.step(action)
        second.step(action)
        kept.append(seen)
        copies.append(seen.copy())
        first.pictures()["current"][:] = 0
    assert all(np.array_equal(old, copied) for old, copied in zip(kept, copies, strict=True))
    assert len({id(picture) for picture in kept}) == 5
    assert (
        kept[0] != kept[4]
    ).any()  # four steps of less than half a level: a rounded state would stand still
    for picture in kept:
        picture[:] = 0
    assert torch.equal(first.core.current, second.core.current)


def test_the_dictionary_tells_place_and_time():
    env = small(observation="dict")
    seen, _ = env.reset(seed=0)
    assert (seen["location"].tolist(), seen["time"].tolist()) == ([-1], [0])
    low = env.pictures()["low_resolution"]
    assert low.shape == (4, 4, 3)
    for t, action in enumerate((7, 1023), start=1):
        seen, *_ = env.step(action)
        assert (seen["location"].tolist(), seen["time"].tolist()) == ([action], [t / 4])
        assert np.array_equal(seen["low_resolution"], low)
        assert np.array_equal(seen["image"], env.pictures()["current"])
    seen, _ = env.reset()
    assert seen["location"].tolist() == [-1]


@pytest.mark.filterwarnings("ignore:The minimal resolution for an image:UserWarning")
def test_both_checkers_accept_the_dictionary():
    env = gym.make("FaceHallucination-Synthetic-x8", observation="dict", enhancer="identity")
    check_env(env.unwrapped)
    check_env_for_sb3(env)


def test_the_default_type_of_torch_changes_nothing():
    torch.set_default_dtype(torch.float64)
    try:
        env = small(observation="dict", enhancer="tiny")
        observation, _ = env.reset(seed=0)
        assert env.observation_space.contains(observation)
        env.step(0)
    finally:
        torch.set_default_dtype(torch.float32)


def test_an_episode_goes_on_outside_of_inference_mode():
    network = make_enhancer("tiny", shape=(3, 32, 32), patch_size=(12, 9))
    torch.nn.init.normal_(network.convolutions[-1].weight, std=0.1)
    env, plain = small(reward="delta"), small(reward="delta")
    env.set_enhancer(network)
    plain.set_enhancer(network)
    with torch.inference_mode():
        env.reset(seed=0)
        env.step(100)
    plain.reset(seed=0)
    plain.step(100)
    for location in (100, 7):
        (seen, *told), (wanted, *meant) = env.step(location), plain.step(location)
        assert np.array_equal(seen, wanted)
        assert told[0] == meant[0] != 0.0


def test_any_integer_is_an_action():
    env = small()
    for action in (5, np.int64(5), np.int32(5), np.uint8(5), np.array(5)):
        env.reset(seed=0)
        *_, info = env.step(action)
        assert info["location"] == 5
        assert type(info["location"]) is int


# --- which face ---------------------------------------------------------------------------------------


def test_sequential_sampling_walks_through_the_split_in_order():
    env = small(sampling="sequential")

    def indices(count: int, **first) -> list[int]:
        return [env.reset(**(first if k == 0 else {}))[1]["index"] for k in range(count)]

    assert indices(7) == [0, 1, 2, 3, 4, 0, 1]
    assert indices(6, seed=9) == [0, 1, 2, 3, 4, 0]
    assert indices(2, options={"index": 3}) == [3, 4]
    assert indices(2, seed=1, options={"index": 2}) == [2, 3]


def test_random_sampling_reaches_every_face_and_follows_the_seed_alone():
    env = small()
    np.random.seed(0)  # noqa: NPY002 (the global generator must not matter)
    first = [env.reset(seed=4 if k == 0 else None)[1]["index"] for k in range(20)]
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(5)
    second = [env.reset(seed=4 if k == 0 else None)[1]["index"] for k in range(20)]
    assert first == second
    assert set(first) == set(range(5))


def test_an_option_picks_the_face():
    env = small()
    for index in (0, 4, np.int64(2)):
        _, info = env.reset(seed=0, options={"index": index})
        assert info["index"] == index
        assert type(info["index"]) is int
        assert np.array_equal(env.pictures()["high_resolution"], env.task.dataset[int(index)])


# --- refusals -----------------------------------------------------------------------------------------


def state(env: FaceHallucinationEnv) -> list:
    """All that a refused call must leave alone."""
    return [
        env.core.t,
        env.pictures()["current"].tolist(),
        env.core.mse.tolist(),
        env.core.coverage.tolist(),
        env.np_random.bit_generator.state,
        env.episodes.info(),
        env.order.__dict__.copy(),
    ]


@pytest.mark.parametrize(
    "action",
    [
        None,
        math.nan,
        5.0,
        np.float32(5),
        -1,
        1024,
        "5",
        [5],
        (5,),
        np.array([5]),
        np.array([[5]]),
        np.int64(-3),
    ],
    ids=repr,
)
def test_what_is_no_location_is_refused_and_changes_nothing(action):
    env = small(enhancer="tiny")
    env.reset(seed=0)
    env.step(500)
    before = state(env)
    with pytest.raises(ValueError, match=r"the action is .* from 0 to 1023"):
        env.step(action)
    assert state(env) == before


def test_a_step_after_the_end_is_refused():
    env = small()
    walk(env, seed=0)
    before = state(env)
    with pytest.raises(RuntimeError, match=r"ended after 4 steps.*call reset\(\)"):
        env.step(5)
    assert state(env) == before


def test_nothing_can_be_done_before_the_first_reset():
    env = small()
    with pytest.raises(RuntimeError, match=r"call reset\(\)"):
        env.step(5)
    with pytest.raises(RuntimeError, match=r"call reset\(\)"):
        env.pictures()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"face": 3}, "no option 'face'; it knows 'index'"),
        ({"index": 5}, r"options\['index'\] is 5, but the split holds faces 0 to 4"),
        ({"index": -1}, "is -1"),
        ({"index": 2.0}, "is 2.0"),
        ({"index": "2"}, "is '2'"),
        ({"index": True}, "is True"),
        ({"index": None}, "is None"),
    ],
    ids=str,
)
def test_wrong_reset_options_are_refused_and_change_nothing(options, message):
    env = small()
    env.reset(seed=0)
    env.step(500)
    before = state(env)
    with pytest.raises(ValueError, match=message):
        env.reset(seed=1, options=options)
    assert state(env) == before


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"dataset": "celeba"}, ValueError, "celeba"),
        ({"split": "dev"}, ValueError, "dev"),
        ({"dataset": "folder"}, FileNotFoundError, "needs root"),
        ({"dataset": "folder", "root": "/no/such/place"}, FileNotFoundError, "/no/such/place"),
        ({"root": "/no/such/place"}, ValueError, "leave root out"),
        ({"sampling": "shuffled"}, ValueError, "sampling is 'shuffled'"),
        ({"observation": "float"}, ValueError, "observation is 'float'"),
        ({"horizon": 0}, ValueError, "horizon is 0"),
        ({"patch_size": (60, 45)}, ValueError, "patch_size is 60x45"),
        ({"patch_size": 9}, ValueError, "patch_size is 9"),
        ({"boundary": "wrap"}, ValueError, "boundary is 'wrap'"),
        ({"protocol": "matlab"}, ValueError, "protocol 'matlab'"),
        ({"reward": "psnr"}, ValueError, "reward is 'psnr'"),
        ({"coverage_weight": math.inf}, ValueError, "coverage_weight is inf"),
        ({"scale": 3}, ValueError, "scale 3"),
        ({"enhancer": "huge"}, FileNotFoundError, "enhancer is 'huge'.*identity, paper, full, half, tiny"),
        ({"enhancer": torch.nn.Identity()}, ValueError, "set_enhancer"),
        ({"precision": "int8"}, ValueError, "precision is 'int8'"),
        ({"compile": "fast"}, ValueError, "compile is 'fast'.*'reduce-overhead'"),
        ({"device": "gpu"}, ValueError, "device is 'gpu'"),
        ({"device": "cuda:99"}, ValueError, "device is 'cuda:99'"),
        ({"device": "meta"}, ValueError, "device is 'meta'"),
        ({"consistent": "no"}, ValueError, "consistent is 'no', but it must be True or False"),
        ({"channels_last": 1}, ValueError, "channels_last is 1, but it must be True or False"),
        ({"coverage_weight": "4"}, ValueError, "coverage_weight is '4'"),
        ({"data_options": {"colour": "green"}}, ValueError, "no option colour"),
        ({"render_mode": "hologram"}, ValueError, "render_mode is 'hologram'"),
        ({"horizn": 3}, TypeError, "horizn"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_arguments_that_make_no_sense_are_refused_by_name(arguments, error, message):
    with pytest.raises(error, match=message):
        small(**arguments) if "dataset" not in arguments else FaceHallucinationEnv(**arguments)


# --- enhancers ----------------------------------------------------------------------------------------


def test_a_preset_is_the_same_untrained_network_every_time_and_draws_from_nobodys_generator():
    torch.manual_seed(123)
    before = torch.random.get_rng_state()
    first = small(enhancer="tiny").core.enhancer
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(321)
    second = small(enhancer="tiny").core.enhancer
    for name, parameter in first.named_parameters():
        assert torch.equal(parameter, second.get_parameter(name))
    assert not first.training


def test_weights_are_read_from_a_file_and_networks_attached_alive(tmp_path):
    network = make_enhancer("tiny", shape=(3, 32, 32), patch_size=(12, 9))
    torch.nn.init.normal_(network.convolutions[-1].weight, std=0.1)
    network.save(tmp_path / "enhancer.safetensors")
    loaded, live = small(enhancer=str(tmp_path / "enhancer.safetensors")), small()
    live.set_enhancer(network)
    assert live.core.enhancer is network
    said = walk(loaded, seed=0)
    assert same(said, walk(live, seed=0))
    assert not same(said, walk(small(), seed=0))
    live.set_enhancer(None)
    assert same(walk(live, seed=0), walk(small(), seed=0))
    with pytest.raises(ValueError, match="was made for pictures"):
        small(patch_size=(8, 8)).set_enhancer(network)


def test_the_default_enhancer_leaves_pictures_as_they_are():
    said = walk(small(), seed=0)
    assert all(np.array_equal(step[0], said[0][0]) for step in said)
    assert said[-1][-1]["psnr_gain"] == 0


# --- any sequence of actions --------------------------------------------------------------------------


class Brightens:
    """Moves every pixel a little way towards white: each visit leaves its mark."""

    needs_initial_patch = False

    def __call__(self, inputs):
        return 0.75 * inputs.patch + 0.3


@functools.cache
def small_pictures(boundary: str, reward: str, rows: int):
    arguments = {
        "dataset": SmallFaces(4, side=12),
        "scale": 4,
        "horizon": 5,
        "patch_size": (4, 3),
        "boundary": boundary,
        "reward": reward,
    }
    env = FaceHallucinationEnv(**arguments) if rows == 0 else FaceHallucinationVectorEnv(rows, **arguments)
    env.set_enhancer(Brightens())
    return env


@settings(max_examples=1000)
@given(
    boundary=st.sampled_from(["pad", "clamp"]),
    reward=st.sampled_from(["terminal", "delta", "coverage"]),
    index=st.integers(0, 3),
    actions=st.lists(st.integers(0, 143), min_size=1, max_size=5),
)
def test_any_sequence_of_actions_does_what_a_loop_over_pixels_does(boundary, reward, index, actions):
    alone, batch = (small_pictures(boundary, reward, rows) for rows in (0, 2))
    picture = alone.task.dataset[index].transpose(2, 0, 1)
    loop = numpy_episode(picture, actions, 4, (4, 3), lambda patch, *_: 0.75 * patch + 0.3, boundary)
    seen, info = alone.reset(options={"index": index})
    pair, told = batch.reset(options={"index": [3 - index, index]})
    before, given_reward, pair_reward, done = None, 0.0, np.zeros(2), False
    for t, (current, coverage) in enumerate(loop):
        if t:
            seen, given_reward, done, _, info = alone.step(actions[t - 1])
            pair, pair_reward, *_, told = batch.step([0, actions[t - 1]])
        levels = np.clip((current + 1) * 127.5, 0, 255).transpose(1, 2, 0)
        assert np.abs(seen - levels).max() <= 0.501  # rounded, and nothing more
        assert np.array_equal(pair[1], seen)
        mse = squared_error(current, picture)
        assert info["mse"] == pytest.approx(mse, rel=1e-5)
        assert info["coverage"] == pytest.approx(coverage)
        assert {name: told[name][1] for name in info} == info
        if t:
            last = -mse + (4.0 * coverage if reward == "coverage" else 0.0)
            expected = before - mse if reward == "delta" else last if t == 5 else 0.0
            assert given_reward == pytest.approx(expected, abs=1e-6)
            assert pair_reward[1] == given_reward
        before = mse
    assert done == (len(actions) == 5)
