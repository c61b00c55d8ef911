"""The variants of a study as learners of one kind: learn for so many steps, be measured in between."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from inspect import signature
from typing import Any, Final, Protocol

import torch
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecNormalize

from agents.algorithm import policy_config
from agents.callbacks import AtIteration
from agents.planning import Planner
from agents.presets import preset_arguments
from agents.reinforce import RecurrentReinforce
from agents.rollout import PolicyAgent
from agents.scripted import CoreAgent, covering_locations
from agents.study.configuration import StudyConfig, VariantConfig
from agents.study.stable import GridAgent, GridVecEnv
from agents.study.world import World

_STABLE: Final = {
    "ppo": ("stable_baselines3", "PPO", "CnnPolicy"),
    "a2c": ("stable_baselines3", "A2C", "CnnPolicy"),
    "recurrent_ppo": ("sb3_contrib", "RecurrentPPO", "CnnLstmPolicy"),
}
_OF_THE_STUDY: Final = {
    "self",
    "env",
    "policy_kwargs",
    "seed",
    "device",
    "verbose",
    "tensorboard_log",
    "stats_window_size",
    "_init_setup_model",
}


class Learner(Protocol):
    """A variant with one seed."""

    @property
    def steps(self) -> int:
        """Environment steps so far: patches enhanced for learning."""

    @property
    def spared(self) -> float:
        """Seconds of learning so far that another learner had spent already, see `World.plan`."""

    def learn(self, between: Callable[[], object]) -> None:
        """Learn for the study's steps; `between` is called between two updates."""

    def agent(self, *, deterministic: bool, seed: int) -> CoreAgent:
        """What was learned so far; drawing with this seed where it is not deterministic."""


def make_learner(world: World, name: str, seed: int) -> Learner:
    """Build a variant of the world's study.

    Raises:
        ValueError: If a field of the variant is unknown or out of range; the message names variant and field.
    """
    variant: VariantConfig = world.config.variants[name]
    kind = ReinforceLearner if variant.algorithm == "reinforce" else StableLearner
    try:
        return kind(world, variant, seed)
    except (ValueError, TypeError) as error:
        raise ValueError(f"variant {name!r}: {error}") from error


class ReinforceLearner:
    """`RecurrentReinforce`, its warm start included.

    Args:
        world: Where it learns.
        variant: How.
        seed: Of everything random.

    Raises:
        ValueError: If a field is unknown or out of range, or the warm start alone takes all steps.
    """

    def __init__(self, world: World, variant: VariantConfig, seed: int) -> None:
        config = world.config
        agent, policy = _overrides(config, variant)
        _refuse_unknown("agent", agent, set(RecurrentReinforce.HYPERPARAMETERS) - {"seed", "coupling"})
        _refuse_unused(variant)
        env, self._counted = world.environment()
        arguments = preset_arguments(
            variant.preset, agent | {"policy_kwargs": policy, "coupling": "frozen", "seed": seed}
        )
        policy_config(env.task, arguments["policy_kwargs"])  # refuses unknown fields before anything is built
        torch.manual_seed(seed)
        self._agent = RecurrentReinforce("RecurrentPolicy", env, **arguments)
        self._agent.set_logger(Logger(None, []))
        self._total, self._world, self.spared = config.total_timesteps, world, 0.0
        if self.warm_start_steps >= self._total:
            raise ValueError(
                f"the warm start alone takes {self.warm_start_steps} environment steps, but total_timesteps "
                f"is {self._total}: imitate for fewer rounds, or learn for longer"
            )

    @property
    def warm_start_steps(self) -> int:
        """Environment steps of the warm start, at least: its episodes, and what its teacher tries out."""
        agent = self._agent
        episodes, tried = agent.imitation_updates * agent.imitation_faces, 0
        if episodes and agent.imitation_teacher == "plan":
            planner = Planner(agent.core, agent.policy.config)
            tried = min(agent.imitation_plan_faces, len(agent.task.dataset)) * planner.least_patches
        elif agent.oracle == "gain":
            tried = episodes * len(covering_locations(agent.core))
        return episodes * agent.core.horizon + tried

    @property
    def steps(self) -> int:
        """See `Learner`."""
        return self._counted.patches

    def learn(self, between: Callable[[], object]) -> None:
        """See `Learner`."""
        agent = self._agent
        if agent.imitation_updates:
            self.spared = self._world.plan(agent, self._counted)
        while agent.imitated < agent.imitation_updates:
            agent.imitate()
            between()
        episodes = agent.n_faces * agent.n_rollouts
        of_all = episodes + (agent.n_faces if agent.baseline == "self_critical" else 0)
        # The agent counts only the episodes that it learns from, and its schedules run over these
        agent.learn(
            (self._total - self.steps) * episodes // of_all,
            callback=AtIteration(between),
            log_interval=None,
        )

    def agent(self, *, deterministic: bool, seed: int) -> CoreAgent:
        """See `Learner`."""
        generator = torch.Generator(self._agent.device).manual_seed(seed)
        return PolicyAgent(self._agent.policy, deterministic=deterministic, generator=generator)


