"""Agents of Stable-Baselines3 among ours: a grid of places and visits for all rows, and back to a core."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn
from torch import Tensor

from facehall_env.core import HallucinationCore
from facehall_env.patches import PatchGeometry, StrideGrid
from facehall_env.sb3 import FaceHallucinationVecEnv
from facehall_env.wrappers.visits import LEVELS


class Visits:
    """How often each pixel was under a patch, as levels: `facehall_env.wrappers.VisitChannel` for many rows.

    Args:
        geometry: Where patches lie.
        horizon: T, which sets the level of one visit.
    """

    def __init__(self, geometry: PatchGeometry, horizon: int) -> None:
        self.geometry, self.unit = geometry, LEVELS // horizon
        self.begin(0)

    def begin(self, rows: int) -> None:
        """No pixel was visited."""
        self.levels = np.zeros((rows, self.geometry.height, self.geometry.width, 1), np.uint8)

    def add(self, location: Tensor) -> None:
        """A patch was enhanced in every row; `location` int64, (N,)."""
        for levels, (top, left, rows, columns) in zip(
            self.levels, self.geometry.boxes(location).tolist(), strict=True
        ):
            levels[max(top, 0) : top + rows, max(left, 0) : left + columns] += self.unit

    def beside(self, pictures: Any) -> NDArray[np.uint8]:
        """The pictures, uint8, (N, H, W, C), with one more channel."""
        return np.concatenate((pictures, self.levels), axis=3)


class GridVecEnv(VecEnvWrapper):
    """Actions on a coarse grid, as `facehall_env.wrappers.StrideGridLocation`, and, if wanted, the visits.

    Args:
        venv: All rows, with pictures as observations.
        stride: Pitch of the grid in pixels.
        visits: Show them as one more channel.

    Raises:
        ValueError: If the stride fits no grid.
    """

    def __init__(self, venv: FaceHallucinationVecEnv, stride: int, *, visits: bool) -> None:
        core = venv.vector.core
        channels, height, width = core.shape
        self.grid = StrideGrid(height, width, stride)
        self.visits = Visits(core.geometry, core.horizon) if visits else None
        self._device = core.device
        space = gym.spaces.Box(0, LEVELS, (height, width, channels + visits), np.uint8)
        super().__init__(venv, space, gym.spaces.Discrete(self.grid.places))

    def reset(self) -> VecEnvObs:
        """Start an episode in every row."""
        pictures = self.venv.reset()
        return self._begin(pictures)

    def step_async(self, actions: NDArray[Any]) -> None:
        """Say which places to look at next, integers in [0, places), (N,)."""
        self._locations = self.grid.location(np.asarray(actions, np.int64))
        self.venv.step_async(self._locations)

    def step_wait(self) -> VecEnvStepReturn:
        """Look there; all rows end together."""
        pictures, rewards, dones, infos = self.venv.step_wait()
        if self.visits is None:
            return pictures, rewards, dones, infos
        self.visits.add(torch.as_tensor(self._locations, device=self._device))
        if not dones.any():
            return self.visits.beside(pictures), rewards, dones, infos
        final = self.visits.beside(np.stack([info["terminal_observation"] for info in infos]))
        for info, picture in zip(infos, final, strict=True):
            info["terminal_observation"] = picture
        return self._begin(pictures), rewards, dones, infos

    def _begin(self, pictures: VecEnvObs) -> VecEnvObs:
        if self.visits is None:
            return pictures
        self.visits.begin(self.num_envs)
        return self.visits.beside(pictures)


class GridAgent:
    """An agent that learned in a `GridVecEnv`, as an agent for a core.

    Args:
        model: The agent.
        env: What it learned in, whose grid and observations it knows.
        deterministic: Take the most likely place instead of drawing one.
    """

    def __init__(self, model: BaseAlgorithm, env: GridVecEnv, *, deterministic: bool) -> None:
        self.model, self.grid, self.deterministic = model, env.grid, deterministic
        self._sees_visits = env.visits is not None

    def begin(self, core: HallucinationCore) -> None:
        """Forget the episodes before."""
        self._memory: Any = None
        self._visits = Visits(core.geometry, core.horizon) if self._sees_visits else None
        if self._visits is not None:
            self._visits.begin(core.rows)

    def select(self, core: HallucinationCore) -> Tensor:
        """Look at the pictures as the environment shows them, and choose."""
        seen = core.levels.cpu().numpy()
        if self._visits is not None:
            seen = self._visits.beside(seen)
        start = np.full(core.rows, core.t == 0)
        places, self._memory = self.model.predict(seen, self._memory, start, self.deterministic)
        location = self.grid.location(torch.as_tensor(places, dtype=torch.int64, device=core.device))
        if self._visits is not None:
            self._visits.add(location)
        return location
