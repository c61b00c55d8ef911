"""The recurrent policy network: what it remembers, how it sees the picture, where it says to look next."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Final, Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agents.distributed import ALONE, Ranks
from agents.heads import ConvHead, FlatHead
from facehall_env.linear import PictureLinear
from facehall_env.patches import PATCH_SIZE, StrideGrid

HistoryKind = Literal["visits", "last"]
HeadKind = Literal["conv", "flat", "gaussian"]
PolicyInput = Literal["current", "initial", "both"]
TASK_FIELDS: Final = ("channels", "height", "width", "patch_height", "patch_width")
"""The fields of a `PolicyConfig` that the task fixes."""
_FORBIDDEN: Final = 1e4
"""Taken off the logits of forbidden places: their probability is 0 in float32, and no gradient is NaN."""


@dataclass(frozen=True)
class PolicyConfig:
    """Everything that fixes the shape of a policy network.

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
            LSTM; ``flat``: one linear layer from the LSTM to all places (the paper); ``gaussian``: the
            network of the authors' released code (`agents.gaussian`), which chooses points, not places, and
            so goes with `stride` 1, `history` ``last`` and `policy_input` ``both`` only.
        policy_input: ``current``: I_{t-1}; ``initial``: I_0 at every step (the paper's ablation); ``both``:
            one beside the other (head ``gaussian`` only).
        picture_features: Width of the layer over each picture.
        history_features: Width of the history's layer.
        lstm_features: Width of the LSTM; with head ``gaussian`` of the GRU and of the two layers before it.
        head_channels: Width of the convolutional head.
        inhibition: Inhibition of return (Itti, Koch and Niebur 1998): places of the grid that lie within this
            many pixels of a place that was chosen before are not chosen again while there are others; 0:
            every place may be (the paper). Not with head ``gaussian``.
        location_std: Standard deviation of the points of head ``gaussian``, in the unit of [-1, 1].
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
    location_std: float = 0.22
    inhibition: float = 8.0

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
        if not 0.0 < self.location_std < float("inf"):
            raise ValueError(f"location_std is {self.location_std}, but it must be a positive number")
        if not 0.0 <= self.inhibition < float("inf"):
            raise ValueError(f"inhibition is {self.inhibition}, but it must be a number of pixels, 0 or more")
        if self.head == "gaussian":
            for name, only in (
                ("stride", 1),
                ("history", "last"),
                ("policy_input", "both"),
                ("inhibition", 0.0),
            ):
                if getattr(self, name) != only:
                    raise ValueError(
                        f"{name} is {getattr(self, name)!r}, but head 'gaussian', which chooses points and "
                        f"no places of a grid, goes with {only!r} only"
                    )
        elif self.policy_input == "both":
            raise ValueError("policy_input is 'both', but only head 'gaussian' looks at two pictures")

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


class PolicyNetwork(nn.Module, ABC):
    """What learning and acting need of a policy, whatever it chooses: places of a grid, or points.

    Args:
        config: The shape of the network.
    """

    NORMALIZES_BATCHES: ClassVar[bool] = False
    """Whether what it says of an episode depends, in training, on the others of the batch."""

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.config = config

    @property
    def device(self) -> torch.device:
        """Where the weights live."""
        return next(self.parameters()).device

    @abstractmethod
    def initial_state(self, rows: int) -> Any:
        """The memory before the first step, for N rows: a named tuple of tensors with ``restart(rows)``."""

    @abstractmethod
    def step(self, picture: Tensor, state: Any) -> tuple[Tensor, Any]:
        """What the distribution over choices is at the next step of N episodes.

        Args:
            picture: I_{t-1}, (N, C, H, W) in [-1, 1].
            state: What the policy remembers.

        Returns:
            The distribution's parameters, (N, p), and the memory, to which `remember` must add the choice.
        """

    @abstractmethod
    def choose(
        self,
        parameters: Tensor,
        *,
        deterministic: bool,
        generator: torch.Generator | None = None,
        ranks: Ranks = ALONE,
    ) -> Tensor:
        """A choice for every row, drawn, or the most likely one.

        Args:
            parameters: What `step` gave, (N, p).
            deterministic: The most likely choice instead of a draw.
            generator: Of the draws, on the network's device.
            ranks: The processes that share the rows; the draws are those of all of them.

        Returns:
            (N, ...).
        """

    @abstractmethod
    def remember(self, state: Any, choice: Tensor) -> Any:
        """The memory after `choice` (N, ...) was made."""

    @abstractmethod
    def location(self, choice: Tensor) -> Tensor:
        """The environment's locations of choices (N, ...), int64, (N,)."""

    @abstractmethod
    def evaluate(self, pictures: Tensor, choices: Tensor) -> tuple[Tensor, Tensor]:
        """Distributions and values of whole episodes.

        Args:
            pictures: I_0 .. I_{T-1}, (T, N, C, H, W) in [-1, 1].
            choices: What was chosen at each step, (T, N, ...).

        Returns:
            The distributions' parameters (T, N, p), and what the value head says of each state, (T, N): how
            far its return lies above the batch's mean, in the unit of the advantages. No gradient flows from
            it into the recurrent cell.
        """

    @abstractmethod
    def log_prob_and_entropy(self, parameters: Tensor, choices: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities (or densities) of choices, and entropies of the distributions.

        Args:
            parameters: What `evaluate` gave, (T, N, p).
            choices: What was chosen, (T, N, ...).

        Returns:
            Both (T, N).
        """


@contextmanager
def mode(network: nn.Module, *, training: bool) -> Iterator[None]:
    """Use a network in one of its two modes.

    They differ where there is batch normalisation, and cuDNN follows gradients through an LSTM only in the
    one for training.
    """
    before = network.training
    network.train(training)
    try:
        yield
    finally:
        network.train(before)


def choose_place(
    logits: Tensor,
    *,
    deterministic: bool,
    generator: torch.Generator | None = None,
    ranks: Ranks = ALONE,
) -> Tensor:
    """A place for every row.

    Args:
        logits: (N, places).
        deterministic: argmax instead of a draw.
        generator: Of the draws, on the logits' device.
        ranks: The processes that share the rows; the draws are those of all of them.

    Returns:
        int64, (N,).
    """
    if deterministic:
        return logits.argmax(dim=1)
    return draw_place(logits.softmax(dim=1), generator, ranks)


def draw_place(
    probabilities: Tensor, generator: torch.Generator | None = None, ranks: Ranks = ALONE
) -> Tensor:
    """Draw a place for every row from its probabilities, by one uniform number a row.

    So what a row draws depends on its own probabilities and its place in the batch alone, and not on which
    process has it.

    Args:
        probabilities: (N, places), positive.
        generator: Of the draws, on the same device.
        ranks: The processes that share the rows.

    Returns:
        int64, (N,).
    """
    cumulative = probabilities.cumsum(dim=1)
    uniform = ranks.rand(len(probabilities), generator, probabilities.device)[:, None]
    place = torch.searchsorted(cumulative, uniform * cumulative[:, -1:], right=True)
    return place.squeeze(1).clamp_(max=probabilities.shape[1] - 1)  # the product may be rounded up


class Inhibition(nn.Module):
    """Which places of the grid lie near one that was chosen before (inhibition of return).

    Args:
        config: Gives the grid and the distance.
    """

    kernel: Tensor

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.grid = config.grid
        self.reach = int(config.inhibition // config.stride)
        offset = torch.arange(-self.reach, self.reach + 1) * float(config.stride)
        near = offset[:, None] ** 2 + offset[None] ** 2 <= config.inhibition**2
        self.register_buffer("kernel", near.float()[None, None], persistent=False)

    def forward(self, visits: Tensor) -> Tensor:
        """Forbid places.

        Args:
            visits: How often each place was chosen, (..., places).

        Returns:
            bool, (..., places); where all of them would be forbidden, none is.
        """
        with torch.no_grad():
            maps = (visits > 0).to(self.kernel.dtype).view(-1, 1, *self.grid)
            near = F.conv2d(maps, self.kernel, padding=self.reach).flatten(1) > 0.5
            near &= ~near.all(dim=1, keepdim=True)
        return near.view_as(visits)


class RecurrentPolicyNetwork(PolicyNetwork):
    """Picture and history to a distribution over places (Eq. (3) and (4) of the paper).

    FC over the picture and FC over the history, both with ReLU, one LSTM over the two, and a head.

    Args:
        config: The shape of the network.
    """

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__(config)
        self.picture_layer = PictureLinear(
            config.channels * config.height * config.width, config.picture_features
        )
        history = config.places if config.history == "visits" else 2
        self.history_layer = nn.Linear(history, config.history_features)
        self.lstm = nn.LSTM(config.picture_features + config.history_features, config.lstm_features)
        self.head: FlatHead | ConvHead
        self.head = FlatHead(config) if config.head == "flat" else ConvHead(config)
        self.value_layer = nn.Linear(config.lstm_features, 1)
        self.inhibition = Inhibition(config) if config.inhibition else None

    def forbidden(self, visits: Tensor) -> Tensor | None:
        """Which places may not be chosen after these visits (..., places); bool, or None if all may be."""
        return None if self.inhibition is None else self.inhibition(visits)

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
        hidden, cell = (part.to(state.hidden.dtype) for part in memory)  # autocast may have rounded them
        return logits[0], state._replace(hidden=hidden, cell=cell)

    def remember(self, state: PolicyState, choice: Tensor) -> PolicyState:
        """The memory after a place was chosen, int64, (N,)."""
        return state._replace(
            visits=state.visits.scatter_add(1, choice[:, None], torch.ones_like(state.visits[:, :1])),
            last=choice,
        )

    def choose(
        self,
        parameters: Tensor,
        *,
        deterministic: bool,
        generator: torch.Generator | None = None,
        ranks: Ranks = ALONE,
    ) -> Tensor:
        """A place for every row, int64, (N,), from logits."""
        return choose_place(parameters, deterministic=deterministic, generator=generator, ranks=ranks)

    def location(self, choice: Tensor) -> Tensor:
        """The environment's location of places, int64."""
        return self.config.location(choice)

    def log_prob_and_entropy(self, parameters: Tensor, choices: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of places (T, N), and entropies, from logits (T, N, places)."""
        log_prob = parameters.log_softmax(dim=2)
        chosen = log_prob.gather(2, choices[:, :, None]).squeeze(2)
        return chosen, -(log_prob.exp() * log_prob).sum(dim=2)

    def evaluate(self, pictures: Tensor, choices: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and values of whole episodes, the LSTM called once over all steps.

        Args:
            pictures: I_0 .. I_{T-1}, (T, N, C, H, W) in [-1, 1].
            choices: The places that were chosen at each step, int64, (T, N).

        Returns:
            Logits (T, N, places), and values (T, N), see `PolicyNetwork.evaluate`.
        """
        steps, rows = choices.shape
        config = self.config
        counted = config.history == "visits" or config.head == "conv" or config.inhibition > 0.0
        visits = pictures.new_zeros(steps, rows, config.places if counted else 0)
        if counted:
            visits[1:].scatter_(2, choices[:-1, :, None], 1.0)
            visits = visits.cumsum(0)
        last = torch.cat((torch.full_like(choices[:1], -1), choices[:-1]))
        if config.policy_input == "initial":
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
        hidden, memory_out = self._remember(torch.cat((picture_features, history_features), dim=2), memory_in)
        values = self.value_layer(hidden.detach()).squeeze(2)
        logits = self.head(hidden.flatten(0, 1), pictures.flatten(0, 1), visits.flatten(0, 1))
        logits = logits.view(steps, rows, -1)
        forbidden = self.forbidden(visits)
        if forbidden is not None:
            logits = logits - _FORBIDDEN * forbidden
        return logits, values, memory_out

    def _remember(
        self, features: Tensor, memory: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The LSTM over all steps.

        On a CUDA device in float32: autocast would run it in float16, whatever was asked for, and float16
        rounds the small gradients of a mean over all steps and episodes to nothing.
        """
        if not features.is_cuda:
            hidden, memory = self.lstm(features, memory)
            return hidden, memory
        with torch.autocast("cuda", enabled=False):
            hidden, memory = self.lstm(features.float(), memory)
        return hidden, memory

    def _coordinates(self, place: Tensor) -> Tensor:
        """Row and column of places in [-1, 1], (..., 2); the middle of the picture before the first step."""
        rows, columns = self.config.grid
        row = torch.div(place, columns, rounding_mode="floor") * (2.0 / max(rows - 1, 1)) - 1.0
        column = torch.remainder(place, columns) * (2.0 / max(columns - 1, 1)) - 1.0
        return torch.stack((row, column), dim=-1) * (place >= 0)[..., None]
