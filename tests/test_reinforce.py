"""REINFORCE: its gradient against one worked out by hand, that it learns, that it behaves as in SB3."""

import copy
import zipfile
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback, CheckpointCallback, EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import configure
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecTransposeImage

from agents.configuration import make_parser, read_experiment
from agents.policies import RecurrentPolicyNetwork
from agents.presets import PAPER
from agents.reinforce import RecurrentReinforce
from facehall_env.enhancer import EnhancerInput
from tests.small import SMALL_AGENT, SMALL_POLICY, small_enhancer, small_env


def make_agent(env: Any = None, **options: Any) -> RecurrentReinforce:
    return RecurrentReinforce("RecurrentPolicy", env or small_env(), **(SMALL_AGENT | options))


def weights(agent: RecurrentReinforce) -> dict[str, torch.Tensor]:
    state = agent.training_state()
    return {**state["policy"], **{f"enhancer.{name}": value for name, value in state["enhancer"].items()}}


def assert_equal_weights(first: RecurrentReinforce, second: RecurrentReinforce) -> None:
    expected, found = weights(first), weights(second)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name


class TwoCells(torch.nn.Module):
    """A policy of two places whose only parameter is the logit of the second one."""

    def __init__(self) -> None:
        super().__init__()
        self.logit = torch.nn.Parameter(torch.tensor(0.3))
        self.estimate = torch.nn.Parameter(torch.tensor(-0.2))

    log_prob_and_entropy = RecurrentPolicyNetwork.log_prob_and_entropy

    def evaluate(self, pictures: torch.Tensor, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = torch.stack((torch.zeros(()), self.logit)).expand(*places.shape, 2)
        return logits, self.estimate.expand(places.shape)


def two_cells(baseline: str, places: list[int], rewards: list[float], **options: Any) -> RecurrentReinforce:
    """An agent with a one-step buffer of two faces with two rollouts each, and the two-cell policy."""
    agent = make_agent(small_env(horizon=1), coupling="frozen", baseline=baseline, **options)
    agent.set_logger(configure(None, []))
    agent.policy = TwoCells()  # type: ignore[assignment]
    agent.optimizer = torch.optim.SGD(agent.policy.parameters(), lr=0.0)
    agent.choices = torch.tensor([places])
    agent.buffer.rewards.copy_(torch.tensor([rewards]))
    agent.max_grad_norm = 1e9
    return agent


@pytest.mark.parametrize("baseline", ["scalar", "batch", "leave_one_out", "value"])
@pytest.mark.parametrize("ent_coef", [0.0, 0.1])
def test_gradient_is_the_one_worked_out_by_hand(baseline: str, ent_coef: float) -> None:
    places, rewards = [0, 1, 1, 1], [0.5, 2.0, -1.0, 0.25]
    agent = two_cells(baseline, places, rewards, ent_coef=ent_coef, normalize_advantage=False)
    agent.train()
    p = 1 / (1 + np.exp(-0.3))
    reward = np.array(rewards)
    if baseline == "scalar":
        advantage = reward - 0.0
    elif baseline == "batch":
        advantage = reward - reward.mean()
    elif baseline == "leave_one_out":
        advantage = reward - reward[[1, 0, 3, 2]]
    else:
        advantage = reward - reward.mean() + 0.2
    # d log pi(a) / d logit = a - p, and the entropy's derivative is -logit p (1 - p)
    score = np.array(places) - p
    expected = -(advantage * score).mean() + ent_coef * 0.3 * p * (1 - p)
    gradient = agent.policy.logit.grad  # type: ignore[union-attr]
    assert gradient.item() == pytest.approx(expected, abs=1e-6)
    estimate = agent.policy.estimate.grad  # type: ignore[union-attr]
    if baseline == "value":
        deviation = reward - reward.mean()
        assert estimate.item() == pytest.approx(0.5 * 2 * (-0.2 - deviation).mean(), abs=1e-6)
    if baseline == "scalar":
        assert agent.baseline_values.item() == pytest.approx(0.5 * reward.mean(), abs=1e-6)


def test_advantages_are_scaled_by_their_deviation() -> None:
    places, rewards = [0, 1, 1, 0], [1e-3, 2e-3, -1e-3, 4e-3]
    gradients = []
    for factor in (1.0, 100.0):
        agent = two_cells("batch", places, [factor * value for value in rewards], ent_coef=0.0)
        agent.train()
        gradients.append(agent.policy.logit.grad.item())  # type: ignore[union-attr]
    assert gradients[0] == pytest.approx(gradients[1], rel=1e-4)
    assert abs(gradients[0]) > 0.01


def test_reward_to_go_credits_each_step_with_what_comes_after() -> None:
    agent = make_agent()
    agent.buffer.rewards.copy_(torch.tensor([[1.0, 0, 0, 0], [2.0, 0, 5, 0], [4.0, 1, 0, -1]]))
    expected = torch.tensor([[7.0, 1, 5, -1], [6, 1, 5, -1], [4, 1, 0, -1]])
    assert torch.equal(agent.buffer.returns(), expected)


@pytest.mark.parametrize("baseline", ["scalar", "batch", "leave_one_out", "self_critical", "value"])
@pytest.mark.parametrize("head", ["conv", "flat"])
def test_passes_of_any_size_give_one_gradient(baseline: str, head: str) -> None:
    found = []
    for rows_per_pass in (1, 3, 4):
        policy = SMALL_POLICY | {"head": head}
        agent = make_agent(
            baseline=baseline, rows_per_pass=rows_per_pass, imitation_updates=0, policy_kwargs=policy
        )
        agent.learn(12)
        found.append(weights(agent))
    for other in found[1:]:
        for name, value in found[0].items():
            if name == "head.last.bias":
                continue  # the same for all places, so that its gradient is rounding alone
            assert torch.allclose(value, other[name], atol=2e-5), name


class OnlyTheCorner(torch.nn.Module):
    """Spoils every patch but those whose centre lies in the upper left cell of the grid."""

    needs_initial_patch = False

    def forward(self, inputs: EnhancerInput) -> torch.Tensor:
        good = (inputs.centre < -0.5).all(dim=1)
        return torch.where(good[:, None, None, None], inputs.patch, inputs.patch * 0.0 + 1.0)


@pytest.mark.parametrize("head", ["conv", "flat"])
def test_it_learns_where_the_only_good_place_is(head: str) -> None:
    env = small_env(horizon=2)
    env.set_enhancer(OnlyTheCorner())  # type: ignore[arg-type]
    agent = make_agent(
        env,
        coupling="frozen",
        n_faces=4,
        n_rollouts=4,
        imitation_updates=0,
        learning_rate=0.01,
        flip=False,
        policy_kwargs=SMALL_POLICY | {"head": head},
    )
    agent.learn(60 * 32)
    places = [agent.predict(env.reset(options={"index": i})[0], deterministic=True)[0] for i in range(4)]
    rows, columns = np.divmod(np.array(places), 16)
    assert (rows < 4).all()
    assert (columns < 4).all()


@pytest.mark.parametrize("coupling", ["alternating", "joint", "frozen"])
@pytest.mark.parametrize("through", [False, True])
def test_coupling_decides_whether_the_enhancer_learns(coupling: str, through: bool) -> None:
    env = small_env()
    before = {name: value.clone() for name, value in env.core.enhancer.state_dict().items()}  # type: ignore
    make_agent(env, coupling=coupling, backprop_through_image=through).learn(12)
    after = env.core.enhancer.state_dict()  # type: ignore[attr-defined]
    changed = any(not torch.equal(value, after[name]) for name, value in before.items())
    assert changed == (coupling != "frozen")


def test_same_seed_same_weights_other_seed_others() -> None:
    first, second, other = (make_agent(seed=seed).learn(24) for seed in (1, 1, 2))
    assert_equal_weights(first, second)
    assert any(
        not torch.equal(a, b) for a, b in zip(weights(first).values(), weights(other).values(), strict=True)
    )


def test_training_state_resumes_bit_for_bit() -> None:
    whole = make_agent()
    whole.learn(12)
    state = copy.deepcopy(whole.training_state())
    whole.learn(12, reset_num_timesteps=False)
    resumed = make_agent()
    resumed.load_training_state(state)
    resumed.learn(12, reset_num_timesteps=False)
    assert resumed.num_timesteps == whole.num_timesteps == 24
    assert_equal_weights(whole, resumed)


def test_saved_agent_predicts_the_same_and_goes_on(tmp_path: Path) -> None:
    env = small_env()
    agent = make_agent(env).learn(12)
    agent.save(tmp_path / "agent")
    assert (tmp_path / "agent.zip").is_file()
    observation, _ = env.reset(seed=3)
    alone = RecurrentReinforce.load(tmp_path / "agent")
    for _ in range(2):
        expected, memory = agent.predict(observation, deterministic=True)
        found, found_memory = alone.predict(observation, deterministic=True)
        assert expected == found
        assert all(np.array_equal(a, b) for a, b in zip(memory, found_memory, strict=True))
    fresh = RecurrentReinforce.load(tmp_path / "agent", env=small_env())
    assert_equal_weights(agent, fresh)
    assert fresh.num_timesteps == 12
    fresh.learn(12, reset_num_timesteps=False)
    assert fresh.num_timesteps == 24
    changed = RecurrentReinforce.load(tmp_path / "agent", env=small_env(), n_faces=3)
    assert changed.buffer.rows == 6


def test_agent_file_holds_no_pickle(tmp_path: Path) -> None:
    make_agent().save(tmp_path / "agent.zip")
    with zipfile.ZipFile(tmp_path / "agent.zip") as archive:
        assert {Path(name).suffix for name in archive.namelist()} == {".json", ".safetensors"}


def test_bad_agent_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.zip"):
        RecurrentReinforce.load(tmp_path / "nothing.zip")
    make_agent().save(tmp_path / "agent.zip")
    (tmp_path / "cut.zip").write_bytes((tmp_path / "agent.zip").read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"cut\.zip is cut off"):
        RecurrentReinforce.load(tmp_path / "cut.zip")
    PPO("MlpPolicy", "CartPole-v1", n_steps=8, batch_size=8, device="cpu").save(tmp_path / "ppo.zip")
    with pytest.raises(ValueError, match="holds no agent of ours"):
        RecurrentReinforce.load(tmp_path / "ppo.zip")


def test_agent_of_another_shape_is_refused(tmp_path: Path) -> None:
    make_agent().save(tmp_path / "agent.zip")
    env = small_env()
    env.set_enhancer(small_enhancer(widths=(4,) * 7))
    with pytest.raises(ValueError, match="the enhancer's weights do not fit"):
        RecurrentReinforce.load(tmp_path / "agent.zip", env=env)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"baseline": "none"}, "baseline is 'none'"),
        ({"coupling": "loose"}, "coupling is 'loose'"),
        ({"n_rollouts": 1}, "leave_one_out"),
        ({"n_faces": 0}, "n_faces is 0"),
        ({"policy_kwargs": {"strid": 4}}, "strid"),
        ({"policy_kwargs": {"stride": 3}}, "stride is 3"),
        ({"policy_kwargs": {"head": "round"}}, "head is 'round'"),
    ],
)
def test_wrong_arguments_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_agent(**options)


