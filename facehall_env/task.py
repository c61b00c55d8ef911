"""What the three faces of the environment share: data, core, spaces and pictures, from JSON-able words."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from facehall_env.arguments import one_of, size_of_patch, whole
from facehall_env.compilation import CompileMode
from facehall_env.core import HORIZON, HallucinationCore, Precision, Reward
from facehall_env.datasets import FaceDataset, load_dataset
from facehall_env.enhancer import PRESETS, LocalEnhancementNetwork, load_enhancer, make_enhancer
from facehall_env.messages import say
from facehall_env.patches import PATCH_SIZE, Boundary
from facehall_env.pretrained.folder import CONFIG, PretrainedWeights, WeightsTask, read_weights
from facehall_env.pretrained.registry import SEARCH_VARIABLE, available_weights, listed, weights_for
from facehall_env.resample import ProtocolName, check_protocol
from facehall_env.sampling import Indices, Sampling

ObservationKind = Literal["image", "dict"]
NO_LOCATION: Final = -1
"""The location in a dictionary observation before the first step."""


class FaceTask:
    """One hallucination task: which faces, how they are degraded, what may be done and what is shown.

    Args:
        dataset: ``"lfw"``, ``"bioid"``, ``"folder"`` or ``"synthetic"``; or a `FaceDataset`, whose own split
            counts, and which goes without `root` and `data_options`.
        scale: 4 or 8 in the paper; any divisor of the picture's sides from 2 on.
        root: Folder or archive of the pictures; None where they were downloaded, or need no files.
        split: ``"train"``, ``"val"`` or ``"test"``.
        sampling: ``"random"``: a reset draws a face; ``"sequential"``: resets walk through the split.
        horizon: Steps of an episode, T.
        patch_size: Rows and columns of the patch.
        boundary: ``"pad"`` or ``"clamp"``.
        protocol: ``"aligned"`` or ``"torch7"``.
        reward: ``"terminal"``, ``"delta"`` or ``"coverage"``.
        coverage_weight: Weight of the coverage term.
        consistent: Make the pictures shrink exactly to the low-resolution one after every step.
        observation: ``"image"`` or ``"dict"``.
        enhancer: ``"pretrained"``: the weights that were trained for this task (same data set, scale,
            protocol, picture and patch size); ``"identity"``: patches stay as they are; the name of certain
            weights (`facehall_env.available_weights`); a preset (untrained, seeded with 0); or the path of a
            weight file, of a folder of weights or of a run. None, the default: as ``"pretrained"`` where
            there are such weights, else as ``"identity"``, with a warning at the first reset unless a network
            was attached by then. A live network is attached by ``set_enhancer``.
        precision: ``"float32"`` or ``"bfloat16"``.
        compile: Run the enhancer through ``torch.compile``: ``"default"``, ``"reduce-overhead"`` or
            ``"max-autotune"``; None, the default, as it is. See `HallucinationCore`.
        channels_last: Lay the enhancer's convolutions out with the channels side by side.
        device: A torch device, or ``"auto"``: an accelerator if there is one.
        data_options: More keyword arguments of the data set.

    Attributes:
        dataset: The faces.
        core: Where the episodes run.
        weights_task: What weights have to be trained for to be the task's default.

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
        consistent: bool = False,
        observation: ObservationKind = "image",
        enhancer: str | Path | None = None,
        precision: Precision = "float32",
        compile: CompileMode | None = None,
        channels_last: bool = False,
        device: str = "cpu",
        data_options: Mapping[str, Any] | None = None,
    ) -> None:
        one_of("sampling", sampling, Sampling)
        one_of("observation", observation, ObservationKind)
        one_of("reward", reward, Reward)
        one_of("boundary", boundary, Boundary)
        one_of("precision", precision, Precision)
        check_protocol(protocol)
        whole("horizon", horizon)
        rows, columns = size_of_patch(patch_size)
        placed = choose_device(device)
        self.dataset = _open(dataset, root, split, data_options)
        self.sampling: Sampling = sampling
        self.observation: ObservationKind = observation
        height, width, channels = self.dataset.shape
        word = dataset if isinstance(dataset, str) else dataset.name.partition("-")[0]
        self.weights_task = WeightsTask(word, scale, protocol, (channels, height, width), (rows, columns))
        network, weights = self._enhancer(enhancer)
        self.core = HallucinationCore(
            (channels, height, width),
            scale,
            horizon=horizon,
            patch_size=(rows, columns),
            boundary=boundary,
            protocol=protocol,
            reward=reward,
            coverage_weight=coverage_weight,
            consistent=consistent,
            enhancer=network,
            precision=precision,
            compile=compile,
            channels_last=channels_last,
            device=placed,
        )
        self._loaded, self._weights, self._asked = self.core.enhancer, weights, enhancer is not None
        self._warned = False
        if weights is not None:
            say(f"enhancing with {weights.name}, trained for {weights.task} ({weights.folder})")

    def _enhancer(
        self, name: str | Path | None
    ) -> tuple[LocalEnhancementNetwork | None, PretrainedWeights | None]:
        """The network that the argument stands for, and the weights where it is a trained one by name."""
        wanted = self.weights_task
        if name is not None and name != "pretrained":
            return named_enhancer(name, wanted.shape, wanted.patch_size), named_weights(name)
        weights = weights_for(wanted)
        if weights is not None:
            return weights.enhancer(), weights
        if name is not None:
            raise ValueError(
                f"enhancer is 'pretrained', but there are no weights for {wanted}; there are: {listed()}. "
                f"Name one of these, a preset or a weight file; or train some (train_agent.py, python -m "
                f"agents.export) and say in {SEARCH_VARIABLE} in which folder their folder lies"
            )
        return None, None

    @property
    def pretrained(self) -> PretrainedWeights | None:
        """The weights that enhance, where they have a name; None for any other enhancer."""
        return self._weights if self.core.enhancer is self._loaded else None

    @property
    def enhancer_by_default(self) -> bool:
        """Whether the enhancer is one that nobody asked for: neither by an argument nor by `set_enhancer`.

        Learning must not start from it: what trains an enhancer makes its own instead, or says so.
        """
        return not self._asked and self.core.enhancer is self._loaded

    def warn_of_identity(self) -> None:
        """Say once that the episodes do nothing, where there was nothing to enhance with by default."""
        if self._warned or not self.enhancer_by_default or self._weights is not None:
            return
        self._warned = True
        warnings.warn(
            f"there are no pretrained weights for {self.weights_task}, so patches stay as they are; attach a "
            'network with env.unwrapped.set_enhancer(network), or name an enhancer: "identity" if this is '
            f"what you want, a preset, a weight file, or weights that there are: {listed()}",
            stacklevel=4,
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
                "location": gym.spaces.Box(NO_LOCATION, self.core.geometry.locations - 1, (1,), np.int64),
                "time": gym.spaces.Box(0.0, 1.0, (1,), np.float32),
            }
        )

    def faces(self, indices: Sequence[int] | Indices) -> Tensor:
        """These faces of the data set as uint8, (N, C, H, W), in the CPU's memory."""
        return torch.from_numpy(np.stack([self.dataset[int(i)] for i in indices])).permute(0, 3, 1, 2)


