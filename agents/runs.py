"""Run folders: what every training run writes down before it starts, and how it knows its folder again."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import yaml
from stable_baselines3.common.logger import Logger, make_output_format

from agents.records import git_commit, package_versions
from agents.records.files import locked, write_atomically
from agents.records.record import NAME

AGENT: Final = "agent.zip"
"""The agent in the folder of a run of train_agent.py."""
BUDGET: Final = "budget.json"
"""What a run has cost; written last, so a folder that has it is that of a finished run."""
CONFIGURATION: Final = "config.yaml"
"""The whole configuration of a run, defaults and all."""
COMMANDS: Final = "commands.txt"
"""Every command that trained in the folder; locked by the one that does."""
_SEED: Final = "run.seed"
_SHOWN: Final = 4


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


@contextmanager
def hold_folder(folder: Path, resolved: str, free: Collection[str]) -> Iterator[None]:
    """Have a run folder to oneself, for the experiment that it is about.

    Args:
        folder: The run folder; made if need be.
        resolved: The whole configuration as YAML.
        free: As for `check_same`, which is asked again: another process may have trained there since.

    Raises:
        ValueError: If the folder cannot be made, another process trains in it, or it holds another
            experiment; nothing was changed in it.
    """
    commands = folder / COMMANDS  # never replaced, so that there is one to lock
    try:
        folder.mkdir(parents=True, exist_ok=True)
        commands.touch()
    except OSError as error:
        raise ValueError(f"{folder} cannot be written ({error}): choose another --run.folder") from error
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(commands, wait=False))
        except BlockingIOError as error:
            raise ValueError(
                f"another process trains in {folder}: wait until it has ended, or choose another --run.folder"
            ) from error
        check_same(folder, resolved, free)
        yield


@contextmanager
def open_folder(folder: Path, resolved: str) -> Iterator[Logger]:
    """Write down in a folder that is held what is run, by what, and start the logs.

    Args:
        folder: The run folder.
        resolved: The whole configuration as YAML.

    Yields:
        Logs to CSV and TensorBoard.

    Raises:
        ValueError: If something cannot be written.
    """
    try:
        write_atomically(folder / CONFIGURATION, resolved)
        with (folder / COMMANDS).open("a") as file:
            file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {git_commit()} {command()}\n")
        write_atomically(folder / "versions.json", json.dumps(package_versions(), indent=2))
        # The CSV writer starts its file anew, so a run that goes on writes progress-2.csv and so on
        earlier = len(list(folder.glob("progress*.csv")))
        suffix = f"-{earlier + 1}" if earlier else ""
        formats = [make_output_format(kind, str(folder), suffix) for kind in ("csv", "tensorboard")]
    except OSError as error:
        raise ValueError(f"{folder} cannot be written ({error}): choose another --run.folder") from error
    logger = Logger(str(folder), formats)
    try:
        yield logger
    finally:
        logger.close()


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration that was written into a run folder.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is no configuration; the message names the file.
    """
    try:
        return read_yaml(folder / CONFIGURATION)
    except ValueError as error:
        raise ValueError(f"{error}: delete the folder and train anew, or put the file back") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """A configuration file, not checked any further.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it holds something else; the message names the file.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no YAML ({' '.join(str(error).split())})") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} is empty or no configuration")
    return values


def value_at(values: Mapping[str, Any], key: str) -> Any:
    """The value under a dotted key of a configuration, None if there is none."""
    found: Any = values
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def command() -> str:
    """The command that started this program, as one could type it again."""
    return shlex.join(["python", *sys.orig_argv[1:]])


def check_same(folder: Path, resolved: str, free: Collection[str]) -> None:
    """Refuse to mix two experiments in one folder.

    Args:
        folder: The run folder; nothing is refused where it has no configuration.
        resolved: The whole configuration of now, as YAML.
        free: Dotted keys that may change in between, with all below them but the seed.

    Raises:
        ValueError: If another key differs; the message names it and both values.
    """
    if not (folder / CONFIGURATION).is_file():
        return
    before, now = dict(_leaves(read_config(folder))), dict(_leaves(yaml.safe_load(resolved)))
    differing = [
        f"{key} is {before.get(key)!r} there and {now.get(key)!r} here"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key) and (key == _SEED or not _lies_in(key, free))
    ]
    if differing:
        shown = "; ".join(differing[:_SHOWN])
        more = f"; and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
        raise ValueError(
            f"{folder} holds another experiment: {shown}{more}. Choose another --run.folder, or delete that "
            "one"
        )


def _leaves(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """The values of a configuration under their dotted keys."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _lies_in(key: str, places: Collection[str]) -> bool:
    return any(key == place or key.startswith(f"{place}.") for place in places)
