"""How the local enhancement network learns: the second of the two alternating phases, and the start.

Loss: mean squared error between the enhanced patch and the HR patch at every step, inside the picture only.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

from agents.buffers import EpisodeBuffer
from agents.faces import FaceBatches
from facehall_env.core import HallucinationCore

Coupling = Literal["alternating", "joint", "frozen"]


class WeightedLoss(NamedTuple):
    """The loss of one batch.

    Attributes:
        loss: The mean over its pixels inside the picture; a scalar with gradients.
        pixels: How many these are; a scalar tensor.
    """

    loss: Tensor
    pixels: Tensor


class EnhancerUpdate(NamedTuple):
    """What one update of the enhancer reports.

    Attributes:
        loss: Mean squared error inside the picture, pixels in [-1, 1]; a scalar tensor.
        gradient_norm: Before clipping; a scalar tensor.
    """

    loss: Tensor
    gradient_norm: Tensor


class EnhancerTrainer:
    """Owns the optimiser of the core's enhancer.

    Args:
        enhancer: The network to train.
        learning_rate: Of Adam.
        betas: Of Adam; the paper's are (0.5, 0.999).
        max_grad_norm: The gradient's norm is clipped here.
    """

    def __init__(
        self,
        enhancer: nn.Module,
        *,
        learning_rate: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        max_grad_norm: float = 1.0,
    ) -> None:
        self.enhancer = enhancer
        self.learning_rate = learning_rate
        self.max_grad_norm = max_grad_norm
        self.optimizer = torch.optim.Adam(enhancer.parameters(), lr=learning_rate, betas=betas)

    def step(self, loss: Tensor) -> EnhancerUpdate:
        """One update from a loss that was computed with gradients."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        return self._apply(loss.detach())

    def _apply(self, loss: Tensor) -> EnhancerUpdate:
        norm = nn.utils.clip_grad_norm_(self.enhancer.parameters(), self.max_grad_norm)
        self.optimizer.step()
        return EnhancerUpdate(loss, norm)

    def fit(
        self,
        core: HallucinationCore,
        buffer: EpisodeBuffer,
        *,
        updates: int,
        batch_size: int,
        generator: torch.Generator,
        accumulate: bool = False,
        through_pictures: bool = False,
    ) -> list[EnhancerUpdate]:
        """Learn from the patches of collected episodes.

        Args:
            core: Whose enhancer this is, and whose episodes were collected.
            buffer: The episodes.
            updates: How many updates; fewer if the buffer holds no more batches.
            batch_size: Patches a batch, or episodes where gradients flow through the pictures.
            generator: Of the order, on the CPU.
            accumulate: One update from the gradient of the mean over the whole buffer instead of one a batch.
            through_pictures: Play the episodes again and let the gradient flow through the pasted pictures.

        Returns:
            One report an update.
        """
        if through_pictures:
            losses = self._episode_losses(core, buffer, batch_size, generator)
        else:
            losses = self._patch_losses(core, buffer, batch_size, generator)
        if accumulate:
            return [self._accumulate(losses, buffer.pixels(core.geometry))]
        return [self.step(batch.loss) for batch in itertools.islice(losses, updates)]

    def _patch_losses(
        self, core: HallucinationCore, buffer: EpisodeBuffer, batch_size: int, generator: torch.Generator
    ) -> Iterator[WeightedLoss]:
        wanted = core.enhancer.needs_initial_patch
        for inputs, target, inside in buffer.patches(
            core.geometry, batch_size, generator, initial_patch=wanted
        ):
            yield WeightedLoss(patch_error(core.enhance(inputs), target, inside), inside.sum())

    def _episode_losses(
        self, core: HallucinationCore, buffer: EpisodeBuffer, batch_size: int, generator: torch.Generator
    ) -> Iterator[WeightedLoss]:
        order = torch.randperm(buffer.rows, generator=generator).to(core.device)
        for rows in torch.split(order, batch_size):
            core.reset(buffer.high_resolution[rows])
            steps = [
                core.step_recorded(location, through_pictures=True) for location in buffer.locations[:, rows]
            ]
            enhanced, target, inside = (
                torch.cat([getattr(step, name) for step in steps])
                for name in ("enhanced", "target", "inside")
            )
            yield WeightedLoss(patch_error(enhanced, target, inside), inside.sum())

    def _accumulate(self, losses: Iterator[WeightedLoss], pixels: Tensor) -> EnhancerUpdate:
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=pixels.device)
        for batch in losses:
            share = batch.loss * (batch.pixels / pixels)
            share.backward()  # type: ignore[no-untyped-call]
            total += share.detach()
        return self._apply(total)

    def set_learning_rate(self, learning_rate: float) -> None:
        """Use this learning rate from the next update on."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate

    def state_dict(self) -> dict[str, Any]:
        """The optimiser's state."""
        return self.optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the optimiser's state up again."""
        self.optimizer.load_state_dict(state)


