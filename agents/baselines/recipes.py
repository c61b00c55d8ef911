"""How a network is trained, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from agents.enhancement import cosine_schedule
from facehall_env.arguments import one_of, whole
from facehall_env.core import Precision

Optimizer = Literal["adam", "sgd"]
Schedule = Literal["cosine", "steps"]
Loss = Literal["mean", "sum"]
Clip = Literal["norm", "rate"]


@dataclass(frozen=True)
class TrainingConfig:
    """How a network is trained.

    Attributes:
        updates: On faces.
        batch_size: Faces, or crops, an update.
        learning_rate: The highest.
        final_learning_rate: Where the cosine ends.
        warmup: Updates of a linear rise before it.
        schedule: ``"cosine"``, or ``"steps"``: divided by ten after each quarter of the updates.
        slow_share: Of the learning rate, for the weights that a method wants to learn slowly.
        optimizer: ``"adam"`` or ``"sgd"``.
        betas: Of Adam.
        momentum: Of SGD.
        weight_decay: Of both.
        loss: ``"mean"``: the mean squared error; ``"sum"``: half the squared error summed over a picture, a
            mean over the batch.
        clip: ``"norm"``: the gradient's norm at `clip_at`; ``"rate"``: every entry of the gradient at
            `clip_at` / learning rate.
        clip_at: See `clip`.
        flip: Mirror faces at random.
        shift: Move faces at random by up to so many pixels along each side.
        precision: Of the network, ``"float32"`` or ``"bfloat16"``; the loss is taken in float32.
        channels_last: Lay weights and pictures out with the channels side by side. The arithmetic is the
            same but for the order of its sums; what it gains depends on network and device.
        pretrain_root: Any folder of pictures to train on before the faces, by random crops of 33 to 48
            pixels; None for none.
        pretrain_pictures: How many of them, a seeded choice.
        pretrain_updates: On crops; they have a schedule of their own.
        pretrain_batch_size: Crops an update.

    Raises:
        ValueError: If a field is out of range; the message names it.
    """

    updates: int = 10_000
    batch_size: int = 32
    learning_rate: float = 1e-3
    final_learning_rate: float = 0.0
    warmup: int = 100
    schedule: Schedule = "cosine"
    slow_share: float = 1.0
    optimizer: Optimizer = "adam"
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = 0.9
    weight_decay: float = 0.0
    loss: Loss = "mean"
    clip: Clip = "norm"
    clip_at: float = 1.0
    flip: bool = True
    shift: int = 0
    precision: Precision = "float32"
    channels_last: bool = False
    pretrain_root: Path | None = None
    pretrain_pictures: int = 7000
    pretrain_updates: int = 10_000
    pretrain_batch_size: int = 64

    def __post_init__(self) -> None:
        """Refuse what cannot be trained with, naming the field."""
        for name in ("batch_size", "pretrain_batch_size", "pretrain_pictures"):
            whole(name, getattr(self, name))
        for name in ("updates", "warmup", "pretrain_updates", "shift"):
            whole(name, getattr(self, name), least=0)
        for name in ("learning_rate", "clip_at"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, but it must be positive")
        one_of("schedule", self.schedule, Schedule)
        one_of("optimizer", self.optimizer, Optimizer)
        one_of("loss", self.loss, Loss)
        one_of("clip", self.clip, Clip)
        one_of("precision", self.precision, Precision)

    def lay_out(self, network: nn.Module) -> None:
        """Lay a network out in memory as `channels_last` says."""
        if self.channels_last:  # convolutions pass the layout on from their weights to what they make
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of update `step` of `steps`."""
        if self.schedule == "cosine":
            return cosine_schedule(
                step,
                steps,
                self.learning_rate,
                warmup=min(self.warmup, steps),
                floor=self.final_learning_rate,
            )
        return self.learning_rate * 0.1 ** min(3, 4 * step // max(1, steps))
