"""Watching agents of Stable-Baselines3 and sb3-contrib, in the environment and the wrappers they know.

Their files hold pickled objects, which can run any code when they are loaded: open only files that you trust.
"""

from __future__ import annotations

import importlib
import json
import zipfile
from collections.abc import Sequence
from inspect import signature
from pathlib import Path
from typing import Any, Final

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.utils import check_for_correct_spaces
from torch import Tensor
from torch.distributions import Categorical, Normal

from agents.visualisation.trace import EpisodeTrace, TraceRecorder, gaussian_over_pixels, over_pixels
from facehall_env.env import FaceHallucinationEnv

_MODULES: Final = {
    "PPO": "stable_baselines3",
    "A2C": "stable_baselines3",
    "RecurrentPPO": "sb3_contrib",
    "MaskablePPO": "sb3_contrib",
}


def is_stable_baselines(path: Path) -> bool:
    """Whether a file is a zip as Stable-Baselines3 writes it."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return {"data", "_stable_baselines3_version"} <= set(archive.namelist())


def algorithm_of(path: Path) -> str:
    """The name of the algorithm that wrote a zip, told from its JSON part; nothing is unpickled.

    Raises:
        ValueError: If it is none of PPO, A2C, RecurrentPPO and MaskablePPO.
    """
    with zipfile.ZipFile(path) as archive:
        data = json.loads(archive.read("data"))
    policy = data.get("policy_class", {})
    module = policy.get("__module__", "") if isinstance(policy, dict) else ""
    if ".recurrent." in module:
        return "RecurrentPPO"
    if ".maskable." in module:
        return "MaskablePPO"
    if "gae_lambda" in data and "cg_max_steps" not in data:  # TRPO has both
        return "PPO" if "clip_range" in data else "A2C"
    raise ValueError(
        f"{path} is a file of Stable-Baselines3, but of none of {', '.join(_MODULES)}, whose policies can be "
        f"watched (its policy is of {module or 'an unknown kind'})"
    )


def load_stable_baselines(path: Path, device: torch.device) -> OnPolicyAlgorithm:
    """Read a zip of PPO, A2C, RecurrentPPO or MaskablePPO; it is unpickled, so it must be trusted.

    Raises:
        ValueError: If it is of another algorithm, or sb3-contrib is needed and missing.
    """
    name = algorithm_of(path)
    try:
        module = importlib.import_module(_MODULES[name])
    except ModuleNotFoundError as error:
        raise ValueError(f"{path} was written by {name}: pip install sb3-contrib to open it") from error
    loaded: OnPolicyAlgorithm = getattr(module, name).load(path, device=device)
    return loaded


class StableBaselinesLooker:
    """An on-policy agent of Stable-Baselines3 in a (wrapped) environment, one episode at a time.

    Args:
        model: The agent.
        env: The environment in the shape that the agent was trained in: a `FaceHallucinationEnv`, with the
            wrappers of training around it.
        deterministic: Take the most likely action instead of drawing one.
        seed: Of the draws.

    Raises:
        ValueError: If the environment's spaces are not the agent's.
    """

    def __init__(
        self, model: OnPolicyAlgorithm, env: gym.Env[Any, Any], *, deterministic: bool, seed: int
    ) -> None:
        base = env.unwrapped
        assert isinstance(base, FaceHallucinationEnv)
        vector = model._wrap_env(env, 0)
        try:
            check_for_correct_spaces(vector, model.observation_space, model.action_space)
        except ValueError as error:
            raise ValueError(
                f"the agent was trained in an environment of another shape ({error}): give the arguments and "
                "wrappers of its training"
            ) from error
        self.model, self.env, self.core = model, env, base.core
        self.deterministic = deterministic
        self.height, self.width = base.core.shape[1:]
        self._maskable = "action_masks" in signature(model.policy.get_distribution).parameters
        model.set_random_seed(seed)
        model.policy.set_training_mode(False)

    def traces(self, indices: Sequence[int]) -> list[EpisodeTrace]:
        """One recorded episode of each of these faces."""
        return [self._episode(index) for index in indices]

    def locations(self, indices: Sequence[int]) -> NDArray[np.int64]:
        """Only where it looks: (T, N)."""
        return np.stack([self._episode(index).locations for index in indices], axis=1)

    def _episode(self, index: int) -> EpisodeTrace:
        recorder = TraceRecorder()
        observation, _ = self.env.reset(options={"index": index})
        recorder.begin(self.core)
        self._memory: tuple[Tensor, Tensor] | None = None
        done = False
        while not done:
            action, probabilities = self._act(observation)
            observation, _, terminated, truncated, info = self.env.step(action)
            recorder.note(torch.tensor([info["location"]], device=self.core.device), probabilities)
            recorder.follow()
            done = terminated or truncated
        return recorder.traces([index])[0]

    @torch.no_grad()
    def _act(self, observation: Any) -> tuple[Any, Tensor | None]:
        """An action, and its probabilities as a density over pixels where it has some."""
        policy: Any = self.model.policy
        batch, _ = policy.obs_to_tensor(observation)
        if hasattr(policy, "lstm_actor"):
            start = torch.full((1,), float(self._memory is None), device=policy.device)
            if self._memory is None:
                zeros = torch.zeros(policy.lstm_hidden_state_shape, device=policy.device)
                self._memory = (zeros, zeros)
            chosen, self._memory = policy.get_distribution(batch, self._memory, start)
        elif self._maskable and self.env.has_wrapper_attr("action_masks"):
            masks = self.env.get_wrapper_attr("action_masks")()
            chosen = policy.get_distribution(batch, action_masks=masks)
        else:
            chosen = policy.get_distribution(batch)
        action = chosen.get_actions(deterministic=self.deterministic)[0].cpu().numpy()
        space = self.env.action_space
        if isinstance(space, gym.spaces.Box):
            action = np.clip(action, space.low, space.high)
        elif isinstance(space, gym.spaces.Discrete):
            action = np.int64(action)
        return action, self._density(getattr(chosen, "distribution", None))

    def _density(self, distribution: Any) -> Tensor | None:
        """What the actions' distribution says about pixels: (1, H, W); None where that is not known."""
        if isinstance(distribution, Categorical):
            places = distribution.probs
            coarse = self.env.has_wrapper_attr("grid")
            grid = self.env.get_wrapper_attr("grid").shape if coarse else (self.height, self.width)
            return over_pixels(places.view(1, *grid), self.height, self.width)
        if isinstance(distribution, list):  # rows and columns, drawn independently
            rows, columns = (axis.probs for axis in distribution)
            density: Tensor = rows[:, :, None] * columns[:, None, :]
            return density
        if isinstance(distribution, Normal) and self.env.has_wrapper_attr("locations"):
            points = self.env.get_wrapper_attr("locations")
            return gaussian_over_pixels(distribution.mean, distribution.stddev, points)
        return None
