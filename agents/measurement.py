"""Measuring a training run: from its folder to records, table and picture grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agents.ablations import VARIANTS
from agents.baselines import Degradation, Hallucinator, hallucinator_class
from agents.baselines.configuration import parse_file
from agents.baselines.run import WEIGHTS
from agents.configuration import Experiment, experiment_of
from agents.distributed import ALONE, Ranks
from agents.evaluation import (
    METHODS,
    Measured,
    Method,
    budget_in_words,
    device_in_words,
    make_agent,
    measure_hallucinator,
    measure_split,
    measured_size,
)
from agents.faces import evenly_spread
from agents.pictures import picture_grid, save_png
from agents.records import (
    Record,
    Table,
    averages,
    check_replaceable,
    images_path,
    is_measured,
    load_records,
    make_table,
    provenance,
    save_images,
    update_records,
)
from agents.records.tables import LABELS
from agents.reinforce import RecurrentReinforce
from agents.runs import AGENT, CONFIGURATION, run_name
from agents.state import weights_digest
from agents.training import make_environment
from facehall_env.arguments import whole
from facehall_env.core import HallucinationCore, to_uint8
from facehall_env.datasets import FaceDataset, load_dataset
from facehall_env.enhancer import ENHANCER
from facehall_env.resample import ProtocolName
from facehall_env.task import choose_device

_NO_NETWORK = ("bicubic",)
_DRAWN = ("random_patch", "attention_fh_sampled")
_LABELS = {
    "bicubic": "bicubic",
    "random_patch": "random patch",
    "raster_scan": "raster scan",
    "planned_scan": "planned scan",
    "greedy_oracle": "greedy oracle",
    "attention_fh": "Attention-FH",
    "attention_fh_sampled": "Attention-FH (sampled)",
}


class Measurement:
    """One run on one split.

    Args:
        run: The run folder that a training run wrote.
        split: ``"train"``, ``"val"`` or ``"test"``.
        records: The records file to update; None: ``records.json`` in the run folder.
        root: Where the pictures lie, if elsewhere than in training.
        batch_size: Faces side by side.
        limit: Only the first faces of the split.
        seed: Of random locations and sampled policies, and in their records; None: that of the training.
        self_ensemble: Measure the agents on each face and its mirror image, see `measure_split`; the records'
            mode says so.
        device: Where to compute; None: as in training.
        ranks: The processes that share the faces; the first one writes.

    Raises:
        FileNotFoundError: If the folder holds no finished run.
    """

    def __init__(
        self,
        run: Path,
        split: str = "test",
        *,
        records: Path | None = None,
        root: str | None = None,
        batch_size: int = 64,
        limit: int | None = None,
        seed: int | None = None,
        self_ensemble: bool = False,
        device: str | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.self_ensemble, self.ranks = self_ensemble, ranks
        for name in (CONFIGURATION, AGENT):
            if not (run / name).is_file():
                raise FileNotFoundError(
                    f"{run} holds no {name}, so no finished run: train with python train_agent.py "
                    f"--config ... --run.folder {run}"
                )
        self.run, self.split, self.batch_size, self.limit = run, split, batch_size, limit
        experiment = experiment_of(run)
        # As the reference path has it; and the compiler's time is not that of a face
        environment = replace(experiment.env, compile=None, channels_last=False)
        if device is not None:
            environment = replace(environment, device=device)
        if root is not None:
            environment = replace(environment, root=root)
        network, kept = experiment.enhancer, run / ENHANCER
        if kept.is_file():  # what the run began with, weights or a prior, may lie elsewhere by now
            network = replace(network, weights=kept, prior=None)
        self.experiment: Experiment = replace(experiment, env=environment, enhancer=network)
        self.seed = experiment.run.seed if seed is None else seed
        self.variant = VARIANTS[experiment.name]
        self.records_path = records or run / "records.json"

    @property
    def trained_protocol(self) -> ProtocolName:
        """The protocol that the run was trained on."""
        return self.experiment.env.protocol

    @property
    def methods(self) -> tuple[Method, ...]:
        """What is measured by default: of an ablation the variant itself, else all there is to compare."""
        if self.experiment.name == "attention_fh":
            return METHODS
        if self.variant.has_policy:
            return "bicubic", "attention_fh", "attention_fh_sampled"
        return "bicubic", self.variant.looker

    def measure(
        self,
        protocol: ProtocolName,
        methods: Sequence[Method] = (),
        *,
        faces: int = 6,
        again: bool = False,
        progress_bar: bool = True,
    ) -> None:
        """Measure methods, writing each one's record as soon as it is known, and draw the grid.

        Args:
            protocol: ``"aligned"`` or ``"torch7"``.
            methods: What to measure; none: `methods`.
            faces: How many faces the grid shows, evenly spread over the split; 0 for no grid.
            again: Also what the records file has already; otherwise a run that was cut off goes on where it
                was.
            progress_bar: Show one.

        Raises:
            ValueError: If a policy is to be measured where none has learned, faces or limit is out of range,
                or the records file has the same of more faces; then nothing was measured.
        """
        whole("faces", faces, least=0)
        asked, methods = bool(methods), methods or self.methods
        for method in methods:
            if method.startswith("attention_fh") and not self.variant.has_policy:
                raise ValueError(
                    f"{self.run} is a run of {self.experiment.name!r}, in which no policy learns, so there "
                    f"is no {method}: measure {' or '.join(self.methods)}"
                )
        environment = replace(self.experiment.env, protocol=protocol)
        env = make_environment(replace(self.experiment, env=environment), self.split)
        agent = RecurrentReinforce.load(self.run / AGENT, env=env)
        if not asked and agent.plan is None:
            methods = [method for method in methods if method != "planned_scan"]
        core, dataset = agent.core.replica(reward="terminal"), env.task.dataset
        size = measured_size(dataset, self.limit)
        keep = evenly_spread(size, faces)
        weights = weights_digest(agent.policy, core.enhancer)
        blanks = {method: self._blank(method, core, dataset, protocol, weights) for method in methods}
        known = {
            method: is_measured(self.records_path, blank, size, again=again)
            for method, blank in blanks.items()
        }
        grid: dict[str, list[NDArray[np.uint8]]] = {}
        for method, record in blanks.items():
            path = self._pictures(record, protocol, size)
            drawn = not keep or (path.is_file() and len(np.load(path, mmap_mode="r")) == len(keep))
            if self.ranks.share(known[method] and drawn):
                if self.ranks.first and keep:
                    grid[self._label(method)] = list(np.load(path))
                continue
            measured = measure_split(
                core,
                dataset,
                make_agent(method, agent, self.seed),
                batch_size=self.batch_size,
                limit=self.limit,
                keep=keep,
                self_ensemble=self.self_ensemble,
                progress=f"{self._label(method)}, {protocol}" if progress_bar else None,
                ranks=self.ranks,
            )
            if not self.ranks.first:
                continue
            write_measured(self.records_path, record, measured)
            if keep:
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, np.stack(measured.pictures))
                grid[self._label(method)] = measured.pictures
        if self.ranks.first and keep:
            self._draw(core, dataset, keep, grid, protocol)
        self.ranks.wait()

    def table(self, protocol: ProtocolName) -> Table:
        """The records of this split and protocol as a table."""
        return make_table(load_records(self.records_path), split=self.split, protocol=protocol)

    def picture_path(self, protocol: ProtocolName) -> Path:
        """Where the picture grid lies."""
        return self.run / f"faces-{self.split}-{protocol}{'-mirror' * self.self_ensemble}.png"

    def _blank(
        self,
        method: Method,
        core: HallucinationCore,
        dataset: FaceDataset,
        protocol: ProtocolName,
        weights: str | None,
    ) -> Record:
        """The record without its values."""
        # Where nothing is drawn another seed is no other measurement, and no other training either
        seed = self.seed if method in _DRAWN else self.experiment.run.seed
        record = blank_record(core, dataset, self.split, seed)
        if method in _NO_NETWORK:
            return record
        return replace(
            record,
            method=self._recorded(method),
            mode=recorded_mode(method, self.self_ensemble),
            preset=run_name(self.run),
            precision=core.precision,
            budget=budget_in_words(self.run),
            weights=weights,
        )

    def _recorded(self, method: Method) -> str:
        """The name in records: the experiment's own for what it is about."""
        looker = method.removesuffix("_sampled")
        return self.experiment.name if looker == self.variant.looker else looker

    def _label(self, method: Method) -> str:
        """What stands over a method's pictures."""
        name = self._recorded(method)
        if name in _LABELS:
            return _LABELS[method]
        return LABELS[name] + (" (sampled)" if method.endswith("_sampled") else "")

    def _pictures(self, record: Record, protocol: ProtocolName, size: int) -> Path:
        """Where the pictures of the grid lie: of these faces, drawn so, by these weights."""
        name = f"{self.split}-{protocol}-{record.method}-{record.mode}-of-{size}-seed{record.seed}"
        return self.run / "pictures" / f"{name}-{record.weights or 'none'}.npy"

    def _draw(
        self,
        core: HallucinationCore,
        dataset: FaceDataset,
        keep: Sequence[int],
        grid: dict[str, list[NDArray[np.uint8]]],
        protocol: ProtocolName,
    ) -> None:
        original = np.stack([dataset[i] for i in keep])
        core.reset(torch.from_numpy(original).permute(0, 3, 1, 2))
        low = to_uint8(core.low_resolution).cpu().numpy()
        columns = (
            {"input": low} | {name: np.stack(pictures) for name, pictures in grid.items()} | {"HR": original}
        )
        save_png(self.picture_path(protocol), picture_grid(columns, reference="HR"))


