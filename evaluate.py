"""Measure a run (``python evaluate.py measure --run runs/demo``), watch it, or make the paper's tables.

Several processes share a measurement under ``torchrun``, on one machine or on several.
"""

from __future__ import annotations

import json
import sys
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
from jsonargparse import auto_cli

from agents.distributed import end, join, leave, refuse_several
from agents.divergence import DivergenceError
from agents.evaluation import Method
from agents.measurement import Measurement, measure_baseline, measure_bicubic
from agents.records import load_records, make_table
from agents.reproduction.figures import FigureRequest, draw_figure
from agents.reproduction.latency import LatencyRequest, make_latency_table
from agents.reproduction.rendering import missing_commands
from agents.reproduction.request import Request
from agents.reproduction.tables import make_table as reproduce
from agents.visualisation.rollout import Rollout, draw_rollout
from agents.weights_measurement import LOOKERS, measure_weights
from facehall_env.datasets import load_dataset
from facehall_env.resample import PROTOCOLS, ProtocolName


def measure(
    run: Path,
    split: str = "test",
    protocols: tuple[ProtocolName, ...] = (),
    methods: tuple[Method, ...] = (),
    records: Path | None = None,
    batch_size: int = 64,
    limit: int | None = None,
    faces: int = 6,
    seed: int | None = None,
    again: bool = False,
    root: str | None = None,
    self_ensemble: bool = False,
    progress_bar: bool = True,
) -> None:
    """Measure bicubic, the scripted agents and the trained one; write records, a table and pictures.

    Args:
        run: The run folder that train_agent.py wrote.
        split: train, val or test.
        protocols: aligned, torch7 or both; by default the one that the run was trained on.
        methods: What to measure; by default all of these, or of an ablation the variant itself.
        records: The JSON file to update, with a CSV an image beside it; by default in the run folder.
        batch_size: Faces side by side.
        limit: Measure only the first faces of the split.
        faces: How many faces, evenly spread, the picture grid shows.
        seed: Of the random locations; by default that of the training.
        again: Also measure what the records file has of this run already.
        root: Where the pictures lie, if elsewhere than in training.
        self_ensemble: Also hallucinate the mirrored face, mirror the result back and take the mean; the
            records' mode then ends in "mirror".
        progress_bar: Show one.
    """
    ranks = join()
    measurement = Measurement(
        run,
        split,
        records=records,
        root=root,
        batch_size=batch_size,
        limit=limit,
        seed=seed,
        self_ensemble=self_ensemble,
        ranks=ranks,
    )
    for protocol in protocols or (measurement.trained_protocol,):
        measurement.measure(protocol, methods, faces=faces, again=again, progress_bar=progress_bar)
        if ranks.first:
            print(measurement.table(protocol).markdown())
            print(f"pictures: {measurement.picture_path(protocol)}")
    if ranks.first:
        print(f"records: {measurement.records_path}")


def bicubic(
    dataset: str,
    records: Path,
    root: str | None = None,
    split: str = "test",
    scales: tuple[int, ...] = (4, 8),
    protocols: tuple[ProtocolName, ...] = PROTOCOLS,
    limit: int | None = None,
    progress_bar: bool = True,
) -> None:
    """Measure the enlarged input itself: what every method starts from.

    Args:
        dataset: lfw, bioid, folder or synthetic.
        records: The JSON file to update, with a CSV an image beside it.
        root: Where the pictures lie.
        split: train, val or test.
        scales: 4, 8 or both.
        protocols: aligned, torch7 or both.
        limit: Measure only the first faces of the split.
        progress_bar: Show one.
    """
    ranks = join()
    faces = load_dataset(dataset, root=root, split=split)
    for scale in scales:
        for protocol in protocols:
            measure_bicubic(
                faces, split, scale, protocol, records, limit=limit, progress_bar=progress_bar, ranks=ranks
            )
    if not ranks.first:
        return
    print(make_table(load_records(records), split=split).markdown())


