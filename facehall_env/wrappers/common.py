"""What the wrappers ask of the environment that they are put upon."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from facehall_env.env import FaceHallucinationEnv
from facehall_env.patches import PatchGeometry


def geometry_of(env: gym.Env[Any, Any]) -> PatchGeometry:
    """Where the patches of the environment lie.

    Raises:
        ValueError: If it is not one of ours.
    """
    base = env.unwrapped
    if not isinstance(base, FaceHallucinationEnv):
        raise ValueError(
            f"{type(base).__name__} has no patches: the wrappers of facehall_env go upon FaceHallucination "
            "environments, as gymnasium.make('FaceHallucination-Synthetic-x8')"
        )
    return base.core.geometry


def require_plain_actions(env: gym.Env[Any, Any], wrapper: str) -> None:
    """Refuse to change actions that were changed before.

    Raises:
        ValueError: If the environment's actions are not its locations, or it is not one of ours.
    """
    plain = gym.spaces.Discrete(geometry_of(env).locations)
    if env.action_space != plain:
        raise ValueError(
            f"{wrapper} gives locations, {plain}, but the environment wants {env.action_space}: wrap it only "
            "once in another shape of action"
        )
