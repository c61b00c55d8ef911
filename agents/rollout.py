"""Walking whole batches of episodes through a core, with any agent."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from agents.buffers import EpisodeBuffer
from agents.distributed import ALONE, Ranks
from agents.policies import PolicyNetwork, mode
from agents.scripted import CoreAgent
from facehall_env.core import HallucinationCore, Precision, autocast


class PolicyAgent:
    """A policy network as an agent for a core.

    Attributes:
        chosen: What was chosen at every step so far, in the policy's own terms, each (N, ...).
        parameters: Of the distribution that the last choice was made from, (N, p); None at the start.

    Args:
        network: The policy.
        deterministic: Make the most likely choice (argmax) instead of drawing one.
        generator: Of the draws, on the network's device.
        training: Normalise by the statistics of the batch, where the network does that in training.
        precision: ``"bfloat16"`` runs the network under autocast.
        ranks: The processes that share the episodes.
    """

    def __init__(
        self,
        network: PolicyNetwork,
        *,
        deterministic: bool = False,
        generator: torch.Generator | None = None,
        training: bool = False,
        precision: Precision = "float32",
        ranks: Ranks = ALONE,
    ) -> None:
        self.ranks, self.precision = ranks, precision
        self.network, self.deterministic, self.generator = network, deterministic, generator
        self.training = training
        self.chosen: list[Tensor] = []
        self.parameters: Tensor | None = None

    def begin(self, core: HallucinationCore) -> None:
        """Forget the episodes before."""
        self.state = self.network.initial_state(core.rows)
        self.chosen, self.parameters = [], None

    def select(self, core: HallucinationCore) -> Tensor:
        """Look at the current pictures, choose, and remember the choice."""
        return self.follow(self.choose(core))

    @torch.no_grad()
    def choose(self, core: HallucinationCore) -> Tensor:
        """Look at the current pictures and make a choice for each, (N, ...): a place of the grid, say."""
        with mode(self.network, training=self.training), autocast(core.device, self.precision):
            parameters, self.state = self.network.step(core.current, self.state)
        self.parameters = parameters = parameters.float()
        return self.network.choose(
            parameters, deterministic=self.deterministic, generator=self.generator, ranks=self.ranks
        )

    def follow(self, choice: Tensor) -> Tensor:
        """Remember that `choice` (N, ...) was made, by whomever; its location, int64, (N,)."""
        self.state = self.network.remember(self.state, choice)
        self.chosen.append(choice)
        return self.network.location(choice)


class Recorder:
    """Passes an agent's choices on and remembers them.

    Args:
        agent: Who chooses.

    Attributes:
        locations: Of every step so far, int64, (N,) each.
    """

    def __init__(self, agent: CoreAgent) -> None:
        self.agent = agent
        self.locations: list[Tensor] = []

    def begin(self, core: HallucinationCore) -> None:
        """Forget the episodes before."""
        self.locations = []
        self.agent.begin(core)

    def select(self, core: HallucinationCore) -> Tensor:
        """The agent's choice."""
        location = self.agent.select(core)
        self.locations.append(location)
        return location


def walk(
    core: HallucinationCore,
    agent: CoreAgent,
    high_resolution: Tensor,
    *,
    buffer: EpisodeBuffer | None = None,
    after_step: Callable[[], bool] | None = None,
) -> bool:
    """Run one batch of episodes to its end.

    Args:
        core: Where the episodes run.
        agent: Who chooses the locations.
        high_resolution: uint8, (N, C, H, W).
        buffer: Keeps the episodes, if given.
        after_step: Called after every step; returns False to stop.

    Returns:
        Whether the episodes ran to their end.
    """
    core.reset(high_resolution)
    agent.begin(core)
    if buffer is not None:
        buffer.begin(core)
    while not core.terminated:
        picture = core.current if buffer is not None else None
        location = agent.select(core)
        t = core.t
        reward = core.step(location)
        if buffer is not None and picture is not None:
            buffer.record(t, picture, location, reward)
        if after_step is not None and not after_step():
            return False
    if buffer is not None:
        buffer.end(core)
    return True


def distinct_places(locations: Tensor, width: int, distance: float = 8.0) -> Tensor:
    """How many places an episode looked at that are further apart than `distance` pixels.

    A step counts where no earlier counted step of its episode lies within the distance.

    Args:
        locations: int64, (T, N).
        width: W of the picture.
        distance: In pixels.

    Returns:
        int64, (N,).
    """
    points = torch.stack(
        (torch.div(locations, width, rounding_mode="floor"), locations % width), dim=2
    ).float()
    counted = torch.zeros(locations.shape, dtype=torch.bool, device=locations.device)
    for t in range(len(points)):
        near = (points[:t] - points[t]).norm(dim=2) <= distance
        counted[t] = ~(near & counted[:t]).any(dim=0)
    return counted.sum(dim=0)


def describe(buffer: EpisodeBuffer) -> dict[str, float]:
    """What collected episodes came to, as means over the rows.

    Returns:
        ``psnr`` of I_T and its gain over I_0 in dB, ``coverage`` in [0, 1], and ``distinct_places`` (see
        there).
    """
    final, initial = -10.0 * buffer.final_mse.log10(), -10.0 * buffer.initial_mse.log10()
    places = distinct_places(buffer.locations, buffer.pictures.shape[-1])
    return {
        "psnr": float(final.mean()),
        "psnr_gain": float((final - initial).mean()),
        "coverage": float(buffer.coverage.mean()),
        "distinct_places": float(places.float().mean()),
    }
