"""Callbacks in Stable-Baselines3's shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Image, Logger
from torch import Tensor
from tqdm.auto import tqdm

from agents.faces import face_batch
from agents.policies import RecurrentPolicyNetwork
from agents.rollout import PolicyAgent, walk
from agents.scripted import CoreAgent, RasterScan
from facehall_env.core import HallucinationCore, to_unit
from facehall_env.datasets import FaceDataset
from facehall_env.metrics import psnr


class ProgressBar(BaseCallback):
    """A progress bar over timesteps, right also where one call steps many rows."""

    def _on_training_start(self) -> None:
        remaining = self.locals["total_timesteps"] - self.model.num_timesteps
        self._start = self.model.num_timesteps
        self._bar = tqdm(total=remaining, unit="step", desc="learning", dynamic_ncols=True)

    def _on_step(self) -> bool:
        self._bar.update(self.model.num_timesteps - self._start - self._bar.n)
        return True

    def _on_training_end(self) -> None:
        self._bar.close()


class AtIteration(BaseCallback):
    """Calls a function between two iterations, when nothing is half done.

    Args:
        function: What to call.
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        super().__init__()
        self._function = function

    def _on_rollout_start(self) -> None:
        self._function()

    def _on_step(self) -> bool:
        return True


class Validation(BaseCallback):
    """Measures the agent in dB on faces it does not train on, and draws some of them, every few iterations.

    Args:
        core: The core that the agent trains on; measured is a replica.
        dataset: The validation faces.
        faces: How many, evenly spread over the data set.
        every: Iterations between two measurements.
        pictures: How many faces are drawn.
    """

    def __init__(
        self, core: HallucinationCore, dataset: FaceDataset, faces: int, *, every: int = 10, pictures: int = 6
    ) -> None:
        super().__init__()
        self.core, self.every, self.pictures = core.replica(reward="terminal"), every, pictures
        count = min(faces, len(dataset))
        self.faces = face_batch(dataset, [i * len(dataset) // count for i in range(count)])
        self._iterations = 0

    def _on_rollout_start(self) -> None:
        if self._iterations and self._iterations % self.every == 0:
            self.measure(self.model.policy, self.logger)  # type: ignore[arg-type]
        self._iterations += 1

    def _on_step(self) -> bool:
        return True

    def measure(self, policy: RecurrentPolicyNetwork, logger: Logger) -> float:
        """Record the argmax policy's PSNR, its gain over I_0, and pictures.

        Args:
            policy: The policy.
            logger: Takes the values down; they are written with its next line.

        Returns:
            The mean gain in dB.
        """
        gain = self._measure(PolicyAgent(policy, deterministic=True), logger, "validation")
        rows = [self.core.initial, self.core.current, self.core.target]
        strips = [torch.cat(list(to_unit(row[: self.pictures])), dim=2) for row in rows]
        logger.record(
            "validation/pictures", Image(torch.cat(strips, dim=1), "CHW"), exclude=("stdout", "csv")
        )
        return gain

    def measure_scan(self, logger: Logger) -> float:
        """Record what the enhancer is worth on a raster scan, before there is a policy."""
        return self._measure(RasterScan(), logger, "validation_scan")

    def _measure(self, agent: CoreAgent, logger: Logger, name: str) -> float:
        walk(self.core, agent, self.faces)
        reached = self._psnr(self.core.current)
        gain = float((reached - self._psnr(self.core.initial)).mean())
        logger.record(f"{name}/psnr", float(reached.mean()))
        logger.record(f"{name}/psnr_gain", gain)
        logger.record(f"{name}/coverage", float(self.core.coverage.mean()))
        return gain

    def _psnr(self, picture: Tensor) -> Tensor:
        return psnr(to_unit(picture), to_unit(self.core.target))
