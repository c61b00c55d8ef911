"""Colours of things."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.float64]
"""RGB in [0, 255], shape (3,)."""


def any_colour(rng: np.random.Generator) -> Rgb:
    """Some colour of cloth or of a wall: mostly pale or muted, now and then vivid."""
    value, saturation = rng.uniform(15, 245), rng.beta(0.9, 2.2)
    return np.asarray(value * (1 - saturation * rng.random(3)))