def recorded_mode(method: Method, self_ensemble: bool = False) -> str | None:
    """What a record calls the way in which a method chose: argmax or sampled, with ``+mirror`` after it."""
    if method in _NO_NETWORK:
        return None
    mode = None
    if method.startswith("attention_fh"):
        mode = "sampled" if method.endswith("_sampled") else "argmax"
    if not self_ensemble:
        return mode
    return f"{mode}+mirror" if mode else "mirror"


def blank_record(core: HallucinationCore, dataset: FaceDataset, split: str, seed: int) -> Record:
    """The record of bicubic enlargement on a split, without its values."""
    return _blank(
        method="bicubic",
        dataset=dataset.name,
        split=split,
        scale=core.scale,
        protocol=core.protocol,
        preset="default",
        precision="float32",
        seed=seed,
        device=device_in_words(core.device),
        budget="none",
    )


def baseline_record(
    method: Hallucinator, dataset: FaceDataset, split: str, protocol: ProtocolName, preset: str, seed: int
) -> Record:
    """The record of a method on a split, without its values."""
    return _blank(
        method=method.name,
        dataset=dataset.name,
        split=split,
        scale=method.degradation.scale,
        protocol=protocol,
        preset=preset,
        precision=method.precision,
        seed=seed,
        device=device_in_words(method.device),
        budget=method.budget,
        weights=weights_digest(method),
    )


