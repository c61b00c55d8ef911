"""Measuring agents on a whole split: walk the same core, measure the pictures, keep every image's value."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from agents.baselines.contract import Hallucinator
from agents.distributed import ALONE, Ranks
from agents.faces import face_batch
from agents.planning import PlannedScan
from agents.reinforce import RecurrentReinforce
from agents.rollout import PolicyAgent, Recorder, distinct_places, walk
from agents.runs import BUDGET
from agents.scripted import CoreAgent, GreedyOracle, RandomPatch, RasterScan
from facehall_env.arguments import whole
from facehall_env.core import HallucinationCore, to_uint8, to_unit, wait_for
from facehall_env.datasets import FaceDataset
from facehall_env.metrics import measure

Method = Literal[
    "bicubic",
    "random_patch",
    "raster_scan",
    "planned_scan",
    "greedy_oracle",
    "attention_fh",
    "attention_fh_sampled",
]
METHODS: Final[tuple[Method, ...]] = get_args(Method)


@dataclass
class Measured:
    """One method on one split.

    Attributes:
        columns: One value an image: index, id (see `published_id`), psnr, psnr_y, ssim, fsim, and of agents
            coverage and distinct_places.
        seconds_per_image: Wall-clock time of an image on one process, without reading and measuring it.
        pictures: The results for the faces that were asked for, uint8, (n, H, W, C).
    """

    columns: dict[str, list[Any]] = field(default_factory=dict)
    seconds_per_image: float = 0.0
    pictures: list[NDArray[np.uint8]] = field(default_factory=list)

    def add(self, **values: Sequence[Any]) -> None:
        """Append the values of a batch."""
        for name, column in values.items():
            self.columns.setdefault(name, []).extend(column)


def make_agent(method: Method, agent: RecurrentReinforce | None, seed: int) -> CoreAgent | None:
    """Who chooses the locations in a method; None where nobody does.

    Args:
        method: One of `METHODS`.
        agent: The trained agent, for the methods that need one.
        seed: Of random choices.

    Raises:
        ValueError: If the method needs a trained agent, or one that was taught a plan, and there is none.
    """
    if method == "bicubic":
        return None
    if method == "random_patch":
        return RandomPatch(seed)
    if method == "raster_scan":
        return RasterScan()
    if method == "greedy_oracle":
        return GreedyOracle()
    if agent is None:
        raise ValueError(f"{method} needs a trained agent")
    if method == "planned_scan":
        if agent.plan is None:
            raise ValueError(
                "planned_scan walks the scan that was planned for the agent's warm start, but this agent had "
                "none: train one with imitation_teacher 'plan'"
            )
        return PlannedScan(agent.policy.location(torch.tensor(agent.plan)).tolist())
    generator = torch.Generator(agent.device).manual_seed(seed)
    return PolicyAgent(agent.policy, deterministic=method == "attention_fh", generator=generator)


def measure_split(
    core: HallucinationCore,
    dataset: FaceDataset,
    chooser: CoreAgent | None,
    *,
    batch_size: int = 64,
    limit: int | None = None,
    keep: Sequence[int] = (),
    self_ensemble: bool = False,
    progress: str | None = None,
    ranks: Ranks = ALONE,
) -> Measured:
    """Run one episode a face, every face once, and measure I_T.

    The draws of a batch come from the chooser's seed and the batch's first face, and processes take whole
    batches, so several of them find the very values that one does.

    Args:
        core: Where the episodes run, with the enhancer to be measured.
        dataset: The split.
        chooser: Who chooses the locations; None measures I_0.
        batch_size: Faces side by side.
        limit: Only the first faces.
        keep: Indices of the faces whose pictures are kept.
        self_ensemble: Run a second episode on the mirrored face, mirror its result back and take the mean of
            both pictures; also of their coverages and numbers of places.
        progress: Text of a progress bar; None for none.
        ranks: The processes that share the faces.

    Returns:
        The values of every image, in all processes.
    """
    generator: torch.Generator | None = getattr(chooser, "generator", None)
    seed = 0 if generator is None else generator.initial_seed()

    def run(faces: Tensor, first: int) -> tuple[Tensor, dict[str, list[Any]]]:
        if chooser is None:
            core.reset(faces)
            return to_unit(core.current), {}
        if generator is not None:
            generator.manual_seed(seed + first)
        plain, looked = episodes(chooser, faces)
        if self_ensemble:
            mirrored, looked_there = episodes(chooser, faces.flip(3))
            plain, looked = 0.5 * (plain + mirrored.flip(3)), 0.5 * (looked + looked_there)
        return plain, dict(zip(("coverage", "distinct_places"), looked.tolist(), strict=True))

    def episodes(chooser: CoreAgent, faces: Tensor) -> tuple[Tensor, Tensor]:
        recorder = Recorder(chooser)
        walk(core, recorder, faces)
        places = distinct_places(torch.stack(recorder.locations), core.shape[2])
        return to_unit(core.current), torch.stack((core.coverage.double(), places.double()))

    return _measure_answers(dataset, run, batch_size, limit, keep, progress, ranks)


def measure_hallucinator(
    method: Hallucinator,
    dataset: FaceDataset,
    *,
    batch_size: int = 64,
    limit: int | None = None,
    keep: Sequence[int] = (),
    progress: str | None = None,
    ranks: Ranks = ALONE,
) -> Measured:
    """Shrink every face, let the method enlarge it, and measure what comes out.

    Args:
        method: A trained method.
        dataset: The split, of the shape the method was made for.
        batch_size: Faces side by side.
        limit: Only the first faces.
        keep: Indices of the faces whose pictures are kept.
        progress: Text of a progress bar; None for none.
        ranks: The processes that share the faces.

    Returns:
        The values of every image, in all processes.
    """

    def run(faces: Tensor, first: int) -> tuple[Tensor, dict[str, list[Any]]]:
        high = faces.to(method.device, torch.float32) / 255.0
        return method.hallucinate(method.resampler.shrink(high)), {}

    return _measure_answers(dataset, run, batch_size, limit, keep, progress, ranks)


def measured_size(dataset: FaceDataset, limit: int | None) -> int:
    """How many faces of a split are measured.

    Raises:
        ValueError: If the limit is no whole number from 1 on.
    """
    if limit is not None:
        whole("limit", limit)
    return min(len(dataset), limit or len(dataset))


def _measure_answers(
    dataset: FaceDataset,
    run: Callable[[Tensor, int], tuple[Tensor, dict[str, list[Any]]]],
    batch_size: int,
    limit: int | None,
    keep: Sequence[int],
    progress: str | None,
    ranks: Ranks,
) -> Measured:
    """Measure what becomes of every face.

    Args:
        dataset: The split.
        run: From faces, uint8, (N, C, H, W), and the index of the first, to pictures in [0, 1] of the same
            shape, and further columns.
        batch_size: Faces side by side.
        limit: Only the first faces.
        keep: Indices of the faces whose pictures are kept.
        progress: Text of a progress bar; None for none.
        ranks: The processes that share the batches.
    """
    whole("batch_size", batch_size)
    size = measured_size(dataset, limit)
    shown: list[tuple[int, NDArray[np.uint8]]] = []
    result, seconds = Measured(), 0.0
    for indices in _batches(size, batch_size, progress if ranks.first else None, ranks):
        faces = face_batch(dataset, indices)
        started = time.perf_counter()
        pictures, further = run(faces, indices[0])
        wait_for(pictures.device)
        seconds += time.perf_counter() - started
        values = measure(pictures, faces.to(pictures.device))
        result.add(
            index=list(indices),
            id=[published_id(dataset.id(i)) for i in indices],
            **{name: column.tolist() for name, column in values.items()},
            **further,
        )
        if kept := [i for i in keep if i in indices]:
            rounded = to_uint8(2.0 * pictures[[i - indices[0] for i in kept]] - 1.0)
            shown += zip(kept, rounded.cpu().numpy(), strict=True)
    return _merged(ranks.gather((result.columns, seconds, shown)), size)


def _merged(parts: list[tuple[dict[str, list[Any]], float, list[Any]]], size: int) -> Measured:
    """What all processes measured, in the order of the faces."""
    columns: dict[str, list[Any]] = {}
    for part, _, _ in parts:
        for name, column in part.items():
            columns.setdefault(name, []).extend(column)
    order = np.argsort(columns["index"])
    pictures = sorted((picture for _, _, shown in parts for picture in shown), key=lambda shown: shown[0])
    return Measured(
        {name: [column[i] for i in order] for name, column in columns.items()},
        sum(seconds for _, seconds, _ in parts) / size,
        [picture for _, picture in pictures],
    )


def published_id(name: str) -> str:
    """A name of a picture for records that anybody may read: twelve hexadecimal digits of its SHA-256.

    The names of LFW's pictures are those of people, and not ours to hand on; who has the data finds the
    picture by its index, or by hashing its name.
    """
    return hashlib.sha256(name.encode()).hexdigest()[:12]


def _batches(size: int, batch_size: int, progress: str | None, ranks: Ranks) -> Iterator[range]:
    """This process's batches, dealt out in turn; as many faces in each as one process would have."""
    batches = [range(start, min(size, start + batch_size)) for start in range(0, size, batch_size)]
    own = batches[ranks.rank :: ranks.size]
    total = sum(map(len, own))
    with tqdm(total=total, desc=progress, unit="face", disable=progress is None, dynamic_ncols=True) as bar:
        for indices in own:
            yield indices
            bar.update(len(indices))


