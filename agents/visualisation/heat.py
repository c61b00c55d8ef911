"""Numbers over a picture, as colours that let the picture through where there is little to see."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facehall_env.rendering import Pixels, heat_colours, rgb

_OPACITY = 0.85  # of the highest value


def heat_layer(values: NDArray[np.floating]) -> Pixels:
    """Values from 0 up as a layer to lay over a picture, uint8, (H, W, 4): red, green, blue and opacity.

    Colours and opacity are relative to the highest value; the root makes small ones visible too.

    Args:
        values: (H, W).
    """
    highest = float(values.max())
    root = np.sqrt(values / highest) if highest > 0 else np.zeros_like(values)
    opacity = np.round(255.0 * _OPACITY * root).astype(np.uint8)
    return np.dstack((heat_colours(root), opacity))


def heat_over(picture: Pixels, values: NDArray[np.floating]) -> Pixels:
    """A picture in gray with values over it in colours.

    Args:
        picture: uint8, (H, W, C).
        values: From 0 up, (H, W).

    Returns:
        uint8, (H, W, 3).
    """
    layer = heat_layer(values)
    gray = rgb(np.round(picture.mean(axis=2, keepdims=True)).astype(np.uint8))
    opacity = layer[:, :, 3:] / 255.0
    mixed: Pixels = np.round(gray * (1.0 - opacity) + layer[:, :, :3] * opacity).astype(np.uint8)
    return mixed
