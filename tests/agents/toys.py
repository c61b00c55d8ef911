"""Faces, enhancers and agents of a size that costs nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.logger import Logger
from torch import Tensor, nn

from agents.policies import RecurrentPolicyNetwork
from agents.reinforce import RecurrentReinforce
from facehall_env.core import HallucinationCore, Step
from facehall_env.enhancer import EnhancerInput, LocalEnhancementNetwork, make_enhancer
from facehall_env.env import FaceHallucinationEnv

SHAPE = (3, 16, 12)
PATCH = (6, 5)
POLICY: dict[str, Any] = {
    "stride": 4,
    "picture_features": 8,
    "history_features": 6,
    "lstm_features": 16,
    "head_channels": 4,
    "inhibition": 0.0,  # the pictures are hardly larger than the default's distance
}


class ToyFaces:
    """Noise that has the shape of a data set of faces, or pictures that are given."""

    name = "synthetic"
    split = "train"

    def __init__(
        self, size: int = 7, shape: tuple[int, int, int] = (16, 12, 3), pictures: Any = None
    ) -> None:
        if pictures is None:
            pictures = np.random.default_rng(0).integers(0, 256, (size, *shape), np.uint8)
        self.pictures = np.asarray(pictures, np.uint8)
        self.shape = self.pictures.shape[1:]

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        return self.pictures[index].copy()

    def id(self, index: int) -> str:
        return f"toy-{index}"


def toy_enhancer(
    shape: tuple[int, int, int] = SHAPE, patch: tuple[int, int] = PATCH, *, seed: int = 0, **overrides: Any
) -> LocalEnhancementNetwork:
    """A small network whose output is not the identity."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        small = {"widths": (2,) * 7, "global_features": 4, "edge_kernel": 3, "inner_kernel": 3}
        network = make_enhancer("tiny", shape=shape, patch_size=patch, **(small | overrides))
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.2)
    return network


def toy_env(
    faces: Any = None, *, enhancer: Any = "small", patch_size: tuple[int, int] = PATCH, **task: Any
) -> FaceHallucinationEnv:
    """An environment over toy faces; `enhancer` is a network, None, or "small" for the toy's own."""
    faces = ToyFaces() if faces is None else faces
    settings = {"scale": 4, "horizon": 3, "enhancer": "identity"} | task
    env = FaceHallucinationEnv(dataset=faces, patch_size=patch_size, **settings)
    if enhancer == "small":
        enhancer = toy_enhancer(env.core.shape, patch_size)
    env.set_enhancer(enhancer)
    return env


def toy_agent(env: Any = None, **arguments: Any) -> RecurrentReinforce:
    """An agent that takes 2 faces and 2 rollouts an iteration, without a warm start unless asked for."""
    settings: dict[str, Any] = {
        "n_faces": 2,
        "n_rollouts": 2,
        "imitation_updates": 0,
        "imitation_faces": 3,
        "enhancer_updates": 2,
        "enhancer_batch_size": 4,
    }
    policy_kwargs = POLICY | arguments.pop("policy_kwargs", {})
    env = toy_env() if env is None else env
    agent = RecurrentReinforce("RecurrentPolicy", env, policy_kwargs=policy_kwargs, **(settings | arguments))
    if agent.tensorboard_log is None:
        agent.set_logger(Logger(folder=None, output_formats=[]))  # the default one makes a folder each
    return agent


def randomise(network: RecurrentPolicyNetwork, *, std: float = 0.5, seed: int = 0) -> RecurrentPolicyNetwork:
    """Weights large enough that places differ; the convolutional head starts uniform."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=std, generator=generator)
    return network


class RecordingCore(HallucinationCore):
    """Keeps every step."""

    def reset(self, high_resolution: Tensor) -> None:
        super().reset(high_resolution)
        self.steps: list[Step] = []

    @torch.no_grad()
    def step(self, location: Tensor) -> Tensor:
        self.steps.append(self.step_recorded(location))
        return self.steps[-1].reward


class KnowingEnhancer(nn.Module):
    """Returns the HR patch of the one picture that it knows."""

    needs_initial_patch = False

    def __init__(self, picture: NDArray[np.uint8], patch: tuple[int, int]) -> None:
        super().__init__()
        target = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1.0
        self.core = HallucinationCore(tuple(target.shape[1:]), 2, patch_size=patch)
        self.canvas = self.core.geometry.to_canvas(target)

    def forward(self, inputs: EnhancerInput) -> Tensor:
        geometry = self.core.geometry
        size = torch.tensor([geometry.height - 1, geometry.width - 1])
        centre = ((inputs.centre + 1.0) * size / 2.0).round().long()
        window = geometry.window(centre[:, 0] * geometry.width + centre[:, 1])
        return geometry.crop(self.canvas.expand(len(window), -1, -1), window)


def same_weights(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether two state dicts agree bit for bit."""
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


def learned(agent: RecurrentReinforce) -> dict[str, Tensor]:
    """Everything an agent has learned, by name."""
    state = agent.training_state()
    found = {f"policy.{name}": value.clone() for name, value in state["policy"].items()}
    for part in ("enhancer", "enhancer_learner"):
        found |= {f"{part}.{name}": value.clone() for name, value in state[part].items()}
    for part in ("optimizer", "enhancer_optimizer"):
        for index, entry in (state[part] or {"state": {}})["state"].items():
            found |= {f"{part}.{index}.{name}": value.clone() for name, value in entry.items()}
    found |= {name: state[name].clone() for name in ("baseline_values", "generator", "order_generator")}
    return found
