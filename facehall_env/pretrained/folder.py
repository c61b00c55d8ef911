"""One folder of trained weights: what it says of itself, and reading it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from facehall_env.enhancer import ENHANCER, LocalEnhancementNetwork, load_enhancer
from facehall_env.patches import Boundary
from facehall_env.resample import ProtocolName

KIND: Final = "facehall-weights"
CONFIG: Final = "config.json"
POLICY: Final = "policy.safetensors"
CARD: Final = "README.md"
FILES: Final = (CONFIG, ENHANCER, POLICY, CARD)
"""All that a weights folder may hold; nothing else is ever read or uploaded."""


@dataclass(frozen=True)
class WeightsTask:
    """What weights were trained for. Every field has to agree with a task whose default they are to be.

    Attributes:
        dataset: The data set by the word of the environment's argument: ``"lfw"``, ``"bioid"``, ...
        scale: How many times smaller the low-resolution picture is.
        protocol: How I_0 is made.
        shape: C, H, W of the picture.
        patch_size: Rows and columns of the patch.
    """

    dataset: str
    scale: int
    protocol: ProtocolName
    shape: tuple[int, int, int]
    patch_size: tuple[int, int]

    def __str__(self) -> str:
        channels, height, width = self.shape
        return (
            f"{self.dataset} x{self.scale}, {self.protocol}, {height}x{width} "
            f"{'gray' if channels == 1 else 'RGB'}, patches {self.patch_size[0]}x{self.patch_size[1]}"
        )


@dataclass(frozen=True)
class PretrainedWeights:
    """Trained weights, found but not read yet.

    Attributes:
        name: What they are called: the folder's name, or the Hub's id.
        folder: Where they lie.
        task: What they were trained for.
        env_id: The environment that they were trained in.
        horizon: Steps of its episodes, T.
        boundary: What its patches did at the border.
        consistent: Whether its pictures were made consistent after every step.
    """

    name: str
    folder: Path
    task: WeightsTask
    env_id: str
    horizon: int
    boundary: Boundary
    consistent: bool

    @property
    def has_policy(self) -> bool:
        """Whether a policy was trained as well."""
        return (self.folder / POLICY).is_file()

    def enhancer(self) -> LocalEnhancementNetwork:
        """A fresh copy of the trained enhancer, in float32, in the mode for acting.

        Raises:
            FileNotFoundError: If the folder has lost it.
            ValueError: If the file is cut off or of another kind.
        """
        return load_enhancer(self.folder / ENHANCER).eval()

    def arguments(self) -> dict[str, Any]:
        """What ``gymnasium.make(weights.env_id, ...)`` takes to set the task that they were trained in."""
        return {
            "protocol": self.task.protocol,
            "patch_size": list(self.task.patch_size),
            "horizon": self.horizon,
            "boundary": self.boundary,
            "consistent": self.consistent,
        }

    def describe(self) -> dict[str, Any]:
        """What ``config.json`` says of the task; `read_weights` reads it again."""
        return {
            "kind": KIND,
            "task": asdict(self.task),
            "env_id": self.env_id,
            "horizon": self.horizon,
            "boundary": self.boundary,
            "consistent": self.consistent,
        }


def read_weights(folder: str | Path, name: str | None = None) -> PretrainedWeights:
    """What a weights folder says of itself; the weights are not read yet.

    Args:
        folder: The folder that ``python -m agents.export`` wrote.
        name: What to call them; None: the folder's name.

    Raises:
        FileNotFoundError: If there is no such folder, or no ``config.json`` in it.
        ValueError: If ``config.json`` is not what it should be; the message names it.
    """
    folder = Path(folder)
    path = folder / CONFIG
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} is no folder of weights: it has no {CONFIG}; python -m agents.export writes such "
            "folders from training runs"
        )
    try:
        said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if said["kind"] != KIND:
            raise ValueError(f"it is of kind {said['kind']!r}, not {KIND!r}")
        task = {field.name: said["task"][field.name] for field in fields(WeightsTask)}
        channels, height, width = task["shape"]
        rows, columns = task["patch_size"]
        task |= {"shape": (channels, height, width), "patch_size": (rows, columns)}
        return PretrainedWeights(
            name or folder.resolve().name,
            folder,
            WeightsTask(**task),
            *(said[key] for key in ("env_id", "horizon", "boundary", "consistent")),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        said_of = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{path} does not describe weights: {said_of}") from error
