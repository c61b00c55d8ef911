"""The policy of the authors' released code: a Gaussian around one point of the picture.

Beside the paper's text it has a GRU cell instead of an LSTM, batch normalisation after every fully connected
layer, I_0 as one more input, and chooses a point (y, x) of [-1, 1] x [-1, 1] with a fixed standard deviation
(`AffineLocations` says which patch a point means).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agents.distributed import ALONE, Ranks
from agents.policies import PolicyConfig, PolicyNetwork
from facehall_env.linear import PictureLinear
from facehall_env.patches import AffineLocations


class GaussianState(NamedTuple):
    """What the policy remembers of N episodes between two steps.

    Attributes:
        hidden: What the recurrence gave at the last step, (N, F).
        memory: The GRU's own state, (N, F).
        last: The previous point, inside the square, (N, 2); zero before the first step.
        initial: I_0, (N, C*H*W), without meaning before the first step.
        started: Which episodes have begun, bool, (N,).
    """

    hidden: Tensor
    memory: Tensor
    last: Tensor
    initial: Tensor
    started: Tensor

    def restart(self, rows: Tensor) -> GaussianState:
        """The memory with some rows at the start of an episode.

        Args:
            rows: Which ones, bool, (N,).
        """
        keep = (~rows).to(self.hidden.dtype)[:, None]
        return GaussianState(
            self.hidden * keep, self.memory * keep, self.last * keep, self.initial, self.started & ~rows
        )


class NormalizedLayer(nn.Module):
    """A fully connected layer, batch normalisation and ReLU, on N rows of each of T steps.

    In training every step is normalised by the mean and variance of its own N rows, as it is when episodes
    are collected step by step, so that both give the same distribution; else by the running ones, which
    follow where steps come one at a time.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = PictureLinear(inputs, outputs)
        self.norm = nn.BatchNorm1d(outputs)

    def forward(self, features: Tensor) -> Tensor:
        """(T, N, inputs) to (T, N, outputs)."""
        linear = self.linear(features)
        if not self.training or len(linear) == 1:
            return F.relu(self.norm(linear.flatten(0, 1)).view_as(linear))
        steps, norm = len(linear), self.norm
        by_row = linear.transpose(0, 1).flatten(1)  # the steps side by side, each with statistics of its own
        weight, bias = norm.weight.repeat(steps), norm.bias.repeat(steps)
        normal = F.batch_norm(by_row, None, None, weight, bias, training=True, eps=norm.eps)
        return F.relu(normal.view(-1, *linear.shape[::2]).transpose(0, 1))


