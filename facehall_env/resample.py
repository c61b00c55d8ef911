"""Shrinking and enlarging: how the low-resolution face and the up-sampled input I_0 are made.

Both protocols shrink with the same exact box average and differ only in how they enlarge:

``aligned``
    Half-pixel bicubic (Keys 1981, a = -0.5) with replicated edges. A box average lives on pixel centres and
    so does this interpolator: I_0 lies where the pixels are.
``torch7``
    What Torch7's ``image.scale(..., 'bicubic')`` computes and so what the paper's tables build on:
    Catmull-Rom on *aligned corners*, ``src = dst * (n - 1) / (N - 1)``. Against the box average this
    stretches the picture by up to (scale - 1) / 2 pixels at the borders.

Every map here is linear and separable, so each is one small matrix per axis, computed in float64 and applied
by matrix products on any device. Neither ``cv2.resize`` nor ``torch.nn.functional.interpolate`` computes one
of the two enlargements: they use a = -0.75 and treat the borders differently.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

ProtocolName = Literal["aligned", "torch7"]
"""Name of an evaluation protocol."""

PROTOCOLS: tuple[ProtocolName, ...] = get_args(ProtocolName)


def box_matrix(size: int, scale: int) -> NDArray[np.float64]:
    """Matrix of the exact average over consecutive groups of ``scale`` samples.

    Args:
        size: Number N of high-resolution samples.
        scale: Group length, at least 2; must divide ``size``.

    Returns:
        Array (N / scale, N); each row sums to one.

    Raises:
        ValueError: If the scale is below 2 or does not divide the size.
    """
    _check_scale(size, scale, "size")
    return np.kron(np.eye(size // scale), np.full((1, scale), 1.0 / scale))


def bicubic_matrix(size: int, target: int, protocol: str = "aligned") -> NDArray[np.float64]:
    """Matrix of bicubic up-sampling from ``size`` to ``target`` samples.

    Args:
        size: Number n of low-resolution samples, at least 1.
        target: Number N of high-resolution samples, at least ``size``.
        protocol: ``"aligned"`` or ``"torch7"``, see the module's docstring.

    Returns:
        Array (N, n); each row sums to one.

    Raises:
        ValueError: If the protocol is unknown or the sizes do not describe an enlargement.
    """
    check_protocol(protocol)
    if size < 1 or target < size:
        raise ValueError(f"cannot enlarge {size} samples to {target}: give 1 <= size <= target")
    if protocol == "aligned":
        return _half_pixel_bicubic(size, target)
    return _aligned_corners_bicubic(size, target)


def _half_pixel_bicubic(n: int, N: int) -> NDArray[np.float64]:
    """Keys' cubic convolution (IEEE TASSP 29(6), 1981, Eq. (15)) at ``src = (dst + 1/2) n / N - 1/2``."""
    matrix = np.zeros((N, n))
    for row in range(N):
        # Integer arithmetic in units of 1 / (2N): equal phases get equal weights, whatever the size.
        left, remainder = divmod((2 * row + 1) * n - N, 2 * N)
        for tap, weight in enumerate(_cubic_weights(remainder / (2 * N)), start=left - 1):
            matrix[row, min(max(tap, 0), n - 1)] += weight
    return matrix


def _aligned_corners_bicubic(n: int, N: int) -> NDArray[np.float64]:
    """Torch7's ``image.scale`` (``'bicubic'``): a missing border tap continues the line next to it."""
    if n == 1:
        return np.ones((N, 1))
    matrix = np.zeros((N, n))
    matrix[N - 1, n - 1] = 1.0  # the last sample is copied
    for row in range(N - 1):
        left, remainder = divmod(row * (n - 1), N - 1)
        for tap, weight in enumerate(_cubic_weights(remainder / (N - 1)), start=left - 1):
            if tap < 0:  # p[-1] = 2 p[0] - p[1]
                matrix[row, 0] += 2 * weight
                matrix[row, 1] -= weight
            elif tap >= n:  # p[n] = 2 p[n-1] - p[n-2]
                matrix[row, n - 1] += 2 * weight
                matrix[row, n - 2] -= weight
            else:
                matrix[row, tap] += weight
    return matrix