def patch_error(enhanced: Tensor, target: Tensor, inside: Tensor) -> Tensor:
    """Mean squared error over the pixels inside the picture.

    Args:
        enhanced: (N, C, h, w).
        target: (N, C, h, w).
        inside: bool, (N, 1, h, w).

    Returns:
        A scalar; every pixel of the batch weighs the same, whichever patch it is in.
    """
    error = (enhanced - target).square() * inside
    return error.sum() / (inside.sum() * enhanced.shape[1])


def cosine_schedule(step: int, steps: int, peak: float, *, warmup: int = 0, floor: float = 0.0) -> float:
    """Learning rate of update `step` of `steps`: a linear rise (`warmup`), then half a cosine to `floor`."""
    if step < warmup:
        return peak * (step + 1) / warmup
    share = (step - warmup) / max(1, steps - warmup)
    return floor + (peak - floor) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, share)))


class Pretraining:
    """Trains the enhancer at random locations before any policy moves.

    Episodes run as in the environment, at uniformly random locations, and every step is an update: the
    patch that was enhanced for the update is the one that is pasted, so each costs one forward and one
    backward pass.

    Args:
        core: The environment's core; its enhancer is trained.
        trainer: Owns the optimiser.
        faces: Where the pictures come from; its batch size is the update's.
        updates: Length of the learning-rate schedule.
        learning_rate: Peak of the cosine schedule.
        warmup: Updates of the linear rise.
        seed: Seed of the locations.
    """

    def __init__(
        self,
        core: HallucinationCore,
        trainer: EnhancerTrainer,
        faces: FaceBatches,
        *,
        updates: int,
        learning_rate: float = 5e-4,
        warmup: int = 100,
        seed: int = 0,
    ) -> None:
        self.core, self.trainer, self.faces = core, trainer, faces
        self.updates, self.learning_rate, self.warmup = updates, learning_rate, warmup
        self.done = 0
        self.generator = torch.Generator().manual_seed(seed)

    def update(self) -> EnhancerUpdate:
        """Take one step in every episode of the batch, and learn from it."""
        core = self.core
        if core.terminated:
            core.reset(self.faces.next())
        rate = cosine_schedule(self.done, self.updates, self.learning_rate, warmup=self.warmup)
        self.trainer.set_learning_rate(rate)
        location = torch.randint(core.geometry.locations, (core.rows,), generator=self.generator)
        step = core.step_recorded(location.to(core.device))
        report = self.trainer.step(patch_error(step.enhanced, step.target, step.inside))
        self.done += 1
        return report

    @property
    def between_episodes(self) -> bool:
        """Whether no episode is under way, so that `state_dict` says all there is to say."""
        return self.core.terminated

    def state_dict(self) -> dict[str, Any]:
        """Counters and generators; to be taken between episodes."""
        return {"done": self.done, "generator": self.generator.get_state(), "faces": self.faces.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.done = cast(int, state["done"])
        self.generator.set_state(state["generator"])
        self.faces.load_state_dict(state["faces"])
