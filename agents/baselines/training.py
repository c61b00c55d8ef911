"""How the networks among the methods learn: one loop for all, from pairs of small and large pictures."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final, Protocol, cast

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from agents.baselines.crops import CropBatches
from agents.baselines.networks import NetworkHallucinator, Refiner
from agents.baselines.recipes import TrainingConfig
from agents.faces import FaceBatches
from agents.state import check_weights
from facehall_env.datasets import FaceDataset
from facehall_env.resample import Resampler

CROP_SIDES: Final = (33, 48)
"""Smallest and largest side of a crop that the paper pre-trains on."""
_LOG = logging.getLogger(__name__)


class Batches(Protocol):
    """An endless stream of uint8 pictures (N, C, H, W) that can be resumed."""

    def next(self) -> Tensor:
        """The next batch, on the CPU."""

    def state_dict(self) -> dict[str, int]:
        """Where the stream stands."""

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from `state_dict`."""


class Stage:
    """One pass of a schedule over one stream of pictures: the pre-training, or the training on faces.

    Args:
        name: For bars, logs and budgets.
        network: The method.
        config: How to train.
        batches: The large pictures.
        updates: Length of the schedule.

    Attributes:
        done: Updates so far.
    """

    def __init__(
        self, name: str, network: NetworkHallucinator, config: TrainingConfig, batches: Batches, updates: int
    ) -> None:
        self.name, self.network, self.config = name, network, config
        self.batches, self.updates, self.done = batches, updates, 0
        self.optimizer = self._make_optimizer()

    def _make_optimizer(self) -> torch.optim.Optimizer:
        config = self.config
        slow = {id(weight): weight for weight in self.network.slow()}
        groups = [
            {
                "params": [weight for weight in self.network.parameters() if id(weight) not in slow],
                "share": 1.0,
            },
            {"params": list(slow.values()), "share": config.slow_share},
        ]
        groups = [group for group in groups if group["params"]]
        if config.optimizer == "sgd":
            return torch.optim.SGD(
                groups, config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay
            )
        return torch.optim.Adam(
            groups, config.learning_rate, betas=config.betas, weight_decay=config.weight_decay
        )

    @property
    def over(self) -> bool:
        """Whether its updates are done."""
        return self.done >= self.updates

    def update(self) -> Tensor:
        """Learn from one batch; its mean squared error before that (pixels in [0, 1]), a scalar tensor."""
        network, config = self.network, self.config
        network.train()
        high = self.batches.next().to(network.device).float() / 255.0
        with torch.autocast(network.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
            made = self._answer(high)
        error = (made.float() - high).square()
        loss = error.mean() if config.loss == "mean" else 0.5 * error.sum() / len(high)
        rate = config.rate(self.done, self.updates)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if config.clip == "norm":
            nn.utils.clip_grad_norm_(network.parameters(), config.clip_at)
        else:
            nn.utils.clip_grad_value_(network.parameters(), config.clip_at / rate)
        self.optimizer.step()
        self.done += 1
        return error.detach().mean()

    def _answer(self, high: Tensor) -> Tensor:
        return self.network.attempts(self.network.resampler.shrink(high))

    def state_dict(self) -> dict[str, Any]:
        """Everything but the network."""
        return {
            "done": self.done,
            "batches": self.batches.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.done = cast(int, state["done"])
        self.batches.load_state_dict(state["batches"])
        self.optimizer.load_state_dict(state["optimizer"])


class CropStage(Stage):
    """Pre-training on crops, whose I_0 is made by the rule of the network's protocol at the crop's size."""

    def _answer(self, high: Tensor) -> Tensor:
        assert isinstance(self.network, Refiner)
        degradation, side = self.network.degradation, high.shape[-1]
        resampler = Resampler(side, side, degradation.scale, degradation.protocol, device=high.device)
        return self.network.refine(resampler(high))


class NetworkTraining:
    """All stages of one network's training.

    Args:
        network: The method.
        dataset: The faces.
        config: How to train.
        seed: Of the order, the flips and the crops; the network's initial weights are the caller's affair.

    Raises:
        ValueError: If pre-training is asked of a network that reads whole faces only, or its pictures do not
            serve.
        FileNotFoundError: If there is no folder of pictures to pre-train on.
    """

    def __init__(
        self, network: NetworkHallucinator, dataset: FaceDataset, config: TrainingConfig, *, seed: int = 0
    ) -> None:
        self.network, self.config, self.seed = network, config, seed
        config.lay_out(network)
        self.stages: list[Stage] = []
        if config.pretrain_root is not None:
            self.stages.append(self._pretraining(config.pretrain_root))
        elif network.expects_pretraining:
            _LOG.warning(
                "%s is trained on faces alone; the paper pre-trains it on 7,000 pictures of PASCAL VOC2012: "
                "give any folder of pictures as training.pretrain_root",
                network.name,
            )
        faces = FaceBatches(dataset, config.batch_size, seed=seed, flip=config.flip, shift=config.shift)
        self.stages.append(Stage("training", network, config, faces, config.updates))

    def _pretraining(self, root: Path) -> Stage:
        if not isinstance(self.network, Refiner):
            raise ValueError(
                f"training.pretrain_root is set, but {self.network.name} reads whole faces and cannot be "
                "pre-trained on crops: leave it out"
            )
        config, scale = self.config, self.network.degradation.scale
        smallest, largest = CROP_SIDES
        sides = [side for side in range(smallest, largest + 1) if side % scale == 0]
        if not sides:
            raise ValueError(f"no crop of {smallest} to {largest} pixels can be shrunk {scale} times")
        crops = CropBatches(
            root,
            config.pretrain_batch_size,
            channels=self.network.degradation.channels,
            sides=sides,
            pictures=config.pretrain_pictures,
            seed=self.seed,
        )
        return CropStage("pretraining", self.network, config, crops, config.pretrain_updates)

    def run(self, *, progress_bar: bool = False) -> None:
        """Do all that is left to do."""
        for stage in self.stages:
            with tqdm(
                total=stage.updates, initial=stage.done, desc=stage.name, disable=not progress_bar
            ) as bar:
                while not stage.over:
                    stage.update()
                    bar.update(1)

    def state_dict(self) -> dict[str, Any]:
        """The network and all stages."""
        return {
            "network": self.network.state_dict(),
            "stages": {stage.name: stage.state_dict() for stage in self.stages},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`.

        Raises:
            ValueError: If it belongs to another network; then nothing was changed.
        """
        check_weights(self.network, state["network"], "checkpoint")
        self.network.load_state_dict(state["network"])
        for stage in self.stages:
            stage.load_state_dict(state["stages"][stage.name])


def training_in_words(training: NetworkTraining, dataset: FaceDataset, seconds: float) -> str:
    """What a network was trained on and for how long, as a table can say it."""
    config, parts = training.config, []
    for stage in training.stages:
        if isinstance(stage.batches, CropBatches):
            what = f"{stage.batches.batch_size} crops of {len(stage.batches.files):,} pictures"
        else:
            passes = stage.done * config.batch_size / len(dataset)
            what = f"{config.batch_size} faces ({passes:.1f} passes over {len(dataset):,})"
        parts.append(f"{stage.done:,} updates of {what}")
    device = training.network.device.type
    return f"{'; '.join(parts)}; {seconds / 60.0:.0f} min on {device} in {config.precision}"
