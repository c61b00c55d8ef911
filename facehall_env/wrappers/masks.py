"""Which actions are worth taking: masks for agents that heed them."""

from __future__ import annotations

from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from facehall_env.env import Observation
from facehall_env.patches import StrideGrid
from facehall_env.wrappers.common import geometry_of


class VisitMask(gym.Wrapper[Observation, Any, Observation, Any], RecordConstructorArgs):
    """Forbids places that were visited already, by the method ``action_masks()``.

    When to use it: with MaskablePPO of sb3-contrib (and CleanRL's maskable agents), which looks for that
    method. Looking twice at one place is the error that untrained policies make most, and the paper feeds its
    policy the history "to avoid the inference trapped in a repetitive action cycle"; a mask rules it out. The
    environment does not: agents that know of no masks may still take such actions.

    An action is masked if its location lies within `distance` pixels (Euclidean) of one that was looked at in
    this episode. Where that would leave nothing, all actions are allowed again, so that a mask is never all
    False.

    Put it outermost, so that agents find the method; `StrideGridLocation` may lie beneath.

    Args:
        env: The environment, with ``Discrete`` actions.
        distance: In pixels, at least 0, which forbids the very places. Mind the horizon: T = 25 circles of
            16 pixels nearly fill 128x128.

    Raises:
        ValueError: If the distance is negative or not finite, or the actions are not ``Discrete``.
    """

    def __init__(self, env: gym.Env[Observation, Any], distance: float = 0.0) -> None:
        if not 0.0 <= distance < np.inf:
            raise ValueError(f"distance is {distance}, but it must be a number of pixels from 0 on")
        geometry = geometry_of(env)
        if not isinstance(env.action_space, gym.spaces.Discrete):
            raise ValueError(
                f"VisitMask masks Discrete actions, not {env.action_space}: two masks for two independent "
                "axes cannot forbid a place"
            )
        RecordConstructorArgs.__init__(self, distance=distance)
        gym.Wrapper.__init__(self, env)
        self.distance = distance
        try:
            grid = env.get_wrapper_attr("grid")
        except AttributeError:
            grid = StrideGrid(geometry.height, geometry.width, 1)
        location: NDArray[np.int64] = grid.location(np.arange(grid.places))
        self._row, self._column = np.divmod(location, geometry.width)
        self._width = geometry.width
        self._allowed = np.ones(grid.places, np.bool_)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode, in which everything is allowed."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._allowed[:] = True
        return observation, info

    def step(self, action: Any) -> tuple[Observation, SupportsFloat, bool, bool, dict[str, Any]]:
        """Take a step, and forbid to come back."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if "location" not in info:  # an Autoreset beneath has begun the next episode
            self._allowed[:] = True
            return observation, reward, terminated, truncated, info
        row, column = divmod(info["location"], self._width)
        away = (self._row - row) ** 2 + (self._column - column) ** 2
        self._allowed &= away > self.distance**2
        return observation, reward, terminated, truncated, info

    def action_masks(self) -> NDArray[np.bool_]:
        """Which actions are allowed now, bool, (n,), never all False; a fresh array."""
        return self._allowed.copy() if self._allowed.any() else np.ones_like(self._allowed)