def _cubic_weights(t: float) -> tuple[float, float, float, float]:
    """Weights of the taps at -1, 0, 1, 2 for a point at 0 <= t < 1: cubic convolution with a = -0.5."""
    return (
        ((-0.5 * t + 1.0) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1.0,
        ((-1.5 * t + 2.0) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )


class Resampler(nn.Module):
    """The degradation of one picture size: box shrinking and the protocol's bicubic enlargement.

    The matrices are buffers that are not saved: ``to(device)`` moves them, state dicts stay free of them.
    Gradients flow through both maps. Autocasting is switched off inside, so that the low-resolution picture
    never depends on the precision a network is trained in.

    Args:
        height: Rows H of the high-resolution picture.
        width: Columns W of the high-resolution picture.
        scale: Integer factor, at least 2, that divides both; the paper uses 4 and 8.
        protocol: ``"aligned"`` (default) or ``"torch7"``.
        device: Where the matrices live; inputs must be there too.
        dtype: Floating type of the matrices and of all inputs and outputs.

    Raises:
        ValueError: If the scale, the protocol or the type does not fit.
    """

    _shrink_rows: Tensor
    _shrink_columns: Tensor
    _enlarge_rows: Tensor
    _enlarge_columns: Tensor

    def __init__(
        self,
        height: int,
        width: int,
        scale: int,
        protocol: str = "aligned",
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        _check_scale(height, scale, "height")
        _check_scale(width, scale, "width")
        check_protocol(protocol)
        if not dtype.is_floating_point:
            raise ValueError(f"a Resampler computes in a floating type, not in {dtype}")
        self.height, self.width, self.scale, self.protocol = height, width, scale, protocol
        self.low_height, self.low_width = height // scale, width // scale
        matrices = {
            "_shrink_rows": box_matrix(height, scale),
            "_shrink_columns": box_matrix(width, scale).T,
            "_enlarge_rows": bicubic_matrix(self.low_height, height, protocol),
            "_enlarge_columns": bicubic_matrix(self.low_width, width, protocol).T,
        }
        for name, matrix in matrices.items():
            values = torch.tensor(np.ascontiguousarray(matrix), device=device, dtype=dtype)
            self.register_buffer(name, values, persistent=False)

    def shrink(self, hr: Tensor) -> Tensor:
        """Average over scale x scale pixels.

        Args:
            hr: Pictures (N, C, H, W) in any range.

        Returns:
            Pictures (N, C, H / scale, W / scale) in the same range.

        Raises:
            ValueError: If the shape or the type differs from what this object was built for.
        """
        self._check_input(hr, self.height, self.width, "shrink")
        return _apply(self._shrink_rows, hr, self._shrink_columns)

    def shrink_adjoint(self, lr: Tensor) -> Tensor:
        """The transpose of `shrink`: inner products of shrunk x with y are those of x with the result.

        Args:
            lr: Pictures (N, C, H / scale, W / scale).

        Returns:
            Pictures (N, C, H, W): each value spread evenly over its scale x scale pixels.

        Raises:
            ValueError: If the shape or the type differs from what this object was built for.
        """
        self._check_input(lr, self.low_height, self.low_width, "shrink_adjoint")
        return _apply(self._shrink_rows.T, lr, self._shrink_columns.T)

    def enlarge(self, lr: Tensor) -> Tensor:
        """Up-sample by the protocol's bicubic interpolation; not clamped, so values may overshoot the range.

        Args:
            lr: Pictures (N, C, H / scale, W / scale) in any range.

        Returns:
            I_0, pictures (N, C, H, W).

        Raises:
            ValueError: If the shape or the type differs from what this object was built for.
        """
        self._check_input(lr, self.low_height, self.low_width, "enlarge")
        return _apply(self._enlarge_rows, lr, self._enlarge_columns)

    def forward(self, hr: Tensor) -> Tensor:
        """I_0 of the given high-resolution pictures (N, C, H, W): ``enlarge(shrink(hr))``."""
        return self.enlarge(self.shrink(hr))

    def extra_repr(self) -> str:
        """The arguments, for ``repr``."""
        return f"{self.height}, {self.width}, scale={self.scale}, protocol={self.protocol!r}"

    def _check_input(self, x: Tensor, height: int, width: int, verb: str) -> None:
        if x.ndim != 4 or tuple(x.shape[2:]) != (height, width):
            raise ValueError(
                f"{verb} expects pictures of shape (N, C, {height}, {width}), not {tuple(x.shape)}: "
                "build a Resampler for this size, or check the order of the axes"
            )
        if x.dtype != self._shrink_rows.dtype:
            raise ValueError(
                f"{verb} got {x.dtype} but this Resampler computes in {self._shrink_rows.dtype}: "
                "convert the pictures or build the Resampler with that dtype"
            )


def check_protocol(protocol: str) -> None:
    """Raise ValueError unless ``protocol`` is one of :data:`PROTOCOLS`."""
    if protocol not in PROTOCOLS:
        raise ValueError(f"unknown protocol {protocol!r}: choose one of {', '.join(map(repr, PROTOCOLS))}")


def _check_scale(size: int, scale: int, name: str) -> None:
    if not isinstance(scale, int | np.integer) or scale < 2:
        raise ValueError(f"scale must be an integer of at least 2, not {scale}")
    if size < scale or size % scale:
        raise ValueError(
            f"{name} {size} is not a multiple of the scale {scale}: crop the picture or change the scale"
        )


def _apply(rows: Tensor, x: Tensor, columns: Tensor) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        return rows @ (x @ columns)