_WHERE: Final = {
    "random": "at random",
    "raster": "along a raster scan",
    "oracle": "where the greedy oracle looks",
}


def budget_in_words(folder: Path) -> str:
    """What a run folder's networks were trained on and for how long, as a table can say it.

    Raises:
        ValueError: If the file that says so is broken; the message names it.
    """
    path = folder / BUDGET
    if not path.is_file():
        return "unknown"
    try:
        return _words_of(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} does not say what the run has cost ({error!r}): delete it and give the training's "
            "command again, which writes it anew"
        ) from error


def _words_of(budget: Mapping[str, Any]) -> str:
    minutes = sum(budget["seconds"].values()) / 60.0
    parts = [
        f"{budget['pretraining_patches']:,} patches {_WHERE[budget.get('pretraining_chooser', 'random')]}",
        f"{budget['imitation_episodes']:,} episodes imitating",
        f"{budget['reinforcement_episodes']:,} of REINFORCE",
    ]
    start = f" after {budget['start_from']}" if budget["start_from"] else ""
    prior = f" over the prior {budget['prior']}" if budget.get("prior") else ""
    where = f"{minutes:.0f} min on {budget['device']} in {budget['precision']}"
    return f"{'; '.join(parts)}; {where}{start}{prior}"


def only_pretrained(budget: str, chooser: str) -> bool:
    """Whether `budget_in_words` speaks of an enhancer that learned from this chooser, and of no policy."""
    return f" patches {_WHERE[chooser]}; 0 episodes imitating; 0 of REINFORCE;" in budget


def device_in_words(device: torch.device) -> str:
    """The processor's name, and how many threads compute where it is a CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    return f"{name}, {torch.get_num_threads()} threads"
