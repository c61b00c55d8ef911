"""Whether one method is better than another on the same images, and how sure that is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.records.images import load_images
from agents.records.record import RecordError


@dataclass(frozen=True)
class Difference:
    """A mean of paired differences and its confidence interval, in the units of the column."""

    mean: float
    low: float
    high: float
    confidence: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean:+.4f} [{self.low:+.4f}, {self.high:+.4f}] ({self.confidence:.0%}, n = {self.n})"


def paired_difference(
    first: str | Path | Sequence[Path],
    second: str | Path | Sequence[Path],
    column: str = "psnr",
    *,
    within: bool = False,
    confidence: float = 0.95,
    resamples: int = 9999,
    seed: int = 0,
) -> Difference:
    """The mean over the images of `first` minus `second`, with a paired bootstrap confidence interval.

    The images are resampled, not the methods: an image keeps its two values together, so what all methods
    find hard about it cancels. Percentiles are used; the interval is for the choice of test images and says
    nothing of the randomness of training.

    Args:
        first: A CSV file of `save_images`, or one a seed, of whose values the mean counts, image by image.
        second: Another, of the same images in any order.
        column: What is compared.
        within: Leave out images that only `second` has, such as the rest of a split of which `first` has a
            part.
        confidence: The probability that the interval is to have, in (0, 1).
        resamples: How many times the images are drawn.
        seed: Of the draws.

    Returns:
        The difference; positive where `first` has more.

    Raises:
        RecordError: If the two files are not of the same images, the column is in only one of them, or it
            holds infinities.
    """
    # Here, as it takes longer to import than all else that reads or writes records.
    from scipy.stats import bootstrap

    values = [_mean_by_id(paths, column) for paths in (first, second)]
    if within:
        values[1] = {name: value for name, value in values[1].items() if name in values[0]}
    if strangers := sorted(values[0].keys() ^ values[1].keys()):
        raise RecordError(
            f"{first} and {second} are not of the same images: {len(strangers)} are in only one of them, "
            f"for instance {strangers[0]}"
        )
    if len(values[0]) < 2:
        raise RecordError(f"{first} has {len(values[0])} images; a confidence interval takes 2 or more")
    pairs: NDArray[np.float64] = np.array([(values[0][name], values[1][name]) for name in sorted(values[0])])
    interval = bootstrap(
        (pairs[:, 0], pairs[:, 1]),
        _mean_difference,
        paired=True,
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, 2**22 // len(pairs)),  # 32 MiB of draws at a time, however many images there are
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    mean = float(_mean_difference(pairs[:, 0], pairs[:, 1]))
    return Difference(mean, float(interval.low), float(interval.high), confidence, len(pairs))


def _mean_difference(first: NDArray[np.float64], second: NDArray[np.float64], axis: int = -1) -> Any:
    return np.mean(first - second, axis=axis)


def _mean_by_id(paths: str | Path | Sequence[Path], column: str) -> dict[str, float]:
    """The mean over the files of an image's value."""
    files = [Path(paths)] if isinstance(paths, str | Path) else list(paths)
    values = [_by_id(path, column) for path in files]
    for file, those in zip(files[1:], values[1:], strict=True):
        if those.keys() != values[0].keys():
            raise RecordError(f"{files[0]} and {file} are not of the same images")
    return {name: float(np.mean([those[name] for those in values])) for name in values[0]}


def _by_id(path: Path, column: str) -> dict[str, float]:
    columns = load_images(path)
    if column not in columns or column in ("index", "id"):
        raise RecordError(f"{path} has no measurements {column!r}; it has {', '.join(list(columns)[2:])}")
    values = dict(zip(columns["id"].tolist(), columns[column].tolist(), strict=True))
    if len(values) != len(columns["id"]):
        raise RecordError(f"{path} has two images of one id")
    if not np.isfinite(columns[column]).all():
        raise RecordError(f"{path}: a mean difference needs finite values, and {column} has others")
    return values
