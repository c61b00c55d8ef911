"""What every method is to those who measure it: low-resolution faces in, high-resolution faces out."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from agents.state import check_weights
from facehall_env._version import __version__
from facehall_env.arguments import colours, one_of
from facehall_env.core import Precision
from facehall_env.datasets import FaceDataset
from facehall_env.resample import PROTOCOLS, ProtocolName, Resampler, check_protocol
from facehall_env.weights import read_header, read_tensors

KIND: Final = "facehall-hallucinator"


@dataclass(frozen=True)
class Degradation:
    """How faces lose their detail, and so what a method is made for.

    Attributes:
        channels: C of the pictures, 1 (gray) or 3 (RGB).
        height: H of the high-resolution picture.
        width: W of the high-resolution picture.
        scale: s; the low-resolution picture is H/s x W/s.
        protocol: How I_0 is enlarged from it, ``"aligned"`` or ``"torch7"``.

    Raises:
        ValueError: If a field is out of range; the message names it.
    """

    channels: int = 3
    height: int = 128
    width: int = 128
    scale: int = 8
    protocol: ProtocolName = "aligned"

    def __post_init__(self) -> None:
        """Refuse what no pictures can have."""
        colours(self.channels)
        check_protocol(self.protocol)
        self.resampler()  # refuses a scale that does not divide the sides

    @classmethod
    def of(cls, dataset: FaceDataset, scale: int, protocol: ProtocolName = "aligned") -> Self:
        """The degradation of a data set's pictures."""
        height, width, channels = dataset.shape
        return cls(channels, height, width, scale, protocol)

    @property
    def high_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.channels, self.height, self.width

    @property
    def low_shape(self) -> tuple[int, int, int]:
        """(C, H/s, W/s)."""
        return self.channels, self.height // self.scale, self.width // self.scale

    def resampler(self, device: torch.device | str = "cpu") -> Resampler:
        """The linear maps, in float32."""
        return Resampler(self.height, self.width, self.scale, self.protocol, device=device)

    def __str__(self) -> str:
        """Such as ``x8 from 16x16 to 128x128 RGB``."""
        _, rows, columns = self.low_shape
        kind = "gray" if self.channels == 1 else "RGB"
        return f"x{self.scale} from {rows}x{columns} to {self.height}x{self.width} {kind}"