def baseline(
    run: Path,
    protocol: ProtocolName | None = None,
    split: str = "test",
    records: Path | None = None,
    root: str | None = None,
    batch_size: int = 64,
    limit: int | None = None,
    again: bool = False,
    device: str = "auto",
    progress_bar: bool = True,
) -> None:
    """Measure a method that python -m agents.baselines trained; write its records and a table.

    Args:
        run: The run folder.
        protocol: aligned or torch7; by default the one that the method was trained on, or both where its
            answer depends on neither.
        split: train, val or test.
        records: The JSON file to update, with a CSV an image beside it; by default in the run folder.
        root: Where the pictures lie, if elsewhere than in training.
        batch_size: Faces side by side.
        limit: Measure only the first faces of the split.
        again: Also measure what the records file has already.
        device: Where to compute.
        progress_bar: Show one.
    """
    ranks = join()
    path = measure_baseline(
        run,
        protocol,
        split=split,
        records=records,
        root=root,
        batch_size=batch_size,
        limit=limit,
        again=again,
        device=device,
        progress_bar=progress_bar,
        ranks=ranks,
    )
    if not ranks.first:
        return
    print(make_table(load_records(path), split=split).markdown())
    print(f"records: {path}")


def weights(
    name: str,
    records: Path,
    methods: tuple[Method, ...] = LOOKERS,
    root: str | None = None,
    data: dict[str, Any] | None = None,
    split: str = "test",
    batch_size: int = 64,
    limit: int | None = None,
    seed: int = 0,
    self_ensemble: bool = False,
    again: bool = False,
    device: str = "auto",
    progress_bar: bool = True,
) -> None:
    """Measure pretrained weights by name, as they are stored; write records and a table.

    Args:
        name: A name such as lfw-x8, a folder of weights, or owner/name on the Hugging Face Hub.
        records: The JSON file to update, with a CSV an image beside it.
        methods: Who looks, with the enhancer of the weights.
        root: Where the pictures lie.
        data: More options of the data set, by name.
        split: train, val or test.
        batch_size: Faces side by side.
        limit: Measure only the first faces of the split.
        seed: Of random locations.
        self_ensemble: Also hallucinate the mirrored face, mirror the result back and take the mean; the
            records' mode says so.
        again: Also measure what the records file has already.
        device: Where to compute.
        progress_bar: Show one.
    """
    ranks = join()
    measure_weights(
        name,
        records,
        methods,
        root=root,
        data=data,
        split=split,
        batch_size=batch_size,
        limit=limit,
        seed=seed,
        self_ensemble=self_ensemble,
        again=again,
        device=device,
        progress_bar=progress_bar,
        ranks=ranks,
    )
    if not ranks.first:
        return
    print(make_table(load_records(records), split=split).markdown())
    print(f"records: {records}")


def rollout(
    agent: str,
    output: Path,
    env_id: str | None = None,
    episodes: int = 5,
    faces: tuple[int, ...] = (),
    split: str = "test",
    root: str | None = None,
    enhancer: str | None = None,
    deterministic: bool = True,
    seed: int = 0,
    env: dict[str, Any] | None = None,
    wrappers: dict[str, dict[str, Any]] | None = None,
    summary_faces: int = 256,
    batch_size: int = 32,
    fps: float = 2.0,
    progress_bar: bool = True,
) -> None:
    """Watch an agent: film strips, videos, curves, where it looks, and a page to step through episodes.

    Args:
        agent: random_patch, raster_scan or greedy_oracle; a run folder or an agent file that train_agent.py
            wrote; the name of pretrained weights, as synthetic-x4; or a zip of PPO, A2C, RecurrentPPO or
            MaskablePPO. The latter hold pickled objects, which can run any code when they are loaded: open
            only files that you trust.
        output: The folder to write to.
        env_id: The environment, such as FaceHallucination-Synthetic-x4; by default that of the run folder or
            of the weights.
        episodes: How many faces, evenly spread over the split.
        faces: Indices of the faces instead.
        split: train, val or test.
        root: Where the pictures lie, if not where the run found them.
        enhancer: pretrained or the name of pretrained weights, a preset, a weight file or a run folder; by
            default the agent's own, or the identity for agents that have none.
        deterministic: Take the most likely place; false: draw one.
        seed: Of the draws.
        env: More arguments of the environment, as {protocol: torch7}; a run folder's are known.
        wrappers: Wrappers that a Stable-Baselines3 agent was trained in, from the inside out, with their
            arguments, as {StrideGridLocation: {stride: 4}}.
        summary_faces: How many faces the picture of where it looks is made of; 0 for none.
        batch_size: Episodes side by side.
        fps: Frames a second of the videos.
        progress_bar: Show one.
    """
    refuse_several("rollout")
    watched = Rollout(agent, env_id, split, root, enhancer, deterministic, seed, env or {}, wrappers or {})
    traces = draw_rollout(
        watched,
        output,
        episodes=episodes,
        faces=faces,
        summary_faces=summary_faces,
        batch_size=batch_size,
        fps=fps,
        progress_bar=progress_bar,
    )
    for trace in traces:
        print(
            f"face {trace.index}: {trace.psnr[0]:.2f} dB -> {trace.psnr[-1]:.2f} dB, "
            f"covered {trace.coverage[-1]:.0%}"
        )
    print(f"step through them: {output / 'index.html'}")