def test_other_environments_are_refused() -> None:
    with pytest.raises(ValueError, match="FaceHallucination environment"):
        RecurrentReinforce("RecurrentPolicy", gym.make("CartPole-v1"))


# --- as in Stable-Baselines3 ---


def test_learn_calls_back_logs_and_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Count(BaseCallback):
        steps = starts = ends = 0

        def _on_step(self) -> bool:
            self.steps += 1
            return True

        def _on_rollout_start(self) -> None:
            self.starts += 1

        def _on_rollout_end(self) -> None:
            self.ends += 1

    count = Count()
    agent = make_agent()
    logger = configure(str(tmp_path), ["csv", "tensorboard"])
    agent.set_logger(logger)
    agent.learn(24, callback=[count, CheckpointCallback(3, str(tmp_path / "checkpoints"))], progress_bar=True)
    logger.close()
    assert (count.steps, count.starts, count.ends) == (6, 2, 2)
    assert agent.num_timesteps == 24
    assert len(list((tmp_path / "checkpoints").glob("*.zip"))) == 2
    header = (tmp_path / "progress.csv").read_text().splitlines()[0].split(",")
    expected = {
        "rollout/ep_rew_mean",
        "rollout/psnr_gain",
        "rollout/coverage",
        "train/entropy",
        "enhancer/loss",
    }
    assert expected <= set(header)
    assert "learning" in capsys.readouterr().err


