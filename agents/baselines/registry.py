"""Methods by the names of the records; a module is imported only when its method is asked for."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Final

import torch

from agents.baselines.contract import Degradation, Hallucinator, read_description

HALLUCINATORS: Final[dict[str, str]] = {
    "bicubic": "agents.baselines.bicubic:Bicubic",
    "sfh": "agents.baselines.sfh:SFH",
    "mzq": "agents.baselines.mzq:MZQ",
    "srcnn": "agents.baselines.srcnn:SRCNN",
    "vdsr": "agents.baselines.vdsr:VDSR",
    "cnn16": "agents.baselines.vdsr:CNN16",
    "gln": "agents.baselines.gln:GLN",
    "bccnn": "agents.baselines.bccnn:BCCNN",
    "edsr": "agents.baselines.edsr:EDSR",
    "spatial_transformer": "agents.baselines.spatial_transformer:SpatialTransformer",
    "attention_fh": "agents.baselines.looking:Looking",
    "random_patch": "agents.baselines.looking:Looking",
    "raster_scan": "agents.baselines.looking:Looking",
}
"""Name -> module and class."""


def hallucinator_class(name: str) -> type[Hallucinator]:
    """The class of a method.

    Raises:
        ValueError: If there is no such method.
    """
    if name not in HALLUCINATORS:
        raise ValueError(f"there is no method {name!r}; the methods are {', '.join(HALLUCINATORS)}")
    module, kind = HALLUCINATORS[name].split(":")
    found: type[Hallucinator] = getattr(import_module(module), kind)
    return found


def make_hallucinator(name: str, degradation: Degradation, **settings: Any) -> Hallucinator:
    """A method that has not learned yet.

    Args:
        name: Its name in records, a key of `HALLUCINATORS`.
        degradation: What it is made for.
        **settings: Of its constructor.

    Raises:
        ValueError: If there is no such method or setting, or a setting is out of range.
    """
    kind = hallucinator_class(name)
    try:
        return kind(degradation, **settings)
    except TypeError as error:  # Python's own words name the argument
        raise ValueError(f"{name} cannot be made: {error}") from error


def load_hallucinator(path: str | Path, device: torch.device | str = "cpu") -> Hallucinator:
    """Read a trained method, whichever it is.

    Args:
        path: What `Hallucinator.save` wrote.
        device: Where to put it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is cut off, of another kind, or does not fit its own description.
    """
    path = Path(path)
    return hallucinator_class(str(read_description(path)["method"])).load(path, device)
