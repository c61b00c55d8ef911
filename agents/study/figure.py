"""The figure of a study: learning curves, a panel a question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from agents.study.configuration import SCRIPTED
from agents.study.summary import LABELS, Curves

_STYLES = dict(zip(SCRIPTED, (":", "--", "-.", (0, (5, 1)), "-"), strict=True))


def save_figure(
    path: Path, curves: Curves, panels: Mapping[str, Sequence[str]], by_time: Sequence[str] = ()
) -> None:
    """Draw mean (argmax solid, sampled thin and dashed) and interquartile range (argmax) over the seeds.

    Args:
        path: A PNG file; its folder must exist.
        curves: The study's.
        panels: Title -> variants; those that were not run are left out.
        by_time: Titles of panels that are drawn over wall-clock time as well.
    """
    drawn = [(title, "timesteps") for title in panels] + [(title, "seconds") for title in by_time]
    columns = min(3, len(drawn))
    rows = -(-len(drawn) // columns)
    figure = Figure(
        figsize=(5.2 * columns, 4.2 * rows), layout="constrained"
    )  # no pyplot: no state is touched
    places = figure.subplots(rows, columns, squeeze=False, sharey=True).flatten()
    for axes in places[len(drawn) :]:
        axes.set_visible(False)
    for axes, (title, axis) in zip(places, drawn, strict=False):
        _panel(axes, curves, panels[title], axis)
        axes.set_title(title + ("" if axis == "timesteps" else ", by time"))
    for axes in places[::columns]:
        axes.set_ylabel("PSNR gain over the input (dB)")
    figure.savefig(path, dpi=100, metadata={"Software": None})


def _panel(axes: Axes, curves: Curves, variants: Sequence[str], axis: str) -> None:
    unit = 1000.0 if axis == "timesteps" else 60.0
    for number, name in enumerate(name for name in variants if curves.runs(name, "argmax")):
        colour = f"C{number}"
        grid, values = curves.on_grid(name, "argmax", axis)
        low, high = np.percentile(values, (25.0, 75.0), axis=0)
        axes.plot(grid / unit, values.mean(axis=0), color=colour, label=name)
        axes.fill_between(grid / unit, low, high, color=colour, alpha=0.2, linewidth=0.0)
        grid, values = curves.on_grid(name, "sampled", axis)
        axes.plot(grid / unit, values.mean(axis=0), color=colour, linewidth=0.8, linestyle="--")
    for name in SCRIPTED:
        if curves.runs(name, "scripted"):
            gain = float(curves.final(name, "scripted", "psnr_gain").mean())
            axes.axhline(gain, color="gray", linewidth=1.0, linestyle=_STYLES[name], label=LABELS[name])
    axes.set_xlabel("environment steps (thousands)" if axis == "timesteps" else "minutes of learning")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize="x-small", loc="best")
