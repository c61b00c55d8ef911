"""Callbacks in Stable-Baselines3's shape."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Image, Logger
from torch import Tensor, nn
from tqdm.auto import tqdm

from agents.buffers import EpisodeBuffer
from agents.distributed import ALONE, Ranks
from agents.enhancement import EnhancerTrainer
from agents.faces import evenly_spread, face_batch
from agents.policies import PolicyNetwork
from agents.rollout import PolicyAgent, walk
from agents.scripted import CoreAgent, RasterScan
from agents.tasks import tasks_of
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
        measured: Called with the mean gain in dB after every measurement of the agent.
        ranks: The processes that share the run, and the faces.

    Raises:
        ValueError: If there are fewer faces than processes.
    """

    def __init__(
        self,
        core: HallucinationCore,
        dataset: FaceDataset,
        faces: int,
        *,
        every: int = 10,
        pictures: int = 6,
        measured: Callable[[float], Any] | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        super().__init__()
        self.measured, self.ranks = measured, ranks
        self.core, self.every, self.pictures = core.replica(reward="terminal"), every, pictures
        chosen = evenly_spread(len(dataset), faces)
        if len(chosen) < ranks.size:
            raise ValueError(
                f"{len(chosen)} validation faces are fewer than the {ranks.size} processes that share them: "
                "set run.validation_faces to more, or to 0"
            )
        self.faces = face_batch(dataset, chosen[ranks.rank :: ranks.size])

    def _on_rollout_start(self) -> None:
        done = (
            self.model._n_updates
        )  # not counted here: a run that goes on measures when it would have anyway
        if done and done % self.every == 0:
            self.measure(self.model.policy, self.logger)  # type: ignore[arg-type]

    def _on_step(self) -> bool:
        return True

    def measure(self, policy: PolicyNetwork, logger: Logger) -> float:
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
            "validation/pictures",
            Image(torch.cat(strips, dim=1), "CHW"),
            exclude=("stdout", "log", "csv", "json"),  # only TensorBoard shows pictures
        )
        if self.measured is not None:
            self.measured(gain)
        return gain

    def measure_scan(self, logger: Logger) -> float:
        """Record what the enhancer is worth on a raster scan, before there is a policy."""
        return self._measure(RasterScan(), logger, "validation_scan")

    def _measure(self, agent: CoreAgent, logger: Logger, name: str) -> float:
        walk(self.core, agent, self.faces)
        reached, before = self._psnr(self.core.current), self._psnr(self.core.initial)
        columns = torch.stack((reached, reached - before, self.core.coverage), dim=1)
        faces = self.ranks.sum(torch.full((1,), float(len(columns)), device=columns.device))
        reached_psnr, gain, coverage = (self.ranks.sum(columns.sum(dim=0)) / faces).tolist()
        logger.record(f"{name}/psnr", reached_psnr)
        logger.record(f"{name}/psnr_gain", gain)
        logger.record(f"{name}/coverage", coverage)
        return float(gain)

    def _psnr(self, picture: Tensor) -> Tensor:
        return psnr(to_unit(picture), to_unit(self.core.target))


class EnhancerPhase(BaseCallback):
    """Trains the enhancer in turns with an on-policy algorithm of Stable-Baselines3 (PPO, A2C, RecurrentPPO).

    The episodes that ended in a rollout are played again, the same faces and locations, in a core of their
    own, and the enhancer learns from their patches; all environments share the network, so the next rollout
    has it.

    Args:
        updates: Of the enhancer, after each rollout, as far as its patches go.
        batch_size: Patches an update.
        episodes: At most so many of a rollout's episodes, the newest, which bounds memory.
        learning_rate: Of Adam.
        betas: Of Adam.
        max_grad_norm: The gradient's norm is clipped here.
        seed: Of the order of the patches.

    Raises:
        ValueError: When learning starts, if the environment is not one of ours or its enhancer cannot learn.
    """

    def __init__(
        self,
        *,
        updates: int = 25,
        batch_size: int = 32,
        episodes: int = 128,
        learning_rate: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        max_grad_norm: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.updates, self.batch_size, self.episodes = updates, batch_size, episodes
        self.learning_rate, self.betas, self.max_grad_norm = learning_rate, betas, max_grad_norm
        self.generator = torch.Generator().manual_seed(seed)

    def _on_training_start(self) -> None:
        self.task = tasks_of(self.training_env)[0]
        self.core = self.task.core.replica()
        if self.task.pretrained is not None and self.task.enhancer_by_default:
            raise ValueError(
                f"the environment's enhancer is {self.task.pretrained.name}, which it has by default: make "
                'it with enhancer="pretrained" to go on training that, or with a preset to start anew'
            )
        if not isinstance(self.core.enhancer, nn.Module) or not list(self.core.enhancer.parameters()):
            raise ValueError(
                "the environment's enhancer has nothing to train: attach a network with "
                "env.unwrapped.set_enhancer(make_enhancer('tiny'))"
            )
        self.trainer = EnhancerTrainer(
            self.core.enhancer,
            learning_rate=self.learning_rate,
            betas=self.betas,
            max_grad_norm=self.max_grad_norm,
        )
        self._paths: list[list[int]] = [[] for _ in range(self.training_env.num_envs)]
        self._ended: deque[tuple[int, list[int]]] = deque(maxlen=self.episodes)

    def _on_step(self) -> bool:
        rows = zip(
            self._paths, self.locals["infos"], self.locals["actions"], self.locals["dones"], strict=True
        )
        for row, (path, info, action, done) in enumerate(rows):
            path.append(int(info.get("location", action)))
            if done:
                if len(path) == self.core.horizon:  # the first one may have begun before the learning
                    self._ended.append((info["index"], path))
                self._paths[row] = []
        return True

    def _on_rollout_end(self) -> None:
        if not self._ended:
            return
        indices, paths = zip(*self._ended, strict=True)
        self._ended.clear()
        buffer = EpisodeBuffer(self.core.horizon, len(indices), self.core.shape, self.core.device)
        walk(self.core, _Replay(torch.tensor(paths).T), self.task.faces(indices), buffer=buffer)
        reports = self.trainer.fit(
            self.core, buffer, updates=self.updates, batch_size=self.batch_size, generator=self.generator
        )
        self.logger.record("enhancer/loss", float(torch.stack([report.loss for report in reports]).mean()))
        self.logger.record("enhancer/gradient_norm", float(reports[-1].gradient_norm))


class _Replay:
    """Goes where others went: locations (T, N)."""

    def __init__(self, locations: Tensor) -> None:
        self.locations = locations

    def begin(self, core: HallucinationCore) -> None:
        """Nothing to prepare."""

    def select(self, core: HallucinationCore) -> Tensor:
        return self.locations[core.t].to(core.device)
