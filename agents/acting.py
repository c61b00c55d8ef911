"""Acting on observations as Stable-Baselines3 hands them out: arrays in, arrays out, memory passed along."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.policies import PolicyConfig, PolicyState, RecurrentPolicyNetwork
from agents.rollout import choose_place

Observation = NDArray[np.uint8] | dict[str, NDArray[Any]]


@torch.no_grad()
def act(
    policy: RecurrentPolicyNetwork,
    observation: Observation,
    state: tuple[NDArray[Any], ...] | None,
    episode_start: NDArray[np.bool_] | None,
    *,
    deterministic: bool,
    generator: torch.Generator,
) -> tuple[NDArray[np.int64], tuple[NDArray[Any], ...]]:
    """One step of a policy; see `agents.reinforce.RecurrentReinforce.predict`."""
    device = policy.value_layer.weight.device
    pictures = _pictures(observation, policy.config)
    single = pictures.ndim == 3
    picture = torch.as_tensor(pictures[None] if single else pictures, device=device).float() / 127.5 - 1.0
    rows = picture.shape[0]
    memory = policy.initial_state(rows) if state is None else _memory(state, rows, device)
    if state is not None and episode_start is not None:
        memory = memory.restart(torch.as_tensor(np.asarray(episode_start, bool), device=device))
    logits, memory = policy.step(picture, memory)
    place = choose_place(logits, deterministic=deterministic, generator=generator)
    memory = policy.remember(memory, place)
    location = policy.config.location(place).cpu().numpy()
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


def _memory(state: tuple[NDArray[Any], ...], rows: int, device: torch.device) -> PolicyState:
    if len(state) != len(PolicyState._fields):
        raise ValueError(
            "state is not what predict() returned: pass that on, or None at the start of an episode"
        )
    memory = PolicyState(*(_writable(part, device) for part in state))
    if memory.last.shape[0] != rows:
        raise ValueError(f"state remembers {memory.last.shape[0]} episodes, but the observation has {rows}")
    return memory


def _writable(part: NDArray[Any], device: torch.device) -> Tensor:
    return torch.as_tensor(np.array(part), device=device)
