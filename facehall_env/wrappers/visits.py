"""The history of an episode as one more channel of the picture."""

from __future__ import annotations

from typing import Any, Final, Literal, SupportsFloat

import gymnasium as gym
import numpy as np
import torch
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from facehall_env.arguments import one_of
from facehall_env.env import FaceHallucinationEnv, Observation
from facehall_env.wrappers.common import geometry_of

Mark = Literal["patch", "centre"]
LEVELS: Final = 255


class VisitChannel(gym.Wrapper[Observation, Any, Observation, Any], RecordConstructorArgs):
    """One more channel of the picture: how often each pixel was enhanced in this episode.

    When to use it: with agents that have no memory (PPO, A2C, DQN with ``CnnPolicy``). The reward depends on
    where patches lie already, which the picture alone hardly shows; with this channel the observation says
    nearly all that the paper's recurrent policy has to remember.

    A pixel's count n is shown as the level ``n * unit``, where ``unit = 255 // T`` (10 for T = 25), so that
    the most a pixel can reach still fits; ``level // unit`` is the count again. With ``mark="patch"`` every
    pixel under a patch is counted, with ``mark="centre"`` only the patch's centre: the places themselves,
    which a convolution sees as a few single pixels.

    The image observation ``(H, W, C)`` becomes ``(H, W, C + 1)``; a dictionary gets the key ``visits`` of
    shape ``(H, W, 1)`` instead. Both are uint8, as Stable-Baselines3's convolutional policies want them.

    Args:
        env: The environment.
        mark: ``"patch"`` or ``"centre"``.

    Attributes:
        unit: The level of one visit.

    Raises:
        ValueError: If `mark` is unknown, the observations were changed before, or the horizon is beyond 255
            steps, whose counts fit no byte.
    """

    def __init__(self, env: gym.Env[Observation, Any], mark: Mark = "patch") -> None:
        one_of("mark", mark, Mark)
        self._geometry = geometry_of(env)
        base = env.unwrapped
        assert isinstance(base, FaceHallucinationEnv)
        if base.core.horizon > LEVELS:
            raise ValueError(
                f"the horizon is {base.core.horizon}, but counts beyond {LEVELS} do not fit an uint8 channel"
            )
        if env.observation_space != base.observation_space:
            raise ValueError(
                f"VisitChannel adds to the environment's own pictures, not to {env.observation_space}: "
                "put it inside the wrappers that change observations"
            )
        RecordConstructorArgs.__init__(self, mark=mark)
        gym.Wrapper.__init__(self, env)
        self.mark: Mark = mark
        self.unit = LEVELS // base.core.horizon
        height, width, channels = base.task.dataset.shape
        self._channel = np.zeros((height, width, 1), np.uint8)
        self.observation_space: gym.spaces.Space[Any]
        if isinstance(env.observation_space, gym.spaces.Dict):
            visits = gym.spaces.Box(0, LEVELS, self._channel.shape, np.uint8)
            self.observation_space = gym.spaces.Dict(dict(env.observation_space.spaces) | {"visits": visits})
        else:
            self.observation_space = gym.spaces.Box(0, LEVELS, (height, width, channels + 1), np.uint8)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode; no pixel was visited."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._channel[:] = 0
        return self._show(observation), info

    def step(self, action: Any) -> tuple[Observation, SupportsFloat, bool, bool, dict[str, Any]]:
        """Take a step, and count where it went."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if "location" in info:
            self._count(info["location"])
        else:  # an Autoreset beneath has begun the next episode
            self._channel[:] = 0
        return self._show(observation), reward, terminated, truncated, info

    def _count(self, location: int) -> None:
        geometry = self._geometry
        if self.mark == "centre":
            row, column = divmod(location, geometry.width)
            self._channel[row, column] += self.unit
            return
        corners = geometry.corners(torch.tensor([location], device=geometry.device))
        top, left = (int(corner) for corner in corners)
        rows, columns = slice(max(top, 0), top + geometry.rows), slice(max(left, 0), left + geometry.columns)
        self._channel[rows, columns] += self.unit

    def _show(self, observation: Observation) -> Observation:
        if isinstance(observation, dict):
            return observation | {"visits": self._channel.copy()}
        shown: NDArray[np.uint8] = np.concatenate((observation, self._channel), axis=2)
        return shown
