"""A small world for the tests of what learns: pictures of 16x16, patches of 6x5, episodes of a few steps."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from facehall_env import FaceHallucinationEnv
from facehall_env.enhancer import LocalEnhancementNetwork, make_enhancer

SIDE = 16
PATCH = (6, 5)


class SmallFaces:
    """Smooth random pictures, deterministic by index."""

    name = "small"

    def __init__(
        self,
        size: int = 8,
        side: int = SIDE,
        split: str = "train",
        shape: tuple[int, int, int] | None = None,
    ) -> None:
        self.size, self.split = size, split
        self.shape = shape or (side, side, 3)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        rng = np.random.default_rng(index)
        picture = rng.integers(0, 256, self.shape).astype(float)
        picture = (picture + np.roll(picture, 1, 0) + np.roll(picture, 1, 1)) / 3
        return picture.astype(np.uint8)

    def id(self, index: int) -> str:
        return f"small-{index}"


def small_enhancer(**options: Any) -> LocalEnhancementNetwork:
    torch.manual_seed(0)
    settings: dict[str, Any] = {"global_features": 4, "widths": (2, 2, 3, 3, 3, 2, 2), "inner_kernel": 3}
    return make_enhancer("tiny", shape=(3, SIDE, SIDE), patch_size=PATCH, **(settings | options))


def small_env(size: int = 8, horizon: int = 3, **options: Any) -> FaceHallucinationEnv:
    env = FaceHallucinationEnv(
        dataset=SmallFaces(size), scale=4, horizon=horizon, patch_size=PATCH, **options
    )
    env.set_enhancer(small_enhancer())
    return env


SMALL_POLICY = {
    "stride": 4,
    "picture_features": 8,
    "history_features": 8,
    "lstm_features": 8,
    "head_channels": 4,
}
SMALL_AGENT: dict[str, Any] = {
    "n_faces": 2,
    "n_rollouts": 2,
    "imitation_updates": 1,
    "imitation_faces": 2,
    "enhancer_updates": 2,
    "enhancer_batch_size": 4,
    "policy_kwargs": SMALL_POLICY,
}
