"""BCCNN: a bi-channel convolutional network (Zhou et al., AAAI 2015)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from agents.baselines.contract import Degradation
from agents.baselines.networks import NetworkHallucinator
from agents.baselines.recipes import TrainingConfig
from facehall_env.arguments import whole
from facehall_env.resample import bicubic_matrix

SIDE = 48
"""Rows and columns of the network's input."""
_LIMIT = 0.995
"""Where the inverse of tanh is cut off: three standard deviations from the mean."""


class BCCNN(NetworkHallucinator):
    """A picture from features, blended with I_0 by a weight that the features choose.

    The small face, enlarged to 48x48 (bicubic, by the protocol's rule) and normalised image by image and
    channel by channel, z = tanh((x - mean) / std), goes through

    ========================  ==================
    layer                     out
    ========================  ==================
    conv 5x5, tanh, max 2x2   (N, 32, 22, 22)
    conv 3x3, tanh, max 2x2   (N, 64, 10, 10)
    conv 3x3, tanh, max 2x2   (N, 128, 4, 4)
    ========================  ==================

    to 2,048 features. From these, fc 2000 tanh, fc to (N, C, H, W): the normalised picture, which the inverse
    of the normalisation takes back to pixels; and fc 100 tanh, fc 1: alpha = 0.5 tanh + 0.5. The answer is
    alpha I_0 + (1 - alpha) picture. 102,750,937 weights for RGB, 98 million of them in one layer.

    We differ from the paper: Xavier's initialisation and Adam 5e-4 where it has SGD; the error counts pixels,
    not normalised ones; pictures are rectangular where the faces are. The weight alpha learns at a hundredth
    of the rate and does not shape the features: otherwise it goes to one, where I_0 is, before there is any
    picture to blend with, and from there no gradient leads back.

    Args:
        degradation: What it is made for; small pictures of at most 48x48.
        hidden: Width of the layer before the picture.

    Raises:
        ValueError: If `hidden` is not positive, or the small pictures are larger.
    """

    name = "bccnn"
    recipe = TrainingConfig(learning_rate=5e-4, slow_share=0.01)

    _rows: Tensor
    _columns: Tensor

    def __init__(self, degradation: Degradation, *, hidden: int = 2000) -> None:
        super().__init__(degradation, hidden=whole("hidden", hidden))
        c, rows, columns = degradation.low_shape
        if max(rows, columns) > SIDE:
            raise ValueError(
                f"bccnn enlarges small pictures to {SIDE}x{SIDE}, but these have {rows}x{columns}"
            )
        for name, size in (("_rows", rows), ("_columns", columns)):
            matrix = torch.tensor(bicubic_matrix(size, SIDE, degradation.protocol), dtype=torch.float32)
            self.register_buffer(name, matrix, persistent=False)
        self.features = nn.Sequential(
            *(nn.Conv2d(c, 32, 5), nn.Tanh(), nn.MaxPool2d(2)),
            *(nn.Conv2d(32, 64, 3), nn.Tanh(), nn.MaxPool2d(2)),
            *(nn.Conv2d(64, 128, 3), nn.Tanh(), nn.MaxPool2d(2)),
            nn.Flatten(),
        )
        pixels = c * degradation.height * degradation.width
        self.picture = nn.Sequential(nn.Linear(2048, hidden), nn.Tanh(), nn.Linear(hidden, pixels))
        self.weight = nn.Sequential(nn.Linear(2048, 100), nn.Tanh(), nn.Linear(100, 1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def slow(self) -> list[nn.Parameter]:
        """The weight of the blend."""
        return list(self.weight.parameters())

    def forward(self, low_resolution: Tensor) -> Tensor:
        """(N, C, H/s, W/s) to (N, C, H, W)."""
        with torch.autocast(low_resolution.device.type, enabled=False):
            enlarged = self._rows @ (low_resolution @ self._columns.T)
            mean = enlarged.mean(dim=(2, 3), keepdim=True)
            spread = enlarged.std(dim=(2, 3), keepdim=True) + 1e-3  # a plain picture has none
            normalised = ((enlarged - mean) / spread).tanh()
        features = self.features(normalised)
        made = self.picture(features).float().view(-1, *self.degradation.high_shape)
        picture = mean + spread * made.clamp(-_LIMIT, _LIMIT).atanh()
        alpha = (0.5 * self.weight(features.detach()).float().tanh() + 0.5).view(-1, 1, 1, 1)
        blended: Tensor = alpha * self.initial(low_resolution) + (1.0 - alpha) * picture
        return blended
