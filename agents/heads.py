"""From what a policy remembers and sees to logits of the places that it may look at."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from agents.policies import PolicyConfig


class FlatHead(nn.Module):
    """One linear layer from the LSTM to every place (the paper's)."""

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.layer = nn.Linear(config.lstm_features, config.places)

    def forward(self, hidden: Tensor, picture: Tensor, visits: Tensor) -> Tensor:
        """Logits (N, places) from the LSTM's output (N, lstm_features)."""
        return self.layer(hidden)  # type: ignore[no-any-return]


class ConvHead(nn.Module):
    """A small convolutional net over the grid of places, its features scaled and shifted by the LSTM (FiLM).

    It sees the picture, how often each place was chosen, how many patches have lain on it, how much of the
    picture a patch there would newly cover, and coordinates; the same weights judge every place, so what is
    learned in one place holds in all.
    """

    _DILATIONS = (1, 2, 4, 8)

    coordinates: Tensor

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.config = config
        k, n = config.stride, config.head_channels
        kernel = 2 * k if k > 1 else 3
        self.look = nn.Conv2d(config.channels, n, kernel, stride=k, padding=(kernel - k) // 2)
        self.join = nn.Conv2d(n + 5, n, 3, padding=1)
        self.layers = nn.ModuleList(nn.Conv2d(n, n, 3, padding=d, dilation=d) for d in self._DILATIONS)
        self.modulation = nn.Linear(config.lstm_features, 2 * n * len(self._DILATIONS))
        self.last = nn.Conv2d(n + 1, 1, 1)
        rows, columns = (torch.linspace(-1.0, 1.0, size) for size in config.grid)
        coordinates = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))[None]
        self.register_buffer("coordinates", coordinates, persistent=False)
        # Odd, so that the window is centred on the place
        self.window = (config.patch_height // k | 1, config.patch_width // k | 1)
        nn.init.normal_(self.modulation.weight, std=0.01)
        nn.init.zeros_(self.modulation.bias)
        nn.init.zeros_(self.last.weight)  # a uniform policy at first

    def forward(self, hidden: Tensor, picture: Tensor, visits: Tensor) -> Tensor:
        """Logits of every place.

        Args:
            hidden: The LSTM's output, (N, lstm_features).
            picture: (N, C, H, W) in [-1, 1].
            visits: (N, places).

        Returns:
            (N, places).
        """
        n = hidden.shape[0]
        seen = visits.view(n, 1, *self.config.grid)
        covered = self._cover(seen)
        # A sum over a patch's window, too far for the convolutions; the last layer has it at first hand
        fresh = self._cover((covered < 0.5).to(seen.dtype)) / math.prod(self.window)
        maps = (
            F.relu(self.look(picture)),
            seen.log1p(),
            covered.log1p(),
            fresh,
            self.coordinates.expand(n, -1, -1, -1),
        )
        features = F.relu(self.join(torch.cat(maps, dim=1)))
        modulation = self.modulation(hidden).view(n, len(self._DILATIONS), 2, -1, 1, 1)
        for i, layer in enumerate(self.layers):
            scale, shift = modulation[:, i, 0], modulation[:, i, 1]
            features = features + F.relu(layer(features) * (1.0 + scale) + shift)
        return self.last(torch.cat((features, fresh), dim=1)).flatten(1)  # type: ignore[no-any-return]

    def _cover(self, seen: Tensor) -> Tensor:
        """How many patches have lain on each place: the visits summed over a patch's window (cumulative)."""
        h, w = self.window
        padded = F.pad(seen, (w // 2 + 1, w // 2, h // 2 + 1, h // 2))
        table = padded.cumsum(2).cumsum(3)
        return table[:, :, h:, w:] - table[:, :, :-h, w:] - table[:, :, h:, :-w] + table[:, :, :-h, :-w]
