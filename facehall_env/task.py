"""What the three faces of the environment share: data, core settings, spaces and observations from JSON-able words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, get_args

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facehall_env.core import HORIZON, HallucinationCore, Precision, Reward, to_uint8
from facehall_env.datasets import FaceDataset, load_dataset
from facehall_env.enhancer import PRESETS, LocalEnhancementNetwork, load_enhancer, make_enhancer
from facehall_env.patches import PATCH_SIZE, Boundary
from facehall_env.resample import ProtocolName

Sampling = Literal["random", "sequential"]
ObservationKind = Literal["image", "dict"]
NO_LOCATION: Final = -1
"""The location in a dictionary observation before the first step."""


class FaceTask:
    """One hallucination task: which faces, how they are degraded, what may be done and what is shown.

    Args:
        dataset: ``"lfw"``, ``"bioid"``, ``"folder"`` or ``"synthetic"``, or a `FaceDataset`.
        scale: 4 or 8 in the paper; any divisor of the picture's sides from 2 on.
        root: Where the pictures lie; None where they were prepared before or need no files.
        split: ``"train"``, ``"val"`` or ``"test"``.
        sampling: ``"random"``: a reset draws a face; ``"sequential"``: resets walk through the split in order.
        horizon: Steps of an episode, T.
        patch_size: Rows and columns of the patch.
        boundary: ``"pad"`` or ``"clamp"``.
        protocol: ``"aligned"`` or ``"torch7"``.
        reward: ``"terminal"``, ``"delta"`` or ``"coverage"``.
        coverage_weight: Weight of the coverage term.
        observation: ``"image"`` or ``"dict"``.
        enhancer: ``"identity"``, the name of a preset (untrained, seeded with 0) or the path of trained weights.
        precision: ``"float32"`` or ``"bfloat16"``.
        device: A torch device, or ``"auto"``: an accelerator if there is one.
        data_options: More keyword arguments of the data set.

    Raises:
        ValueError: If an argument is out of range; the message names it.
        FileNotFoundError: If data or weights are missing; the message says where they were looked for.
    """

    def __init__(
        self,
        dataset: str | FaceDataset = "synthetic",
        scale: int = 8,
        *,
        root: str | None = None,
        split: str = "train",
        sampling: Sampling = "random",
        horizon: int = HORIZON,
        patch_size: Sequence[int] = PATCH_SIZE,
        boundary: Boundary = "pad",
        protocol: ProtocolName = "aligned",
        reward: Reward = "terminal",
        coverage_weight: float = 4.0,
        observation: ObservationKind = "image",
        enhancer: str = "identity",
        precision: Precision = "float32",
        device: str = "cpu",
        data_options: dict[str, Any] | None = None,
    ) -> None:
        for name, value, kind in (
            ("sampling", sampling, Sampling),
            ("observation", observation, ObservationKind),
        ):
            if value not in get_args(kind):
                raise ValueError(f"{name} is {value!r}, but it must be one of {', '.join(get_args(kind))}")
        if isinstance(dataset, str):
            dataset = load_dataset(dataset, root=root, split=split, **(data_options or {}))
        self.dataset = dataset
        self.sampling: Sampling = sampling
        self.observation: ObservationKind = observation
        height, width, channels = dataset.shape
        rows, columns = patch_size
        self.core = HallucinationCore(
            (channels, height, width),
            scale,
            horizon=horizon,
            patch_size=(rows, columns),
            boundary=boundary,
            protocol=protocol,
            reward=reward,
            coverage_weight=coverage_weight,
            enhancer=named_enhancer(enhancer, (channels, height, width), (rows, columns)),
            precision=precision,
            device=choose_device(device),
        )

    @property
    def action_space(self) -> gym.spaces.Discrete:
        """``Discrete(H*W)``: the centre of the patch, row-major."""
        return gym.spaces.Discrete(self.core.geometry.locations)

    @property
    def observation_space(self) -> gym.spaces.Space[Any]:
        """The space of one row's observation."""
        channels, height, width = self.core.shape
        scale = self.core.scale
        image = gym.spaces.Box(0, 255, (height, width, channels), np.uint8)
        if self.observation == "image":
            return image
        return gym.spaces.Dict(
            {
                "image": image,
                "low_resolution": gym.spaces.Box(
                    0, 255, (height // scale, width // scale, channels), np.uint8
                ),
                "location": gym.spaces.Discrete(self.core.geometry.locations + 1, start=NO_LOCATION),
                "time": gym.spaces.Box(0.0, 1.0, (1,), np.float32),
            }
        )

    def faces(self, indices: Sequence[int]) -> Tensor:
        """These faces of the data set as uint8, (N, C, H, W), on the CPU."""
        return torch.from_numpy(np.stack([self.dataset[int(i)] for i in indices])).permute(0, 3, 1, 2)

    def image(self) -> NDArray[np.uint8]:
        """The current pictures of all rows, uint8, (N, H, W, C): fresh, quantised for the eye only."""
        return to_uint8(self.core.current).cpu().numpy()


def choose_device(device: str) -> torch.device:
    """A torch device; ``"auto"`` takes the accelerator if there is one."""
    if device != "auto":
        return torch.device(device)
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return accelerator or torch.device("cpu")


def named_enhancer(
    name: str, shape: tuple[int, int, int], patch_size: tuple[int, int]
) -> LocalEnhancementNetwork | None:
    """The enhancer that a word stands for.

    Args:
        name: ``"identity"``, a preset (untrained weights that depend on nothing but the preset), or a weight file.
        shape: C, H, W of the picture.
        patch_size: Rows and columns of the patch.

    Returns:
        The network, or None for the identity.

    Raises:
        ValueError, FileNotFoundError: If the name stands for nothing, or the file is not what it should be.
    """
    if name == "identity":
        return None
    if name in PRESETS:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return make_enhancer(name, shape=shape, patch_size=patch_size).eval()
    if not Path(name).is_file():
        raise FileNotFoundError(
            f"enhancer is {name!r}, which is neither a weight file nor one of identity, {', '.join(PRESETS)}"
        )
    return load_enhancer(name).eval()
