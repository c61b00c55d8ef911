"""Checkpoints on disk: written whole or not at all, read without pickle's powers, the newest few kept."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, cast

import torch


def write_atomically(state: dict[str, Any], path: Path) -> None:
    """Save a (nested) dictionary of tensors and plain values so that `path` is never half a file.

    Args:
        state: What `torch.load(weights_only=True)` can read back.
        path: The file; its folder must exist.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


class CheckpointFolder:
    """Numbered checkpoints in one folder, and the best one beside them.

    Args:
        folder: Made when the first checkpoint is written.
        keep: How many of the newest stay, at least one.

    Raises:
        ValueError: If nothing would be kept.
    """

    BEST = "best.pt"
    _NAME = re.compile(r"checkpoint-(\d{6})\.pt")
    _HALF = re.compile(r"\.(checkpoint-\d{6}|best)\.pt\.\d+")

    def __init__(self, folder: Path, keep: int = 2) -> None:
        if keep < 1:
            raise ValueError(f"keep is {keep}, but at least the newest checkpoint must stay")
        self.folder, self.keep = folder, keep

    def paths(self) -> list[Path]:
        """The checkpoints, oldest first."""
        if not self.folder.is_dir():
            return []
        return sorted(path for path in self.folder.iterdir() if self._NAME.fullmatch(path.name))

    def write(self, state: dict[str, Any]) -> Path:
        """Write the next checkpoint, then drop the oldest ones."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._clean()
        paths = self.paths()
        number = int(paths[-1].stem.rsplit("-", 1)[1]) + 1 if paths else 1
        path = self.folder / f"checkpoint-{number:06d}.pt"
        write_atomically(state, path)
        for old in (*paths, path)[: -self.keep]:
            old.unlink()
        return path

    def _clean(self) -> None:
        """Drop what a process that was killed while it wrote has left."""
        for path in self.folder.iterdir():
            if self._HALF.fullmatch(path.name):
                path.unlink(missing_ok=True)

    def read_newest(self) -> tuple[Path, dict[str, Any]] | None:
        """The newest checkpoint, or None where there is none.

        Raises:
            ValueError: If the file cannot be read; the message names it.
        """
        paths = self.paths()
        return (paths[-1], self._read(paths[-1], "go on from the checkpoint before it")) if paths else None

    def write_best(self, state: dict[str, Any]) -> None:
        """Replace the best checkpoint."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(state, self.folder / self.BEST)

    def read_best(self) -> dict[str, Any] | None:
        """The best checkpoint, or None where there is none.

        Raises:
            ValueError: If the file cannot be read; the message names it.
        """
        path = self.folder / self.BEST
        return self._read(path, "make the last state the result") if path.is_file() else None

    @staticmethod
    def _read(path: Path, without: str) -> dict[str, Any]:
        try:
            return cast("dict[str, Any]", torch.load(path, map_location="cpu", weights_only=True))
        except (OSError, MemoryError):  # the file may be in order
            raise
        except Exception as error:
            # PyTorch's own words advise to read it with pickle's powers, and here it is only damaged
            raise ValueError(f"{path} is damaged or no checkpoint; delete it to {without}") from error
