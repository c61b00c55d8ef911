"""Where a patch lies: the geometry of locations, crops and pastes, and nothing else.

A location is the row-major index of the *centre* of a patch: ``row, column = divmod(location,
width)``. The top-left corner is ``(row - h // 2, column - w // 2)``, for the paper's 60x45 patch
``(row - 30, column - 22)``.

Every location is legal, so patches hang over the border. Pictures are therefore kept on a *canvas*:
the picture inside a margin of zeros (mid-gray in [-1, 1]) wide enough for every patch. On it a crop
and a paste are one copy for a whole batch, without branches and without reading anything back from
the device.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facehall_env.arguments import one_of, size_of_patch

Boundary = Literal["pad", "clamp"]
PATCH_SIZE: Final = (60, 45)
"""Rows and columns of the paper's patch."""
Index = TypeVar("Index", int, Tensor, NDArray[np.int64])
"""One index, or many in a tensor or an array."""


class PatchGeometry:
    """Crops and pastes patches of one size in pictures of one size.

    Args:
        height: Rows H of the picture.
        width: Columns W of the picture.
        patch_size: Rows h and columns w of the patch, each at most the picture's.
        boundary: ``"pad"`` leaves the location alone and fills what lies outside with zeros, ``"clamp"``
            moves the patch inside the picture.
        device: Where the index tables live.

    Attributes:
        on_host: Whether crops and pastes go row by row through the host's memory; else all rows are indexed
            at once, as an accelerator wants it. The results are the same.

    Raises:
        ValueError: If the patch is empty or larger than the picture, or the boundary unknown.
    """

    def __init__(
        self,
        height: int,
        width: int,
        patch_size: tuple[int, int] = PATCH_SIZE,
        boundary: Boundary = "pad",
        device: torch.device | str = "cpu",
    ) -> None:
        rows, columns = size_of_patch(patch_size)
        if rows > height or columns > width:
            raise ValueError(
                f"patch_size is {rows}x{columns}, but a patch must fit the picture of {height}x{width}"
            )
        one_of("boundary", boundary, Boundary)
        self.height, self.width = height, width
        self.rows, self.columns = rows, columns
        self.boundary = boundary
        self.device = torch.device(device)
        self.above, self.left = rows // 2, columns // 2
        self.canvas_height, self.canvas_width = height + rows - 1, width + columns - 1
        self.on_host = self.device.type == "cpu"
        self._lines = torch.arange(rows, device=device)
        self._across = torch.arange(columns, device=device)

    @property
    def locations(self) -> int:
        """The number of locations, H*W."""
        return self.height * self.width

    def legal(self, location: Tensor) -> bool:
        """Whether all locations are in [0, H*W); waits for the device."""
        return not bool(((location < 0) | (location >= self.locations)).any())

    def corners(self, location: Tensor) -> tuple[Tensor, Tensor]:
        """Top row and left column of the patches; negative where a patch begins outside the picture.

        Args:
            location: Locations in [0, H*W), int64, shape (N,).

        Returns:
            Two int64 tensors of shape (N,).
        """
        top = torch.div(location, self.width, rounding_mode="floor") - self.above
        left = torch.remainder(location, self.width) - self.left
        if self.boundary == "clamp":
            top = top.clamp(0, self.height - self.rows)
            left = left.clamp(0, self.width - self.columns)
        return top, left

    def boxes(self, location: Tensor) -> Tensor:
        """Top row, left column, height and width of the patches, as far as they go, outside as well.

        Args:
            location: Locations in [0, H*W), int64, shape (N,).

        Returns:
            int64, shape (N, 4).
        """
        top, left = self.corners(location)
        return torch.stack(
            (top, left, torch.full_like(top, self.rows), torch.full_like(top, self.columns)), dim=1
        )

    def centres(self, location: Tensor) -> Tensor:
        """Centres of the patches as (row, column), scaled so that the picture spans [-1, 1].

        Args:
            location: Locations in [0, H*W), int64, shape (N,).

        Returns:
            float32, shape (N, 2).
        """
        top, left = self.corners(location)
        row = (top + self.above).to(torch.float32) * (2.0 / max(self.height - 1, 1)) - 1.0
        column = (left + self.left).to(torch.float32) * (2.0 / max(self.width - 1, 1)) - 1.0
        return torch.stack((row, column), dim=1)

    def window(self, location: Tensor) -> Tensor:
        """Where the patches lie on the canvas: their top line and left column.

        Args:
            location: Locations in [0, H*W), int64, shape (N,).

        Returns:
            int64, shape (N, 2), never negative.
        """
        top, left = self.corners(location)
        return torch.stack((top + self.above, left + self.left), dim=1)

    def pixels(self, window: Tensor) -> tuple[Tensor, Tensor]:
        """Which lines and columns of the canvas the patches take.

        Args:
            window: What `window` gave, shape (N, 2).

        Returns:
            int64, shapes (N, h) and (N, w).
        """
        return window[:, :1] + self._lines, window[:, 1:] + self._across

    def inside(self, window: Tensor) -> Tensor:
        """Which pixels of the patches lie inside the picture.

        Args:
            window: What `window` gave, shape (N, 2).

        Returns:
            bool, shape (N, 1, h, w).
        """
        line, column = self.pixels(window)
        lines = (line >= self.above) & (line < self.above + self.height)
        columns = (column >= self.left) & (column < self.left + self.width)
        return (lines[:, :, None] & columns[:, None, :])[:, None]

    def to_canvas(self, picture: Tensor) -> Tensor:
        """Lay pictures on a canvas of zeros.

        Args:
            picture: Shape (N, C, H, W).

        Returns:
            A new tensor of shape (N, C, canvas_height * canvas_width).
        """
        canvas = picture.new_zeros((*picture.shape[:2], self.canvas_height, self.canvas_width))
        canvas[:, :, self.above : self.above + self.height, self.left : self.left + self.width] = picture
        return canvas.flatten(2)

    def to_picture(self, canvas: Tensor) -> Tensor:
        """The picture on a canvas, as a view of shape (N, C, H, W)."""
        whole = canvas.view(*canvas.shape[:2], self.canvas_height, self.canvas_width)
        return whole[:, :, self.above : self.above + self.height, self.left : self.left + self.width]

    def crop(self, canvas: Tensor, window: Tensor) -> Tensor:
        """Cut the patches out of a canvas; what lies outside the picture is zero.

        Args:
            canvas: Shape (N, C, canvas_height * canvas_width).
            window: What `window` gave, shape (N, 2).

        Returns:
            A new tensor of shape (N, C, h, w).
        """
        if torch.is_grad_enabled() and canvas.requires_grad:  # the gradient of a gather is cheap
            return canvas.gather(2, self._index(canvas, window)).view(
                *canvas.shape[:2], self.rows, self.columns
            )
        if self.on_host:
            patches = canvas.new_empty(*canvas.shape[:2], self.rows, self.columns)
            for target, source in zip(_array(patches), self._views(canvas, window), strict=True):
                target[...] = source
            return patches
        row = torch.arange(len(window), device=window.device)
        return self._patches_of(canvas)[row, :, window[:, 0], window[:, 1]]

    def paste(self, canvas: Tensor, window: Tensor, patch: Tensor, inside: Tensor) -> Tensor:
        """Put patches back; what they hold outside the picture is dropped, so the margin stays zero.

        Writes into `canvas` unless a gradient is, or was, recorded for it: then into a copy, which is cut off
        from the graph where recording is switched off.

        Args:
            canvas: Shape (N, C, canvas_height * canvas_width).
            window: What `window` gave, shape (N, 2).
            patch: Shape (N, C, h, w).
            inside: What `inside` gave, shape (N, 1, h, w).

        Returns:
            The canvas with the patches in it.
        """
        return self.put(canvas, window, self.trim(patch, inside))

    def trim(self, patch: Tensor, inside: Tensor) -> Tensor:
        """Patches (N, C, h, w) with zeros where they lie outside the picture, see `inside`."""
        return torch.where(inside, patch, patch.new_zeros(()))

    def put(self, canvas: Tensor, window: Tensor, values: Tensor) -> Tensor:
        """`paste` for patches that were trimmed already."""
        if canvas.requires_grad or values.requires_grad:
            return canvas.scatter(2, self._index(canvas, window), values.flatten(2))
        self.lay(canvas, window, values)
        return canvas

    def lay(self, canvas: Tensor, window: Tensor, values: Tensor) -> None:
        """Write patches into a canvas, in place, margin and all.

        Args:
            canvas: Shape (N, C, canvas_height * canvas_width), without gradients.
            window: What `window` gave, shape (N, 2).
            values: Shape (N, C, h, w), of the canvas's type.
        """
        if self.on_host:
            for target, source in zip(self._views(canvas, window), _array(values), strict=True):
                target[...] = source
            return
        # Not through a view of overlapping patches, which deterministic algorithms would copy as a whole
        canvas.scatter_(2, self._index(canvas, window), values.flatten(2))

    def _views(self, canvas: Tensor, window: Tensor) -> Iterator[NDArray[Any]]:
        """The patch of each row as a view of the host's memory.

        A loop over the rows of slices that NumPy copies line by line: on a CPU several times faster than
        any indexing of all rows at once, which goes through the pixels one by one.
        """
        whole = _array(canvas).reshape(*canvas.shape[:2], self.canvas_height, self.canvas_width)
        for row, (top, left) in zip(whole, _array(window), strict=True):
            yield row[:, top : top + self.rows, left : left + self.columns]

    def _patches_of(self, canvas: Tensor) -> Tensor:
        """Every patch of a canvas as a view."""
        whole = canvas.view(*canvas.shape[:2], self.canvas_height, self.canvas_width)
        return whole.unfold(2, self.rows, 1).unfold(3, self.columns, 1)

    def _index(self, canvas: Tensor, window: Tensor) -> Tensor:
        """Flat canvas indices of every pixel of the patches, for every channel: (N, C, h*w)."""
        line, column = self.pixels(window)
        index = (line[:, :, None] * self.canvas_width + column[:, None, :]).flatten(1)
        return index[:, None, :].expand(-1, canvas.shape[1], -1)

    def cover(self, covered: Tensor, window: Tensor, inside: Tensor) -> Tensor:
        """Mark the pixels of the patches as covered, in place.

        Args:
            covered: bool canvas, shape (N, canvas_height * canvas_width).
            window: What `window` gave, shape (N, 2).
            inside: What `inside` gave, shape (N, 1, h, w).

        Returns:
            How many pixels of each picture were not covered before, int64, shape (N,).
        """
        canvas = covered[:, None]
        fresh = inside & ~self.crop(canvas, window)
        self.lay(canvas, window, torch.ones_like(fresh))
        return fresh.sum(dim=(1, 2, 3))

    def coverage(self, covered: Tensor) -> Tensor:
        """Share of the picture that is covered.

        Args:
            covered: bool canvas, shape (N, canvas_height * canvas_width).

        Returns:
            float32 in [0, 1], shape (N,).
        """
        return self.to_picture(covered[:, None, :]).float().mean(dim=(1, 2, 3))


