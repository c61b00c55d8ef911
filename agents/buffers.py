"""Whole episodes on the device, allocated once and written in place; one store for policy and enhancer."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from agents.distributed import ALONE, Ranks
from facehall_env.core import HallucinationCore
from facehall_env.enhancer import EnhancerInput
from facehall_env.patches import PatchGeometry


class EpisodeBuffer:
    """N episodes of T steps.

    Pictures are kept in half precision (a step of 2^-11 of the range, finer than 8 bits); nothing that is
    read from here flows back into an episode.

    Attributes:
        pictures: I_0 .. I_{T-1}, float16, (T, N, C, H, W) in [-1, 1].
        locations: int64, (T, N).
        rewards: float32, (T, N).
        high_resolution: uint8, (N, C, H, W).
        prior: What the enhancer's prior says, float16, (N, C, H, W); None where it has none.
        final_mse: MSE of I_T, pixels in [0, 1], (N,).
        initial_mse: MSE of I_0, (N,).
        coverage: Share of each picture that was covered, (N,).

    Args:
        horizon: T.
        rows: N.
        shape: C, H, W of the picture.
        device: Where everything lives.
    """

    def __init__(self, horizon: int, rows: int, shape: tuple[int, int, int], device: torch.device) -> None:
        self.horizon, self.rows = horizon, rows
        self.pictures = torch.zeros(horizon, rows, *shape, dtype=torch.float16, device=device)
        self.locations = torch.zeros(horizon, rows, dtype=torch.int64, device=device)
        self.rewards = torch.zeros(horizon, rows, device=device)
        self.high_resolution = torch.zeros(rows, *shape, dtype=torch.uint8, device=device)
        self.prior: Tensor | None = None
        self.initial_mse = torch.zeros(rows, device=device)
        self.final_mse = torch.zeros(rows, device=device)
        self.coverage = torch.zeros(rows, device=device)

    def begin(self, core: HallucinationCore) -> None:
        """The core was reset: keep the HR pictures, the error of I_0 and what the prior says."""
        self.high_resolution.copy_(core.high_resolution)
        self.prior = None if core.prior is None else core.prior.to(self.pictures.dtype)
        self.initial_mse.copy_(core.mse)

    def record(self, t: int, picture: Tensor, location: Tensor, reward: Tensor) -> None:
        """Keep step t: the picture before it, (N, C, H, W), the location and the reward, (N,)."""
        self.pictures[t].copy_(picture)
        self.locations[t].copy_(location)
        self.rewards[t].copy_(reward)

    def end(self, core: HallucinationCore) -> None:
        """The episodes are over: keep what they came to."""
        self.final_mse.copy_(core.mse)
        self.coverage.copy_(core.coverage)

    def returns(self) -> Tensor:
        """Reward-to-go with gamma = 1: what each step is credited with, (T, N).

        With a terminal reward that is the terminal return at every step, as in the paper.
        """
        return self.rewards.flip(0).cumsum(0).flip(0)

    def patches(
        self,
        geometry: PatchGeometry,
        batch_size: int,
        generator: torch.Generator,
        *,
        initial_patch: bool = True,
        ranks: Ranks = ALONE,
    ) -> Iterator[tuple[EnhancerInput, Tensor, Tensor]]:
        """Walk once over all T*N patches in random order.

        Args:
            geometry: That of the core which filled the buffer.
            batch_size: Patches a batch; the last may be smaller.
            generator: Of the order, on the CPU.
            initial_patch: Cut the patches of I_0 as well, for an enhancer that needs them.
            ranks: The processes that share the run. The order is one over the patches of all of them; each
                batch gives this process its own patches, which may be fewer or none.

        Yields:
            What the enhancer was shown, the HR patches (N, C, h, w), and which pixels lie inside, (N, 1, h,
            w).
        """
        order = torch.randperm(self.horizon * self.rows * ranks.size, generator=generator)
        for batch in torch.split(order, batch_size):
            chosen = ranks.own_of(batch, self.horizon * self.rows)
            chosen = chosen.to(self.locations.device, non_blocking=True)
            # Numbered row by row, so that a process has one piece of the numbers as it has of the rows
            row = torch.div(chosen, self.horizon, rounding_mode="floor")
            step = torch.remainder(chosen, self.horizon)
            location = self.locations[step, row]
            window = geometry.window(location)
            inside = geometry.inside(window)
            # Cut out first, converted afterwards: the patches are a sixth of the pictures
            levels, pictures = self.high_resolution[row], self.pictures[step, row]
            target = geometry.trim(_cut(geometry, levels, window) / 127.5 - 1.0, inside)
            inputs = EnhancerInput(
                _cut(geometry, pictures, window),
                pictures.float(),
                geometry.centres(location),
                _cut(geometry, self.pictures[0, row], window) if initial_patch else None,
                None if self.prior is None else _cut(geometry, self.prior[row], window),
            )
            yield inputs, target, inside

    def pixels(self, geometry: PatchGeometry) -> Tensor:
        """How many pixels inside the pictures the enhanced patches had, T*N patches together; a scalar."""
        return geometry.inside(geometry.window(self.locations.flatten())).sum()


def _cut(geometry: PatchGeometry, pictures: Tensor, window: Tensor) -> Tensor:
    """The patches of pictures of any type, float32."""
    return geometry.crop(geometry.to_canvas(pictures), window).float()
