"""The ablation with a spatial transformer (Jaderberg et al. 2015) in place of the policy.

Cao et al. (CVPR 2017), Table 3: the location is a pair of real numbers that the loss reaches, so the whole is
learned end to end, without rewards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agents.baselines.contract import Degradation
from agents.baselines.networks import NetworkHallucinator
from agents.baselines.recipes import TrainingConfig
from facehall_env.arguments import size_of_patch, whole
from facehall_env.core import HORIZON
from facehall_env.enhancer import EnhancerInput, make_enhancer
from facehall_env.linear import PictureLinear
from facehall_env.patches import PATCH_SIZE


def crop(picture: Tensor, centre: Tensor, patch_size: Sequence[int]) -> Tensor:
    """Patches at real-valued places, by the affine map x -> s x + t and bilinear interpolation.

    Args:
        picture: (N, C, H, W).
        centre: Column and row (x, y) of the patches' centres, t, (N, 2); -1 and 1 are the picture's edges
            (not the middles of its outermost pixels).
        patch_size: h and w; the scales s are h/H and w/W.

    Returns:
        (N, C, h, w), zero outside the picture.
    """
    scale = _scale(picture.shape[2:], patch_size, centre)
    return _sample(picture, patch_size, scale, centre)


def put_back(patch: Tensor, centre: Tensor, picture_size: Sequence[int]) -> Tensor:
    """Patches in a picture of zeros, by the inverse of `crop`'s map: x -> x/s - t/s.

    (The paper prints the parameters of this map as -s t and 1/s, which is not the inverse.)

    Args:
        patch: (N, C, h, w).
        centre: As in `crop`, (N, 2).
        picture_size: H and W.

    Returns:
        (N, C, H, W).
    """
    scale = _scale(picture_size, patch.shape[2:], centre)
    return _sample(patch, picture_size, 1.0 / scale, -centre / scale)


def _scale(picture_size: Sequence[int], patch_size: Sequence[int], like: Tensor) -> Tensor:
    """w/W and h/H, (2,)."""
    return like.new_tensor([patch_size[1] / picture_size[1], patch_size[0] / picture_size[0]])


def _sample(source: Tensor, size: Sequence[int], scale: Tensor, shift: Tensor) -> Tensor:
    """Samples a source (N, C, ., .) at scale x + shift, x the middles of the pixels of `size`."""
    rows, columns = size
    # Point by point and in float32: autocast would round matrix products to half a pixel
    x = (2.0 * torch.arange(columns, device=shift.device) + 1.0) / columns - 1.0
    y = (2.0 * torch.arange(rows, device=shift.device) + 1.0) / rows - 1.0
    across = (scale[0] * x + shift[:, :1])[:, None, :].expand(-1, rows, -1)
    down = (scale[1] * y + shift[:, 1:])[:, :, None].expand(-1, -1, columns)
    return F.grid_sample(
        source, torch.stack((across, down), dim=3), padding_mode="zeros", align_corners=False
    )


class _Memory(NamedTuple):
    """What the localiser remembers: h and c of the LSTM, (N, lstm_features), and the last place, (N, 2)."""

    hidden: Tensor
    cell: Tensor
    last: Tensor


class Localiser(nn.Module):
    """Picture and previous place to the next place, as the policy's encoder (Eq. (3) and (4) of the paper).

    FC over the picture and FC over the place, both with ReLU, one LSTM over the two, and a linear layer to
    (x, y), squashed by tanh.

    Args:
        pixels: C*H*W of the picture.
        picture_features: Width of the layer over the picture.
        history_features: Width of the layer over the place.
        lstm_features: Width of the LSTM.
    """

    def __init__(self, pixels: int, picture_features: int, history_features: int, lstm_features: int) -> None:
        super().__init__()
        self.picture_layer = PictureLinear(pixels, picture_features)
        self.history_layer = nn.Linear(2, history_features)
        self.lstm = nn.LSTMCell(picture_features + history_features, lstm_features)
        self.head = nn.Linear(lstm_features, 2)

    def begin(self, rows: int) -> _Memory:
        """Nothing seen; the last place is the middle of the picture."""
        weight = self.head.weight
        zeros = weight.new_zeros(rows, self.lstm.hidden_size)
        return _Memory(zeros, zeros, weight.new_zeros(rows, 2))

    def forward(self, picture: Tensor, memory: _Memory) -> _Memory:
        """The memory after a look at I_{t-1}, (N, C, H, W); its `last` is the next place."""
        seen = F.relu(self.picture_layer(picture.flatten(1)))
        been = F.relu(self.history_layer(memory.last))
        hidden, cell = self.lstm(torch.cat((seen, been), dim=1), (memory.hidden, memory.cell))
        with torch.autocast(picture.device.type, enabled=False):  # a place is finer than bfloat16
            place = torch.tanh(self.head(hidden.float()))
        return _Memory(hidden, cell, place)


class SpatialTransformer(NetworkHallucinator):
    """T patches, one after the other, at places that are learned by gradient descent; reads I_0.

    At each step t: a recurrent localiser gives a place (x, y) in [-1, 1]; the patch there is sampled from
    I_{t-1} by the affine map with scales w/W and h/H (for the paper's patch 45/128 and 60/128); the local
    enhancement network of Attention-FH enhances it; and what it changed goes back by the inverse map, zero
    outside, and is added to I_{t-1}. The loss is the MSE of the picture, a mean over the steps, and gradients
    flow through everything.

    Where a place falls on whole pixels this is the step of the environment; between them the interpolation
    blurs the change, not the picture.

    Adam, 5e-4, gradients clipped. The paper gives neither these nor the localiser's layers, which are here
    those of the policy.

    Args:
        degradation: What it is made for.
        preset: Of the enhancer, ``paper``, ``full``, ``half`` or ``tiny``.
        horizon: Steps, T.
        patch_size: h and w of the patch.
        picture_features: Width of the localiser's layer over the picture.
        history_features: Width of its layer over the previous place.
        lstm_features: Width of its LSTM.

    Raises:
        ValueError: If a setting is out of range.
    """

    name = "spatial_transformer"
    recipe = TrainingConfig(learning_rate=5e-4)

    def __init__(
        self,
        degradation: Degradation,
        *,
        preset: str = "full",
        horizon: int = HORIZON,
        patch_size: tuple[int, int] = PATCH_SIZE,
        picture_features: int = 256,
        history_features: int = 128,
        lstm_features: int = 512,
    ) -> None:
        widths = {
            "picture_features": picture_features,
            "history_features": history_features,
            "lstm_features": lstm_features,
        }
        for name, value in {"horizon": horizon, **widths}.items():
            whole(name, value)
        patch_size = size_of_patch(patch_size)
        if patch_size[0] > degradation.height or patch_size[1] > degradation.width:
            raise ValueError(
                f"patch_size is {patch_size[0]}x{patch_size[1]}, but a patch must fit the picture of "
                f"{degradation.height}x{degradation.width}"
            )
        super().__init__(degradation, preset=preset, horizon=horizon, patch_size=patch_size, **widths)
        self.horizon, self.patch_size = horizon, patch_size
        shape = degradation.high_shape
        self.enhancer = make_enhancer(preset, shape=shape, patch_size=patch_size)
        self.localiser = Localiser(shape[0] * shape[1] * shape[2], **widths)

    def forward(self, low_resolution: Tensor) -> Tensor:
        """I_T, (N, C, H, W)."""
        return self.steps(low_resolution)[-1]

    def attempts(self, low_resolution: Tensor) -> Tensor:
        """I_1 to I_T, (T, N, C, H, W)."""
        return torch.stack(self.steps(low_resolution))

    def steps(self, low_resolution: Tensor) -> list[Tensor]:
        """I_1 to I_T, each (N, C, H, W), in [0, 1] and a little beyond."""
        initial = 2.0 * self.initial(low_resolution).float() - 1.0
        current, memory, pictures = initial, self.localiser.begin(len(initial)), []
        for _ in range(self.horizon):
            memory = self.localiser(current, memory)
            current = current + self._change(current, initial, memory.last)
            pictures.append(0.5 * (current + 1.0))
        return pictures

    def _change(self, current: Tensor, initial: Tensor, place: Tensor) -> Tensor:
        """What the enhancer changes at a place, as a picture, (N, C, H, W)."""
        patch = crop(current, place, self.patch_size)
        start = crop(initial, place, self.patch_size) if self.enhancer.needs_initial_patch else None
        enhanced = self.enhancer(EnhancerInput(patch, current, self._centre(place), start))
        return put_back(enhanced.float() - patch, place, self.degradation.high_shape[1:])

    def _centre(self, place: Tensor) -> Tensor:
        """Places (x, y) as the (row, column) that the enhancer knows, see `PatchGeometry.centres`; (N, 2)."""
        _, *sides = self.degradation.high_shape
        size, patch = place.new_tensor(sides), place.new_tensor(self.patch_size)
        corner = 0.5 * ((place.flip(1) + 1.0) * size - patch)
        return (corner + patch.div(2, rounding_mode="floor")) * (2.0 / (size - 1.0).clamp(min=1.0)) - 1.0
