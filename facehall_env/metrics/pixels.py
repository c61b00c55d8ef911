"""What all metrics share: checking the input, the 8-bit grid, the luma."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

UNIT_RANGE = (-0.5, 1.5)
"""Float pictures may leave [0, 1] this far; bicubic overshoot stays within [-0.29, 1.29]."""


class MetricInputError(ValueError):
    """Pictures that cannot be measured: the message says which rule they break."""


def quantise(x: Tensor) -> Tensor:
    """Round pictures to the 8-bit grid.

    Args:
        x: Pictures (N, C, H, W), C = 1 or 3: uint8, or float with black = 0 and white = 1. Values outside
            [0, 1] are clamped; beyond :data:`UNIT_RANGE` they are refused.

    Returns:
        Integer values 0..255 as float32 (N, C, H, W). Halves round to even.

    Raises:
        MetricInputError: If shape, type or values are not those of such pictures.
    """
    check_pictures(x, "x")
    return _to_grid(x)


def _to_grid(x: Tensor) -> Tensor:
    if x.dtype == torch.uint8:
        return x.float()
    if x.dtype in (torch.float16, torch.bfloat16):
        x = x.float()
    return (x * 255).round().clamp(0, 255).float()


def luma(grid: Tensor) -> Tensor:
    """The Y of MATLAB's ``rgb2ycbcr`` for 8-bit pictures: ITU-R BT.601 in studio range, rounded.

    ``Y = round(16 + (65.481 R + 128.553 G + 24.966 B) / 255)``, between 16 and 235. Computed in integers,
    so that no device and no precision changes a rounding. Gray pictures are their own luma and keep their
    range 0..255.

    Args:
        grid: Pictures (N, C, H, W) on the 8-bit grid, as :func:`quantise` returns them.

    Returns:
        Integer values as float32 (N, H, W).
    """
    if grid.shape[1] == 1:
        return grid[:, 0]
    red, green, blue = grid.to(torch.int32).unbind(1)
    thousandths = 65481 * red + 128553 * green + 24966 * blue
    return (16 + torch.div(thousandths + 127500, 255000, rounding_mode="floor")).float()


@torch.no_grad()
def compare(x: Tensor, y: Tensor, metric: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Check two batches, round them to 8 bits and apply a metric to one small piece of them after the other.

    Args:
        x: Pictures (N, C, H, W), uint8 or unit float.
        y: Pictures of the same shape on the same device.
        metric: Takes two batches on the 8-bit grid (n, C, H, W) and returns values (n, ...).

    Returns:
        Values (N, ...).

    Raises:
        MetricInputError: If one of the two is no batch of pictures, or if their shapes or devices differ.
    """
    _check_tensor(x, "x")
    _check_tensor(y, "y")
    if x.device != y.device:
        raise MetricInputError(f"x is on {x.device} but y on {y.device}: move one of them with .to(...)")
    check_pictures(x, "x")
    check_pictures(y, "y")
    if x.shape != y.shape:
        raise MetricInputError(
            f"x {tuple(x.shape)} and y {tuple(y.shape)} differ in shape: "
            "each picture needs its own true picture"
        )
    if x.device.type == "mps":
        x, y = x.cpu(), y.cpu()
    # On a CPU a piece should fit the cache, for the phase congruency keeps dozens of maps of each picture;
    # a GPU wants enough to do.
    pixels = 2**16 if x.device.type == "cpu" else 2**21
    size = max(1, pixels // (x.shape[2] * x.shape[3]))
    pieces = zip(torch.split(x, size), torch.split(y, size), strict=True)
    return torch.cat([metric(_to_grid(a), _to_grid(b)) for a, b in pieces])


def _check_tensor(x: object, name: str) -> None:
    if not isinstance(x, Tensor):
        raise MetricInputError(
            f"{name} is a {type(x).__name__}, but metrics take tensors (N, C, H, W): "
            "use torch.from_numpy(...).permute(0, 3, 1, 2) for arrays (N, H, W, C)"
        )


def check_pictures(x: Tensor, name: str) -> None:
    """Raise :class:`MetricInputError` unless ``x`` is a batch of pictures that :func:`quantise` can take."""
    _check_tensor(x, name)
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        raise MetricInputError(
            f"{name} has shape {tuple(x.shape)}, but metrics take (N, C, H, W) with C = 3 (RGB) or 1 (gray): "
            "use unsqueeze(0) for a single picture and permute(0, 3, 1, 2) for channels last"
        )
    if x.numel() == 0:
        raise MetricInputError(f"{name} is empty (shape {tuple(x.shape)}): there is nothing to measure")
    if x.dtype == torch.uint8:
        return
    if not x.is_floating_point():
        raise MetricInputError(f"{name} is {x.dtype}: convert it to uint8, or to float with white = 1")
    low, high = (float(value) for value in torch.aminmax(x.detach()))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise MetricInputError(
            f"{name} contains NaN or infinity: find out where it comes from before measuring"
        )
    if low < UNIT_RANGE[0] or high > UNIT_RANGE[1]:
        raise MetricInputError(
            f"{name} reaches from {low:.4g} to {high:.4g}, but float pictures have black = 0 and white = 1: "
            "divide 0..255 by 255, map -1..1 by (x + 1) / 2, or clamp the pictures if the overshoot is meant"
        )
