"""Agents that look, patch by patch, behind the contract of those that answer at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final, Self

import torch
from torch import Tensor

from agents.algorithm import make_policy
from agents.baselines.contract import Degradation, Hallucinator, tuples
from agents.policies import PolicyConfig
from agents.reinforce import RecurrentReinforce
from agents.rollout import PolicyAgent
from agents.scripted import CoreAgent, RandomPatch, RasterScan
from facehall_env.core import HORIZON, HallucinationCore
from facehall_env.enhancer import LocalEnhancementNetwork, enhancer_config
from facehall_env.patches import Boundary

LOOKING: Final = ("attention_fh", "random_patch", "raster_scan")
"""The agents that need not see the high-resolution picture."""


class Looking(Hallucinator):
    """A trained enhancer and whoever says where it works: I_0, then T enhanced patches, then I_T.

    It learns with train_agent.py; `of_agent` takes a trained agent over, and `save` makes one file of all
    that is needed to use it.

    Args:
        degradation: What it is made for.
        looker: ``"attention_fh"`` (the policy), ``"random_patch"`` or ``"raster_scan"``.
        enhancer: Fields of `facehall_env.enhancer.EnhancerConfig`.
        policy: Fields of `agents.policies.PolicyConfig`; only for ``"attention_fh"``.
        horizon: Steps, T.
        boundary: ``"pad"`` or ``"clamp"``.
        consistent: Project every picture onto those that shrink to the input, see
            `facehall_env.core.HallucinationCore`.
        sampled: Draw the policy's places in place of the most likely ones.
        seed: Of draws; every call of `hallucinate` starts with it.

    Attributes:
        name: The looker.

    Raises:
        ValueError: If the looker is unknown, or lacks its policy, or a field is out of range.
    """

    def __init__(
        self,
        degradation: Degradation,
        *,
        looker: str,
        enhancer: Mapping[str, Any],
        policy: Mapping[str, Any] | None = None,
        horizon: int = HORIZON,
        boundary: Boundary = "pad",
        consistent: bool = False,
        sampled: bool = False,
        seed: int = 0,
    ) -> None:
        if looker not in LOOKING:
            raise ValueError(f"looker is {looker!r}, but it must be one of {', '.join(map(repr, LOOKING))}")
        if (looker == "attention_fh") != (policy is not None):
            raise ValueError(f"looker is {looker!r}: attention_fh needs a policy, and the others take none")
        super().__init__(
            degradation,
            looker=looker,
            enhancer=dict(enhancer),
            policy=None if policy is None else dict(policy),
            horizon=horizon,
            boundary=boundary,
            consistent=consistent,
            sampled=sampled,
            seed=seed,
        )
        self.name = looker
        self.sampled, self.seed = sampled, seed
        self.enhancer = LocalEnhancementNetwork(enhancer_config(enhancer))
        self.policy = None if policy is None else make_policy(PolicyConfig(**tuples(dict(policy))))
        self._core = HallucinationCore(
            degradation.high_shape,
            degradation.scale,
            horizon=horizon,
            patch_size=(self.enhancer.config.patch_height, self.enhancer.config.patch_width),
            boundary=boundary,
            consistent=consistent,
            protocol=degradation.protocol,
            enhancer=self.enhancer,
        )

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """All lookers."""
        return LOOKING

    @classmethod
    def of_agent(
        cls, agent: RecurrentReinforce, looker: str = "attention_fh", *, sampled: bool = False, seed: int = 0
    ) -> Self:
        """A trained agent, or a scripted one with a trained agent's enhancer; weights are copied.

        Args:
            agent: A trained agent with an environment.
            looker: Who looks.
            sampled: Draw the policy's places.
            seed: Of draws.

        Raises:
            ValueError: If the agent has no environment, or its enhancer is not one of ours.
        """
        if agent.env is None:
            raise ValueError(
                "the agent has no environment: RecurrentReinforce.load(path, env=env) gives it one"
            )
        core, enhancer = agent.core, agent.core.enhancer
        if not isinstance(enhancer, LocalEnhancementNetwork):
            raise ValueError(
                f"the agent's enhancer is a {type(enhancer).__name__}, which no file of ours can hold"
            )
        channels, height, width = core.shape
        learned = looker == "attention_fh"
        made = cls(
            Degradation(channels, height, width, core.scale, core.protocol),
            looker=looker,
            enhancer=asdict(enhancer.config),
            policy=asdict(agent.policy.config) if learned else None,
            horizon=core.horizon,
            boundary=core.boundary,
            consistent=core.consistent,
            sampled=sampled,
            seed=seed,
        )
        made.enhancer.load_state_dict(enhancer.state_dict())
        if made.policy is not None:
            made.policy.load_state_dict(agent.policy.state_dict())
        made.precision, made.fitted = core.precision, True
        return made.to(core.device)

    def forward(self, low_resolution: Tensor) -> Tensor:
        """I_T, (N, C, H, W)."""
        core = self._placed_core()
        looker = self._looker()
        # The precision is the enhancer's alone, and the core sees to that
        with torch.autocast(self.device.type, enabled=False):
            core.reset_low_resolution(low_resolution)
            looker.begin(core)
            while not core.terminated:
                core.advance(looker.select(core))
        return (core.current + 1.0) * 0.5

    def _fit(self, dataset: Any, *, progress_bar: bool) -> str:
        raise ValueError(
            f"{self.name} learns with train_agent.py; take a trained agent over with Looking.of_agent(agent)"
        )

    def _placed_core(self) -> HallucinationCore:
        """The core, in the precision and on the device of the method."""
        if (self._core.device, self._core.precision) != (self.device, self.precision):
            self._core = self._core.replica(device=self.device, precision=self.precision)
        return self._core

    def _looker(self) -> CoreAgent:
        if self.name == "random_patch":
            return RandomPatch(self.seed)
        if self.policy is None:
            return RasterScan()
        generator = torch.Generator(self.device).manual_seed(self.seed)
        return PolicyAgent(self.policy, deterministic=not self.sampled, generator=generator)
