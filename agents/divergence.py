"""Noticing that learning has come apart, before a spoilt state overwrites a good one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

WORST_ERROR = 4.0
"""The largest mean squared error that two pictures in [-1, 1] can have: black against white."""


class DivergenceError(RuntimeError):
    """Learning diverged; the message names the phase, the step and the last good checkpoint."""


class LossWatch:
    """Keeps the losses of a phase on their device and looks at them together, so that no step waits for it.

    Args:
        phase: Its name, for the message.
        unit: What a step of it is called.
        limit: A loss above it counts as diverged; infinity where only NaN and infinity do.
    """

    def __init__(self, phase: str, unit: str = "update", limit: float = float("inf")) -> None:
        self.phase, self.unit, self.limit = phase, unit, limit
        self._losses: list[Tensor] = []
        self._first = 1

    def add(self, step: int, loss: Tensor) -> None:
        """Remember the loss of a step, counted from 1; steps follow one another."""
        if not self._losses:
            self._first = step
        self._losses.append(loss.detach())

    def verify(self, good: Path | None) -> None:
        """Look at the losses since the last call.

        Args:
            good: The last checkpoint that was written; None if there is none.

        Raises:
            DivergenceError: If one of them is not finite or above the limit.
        """
        if not self._losses:
            return
        losses = torch.stack(self._losses)
        self._losses = []
        bad = ~(losses.abs() <= self.limit) | ~losses.isfinite()
        if bad.any():
            place = int(bad.int().argmax())
            raise DivergenceError(
                f"{self.phase} diverged: the loss of {self.unit} {self._first + place} is "
                f"{float(losses[place]):g}; {_way_out(good)}"
            )


def verify_weights(networks: Iterable[tuple[str, object]], phase: str, step: str, good: Path | None) -> None:
    """Refuse weights that are not finite.

    Args:
        networks: Names and networks; what is no module has no weights.
        phase: Its name, for the message.
        step: How far it was, in words.
        good: The last checkpoint that was written; None if there is none.

    Raises:
        DivergenceError: Naming the first such weight.
    """
    for what, network in networks:
        if not isinstance(network, nn.Module):
            continue
        for name, weight in network.named_parameters():
            if not weight.isfinite().all():
                raise not_finite(phase, step, f"the {what}'s {name} is not finite", good)


def not_finite(phase: str, step: str, what: str, good: Path | None) -> DivergenceError:
    """The error where a weight, or something that was computed from them, is not finite.

    Args:
        phase: Its name, for the message.
        step: How far it was, in words.
        what: What is not finite, as a sentence.
        good: The last checkpoint that was written; None if there is none.
    """
    return DivergenceError(f"{phase} diverged: at {step} {what}; {_way_out(good)}")


def _way_out(good: Path | None) -> str:
    if good is None:
        return "no checkpoint had been written: start again with a lower learning rate"
    return (
        f"the last good checkpoint is {good}: the same command goes on from it, and a lower learning rate "
        "(in another run folder) may avoid it"
    )
