"""The recurrent policy network: what it remembers, how it sees the picture, where it says to look next."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facehall_env.patches import PATCH_SIZE, StrideGrid

HistoryKind = Literal["visits", "last"]
HeadKind = Literal["conv", "flat"]
PolicyInput = Literal["current", "initial"]
TASK_FIELDS: Final = ("channels", "height", "width", "patch_height", "patch_width")
"""The fields of a `PolicyConfig` that the task fixes."""


@dataclass(frozen=True)
class PolicyConfig:
    """Everything that fixes the shape of a `RecurrentPolicyNetwork`.

    Attributes:
        channels: C of the picture.
        height: H of the picture.
        width: W of the picture.
        patch_height: h of the patch.
        patch_width: w of the patch.
        stride: The policy chooses on a grid with this pitch in pixels: 1 (the paper) or an even divisor of H
            and W.
        history: ``visits``: how often each place of the grid was chosen; ``last``: the previous place, and
            the LSTM remembers the rest.
        head: ``conv``: a small convolutional net over picture, visits and coordinates, modulated by the
            LSTM; ``flat``: one linear layer from the LSTM to all places (the paper).
        policy_input: ``current``: I_{t-1}; ``initial``: I_0 at every step (the paper's ablation).
        picture_features: Width of the picture's layer.
        history_features: Width of the history's layer.
        lstm_features: Width of the LSTM.
        head_channels: Width of the convolutional head.
    """

    channels: int = 3
    height: int = 128
    width: int = 128
    patch_height: int = PATCH_SIZE[0]
    patch_width: int = PATCH_SIZE[1]
    stride: int = 4
    history: HistoryKind = "visits"
    head: HeadKind = "conv"
    policy_input: PolicyInput = "current"
    picture_features: int = 256
    history_features: int = 256
    lstm_features: int = 512
    head_channels: int = 32

    def __post_init__(self) -> None:
        """Refuse what no network can be built from, naming the field."""
        for name, value, kind in (
            ("history", self.history, HistoryKind),
            ("head", self.head, HeadKind),
            ("policy_input", self.policy_input, PolicyInput),
        ):
            if value not in get_args(kind):
                raise ValueError(f"{name} is {value!r}, but it must be one of {', '.join(get_args(kind))}")
        for name in (
            "channels",
            "height",
            "width",
            "patch_height",
            "patch_width",
            "picture_features",
            "history_features",
            "lstm_features",
            "head_channels",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, but it must be at least 1")
        _ = self.stride_grid  # refuses a stride that fits no grid

    def choices(self) -> dict[str, Any]:
        """The fields that are chosen, without those that the task fixes: `policy_kwargs` of an agent."""
        return {name: value for name, value in asdict(self).items() if name not in TASK_FIELDS}

    @property
    def stride_grid(self) -> StrideGrid:
        """The places that the policy chooses from."""
        return StrideGrid(self.height, self.width, self.stride)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the grid of places."""
        return self.stride_grid.shape

    @property
    def places(self) -> int:
        """How many places the policy chooses from."""
        return self.stride_grid.places

    def location(self, place: Tensor) -> Tensor:
        """The environment's location (a pixel, row-major) of places of the grid: the middle of the cell."""
        return self.stride_grid.location(place)

    def place(self, location: Tensor) -> Tensor:
        """The place of the grid in whose cell a location of the environment lies."""
        return self.stride_grid.place(location)


class PolicyState(NamedTuple):
    """What the policy remembers of N episodes between two steps.

    Attributes:
        hidden: h of the LSTM, (1, N, lstm_features).
        cell: c of the LSTM, (1, N, lstm_features).
        visits: How often each place was chosen, float32, (N, places).
        last: The previous place, int64, (N,), -1 before the first step.
        initial: I_0 where the policy looks at it, (N, C*H*W), without meaning before the first step; else
            (N, 0).
    """

    hidden: Tensor
    cell: Tensor
    visits: Tensor
    last: Tensor
    initial: Tensor

    def restart(self, rows: Tensor) -> PolicyState:
        """The memory with some rows at the start of an episode.

        Args:
            rows: Which ones, bool, (N,).
        """
        keep = (~rows).to(self.hidden.dtype)[:, None]
        return PolicyState(
            self.hidden * keep,
            self.cell * keep,
            self.visits * keep,
            torch.where(rows, torch.full_like(self.last, -1), self.last),
            self.initial,
        )


class RecurrentPolicyNetwork(nn.Module):
    """Picture and history to a distribution over places (Eq. (3) and (4) of the paper).

    FC over the picture and FC over the history, both with ReLU, one LSTM over the two, and a head.

    Args:
        config: The shape of the network.
    """

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.config = config
        self.picture_layer = nn.Linear(
            config.channels * config.height * config.width, config.picture_features
        )
        history = config.places if config.history == "visits" else 2
        self.history_layer = nn.Linear(history, config.history_features)
        self.lstm = nn.LSTM(config.picture_features + config.history_features, config.lstm_features)
        self.head: FlatHead | ConvHead
        self.head = FlatHead(config) if config.head == "flat" else ConvHead(config)
        self.value_layer = nn.Linear(config.lstm_features, 1)

    def initial_state(self, rows: int) -> PolicyState:
        """The memory before the first step, for N rows."""
        config, weight = self.config, self.value_layer.weight
        zeros = weight.new_zeros(1, rows, config.lstm_features)
        pixels = config.channels * config.height * config.width if config.policy_input == "initial" else 0
        return PolicyState(
            zeros,
            zeros,
            weight.new_zeros(rows, config.places),
            torch.full((rows,), -1, dtype=torch.int64, device=weight.device),
            weight.new_zeros(rows, pixels),
        )

    def step(self, picture: Tensor, state: PolicyState) -> tuple[Tensor, PolicyState]:
        """Logits for the next step of N episodes.

        Args:
            picture: I_{t-1}, (N, C, H, W) in [-1, 1].
            state: What the policy remembers.

        Returns:
            Logits (N, places), and the memory, to which `remember` must add the place that was chosen.
        """
        if self.config.policy_input == "initial":
            starts = (state.last < 0)[:, None]
            state = state._replace(initial=torch.where(starts, picture.flatten(1), state.initial))
            picture = state.initial.view_as(picture)
        logits, _, memory = self._run(
            picture[None], state.visits[None], state.last[None], (state.hidden, state.cell)
        )
        return logits[0], state._replace(hidden=memory[0], cell=memory[1])

    def remember(self, state: PolicyState, place: Tensor) -> PolicyState:
        """The memory after `place` (N,) was chosen."""
        return state._replace(
            visits=state.visits.scatter_add(1, place[:, None], torch.ones_like(state.visits[:, :1])),
            last=place,
        )

    def evaluate(self, pictures: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and values of whole episodes, the LSTM called once over all steps.

        Args:
            pictures: I_0 .. I_{T-1}, (T, N, C, H, W) in [-1, 1].
            places: What was chosen at each step, int64, (T, N).

        Returns:
            Logits (T, N, places), and what the value head says of each state, (T, N): how far its return lies
            above the batch's mean, in the unit of the advantages. No gradient flows from it into the LSTM.
        """
        steps, rows = places.shape
        counted = self.config.history == "visits" or self.config.head == "conv"
        visits = pictures.new_zeros(steps, rows, self.config.places if counted else 0)
        if counted:
            visits[1:].scatter_(2, places[:-1, :, None], 1.0)
            visits = visits.cumsum(0)
        last = torch.cat((torch.full_like(places[:1], -1), places[:-1]))
        if self.config.policy_input == "initial":
            pictures = pictures[:1].expand_as(pictures)
        logits, values, _ = self._run(pictures, visits, last, None)
        return logits, values

    def _run(
        self, pictures: Tensor, visits: Tensor, last: Tensor, memory: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        steps, rows = last.shape
        picture_features = F.relu(self.picture_layer(pictures.flatten(2)))
        history = visits if self.config.history == "visits" else self._coordinates(last)
        history_features = F.relu(self.history_layer(history))
        memory_in = memory if memory is not None else self.initial_state(rows)[:2]
        hidden, memory_out = self.lstm(torch.cat((picture_features, history_features), dim=2), memory_in)
        values = self.value_layer(hidden.detach()).squeeze(2)
        logits = self.head(hidden.flatten(0, 1), pictures.flatten(0, 1), visits.flatten(0, 1))
        return logits.view(steps, rows, -1), values, memory_out

    def _coordinates(self, place: Tensor) -> Tensor:
        """Row and column of places in [-1, 1], (..., 2); the middle of the picture before the first step."""
        rows, columns = self.config.grid
        row = torch.div(place, columns, rounding_mode="floor") * (2.0 / max(rows - 1, 1)) - 1.0
        column = torch.remainder(place, columns) * (2.0 / max(columns - 1, 1)) - 1.0
        return torch.stack((row, column), dim=-1) * (place >= 0)[..., None]


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

    It sees the picture, how often each place was chosen, how many patches have lain on it, and coordinates;
    the same weights judge every place, so what is learned in one place holds in all.
    """

    _DILATIONS = (1, 2, 4, 8)

    coordinates: Tensor

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.config = config
        k, n = config.stride, config.head_channels
        kernel = 2 * k if k > 1 else 3
        self.look = nn.Conv2d(config.channels, n, kernel, stride=k, padding=(kernel - k) // 2)
        self.join = nn.Conv2d(n + 4, n, 3, padding=1)
        self.layers = nn.ModuleList(nn.Conv2d(n, n, 3, padding=d, dilation=d) for d in self._DILATIONS)
        self.modulation = nn.Linear(config.lstm_features, 2 * n * len(self._DILATIONS))
        self.last = nn.Conv2d(n, 1, 1)
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
        maps = (
            F.relu(self.look(picture)),
            seen.log1p(),
            covered.log1p(),
            self.coordinates.expand(n, -1, -1, -1),
        )
        features = F.relu(self.join(torch.cat(maps, dim=1)))
        modulation = self.modulation(hidden).view(n, len(self._DILATIONS), 2, -1, 1, 1)
        for i, layer in enumerate(self.layers):
            scale, shift = modulation[:, i, 0], modulation[:, i, 1]
            features = features + F.relu(layer(features) * (1.0 + scale) + shift)
        return self.last(features).flatten(1)  # type: ignore[no-any-return]

    def _cover(self, seen: Tensor) -> Tensor:
        """How many patches have lain on each place: the visits summed over a patch's window (cumulative)."""
        h, w = self.window
        padded = F.pad(seen, (w // 2 + 1, w // 2, h // 2 + 1, h // 2))
        table = padded.cumsum(2).cumsum(3)
        return table[:, :, h:, w:] - table[:, :, :-h, w:] - table[:, :, h:, :-w] + table[:, :, :-h, :-w]