class GaussianPolicyNetwork(PolicyNetwork):
    """Pictures and the previous point to a Gaussian over the next point.

    ``g_t = FC(FC([FC(l_{t-1}), FC(I_{t-1}), FC(I_0)]))``, each with batch normalisation and ReLU;
    ``h_1 = relu(g_1 + b)``, ``h_t = relu(g_t + GRU(h_{t-1}))``; mean = tanh(FC(h_t)). Weights start with a
    standard deviation of 0.02.

    Args:
        config: The shape of the network.
    """

    NORMALIZES_BATCHES = True

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__(config)
        pixels, width = config.channels * config.height * config.width, config.lstm_features
        self.location_layer = NormalizedLayer(2, config.history_features)
        self.picture_layer = NormalizedLayer(pixels, config.picture_features)
        self.initial_layer = NormalizedLayer(pixels, config.picture_features)
        self.joined = nn.Sequential(
            NormalizedLayer(config.history_features + 2 * config.picture_features, width),
            NormalizedLayer(width, width),
        )
        self.start = nn.Parameter(torch.empty(width))
        self.cell = nn.GRUCell(width, width)
        self.mean_layer = nn.Linear(width, 2)
        self.value_layer = nn.Linear(width, 1)
        self.locations = AffineLocations(
            config.height, config.width, (config.patch_height, config.patch_width)
        )
        for name, parameter in self.named_parameters():
            nn.init.normal_(parameter, mean=1.0 if name.endswith("norm.weight") else 0.0, std=0.02)

    def initial_state(self, rows: int) -> GaussianState:
        """The memory before the first step, for N rows."""
        zeros = self.start.new_zeros(rows, len(self.start))
        pixels = self.picture_layer.linear.in_features
        return GaussianState(
            zeros,
            zeros,
            self.start.new_zeros(rows, 2),
            self.start.new_zeros(rows, pixels),
            torch.zeros(rows, dtype=torch.bool, device=self.start.device),
        )

    def step(self, picture: Tensor, state: GaussianState) -> tuple[Tensor, GaussianState]:
        """Means (N, 2) for the next step of N episodes; see `PolicyNetwork.step`."""
        pixels, begun = picture.flatten(1), state.started[:, None]
        initial = torch.where(begun, state.initial, pixels)
        glimpse = self._glimpse(state.last[None], pixels[None], initial[None])[0]
        memory = torch.where(begun, self.cell(state.hidden, state.memory), state.memory)
        hidden = F.relu(glimpse + torch.where(begun, memory, self.start))
        started = torch.ones_like(state.started)
        return self._mean(hidden), GaussianState(hidden, memory, state.last, initial, started)

    def choose(
        self,
        parameters: Tensor,
        *,
        deterministic: bool,
        generator: torch.Generator | None = None,
        ranks: Ranks = ALONE,
    ) -> Tensor:
        """A point for every row, (N, 2), not yet confined to the square; its mean where deterministic."""
        if deterministic:
            return parameters
        rows, columns = parameters.shape
        noise = ranks.randn(rows, columns, generator, parameters.device)
        return parameters + self.config.location_std * noise

    def remember(self, state: GaussianState, choice: Tensor) -> GaussianState:
        """The memory after points (N, 2) were chosen."""
        return state._replace(last=choice.clamp(-1.0, 1.0))

    def location(self, choice: Tensor) -> Tensor:
        """The environment's locations of points (N, 2), int64, (N,)."""
        return self.locations.location(choice)

    def evaluate(self, pictures: Tensor, choices: Tensor) -> tuple[Tensor, Tensor]:
        """Means and values of whole episodes; see `PolicyNetwork.evaluate`.

        Args:
            pictures: I_0 .. I_{T-1}, (T, N, C, H, W) in [-1, 1].
            choices: The points that were chosen, (T, N, 2).

        Returns:
            Means (T, N, 2) and values (T, N).
        """
        pixels = pictures.flatten(2)
        last = torch.cat((torch.zeros_like(choices[:1]), choices[:-1].clamp(-1.0, 1.0)))
        glimpses = self._glimpse(last, pixels, pixels[:1])
        hidden, memory = F.relu(glimpses[0] + self.start), torch.zeros_like(glimpses[0])
        states = [hidden]
        for glimpse in glimpses[1:]:
            memory = self.cell(hidden, memory)
            hidden = F.relu(glimpse + memory)
            states.append(hidden)
        all_hidden = torch.stack(states)
        return self._mean(all_hidden), self.value_layer(all_hidden.detach()).squeeze(2)

    def log_prob_and_entropy(self, parameters: Tensor, choices: Tensor) -> tuple[Tensor, Tensor]:
        """Log-densities of points (T, N, 2) around means (T, N, 2), and entropies, which are constant.

        The density is that of the point as it was drawn, before it was confined to the square.
        """
        std = self.config.location_std
        deviation = (choices - parameters) / std
        constant = 0.5 * math.log(2.0 * math.pi) + math.log(std)
        log_prob = -(0.5 * deviation.square() + constant).sum(dim=2)
        return log_prob, torch.full_like(log_prob, 2.0 * constant + 1.0)

    def _glimpse(self, last: Tensor, pixels: Tensor, initial: Tensor) -> Tensor:
        """What is seen at T steps, (T, N, F); `initial` (1, N, C*H*W) is the same at all of them."""
        seen = self.location_layer(last), self.picture_layer(pixels), self.initial_layer(initial)
        features = torch.cat([part.expand(len(last), -1, -1) for part in seen], dim=2)
        return self.joined(features)  # type: ignore[no-any-return]

    def _mean(self, hidden: Tensor) -> Tensor:
        return torch.tanh(self.mean_layer(hidden))