def _blank(**what: Any) -> Record:
    """A record whose values are still to be measured."""
    empty: dict[str, Any] = dict.fromkeys(("psnr", "psnr_y", "ssim", "fsim", "seconds_per_image"), 0.0)
    return Record(**what, **empty, n=1, **provenance())


def write_measured(path: Path, record: Record, measured: Measured) -> None:
    """Put the values into the record, the record into its file, and every image's values beside it."""
    record = replace(
        record, seconds_per_image=measured.seconds_per_image, **averages(measured.columns), **provenance()
    )
    save_images(images_path(path, record), measured.columns)
    update_records(path, [record])


def measure_bicubic(
    dataset: FaceDataset,
    split: str,
    scale: int,
    protocol: ProtocolName,
    records: Path,
    *,
    limit: int | None = None,
    progress_bar: bool = True,
    ranks: Ranks = ALONE,
) -> None:
    """Measure I_0 itself, which needs no run; writes its record.

    Args:
        dataset: The split's faces.
        split: Its name.
        scale: 4 or 8.
        protocol: ``"aligned"`` or ``"torch7"``.
        records: The records file to update.
        limit: Only the first faces.
        progress_bar: Show one.
        ranks: The processes that share the faces; the first one writes.
    """
    height, width, channels = dataset.shape
    # Nobody looks, so any patch will do that fits
    core = HallucinationCore((channels, height, width), scale, protocol=protocol, patch_size=(1, 1))
    progress = f"bicubic x{scale}, {protocol}" if progress_bar else None
    blank = blank_record(core, dataset, split, 0)
    check_replaceable(records, blank, measured_size(dataset, limit))
    measured = measure_split(core, dataset, None, limit=limit, progress=progress, ranks=ranks)
    if ranks.first:
        write_measured(records, blank, measured)
    ranks.wait()