class StableLearner:
    """PPO, A2C or RecurrentPPO, on all rows at once (`FaceHallucinationVecEnv`) and a grid of places.

    What differs from their defaults unless the variant says otherwise: rollouts of whole episodes
    (``n_steps`` = T) and, as for REINFORCE, ``gamma`` = 1. Rewards are divided by a running standard
    deviation of the returns (``VecNormalize``): differences in the MSE are about 1e-3.

    Args:
        world: Where it learns.
        variant: How.
        seed: Of everything random.

    Raises:
        ValueError: If a field is unknown or out of range, or sb3-contrib is needed and missing.
    """

    def __init__(self, world: World, variant: VariantConfig, seed: int) -> None:
        module, name, policy = _STABLE[variant.algorithm]
        try:
            kind: Any = getattr(importlib.import_module(module), name)
        except ModuleNotFoundError as error:
            raise ValueError(f"{name} needs sb3-contrib: pip install sb3-contrib") from error
        _refuse_unknown("agent", variant.agent, set(signature(kind.__init__).parameters) - _OF_THE_STUDY)
        if variant.preset != "default":
            raise ValueError(f"preset is {variant.preset!r}, but only algorithm 'reinforce' has presets")
        venv, self._counted = world.vector_environment(variant.rows)
        self._env = GridVecEnv(venv, variant.stride, visits=variant.visits)
        arguments: dict[str, Any] = {
            "policy": policy,
            "n_steps": world.core.horizon,
            "gamma": 1.0,
        } | variant.agent
        self._model = kind(
            env=VecNormalize(self._env, norm_obs=False, gamma=arguments["gamma"]),
            policy_kwargs=variant.policy or None,
            seed=seed,
            device=str(world.core.device),
            **arguments,
        )
        self._model.set_logger(Logger(None, []))
        self._total, self.spared = world.config.total_timesteps, 0.0

    @property
    def steps(self) -> int:
        """See `Learner`."""
        return self._counted.patches

    def learn(self, between: Callable[[], object]) -> None:
        """See `Learner`."""
        self._model.learn(self._total, callback=AtIteration(between), log_interval=self._total)

    def agent(self, *, deterministic: bool, seed: int) -> CoreAgent:
        """See `Learner`; draws come from PyTorch's own generator, which is seeded here."""
        torch.manual_seed(seed)
        return GridAgent(self._model, self._env, deterministic=deterministic)


def _overrides(config: StudyConfig, variant: VariantConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments of agent and policy that differ from the preset's."""
    if variant.preset != "default":
        return variant.agent, variant.policy
    return config.agent | variant.agent, config.policy | variant.policy


def _refuse_unknown(what: str, given: dict[str, Any], known: set[str]) -> None:
    if unknown := set(given) - known:
        raise ValueError(f"{what} has {sorted(unknown)}; it may have {', '.join(sorted(known))}")


def _refuse_unused(variant: VariantConfig) -> None:
    """Fields that stand for nothing in REINFORCE."""
    for name in ("rows", "stride", "visits"):
        if getattr(variant, name) != getattr(VariantConfig, name):
            raise ValueError(f"{name} is set, but only the algorithms of Stable-Baselines3 have it")
