"""How the local enhancement network learns: the second of the two alternating phases, and the start.

Loss: mean squared error between the enhanced patch and the HR patch at every step, inside the picture only.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal, NamedTuple, cast

import torch
from stable_baselines3.common.utils import update_learning_rate
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from agents.buffers import EpisodeBuffer
from agents.distributed import ALONE, Ranks
from agents.faces import FaceBatches
from agents.scripted import Chooser, RandomPatch, make_chooser
from facehall_env.core import HallucinationCore
from facehall_env.enhancer import Enhancer

Coupling = Literal["alternating", "joint", "frozen"]


class ErrorSum(NamedTuple):
    """The squared error of one batch of patches, inside the picture only.

    Attributes:
        total: Its sum; a scalar with gradients.
        values: How many values it sums (pixels times channels); a scalar tensor.
    """

    total: Tensor
    values: Tensor


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

    With `ema` the enhancer itself is the running average: a copy of it, the learner, follows the gradients,
    and after every update the enhancer's weights move towards the learner's. So whatever walks with the
    enhancer, measures or saves it has the average. The learner starts from the enhancer's weights when the
    first update is made.

    Attributes:
        learner: The network that follows the gradients; without `ema` the enhancer itself.

    Args:
        enhancer: The network to train.
        learning_rate: Of Adam.
        betas: Of Adam; the paper's are (0.5, 0.999).
        max_grad_norm: The gradient's norm is clipped here.
        ema: Decay of the running average of the weights, in [0, 1); 0: none. The k-th update (from 0) decays
            by (1 + k) / (10 + k) where that is less, so that the start is soon forgotten.
        ranks: The processes that share the run; gradients are those of all their patches.

    Raises:
        ValueError: If `ema` is out of range.
    """

    def __init__(
        self,
        enhancer: nn.Module,
        *,
        learning_rate: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        max_grad_norm: float = 1.0,
        ema: float = 0.0,
        ranks: Ranks = ALONE,
    ) -> None:
        check_ema("ema", ema)
        self.enhancer, self.ranks, self.ema = enhancer, ranks, ema
        self.learning_rate = learning_rate
        self.max_grad_norm = max_grad_norm
        self.learner = copy.deepcopy(enhancer) if ema else enhancer
        self._averaged = 0  # updates that the enhancer is the average of
        self._keeps_gradients = False
        parameters = self.learner.parameters()
        self.optimizer = torch.optim.Adam(parameters, lr=learning_rate, betas=betas, fused=True)

    def step(self, error: ErrorSum) -> EnhancerUpdate:
        """One update from the error of a batch; its loss is the mean over the batches of all processes."""
        return self._accumulate(iter((error,)), error.values)

    def fit(
        self,
        core: HallucinationCore,
        buffer: EpisodeBuffer,
        *,
        updates: int,
        batch_size: int,
        generator: torch.Generator,
        accumulate: int | None = 1,
        through_pictures: bool = False,
    ) -> list[EnhancerUpdate]:
        """Learn from the patches of collected episodes.

        Args:
            core: Whose enhancer this is, and whose episodes were collected.
            buffer: The episodes.
            updates: How many updates; fewer if the buffer holds no more batches.
            batch_size: Patches a batch, or episodes where gradients flow through the pictures.
            generator: Of the order, on the CPU.
            accumulate: Batches an update, which follows the gradient of the mean over all their pixels; None:
                one update from the whole buffer.
            through_pictures: Play the episodes again and let the gradient flow through the pasted pictures.

        Returns:
            One report an update.
        """
        if through_pictures:
            errors = self._episode_errors(core, buffer, batch_size, generator)
        else:
            errors = self._patch_errors(core, buffer, batch_size, generator)
        with self.learning(core):
            if accumulate is None:
                return [self._accumulate(errors, buffer.pixels(core.geometry) * core.shape[0])]
            if accumulate == 1:
                return [self.step(error) for error in itertools.islice(errors, updates)]
            reports: list[EnhancerUpdate] = []
            while len(reports) < updates and (first := next(errors, None)) is not None:
                reports.append(
                    self._follow(itertools.chain((first,), itertools.islice(errors, accumulate - 1)))
                )
            return reports

    @contextmanager
    def learning(self, core: HallucinationCore) -> Iterator[None]:
        """Let a core enhance with the learner, so that gradients reach it."""
        self._keeps_gradients = core.replays_graphs
        if not self.ema:
            yield
            return
        if not self._averaged:
            self.learner.load_state_dict(self.enhancer.state_dict())
        before = core.enhancer
        core.set_enhancer(cast(Enhancer, self.learner))
        try:
            yield
        finally:
            core.set_enhancer(before)

    def _patch_errors(
        self, core: HallucinationCore, buffer: EpisodeBuffer, batch_size: int, generator: torch.Generator
    ) -> Iterator[ErrorSum]:
        wanted = core.enhancer.needs_initial_patch
        for inputs, target, inside in buffer.patches(
            core.geometry, batch_size, generator, initial_patch=wanted, ranks=self.ranks
        ):
            yield squared_error(core.enhance(inputs), target, inside)

    def _episode_errors(
        self, core: HallucinationCore, buffer: EpisodeBuffer, batch_size: int, generator: torch.Generator
    ) -> Iterator[ErrorSum]:
        order = torch.randperm(buffer.rows * self.ranks.size, generator=generator)
        for batch in torch.split(order, batch_size):
            rows = self.ranks.own_of(batch, buffer.rows).to(core.device)
            core.reset(buffer.high_resolution[rows])
            steps = [
                core.step_recorded(location, through_pictures=True) for location in buffer.locations[:, rows]
            ]
            enhanced, target, inside = (
                torch.cat([getattr(step, name) for step in steps])
                for name in ("enhanced", "target", "inside")
            )
            yield squared_error(enhanced, target, inside)

    def _follow(self, errors: Iterator[ErrorSum]) -> EnhancerUpdate:
        """One update from the gradient of the mean over batches whose sizes are not known before."""
        self._forget_gradients()
        device = next(self.learner.parameters()).device
        total, values = torch.zeros(2, device=device)
        for error in errors:
            error.total.backward()  # type: ignore[no-untyped-call]
            total += error.total.detach()
            values += error.values
        everywhere = self.ranks.sum(values)
        for parameter in self.learner.parameters():
            if parameter.grad is not None:
                parameter.grad /= everywhere
        return self._update(total / everywhere)

    def _accumulate(self, errors: Iterator[ErrorSum], values: Tensor) -> EnhancerUpdate:
        """One update from the gradient of the mean over `values` values here and those of the others."""
        self._forget_gradients()
        everywhere = self.ranks.sum(values)
        loss = torch.zeros((), device=values.device)
        for error in errors:
            share = error.total / everywhere
            share.backward()  # type: ignore[no-untyped-call]
            loss += share.detach()
        return self._update(loss)

    def _forget_gradients(self) -> None:
        """Start the sum of gradients at nothing."""
        self.optimizer.zero_grad(set_to_none=not self._keeps_gradients)
        if self._keeps_gradients:
            # Memory of their own: what a CUDA graph hands out is overwritten by its next replay
            for parameter in self.learner.parameters():
                if parameter.requires_grad and parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)

    def _update(self, loss: Tensor) -> EnhancerUpdate:
        """Clip the gradient, that of all processes, and follow it; `loss` is this process's part."""
        self.ranks.sum_gradients(self.learner.parameters())
        norm = nn.utils.clip_grad_norm_(self.learner.parameters(), self.max_grad_norm)
        lay_as_weights(self.optimizer)
        self.optimizer.step()
        self._average()
        return EnhancerUpdate(self.ranks.sum(loss), norm)

    def _average(self) -> None:
        """Move the enhancer's weights towards the learner's."""
        if not self.ema:
            return
        decay = min(self.ema, (1.0 + self._averaged) / (10.0 + self._averaged))
        averages, weights = list(self.enhancer.parameters()), list(self.learner.parameters())
        get_ema_multi_avg_fn(decay)(averages, weights, self._averaged)  # type: ignore[no-untyped-call]
        for kept, buffer in zip(self.enhancer.buffers(), self.learner.buffers(), strict=True):
            kept.copy_(buffer)
        self._averaged += 1

    def set_learning_rate(self, learning_rate: float) -> None:
        """Use this learning rate from the next update on."""
        update_learning_rate(self.optimizer, learning_rate)

    def state_dict(self) -> dict[str, Any]:
        """The optimiser's state."""
        return self.optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the optimiser's state up again."""
        self.optimizer.load_state_dict(state)

    def learner_state(self) -> dict[str, Tensor]:
        """The learner's weights and, as `UPDATES`, how many updates it is ahead; empty where it is not."""
        if not self._averaged:
            return {}
        return {**self.learner.state_dict(), UPDATES: torch.tensor(self._averaged)}

    def load_learner_state(self, state: dict[str, Tensor]) -> None:
        """Go on from `learner_state`; from an empty one, or without `ema`, from the enhancer's weights.

        Raises:
            ValueError: If the weights do not fit.
        """
        weights = dict(state)
        updates = weights.pop(UPDATES, None)
        self._averaged = 0 if updates is None or not self.ema else int(updates)
        if self._averaged:
            self.learner.load_state_dict(weights)


