"""The training of one method in one folder, which can be taken up again."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import torch
from stable_baselines3.common.logger import Logger
from torch import Tensor
from tqdm.auto import tqdm

from agents.baselines.configuration import BaselineExperiment
from agents.baselines.contract import Degradation, Hallucinator
from agents.baselines.networks import NetworkHallucinator
from agents.baselines.registry import make_hallucinator
from agents.baselines.training import NetworkTraining, Stage, training_in_words
from agents.checkpoints import CheckpointFolder
from agents.divergence import LossWatch, verify_weights
from agents.faces import evenly_spread, face_batch
from agents.records.files import write_atomically
from agents.runs import BUDGET, check_same, hold_folder, open_folder
from facehall_env.datasets import load_dataset
from facehall_env.metrics import psnr
from facehall_env.task import choose_device

WEIGHTS: Final = "method.safetensors"
_WORST_ERROR: Final = 4.0
"""No network that still learns errs by this mean square, pixels in [0, 1]: it misses by two whole ranges."""


def weight_file(path: Path) -> Path:
    """The weights that a path stands for: itself, or those in it where it is a run folder."""
    return path / WEIGHTS if path.is_dir() else path


class BaselineRun:
    """One method and its folder.

    The folder holds the configuration, the command, versions and commit, TensorBoard events, CSV logs,
    checkpoints and, at the end, ``method.safetensors`` and ``budget.json``.

    Args:
        experiment: What to do.
        resolved: The whole configuration as YAML, by which a folder knows its experiment again.

    Attributes:
        method: What is trained.
        best: The highest gain over I_0 in dB on the validation faces so far.

    Raises:
        ValueError: If the folder holds another experiment, or a setting is out of range.
        FileNotFoundError: If data are missing.
    """

    MAY_CHANGE: Final = ("run", "device", "data.root")
    """Keys of the configuration that may, when a run goes on; see `check_same`."""

    def __init__(self, experiment: BaselineExperiment, resolved: str) -> None:
        self.experiment, self.folder, self._resolved = experiment, experiment.run.folder, resolved
        check_same(self.folder, resolved, self.MAY_CHANGE)
        device, data = choose_device(experiment.device), experiment.data
        self.dataset = load_dataset(data.name, root=data.root, split=data.split, **data.options)
        degradation = Degradation.of(self.dataset, experiment.scale, experiment.protocol)
        torch.manual_seed(experiment.run.seed)
        self.method: Hallucinator = make_hallucinator(
            experiment.method, degradation, **experiment.settings
        ).to(device)
        if experiment.start_from is not None:
            self._start_from(experiment.start_from)
        self.training: NetworkTraining | None = None
        self.validation: tuple[Tensor, Tensor] | None = None
        if isinstance(self.method, NetworkHallucinator):
            self.method.precision = experiment.training.precision
            self.method.fitted = True  # it may be measured at any time
            self.training = NetworkTraining(
                self.method, self.dataset, experiment.training, seed=experiment.run.seed
            )
            self.validation = self._validation_faces()
        self.checkpoints = CheckpointFolder(self.folder / "checkpoints", experiment.run.keep_checkpoints)
        self.seconds = 0.0
        self.best: float | None = None
        self.last_good: Path | None = None
        self.logger: Logger

    def _start_from(self, path: Path) -> None:
        """Take another run's weights over, where they fit, see `NetworkHallucinator.take_over`."""
        method = self.method
        if not isinstance(method, NetworkHallucinator):
            raise ValueError(f"start_from is set, but {method.name} learns in one go: leave it out")
        other = type(method).load(weight_file(path))
        try:
            method.take_over(other)
        except ValueError as error:
            raise ValueError(
                f"the weights in {path} were made for {other.degradation} with {other.settings}, but this is "
                f"about {method.degradation} with {method.settings}: {error}"
            ) from error

    def _validation_faces(self) -> tuple[Tensor, Tensor] | None:
        """Evenly spread faces of the validation split, uint8, and what they are shrunk to."""
        count, data = self.experiment.run.validation_faces, self.experiment.data
        if not count or data.split != "train":
            return None
        faces = load_dataset(data.name, root=data.root, split="val", **data.options)
        high = face_batch(faces, evenly_spread(len(faces), count)).to(self.method.device)
        return high, self.method.resampler.shrink(high.float() / 255.0)

    def train(self) -> Hallucinator:
        """Do what is left to do, and write the results.

        Raises:
            DivergenceError: If learning came apart; the last checkpoint was good.
        """
        with (
            hold_folder(self.folder, self._resolved, self.MAY_CHANGE),
            open_folder(self.folder, self._resolved) as self.logger,
        ):
            if self.training is None:
                self._fit()
            else:
                self._resume(self.training)
                for stage in self.training.stages:
                    self._run_stage(self.training, stage)
                self._finish(self.training)
        return self.method

    def _fit(self) -> None:
        """A method that learns in one go is done, or it is not."""
        path = self.folder / WEIGHTS
        if path.is_file():
            self.method = type(self.method).load(path, self.method.device)
            print(f"{path} is there already")
            if not (self.folder / BUDGET).is_file():  # killed between the two
                self._write_budget()
            return
        started = time.monotonic()
        self.method.fit(self.dataset, progress_bar=self.experiment.run.progress_bar)
        self.seconds = time.monotonic() - started
        self._write()

    # --- networks ---

    def _run_stage(self, training: NetworkTraining, stage: Stage) -> None:
        if stage.over:
            return
        run, watch = self.experiment.run, LossWatch(stage.name, limit=_WORST_ERROR)
        clock = written = time.monotonic()
        recent: list[Tensor] = []
        with tqdm(
            total=stage.updates, initial=stage.done, desc=stage.name, unit="update",
            disable=not run.progress_bar, dynamic_ncols=True,
        ) as bar:  # fmt: skip
            while not stage.over:
                recent.append(stage.update())
                watch.add(stage.done, recent[-1])
                bar.update(1)
                if stage.done % run.log_interval == 0 or stage.over:
                    watch.verify(self.last_good)
                    error = float(torch.stack(recent).mean())
                    recent = []
                    self.logger.record(f"{stage.name}/mse", error)
                    bar.set_postfix(mse=f"{error:.6f}")
                    self.logger.dump(stage.done)
                if stage.done % run.validation_interval == 0 or stage.over:
                    self._validate(training, stage)
                now = time.monotonic()
                if now - written >= 60.0 * run.checkpoint_minutes or stage.over:
                    self.seconds += now - clock
                    clock = written = now
                    self._checkpoint(training, stage)

    def _validate(self, training: NetworkTraining, stage: Stage) -> None:
        if self.validation is None:
            return
        self._verify(stage)
        high, low = self.validation
        rows = self.experiment.training.batch_size
        made = torch.cat([self.method.hallucinate(part) for part in torch.split(low, rows)])
        start = self.method.initial(low).clamp(0.0, 1.0)
        reached, input_psnr = psnr(made, high).mean(), psnr(start, high).mean()
        gain = float(reached - input_psnr)
        self.logger.record("validation/psnr", float(reached))
        self.logger.record("validation/psnr_gain", gain)
        self.logger.dump(stage.done)
        # What was only pre-trained may still be far from faces, and is no candidate for the result
        if stage is training.stages[-1] and (self.best is None or gain > self.best):
            self.best = gain
            self.checkpoints.write_best(self._state(training))

    def _verify(self, stage: Stage) -> None:
        networks = (("network", self.method),)
        verify_weights(networks, stage.name, f"update {stage.done}", self.last_good)

    def _state(self, training: NetworkTraining) -> dict[str, Any]:
        return training.state_dict() | {"seconds": self.seconds, "best": self.best}

    def _checkpoint(self, training: NetworkTraining, stage: Stage) -> None:
        self._verify(stage)
        self.last_good = self.checkpoints.write(self._state(training))

    def _resume(self, training: NetworkTraining) -> None:
        newest = self.checkpoints.read_newest()
        if newest is None:
            return
        self.last_good, state = newest
        training.load_state_dict(state)
        self.seconds, self.best = state["seconds"], state["best"]
        print(f"going on from {self.last_good}")

    def _finish(self, training: NetworkTraining) -> None:
        self.method.budget = training_in_words(training, self.dataset, self.seconds)
        if self.experiment.start_from is not None:
            origin = self.experiment.start_from
            self.method.budget += f" after {origin.name if origin.is_dir() else origin.parent.name}"
        best = self.checkpoints.read_best() if self.experiment.run.select == "best" else None
        if best is not None:
            self.method.load_state_dict(best["network"])
        self._write()

    def _write(self) -> None:
        self.method.save(self.folder / WEIGHTS)
        self._write_budget()

    def _write_budget(self) -> None:
        budget = {
            "method": self.method.name,
            "dataset": self.dataset.name,
            "faces": len(self.dataset),
            "degradation": asdict(self.method.degradation),
            "words": self.method.budget,
            "validation_psnr_gain": self.best,
            "seconds": round(self.seconds),
            "device": str(self.method.device),
            "precision": self.method.precision,
            "seed": self.experiment.run.seed,
        }
        write_atomically(self.folder / BUDGET, json.dumps(budget, indent=2))
