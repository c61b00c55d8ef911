"""Curves over the steps of episodes: PSNR and coverage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from agents.visualisation.trace import EpisodeTrace


def save_curves(path: Path, traces: Sequence[EpisodeTrace]) -> None:
    """Draw how PSNR and coverage went, one line an episode and, of several, their mean.

    Args:
        path: A PNG file; its folder must exist.
        traces: The episodes, of the same number of steps.
    """
    figure = Figure(figsize=(7.0, 5.0), layout="constrained")  # no pyplot: no display and no state is touched
    gains, shares = figure.subplots(2, 1, sharex=True)
    steps = np.arange(traces[0].steps + 1)
    alone = len(traces) == 1
    for axes, values in (
        (gains, [trace.psnr if alone else trace.psnr - trace.psnr[0] for trace in traces]),
        (shares, [100.0 * trace.coverage for trace in traces]),
    ):
        for value, trace in zip(values, traces, strict=True):
            axes.plot(steps, value, marker=".", linewidth=1.0, label=f"face {trace.index}")
        if not alone:
            axes.plot(steps, np.mean(values, axis=0), color="black", linewidth=2.5, label="mean")
        axes.grid(visible=True, alpha=0.3)
    if alone:
        gains.axhline(traces[0].psnr[0], color="gray", linestyle="--", linewidth=1.0, label="input")
    gains.set_ylabel("PSNR (dB)" if alone else "PSNR gain over the input (dB)")
    gains.legend(fontsize="small", ncols=2)
    shares.set_ylabel("covered (%)")
    shares.set_ylim(0.0, 105.0)
    shares.set_xlabel("step")
    figure.savefig(path, dpi=110, metadata={"Software": None})
