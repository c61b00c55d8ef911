"""What the examples with Stable-Baselines3 share: arguments, hyperparameters, environments."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import yaml
from gymnasium.envs.registration import load_env_creator
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecMonitor, VecNormalize

from facehall_env import ENV_IDS
from facehall_env.sb3 import FaceHallucinationVecEnv


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """The arguments that all examples take."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--env-id", choices=ENV_IDS, default="FaceHallucination-Synthetic-x4", metavar="ID")
    parser.add_argument("--total-timesteps", type=int, help="instead of the hyperparameters' n_timesteps")
    parser.add_argument("--num-envs", type=int, help="instead of the hyperparameters' n_envs")
    parser.add_argument(
        "--enhancer",
        default="pretrained",
        help="pretrained, a weight file, or a preset: untrained, it leaves pictures as they are",
    )
    parser.add_argument(
        "--env-kwargs", type=json.loads, default={}, help="""JSON, such as '{"root": "data/lfw"}'"""
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", type=Path, help="where the agent is to be written")
    return parser


def hyperparameters(algorithm: str, args: argparse.Namespace) -> dict[str, Any]:
    """The environment's block of ``hyperparameters/ALGORITHM.yml``, with what the command line replaces."""
    path = Path(__file__).with_name("hyperparameters") / f"{algorithm}.yml"
    block: dict[str, Any] = yaml.safe_load(path.read_text())[args.env_id]
    given = {"n_timesteps": args.total_timesteps, "n_envs": args.num_envs}
    block |= {name: value for name, value in given.items() if value is not None}
    block["env_kwargs"] = block.get("env_kwargs", {}) | {"enhancer": args.enhancer} | args.env_kwargs
    return block


def make_envs(args: argparse.Namespace, settings: dict[str, Any]) -> VecEnv:
    """Environments as the settings describe them, whose entries about environments are taken out.

    Where the settings name wrappers, single environments are wrapped one by one; else one batch does all.
    """
    kwargs, count = settings.pop("env_kwargs"), settings.pop("n_envs")
    wrappers, normalize = settings.pop("env_wrapper", []), settings.pop("normalize", None)

    def wrapped() -> gym.Env[Any, Any]:
        env = gym.make(args.env_id, **kwargs)
        for wrapper in wrappers:
            ((name, arguments),) = wrapper.items() if isinstance(wrapper, dict) else [(wrapper, {})]
            package, _, kind = name.rpartition(".")
            env = load_env_creator(f"{package}:{kind}")(env, **arguments)
        return env

    if wrappers:
        envs: VecEnv = DummyVecEnv([wrapped] * count)
    else:
        envs = FaceHallucinationVecEnv(args.env_id, num_envs=count, **kwargs)
    envs.seed(args.seed)
    envs = VecMonitor(envs)
    return VecNormalize(envs, **normalize) if normalize else envs


def run(model: Any, timesteps: float, args: argparse.Namespace, callback: Any = None) -> Any:
    """Learn, and save where that was asked for."""
    model.learn(int(timesteps), callback=callback)
    if args.save is not None:
        model.save(args.save)
    return model


Arguments = Sequence[str] | None
