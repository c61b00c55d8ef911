"""What Stable-Baselines3 expects of an algorithm, for one that runs on the core of a face task.

The algorithm talks to the core in tensors and reads the faces itself; the environment it was given says
which task, and is what callbacks evaluate in. How it learns is its own affair, see `agents.reinforce`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.utils import FloatSchedule, LinearSchedule
from stable_baselines3.common.vec_env import VecEnv, VecTransposeImage
from torch import nn

from agents.acting import Observation, act
from agents.callbacks import ProgressBar
from agents.files import load_agent, load_pretrained, save_agent
from agents.gaussian import GaussianPolicyNetwork
from agents.policies import TASK_FIELDS, PolicyConfig, PolicyNetwork, RecurrentPolicyNetwork
from agents.tasks import tasks_of
from facehall_env.core import HallucinationCore, Reward
from facehall_env.enhancer import Enhancer, IdentityEnhancer
from facehall_env.pretrained import PretrainedWeights, get_weights
from facehall_env.task import FaceTask

Value = float | tuple[float, float] | Schedule
"""A constant, a pair (start, end; linear in between), or a function of the share that remains."""


class CoreAlgorithm(BaseAlgorithm):
    """Setting up, acting, logging and saving; subclasses learn.

    Args:
        policy: ``"RecurrentPolicy"``, the only one.
        env: A FaceHallucination environment, or its id; None only for `load`.
        learning_rate: Of the policy's optimiser.
        policy_kwargs: Fields of `PolicyConfig`.
        stats_window_size: As in Stable-Baselines3.
        tensorboard_log: As in Stable-Baselines3.
        verbose: As in Stable-Baselines3.
        seed: Of everything random; None: drawn from the operating system.
        device: The environment's, for which None and ``"auto"`` stand.
    """

    policy_aliases: ClassVar[dict[str, Any]] = {"RecurrentPolicy": PolicyNetwork}
    HYPERPARAMETERS: ClassVar[tuple[str, ...]] = ()
    """What `save` writes of the constructor's arguments, by name."""

    policy: PolicyNetwork  # type: ignore[assignment]
    task: FaceTask
    core: HallucinationCore
    reward: Reward | None = None
    enhancer: Enhancer | None = None
    seed: int

    def __init__(
        self,
        policy: str | type[PolicyNetwork],
        env: GymEnv | str | None,
        learning_rate: Value,
        *,
        policy_kwargs: dict[str, Any] | None,
        stats_window_size: int,
        tensorboard_log: str | None,
        verbose: int,
        seed: int | None,
        device: torch.device | str | None,
    ) -> None:
        super().__init__(
            cast(Any, policy),
            gym.make(env) if isinstance(env, str) else env,  # SB3 would ask for a render mode
            learning_rate=cast(Any, learning_rate),
            policy_kwargs=policy_kwargs,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            device="cpu",
            support_multi_env=True,
            seed=int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed,
        )
        self._requested_device = None if device in (None, "auto") else torch.device(cast(Any, device))

    # --- setting up ---

    def _setup_model(self, config: PolicyConfig | None = None, enhancer: Enhancer | None = None) -> None:
        """Build the policy, its optimiser and the generators, and run on the environment, if there is one.

        Args:
            config: The policy's shape, where it comes from a file.
            enhancer: What was saved with it.
        """
        tasks = tasks_of(self.env)
        if tasks:
            fitting = policy_config(tasks[0], self.policy_kwargs)
            if config not in (None, fitting):
                raise ValueError(f"the policy is {config}, but the environment needs {fitting}")
            config = fitting
        if config is None:
            raise ValueError(f"{type(self).__name__} needs an environment; only load() makes one without")
        self.device = self._choose_device(tasks)
        self.lr_schedule = FloatSchedule(as_schedule(cast(Any, self.learning_rate)))
        if not tasks:
            picture = (config.height, config.width, config.channels)
            self.observation_space = gym.spaces.Box(0, 255, picture, np.uint8)
            self.action_space = gym.spaces.Discrete(config.height * config.width)
            self.n_envs = 1
        self.set_random_seed(self.seed)
        self.policy = make_policy(config).to(self.device)
        self.optimizer = torch.optim.Adam(self.policy.parameters(), lr=self.lr_schedule(1.0), fused=True)
        self.generator = torch.Generator(self.device).manual_seed(self.seed)
        self.acting_generator = torch.Generator(self.device).manual_seed(self.seed)
        self.order_generator = torch.Generator().manual_seed(self.seed)
        if enhancer is not None:
            self._adopt(enhancer)
        if tasks:
            self._attach(tasks)

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """Go on in another environment of the same picture and patch size, with its faces and enhancer.

        An environment without an enhancer (the identity), or with the one that it has by default, is given
        the agent's.

        Raises:
            ValueError: If the environment is not one of ours or does not fit; then nothing was changed.
        """
        wrapped = self._wrap_env(env, self.verbose)
        tasks = tasks_of(wrapped)
        fitting = policy_config(tasks[0], self.policy_kwargs)
        if fitting != self.policy.config:
            raise ValueError(f"the policy is {self.policy.config}, but the environment needs {fitting}")
        if (device := tasks[0].core.device).type != torch.device(self.device).type:
            raise ValueError(
                f"the agent learns on {self.device}, but the environment computes on {device}: load it with "
                "the environment, load(path, env=env), or make the environment with "
                f"gym.make(..., device={str(self.device)!r})"
            )
        self._attach(tasks)
        # The agent reads the core, so neither the number of environments nor what they show matters
        self.n_envs, self.observation_space = wrapped.num_envs, wrapped.observation_space
        super().set_env(wrapped, force_reset)

    def _attach(self, tasks: list[FaceTask]) -> None:
        """Run on this task from now on: a core with as many rows as wanted, and one enhancer for all."""
        enhancer = self._enhancer_for(tasks[0])
        for task in tasks:
            task.core.set_enhancer(enhancer)
        self.task = tasks[0]
        self.core = self.task.core.replica(reward=self.reward or self.task.core.reward)
        self._adopt(self.core.enhancer)

    def _enhancer_for(self, task: FaceTask) -> Enhancer:
        """The environment's enhancer, or the agent's where the environment has none that was asked for."""
        given = task.core.enhancer
        gives_way = isinstance(given, IdentityEnhancer) or task.enhancer_by_default
        return self.enhancer if gives_way and self.enhancer is not None else given

    def _adopt(self, enhancer: Enhancer) -> None:
        """This is the enhancer from now on."""
        if isinstance(enhancer, nn.Module):
            enhancer = cast(Enhancer, enhancer.to(self.device))
        self.enhancer = enhancer

    def _choose_device(self, tasks: list[FaceTask]) -> torch.device:
        wanted = self._requested_device
        if not tasks:
            return wanted or torch.device("cpu")
        device = tasks[0].core.device
        if wanted is not None and wanted.type != device.type:
            raise ValueError(
                f"device is {wanted}, but the environment computes on {device}, and both share the enhancer: "
                f"make the environment with gym.make(..., device={str(wanted)!r})"
            )
        return device

    @staticmethod
    def _wrap_env(env: GymEnv, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        """As in Stable-Baselines3, but pictures keep their channels last: the agent reads the core."""
        if isinstance(env, gym.vector.VectorEnv):
            raise ValueError(
                "this agent takes one environment, gym.make(id), as it runs as many episodes side by side as "
                "n_faces and n_rollouts say; or facehall_env.sb3.FaceHallucinationVecEnv(id, num_envs), but "
                "not Gymnasium's vector environments"
            )
        wrapped = BaseAlgorithm._wrap_env(env, verbose, monitor_wrapper)
        return wrapped.venv if isinstance(wrapped, VecTransposeImage) else wrapped

    # --- acting ---

    def predict(
        self,
        observation: Observation,
        state: tuple[NDArray[Any], ...] | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[np.int64], tuple[NDArray[Any], ...]]:
        """Where to look next.

        Draws come from a generator of their own, so that acting does not disturb learning.

        Args:
            observation: Current pictures, uint8, (H, W, C) or (N, H, W, C) (channels may also come first), or
                the dictionary observation.
            state: What the last call returned; None at the start.
            episode_start: Rows that start a new episode forget what was before, bool, (N,).
            deterministic: argmax instead of a draw.

        Returns:
            Locations, int64, () or (N,), and the policy's memory for the next call: pass it on.

        Raises:
            ValueError: If the pictures have another size or type than the policy was made for, or `state`
                belongs to other episodes.
        """
        return act(
            self.policy,
            observation,
            state,
            episode_start,
            deterministic=deterministic,
            generator=self.acting_generator,
        )

    # --- logging ---

    def dump_logs(self, iteration: int = 0) -> None:
        """Write what was recorded, with the speed and the running means that SB3's users look for."""
        seconds = max((time.time_ns() - self.start_time) / 1e9, 1e-9)
        self.logger.record("time/iterations", iteration, exclude="tensorboard")
        self.logger.record("time/fps", int((self.num_timesteps - self._num_timesteps_at_start) / seconds))
        self.logger.record("time/time_elapsed", int(seconds), exclude="tensorboard")
        self.logger.record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
        if self.ep_info_buffer:
            for name, key in (("rollout/ep_rew_mean", "r"), ("rollout/ep_len_mean", "l")):
                self.logger.record(name, float(np.mean([info[key] for info in self.ep_info_buffer])))
        self.logger.dump(self.num_timesteps)

    def _init_callback(self, callback: MaybeCallback, progress_bar: bool = False) -> BaseCallback:
        """As in Stable-Baselines3, with a progress bar that counts every row."""
        if progress_bar:
            given = [] if callback is None else callback if isinstance(callback, list) else [callback]
            callback = [*(cast(Any, given)), ProgressBar()]
        return super()._init_callback(callback, progress_bar=False)

    # --- on disk ---

    def training_state(self) -> dict[str, Any]:
        """All that learning has changed, between two iterations; tensors and plain values."""
        raise NotImplementedError

    def load_training_state(self, state: dict[str, Any]) -> None:
        """Go on from `training_state`; parts that are missing stay as they are."""
        raise NotImplementedError

    def save(  # type: ignore[override]
        self, path: str | Path, exclude: Sequence[str] | None = None, include: Sequence[str] | None = None
    ) -> None:
        """Write policy, enhancer, optimisers, generators and settings into one file, without pickle.

        Between two iterations the file holds all there is to know: an agent that is loaded with an
        environment over the same faces goes on learning bit for bit on the same CPU. Not written are
        `verbose`, `stats_window_size` and `tensorboard_log`, which `load` takes anew, and functions of the
        progress.

        Args:
            path: The file; ``.zip`` is added where there is no ending, as in Stable-Baselines3.
            exclude: ``"enhancer"`` leaves the enhancer out, ``"optimizer"`` all that only serves further
                learning.
            include: Not used; everything that is needed is written.
        """
        save_agent(self, path, tuple(exclude or ()))

    @classmethod
    def load(  # type: ignore[override]
        cls,
        path: str | Path,
        env: GymEnv | str | None = None,
        device: torch.device | str | None = None,
        **changes: Any,
    ) -> Self:
        """Read an agent.

        Args:
            path: What `save` wrote, whose ``.zip`` may be left out; or the run folder that it lies in.
            env: To go on learning. Its enhancer takes the saved weights; an environment without one, or
                with the one that it has by default, is given the saved network. Without an environment the
                agent can predict, and be given one by `set_env`.
            device: Where to compute; None: where the environment does, or the CPU.
            **changes: Constructor arguments that shall differ from the saved ones.

        Returns:
            The agent.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the file is cut off or of another kind, or does not fit the environment.
        """
        return load_agent(cls, path, env, device, changes)

    @classmethod
    def from_pretrained(
        cls,
        weights: str | Path | PretrainedWeights,
        env: GymEnv | str | None = None,
        device: torch.device | str | None = None,
        **changes: Any,
    ) -> Self:
        """An agent with trained weights: ``RecurrentReinforce.from_pretrained("synthetic-x4", env)``.

        The policy and the enhancer were stored in half precision and compute in float32; what only serves
        further learning (moments of the optimisers, generators) was not stored.

        Args:
            weights: A name, a folder or a repository's id, see `facehall_env.get_weights`; or what that gave.
            env: As for `load`.
            device: As for `load`.
            **changes: Constructor arguments that shall differ from those of the training.

        Returns:
            The agent.

        Raises:
            FileNotFoundError: If there are no such weights.
            ImportError: If they are on the Hub and huggingface_hub is not installed.
            ValueError: If they hold no policy, are cut off, or do not fit the environment.
        """
        return load_pretrained(cls, get_weights(weights), env, device, changes)

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy", "optimizer"], []


def policy_config(task: FaceTask, policy_kwargs: dict[str, Any]) -> PolicyConfig:
    """The policy's shape for a task.

    Raises:
        ValueError: If `policy_kwargs` names a field that does not exist or is fixed by the task.
    """
    sizes = (*task.core.shape, *task.core.patch_size)
    known = {field.name for field in fields(PolicyConfig)} - set(TASK_FIELDS)
    if unknown := set(policy_kwargs) - known:
        raise ValueError(f"policy_kwargs has {sorted(unknown)}; it may have {', '.join(sorted(known))}")
    return PolicyConfig(**cast(Any, dict(zip(TASK_FIELDS, sizes, strict=True))), **policy_kwargs)


def make_policy(config: PolicyConfig) -> PolicyNetwork:
    """The untrained network that a configuration describes, in the mode for acting."""
    network = GaussianPolicyNetwork if config.head == "gaussian" else RecurrentPolicyNetwork
    return network(config).eval()


def as_schedule(value: Value) -> float | Schedule:
    """A pair (start, end) as a linear schedule; numbers and functions as they are."""
    if isinstance(value, tuple | list):
        start, end = value
        return LinearSchedule(start, end, 1.0)
    return value
