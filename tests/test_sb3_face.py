"""The face for Stable-Baselines3: against DummyVecEnv, with its tools, its algorithms and our agent."""

import math
import pickle

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

from agents.callbacks import EnhancerPhase
from agents.reinforce import RecurrentReinforce
from agents.tasks import tasks_of
from facehall_env.sb3 import FaceHallucinationVecEnv
from tests.small import PATCH, SIDE, SMALL_AGENT, SmallFaces, small_enhancer
from tests.test_vector import lively

ENV_ID = "FaceHallucination-Synthetic-x4"


def arguments(size: int = 5, **more) -> dict:
    small = {"dataset": SmallFaces(size), "horizon": 3, "patch_size": PATCH, "enhancer": "identity"}
    return small | more


def batched(rows: int = 3, size: int = 5, **more) -> FaceHallucinationVecEnv:
    return FaceHallucinationVecEnv(ENV_ID, num_envs=rows, **arguments(size, **more))


def dummy(rows: int = 3, size: int = 5, **more) -> DummyVecEnv:
    return DummyVecEnv([lambda: gym.make(ENV_ID, **arguments(size, **more))] * rows)


def same(first, second) -> bool:
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[name], second[name]) for name in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(same, first, second))
    return np.array_equal(first, second)


@pytest.mark.parametrize("observation", ["image", "dict"])
@pytest.mark.parametrize("reward", ["terminal", "delta", "coverage"])
def test_all_that_is_said_is_what_a_dummy_vec_env_says(observation, reward):
    made = {"observation": observation, "reward": reward}
    ours, theirs = batched(**made), dummy(**made)
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    assert ours.seed(4) == theirs.seed(4)
    assert same(ours.reset(), theirs.reset())
    assert same(ours.reset_infos, theirs.reset_infos)
    rng = np.random.default_rng(0)
    for step in range(1, 9):
        actions = rng.integers(0, SIDE * SIDE, 3)
        (seen, *middle, infos), (expected, *others, told) = ours.step(actions), theirs.step(actions)
        assert same(seen, expected)
        for array, other in zip(middle, others, strict=True):
            assert (array.dtype, array.tolist()) == (other.dtype, other.tolist())
        if step % 3:
            assert infos == [{}, {}, {}]  # nobody asked; empty ones cost nothing
        else:
            assert same(infos, told)
            assert same(ours.reset_infos, theirs.reset_infos)
            assert infos[0]["TimeLimit.truncated"] is False
            assert {type(value) for name, value in infos[0].items() if name != "terminal_observation"} == {
                int,
                float,
                bool,
            }
    ours.set_options([{"index": 4}, {"index": 0}, {"index": 2}])
    theirs.set_options([{"index": 4}, {"index": 0}, {"index": 2}])
    assert same(ours.reset(), theirs.reset())
    assert [info["index"] for info in ours.reset_infos] == [4, 0, 2]
    assert same(ours.reset(), theirs.reset())  # seeds and options count once


