"""Reading files of weights: safetensors whose header says what they are."""

from __future__ import annotations

from pathlib import Path

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
    """All tensors of a file whose header was read, by name, on the CPU."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
