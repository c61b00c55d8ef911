"""REINFORCE against gradients worked out by hand, on a policy of two places with one parameter."""

import numpy as np
import pytest
import torch
from stable_baselines3.common.logger import configure

from agents.policies import RecurrentPolicyNetwork
from agents.reinforce import RecurrentReinforce
from tests.small import SMALL_AGENT, small_env


class TwoCells(torch.nn.Module):
    """A policy of two places whose only parameter is the logit of the second one."""

    def __init__(self) -> None:
        super().__init__()
        self.logit = torch.nn.Parameter(torch.tensor(0.3))
        self.estimate = torch.nn.Parameter(torch.tensor(-0.2))

    log_prob_and_entropy = RecurrentPolicyNetwork.log_prob_and_entropy

    def evaluate(self, pictures: torch.Tensor, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = torch.stack((torch.zeros(()), self.logit)).expand(*places.shape, 2)
        return logits, self.estimate.expand(places.shape)


def two_cells(
    baseline: str, places: list[int], rewards: list[float], **options: float | bool
) -> RecurrentReinforce:
    """An agent with a one-step buffer of two faces with two rollouts each, and the two-cell policy."""
    settings = SMALL_AGENT | {"coupling": "frozen", "baseline": baseline} | options
    agent = RecurrentReinforce("RecurrentPolicy", small_env(horizon=1), **settings)
    agent.set_logger(configure(None, []))
    agent.policy = TwoCells()  # type: ignore[assignment]
    agent.optimizer = torch.optim.SGD(agent.policy.parameters(), lr=0.0)
    agent.choices = torch.tensor([places])
    agent.buffer.rewards.copy_(torch.tensor([rewards]))
    agent.max_grad_norm = 1e9
    return agent


@pytest.mark.parametrize("baseline", ["scalar", "batch", "leave_one_out", "value"])
@pytest.mark.parametrize("ent_coef", [0.0, 0.1])
def test_gradient_is_the_one_worked_out_by_hand(baseline: str, ent_coef: float) -> None:
    places, rewards = [0, 1, 1, 1], [0.5, 2.0, -1.0, 0.25]
    agent = two_cells(baseline, places, rewards, ent_coef=ent_coef, normalize_advantage=False)
    agent.train()
    p = 1 / (1 + np.exp(-0.3))
    reward = np.array(rewards)
    if baseline == "scalar":
        advantage = reward - 0.0
    elif baseline == "batch":
        advantage = reward - reward.mean()
    elif baseline == "leave_one_out":
        advantage = reward - reward[[1, 0, 3, 2]]
    else:
        advantage = reward - reward.mean() + 0.2
    # d log pi(a) / d logit = a - p, and the entropy's derivative is -logit p (1 - p)
    score = np.array(places) - p
    expected = -(advantage * score).mean() + ent_coef * 0.3 * p * (1 - p)
    gradient = agent.policy.logit.grad  # type: ignore[union-attr]
    assert gradient.item() == pytest.approx(expected, abs=1e-6)
    estimate = agent.policy.estimate.grad  # type: ignore[union-attr]
    if baseline == "value":
        deviation = reward - reward.mean()
        assert estimate.item() == pytest.approx(0.5 * 2 * (-0.2 - deviation).mean(), abs=1e-6)
    if baseline == "scalar":
        assert agent.baseline_values.item() == pytest.approx(0.5 * reward.mean(), abs=1e-6)


def test_advantages_are_scaled_by_their_deviation() -> None:
    places, rewards = [0, 1, 1, 0], [1e-3, 2e-3, -1e-3, 4e-3]
    gradients = []
    for factor in (1.0, 100.0):
        agent = two_cells("batch", places, [factor * value for value in rewards], ent_coef=0.0)
        agent.train()
        gradients.append(agent.policy.logit.grad.item())  # type: ignore[union-attr]
    assert gradients[0] == pytest.approx(gradients[1], rel=1e-4)
    assert abs(gradients[0]) > 0.01
