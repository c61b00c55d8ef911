"""Which weights there are: beside this file, and where the environment variable FACEHALL_WEIGHTS says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from facehall_env.pretrained.folder import CONFIG, PretrainedWeights, WeightsTask, read_weights

PACKAGED: Final = Path(__file__).parent
"""The folders of weights that come with the package lie beside this file."""
SEARCH_VARIABLE: Final = "FACEHALL_WEIGHTS"
"""Folders that hold folders of weights, with the operating system's separator of paths between them."""


def search_path() -> list[Path]:
    """Where weights are looked for: the folders that ``FACEHALL_WEIGHTS`` names, then the package.

    Raises:
        FileNotFoundError: If the variable names a folder that is not there.
        ValueError: If it names a folder of weights and not the one around it.
    """
    named = [Path(part) for part in os.environ.get(SEARCH_VARIABLE, "").split(os.pathsep) if part]
    for folder in named:
        if not folder.is_dir():
            raise FileNotFoundError(f"{SEARCH_VARIABLE} names {folder}, but there is no such folder")
        if (folder / CONFIG).is_file():
            raise ValueError(
                f"{SEARCH_VARIABLE} names {folder}, a folder of weights itself: name the one that it lies "
                f"in, {folder.resolve().parent}"
            )
    return [*named, PACKAGED]


def available_weights() -> dict[str, PretrainedWeights]:
    """All weights that can be named, in the order in which they are looked for.

    A name that is found twice is that of the first. Within a folder the order is alphabetical.

    Raises:
        FileNotFoundError, ValueError: As `search_path`.
        ValueError: If a folder of weights does not say what it should.
    """
    found: dict[str, PretrainedWeights] = {}
    for place in search_path():
        for folder in sorted(place.iterdir()):
            if folder.name not in found and (folder / CONFIG).is_file():
                found[folder.name] = read_weights(folder)
    return found


def weights_for(task: WeightsTask) -> PretrainedWeights | None:
    """The weights that were trained for exactly this task; None where there are none.

    Of several the first: those of ``FACEHALL_WEIGHTS`` before the package's, then by name.

    Raises:
        FileNotFoundError, ValueError: As `available_weights`.
    """
    return next((weights for weights in available_weights().values() if weights.task == task), None)


def listed() -> str:
    """The names of all weights with their tasks, for messages."""
    there = [f"{name} ({weights.task})" for name, weights in available_weights().items()]
    return "; ".join(there) or "none"