def _array(tensor: Tensor) -> NDArray[Any]:
    """A tensor of the host as an array over the same memory."""
    return tensor.detach().numpy()


@dataclass(frozen=True)
class StrideGrid:
    """Fewer places to choose from: the middles of square cells of `stride` pixels, numbered row-major.

    Args:
        height: Rows H of the picture.
        width: Columns W of the picture.
        stride: The pitch k of the grid in pixels: 1 (every location is a place) or an even divisor of H and
            W.

    Raises:
        ValueError: If the stride is none of these.
    """

    height: int
    width: int
    stride: int

    def __post_init__(self) -> None:
        """Refuse a pitch that leaves a rest, or whose cells have no pixel right of their middle."""
        even = self.stride == 1 or (self.stride > 1 and self.stride % 2 == 0)
        if not even or self.height % self.stride or self.width % self.stride:
            raise ValueError(
                f"stride is {self.stride}, but it must be 1 or an even divisor of the picture's height "
                f"{self.height} and width {self.width}"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the grid, H/k and W/k."""
        return self.height // self.stride, self.width // self.stride

    @property
    def places(self) -> int:
        """How many places there are."""
        return self.shape[0] * self.shape[1]

    def location(self, place: Index) -> Index:
        """The location (a pixel, row-major) of places: the middle of the cell, ``k // 2`` from its corner."""
        columns, half = self.shape[1], self.stride // 2
        row, column = place // columns * self.stride + half, place % columns * self.stride + half
        return row * self.width + column

    def place(self, location: Index) -> Index:
        """The place in whose cell a location lies."""
        row, column = location // self.width // self.stride, location % self.width // self.stride
        return row * self.shape[1] + column


@dataclass(frozen=True)
class AffineLocations:
    """Points of the square [-1, 1] x [-1, 1] as locations, as the authors' released code has them.

    There a point (y, x) is scaled onto the top-left corners of the patches that fit a picture with a margin
    of p = (h - 1) // 2 rows and (w - 1) // 2 columns on every side, and rounded down::

        top = floor((y + 1) / 2 * (H + 2 p - h)) - p

    For the 60x45 patch in 128x128 pixels, y = -1, 0, 1 gives rows -29, 34, 97, and x gives columns -22, 41,
    105.

    Args:
        height: Rows H of the picture.
        width: Columns W of the picture.
        patch_size: Rows h and columns w of the patch.
    """

    height: int
    width: int
    patch_size: tuple[int, int] = PATCH_SIZE

    def location(self, point: Tensor) -> Tensor:
        """The locations of points; what lies outside the square is moved to its border.

        Computed in the precision of the points.

        Args:
            point: (y, x), shape (..., 2).

        Returns:
            int64, shape (...).
        """
        row, column = (
            torch.floor((value.clamp(-1.0, 1.0) + 1.0) * (0.5 * span)).long() + shift
            for value, (span, shift) in zip(point.unbind(-1), self._axes(), strict=True)
        )
        return row * self.width + column

    def _axes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Of rows and columns: how far the corners reach, and the index of the first one's centre."""
        rows, columns = self.patch_size
        return _reach(self.height, rows), _reach(self.width, columns)


def _reach(size: int, patch: int) -> tuple[int, int]:
    margin = (patch - 1) // 2
    return size + 2 * margin - patch, patch // 2 - margin