def table1(**options: Any) -> None:
    """Table 1 of the paper, LFW or BioID: trains and measures what is missing, row by row."""
    _print_table(Request("table1", **options))


def table2(**options: Any) -> None:
    """Table 2 of the paper, the number of steps: trains and measures what is missing, row by row."""
    _print_table(Request("table2", **options))


def table3(**options: Any) -> None:
    """Table 3 of the paper, the ablations: trains and measures what is missing, row by row."""
    _print_table(Request("table3", **options))


def table4(**options: Any) -> None:
    """Table 4 of the paper, the time for one face: times what was not timed on this device, row by row."""
    refuse_several("table4")
    request = LatencyRequest(**options)
    print(make_latency_table(request))
    print(f"tables: {request.folder / 'table4'}.md, .tex")


def figure3(**options: Any) -> None:
    """Figure 3 of the paper, the systems on some faces: trains what is missing and draws."""
    _print_figure(FigureRequest("figure3", **options))


def figure5(**options: Any) -> None:
    """Figure 5 of the paper, episodes of the policy: trains what is missing and draws."""
    _print_figure(FigureRequest("figure5", **options))


def _print_figure(request: FigureRequest) -> None:
    refuse_several(request.table)
    pictures, missing = draw_figure(request)
    for path in pictures:
        print(f"picture: {path}")
    print(missing_commands(request, missing), end="")


def _print_table(request: Request) -> None:
    refuse_several(request.table)
    print(reproduce(request).markdown())
    print(f"tables: {request.folder / request.table}.md, .tex")


_LISTS = ("--scales", "--protocols", "--methods", "--rows")
_READING = ("table", "figure")
"""How the commands begin that read several files of records; the others write one."""


def _written_out(words: list[str]) -> list[str]:
    """The command line in the one spelling that the parser reads.

    ``--env-id`` becomes ``--env_id``, an option without a value ``--quick=true``, and the values of an option
    that takes several, ``--scales 4 8``, a list.
    """
    written, rest = [], list(words)
    lists = _LISTS
    if words and words[0].startswith(_READING):
        lists = (*_LISTS, "--records")
    elif words and words[0] == "rollout":
        lists = (*_LISTS, "--faces")
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if not name.startswith("--") or name == "--help":
            written.append(name + equals + value)
            continue
        option = "--" + name[2:].replace("-", "_")
        values = [value] if equals else list(takewhile(lambda word: not word.startswith("--"), rest))
        rest = rest if equals else rest[len(values) :]
        if not values:
            written.append(f"{option}=true")
        elif option in lists and not values[0].startswith("["):
            items = [int(word) if word.isdecimal() else word for word in values]
            written.append(f"{option}={json.dumps(items)}")
        else:
            written += [f"{option}={values[0]}", *values[1:]]
    return written


def main() -> int:
    """Run the sub-command that was asked for."""
    # Convolutions would round to TF32 on CUDA devices; what a record calls float32 shall be that
    torch.backends.cudnn.allow_tf32 = False
    try:
        makers = {"table1": table1, "table2": table2, "table3": table3, "table4": table4}
        makers |= {"figure3": figure3, "figure5": figure5}
        commands = {
            "measure": measure,
            "baseline": baseline,
            "bicubic": bicubic,
            "weights": weights,
            "rollout": rollout,
            **makers,
        }
        auto_cli(commands, args=_written_out(sys.argv[1:]), prog="evaluate.py", as_positional=False)
    except (ValueError, OSError, ImportError, DivergenceError) as error:
        print(f"evaluate.py: {error}", file=sys.stderr)
        return 2
    finally:
        leave()
    return 0


if __name__ == "__main__":
    end(main())
