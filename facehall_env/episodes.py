"""What the faces of the environment have in common: episodes side by side, what they show and tell."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facehall_env.core import to_uint8
from facehall_env.rendering import render_frame
from facehall_env.sampling import Indices
from facehall_env.task import NO_LOCATION, FaceTask

Array = NDArray[Any] | Tensor


class Episodes:
    """N episodes of a task, in arrays with one entry a row.

    Args:
        task: What is played.
        rows: N.
        to_numpy: Give numpy arrays, numbers as float64; else tensors where the core computes, numbers as
            float32, and no step ever waits for the device.

    Attributes:
        task: What is played.
        core: Where it is played.
        rows: N.
    """

    def __init__(self, task: FaceTask, rows: int, *, to_numpy: bool = True) -> None:
        self.task, self.core, self.rows, self.to_numpy = task, task.core, rows, to_numpy
        self._visited: list[Array] = []
        self._index = self._give(torch.full((rows,), -1, device=self.core.device))
        self._psnr_input = self._number(torch.zeros(rows, device=self.core.device))

    def start(self, faces: Indices) -> None:
        """Start an episode of each of these faces, int64, (N,)."""
        self.task.warn_of_identity()
        self.core.reset(self.task.faces(faces))
        self._index = faces if self.to_numpy else torch.from_numpy(faces).to(self.core.device)
        self._visited = []
        self._psnr_input = decibel(self._number(self.core.mse))

    def step(self, location: Array) -> Array:
        """Look at these places, int64, (N,), and give the rewards.

        Args:
            location: In [0, H*W); of the kind that is given back.

        Raises:
            RuntimeError, ValueError: As `HallucinationCore.step`; nothing has changed then.
        """
        placed = location if isinstance(location, Tensor) else torch.from_numpy(location).to(self.core.device)
        reward = self._number(self.core.step(placed))
        self._visited.append(_fresh(location))
        return reward

    def observation(self) -> Array | dict[str, Array]:
        """What the agents see now, in fresh arrays; the pictures are quantised, those inside never are."""
        image = self._give(self.core.levels)
        if self.task.observation == "image":
            return image
        nowhere = torch.full((self.rows, 1), NO_LOCATION, device=self.core.device)
        done = self.core.t / self.core.horizon
        time = torch.full((self.rows, 1), done, dtype=torch.float32, device=self.core.device)
        return {
            "image": image,
            "low_resolution": self._give(to_uint8(self.core.low_resolution)),
            "location": _fresh(self._visited[-1])[:, None] if self._visited else self._give(nowhere),
            "time": self._give(time),
        }

    def info(self) -> dict[str, Array]:
        """What is measured, in fresh arrays of shape (N,)."""
        mse = self._number(self.core.mse)
        psnr, coverage = decibel(mse), self._number(self.core.coverage)
        info = {"mse": mse, "psnr": psnr, "coverage": coverage, "index": _fresh(self._index)}
        if self._visited:
            info["location"] = _fresh(self._visited[-1])
            if self.core.terminated:
                before = _fresh(self._psnr_input)
                info |= {"psnr_input": before, "psnr_gain": gain(psnr, before)}
        return info

    def pictures(self) -> dict[str, Array]:
        """``low_resolution``, ``input`` (I_0), ``current`` and ``high_resolution``, uint8, (N, H, W, C).

        Raises:
            RuntimeError: If no episode was started.
        """
        if not self.core.rows:
            raise RuntimeError("there are no pictures before the first episode: call reset()")
        return {name: self._give(picture) for name, picture in self.core.pictures().items()}

    def frames(self) -> list[NDArray[np.uint8]]:
        """One picture of the state of each row, see `facehall_env.rendering.render_frame`.

        Raises:
            RuntimeError: If no episode was started.
        """
        pictures = {name: _host(rows) for name, rows in self.pictures().items()}
        visited = [torch.as_tensor(location, device=self.core.device) for location in self._visited]
        paths = torch.stack(visited, dim=1) if visited else torch.empty(self.rows, 0, dtype=torch.int64)
        psnr, coverage = _host(decibel(self._number(self.core.mse))), self.core.coverage.tolist()
        psnr_input = _host(self._psnr_input)
        return [
            render_frame(
                {name: rows[row] for name, rows in pictures.items()},
                _host(self.core.geometry.boxes(path)),
                horizon=self.core.horizon,
                psnr=float(psnr[row]),
                psnr_input=float(psnr_input[row]),
                coverage=coverage[row],
            )
            for row, path in enumerate(paths)
        ]

    def _give(self, tensor: Tensor) -> Array:
        return tensor.cpu().numpy() if self.to_numpy else tensor

    def _number(self, tensor: Tensor) -> Array:
        return tensor.cpu().numpy().astype(np.float64) if self.to_numpy else tensor.clone()


def _host(array: Array) -> NDArray[Any]:
    return array.cpu().numpy() if isinstance(array, Tensor) else array


def _fresh(array: Array) -> Array:
    return array.clone() if isinstance(array, Tensor) else array.copy()


def decibel(mse: Array) -> Array:
    """PSNR in dB of mean squared errors of pixels in [0, 1]; infinite for 0."""
    if isinstance(mse, Tensor):
        return -10.0 * mse.log10()
    with np.errstate(divide="ignore"):
        return np.asarray(-10.0 * np.log10(mse))


def gain(psnr: Array, psnr_input: Array) -> Array:
    """By how many dB pictures are better; 0 where both are perfect."""
    if isinstance(psnr, Tensor) and isinstance(psnr_input, Tensor):
        return torch.where(psnr == psnr_input, 0.0, psnr - psnr_input)
    with np.errstate(invalid="ignore"):
        return np.where(psnr == psnr_input, 0.0, psnr - psnr_input)
