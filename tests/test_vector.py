"""The face for Gymnasium's vector API: rows against single environments, phase, seeds, tensors, refusals."""

import copy
import math
import pickle
import warnings

import cv2
import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.utils.env_match import check_environments_match
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import NormalizeReward, RecordEpisodeStatistics, RecordVideo
from hypothesis import given
from hypothesis import strategies as st

from facehall_env import FaceHallucinationEnv, FaceHallucinationVectorEnv
from facehall_env.patches import PatchGeometry
from facehall_env.sampling import FaceOrder
from tests.small import PATCH, SIDE, SmallFaces, small_enhancer
from tests.waiting import NoReadBack, never_waiting_for_cuda

ENV_ID = "FaceHallucination-Synthetic-x4"
LAST = SIDE * SIDE - 1


def arguments(size: int = 5, **more) -> dict:
    small = {"dataset": SmallFaces(size), "horizon": 3, "patch_size": PATCH, "enhancer": "identity"}
    return small | more


def vector(rows: int = 4, size: int = 5, **more) -> FaceHallucinationVectorEnv:
    return FaceHallucinationVectorEnv(rows, scale=4, **arguments(size, **more))


def single(size: int = 5, **more) -> FaceHallucinationEnv:
    return FaceHallucinationEnv(scale=4, **arguments(size, **more))


def lively():
    """A network that visibly changes pictures."""
    network = small_enhancer()
    torch.nn.init.normal_(network.convolutions[-1].weight, std=0.1)
    return network


def state(env: FaceHallucinationVectorEnv) -> list:
    """All that a refused call must leave alone."""
    tensors = [env.core.current, env.core.mse, env.core.coverage]
    return [
        env.core.t,
        [tensor.tolist() for tensor in tensors],
        [generator.bit_generator.state for generator in env.np_random],
        env.np_random_seed,
        {name: array.tolist() for name, array in env.told().items()},
        env.order.__dict__.copy(),
        env._starts_next,
    ]


# --- rows and single environments ---------------------------------------------------------------------


@pytest.mark.parametrize("seed", [None, 3, [5, 5, 1, 2**40]], ids=str)
@pytest.mark.parametrize("reward", ["terminal", "delta", "coverage"])
@pytest.mark.parametrize("observation", ["image", "dict"])
def test_all_that_is_said_is_bit_for_bit_what_single_environments_say(observation, reward, seed):
    made = arguments(reward=reward, observation=observation)
    ours = gym.make_vec(ENV_ID, num_envs=4, **made)
    theirs = gym.make_vec(ENV_ID, num_envs=4, vectorization_mode="sync", **made)
    assert type(ours) is FaceHallucinationVectorEnv
    assert ours.metadata["autoreset_mode"] is theirs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    ours.reset(seed=9), theirs.reset(seed=9)  # so that a reset without a seed has something to go on from
    ours.action_space.seed(0)
    assert data_equivalence(ours.reset(seed=seed), theirs.reset(seed=seed), exact=True)
    for _ in range(11):  # three episodes, the step that starts the next one included
        actions = ours.action_space.sample()
        assert data_equivalence(ours.step(actions), theirs.step(actions), exact=True)
    assert ours.np_random_seed == theirs.np_random_seed


def test_rows_with_a_network_are_single_environments_but_for_rounding():
    network, rows = lively(), 4
    ours, singles = vector(rows, reward="delta"), [single(reward="delta") for _ in range(rows)]
    for env in (ours, *singles):
        env.set_enhancer(network)
    seen, told = ours.reset(seed=7)
    said = [env.reset(seed=7 + row) for row, env in enumerate(singles)]
    rng, rewards, changed = np.random.default_rng(0), np.zeros(rows), False
    for step in range(12):
        for row, (theirs, *middle, info) in enumerate(said):
            gap = np.abs(seen[row].astype(int) - theirs)
            assert gap.max() <= 1
            assert {name for name in told if told.get(f"_{name}", np.zeros(rows))[row]} == set(info)
            for name, value in info.items():
                assert told[name][row] == pytest.approx(value, abs=1e-4 if "psnr" in name else 1e-5)
            if middle:
                assert rewards[row] == pytest.approx(middle[0], abs=1e-5)
        actions = rng.integers(0, LAST + 1, rows)
        before = seen
        seen, rewards, terminations, _, told = ours.step(actions)
        changed |= bool((seen != before).any())
        if step % 4 == 3:
            said = [env.reset() for env in singles]
        else:
            said = [env.step(action) for env, action in zip(singles, actions, strict=True)]
            assert terminations.tolist() == [answer[2] for answer in said]
    assert changed