def lay_as_weights(optimizer: torch.optim.Optimizer) -> None:
    """Lay gradients and moments out in memory as the weights that they belong to.

    Fused Adam walks all of them as they lie, so that channels-last weights beside moments from a file, or
    gradients from other processes, would be mixed up without a word.
    """
    for group in optimizer.param_groups:
        for weights in group["params"]:
            if weights.grad is not None:
                weights.grad = _laid_as(weights, weights.grad)
            moments = optimizer.state.get(weights, {})
            for name, values in moments.items():
                if values.shape == weights.shape:
                    moments[name] = _laid_as(weights, values)


def _laid_as(weights: Tensor, values: Tensor) -> Tensor:
    if values.stride() == weights.stride():
        return values
    return torch.empty_like(weights, dtype=values.dtype).copy_(values)


UPDATES: Final = "averaged_updates"


def check_ema(name: str, decay: float) -> None:
    """Refuse a decay that is none.

    Raises:
        ValueError: If it is not in [0, 1).
    """
    if not 0.0 <= decay < 1.0:
        raise ValueError(f"{name} is {decay}, but a decay must be at least 0 (no average) and less than 1")


def squared_error(enhanced: Tensor, target: Tensor, inside: Tensor) -> ErrorSum:
    """The squared error over the pixels inside the picture.

    Args:
        enhanced: (N, C, h, w).
        target: (N, C, h, w).
        inside: bool, (N, 1, h, w).

    Returns:
        The sum and its number of values; every pixel of the batch weighs the same, whichever patch it is in.
    """
    return ErrorSum(((enhanced - target).square() * inside).sum(), inside.sum() * enhanced.shape[1])


