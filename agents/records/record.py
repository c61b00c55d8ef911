"""One measured row: what was measured, on what, and by which code."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from numbers import Integral, Real
from typing import Any, Self

PROTOCOLS = ("aligned", "torch7")

# The order of the rows in every file and table: what does not learn, the paper's rivals, the paper's method,
# its ablations, then the agents that look without learning. Methods not named here follow, in alphabetical
# order.
METHODS = (
    "bicubic",
    "sfh",
    "bccnn",
    "mzq",
    "srcnn",
    "vdsr",
    "gln",
    "edsr",
    "attention_fh",
    "attention_fh_t5",
    "attention_fh_t15",
    "attention_fh_t25",
    "attention_fh_t35",
    "cnn16",
    "whole_image",
    "random_patch",
    "initial_input",
    "spatial_transformer",
    "patch_30x22",
    "patch_90x67",
    "no_global_branch",
    "raster_scan",
    "planned_scan",
    "greedy_oracle",
)

# These become part of a file's name, with "." between them.
_NAMES = ("method", "mode", "dataset", "split", "preset", "precision")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]*")
_REALS = ("psnr", "psnr_y", "ssim", "fsim", "coverage", "distinct_places", "seconds_per_image")
_COUNTS = {"scale": 1, "n": 1, "seed": 0}
_RANGES = {
    "ssim": (-1.0, 1.0),
    "fsim": (0.0, 1.0),
    "coverage": (0.0, 1.0),
    "distinct_places": (0.0, math.inf),
    "seconds_per_image": (0.0, math.inf),
}
_SLACK = 1e-6  # a mean of ones may come out a rounding error above one
_OPTIONAL = ("mode", "coverage", "distinct_places", "weights")


class RecordError(ValueError):
    """A record, or a file of records, that does not say what it has to."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """The mean quality of one method on one split at one scale, and all that is needed to measure it again.

    Two records with the same `key` are two measurements of the same thing: in a file the later one replaces
    the earlier. Numbers of numpy are taken and kept as plain Python numbers.

    Attributes:
        method: Name of the method, for instance "bicubic" or "attention_fh"; `METHODS` has the usual ones.
        mode: How an agent that learnt its policy chose the locations ("argmax" or "sampled"); None for the
            rest. With "+mirror" after it, or "mirror" alone for the rest, the picture is the mean over the
            face and its mirror image (self-ensemble).
        dataset: Name of the data set, for instance "lfw-deepfunneled".
        split: "train", "val" or "test".
        scale: Up-scaling factor.
        protocol: "aligned" or "torch7", how the input picture was made.
        psnr: Mean over the images of the PSNR of each on RGB, in dB; finite.
        psnr_y: The same on luminance, in dB; finite.
        ssim: Mean SSIM on luminance, in [-1, 1].
        fsim: Mean FSIM on luminance, in [0, 1].
        coverage: Mean share of the picture that was enhanced at least once, in [0, 1]; None where nothing
            looks.
        distinct_places: Mean number of places in an episode that are more than 8 pixels apart; None where
            nothing looks.
        n: Number of images.
        seconds_per_image: Wall-clock time of one image, without reading and measuring it.
        device: What it was computed on, in words.
        seed: The seed of training and evaluation.
        preset: Name of the configuration, "default" if there is only one.
        precision: Arithmetic of the networks, for instance "float32" or "bfloat16".
        budget: What the method was trained on and for how long, in words; "none" if it does not learn.
        weights: What was measured, see `agents.state.weights_digest`; None where nothing has weights,
            and in records of before 2026-11-27.
        commit: The git commit of the code, with "-dirty" after it if the tree was changed, or "unknown".
        versions: Version by package.
        command: The command that measured it.
        date: When it was measured, ISO 8601 in UTC; records of before 2026-11-26 have the day alone.

    Raises:
        RecordError: If a field has the wrong type or lies out of its range; the sentence names it.
    """

    method: str
    dataset: str
    split: str
    scale: int
    protocol: str
    preset: str
    precision: str
    seed: int
    mode: str | None = None
    psnr: float
    psnr_y: float
    ssim: float
    fsim: float
    coverage: float | None = None
    distinct_places: float | None = None
    n: int
    seconds_per_image: float
    device: str
    budget: str
    weights: str | None = None
    commit: str
    versions: Mapping[str, str]
    command: str
    date: str

    def __post_init__(self) -> None:
        for field in fields(self):
            # object.__setattr__: the way a frozen dataclass replaces a value by its plain equal.
            object.__setattr__(self, field.name, _checked(field.name, getattr(self, field.name)))

    @property
    def key(self) -> tuple[str, str, int, str, str, str, str, str, int]:
        """Data set, split, scale, protocol, method, mode ("" for None), preset, precision and seed."""
        return (
            self.dataset,
            self.split,
            self.scale,
            self.protocol,
            self.method,
            self.mode or "",
            self.preset,
            self.precision,
            self.seed,
        )

    def trained_alike(self, budget: str, weights: str | None) -> bool:
        """Whether it is of this training, as far as it says so: records of before have no weights."""
        return self.budget == budget and self.weights in (None, weights)

    @property
    def order(self) -> tuple[Any, ...]:
        """A sort key: by data set, split, scale and protocol, then methods as in `METHODS`."""
        rank = METHODS.index(self.method) if self.method in METHODS else len(METHODS)
        return (*self.key[:4], rank, *self.key[4:])

    def to_dict(self) -> dict[str, Any]:
        """All fields, in the order of their declaration, as JSON takes them."""
        return asdict(self) | {"versions": dict(sorted(self.versions.items()))}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The record of a dict with every field; mode, coverage, distinct_places and weights may be left out.

        Raises:
            RecordError: If a field is missing or unknown, or its value is refused; the sentence names it.
        """
        known = {field.name for field in fields(cls)}
        if missing := sorted(known - values.keys() - set(_OPTIONAL)):
            raise RecordError(f"missing {_named(missing)}")
        if unknown := sorted(values.keys() - known):
            raise RecordError(f"unknown {_named(unknown)}; a record has {', '.join(sorted(known))}")
        return cls(**values)


