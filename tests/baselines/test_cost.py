"""The counting of multiply-adds against arithmetic by hand, and against the specification's numbers."""

import pytest
import torch

from agents.baselines import Degradation, Hallucinator, make_hallucinator
from agents.baselines.cost import multiply_adds
from agents.baselines.looking import Looking
from agents.reinforce import RecurrentReinforce
from tests.small import SMALL_AGENT, small_env

LFW_X8 = Degradation(3, 128, 128, 8)
ENLARGING = 3 * (16 * 16 * 128 + 128 * 16 * 128)


def test_bicubic_costs_two_matrix_products() -> None:
    assert multiply_adds(make_hallucinator("bicubic", LFW_X8)) == ENLARGING


def test_convolutions_cost_their_weights_at_every_pixel() -> None:
    weights = 81 * 3 * 64 + 64 * 32 + 25 * 32 * 3
    assert multiply_adds(make_hallucinator("srcnn", LFW_X8)) == weights * 128 * 128 + ENLARGING
    gray = Degradation(1, 160, 120, 4)
    vdsr = make_hallucinator("vdsr", gray, depth=3, width=8)
    enlarging = 40 * 30 * 120 + 160 * 40 * 120
    assert multiply_adds(vdsr) == 9 * (8 + 64 + 8) * 160 * 120 + enlarging


def test_mzq_costs_one_product_a_position() -> None:
    assert multiply_adds(make_hallucinator("mzq", LFW_X8)) == 36 * 108 * 64 * 108


@pytest.mark.parametrize(("name", "giga"), [("srcnn", 0.33), ("vdsr", 10.9)])
def test_costs_are_those_of_the_specification(name: str, giga: float) -> None:
    assert multiply_adds(make_hallucinator(name, LFW_X8)) / 1e9 == pytest.approx(giga, rel=0.02)


def test_gates_of_an_lstm_count() -> None:
    class Remembering(Hallucinator):
        name, learns = "remembering", False

        def __init__(self, degradation: Degradation) -> None:
            super().__init__(degradation)
            self.lstm = torch.nn.LSTM(8, 5)

        def forward(self, low_resolution: torch.Tensor) -> torch.Tensor:
            self.lstm(low_resolution.new_zeros(3, 1, 8))
            return low_resolution

    assert multiply_adds(Remembering(LFW_X8)) == 3 * 4 * 5 * (8 + 5)


def test_every_step_of_an_agent_counts() -> None:
    costs = []
    for horizon in (2, 4, 6):
        agent = RecurrentReinforce("RecurrentPolicy", small_env(horizon=horizon), seed=0, **SMALL_AGENT)
        costs.append(multiply_adds(Looking.of_agent(agent)))
    assert costs[2] - costs[1] == costs[1] - costs[0] > 0