def test_callback_can_stop() -> None:
    class Stop(BaseCallback):
        def _on_step(self) -> bool:
            return self.n_calls < 2

    agent = make_agent().learn(1000, callback=Stop())
    assert agent.num_timesteps == 8


def test_eval_callback_keeps_the_best(tmp_path: Path) -> None:
    agent = make_agent()
    callback = EvalCallback(
        Monitor(small_env()), n_eval_episodes=2, eval_freq=3, best_model_save_path=str(tmp_path), verbose=0
    )
    agent.learn(12, callback=callback)
    assert np.isfinite(callback.best_mean_reward)
    RecurrentReinforce.load(tmp_path / "best_model.zip")


@pytest.mark.parametrize("deterministic", [True, False])
def test_evaluate_policy_gives_the_rewards_of_the_episodes(deterministic: bool) -> None:
    agent = make_agent()
    env = Monitor(small_env(sampling="sequential"))
    rewards, lengths = evaluate_policy(
        agent, env, n_eval_episodes=4, deterministic=deterministic, return_episode_rewards=True
    )
    assert lengths == [3, 3, 3, 3]  # type: ignore[comparison-overlap]
    assert all(-1 < reward < 0 for reward in rewards)  # type: ignore[union-attr]


def test_prediction_takes_every_form_of_observation() -> None:
    env = small_env(observation="dict")
    agent = make_agent()
    observation, _ = env.reset(seed=0)
    single, memory = agent.predict(observation, deterministic=True)
    image = observation["image"]  # type: ignore[index]
    batch, _ = agent.predict(np.stack([image, image]), deterministic=True)
    first, _ = agent.predict(image.transpose(2, 0, 1), deterministic=True)
    assert single.shape == ()
    assert env.action_space.contains(single)
    assert batch.tolist() == [int(single)] * 2
    assert first == single
    again, _ = agent.predict(image, memory, episode_start=np.array([True]), deterministic=True)
    assert again == single
    with pytest.raises(ValueError, match="16x16x3, not 8x8x3"):
        agent.predict(image[:8, :8])
    with pytest.raises(ValueError, match="remembers 1 episodes"):
        agent.predict(np.stack([image, image]), memory)


def test_it_takes_wrapped_environments() -> None:
    env = VecTransposeImage(DummyVecEnv([lambda: Monitor(small_env()) for _ in range(2)]))
    agent = make_agent(env).learn(12)
    agent.set_env(DummyVecEnv([lambda: small_env(size=5) for _ in range(2)]))
    assert len(agent.faces.dataset) == 5
    agent.learn(12)


def test_paper_preset_is_the_yaml() -> None:
    path = Path(__file__).parent.parent / "configs" / "paper.yaml"
    experiment = read_experiment(make_parser().parse_args(["--config", str(path)]))
    policy_kwargs = PAPER["policy_kwargs"]
    assert {name: experiment.policy[name] for name in policy_kwargs} == policy_kwargs
    assert {name: experiment.agent[name] for name in PAPER if name != "policy_kwargs"} == {
        name: value for name, value in PAPER.items() if name != "policy_kwargs"
    }


def test_paper_preset_learns() -> None:
    agent = RecurrentReinforce.from_preset("paper", small_env(), n_faces=2)
    assert agent.policy.config.places == 256
    agent.learn(6)
    assert agent.num_timesteps == 6
    with pytest.raises(ValueError, match="no preset 'papers'"):
        RecurrentReinforce.from_preset("papers", small_env())
