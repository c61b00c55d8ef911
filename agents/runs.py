"""Run folders: what every training run writes down before it starts, and how it knows its folder again."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from stable_baselines3.common.logger import Logger, make_output_format

from agents.records import git_commit, package_versions
from agents.records.record import NAME

ENHANCER: Final = "enhancer.safetensors"
"""The enhancer's weights in the folder of a run of train_agent.py."""
BUDGET: Final = "budget.json"
"""What a run has cost; written last, so a folder that has it is that of a finished run."""


def run_name(folder: Path) -> str:
    """The name that records give a run: its folder's."""
    return folder.resolve().name


def check_run_name(folder: Path) -> None:
    """Refuse a run folder by whose name no record could be filed.

    Raises:
        ValueError: If it has other characters than a name of a record.
    """
    if not NAME.fullmatch(run_name(folder)):
        raise ValueError(
            f"run.folder ends in {run_name(folder)!r}, which records take for a name: letters, digits, '_', "
            "'+' and '-' only"
        )


def open_folder(folder: Path, resolved: str) -> Logger:
    """Write down what is run, by what, and start the logs.

    Args:
        folder: The run folder; made if need be.
        resolved: The whole configuration as YAML.

    Returns:
        Logs to CSV and TensorBoard; to be closed by the caller.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(resolved)
    with (folder / "commands.txt").open("a") as file:
        file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {git_commit()} {command()}\n")
    (folder / "versions.json").write_text(json.dumps(package_versions(), indent=2))
    # The CSV writer starts its file anew, so a run that goes on writes progress-2.csv and so on
    earlier = len(list(folder.glob("progress*.csv")))
    suffix = f"-{earlier + 1}" if earlier else ""
    return Logger(
        str(folder), [make_output_format(kind, str(folder), suffix) for kind in ("csv", "tensorboard")]
    )


def value_at(values: Mapping[str, Any], key: str) -> Any:
    """The value under a dotted key of a configuration, None if there is none."""
    found: Any = values
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def command() -> str:
    """The command that started this program, as one could type it again."""
    return shlex.join(["python", *sys.orig_argv[1:]])


def check_same(path: Path, resolved: str, free: Collection[str], fixed: Collection[str] = ()) -> None:
    """Refuse to mix two experiments in one folder.

    Args:
        path: The configuration in the folder; nothing is refused where there is none.
        resolved: The whole configuration of now, as YAML.
        free: Keys at its top that may change in between.
        fixed: Dotted keys below them that may not.

    Raises:
        ValueError: If another key differs.
    """
    if not path.is_file():
        return
    before, now = yaml.safe_load(path.read_text()), yaml.safe_load(resolved)
    differing = sorted(
        [name for name in set(before) | set(now) if name not in free and before.get(name) != now.get(name)]
        + [key for key in fixed if value_at(before, key) != value_at(now, key)]
    )
    if differing:
        raise ValueError(
            f"{path.parent} holds another experiment: its {', '.join(differing)} differ; choose another "
            "--run.folder, or delete the folder"
        )
