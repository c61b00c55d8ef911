"""The supervised descent method: landmarks by a few linear steps on descriptors.

Xiong and De la Torre, "Supervised Descent Method and its Applications to Face Alignment", CVPR 2013. From
the mean shape x_0 in the face's box, each stage k moves all points at once: x_k = x_{k-1} + R_k phi(x_{k-1})
+ b_k (their Eq. (12)), phi being the descriptors of 32-pixel windows around the points. R_k and b_k are the
ridge regression from the descriptors at x_{k-1} to what is missing, x* - x_{k-1}, over all training faces
and several starts each.

Differences: starts are drawn by shifting and scaling the mean shape; the descriptors are ours
(`agents.landmarks.descriptors`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

import cv2
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from safetensors.torch import save_file
from torch import Tensor

from agents.landmarks.descriptors import CELLS, LENGTH, describe, orientation_maps
from agents.landmarks.points import Pictures, Points, check_pictures, check_points, checked_boxes
from facehall_env.arguments import whole
from facehall_env.weights import read_header, read_tensors

FRAME: Final = 128
"""Side of the square, in pixels, to which every box is scaled before anything is described."""
_KIND: Final = "facehall landmarks (SDM)"
_BATCH: Final = 64
"""Faces whose orientation maps are in memory at a time."""


@dataclass(frozen=True)
class SDMConfig:
    """How an SDM is trained.

    Attributes:
        stages: Number of regressions, four to five in the paper.
        starts: Perturbed starts of a training face.
        window: Side of the described window in pixels of the frame, a multiple of 4; a box is 128 wide.
        shift: Standard deviation of a start's shift, as a share of the box.
        scaling: Standard deviation of the logarithm of a start's size.
        ridge: Weight of the ridge penalty, as a share of the mean eigenvalue of the descriptors' covariance.
        seed: Draws the starts.
    """

    stages: int = 5
    starts: int = 10
    window: int = 32
    shift: float = 0.03
    scaling: float = 0.05
    ridge: float = 10.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("stages", 1), ("starts", 1), ("window", CELLS), ("seed", 0)):
            whole(name, getattr(self, name), least)
        if self.window % CELLS:
            raise ValueError(f"window is {self.window}, but it must be a multiple of {CELLS}")
        for name in ("shift", "scaling", "ridge"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(f"{name} is {getattr(self, name)}, but it must be a number from 0 on")


class SDM:
    """A trained supervised descent, a `LandmarkPredictor`.

    Args:
        config: How it was trained.
        mean: The mean shape in the frame, (K, 2), pixels.
        weights: R_k of every stage, (stages, 128 K, 2 K).
        biases: b_k, (stages, 2 K).
    """

    name = "sdm"

    def __init__(self, config: SDMConfig, mean: Tensor, weights: Tensor, biases: Tensor) -> None:
        self.config, self.mean, self.weights, self.biases = config, mean, weights, biases

    @property
    def count(self) -> int:
        """How many points it finds, K."""
        return self.mean.shape[0]

    @classmethod
    def train(
        cls,
        pictures: Pictures,
        points: ArrayLike,
        boxes: ArrayLike | None = None,
        *,
        config: SDMConfig | None = None,
        report: Callable[[int, float], None] | None = None,
    ) -> Self:
        """Learn from faces whose points are known.

        Args:
            pictures: uint8 (N, H, W, C), C = 3 (RGB) or 1 (gray).
            points: The K points of each, (N, K, 2), pixels.
            boxes: Where the faces are, as `predict` will be told; None for centred pictures.
            config: How to train; None for the defaults.
            report: Called after every stage with its number, from 1 on, and the mean distance that is left
                on the training faces, in pixels of a box 128 wide.

        Raises:
            ValueError: If pictures, points or boxes do not fit; nothing is computed then.
        """
        config = config or SDMConfig()
        squares = checked_boxes(boxes, pictures)
        true = to_frame(check_points(points, len(pictures)), squares)
        if len(pictures) < 2:
            raise ValueError("one face is not enough to train on: give at least two")
        gray = in_frame(pictures, squares)
        target = torch.from_numpy(true).float()
        mean = target.mean(0)
        current = _starts(mean, len(target), config)
        weights, biases = [], []
        for stage in range(config.stages):
            features = _describe_starts(gray, current, config.window // CELLS)
            missing = (target[:, None] - current).flatten(2)
            weight, bias = ridge_regression(features.flatten(0, 1), missing.flatten(0, 1), config.ridge)
            current = current + (features @ weight + bias).reshape(current.shape)
            weights.append(weight)
            biases.append(bias)
            if report is not None:
                report(stage + 1, (target[:, None] - current).norm(dim=-1).mean().item())
        # Half precision is what a file holds, so that a loaded SDM answers as the trained one.
        return cls(config, mean, torch.stack(weights).half().float(), torch.stack(biases).half().float())

    def predict(self, pictures: Pictures, boxes: ArrayLike | None = None) -> Points:
        """The K points of every face, (N, K, 2); see `LandmarkPredictor.predict`.

        Raises:
            ValueError: If pictures or boxes are not what they should be.
        """
        squares = checked_boxes(boxes, pictures)
        cell = self.config.window // CELLS
        found = []
        for i in range(0, len(squares), _BATCH):
            maps = orientation_maps(in_frame(pictures[i : i + _BATCH], squares[i : i + _BATCH]), cell)
            current = self.mean.expand(len(maps), -1, -1)
            for weight, bias in zip(self.weights, self.biases, strict=True):
                features = describe(maps, current, cell).flatten(1)
                current = current + (features @ weight + bias).reshape(current.shape)
            found.append(current)
        return from_frame(torch.cat(found).double().numpy(), squares)

    def mean_shape(self, boxes: NDArray[np.float64]) -> Points:
        """Where the search starts: the mean shape in each box, (N, K, 2)."""
        return from_frame(self.mean.double().expand(len(boxes), -1, -1).numpy(), boxes)

    def state(self) -> dict[str, Tensor]:
        """The tensors that, with `config`, make it up."""
        return {"mean": self.mean, "weights": self.weights, "biases": self.biases}

    @classmethod
    def from_state(cls, config: dict[str, Any], tensors: dict[str, Tensor]) -> Self:
        """Put one together again.

        Raises:
            ValueError: If the parts do not fit together.
        """
        try:
            settings = SDMConfig(**config)
            mean, weights, biases = (tensors[name].float() for name in ("mean", "weights", "biases"))
        except (TypeError, KeyError) as error:
            raise ValueError(
                f"it lacks a part, or has one that this version does not know: {error}"
            ) from error
        k = mean.shape[0]
        wanted = ((k, 2), (settings.stages, LENGTH * k, 2 * k), (settings.stages, 2 * k))
        if tuple(tuple(part.shape) for part in (mean, weights, biases)) != wanted:
            raise ValueError("its tensors do not belong to its configuration")
        return cls(settings, mean, weights, biases)

    def save(self, path: str | Path) -> None:
        """Write a safetensors file, regressions in half precision, with the configuration in its header."""
        tensors = {name: tensor.half().contiguous() for name, tensor in self.state().items()}
        tensors["mean"] = self.mean
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, path, metadata={"kind": _KIND, "config": json.dumps(asdict(self.config))})

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the file is cut off or of another kind.
        """
        path = Path(path)
        missing = f"there is no landmark file {path}; train one with python -m agents.landmarks"
        header = read_header(path, _KIND, missing)
        tensors = read_tensors(path)
        try:
            return cls.from_state(json.loads(header["config"]), tensors)
        except (ValueError, KeyError) as error:
            raise ValueError(f"{path} cannot be loaded: {error}") from error


