"""Every registered id, single and in batches: a new id cannot be added untested."""

import copy
import json
import math
import pickle
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.utils.env_match import check_environments_match
from numpy.typing import NDArray
from PIL import Image
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3

from facehall_env import ENV_IDS, FaceHallucinationEnv, FaceHallucinationVectorEnv
from tests.test_env import same, walk


def noise(seed: int, *shape: int) -> NDArray[np.uint8]:
    """Blocks of noise, which JPEG keeps and shrinking does not level."""
    blocks = np.random.default_rng(seed).integers(0, 256, (*(-(-n // 25) for n in shape[:2]), *shape[2:]))
    return blocks.repeat(25, axis=0).repeat(25, axis=1)[: shape[0], : shape[1]].astype(np.uint8)


def write_lfw(root: Path) -> Path:
    """Six people with a picture or two each, and the lists of View 1."""
    train, test = {"Ann_Lee": 2, "Bo": 1, "Cy_Van_Dyk": 2, "Di_Wu": 1}, {"Ed_Ray": 2, "Flo": 1}
    for seed, (person, count) in enumerate((train | test).items()):
        (root / "lfw_funneled" / person).mkdir(parents=True)
        for k in range(1, count + 1):
            path = root / "lfw_funneled" / person / f"{person}_{k:04d}.jpg"
            Image.fromarray(noise(10 * seed + k, 250, 250, 3)).save(path)
    for name, people in (("peopleDevTrain.txt", train), ("peopleDevTest.txt", test)):
        lines = [str(len(people)), *(f"{person}\t{count}" for person, count in people.items())]
        (root / name).write_text("\n".join(lines) + "\n")
    return root


def write_bioid(root: Path) -> Path:
    """Twelve pictures of as many sittings, each with its eye file."""
    root.mkdir()
    for number in (0, 16, 25, 46, 50, 76, 98, 147, 170, 180, 241, 449):
        Image.fromarray(noise(number, 286, 384)).save(root / f"BioID_{number:04d}.pgm")
        (root / f"BioID_{number:04d}.eye").write_text("#LX\tLY\tRX\tRY\n232\t110\t161\t112\n")
    return root


def write_folder(root: Path) -> Path:
    """Nine PNGs."""
    root.mkdir()
    for k in range(9):
        Image.fromarray(noise(k, 140, 130, 3)).save(root / f"{k}.png")
    return root


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory):
    """Where the pictures of each data set lie; caches go beside them."""
    home = tmp_path_factory.mktemp("faces")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACEHALL_DATA", str(home / "data"))
        yield {
            "lfw": str(write_lfw(home / "lfw")),
            "bioid": str(write_bioid(home / "bioid")),
            "folder": str(write_folder(home / "folder")),
            "synthetic": None,
        }


# Without a network: which weights come with the package must not matter here.
BARE = {"enhancer": "identity"}


@pytest.fixture(params=ENV_IDS)
def made(request: pytest.FixtureRequest, roots):
    """Every registered environment, as gym.make gives it."""
    env = gym.make(request.param, root=roots[ENV_IDS[request.param]["dataset"]], **BARE)
    yield env
    env.close()


@pytest.fixture(params=ENV_IDS)
def batch(request: pytest.FixtureRequest, roots):
    """Every registered environment, as gym.make_vec gives it, with two rows."""
    env = gym.make_vec(request.param, num_envs=2, root=roots[ENV_IDS[request.param]["dataset"]], **BARE)
    assert type(env) is FaceHallucinationVectorEnv
    yield env
    env.close()


def walk_batch(env, seed: int, steps: int) -> list[tuple]:
    """Random actions: all that the environment said."""
    env.action_space.seed(seed)
    return [env.reset(seed=seed), *(env.step(env.action_space.sample()) for _ in range(steps))]


# --- one row -----------------------------------------------------------------------------------------


def test_gymnasiums_checker_is_content(made):
    check_env(made.unwrapped)


def test_stable_baselines_checker_is_content(made):
    check_env_for_sb3(made)


def test_spaces_and_horizon_are_those_of_the_paper(made):
    env, dataset = made.unwrapped, ENV_IDS[made.spec.id]["dataset"]
    shape = (160, 120, 1) if dataset == "bioid" else (128, 128, 3)
    assert env.observation_space == gym.spaces.Box(0, 255, shape, np.uint8)
    assert env.action_space == gym.spaces.Discrete(shape[0] * shape[1])
    assert made.spec.max_episode_steps is None
    assert env.core.scale == ENV_IDS[made.spec.id]["scale"]
    said = walk(made, seed=0)
    assert len(said) == 26
    assert [step[2] for step in said[1:]] == [False] * 24 + [True]
    assert not any(step[3] for step in said[1:])


def test_two_episodes_are_the_same_again_with_the_same_seed(made, roots):
    twin = gym.make(made.spec.id, root=roots[ENV_IDS[made.spec.id]["dataset"]], **BARE)
    first, second = walk(made, 7, episodes=2), walk(twin, 7, episodes=2)
    assert same(first, second)
    assert same(first, walk(made, 7, episodes=2))
    assert not same(first, walk(made, 8, episodes=2))


def test_specs_go_through_json(made, roots):
    assert json.loads(gym.spec(made.spec.id).to_json())["id"] == made.spec.id
    arguments = {
        "root": roots[ENV_IDS[made.spec.id]["dataset"]],
        "split": "train",
        "sampling": "sequential",
        "horizon": 2,
        "patch_size": [30, 20],
        "boundary": "clamp",
        "protocol": "torch7",
        "reward": "coverage",
        "coverage_weight": 0.5,
        "observation": "dict",
        "enhancer": "tiny",
        "precision": "bfloat16",
        "device": "cpu",
    }
    env = gym.make(made.spec.id, **arguments)
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    core = again.unwrapped.core
    assert (core.horizon, core.patch_size, core.boundary, core.protocol) == (2, (30, 20), "clamp", "torch7")
    assert (core.reward, core.coverage_weight, core.precision) == ("coverage", 0.5, "bfloat16")
    assert same(walk(env, 3), walk(again, 3))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_goes_on_from_where_it_was_taken(made, duplicate):
    made.reset(seed=1)
    made.step(5000)
    twin = duplicate(made)
    for action in (77, 9000):
        assert same(made.step(action), twin.step(action))
    assert same(made.reset(), twin.reset())  # the random generator as well


def test_pickling_leaves_the_memory_mapped_pictures_where_they_are(made):
    dataset = made.unwrapped.task.dataset
    pixels = len(dataset) * math.prod(dataset.shape)
    assert len(pickle.dumps(dataset)) < min(pixels, 20_000)


def test_closing_twice_is_no_error(made):
    made.reset(seed=0)
    made.close()
    made.close()


def state(env: FaceHallucinationEnv | FaceHallucinationVectorEnv) -> list:
    """All that a refused call must leave alone."""
    core, random = env.core, env.np_random
    generators = random if isinstance(random, tuple) else (random,)
    return [
        core.t,
        *(tensor.numpy().tobytes() for tensor in (core.current, core.mse, core.coverage)),
        *(generator.bit_generator.state for generator in generators),
        {name: values.tolist() for name, values in env.episodes.info().items()},
        dict(vars(env.order)),
    ]


def test_what_is_no_location_is_refused_and_changes_nothing(made):
    env = made.unwrapped
    env.reset(seed=0)
    env.step(500)
    before = state(env)
    for action in (math.nan, 5.0, -1, env.action_space.n, [5], np.array([5]), None):
        with pytest.raises(ValueError, match=r"the action is .* integer from 0 to"):
            env.step(action)
        assert state(env) == before


def test_a_step_after_the_end_is_refused(made):
    walk(made, seed=0)
    before = state(made.unwrapped)
    with pytest.raises(RuntimeError, match=r"ended after 25 steps.*call reset\(\)"):
        made.step(5)
    assert state(made.unwrapped) == before


def test_the_documentation_names_the_id(made):
    assert made.spec.id in FaceHallucinationEnv.__doc__


# --- batches ------------------------------------------------------------------------------------------


def test_two_episodes_of_a_batch_are_those_of_gymnasiums_own_vectorisation(batch, roots):
    root = roots[ENV_IDS[batch.spec.id]["dataset"]]
    theirs = gym.make_vec(batch.spec.id, num_envs=2, vectorization_mode="sync", root=root, **BARE)
    said = walk_batch(batch, 7, steps=52)  # and the first step of the third
    assert data_equivalence(said, walk_batch(theirs, 7, steps=52), exact=True)
    assert [bool(step[2].all()) for step in said[1:]] == [(k + 1) % 26 == 25 for k in range(52)]
    assert data_equivalence(said, walk_batch(batch, 7, steps=52), exact=True)
    assert not data_equivalence(said, walk_batch(batch, 8, steps=52), exact=True)


def test_a_batch_of_one_matches(batch, roots):
    root = roots[ENV_IDS[batch.spec.id]["dataset"]]
    modes = ("vector_entry_point", "sync")
    arguments = {"root": root, "horizon": 3} | BARE
    pair = [gym.make_vec(batch.spec.id, vectorization_mode=mode, **arguments) for mode in modes]
    check_environments_match(*pair, num_steps=8)


def test_specs_of_batches_go_through_json(batch):
    spec = EnvSpec.from_json(batch.spec.to_json())
    again = gym.make_vec(spec)
    assert again.num_envs == 2
    assert data_equivalence(walk_batch(batch, 3, 2), walk_batch(again, 3, 2), exact=True)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_of_a_batch_goes_on_from_where_it_was_taken(batch, duplicate):
    batch.reset(seed=1)
    batch.step([5000, 1])
    twin = duplicate(batch)
    assert data_equivalence(batch.step([7, 90]), twin.step([7, 90]), exact=True)
    assert data_equivalence(batch.reset(), twin.reset(), exact=True)  # the random generators as well


def test_closing_a_batch_twice_is_no_error(batch):
    batch.reset(seed=0)
    batch.close()
    batch.close()


def test_what_are_no_locations_is_refused_and_changes_nothing(batch):
    batch.reset(seed=0)
    batch.step([500, 0])
    before = state(batch)
    last = batch.single_action_space.n - 1
    for actions in ([0, math.nan], [0.0, 5.0], [0, -1], [0, last + 1], [5], [[5], [5]], None):
        with pytest.raises(ValueError, match=r"the actions are .* 2 integers from 0 to"):
            batch.step(actions)
        assert state(batch) == before