def measure_baseline(
    run: Path,
    protocol: ProtocolName | None = None,
    *,
    split: str = "test",
    records: Path | None = None,
    root: str | None = None,
    batch_size: int = 64,
    limit: int | None = None,
    again: bool = False,
    device: str = "auto",
    progress_bar: bool = True,
    ranks: Ranks = ALONE,
) -> Path:
    """Measure a method that ``python -m agents.baselines`` trained; writes its records.

    Args:
        run: The run folder.
        protocol: The only one to measure under; None: each that the method can stand for, which is the one it
            was trained on, or both where its answer does not depend on I_0.
        split: ``"train"``, ``"val"`` or ``"test"``.
        records: The records file to update; None: ``records.json`` in the run folder.
        root: Where the pictures lie, if elsewhere than in training.
        batch_size: Faces side by side.
        limit: Only the first faces of the split.
        again: Also what the records file has already.
        device: Where to compute.
        progress_bar: Show one.
        ranks: The processes that share the faces; the first one writes.

    Returns:
        The records file.

    Raises:
        FileNotFoundError: If the folder holds no finished run, or the data are missing.
        ValueError: If the method cannot be measured under the protocol, or the weights are not those of the
            run.
    """
    for name in (CONFIGURATION, WEIGHTS):
        if not (run / name).is_file():
            raise FileNotFoundError(
                f"{run} holds no {name}, so no finished run: train with python -m agents.baselines "
                f"--config ... --run.folder {run}"
            )
    experiment = parse_file(run / CONFIGURATION)
    method = hallucinator_class(experiment.method).load(run / WEIGHTS, choose_device(device))
    experiment.training.lay_out(method)
    if protocol is not None:
        method.require_protocol(protocol)
    data, path = experiment.data, records or run / "records.json"
    dataset = load_dataset(data.name, root=root or data.root, split=split, **data.options)
    wanted = Degradation.of(dataset, experiment.scale, experiment.protocol)
    if wanted != method.degradation:
        raise ValueError(
            f"{run / WEIGHTS} was made for {method.degradation} ({method.degradation.protocol}), but its "
            f"folder is about {wanted} ({wanted.protocol})"
        )
    blanks = [
        baseline_record(method, dataset, split, name, run_name(run), experiment.run.seed)
        for name in ((protocol,) if protocol else method.protocols)
    ]
    size = measured_size(dataset, limit)
    missing = [blank for blank in blanks if not is_measured(path, blank, size, again=again)]
    missing = ranks.share(missing)
    if missing:  # all protocols shrink alike: one measurement serves those that are asked for
        progress = f"{method.name} x{experiment.scale}" if progress_bar else None
        measured = measure_hallucinator(
            method, dataset, batch_size=batch_size, limit=limit, progress=progress, ranks=ranks
        )
        if ranks.first:
            for blank in missing:
                write_measured(path, blank, measured)
    ranks.wait()
    return path