def test_one_row_matches_gymnasiums_own_vectorisation():
    for more in ({}, {"sampling": "sequential", "observation": "dict"}):
        made = arguments(**more)
        ours = gym.make_vec(ENV_ID, num_envs=1, **made)
        check_environments_match(ours, gym.make_vec(ENV_ID, vectorization_mode="sync", **made), num_steps=9)


def test_a_row_does_not_depend_on_those_beside_it():
    few, many = vector(2), vector(6)
    seen, _ = few.reset(seed=3)
    assert np.array_equal(seen, many.reset(seed=3)[0][:2])


# --- which faces --------------------------------------------------------------------------------------


@given(size=st.integers(1, 12), rows=st.integers(1, 9), last_row_first=st.booleans())
def test_every_face_is_met_exactly_once_in_a_sweep(size, rows, last_row_first):
    order = FaceOrder(size, "sequential", rows, last_row_first=last_row_first)
    dealt = [order.next([]) for _ in range(3 * size)]
    walk = np.concatenate([faces[::-1] if last_row_first else faces for faces in dealt])
    assert np.array_equal(walk, np.arange(len(walk)) % size)


def test_the_rows_share_the_walk_of_a_single_environment():
    rows, alone = 3, single(7, sampling="sequential")
    together = vector(rows, 7, sampling="sequential")
    walk = [alone.reset(seed=4 if k == 0 else None)[1]["index"] for k in range(15)]
    met = [together.reset(seed=4 if k == 0 else None)[1]["index"] for k in range(5)]
    for k, faces in enumerate(met):
        assert faces.tolist() == walk[k * rows : (k + 1) * rows]
    # A step that starts the next episodes goes on with the walk, a seed starts over
    together.reset(seed=[None, 1, None])
    for _ in range(4):
        *_, told = together.step([0, 0, 0])
    assert told["index"].tolist() == [3, 4, 5]


def test_options_pick_the_faces_and_the_order_goes_on_from_there():
    env = vector(3, 7, sampling="sequential")
    seen, told = env.reset(options={"index": [6, 0, 2]})
    assert told["index"].tolist() == [6, 0, 2]
    alone, _ = single(7).reset(options={"index": 2})
    assert np.array_equal(seen[2], alone)
    assert env.reset()[1]["index"].tolist() == [3, 4, 5]
    assert env.reset(options={"index": np.int64(5)})[1]["index"].tolist() == [5, 5, 5]
    everyone = {"reset_mask": np.ones(3, bool), "index": (1, 1, 4)}
    assert env.reset(options=everyone)[1]["index"].tolist() == [1, 1, 4]
    assert set(everyone) == {"reset_mask", "index"}  # the caller's dictionary stays as it was


# --- phase --------------------------------------------------------------------------------------------


def test_the_step_after_the_end_starts_the_next_episodes_and_ignores_its_actions():
    env = vector(reward="delta")
    env.set_enhancer(lively())
    env.reset(seed=0)
    for t in range(1, 4):
        _, rewards, terminations, truncations, told = env.step([5] * 4)
        assert (terminations == (t == 3)).all()
        assert not truncations.any()
        assert rewards.all()
    assert {"psnr_input", "psnr_gain"} < set(told)
    seen, rewards, terminations, truncations, told = env.step("anything")
    for nothing in (rewards, terminations, truncations):
        assert not nothing.any()
    assert (rewards.dtype, terminations.dtype, truncations.dtype) == (np.float64, bool, bool)
    assert "location" not in told
    assert np.array_equal(seen, env.pictures()["input"])
    env.step([5] * 4)
    # A reset between the end and the next step takes that step's place
    for _ in range(2):
        env.step([5] * 4)
    env.reset()
    assert env.step([5] * 4)[1].all()


def test_nothing_can_be_done_before_the_first_reset():
    env = vector()
    with pytest.raises(RuntimeError, match=r"call reset\(\)"):
        env.step([0] * 4)
    with pytest.raises(RuntimeError, match=r"call reset\(\)"):
        env.pictures()


def test_what_is_given_is_fresh_and_what_is_taken_is_copied():
    env, twin = vector(observation="dict"), vector(observation="dict")
    network = lively()
    for each in (env, twin):
        each.set_enhancer(network)
        each.reset(seed=0)
    kept, copies, actions = [], [], np.zeros(4, np.int64)
    for k in range(1, 9):
        said = env.step(actions)
        assert data_equivalence(said, twin.step([k - 1] * 4), exact=True)
        kept.append(said)
        copies.append(copy.deepcopy(said))
        actions += 1
    assert data_equivalence(kept, copies, exact=True)
    for seen, rewards, *flags, told in kept:
        for array in (*seen.values(), rewards, *flags, *told.values()):
            array[...] = 0
    assert data_equivalence(env.step(actions), twin.step(actions), exact=True)


