"""Opening whoever is to be watched, and recording the episodes: one way for cores, one for environments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from agents.faces import face_batch
from agents.reinforce import RecurrentReinforce
from agents.rollout import PolicyAgent, Recorder, walk
from agents.scripted import CoreAgent, GreedyOracle, RandomPatch, RasterScan
from agents.visualisation.trace import EpisodeTrace, record_traces
from facehall_env.core import HallucinationCore
from facehall_env.datasets import FaceDataset
from facehall_env.enhancer import ENHANCER, load_enhancer
from facehall_env.env import FaceHallucinationEnv

SCRIPTED: Final = ("random_patch", "raster_scan", "greedy_oracle")


class Looker(Protocol):
    """An agent in its environment, to be watched."""

    def traces(self, indices: Sequence[int]) -> list[EpisodeTrace]:
        """One recorded episode of each of these faces."""

    def locations(self, indices: Sequence[int]) -> NDArray[np.int64]:
        """Only where it looks: (T, N)."""


class CoreLooker:
    """An agent that chooses for a whole core at once.

    Args:
        core: Where the episodes run.
        dataset: The faces.
        agent: Who chooses.
    """

    def __init__(self, core: HallucinationCore, dataset: FaceDataset, agent: CoreAgent) -> None:
        self.core, self.dataset, self.agent = core, dataset, agent

    def traces(self, indices: Sequence[int]) -> list[EpisodeTrace]:
        """One recorded episode of each of these faces."""
        return record_traces(self.core, self.agent, face_batch(self.dataset, list(indices)), indices)

    def locations(self, indices: Sequence[int]) -> NDArray[np.int64]:
        """Only where it looks: (T, N)."""
        recorder = Recorder(self.agent)
        walk(self.core, recorder, face_batch(self.dataset, list(indices)))
        return torch.stack(recorder.locations).cpu().numpy()


def scripted_looker(name: str, env: FaceHallucinationEnv, seed: int) -> CoreLooker:
    """One of `SCRIPTED`; `seed` is that of random locations."""
    agents: dict[str, CoreAgent] = {
        "random_patch": RandomPatch(seed),
        "raster_scan": RasterScan(),
        "greedy_oracle": GreedyOracle(),
    }
    return CoreLooker(env.core, env.task.dataset, agents[name])


def load_with_enhancer(path: Path, device: torch.device) -> RecurrentReinforce:
    """Read an agent, and where it was saved without its enhancer, the one of its run folder."""
    agent = RecurrentReinforce.load(path, device=device)
    beside = path.parent / ENHANCER  # what a training run writes
    if agent.enhancer is None and beside.is_file():
        agent.enhancer = load_enhancer(beside).eval()
    return agent


def reinforce_looker(
    agent: RecurrentReinforce,
    env: FaceHallucinationEnv,
    *,
    name: str,
    deterministic: bool,
    seed: int,
    keep_enhancer: bool,
) -> CoreLooker:
    """An agent of `RecurrentReinforce`.

    Args:
        agent: The agent.
        env: The environment.
        name: What messages call the agent.
        deterministic: Take the most likely place instead of drawing one.
        seed: Of the draws.
        keep_enhancer: Leave the environment's enhancer alone, instead of attaching the agent's.

    Raises:
        ValueError: If the agent was made for other pictures or patches, or no enhancer was saved with it and
            the environment's shall not be kept.
    """
    config, core = agent.policy.config, env.core
    made = (config.channels, config.height, config.width), (config.patch_height, config.patch_width)
    if made != (core.shape, core.patch_size):
        raise ValueError(
            f"{name} was trained on pictures {made[0]} and patches {made[1]} (channels, rows, columns), but "
            f"this environment has {core.shape} and {core.patch_size}"
        )
    if not keep_enhancer:
        if agent.enhancer is None:
            raise ValueError(f"{name} was saved without its enhancer: name one with --enhancer")
        env.set_enhancer(agent.enhancer)
    generator = torch.Generator(agent.device).manual_seed(seed)
    policy = PolicyAgent(agent.policy, deterministic=deterministic, generator=generator)
    return CoreLooker(core, env.task.dataset, policy)
