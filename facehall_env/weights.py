"""Reading files of weights: safetensors whose header says what they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor


def read_header(path: Path, kind: str, missing: str) -> dict[str, str]:
    """The words in the header of a file of weights, which is not read any further.

    Args:
        path: The file.
        kind: What its header must say under ``kind``.
        missing: What to say where there is no such file.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is cut off or of another kind.
    """
    if not path.is_file():
        raise FileNotFoundError(missing)
    try:
        with safe_open(path, framework="pt") as file:
            header: dict[str, str] = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file, or it is cut off: {error}") from error
    if header.get("kind") != kind:
        raise ValueError(f"{path} holds {header.get('kind', 'unlabelled weights')!r}, not a {kind!r}")
    return header


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a file whose header was read, by name, on the CPU.

    Raises:
        ValueError: As `check_finite`.
    """
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
    check_finite(path, tensors)
    return tensors


def check_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse weights of which nothing but NaN would come.

    Raises:
        ValueError: If a value is infinite or NaN; the message names file and tensor.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ValueError(
                f"{path} is of no use: {name} in it has values that are not finite; take an earlier state of "
                "that training, or other weights"
            )