def patch_error(enhanced: Tensor, target: Tensor, inside: Tensor) -> Tensor:
    """Mean squared error over the pixels inside the picture, a scalar; see `squared_error`."""
    error = squared_error(enhanced, target, inside)
    return error.total / error.values


def cosine_schedule(step: int, steps: int, peak: float, *, warmup: int = 0, floor: float = 0.0) -> float:
    """Learning rate of update `step` of `steps`: a linear rise (`warmup`), then half a cosine to `floor`."""
    if step < warmup:
        return peak * (step + 1) / warmup
    share = (step - warmup) / max(1, steps - warmup)
    return floor + (peak - floor) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, share)))


class Pretraining:
    """Trains the enhancer where an agent that does not learn looks: before any policy moves, or without one.

    Episodes run as in the environment, and every step is an update: the patch that was enhanced for the
    update is the one that is pasted, so each costs one forward and one backward pass.

    Args:
        core: The environment's core; its enhancer is trained.
        trainer: Owns the optimiser.
        faces: Where the pictures come from; its batch size is the update's.
        updates: Length of the learning-rate schedule.
        learning_rate: Peak of the cosine schedule.
        warmup: Updates of the linear rise.
        chooser: Who chooses the locations, ``"random"``, ``"raster"`` or ``"oracle"``.
        seed: Seed of random locations.

    Raises:
        ValueError: If the chooser is unknown.
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
        chooser: Chooser = "random",
        seed: int = 0,
    ) -> None:
        self.chooser = make_chooser(chooser, seed, trainer.ranks)
        self.core, self.trainer, self.faces = core, trainer, faces
        self.updates, self.learning_rate, self.warmup = updates, learning_rate, warmup
        self.done = 0

    def update(self) -> EnhancerUpdate:
        """Take one step in every episode of the batch, and learn from it."""
        core = self.core
        if core.terminated:
            core.reset(self.faces.next().to(core.device, non_blocking=True))  # each process its own
            self.chooser.begin(core)
        rate = cosine_schedule(self.done, self.updates, self.learning_rate, warmup=self.warmup)
        self.trainer.set_learning_rate(rate)
        with self.trainer.learning(core):
            step = core.step_recorded(self.chooser.select(core))
        report = self.trainer.step(squared_error(step.enhanced, step.target, step.inside))
        self.done += 1
        return report

    @property
    def between_episodes(self) -> bool:
        """Whether no episode is under way, so that `state_dict` says all there is to say."""
        return self.core.terminated

    def state_dict(self) -> dict[str, Any]:
        """Counters and generators; to be taken between episodes, where only random locations have a past."""
        drawn = self.chooser.generator.get_state() if isinstance(self.chooser, RandomPatch) else None
        return {"done": self.done, "generator": drawn, "faces": self.faces.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.done = cast(int, state["done"])
        if isinstance(self.chooser, RandomPatch):
            self.chooser.generator.set_state(state["generator"])
        self.faces.load_state_dict(state["faces"])
