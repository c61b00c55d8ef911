"""Every environment id, in one table."""

from __future__ import annotations

from typing import Final

import gymnasium as gym

DATASETS: Final = {"LFW": "lfw", "BioID": "bioid", "Synthetic": "synthetic", "Folder": "folder"}
SCALES: Final = (4, 8)
ENV_IDS: Final = {
    f"FaceHallucination-{label}-x{scale}": {"dataset": dataset, "scale": scale}
    for label, dataset in DATASETS.items()
    for scale in SCALES
}
"""Environment id -> the arguments that it stands for."""


def check_id(name: str, env_id: str) -> None:
    """Refuse what is neither one of these ids nor registered like them, with the name of a data set.

    Args:
        name: What the message calls it.
        env_id: The id.

    Raises:
        ValueError: If it is none.
    """
    spec = gym.registry.get(env_id)
    if env_id not in ENV_IDS and (spec is None or "dataset" not in spec.kwargs):
        raise ValueError(f"{name} is {env_id!r}, but it must be one of {', '.join(ENV_IDS)}")


def register_envs() -> None:
    """Register all ids with Gymnasium; calling it again changes nothing.

    There is no ``max_episode_steps``: the horizon is the task and the episode *terminates*. A truncation by
    TimeLimit would make agents bootstrap past the end.
    """
    for env_id, arguments in ENV_IDS.items():
        if env_id not in gym.registry:
            gym.register(
                env_id,
                "facehall_env.env:FaceHallucinationEnv",
                vector_entry_point="facehall_env.vector:FaceHallucinationVectorEnv",
                kwargs=arguments,
            )
