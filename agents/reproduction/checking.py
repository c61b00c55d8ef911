"""What is refused before a table trains anything: folders and files that would stop it after hours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agents.baselines.configuration import BaselineExperiment
from agents.baselines.contract import read_description
from agents.baselines.run import WEIGHTS, weight_file
from agents.configuration import Experiment
from agents.files import check_agent_file
from agents.reproduction.cells import Cell
from agents.runs import AGENT, BUDGET, CONFIGURATION, read_config, value_at
from facehall_env.enhancer import load_enhancer


def is_finished(cell: Cell, runs: Path) -> bool:
    """Whether the run that a number needs has been done; bicubic needs none."""
    if cell.row.kind == "input":
        return True
    result = AGENT if cell.row.kind == "agent" else WEIGHTS
    folder = cell.folder(runs)
    return all((folder / name).is_file() for name in (CONFIGURATION, result, BUDGET))


def check_finished(cell: Cell, runs: Path, split: str) -> None:
    """Refuse a finished run of something else, or with broken weights; how long it learned is its own affair.

    Raises:
        ValueError: If it is; the message names it.
    """
    folder = cell.folder(runs)
    found = read_config(folder)
    wanted: dict[str, Any] = {"run.seed": cell.seed}
    if cell.row.kind == "agent":
        wanted |= {"name": cell.row.method, "env.id": cell.env_id, "env.protocol": cell.protocol}
    else:
        wanted |= {"method": cell.row.method, "scale": cell.scale, "data.name": cell.dataset}
        wanted |= {} if cell.serves_both else {"protocol": cell.protocol}
    for key, value in wanted.items():
        if value_at(found, key) != value:
            raise ValueError(
                f"{folder} is to hold the run of {cell}, but its {key} is {value_at(found, key)!r}: move "
                "that folder away, or choose another --runs"
            )
    if cell.row.kind == "agent":
        check_agent_file(folder / AGENT)
        return
    check_split(cell, value_at(found, "data.split"), split)
    if (method := read_description(folder / WEIGHTS)["method"]) != cell.row.method:
        raise ValueError(
            f"{folder / WEIGHTS} is to hold {cell.row.method}, but it holds {method}: move that folder away, "
            "or choose another --runs"
        )


def check_origins(experiment: Experiment | BaselineExperiment, started: bool) -> None:
    """Refuse a run whose weights to start from are not there, or broken.

    Args:
        experiment: The run.
        started: Whether another run of the same table makes what it starts from.

    Raises:
        FileNotFoundError, ValueError: If so; the message names the file.
    """
    if isinstance(experiment, BaselineExperiment):
        if experiment.start_from is not None and not started:
            read_description(weight_file(experiment.start_from))
        return
    if experiment.start_from is not None and not started:
        check_agent_file(experiment.start_from)
    if experiment.enhancer.weights is not None:
        load_enhancer(experiment.enhancer.weights)
    if experiment.enhancer.prior is not None:
        read_description(weight_file(experiment.enhancer.prior))


def check_split(cell: Cell, learned: str, measured: str) -> None:
    """Refuse to measure a method on validation faces that it has learned from.

    Raises:
        ValueError: If it would be.
    """
    if learned == "trainval" and measured == "val":
        raise ValueError(
            f"{cell} learns from all training faces, those of the validation split among them: measure "
            "another split, leave the row out, or give it data.split: train by --overrides and other --runs"
        )
