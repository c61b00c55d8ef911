"""What the benchmarks share: options, interleaved timing, so that noise hits both sides alike, records."""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from agents.evaluation import device_in_words
from agents.records import provenance
from facehall_env.task import choose_device

RESULTS = Path(__file__).parent.parent / "results" / "benchmarks"
_PLACE = ("output", "name")  # options that say where a record goes, not what is measured


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with the option that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--output",
        type=Path,
        default=RESULTS,
        metavar="FOLDER",
        help="where the record goes; by default results/benchmarks, from which the page is rendered",
    )
    return parser


def at_least(least: int) -> Callable[[str], int]:
    """The type of an option that counts something."""

    def count(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text} is not a whole number from {least} on")
        return int(text)

    return count


def usable_device(text: str) -> str:
    """The type of an option that says where to compute."""
    try:
        return str(choose_device(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def interleave(
    functions: dict[str, Callable[[], Any]], rounds: int, warmup: int = 2
) -> dict[str, list[float]]:
    """Seconds of every call, the functions taking turns.

    Args:
        functions: By name what to time.
        rounds: Counted calls of each.
        warmup: Calls of each that are not counted.
    """
    for _ in range(warmup):
        for function in functions.values():
            function()
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(seconds: dict[str, list[float]], over: str, under: str) -> float:
    """Median of the ratios of neighbouring calls: slow drifts of the machine cancel."""
    return statistics.median(a / b for a, b in zip(seconds[over], seconds[under], strict=True))


@dataclass(frozen=True)
class RecordFile:
    """Where a record goes; `claim` makes them.

    Attributes:
        path: The JSON file; its name is the record's.
        settings: By name the options that the record depends on, JSON-able.
    """

    path: Path
    settings: dict[str, Any]

    def write(self, values: dict[str, Any], device: str = "cpu") -> None:
        """Print a result and keep it; the first of the values is the one that the page shows."""
        record = {
            "benchmark": self.path.stem,
            **values,
            "settings": self.settings,
            "device": device_in_words(torch.device(device)),
            **provenance(),
        }
        self.path.write_text(json.dumps(record, indent=2) + "\n")
        print(json.dumps(record, indent=2))


def claim(
    name: str, parser: argparse.ArgumentParser, options: argparse.Namespace, settings: Iterable[str] = ()
) -> RecordFile:
    """The file for what is going to be measured, unless a record of other settings lies there.

    To be called before anything is measured: it may take an hour, and a rehearsal is no reason to lose it.
    From then on cuDNN computes as in training, see `fix_cudnn`.

    Args:
        name: Of the record.
        parser: What the command line was read by.
        options: What it said.
        settings: Names of the options that the record depends on; by default all but those that say where
            it goes.

    Raises:
        SystemExit: If there is such a record, or no folder can be made for it; the parser says so.
    """
    fix_cudnn()
    names = settings or [key for key in vars(options) if key not in _PLACE]
    record = RecordFile(options.output / f"{name}.json", {key: getattr(options, key) for key in names})
    try:
        record.path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--output {options.output} cannot be a folder: {error}")
    if not record.path.exists():
        return record
    try:
        old = _settings(json.loads(record.path.read_text()), parser)
    except (OSError, ValueError, LookupError, TypeError, argparse.ArgumentError) as error:
        parser.error(
            f"{record.path} does not say with what settings it was measured ({error!r}): name another folder "
            "with --output, or remove the file if it is to be replaced"
        )
    differences = [
        f"{key} {known} there, {value} here"
        for key, value in record.settings.items()
        if (known := old.get(key, parser.get_default(key))) != value
    ]
    if differences:
        parser.error(
            f"{record.path} was measured with other settings ({'; '.join(differences)}): name another folder "
            "with --output, or remove the file if it is to be replaced"
        )
    return record


def fix_cudnn() -> None:
    """Compute on CUDA devices in one setting from the first measurement on.

    Building an agent makes cuDNN deterministic (Stable-Baselines3's seeding), so what is measured before is
    to be so too; and what records call float32 shall not be TF32, as in evaluate.py.
    """
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    torch.backends.cudnn.allow_tf32 = False


def _settings(record: dict[str, Any], parser: argparse.ArgumentParser) -> dict[str, Any]:
    """The options that a record was measured with.

    Older records hold no settings, but their command, which is read with the defaults of today.
    """
    if "settings" in record:
        return dict(record["settings"])
    _, words = record["command"].split(" -m ", 1)
    parser.exit_on_error = False  # what is wrong there is not what this command line says
    try:
        options, more = parser.parse_known_args(shlex.split(words)[1:])
    finally:
        parser.exit_on_error = True
    return {**vars(options), "more": more}  # what benchmarks.memory passes on
