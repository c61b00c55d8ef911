"""Actions in other shapes: places of a coarse grid, rows and columns, points of a square."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from facehall_env.env import Observation
from facehall_env.patches import AffineLocations, StrideGrid
from facehall_env.wrappers.common import geometry_of, require_plain_actions


class StrideGridLocation(gym.ActionWrapper[Observation, np.int64, np.int64], RecordConstructorArgs):
    """``Discrete`` over a grid of every k-th pixel instead of over every pixel.

    When to use it: with every agent that has one output an action. 16,384 pixels make a head of millions of
    weights and leave each action hardly ever tried; a patch of 60x45 does not care about 4 or 8 pixels.

    The action is the place on the grid, row-major: ``row, column = divmod(action, W / k)``, and means the
    pixel ``(row * k + k // 2, column * k + k // 2)``: the grid of the project's own policy at that stride.

    Args:
        env: The environment, with its own actions.
        stride: k, 1 or an even divisor of H and W.

    Attributes:
        grid: The places, a `StrideGrid`.

    Raises:
        ValueError: If the stride fits no grid, or the actions were changed before.
    """

    def __init__(self, env: gym.Env[Observation, np.int64], stride: int = 4) -> None:
        require_plain_actions(env, type(self).__name__)
        geometry = geometry_of(env)
        self.grid = StrideGrid(geometry.height, geometry.width, stride)
        RecordConstructorArgs.__init__(self, stride=stride)
        gym.ActionWrapper.__init__(self, env)
        self.action_space = gym.spaces.Discrete(self.grid.places)

    def action(self, action: np.int64) -> np.int64:
        """The location of a place.

        Raises:
            ValueError: If the action is no integer in [0, places); nothing has changed then.
        """
        if not self.action_space.contains(action):
            raise ValueError(
                f"the action is {action!r}, but it must be an integer from 0 to {self.grid.places - 1}"
            )
        return np.int64(self.grid.location(int(action)))


class RowColumnLocation(gym.ActionWrapper[Observation, NDArray[np.int64], np.int64], RecordConstructorArgs):
    """``MultiDiscrete([H, W])``: the row and the column of the patch's centre.

    When to use it: with agents that cannot have 16,384 outputs but should reach every pixel: H + W outputs
    suffice. The price: stock agents draw the two *independently*. Given the picture, such a policy cannot
    prefer two places without also preferring the two other corners of their rectangle (an eye and the mouth,
    say). Where that matters, take `StrideGridLocation`.

    Args:
        env: The environment, with its own actions.

    Raises:
        ValueError: If the actions were changed before.
    """

    def __init__(self, env: gym.Env[Observation, np.int64]) -> None:
        require_plain_actions(env, type(self).__name__)
        geometry = geometry_of(env)
        self._size = geometry.height, geometry.width
        RecordConstructorArgs.__init__(self)
        gym.ActionWrapper.__init__(self, env)
        self.action_space = gym.spaces.MultiDiscrete(np.array(self._size))

    def action(self, action: NDArray[np.int64]) -> np.int64:
        """The location of a row and a column.

        Raises:
            ValueError: If these are not two integers inside the picture; nothing has changed then.
        """
        given, (height, width) = np.asarray(action), self._size
        whole = given.shape == (2,) and np.issubdtype(given.dtype, np.integer)
        if not whole or not (0 <= given[0] < height and 0 <= given[1] < width):
            raise ValueError(
                f"the action is {action!r}, but it must be two integers, a row from 0 to {height - 1} and a "
                f"column from 0 to {width - 1}"
            )
        return np.int64(int(given[0]) * width + int(given[1]))


class ContinuousLocation(gym.ActionWrapper[Observation, NDArray[Any], np.int64], RecordConstructorArgs):
    """``Box(-1, 1, (2,))``: a point (y, x) of the square, as in the authors' released code.

    When to use it: with agents for continuous control (Gaussian policies, SAC), or to compare with the
    authors' code, whose policy is a Gaussian of standard deviation 0.22. Nearby actions mean nearby patches,
    which such agents can use; but a Gaussian has one peak, so it cannot weigh two distant places.

    -1 and 1 are not the picture's border but the outermost patches of `AffineLocations`: for the 60x45 patch
    in 128x128 pixels, y = -1, 0, 1 puts the patch's upper edge at -29, 34, 97, and x its left edge at -22,
    41, 105. Values beyond [-1, 1] are moved to the border, as in the authors' code and as Gaussian policies
    need; NaN and infinite ones are refused.

    Args:
        env: The environment, with its own actions.

    Attributes:
        locations: The affine map, an `AffineLocations`.

    Raises:
        ValueError: If the actions were changed before.
    """

    def __init__(self, env: gym.Env[Observation, np.int64]) -> None:
        require_plain_actions(env, type(self).__name__)
        geometry = geometry_of(env)
        self.locations = AffineLocations(geometry.height, geometry.width, (geometry.rows, geometry.columns))
        RecordConstructorArgs.__init__(self)
        gym.ActionWrapper.__init__(self, env)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def action(self, action: NDArray[Any]) -> np.int64:
        """The location of a point.

        Raises:
            ValueError: If these are not two finite numbers; nothing has changed then.
        """
        given = np.asarray(action)
        numeric = given.shape == (2,) and given.dtype.kind in "fiu"
        if not numeric or not np.isfinite(given).all():
            raise ValueError(f"the action is {action!r}, but it must be two finite numbers (y, x) in [-1, 1]")
        return np.int64(self.locations.location(torch.from_numpy(given.astype(np.float64))))