def _open(
    dataset: str | FaceDataset, root: str | None, split: str, options: Mapping[str, Any] | None
) -> FaceDataset:
    if isinstance(dataset, str):
        return load_dataset(dataset, root=root, split=split, **(options or {}))
    if root is not None or options:
        raise ValueError(
            "root and data_options say how to open a data set by its name, but dataset is an open one: leave "
            "them out"
        )
    return dataset


def choose_device(device: str) -> torch.device:
    """A torch device; ``"auto"`` takes the accelerator if there is one.

    Raises:
        ValueError: If torch cannot use the device here.
    """
    if device != "auto":
        try:
            placed = torch.empty(0, device=device).device
            if placed.type == "meta":
                raise RuntimeError("it holds no values")
            return placed
        except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
            reason = str(error).split("\n")[0]
            raise ValueError(
                f"device is {device!r}, which cannot be used here ({reason}): choose 'cpu' or 'auto'"
            ) from error
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return accelerator or torch.device("cpu")


def named_enhancer(
    name: str | Path, shape: tuple[int, int, int], patch_size: tuple[int, int]
) -> LocalEnhancementNetwork | None:
    """The enhancer that a word stands for.

    Args:
        name: ``"identity"``, a preset (untrained weights that depend on nothing but the preset and the
            sizes), the name of trained weights (`facehall_env.available_weights`), a folder of weights or of
            a run, or a weight file.
        shape: C, H, W of the picture.
        patch_size: Rows and columns of the patch.

    Returns:
        The network, or None for the identity.

    Raises:
        ValueError: If the name is none, or the file is not what it should be.
        FileNotFoundError: If the name stands for nothing.
    """
    if not isinstance(name, str | Path):
        raise ValueError(
            f"enhancer is a {type(name).__name__}, but it must be a name or the path of a weight file; "
            "attach a live network with env.unwrapped.set_enhancer(network)"
        )
    if name == "identity":
        return None
    if isinstance(name, str) and name in PRESETS:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return make_enhancer(name, shape=shape, patch_size=patch_size).float().eval()
    weights = named_weights(name)
    if weights is not None:
        return weights.enhancer()
    if not str(name) or not Path(name).exists():
        raise FileNotFoundError(
            f"enhancer is {str(name)!r}, which is neither a weight file, nor a folder of weights or of a "
            f"run, nor one of pretrained, identity, {', '.join(PRESETS)}, nor the name of weights; of those "
            f"there are: {listed()}"
        )
    return load_enhancer(name).eval()


def named_weights(name: str | Path) -> PretrainedWeights | None:
    """The trained weights that an enhancer's name stands for; None where it stands for another enhancer.

    Raises:
        ValueError: If the name is a folder of weights that does not say what it should.
    """
    if isinstance(name, str) and (name in PRESETS or name == "identity"):
        return None
    if isinstance(name, str) and (found := available_weights().get(name)) is not None:
        return found
    return read_weights(name) if (Path(name) / CONFIG).is_file() else None
