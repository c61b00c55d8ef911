"""What curves come to: interquartile means with bootstrap intervals over the seeds, as Markdown tables.

The method is that of Agarwal et al. (NeurIPS 2021, the library rliable): interquartile means, not means, and
percentile bootstrap intervals over the runs. With one task its stratified bootstrap is the plain one, so
SciPy's does it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.records import load_images, paired_difference, save_images
from agents.study.configuration import SCRIPTED
from agents.study.curves import CurveRow, Mode

LABELS = {
    "random": "random patches",
    "raster": "raster scan",
    "coverage_greedy": "coverage-greedy",
    "planned": "planned scan",
    "greedy_oracle": "greedy oracle",
}
COMPARED = ("random", "raster", "planned")
"""What a variant is compared with, face by face."""


class Curves:
    """The rows of a study, by variant, mode and seed.

    Args:
        rows: Of one study.
    """

    def __init__(self, rows: Sequence[CurveRow]) -> None:
        self._rows: dict[tuple[str, Mode], dict[int, list[CurveRow]]] = {}
        for row in sorted(rows, key=lambda row: row.timesteps):
            self._rows.setdefault((row.variant, row.mode), {}).setdefault(row.seed, []).append(row)

    def runs(self, variant: str, mode: Mode) -> list[list[CurveRow]]:
        """The rows of each seed, in the order of their steps."""
        return list(self._rows.get((variant, mode), {}).values())

    def final(self, variant: str, mode: Mode, column: str) -> NDArray[np.float64]:
        """What each seed ended with."""
        return np.array([getattr(run[-1], column) for run in self.runs(variant, mode)], np.float64)

    def on_grid(
        self, variant: str, mode: Mode, axis: str, column: str = "psnr_gain"
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """All seeds' curves at the same places, linear in between, as far as all of them go.

        Args:
            variant: Which.
            mode: Which.
            axis: ``timesteps`` or ``seconds``.
            column: What is measured.

        Returns:
            The places, (K,), and the values, (seeds, K).
        """
        runs = self.runs(variant, mode)
        places = [np.array([getattr(row, axis) for row in run], np.float64) for run in runs]
        end = min(float(place[-1]) for place in places)
        grid = np.unique(np.concatenate([place[place <= end] for place in places]))
        values = [
            np.interp(grid, place, [getattr(row, column) for row in run])
            for place, run in zip(places, runs, strict=True)
        ]
        return grid, np.stack(values)

    def at(self, variant: str, mode: Mode, axis: str, place: float) -> NDArray[np.float64]:
        """Each seed's gain in dB at this place of an axis, linear in between."""
        return np.array(
            [
                np.interp(place, [getattr(row, axis) for row in run], [row.psnr_gain for row in run])
                for run in self.runs(variant, mode)
            ]
        )


def interquartile_mean(values: NDArray[np.float64], axis: int = -1) -> Any:
    """The mean without the lowest and the highest quarter (rounded down: of 3 values, none is left out)."""
    from scipy.stats import trim_mean

    return trim_mean(values, 0.25, axis=axis)


def interval(values: NDArray[np.float64], confidence: float = 0.95) -> tuple[float, float] | None:
    """The percentile bootstrap interval of the interquartile mean; None of a single value."""
    from scipy.stats import bootstrap  # here, as it takes long to import

    if len(values) < 2:
        return None
    found = bootstrap(
        (values,),
        interquartile_mean,
        vectorized=True,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(found.low), float(found.high)


def outcome_table(curves: Curves, variants: Sequence[str]) -> str:
    """What each variant ended with, and what the agents that do not learn reach."""
    lines = [
        "| variant | seeds | argmax (dB) | sampled (dB) | covered | distinct places | steps | minutes |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in variants:
        if not (runs := curves.runs(name, "argmax")):
            continue
        shares, places = (curves.final(name, "argmax", what) for what in ("coverage", "distinct_places"))
        steps, seconds = (curves.final(name, "argmax", what).mean() for what in ("timesteps", "seconds"))
        lines.append(
            f"| {name} | {len(runs)} | {_gain(curves.final(name, 'argmax', 'psnr_gain'))} "
            f"| {_gain(curves.final(name, 'sampled', 'psnr_gain'))} | {interquartile_mean(shares):.1%} "
            f"| {interquartile_mean(places):.1f} | {steps:,.0f} | {seconds / 60:.1f} |"
        )
    for name in SCRIPTED:
        if not (runs := curves.runs(name, "scripted")):
            continue
        gains, shares, places = (
            curves.final(name, "scripted", what) for what in ("psnr_gain", "coverage", "distinct_places")
        )
        lines.append(
            f"| *{LABELS[name]}* | {len(runs)} | {_gain(gains)} | | {shares.mean():.1%} "
            f"| {places.mean():.1f} | | |"
        )
    return "\n".join(lines)


def equal_table(curves: Curves, variants: Sequence[str]) -> str:
    """The argmax gain at equal environment steps and at equal wall-clock time: what all of them reached."""
    there = [name for name in variants if curves.runs(name, "argmax")]
    if not there:
        return "None of them was run yet."
    ends = {
        axis: min(float(curves.final(name, "argmax", axis).min()) for name in there)
        for axis in ("timesteps", "seconds")
    }
    lines = [
        f"| variant | argmax after {ends['timesteps']:,.0f} steps (dB) "
        f"| argmax after {ends['seconds'] / 60:.1f} minutes (dB) |",
        "| --- | --- | --- |",
    ]
    lines += [
        f"| {name} | "
        + " | ".join(_gain(curves.at(name, "argmax", axis, end)) for axis, end in ends.items())
        + " |"
        for name in there
    ]
    return "\n".join(lines)


def mean_over_seeds(files: Sequence[Path], path: Path) -> None:
    """Write every face's values as means over the seeds.

    Args:
        files: Of `agents.records.save_images`, of the same faces in the same order.
        path: The file to write.
    """
    tables = [load_images(file) for file in files]
    kept = {name: tables[0][name] for name in ("index", "id")}
    values = {
        name: np.mean([table[name] for table in tables], axis=0) for name in tables[0] if name not in kept
    }
    save_images(path, kept | values)


def paired_table(folder: Path, compare: str) -> str:
    """The variant's argmax against agents that do not learn: mean difference over faces.

    Args:
        folder: Holds what `mean_over_seeds` wrote: ``VARIANT.argmax.csv``, ``random.csv`` and so on.
        compare: The variant.
    """
    lines = [f"| argmax of {compare} less | PSNR (dB), 95 % interval |", "| --- | --- |"]
    for name in COMPARED:
        if not (folder / f"{name}.csv").is_file():  # published before that agent was compared with
            continue
        found = paired_difference(folder / f"{compare}.argmax.csv", folder / f"{name}.csv")
        lines.append(f"| {LABELS[name]} | {found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}] |")
    return "\n".join(lines)


def _gain(values: NDArray[np.float64]) -> str:
    found = interval(values)
    text = f"{interquartile_mean(values):+.3f}"
    return text if found is None else f"{text} [{found[0]:+.3f}, {found[1]:+.3f}]"
