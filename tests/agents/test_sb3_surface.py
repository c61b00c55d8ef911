"""What users of Stable-Baselines3 know: learn, predict, callbacks, evaluation, logging."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CheckpointCallback,
    EvalCallback,
    StopTrainingOnMaxEpisodes,
)
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import configure
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecTransposeImage
from toys import (
    POLICY,
    KnowingEnhancer,
    ToyFaces,
    learned,
    randomise,
    same_weights,
    toy_agent,
    toy_enhancer,
    toy_env,
)

import facehall_env  # noqa: F401 (registers the environments)
from agents.buffers import EpisodeBuffer
from agents.callbacks import AtIteration, EnhancerPhase, Validation
from agents.enhancement import EnhancerTrainer, EnhancerUpdate
from agents.faces import face_batch
from agents.reinforce import RecurrentReinforce

STEPS = 12  # of one iteration


class Counter(BaseCallback):
    """Counts its calls, and stops at one of them."""

    def __init__(self, stop_at: int | None = None) -> None:
        super().__init__()
        self.stop_at, self.seen = stop_at, []

    def _on_training_start(self) -> None:
        self.seen.append("start")

    def _on_rollout_start(self) -> None:
        self.seen.append("rollout")

    def _on_step(self) -> bool:
        self.seen.append(self.num_timesteps)
        return self.num_timesteps != self.stop_at

    def _on_rollout_end(self) -> None:
        self.seen.append("end")

    def _on_training_end(self) -> None:
        self.seen.append("finish")


def test_callbacks_are_called_as_they_know_it() -> None:
    agent, counter = toy_agent(), Counter()
    assert agent.learn(2 * STEPS - 1, callback=counter) is agent
    iteration = ["rollout", 4, 8, 12, "end"]
    assert counter.seen == ["start", *iteration, "rollout", 16, 20, 24, "end", "finish"]
    assert agent.num_timesteps == 2 * STEPS
    agent.learn(1)
    assert agent.num_timesteps == STEPS  # counted anew
    agent.learn(1, reset_num_timesteps=False)
    assert agent.num_timesteps == 2 * STEPS


def test_a_callback_can_stop_the_learning() -> None:
    agent, counter = toy_agent(), Counter(stop_at=8)
    agent.learn(10 * STEPS, callback=[counter])
    assert counter.seen == ["start", "rollout", 4, 8, "finish"]
    assert agent._n_updates == 0
    agent = toy_agent()
    agent.learn(10 * STEPS, callback=lambda local, _: local["self"].num_timesteps < STEPS)
    assert agent.num_timesteps == STEPS
    agent = toy_agent()
    agent.learn(10 * STEPS, callback=StopTrainingOnMaxEpisodes(2 * 4))
    assert agent.num_timesteps == 2 * STEPS


def test_the_progress_bar_counts_every_row(capfd: pytest.CaptureFixture[str]) -> None:
    toy_agent().learn(2 * STEPS, progress_bar=True)
    assert f"{2 * STEPS}/{2 * STEPS}" in capfd.readouterr().err


def test_the_best_model_is_saved_and_can_be_loaded(tmp_path: Path) -> None:
    agent = toy_agent()
    env = Monitor(toy_env(ToyFaces(1), enhancer=agent.enhancer))
    evaluation = EvalCallback(
        env,
        n_eval_episodes=2,
        eval_freq=3,
        best_model_save_path=str(tmp_path),
        log_path=str(tmp_path),
        verbose=0,
    )
    agent.learn(2 * STEPS, callback=evaluation)
    results = np.load(tmp_path / "evaluations.npz")
    assert results["timesteps"].tolist() == [STEPS, 2 * STEPS]
    assert results["ep_lengths"].tolist() == [[3, 3], [3, 3]]
    best = RecurrentReinforce.load(tmp_path / "best_model", env=toy_env())
    reward, _ = evaluate_policy(best, Monitor(toy_env(ToyFaces(1), enhancer=best.enhancer)), 2)
    assert reward == pytest.approx(evaluation.best_mean_reward, rel=1e-5)


def test_checkpoints_are_written(tmp_path: Path) -> None:
    agent = toy_agent()
    agent.learn(
        2 * STEPS, callback=CheckpointCallback(save_freq=3, save_path=str(tmp_path), name_prefix="toy")
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["toy_12_steps.zip", "toy_24_steps.zip"]
    assert RecurrentReinforce.load(tmp_path / "toy_24_steps").num_timesteps == 2 * STEPS


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("observation", ["image", "dict"])
@pytest.mark.parametrize("policy_input", ["current", "initial"])
def test_evaluating_is_possible_and_does_not_disturb_learning(
    deterministic: bool, observation: str, policy_input: str
) -> None:
    agents = [toy_agent(policy_kwargs={"policy_input": policy_input}) for _ in range(2)]
    for agent in agents:
        randomise(agent.policy)
    envs = [lambda: Monitor(toy_env(observation=observation, sampling="sequential"))] * 2
    rewards, lengths = evaluate_policy(
        agents[0], DummyVecEnv(envs), 3, deterministic=deterministic, return_episode_rewards=True
    )
    assert lengths == [3, 3, 3]
    assert len(set(rewards)) > 1
    for agent in agents:
        agent.learn(STEPS)
    assert same_weights(learned(agents[0]), learned(agents[1]))


def test_an_evaluation_pays_what_the_core_pays() -> None:
    agent = toy_agent()
    randomise(agent.policy)
    env = toy_env(enhancer=agent.enhancer, sampling="sequential")
    rewards, _ = evaluate_policy(agent, Monitor(env), 2, return_episode_rewards=True)
    core = agent.core.replica(reward="terminal")
    core.reset(agent.task.faces([0, 1]))
    state = None
    while not core.terminated:
        location, state = agent.predict(
            core.pictures()["current"].numpy(), state, episode_start=np.zeros(2, bool), deterministic=True
        )
        reward = core.step(torch.from_numpy(location))
    assert rewards == pytest.approx(reward.tolist(), rel=1e-4)


def test_predictions_do_not_depend_on_how_pictures_are_handed_over() -> None:
    agent = toy_agent()
    randomise(agent.policy)
    faces = ToyFaces()
    pictures = np.stack([faces[0], faces[1]])
    locations, state = agent.predict(pictures, deterministic=True)
    assert locations.shape == (2,)
    assert locations.dtype == np.int64
    one, memory = agent.predict(pictures[0], deterministic=True)
    assert gym.spaces.Discrete(16 * 12).contains(one)
    assert one == locations[0]
    assert memory[0].shape == (1, 1, POLICY["lstm_features"])
    for same in (
        pictures.transpose(0, 3, 1, 2),
        {"image": pictures, "time": np.zeros((2, 1), np.float32)},
        np.asfortranarray(pictures),
    ):
        assert agent.predict(same, deterministic=True)[0].tolist() == locations.tolist()
    state_before = [part.copy() for part in state]
    second, _ = agent.predict(pictures, state, deterministic=True)
    for before, after in zip(state_before, state, strict=True):
        assert np.array_equal(before, after)
    fresh, _ = agent.predict(pictures, state, episode_start=np.array([True, False]), deterministic=True)
    assert fresh.tolist() == [locations[0], second[1]]


def test_draws_vary_and_start_over_with_the_seed() -> None:
    picture = ToyFaces()[0]

    def draws() -> list[int]:
        agent = toy_agent(seed=2)
        return [int(agent.predict(picture)[0]) for _ in range(10)]

    assert len(set(draws())) > 1
    assert draws() == draws()


@pytest.mark.parametrize(
    ("observation", "state", "named"),
    [
        (np.zeros((8, 12, 3), np.uint8), None, "pictures of 16x12x3, not 8x12x3"),
        (np.zeros((1, 1, 16, 12, 3), np.uint8), None, "not 1x1x16x12x3"),
        (np.zeros((16, 12, 3), np.float32), None, "these are float32"),
        ({"location": np.zeros(1)}, None, "looks at 'image', but the observation has 'location'"),
        (np.zeros((16, 12, 3), np.uint8), (np.zeros(2),), "pass that on"),
    ],
)
def test_observations_that_cannot_be_looked_at_are_named(observation: Any, state: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        toy_agent().predict(observation, state)


def test_a_state_of_other_episodes_is_refused() -> None:
    agent = toy_agent()
    _, state = agent.predict(np.zeros((2, 16, 12, 3), np.uint8))
    with pytest.raises(ValueError, match="state remembers 2 episodes, but the observation has 1"):
        agent.predict(np.zeros((16, 12, 3), np.uint8), state)


@pytest.mark.parametrize(
    "wrap", [lambda env: env, Monitor, lambda env: VecTransposeImage(DummyVecEnv([lambda: env]))]
)
def test_environments_come_in_any_wrapping(wrap: Any) -> None:
    env = toy_env()
    agent = toy_agent(wrap(env))
    assert agent.task is env.task
    assert agent.get_env().observation_space.shape == (16, 12, 3)
    agent.learn(STEPS)
    assert agent.enhancer is env.core.enhancer


def test_all_rows_of_a_vector_environment_share_the_enhancer() -> None:
    envs = [toy_env(enhancer=None), toy_env(enhancer=None)]
    agent = toy_agent(DummyVecEnv([lambda: envs[0], lambda: envs[1]]))
    assert envs[0].core.enhancer is agent.enhancer
    assert envs[1].core.enhancer is agent.enhancer


def test_another_environment_can_be_set() -> None:
    agent = toy_agent()
    agent.learn(STEPS)
    trained = agent.enhancer
    others = toy_env(ToyFaces(pictures=np.full((2, 16, 12, 3), 9)), enhancer=None, horizon=2)
    agent.set_env(others)
    assert others.core.enhancer is trained
    agent.learn(8)
    assert agent.num_timesteps == 8
    assert int(agent.buffer.high_resolution.max()) == 9
    own = toy_enhancer(seed=3)
    agent.set_env(DummyVecEnv([lambda: toy_env(enhancer=own, observation="dict", scale=2)] * 2))
    agent.learn(STEPS)
    assert agent.enhancer is own


def test_an_environment_that_does_not_fit_changes_nothing() -> None:
    agent = toy_agent()
    before = agent.get_env(), agent.task, agent.core
    for env, named in (
        (toy_env(ToyFaces(3, (8, 12, 3))), "the environment needs"),
        (toy_env(patch_size=(4, 4)), "the environment needs"),
        (gym.make("CartPole-v1"), "FaceHallucination environment"),
        (toy_env(enhancer=KnowingEnhancer(ToyFaces()[0], (6, 5))), "nothing to train"),
    ):
        with pytest.raises(ValueError, match=named):
            agent.set_env(env)
        assert (agent.get_env(), agent.task, agent.core) == before
    agent.learn(STEPS)
    agent.device = torch.device("cuda")  # as if it had been loaded there, without an environment
    with pytest.raises(ValueError, match="learns on cuda, but the environment computes on cpu: load it with"):
        agent.set_env(toy_env())
    assert (agent.get_env(), agent.task, agent.core) == before


def test_foreign_environments_and_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"FaceHallucination environment.*RecurrentPPO"):
        RecurrentReinforce("RecurrentPolicy", gym.make("CartPole-v1"))
    with pytest.raises(ValueError, match=r"takes one environment, gym\.make.* or .*FaceHallucinationVecEnv"):
        RecurrentReinforce(
            "RecurrentPolicy", gym.make_vec("FaceHallucination-Synthetic-x4", 2, "vector_entry_point")
        )
    with pytest.raises(ValueError, match="needs an environment; only load"):
        RecurrentReinforce("RecurrentPolicy")
    with pytest.raises(ValueError, match="MlpPolicy"):
        RecurrentReinforce("MlpPolicy", toy_env())
    toy_agent().save(tmp_path / "agent")
    with pytest.raises(ValueError, match="give it one with set_env"):
        RecurrentReinforce.load(tmp_path / "agent").learn(STEPS)


def test_logs_have_what_one_looks_for(tmp_path: Path) -> None:
    agent = toy_agent(imitation_updates=1, baseline="value")
    agent.set_logger(configure(str(tmp_path), ["csv", "tensorboard"]))
    agent.learn(2 * STEPS)
    header, *lines = (tmp_path / "progress.csv").read_text().splitlines()
    known = {
        "time/fps",
        "time/iterations",
        "time/time_elapsed",
        "time/total_timesteps",
        "rollout/ep_rew_mean",
        "rollout/ep_len_mean",
        "rollout/psnr",
        "rollout/psnr_gain",
        "rollout/coverage",
        "rollout/distinct_places",
        "train/entropy",
        "train/gradient_norm",
        "train/learning_rate",
        "train/value_loss",
        "train/n_updates",
        "enhancer/loss",
        "enhancer/gradient_norm",
        "enhancer/learning_rate",
        "imitation/loss",
    }
    assert known <= set(header.split(","))
    assert len(lines) == 3
    row = dict(zip(header.split(","), lines[-1].split(","), strict=True))
    assert float(row["rollout/ep_len_mean"]) == 3.0
    assert float(row["time/total_timesteps"]) == 2 * STEPS
    assert list(tmp_path.glob("events.out.tfevents*"))
    agent.logger.close()


def test_the_log_of_tensorboard_has_the_runs_name(tmp_path: Path) -> None:
    agent = toy_agent(tensorboard_log=str(tmp_path), stats_window_size=3)
    agent.learn(2 * STEPS, log_interval=2, tb_log_name="look")
    assert [path.name for path in tmp_path.iterdir()] == ["look_1"]
    assert len(agent.ep_info_buffer) == 3
    agent.logger.close()
    agent.learn(STEPS, log_interval=None)
    agent.logger.close()


def test_validation_measures_between_iterations(tmp_path: Path) -> None:
    agent = toy_agent()
    agent.set_logger(configure(str(tmp_path), ["csv", "tensorboard", "json"]))
    states = []
    callbacks = [
        Validation(agent.core, ToyFaces(5), faces=3, every=1, pictures=2),
        AtIteration(lambda: states.append(agent._n_updates)),
    ]
    before = agent.core
    agent.learn(3 * STEPS, callback=callbacks)
    assert states == [0, 1, 2]
    assert agent.core is before
    header = (tmp_path / "progress.csv").read_text().splitlines()[0].split(",")
    assert {"validation/psnr", "validation/psnr_gain", "validation/coverage"} <= set(header)
    assert "validation/pictures" not in header
    agent.logger.close()
    alone = toy_agent()
    alone.learn(3 * STEPS)
    assert same_weights(learned(alone), learned(agent))


def test_parameters_can_be_carried_over() -> None:
    one, other = toy_agent(seed=1), toy_agent(seed=2)
    one.learn(STEPS)
    other.set_parameters(one.get_parameters())
    assert same_weights(other.policy.state_dict(), one.policy.state_dict())


def test_a_made_environment_is_learned_in() -> None:
    env = gym.make(
        "FaceHallucination-Synthetic-x4",
        horizon=2,
        patch_size=(15, 11),
        data_options={"size": 3, "image_size": 32},
        disable_env_checker=True,
    )
    agent = RecurrentReinforce(
        "RecurrentPolicy",
        env,
        n_faces=1,
        n_rollouts=2,
        imitation_updates=1,
        imitation_faces=1,
        policy_kwargs=POLICY,
    )
    agent.learn(4)
    assert agent.num_timesteps == 4
    assert agent.enhancer is env.unwrapped.core.enhancer
    reward, _ = evaluate_policy(agent, Monitor(env), 1)
    assert -1.0 < reward < 0.0


@pytest.mark.slow
# Stable-Baselines3 asks for rgb_array, which the environment does not render yet
@pytest.mark.filterwarnings("ignore:.*render_mode.*:UserWarning")
def test_an_id_is_enough() -> None:
    agent = RecurrentReinforce(
        "RecurrentPolicy",
        "FaceHallucination-Synthetic-x8",
        n_faces=1,
        n_rollouts=2,
        imitation_updates=1,
        imitation_faces=1,
        enhancer_updates=1,
        policy_kwargs=POLICY,
    )
    agent.learn(50)
    assert agent.num_timesteps == 50
    assert agent.task.dataset.name == "synthetic"
    assert agent.enhancer_trainer is not None


@pytest.mark.parametrize("n_steps", [2, 6])
def test_the_enhancer_learns_beside_a_stock_algorithm(n_steps: int) -> None:
    networks = [toy_enhancer(), toy_enhancer()]
    kept = []
    for network, updates in zip(networks, (1, 100), strict=True):
        envs = [toy_env(enhancer=network, sampling="sequential") for _ in range(2)]
        model = A2C("MlpPolicy", DummyVecEnv([lambda env=env: env for env in envs]), n_steps=n_steps, seed=0)
        phase = EnhancerPhase(updates=updates, batch_size=4)
        model.learn(12, callback=phase)
        assert phase.core.enhancer is network
        # Two rollouts out of three see the end of 2 episodes of 3 steps, or the only one sees that of 4
        done = int(phase.trainer.optimizer.state_dict()["state"][0]["step"])
        assert done == {(2, 1): 2, (2, 100): 4, (6, 1): 1, (6, 100): 3}[n_steps, updates]
        kept.append(network.state_dict())
    assert not same_weights(toy_enhancer().state_dict(), kept[0])
    assert not same_weights(kept[0], kept[1])


def test_the_episodes_of_a_rollout_are_played_again_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    env = toy_env(reward="delta", sampling="sequential")
    before, buffers = {name: value.clone() for name, value in env.core.enhancer.state_dict().items()}, []
    phase = EnhancerPhase(updates=1)

    def keep(core: object, buffer: EpisodeBuffer, **_: object) -> list[EnhancerUpdate]:
        buffers.append(buffer)
        return [EnhancerUpdate(torch.zeros(()), torch.zeros(()))]

    monkeypatch.setattr(EnhancerTrainer, "fit", lambda _, core, buffer, **more: keep(core, buffer, **more))
    model = PPO("MlpPolicy", env, n_steps=7, batch_size=7, n_epochs=1, seed=0, device="cpu")
    model.learn(7, callback=phase)
    assert same_weights(before, env.core.enhancer.state_dict())
    rewards = torch.from_numpy(model.rollout_buffer.rewards[:6]).view(2, 3).T
    torch.testing.assert_close(buffers[0].rewards, rewards, rtol=1e-3, atol=1e-6)
    assert torch.equal(buffers[0].high_resolution, face_batch(ToyFaces(), [0, 1]))


def test_an_enhancer_phase_needs_something_to_train() -> None:
    for env, named in ((toy_env(enhancer=None), "nothing to train"), (gym.make("CartPole-v1"), "FaceHall")):
        with pytest.raises(ValueError, match=named):
            A2C("MlpPolicy", env, device="cpu").learn(5, callback=EnhancerPhase())