class LooksAtTheMiddle:
    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return np.full(len(observation), SIDE * SIDE // 2), None


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("monitored", [False, True])
def test_evaluation_meets_every_face_of_the_split_exactly_once(rows, monitored):
    size = 5
    env = batched(rows, size, split="test", sampling="sequential", reward="coverage")
    model = LooksAtTheMiddle()
    met: list[int] = []

    def note(here: dict, _: dict) -> None:
        if here["done"]:
            met.append(here["info"]["index"])

    for _ in range(3):  # a second evaluation goes on with the walk
        met.clear()
        rewards, lengths = evaluate_policy(
            model,
            VecMonitor(env) if monitored else env,
            n_eval_episodes=size,
            callback=note,
            return_episode_rewards=True,
            warn=False,
        )
        assert sorted(met) == list(range(size))
        assert (len(rewards), set(lengths)) == (size, {3})
    env.seed(0)
    evaluate_policy(model, env, n_eval_episodes=size, callback=(met.clear(), note)[1], warn=False)
    assert sorted(met) == list(range(size))


def test_vec_monitor_writes_what_the_episodes_came_to(tmp_path):
    env = VecMonitor(batched(), str(tmp_path / "log"), info_keywords=("psnr_gain", "index"))
    env.reset()
    for _ in range(3):
        _, rewards, dones, infos = env.step(np.zeros(3, int))
    assert dones.all()
    assert [info["episode"]["l"] for info in infos] == [3] * 3
    assert [info["episode"]["r"] for info in infos] == pytest.approx(rewards.tolist())
    assert len((tmp_path / "log.monitor.csv").read_text().splitlines()) == 2 + 3
    env.close()


def test_attributes_and_methods_are_those_of_all_rows():
    env = batched(render_mode="rgb_array")
    (task,) = {id(task) for task in env.get_attr("task")}
    assert task == id(env.vector.task)
    assert len(env.get_attr("core", indices=[0, 2])) == 2
    assert env.get_attr("action_space", indices=1) == [env.action_space]
    assert env.get_attr("observation_space") == [env.observation_space] * 3
    env.vector.reset(seed=4)
    assert env.get_attr("np_random_seed", indices=[0, 2]) == [4, 6]
    assert env.metadata["render_fps"] == env.vector.metadata["render_fps"] != 30
    assert env.has_attr("core")
    assert not env.has_attr("nothing")
    network = lively()
    assert env.env_method("set_enhancer", network) == [None] * 3
    assert env.vector.core.enhancer is network
    env.set_attr("note", "kept")
    assert env.get_attr("note") == ["kept"] * 3
    for refused in (
        lambda: env.env_method("set_enhancer", None, indices=[0]),
        lambda: env.set_attr("note", "lost", indices=1),
    ):
        with pytest.raises(ValueError, match="leave indices out"):
            refused()
    assert env.vector.core.enhancer is network
    assert env.get_attr("note") == ["kept"] * 3
    env.reset()
    pictures = env.vector.pictures()
    for row, mine in enumerate(env.env_method("pictures")):
        assert all(np.array_equal(mine[name], pictures[name][row]) for name in pictures)
    assert env.env_is_wrapped(Monitor) == [False] * 3
    frames = env.get_images()
    assert all(map(np.array_equal, frames, env.vector.render()))
    assert np.array_equal(env.env_method("render", indices=1)[0], frames[1])
    assert env.render().shape[2] == 3


def test_a_copy_goes_on_from_where_it_was_taken():
    env = batched()
    env.seed(1)
    env.reset()
    env.step(np.zeros(3, int))
    twin = pickle.loads(pickle.dumps(env))
    for k in range(5):
        assert same(list(env.step(np.full(3, k))), list(twin.step(np.full(3, k))))
    env.close()
    env.close()


@pytest.mark.parametrize(
    "actions", [[0, 1], [0, 1, math.nan], [0, 1, SIDE * SIDE], [0.0, 1.0, 2.0], None], ids=str
)
def test_wrong_actions_are_refused_and_change_nothing(actions):
    env, twin = batched(), batched()
    for each in (env, twin):
        each.seed(0)
        each.reset()
        each.step(np.zeros(3, int))
    with pytest.raises(ValueError, match="the actions are"):
        env.step(actions)
    assert same(list(env.step(np.ones(3, int))), list(twin.step(np.ones(3, int))))


def test_a_single_row_can_be_shown_a_face() -> None:
    env = batched(rows=1)
    env.set_options({"index": 3})
    env.reset()
    assert env.reset_infos[0]["index"] == 3
    env.set_options({"index": 5})
    with pytest.raises(ValueError, match="holds faces 0 to 4"):
        env.reset()


def test_wrong_options_are_refused_and_change_nothing():
    env = batched()
    env.reset()
    for options, message in (
        ([{"index": 0}, {}, {}], "choose every row's face or none"),
        ({"face": 1}, "no option 'face'"),
        ({"index": 9}, "holds faces 0 to 4"),
        ([{"index": 0}], "1 options for 3 rows"),
    ):
        before = env.vector.pictures()
        env.set_options(options)
        with pytest.raises(ValueError, match=message):
            env.reset()
        assert same(before, env.vector.pictures())


def test_other_environments_are_refused():
    with pytest.raises(TypeError, match="take make_vec_env"):
        FaceHallucinationVecEnv("CartPole-v1", num_envs=2)
    with pytest.raises(TypeError, match="in numpy arrays"):
        batched(to_numpy=False)


@pytest.mark.parametrize(
    ("algorithm", "steps"), [(PPO, {"n_steps": 6, "batch_size": 9}), (A2C, {"n_steps": 6})]
)
def test_algorithms_learn_in_it_what_they_learn_in_single_environments(algorithm, steps):
    learned = []
    for env in (batched(reward="delta"), dummy(reward="delta")):
        model = algorithm("MlpPolicy", env, seed=0, device="cpu", **steps)
        model.learn(18)
        learned.append(model.policy.state_dict())
    for name, weight in learned[0].items():
        assert torch.equal(weight, learned[1][name])


def test_the_enhancer_phase_plays_the_episodes_of_its_rows():
    env = batched(reward="delta")
    env.env_method("set_enhancer", small_enhancer())
    before = {name: value.clone() for name, value in env.vector.core.enhancer.state_dict().items()}
    PPO("MlpPolicy", env, n_steps=6, batch_size=9, n_epochs=1, seed=0, device="cpu").learn(
        18, callback=EnhancerPhase(updates=2, batch_size=4)
    )
    after = env.vector.core.enhancer.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_our_agent_learns_and_is_evaluated_in_it():
    env = batched()
    env.env_method("set_enhancer", small_enhancer())
    assert tasks_of(env) == [env.vector.task] * 3
    agent = RecurrentReinforce("RecurrentPolicy", env, **SMALL_AGENT)
    assert agent.n_envs == 3
    assert agent.enhancer is env.vector.core.enhancer
    agent.learn(12)
    evaluation = VecMonitor(batched(4, split="test", sampling="sequential"))
    evaluation.env_method("set_enhancer", agent.enhancer)
    rewards, _ = evaluate_policy(agent, evaluation, n_eval_episodes=5, return_episode_rewards=True)
    alone = gym.make(ENV_ID, **arguments(split="test", sampling="sequential"))
    alone.unwrapped.set_enhancer(agent.enhancer)
    one_by_one, _ = evaluate_policy(agent, Monitor(alone), n_eval_episodes=5, return_episode_rewards=True)
    assert sorted(rewards) == pytest.approx(sorted(one_by_one), abs=1e-4)