def ridge_regression(x: Tensor, y: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """Weights W and bias b that minimise |x W + b - y|^2 + ridge tr(C) / D |W|^2, C the scatter of x.

    Args:
        x: Descriptors (n, D).
        y: Targets (n, d).
        ridge: Weight of the penalty.

    Returns:
        W (D, d) and b (d,). With fewer samples than numbers in a descriptor the equal system over the
        samples is solved, which is smaller.
    """
    x_mean, y_mean = x.mean(0), y.mean(0)
    x, y = x - x_mean, y - y_mean
    n, d = x.shape
    penalty = ridge * x.square().sum().item() / d + 1e-6
    if n < d:
        weight = x.T @ torch.linalg.solve(x @ x.T + penalty * torch.eye(n), y)
    else:
        weight = torch.linalg.solve(x.T @ x + penalty * torch.eye(d), x.T @ y)
    return weight, y_mean - x_mean @ weight


def in_frame(pictures: Pictures, boxes: NDArray[np.float64]) -> Tensor:
    """Luminance of the boxes, scaled to the frame, (N, 128, 128) in [0, 1]; the picture's edge goes on."""
    pictures = check_pictures(pictures)
    frames = []
    for picture, box in zip(pictures, boxes, strict=True):
        gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) if picture.shape[2] == 3 else picture[..., 0]
        scale = FRAME / box[2]
        shift = (FRAME - 1) / 2 - scale * box[:2]
        matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
        # Linear interpolation takes every other pixel of a box much larger than the frame: average first.
        if (blur := int(1 / scale)) > 1:
            gray = cv2.blur(gray, (blur, blur))
        frames.append(cv2.warpAffine(gray, matrix, (FRAME, FRAME), borderMode=cv2.BORDER_REPLICATE))
    return torch.from_numpy(np.stack(frames).astype(np.float32) / 255)


def to_frame(points: Points, boxes: NDArray[np.float64]) -> Points:
    """From pixels of the picture to pixels of the frame."""
    return (points - boxes[:, None, :2]) * (FRAME / boxes[:, None, 2:]) + (FRAME - 1) / 2


def from_frame(points: Points, boxes: NDArray[np.float64]) -> Points:
    """From pixels of the frame to pixels of the picture."""
    return (points - (FRAME - 1) / 2) * (boxes[:, None, 2:] / FRAME) + boxes[:, None, :2]


def _starts(mean: Tensor, count: int, config: SDMConfig) -> Tensor:
    """The mean shape shifted and scaled, (count, starts, K, 2); the first start is the mean shape itself."""
    rng = np.random.default_rng(config.seed)
    draws = torch.from_numpy(rng.standard_normal((count, config.starts, 1, 3))).float()
    draws[:, 0] = 0
    middle = mean.mean(0)
    size = (config.scaling * draws[..., 2:]).exp()
    return (mean - middle) * size + middle + config.shift * FRAME * draws[..., :2]


def _describe_starts(gray: Tensor, points: Tensor, cell: int) -> Tensor:
    """Descriptors of (N, S, K, 2) points, joined: (N, S, 128 K)."""
    n, starts, k = points.shape[:3]
    found = [
        describe(orientation_maps(gray[i : i + _BATCH], cell), points[i : i + _BATCH].flatten(1, 2), cell)
        for i in range(0, n, _BATCH)
    ]
    return torch.cat(found).reshape(n, starts, k * LENGTH)
