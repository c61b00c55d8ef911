"""From an environment in any wrapping to the task behind it."""

from __future__ import annotations

from stable_baselines3.common.vec_env import VecEnv

from facehall_env.task import FaceTask


def tasks_of(env: VecEnv | None) -> list[FaceTask]:
    """The tasks behind a vector environment, one a row, whichever face of them was given; none for None.

    Raises:
        ValueError: If the environment is not one of ours.
    """
    if env is None:
        return []
    try:
        tasks = env.get_attr("task")
    except AttributeError:
        tasks = []
    if not tasks or not all(isinstance(task, FaceTask) for task in tasks):
        raise ValueError(
            "this agent runs on the core of a FaceHallucination environment; for other environments take "
            "Stable-Baselines3's algorithms or RecurrentPPO of sb3-contrib"
        )
    return tasks
