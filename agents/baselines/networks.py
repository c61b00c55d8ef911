"""What the networks among the methods share."""

from __future__ import annotations

import time
from abc import abstractmethod
from typing import Self

from torch import Tensor, nn

from agents.baselines.contract import Hallucinator
from agents.baselines.recipes import TrainingConfig
from agents.state import check_weights
from facehall_env.datasets import FaceDataset


class NetworkHallucinator(Hallucinator):
    """A network that is trained on pairs of small and large faces.

    Attributes:
        recipe: How `fit` trains it; the class's own is the method's default.
        expects_pretraining: Whether the paper pre-trains it on other pictures than faces.
    """

    recipe: TrainingConfig = TrainingConfig()
    expects_pretraining: bool = False

    def slow(self) -> list[nn.Parameter]:
        """Weights that learn at a share of the rate (`TrainingConfig.slow_share`); none by default."""
        return []

    def attempts(self, low_resolution: Tensor) -> Tensor:
        """What the loss is taken of: the answer, (N, C, H, W), or T on the way to it, (T, N, C, H, W)."""
        answer: Tensor = self(low_resolution)
        return answer

    def take_over(self, other: Self) -> None:
        """Start from what another network of this method has learned.

        Args:
            other: Of the same settings; a method may say how it grows out of a smaller one.

        Raises:
            ValueError: If the weights do not fit; then nothing was changed.
        """
        check_weights(self, other.state_dict(), "run")
        self.load_state_dict(other.state_dict())

    def _fit(self, dataset: FaceDataset, *, progress_bar: bool) -> str:
        # The loop knows the networks, and they know it only here
        from agents.baselines.training import NetworkTraining, training_in_words

        training, started = NetworkTraining(self, dataset, self.recipe), time.monotonic()
        training.run(progress_bar=progress_bar)
        return training_in_words(training, dataset, time.monotonic() - started)


class Refiner(NetworkHallucinator):
    """A network of convolutions alone that reads I_0, so that it takes pictures of any size.

    Only such a network can be pre-trained on crops of other pictures.
    """

    @abstractmethod
    def refine(self, initial: Tensor) -> Tensor:
        """The network itself: I_0 (N, C, h, w), of any size, to the picture, (N, C, h, w)."""

    def forward(self, low_resolution: Tensor) -> Tensor:
        """The refined I_0, (N, C, H, W)."""
        return self.refine(self.initial(low_resolution))