def _named(names: list[str]) -> str:
    return f"field{'s' if len(names) > 1 else ''} {', '.join(map(repr, names))}"


def _checked(name: str, value: Any) -> Any:
    """The value as a plain Python object, or a `RecordError`."""
    if value is None and name in _OPTIONAL:
        return None
    if name in _COUNTS:
        if isinstance(value, bool) or not isinstance(value, Integral) or value < _COUNTS[name]:
            raise RecordError(f"{name} is {value!r}, not a whole number from {_COUNTS[name]} up")
        return int(value)
    if name in _REALS:
        low, high = _RANGES.get(name, (-math.inf, math.inf))
        if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
            raise RecordError(f"{name} is {value!r}, not a finite number")
        if not low - _SLACK <= float(value) <= high + _SLACK:
            raise RecordError(f"{name} is {value!r}, outside [{low:g}, {high:g}]")
        return float(value)
    if name == "versions":
        if not isinstance(value, Mapping) or not all(
            isinstance(x, str) for pair in value.items() for x in pair
        ):
            raise RecordError(f"versions is {value!r}, not a version by package, both texts")
        return dict(value)
    if not isinstance(value, str) or not value.strip():
        raise RecordError(f"{name} is {value!r}, not a text")
    if name in _NAMES and not NAME.fullmatch(value):
        raise RecordError(f"{name} is {value!r}; a name has letters, digits, '_', '+' and '-' only")
    if name == "protocol" and value not in PROTOCOLS:
        raise RecordError(f"protocol is {value!r}, not one of {', '.join(PROTOCOLS)}")
    if name == "date":
        try:
            datetime.fromisoformat(value)
        except ValueError:
            raise RecordError(f"date is {value!r}, not ISO 8601 such as 2026-01-31") from None
    return value