class Hallucinator(nn.Module, ABC):
    """A method that makes high-resolution faces of low-resolution ones, all at once.

    Tensors, everywhere in the contract:

    * ``low_resolution``: float32, (N, C, H/s, W/s), in [0, 1], on `device`: the exact averages of
      `Degradation`, not rounded to 8 bits.
    * ``high_resolution`` and what comes out: float32, (N, C, H, W), in [0, 1], on `device`.

    A subclass names itself (`name`), hands its settings to this constructor, which keeps them for the file,
    and says how to learn (`_fit`) and what to answer (`forward`). What `state_dict` holds is what `fit` has
    learned and what `save` writes; everything else is built from the settings. Buffers whose size only `fit`
    knows are declared by overriding `prepare`.

    Args:
        degradation: What the method is made for.
        **settings: Everything else that fixes the method; JSON-able.

    Attributes:
        name: The method's name in records.
        degradation: What the method is made for.
        settings: As given.
        fitted: Whether the method may be used: it has learned, or has nothing to learn.
        budget: What it was trained on and for how long, in words; ``"none"`` where there is nothing to learn.
        precision: ``"bfloat16"`` runs `forward` under autocast; pictures stay float32.
        resampler: The degradation's linear maps, on the method's device.
    """

    name: str
    learns: bool = True
    """Whether there is anything to fit."""
    reads_initial: bool = True
    """Whether the answer depends on I_0, and so on the protocol."""

    def __init__(self, degradation: Degradation, **settings: Any) -> None:
        super().__init__()
        self.degradation, self.settings = degradation, settings
        self.fitted = not self.learns
        self.budget = "none"
        self.precision: Precision = "float32"
        self.resampler = degradation.resampler()

    # --- what a method is ---

    @abstractmethod
    def forward(self, low_resolution: Tensor) -> Tensor:
        """The method itself: (N, C, H/s, W/s) to (N, C, H, W), not clamped, gradients where they flow."""

    def _fit(self, dataset: FaceDataset, *, progress_bar: bool) -> str:
        """Learn from the data set and return the budget in words."""
        raise NotImplementedError(f"{type(self).__name__} says learns but not how")

    def prepare(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Make the buffers that a file holds, before they are filled; for sizes that only `fit` knows.

        Args:
            shapes: Of the file's tensors, by name.
        """

    # --- what everybody may ask ---

    @property
    def device(self) -> torch.device:
        """Where the method computes; moved by ``to(device)``."""
        return self.resampler._shrink_rows.device

    @property
    def protocols(self) -> tuple[ProtocolName, ...]:
        """Under which protocols its answer may be measured."""
        return (self.degradation.protocol,) if self.reads_initial else PROTOCOLS

    @property
    def parameter_count(self) -> int:
        """How many numbers `fit` learns: all that a file of the method holds."""
        return sum(tensor.numel() for tensor in self.state_dict().values())

    def require_protocol(self, protocol: ProtocolName) -> None:
        """Refuse to be measured under a protocol that the method does not know.

        Raises:
            ValueError: If the answer depends on I_0 and the protocol is not the one it was made for.
        """
        check_protocol(protocol)
        if protocol not in self.protocols:
            raise ValueError(
                f"{self.name} reads I_0 as protocol {self.degradation.protocol!r} makes it and cannot be "
                f"measured under {protocol!r}: train another one with that protocol"
            )

    def initial(self, low_resolution: Tensor) -> Tensor:
        """I_0, (N, C, H, W), not clamped."""
        return self.resampler.enlarge(low_resolution)

    def fit(self, dataset: FaceDataset, *, progress_bar: bool = False) -> Self:
        """Learn from high-resolution faces, degraded as the method expects.

        Args:
            dataset: Of the shape the method was made for.
            progress_bar: Show one.

        Returns:
            The method itself.

        Raises:
            ValueError: If the faces have another shape, or there are none; then nothing was changed.
        """
        height, width, channels = dataset.shape
        if (channels, height, width) != self.degradation.high_shape:
            raise ValueError(
                f"{self.name} was made for faces of shape {self.degradation.high_shape} (channels, rows, "
                f"columns), but those of {dataset.name!r} have {(channels, height, width)}"
            )
        if len(dataset) == 0:
            raise ValueError(f"the {dataset.split!r} split of {dataset.name!r} holds no faces to train on")
        if self.learns:
            self.budget = self._fit(dataset, progress_bar=progress_bar)
            self.fitted = True
        return self

    @torch.no_grad()
    def hallucinate(self, low_resolution: Tensor) -> Tensor:
        """Make high-resolution faces.

        Args:
            low_resolution: Floating point, (N, C, H/s, W/s), in [0, 1]; moved to the method's device.

        Returns:
            float32, (N, C, H, W), clamped to [0, 1], on the method's device.

        Raises:
            RuntimeError: If the method has not learned yet.
            ValueError: If it was made for other pictures, or these are out of range (checked on a CPU only:
                elsewhere it would wait for the device). The message names the method and what it was made
                for.
        """
        if not self.fitted:
            raise RuntimeError(f"{self.name} has not learned yet: call fit(dataset), or load() a trained one")
        self._check(low_resolution)
        training = self.training
        self.eval()
        try:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
                picture: Tensor = self(low_resolution.to(self.device, torch.float32))
        finally:
            self.train(training)
        return picture.to(torch.float32).clamp(0.0, 1.0)

    def _check(self, low_resolution: Tensor) -> None:
        shape, wanted = tuple(low_resolution.shape), self.degradation.low_shape
        made = f"{self.name} was made for {self.degradation}"
        if not low_resolution.is_floating_point():
            raise ValueError(
                f"{made} and takes pixels in [0, 1], not {low_resolution.dtype}: give pictures.float() / 255"
            )
        if len(shape) != 4:
            raise ValueError(f"{made} and takes batches (N, {', '.join(map(str, wanted))}), not {shape}")
        if shape[1] != wanted[0]:
            raise ValueError(f"{made}: its pictures have {wanted[0]} channel(s), but these have {shape[1]}")
        if shape[1:] != wanted:
            raise ValueError(
                f"{made}, but these pictures have {shape[2]}x{shape[3]} pixels{self._hint(shape)}"
            )
        if low_resolution.device.type == "cpu" and low_resolution.numel():
            low, high = (float(value) for value in low_resolution.aminmax())
            if not (low >= -1e-4 and high <= 1.0 + 1e-4):
                raise ValueError(
                    f"{made} and takes pixels in [0, 1], but these reach from {low:g} to {high:g}"
                )

    def _hint(self, shape: tuple[int, ...]) -> str:
        """Whether another scale was meant."""
        height, width = self.degradation.height, self.degradation.width
        scale, rest = divmod(height, shape[2])
        if rest == 0 and scale > 1 and shape[3] * scale == width:
            return f": that is x{scale}, for which another one has to be trained"
        return ""

    # --- on disk ---

    def save(self, path: str | Path) -> None:
        """Write what was learned (safetensors), with all else as JSON in the file's header.

        The file is complete or not there at all.

        Args:
            path: By custom ``*.safetensors``; its folder is made.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        description = {
            "method": self.name,
            "version": __version__,
            "degradation": asdict(self.degradation),
            "settings": self.settings,
            "precision": self.precision,
            "fitted": self.fitted,
            "budget": self.budget,
        }
        tensors = {name: tensor.cpu().contiguous() for name, tensor in self.state_dict().items()}
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            save_file(tensors, temporary, {"kind": KIND, "description": json.dumps(description)})
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path, device: torch.device | str = "cpu") -> Self:
        """Read what `save` wrote.

        Args:
            path: The file.
            device: Where to put the method.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is cut off, of another kind or method, or does not fit its own description.
        """
        path = Path(path)
        description = read_description(path)
        if description["method"] not in cls.names():
            raise ValueError(f"{path} holds {description['method']!r}, not {' or '.join(cls.names())}")
        tensors = read_tensors(path)
        try:
            made = cls._make(description)
            made.prepare({name: tuple(tensor.shape) for name, tensor in tensors.items()})
            check_weights(made, tensors, "file")
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"{path} does not fit this version's {cls.__name__}: {error}") from error
        made.load_state_dict(tensors)
        made.fitted, made.budget = bool(description["fitted"]), str(description["budget"])
        made.precision = description["precision"]
        return made.to(device)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Under which names this class's files go."""
        return (cls.name,)

    @classmethod
    def _make(cls, description: Mapping[str, Any]) -> Self:
        one_of("precision", description["precision"], Precision)
        return cls(Degradation(**description["degradation"]), **tuples(description["settings"]))


def tuples(values: Any) -> Any:
    """JSON's lists as the tuples that they were, however deep."""
    if isinstance(values, dict):
        return {name: tuples(value) for name, value in values.items()}
    return tuple(tuples(value) for value in values) if isinstance(values, list | tuple) else values


def read_description(path: Path) -> dict[str, Any]:
    """The JSON in the header of a method's file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is cut off or of another kind.
    """
    header = read_header(
        path, KIND, f"there is no file {path}; train a method with python -m agents.baselines"
    )
    try:
        description = json.loads(header["description"])
        wanted = ("method", "version", "degradation", "settings", "precision", "fitted", "budget")
        if missing := [name for name in wanted if name not in description]:
            raise ValueError(f"it does not say its {', '.join(missing)}")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} has no description that fits this version: {error}") from error
    return dict(description)
