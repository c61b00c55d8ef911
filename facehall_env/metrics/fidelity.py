"""Peak signal-to-noise ratio."""

from __future__ import annotations

from torch import Tensor

PEAK = 255.0


def signal_to_noise(x: Tensor, y: Tensor) -> Tensor:
    """``10 log10(255^2 / MSE)`` of each row.

    Args:
        x: Values 0..255 (N, ...).
        y: Values of the same shape.

    Returns:
        Decibels (N,), float64; ``inf`` where the rows are equal.
    """
    mean_squared_error = (x - y).square().flatten(1).double().mean(1)
    return 10 * (PEAK**2 / mean_squared_error).log10()
