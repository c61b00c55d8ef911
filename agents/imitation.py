"""A warm start: imitating a teacher that knows more than the policy may, in training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from agents.distributed import ALONE, Ranks
from agents.policies import PolicyConfig, RecurrentPolicyNetwork, draw_place
from agents.rollout import PolicyAgent
from agents.scripted import ErrorMap
from facehall_env.core import HallucinationCore

TeacherName = Literal["plan", "oracle"]
_DOUBT: Final = 0.05
"""Probability that a plan leaves to all places alike, so that REINFORCE has something to compare."""


class Teacher(Protocol):
    """Says where the policy had better look next."""

    def begin(self, core: HallucinationCore) -> None:
        """A batch of episodes was reset."""

    def advise(self, core: HallucinationCore, config: PolicyConfig, forbidden: Tensor | None) -> Tensor:
        """Probabilities of the places of the policy's grid.

        Args:
            core: The episodes as they stand.
            config: Gives the grid.
            forbidden: Places that the policy may not choose, bool, (N, places); None: it may choose all.

        Returns:
            (N, places).
        """


class PlanTeacher:
    """Teaches a planned scan: at every step its next place; where that is forbidden, the first one allowed.

    An episode that has left the plan is so led back to what it has missed.

    Args:
        places: The plan, `agents.planning.Planner`.
    """

    def __init__(self, places: Sequence[int]) -> None:
        self.places = torch.tensor(places)

    def begin(self, core: HallucinationCore) -> None:
        """Have the plan where the episodes are."""
        self.places = self.places.to(core.device)

    def advise(self, core: HallucinationCore, config: PolicyConfig, forbidden: Tensor | None) -> Tensor:
        """See `Teacher`; nearly all of the probability on one place."""
        allowed = torch.ones(core.rows, config.places, device=core.device)
        if forbidden is None:
            place = self.places[core.t % len(self.places)].expand(core.rows)
        else:
            allowed = allowed.masked_fill(forbidden, 0.0)
            place = self.places[allowed[:, self.places].argmax(dim=1)]
        target = _DOUBT * allowed / allowed.sum(dim=1, keepdim=True)
        sure = allowed.gather(1, place[:, None])  # 0 where the whole plan is forbidden
        target.scatter_add_(1, place[:, None], (1.0 - _DOUBT) * sure)
        return target / target.sum(dim=1, keepdim=True)


class OracleTeacher:
    """Teaches what a greedy oracle would do, which sees the high-resolution picture.

    Args:
        error_map: The oracle.
        temperature: Of `oracle_targets`.
        floor: The oracle's advice is measured by what the best place has to win now, but at least by this
            share of what it had to win at the start of the episode. With 1 the advice fades as the episode
            goes on, and the last uncovered corners are never spoken of; with 0 it ends up shouting about
            noise.
    """

    def __init__(self, error_map: ErrorMap, *, temperature: float, floor: float) -> None:
        self.error_map, self.temperature, self.floor = error_map, temperature, floor

    def begin(self, core: HallucinationCore) -> None:
        """Prepare the error map."""
        self.error_map.begin(core)

    def advise(self, core: HallucinationCore, config: PolicyConfig, forbidden: Tensor | None) -> Tensor:
        """See `Teacher`."""
        error_map = self.error_map(core)
        most = error_map.amax(dim=(1, 2))
        if core.t == 0:
            self._least = self.floor * most
        return oracle_targets(error_map, config, self.temperature, most.maximum(self._least), forbidden)


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
    """Walks episodes with a mixture of teacher and policy, and keeps what the teacher says at every step.

    So the policy learns what to do in the states that it runs into itself (DAgger; Ross et al. 2011). What it
    remembers of an episode is what was done, whoever chose it.

    Attributes:
        targets: The teacher's distribution over places at every step so far, each (N, places).

    Args:
        agent: The policy, drawing its places.
        teacher: Who knows better.
        share: Probability that a step follows the teacher.
        generator: On the core's device.
        ranks: The processes that share the episodes.
    """

    def __init__(
        self,
        agent: PolicyAgent,
        teacher: Teacher,
        *,
        share: float,
        generator: torch.Generator,
        ranks: Ranks = ALONE,
    ) -> None:
        self.ranks = ranks
        self.agent, self.teacher = agent, teacher
        self.share, self.generator = share, generator
        self.targets: list[Tensor] = []

    @property
    def places(self) -> list[Tensor]:
        """What was done at every step so far, whoever chose it, each int64, (N,)."""
        return self.agent.chosen

    def begin(self, core: HallucinationCore) -> None:
        """Forget the episodes before."""
        self.agent.begin(core)
        self.teacher.begin(core)
        self.targets = []

    @torch.no_grad()
    def select(self, core: HallucinationCore) -> Tensor:
        """Ask both, follow one, remember what the teacher said."""
        network = self.agent.network
        assert isinstance(network, RecurrentPolicyNetwork)  # a teacher's places are for who chooses places
        forbidden = network.forbidden(self.agent.state.visits)
        target = self.teacher.advise(core, network.config, forbidden)
        advised = draw_place(target, self.generator, self.ranks)
        chosen = self.agent.choose(core)
        advise = self.ranks.rand(core.rows, self.generator, core.device) < self.share
        place = torch.where(advise, advised, chosen)
        self.targets.append(target)
        return self.agent.follow(place)


def imitation_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy between the teacher's distribution and the policy's, a mean over steps and rows."""
    return -(targets * F.log_softmax(logits, dim=-1)).sum(dim=-1).mean()
