"""Acting on observations as Stable-Baselines3 hands them out: arrays in, arrays out, memory passed along."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agents.policies import PolicyConfig, PolicyNetwork, mode

Observation = NDArray[np.uint8] | dict[str, NDArray[Any]]


@torch.no_grad()
def act(
    policy: PolicyNetwork,
    observation: Observation,
    state: tuple[NDArray[Any], ...] | None,
    episode_start: NDArray[np.bool_] | None,
    *,
    deterministic: bool,
    generator: torch.Generator,
) -> tuple[NDArray[np.int64], tuple[NDArray[Any], ...]]:
    """One step of a policy; see `agents.reinforce.RecurrentReinforce.predict`."""
    device = policy.device
    pictures = _pictures(observation, policy.config)
    single = pictures.ndim == 3
    picture = torch.as_tensor(pictures[None] if single else pictures, device=device).float() / 127.5 - 1.0
    rows = picture.shape[0]
    memory = policy.initial_state(rows)
    if state is not None:
        memory = _memory(state, memory)
    if state is not None and episode_start is not None:
        memory = memory.restart(torch.as_tensor(np.asarray(episode_start, bool), device=device))
    with mode(policy, training=False):
        parameters, memory = policy.step(picture, memory)
    choice = policy.choose(parameters, deterministic=deterministic, generator=generator)
    memory = policy.remember(memory, choice)
    location = policy.location(choice).cpu().numpy()
    return (location[0] if single else location), tuple(part.cpu().numpy() for part in memory)


def _pictures(observation: Observation, config: PolicyConfig) -> NDArray[np.uint8]:
    """The pictures of an observation, channels first."""
    if isinstance(observation, dict):
        if "image" not in observation:
            raise ValueError(
                f"the policy looks at 'image', but the observation has {', '.join(map(repr, observation))}"
            )
        observation = observation["image"]
    image = np.asarray(observation)
    if image.dtype != np.uint8:
        raise ValueError(f"the policy looks at uint8 pictures from 0 to 255, but these are {image.dtype}")
    last = (config.height, config.width, config.channels)
    if image.shape[-3:] == last and image.ndim in (3, 4):
        return np.ascontiguousarray(np.moveaxis(image, -1, -3))
    if image.shape[-3:] == (config.channels, config.height, config.width) and image.ndim in (3, 4):
        return np.ascontiguousarray(image)
    made, given = "x".join(map(str, last)), "x".join(map(str, image.shape))
    raise ValueError(f"the policy was made for pictures of {made}, not {given}")


def _memory(state: tuple[NDArray[Any], ...], empty: Any) -> Any:
    """The memory that `act` gave back as arrays, of the kind and size of an empty one."""
    if len(state) != len(empty):
        raise ValueError(
            "state is not what predict() returned: pass that on, or None at the start of an episode"
        )
    device = empty.last.device
    memory = type(empty)(*(torch.as_tensor(np.array(part), device=device) for part in state))  # writable
    if len(memory.last) != len(empty.last):
        raise ValueError(
            f"state remembers {len(memory.last)} episodes, but the observation has {len(empty.last)}"
        )
    return memory