# --- tensors ------------------------------------------------------------------------------------------


def test_tensors_say_what_arrays_say():
    made = {"observation": "dict", "reward": "coverage", "sampling": "sequential"}
    arrays, tensors = vector(**made), vector(to_numpy=False, **made)
    network = lively()
    for env in (arrays, tensors):
        env.set_enhancer(network)
    first, second = arrays.reset(seed=1), tensors.reset(seed=1)
    actions = torch.zeros(4, dtype=torch.int64)
    for k in range(9):
        for name, seen in first[0].items():
            assert isinstance(second[0][name], torch.Tensor)
            assert data_equivalence(second[0][name].numpy(), seen, exact=True)
        assert first[-1].keys() == second[-1].keys()
        for name, array in first[-1].items():
            np.testing.assert_allclose(second[-1][name].numpy(), array, rtol=1e-5, atol=1e-5, err_msg=name)
        for array, tensor in zip(first[1:-1], second[1:-1], strict=True):
            np.testing.assert_allclose(tensor.numpy(), array, rtol=1e-6)
        first, second = arrays.step([k + 1] * 4), tensors.step(actions.fill_(k + 1))
        assert second[1].dtype == torch.float32
        assert second[2].dtype == second[3].dtype == torch.bool
    assert tensors.pictures()["current"].dtype == torch.uint8
    assert tensors.step(np.zeros(4, np.int32))[1].shape == (4,)  # arrays are taken as well


@pytest.mark.parametrize(
    "more", [{}, {"observation": "dict", "reward": "delta"}, {"boundary": "clamp"}], ids=str
)
def test_a_step_on_tensors_reads_nothing_back(more, monkeypatch):
    env = vector(to_numpy=False, **more)
    env.set_enhancer(lively())
    env.reset(seed=0)
    actions = torch.arange(4)
    with NoReadBack(), pytest.raises(AssertionError, match="read back"):
        env.step(actions)  # on a CPU, where it costs nothing, the values are checked
    monkeypatch.setattr(PatchGeometry, "legal", lambda *_: True)
    env.core.geometry.on_host = False
    with NoReadBack():
        for _ in range(3):
            *_, terminations, _, told = env.step(actions)
    assert terminations.all()
    assert "psnr_gain" in told


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_step_on_tensors_never_waits_for_the_gpu():
    env = vector(to_numpy=False, device="cuda", observation="dict", reward="delta")
    env.set_enhancer(lively())
    for _ in range(2):
        env.reset(seed=0)
        actions = torch.arange(4, device="cuda")
        with never_waiting_for_cuda():
            for _ in range(3):
                seen, *_ = env.step(actions)
        assert seen["image"].is_cuda


# --- refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("actions", "what"),
    [
        (None, "object"),
        ([0, 1, 2, math.nan], "float64"),
        (np.zeros(4), "float64"),
        (np.zeros(4, bool), "bool"),
        ([0, 1, 2, LAST + 1], f"{LAST + 1} in row 3"),
        ([0, -1, 2, 3], "-1 in row 1"),
        ([0, 1, 2], r"shape \(3,\)"),
        (np.zeros((4, 1), int), r"shape \(4, 1\)"),
        (7, r"shape \(\)"),
        ([[1], [2, 3], 4, 5], "4, 5"),
        (["0", "1", "2", "3"], "<U1"),
        (torch.zeros(4), "float32"),
        (torch.tensor([0, 1, 2, LAST + 1]), str(LAST + 1)),
    ],
    ids=str,
)
@pytest.mark.parametrize("to_numpy", [True, False])
def test_what_are_no_locations_is_refused_and_changes_nothing(to_numpy, actions, what):
    env = vector(to_numpy=to_numpy)
    env.set_enhancer(lively())
    env.reset(seed=0)
    env.step([5] * 4)
    before = state(env)
    with pytest.raises(ValueError, match=what):
        env.step(actions)
    assert state(env) == before


def test_seeds_may_be_an_array() -> None:
    env = vector()
    seen, _ = env.reset(seed=np.arange(4))
    same, _ = env.reset(seed=[0, 1, 2, 3])
    assert np.array_equal(seen, same)


