"""A warm start: imitating the greedy oracle, whose error map is known in training."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from agents.distributed import ALONE, Ranks
from agents.policies import PolicyConfig, RecurrentPolicyNetwork, draw_place
from agents.rollout import PolicyAgent
from agents.scripted import ErrorMap
from facehall_env.core import HallucinationCore


def oracle_targets(
    error_map: Tensor,
    config: PolicyConfig,
    temperature: float,
    most: Tensor,
    forbidden: Tensor | None = None,
) -> Tensor:
    """A distribution over places that prefers those where most is to be won.

    Args:
        error_map: What every location has to win, (N, H, W).
        config: Gives the grid of places.
        temperature: In units of `most`: a place that wins `temperature` * `most` less than another is e times
            less likely.
        most: The unit of the scores, (N,): what the best place has to win now, or a share of what it had at
            the start where that is more, see `Demonstration`.
        forbidden: Places that the policy may not choose, bool, (N, places); None: it may choose all.

    Returns:
        Probabilities, (N, places).
    """
    half = config.stride // 2
    score = error_map[:, half :: config.stride, half :: config.stride].flatten(1)
    logits = score / (temperature * most.clamp_min(1e-9)[:, None])
    if forbidden is not None:
        logits = logits.masked_fill(forbidden, -torch.inf)
    return logits.softmax(dim=1)


class Demonstration:
    """Walks episodes with a mixture of oracle and policy, and keeps what the oracle says at every step.

    So the policy learns what to do in the states that it runs into itself (DAgger; Ross et al. 2011). What it
    remembers of an episode is what was done, whoever chose it.

    Attributes:
        targets: The oracle's distribution over places at every step so far, each (N, places).

    Args:
        agent: The policy, drawing its places.
        error_map: The oracle.
        temperature: Of `oracle_targets`.
        floor: The oracle's advice is measured by what the best place has to win now, but at least by this
            share of what it had to win at the start of the episode. With 1 the advice fades as the episode
            goes on, and the last uncovered corners are never spoken of; with 0 it ends up shouting about
            noise.
        oracle_share: Probability that a step follows the oracle.
        generator: On the core's device.
        ranks: The processes that share the episodes.
    """

    def __init__(
        self,
        agent: PolicyAgent,
        error_map: ErrorMap,
        *,
        temperature: float,
        floor: float,
        oracle_share: float,
        generator: torch.Generator,
        ranks: Ranks = ALONE,
    ) -> None:
        self.ranks = ranks
        self.agent, self.error_map = agent, error_map
        self.temperature, self.floor = temperature, floor
        self.oracle_share, self.generator = oracle_share, generator
        self.targets: list[Tensor] = []

    @property
    def places(self) -> list[Tensor]:
        """What was done at every step so far, whoever chose it, each int64, (N,)."""
        return self.agent.chosen

    def begin(self, core: HallucinationCore) -> None:
        """Forget the episodes before."""
        self.agent.begin(core)
        self.error_map.begin(core)
        self.targets = []

    @torch.no_grad()
    def select(self, core: HallucinationCore) -> Tensor:
        """Ask both, follow one, remember what the oracle said."""
        error_map = self.error_map(core)
        most = error_map.amax(dim=(1, 2))
        if core.t == 0:
            self._least = self.floor * most
        network = self.agent.network
        assert isinstance(network, RecurrentPolicyNetwork)  # an oracle's places are for who chooses places
        forbidden = network.forbidden(self.agent.state.visits)
        unit = most.maximum(self._least)
        target = oracle_targets(error_map, network.config, self.temperature, unit, forbidden)
        advised = draw_place(target, self.generator, self.ranks)
        chosen = self.agent.choose(core)
        advise = self.ranks.rand(core.rows, self.generator, core.device) < self.oracle_share
        place = torch.where(advise, advised, chosen)
        self.targets.append(target)
        return self.agent.follow(place)


def imitation_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy between the oracle's distribution and the policy's, a mean over steps and rows."""
    return -(targets * F.log_softmax(logits, dim=-1)).sum(dim=-1).mean()
