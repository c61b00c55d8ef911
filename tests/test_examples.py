"""The examples run, each for a few hundred steps, and the enhancer beside PPO learns."""

import copy
import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

from agents.callbacks import EnhancerPhase
from agents.rollout import walk
from agents.scripted import RandomPatch
from agents.tasks import tasks_of
from examples import common, sb3_a2c, sb3_maskable_ppo, sb3_ppo, sb3_recurrent_ppo
from facehall_env import ENV_IDS
from facehall_env.task import FaceTask

ROOT = Path(__file__).parents[1]
SMALL = {"horizon": 5, "patch_size": [30, 22], "data_options": {"image_size": 64, "size": 8}}
"""Drawn faces of 64x64, the patch in its usual proportion, short episodes."""


def arguments(timesteps: int, num_envs: int, **env_kwargs: Any) -> list[str]:
    return [
        "--env-id=FaceHallucination-Synthetic-x4",
        f"--total-timesteps={timesteps}",
        f"--num-envs={num_envs}",
        "--enhancer=tiny",
        f"--env-kwargs={json.dumps(SMALL | env_kwargs)}",
    ]


@pytest.mark.parametrize("example", [sb3_ppo, sb3_a2c, sb3_recurrent_ppo, sb3_maskable_ppo])
def test_examples_with_stable_baselines_run(
    example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = example.main([*arguments(200, 4), f"--save={tmp_path / 'agent.zip'}"])
    assert model.num_timesteps >= 200
    assert "Using cpu device" in capsys.readouterr().out
    assert model.ep_info_buffer
    assert (tmp_path / "agent.zip").is_file()
    for parameter in model.policy.parameters():
        assert torch.isfinite(parameter).all()


def test_what_is_asked_for_by_default_can_be_learned() -> None:
    args = common.make_parser("").parse_args([])
    settings = common.hyperparameters("ppo", args) | {"n_envs": 2}
    settings["env_kwargs"] |= {"horizon": 2}
    envs = common.make_envs(args, settings)
    envs.seed(0)
    envs.reset()
    _, rewards, _, _ = envs.step(np.array([64 * 128 + 64] * 2))
    assert (rewards != 0.0).all()  # an untrained enhancer would leave the pictures as they are
    envs.close()


def test_a_masked_agent_never_looks_twice() -> None:
    visited: list[list[int]] = []

    class Watch(BaseCallback):
        def _on_step(self) -> bool:
            visited.append([int(action) for action in self.locals["actions"]])
            return True

    sb3_maskable_ppo.main(arguments(10, 2)).learn(10, callback=Watch())
    for row in zip(*visited, strict=True):
        episodes = [row[start : start + 5] for start in range(0, len(row), 5)]
        assert all(len(set(episode)) == 5 for episode in episodes)


@pytest.mark.filterwarnings("ignore")  # TorchRL's own
@pytest.mark.parametrize(
    ("example", "width"), [("cleanrl_ppo_lstm", "--num-envs=4"), ("torchrl_reinforce", "--episodes=4")]
)
def test_single_file_examples_run(example: str, width: str, capsys: pytest.CaptureFixture[str]) -> None:
    main = importlib.import_module(f"examples.{example}").main
    network = main([*(text for text in arguments(200, 4) if "num-envs" not in text), width])
    assert capsys.readouterr().out.splitlines()[-1].startswith("step 200: ")
    for parameter in network.parameters():
        assert torch.isfinite(parameter).all()


def test_the_command_of_the_docstring_runs() -> None:
    command = [sys.executable, "-m", "examples.sb3_ppo", *arguments(20, 4), "--coupled"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "enhancer/" in done.stdout


@pytest.mark.parametrize("algorithm", ["ppo", "a2c", "ppo_lstm"])
def test_every_id_has_hyperparameters(algorithm: str) -> None:
    blocks = yaml.safe_load((ROOT / "examples" / "hyperparameters" / f"{algorithm}.yml").read_text())
    assert {name for name in blocks if not name.startswith(".")} == set(ENV_IDS)
    for block in blocks.values():
        assert block["n_steps"] % 25 == 0  # whole episodes
        assert block.get("gamma") == 1.0


def test_the_command_line_replaces_hyperparameters(capsys: pytest.CaptureFixture[str]) -> None:
    args = common.make_parser("").parse_args([*arguments(7, 3, reward="terminal"), "--enhancer=identity"])
    settings = common.hyperparameters("ppo", args)
    assert (settings["n_timesteps"], settings["n_envs"]) == (7, 3)
    assert settings["env_kwargs"] == {"reward": "terminal", "enhancer": "identity"} | SMALL
    assert common.hyperparameters("ppo", common.make_parser("").parse_args([]))["n_envs"] == 16
    with pytest.raises(SystemExit):
        common.make_parser("").parse_args(["--env-id=CartPole-v1"])
    assert "invalid choice: 'CartPole-v1'" in capsys.readouterr().err


def remaining_error(task: FaceTask) -> float:
    """What 25 steps at random leave of the error of the task's faces."""
    core = task.core.replica(reward="terminal", horizon=25)
    walk(core, RandomPatch(0), task.faces(range(len(task.dataset))))
    return float(core.mse.mean())


@pytest.mark.parametrize(
    "env_wrapper", [[], ["facehall_env.wrappers.RowColumnLocation"]], ids=["one batch", "single environments"]
)
def test_the_enhancer_learns_between_the_rollouts(env_wrapper: list[str]) -> None:
    args = common.make_parser("").parse_args(arguments(0, 4))
    settings = common.hyperparameters("ppo", args) | {"env_wrapper": env_wrapper}
    settings["env_kwargs"]["data_options"] = {"image_size": 64, "size": 2}  # two faces, again and again
    settings |= {"n_steps": 10, "batch_size": 40, "n_epochs": 1}
    del settings["n_timesteps"]
    envs = common.make_envs(args, settings)
    tasks = tasks_of(envs)
    enhancer = tasks[0].core.enhancer
    torch.nn.init.normal_(enhancer.convolutions[-1].weight, std=0.3)  # it starts as a bad one
    for task in tasks:
        task.core.set_enhancer(enhancer)
    before, error = copy.deepcopy(enhancer.state_dict()), remaining_error(tasks[0])
    phase = EnhancerPhase(batch_size=4, learning_rate=1e-3)
    PPO(env=envs, seed=0, device="cpu", **settings).learn(160, callback=phase)
    assert all(task.core.enhancer is enhancer for task in tasks_of(envs))
    assert any(not torch.equal(value, before[name]) for name, value in enhancer.state_dict().items())
    assert remaining_error(tasks[0]) < 0.8 * error