@pytest.mark.parametrize(
    ("seed", "options", "message"),
    [
        (None, {"face": 3}, "no option 'face'; it knows 'index'"),
        (0, {"index": [0, 1, 2]}, "names 3 faces, but there are 4 rows"),
        (0, {"index": [0, 1, 2, 5]}, "holds faces 0 to 4"),
        (0, {"index": "0123"}, "is '0123'"),
        (0, {"index": [0, 1, 2, None]}, "holds faces 0 to 4"),
        (0, {"reset_mask": np.array([True, False, True, True])}, "3 of 4 rows.*reset all of them"),
        (0, {"reset_mask": np.zeros(4, bool)}, "0 of 4 rows"),
        (0, {"reset_mask": np.ones(3, bool)}, r"bool of shape \(3,\)"),
        (0, {"reset_mask": np.ones(4)}, "float64"),
        ([1, 2, 3], None, "3 seeds, but there are 4 rows"),
        (-1, None, "Seed"),
    ],
    ids=str,
)
def test_wrong_resets_are_refused_and_change_nothing(seed, options, message):
    env = vector(sampling="sequential")
    env.reset(seed=0)
    env.step([5] * 4)
    before = state(env)
    with pytest.raises((ValueError, gym.error.Error), match=message):
        env.reset(seed=seed, options=options)
    assert state(env) == before


@pytest.mark.parametrize("rows", [0, -1, 1.5, True])
def test_the_number_of_rows_must_be_one(rows):
    with pytest.raises(ValueError, match="num_envs is"):
        vector(rows)


# --- what others do with it ---------------------------------------------------------------------------


def test_gymnasiums_wrappers_run_on_it():
    env = NormalizeReward(RecordEpisodeStatistics(vector(reward="coverage")))
    env.reset(seed=0)
    for _ in range(3):
        *_, told = env.step(env.action_space.sample())
    assert told["episode"]["l"].tolist() == [3] * 4
    final = 4.0 * told["coverage"] - told["mse"]
    np.testing.assert_allclose(told["episode"]["r"], final, rtol=1e-6)
    for _ in range(4):
        *_, told = env.step(env.action_space.sample())
    assert told["episode"]["l"].tolist() == [3] * 4


def test_the_enhancer_can_change_between_steps():
    env, plain = vector(), vector()
    env.reset(seed=0), plain.reset(seed=0)
    env.set_enhancer(lively())
    assert not np.array_equal(env.step([5] * 4)[0], plain.step([5] * 4)[0])
    env.set_enhancer(None)
    before = env.pictures()["current"]
    assert np.array_equal(env.step([9] * 4)[0], before)
    with pytest.raises(TypeError, match="is no enhancer"):
        env.set_enhancer("tiny")


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_goes_on_from_where_it_was_taken(duplicate):
    env = vector()
    env.set_enhancer(lively())
    env.reset(seed=1)
    env.step([5] * 4)
    twin = duplicate(env)
    for k in range(8):
        assert data_equivalence(env.step([k] * 4), twin.step([k] * 4), exact=True)


def test_closing_twice_is_no_error():
    env = vector()
    env.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env.close()
        env.close()
    assert env.closed


# --- frames -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to_numpy", [True, False])
def test_frames_are_those_of_single_environments(to_numpy):
    env = vector(2, render_mode="rgb_array", to_numpy=to_numpy)
    singles = [single(render_mode="rgb_array") for _ in range(2)]
    env.reset(seed=3)
    for row, alone in enumerate(singles):
        alone.reset(seed=3 + row)
    for step in range(3):
        if step:
            env.step([40 * step, 7])
            for row, alone in enumerate(singles):
                alone.step((40 * step, 7)[row])
        frames = env.render()
        assert isinstance(frames, tuple)
        assert all(
            np.array_equal(frame, alone.render()) for frame, alone in zip(frames, singles, strict=True)
        )


def test_without_a_mode_nothing_is_rendered_and_an_unknown_one_is_refused():
    env = vector()
    env.reset()
    with pytest.warns(UserWarning, match="without a render mode"):
        assert env.render() is None
    with pytest.raises(ValueError, match="render_mode is 'ansi'"):
        vector(render_mode="ansi")


def test_a_video_is_recorded(tmp_path):
    pytest.importorskip("moviepy")
    env = RecordVideo(
        vector(2, render_mode="rgb_array"), str(tmp_path / "video"), episode_trigger=lambda k: k == 0, fps=4
    )
    env.reset(seed=0)
    for _ in range(4):
        env.step([5, 9])
    env.close()
    (video,) = tmp_path.glob("video/*.mp4")
    film = cv2.VideoCapture(str(video))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 4  # I_0 and three steps
    height, width, _ = env.unwrapped.render()[0].shape
    assert film.get(cv2.CAP_PROP_FRAME_HEIGHT) * film.get(cv2.CAP_PROP_FRAME_WIDTH) >= height * width
