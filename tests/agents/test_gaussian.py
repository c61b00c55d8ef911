"""The policy of the authors' code: density and gradient by hand, two modes, that it learns and is kept."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toys import (
    ToyFaces,
    learned,
    randomise,
    same_weights,
    toy_agent,
    toy_enhancer,
    toy_env,
)

from agents.gaussian import GaussianPolicyNetwork, GaussianState
from agents.policies import PolicyConfig, mode
from agents.reinforce import RecurrentReinforce
from agents.rollout import PolicyAgent, walk
from facehall_env.enhancer import EnhancerInput
from facehall_env.patches import AffineLocations

GAUSSIAN: dict[str, Any] = {
    "stride": 1,
    "history": "last",
    "head": "gaussian",
    "policy_input": "both",
    "inhibition": 0.0,
}
SMALL = {"picture_features": 8, "history_features": 6, "lstm_features": 16}
STEPS = 12  # of one iteration


def toy_network(**changes: Any) -> GaussianPolicyNetwork:
    config = PolicyConfig(3, 16, 12, 6, 5, **(GAUSSIAN | SMALL | changes))
    return randomise(GaussianPolicyNetwork(config), std=0.3)  # type: ignore[arg-type, return-value]


def gaussian_agent(env: Any = None, **arguments: Any) -> RecurrentReinforce:
    policy = GAUSSIAN | {"head_channels": 1} | arguments.pop("policy_kwargs", {})
    return toy_agent(env, policy_kwargs=policy, **({"rows_per_pass": 32} | arguments))


def play(
    network: GaussianPolicyNetwork, pictures: torch.Tensor, points: torch.Tensor
) -> tuple[torch.Tensor, GaussianState]:
    state, means = network.initial_state(points.shape[1]), []
    for picture, point in zip(pictures, points, strict=True):
        mean, state = network.step(picture, state)
        means.append(mean)
        state = network.remember(state, point)
    return torch.stack(means), state


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("steps", [1, 5])
@torch.no_grad()
def test_stepping_is_evaluating(training: bool, steps: int) -> None:
    network = toy_network()
    torch.manual_seed(1)
    pictures = torch.rand(steps, 4, 3, 16, 12) * 2.0 - 1.0
    points = torch.randn(steps, 4, 2)  # some lie outside the square
    with mode(network, training=training):
        stepped, state = play(network, pictures, points)
        evaluated, values = network.evaluate(pictures, points)
    assert stepped.std() > 0.1
    torch.testing.assert_close(stepped, evaluated, rtol=1e-4, atol=1e-4)
    assert torch.equal(state.last, points[-1].clamp(-1.0, 1.0))
    assert values.shape == (steps, 4)


@torch.no_grad()
def test_the_recurrence_is_the_one_that_is_written_down() -> None:
    network = toy_network().eval()
    torch.manual_seed(2)
    pictures, points = torch.rand(3, 1, 3, 16, 12), torch.rand(3, 1, 2)

    def layer(number: Any, seen: torch.Tensor) -> torch.Tensor:
        return torch.relu(number.norm(number.linear(seen)))

    hidden, memory, means = torch.zeros(1, 16), torch.zeros(1, 16), []
    for t in range(3):
        last = points[t - 1] if t else torch.zeros(1, 2)
        seen = (
            layer(network.location_layer, last),
            layer(network.picture_layer, pictures[t].flatten(1)),
            layer(network.initial_layer, pictures[0].flatten(1)),
        )
        glimpse = layer(network.joined[1], layer(network.joined[0], torch.cat(seen, dim=1)))
        if t:
            memory = network.cell(hidden, memory)
        hidden = torch.relu(glimpse + (memory if t else network.start))
        means.append(torch.tanh(network.mean_layer(hidden)))
    found, _ = network.evaluate(pictures, points)
    torch.testing.assert_close(found, torch.stack(means))


@torch.no_grad()
def test_a_row_that_restarts_forgets_and_the_others_do_not() -> None:
    network = toy_network().eval()
    torch.manual_seed(3)
    pictures, points = torch.rand(4, 2, 3, 16, 12), torch.rand(4, 2, 2)
    whole, _ = play(network, pictures, points)
    _, state = play(network, pictures[:2], points[:2])
    state = state.restart(torch.tensor([True, False]))
    for t in (2, 3):
        means, state = network.step(pictures[t], state)
        state = network.remember(state, points[t])
    fresh, _ = play(network, pictures[2:, :1], points[2:, :1])
    torch.testing.assert_close(means[:1], fresh[-1])
    torch.testing.assert_close(means[1:], whole[-1, 1:])
    assert not torch.allclose(means[:1], whole[-1, :1])


# --- the density --------------------------------------------------------------------------------------


def test_the_density_is_a_gaussians() -> None:
    network = toy_network(location_std=0.3)
    means, points = torch.rand(3, 2, 2), torch.randn(3, 2, 2)
    log_prob, entropy = network.log_prob_and_entropy(means, points)
    gaussian = torch.distributions.Independent(torch.distributions.Normal(means, 0.3), 1)
    torch.testing.assert_close(log_prob, gaussian.log_prob(points))
    torch.testing.assert_close(entropy, gaussian.entropy())
    # By hand: one standard deviation off along each axis
    log_prob, _ = network.log_prob_and_entropy(torch.zeros(1, 1, 2), torch.tensor([[[0.3, -0.3]]]))
    assert float(log_prob) == pytest.approx(-1.0 - math.log(2.0 * math.pi * 0.09), rel=1e-5)


def test_draws_have_the_standard_deviation_and_argmax_is_the_mean() -> None:
    network = toy_network()
    means = torch.tensor([[0.5, -0.25]]).expand(20_000, -1)
    drawn = network.choose(means, deterministic=False, generator=torch.Generator().manual_seed(0))
    again = network.choose(means, deterministic=False, generator=torch.Generator().manual_seed(0))
    assert torch.equal(drawn, again)
    torch.testing.assert_close(drawn.mean(dim=0), means[0], atol=0.01, rtol=0.0)
    torch.testing.assert_close(drawn.std(dim=0), torch.full((2,), 0.22), atol=0.005, rtol=0.0)
    assert torch.equal(network.choose(means, deterministic=True), means)


@pytest.mark.parametrize("horizon", [1, 3])
def test_the_gradient_is_reinforces(horizon: int) -> None:
    env = toy_env(horizon=horizon)
    agent = gaussian_agent(env, baseline="batch", normalize_advantage=False, max_grad_norm=1e9, ent_coef=0.3)
    randomise(agent.policy, std=0.3)
    generator = torch.Generator().manual_seed(4)
    agent.choices = torch.randn(horizon, 4, 2, generator=generator)
    agent.buffer.pictures.copy_(torch.rand(agent.buffer.pictures.shape, generator=generator))
    agent.buffer.rewards.copy_(torch.randn(horizon, 4, generator=generator))
    agent.buffer.initial_mse.fill_(0.01)
    agent.buffer.final_mse.fill_(0.005)
    seen = []
    hook = agent.policy.mean_layer.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    agent.train()
    hook.remove()
    hidden = seen[0].detach().view(horizon, 4, -1)
    layer = agent.policy.mean_layer
    bias, weight = torch.zeros(2), torch.zeros(2, hidden.shape[2])
    returns = agent.buffer.rewards.flip(0).cumsum(0).flip(0)
    # The weights have moved since; the gradient was taken with those before
    fresh = gaussian_agent(toy_env(horizon=horizon))
    randomise(fresh.policy, std=0.3)
    for t in range(horizon):
        for n in range(4):
            mean = torch.tanh(fresh.policy.mean_layer(hidden[t, n])).detach()
            advantage = float(returns[t, n] - returns[t].mean())
            # d log p / d mean = (x - mean) / std^2, and d tanh = 1 - mean^2; the entropy is constant
            slope = -advantage * (agent.choices[t, n] - mean) / 0.22**2 * (1.0 - mean**2) / (4 * horizon)
            bias += slope
            weight += slope[:, None] * hidden[t, n]
    torch.testing.assert_close(layer.bias.grad, bias, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(layer.weight.grad, weight, rtol=1e-3, atol=1e-4)


# --- batch normalisation ------------------------------------------------------------------------------


def test_episodes_are_collected_with_the_distribution_that_is_learned_from() -> None:
    agent = gaussian_agent()
    randomise(agent.policy, std=0.3)
    explorer = PolicyAgent(agent.policy, generator=torch.Generator().manual_seed(0), training=True)
    means = []
    hook = agent.policy.mean_layer.register_forward_hook(lambda *call: means.append(call[2].detach()))
    walk(
        agent.core, explorer, torch.from_numpy(ToyFaces(4).pictures).permute(0, 3, 1, 2), buffer=agent.buffer
    )
    with mode(agent.policy, training=True):
        evaluated, _ = agent.policy.evaluate(agent.buffer.pictures.float(), torch.stack(explorer.chosen))
    hook.remove()
    torch.testing.assert_close(torch.tanh(torch.stack(means[:3])), evaluated, rtol=1e-2, atol=1e-2)
    points = AffineLocations(16, 12, (6, 5)).location(torch.stack(explorer.chosen))
    assert torch.equal(points, agent.buffer.locations)


def test_acting_leaves_the_statistics_alone_and_learning_follows_them() -> None:
    agent = gaussian_agent()
    network = agent.policy
    assert not network.training
    start = {name: value.clone() for name, value in network.named_buffers()}
    pictures = np.stack([ToyFaces()[i] for i in range(3)])
    together, state = agent.predict(pictures, deterministic=True)
    agent.predict(pictures, state)
    assert same_weights(start, dict(network.named_buffers()))
    alone = [int(agent.predict(picture, deterministic=True)[0]) for picture in pictures]
    assert together.tolist() == alone  # of no other picture in the batch
    agent.learn(STEPS)
    assert not network.training
    assert not torch.equal(start["picture_layer.norm.running_mean"], network.picture_layer.norm.running_mean)


# --- as an agent --------------------------------------------------------------------------------------


def test_argmax_is_the_patch_of_the_mean() -> None:
    agent = gaussian_agent()
    randomise(agent.policy, std=0.5)
    picture = torch.from_numpy(ToyFaces()[0]).permute(2, 0, 1)[None].float() / 127.5 - 1.0
    with torch.no_grad():
        mean, _ = agent.policy.step(picture, agent.policy.initial_state(1))
    location, state = agent.predict(ToyFaces()[0], deterministic=True)
    assert int(location) == int(AffineLocations(16, 12, (6, 5)).location(mean)[0])
    np.testing.assert_allclose(state[2], mean.numpy(), rtol=1e-5)
    drawn = {int(agent.predict(ToyFaces()[0])[0]) for _ in range(20)}
    assert len(drawn) > 3
    with pytest.raises(ValueError, match="state remembers 1 episodes, but the observation has 2"):
        agent.predict(np.stack([ToyFaces()[0]] * 2), state)
    again, _ = agent.predict(ToyFaces()[0], state, episode_start=np.array([True]), deterministic=True)
    assert int(again) == int(location)


@pytest.mark.parametrize("baseline", ["leave_one_out", "scalar", "value", "self_critical"])
def test_learning_goes_on_bit_for_bit(tmp_path: Path, baseline: str) -> None:
    arguments: dict[str, Any] = {"baseline": baseline, "learning_rate": 1e-3, "max_grad_norm": math.inf}
    whole = gaussian_agent(**arguments)
    whole.learn(2 * STEPS)
    first = gaussian_agent(**arguments)
    first.learn(STEPS)
    first.save(tmp_path / "agent")
    rest = RecurrentReinforce.load(tmp_path / "agent", env=toy_env(enhancer=toy_enhancer(seed=9)))
    assert isinstance(rest.policy, GaussianPolicyNetwork)
    assert rest.max_grad_norm == math.inf
    rest.learn(STEPS, reset_num_timesteps=False)
    assert same_weights(learned(whole), learned(rest))
    assert same_weights(dict(whole.policy.named_buffers()), dict(rest.policy.named_buffers()))
    acting = RecurrentReinforce.load(tmp_path / "agent")
    picture = ToyFaces()[3]
    assert acting.predict(picture, deterministic=True)[0] == first.predict(picture, deterministic=True)[0]


class FadingEnhancer(torch.nn.Module):
    """Fades patches to gray, the more the further their centre lies from one place of the picture."""

    needs_initial_patch = False

    def __init__(self, row: float, column: float) -> None:
        super().__init__()
        self.place = torch.tensor([row, column])

    def forward(self, inputs: EnhancerInput) -> torch.Tensor:
        distance = (inputs.centre - self.place).norm(dim=1)
        return inputs.patch * (1.0 - distance)[:, None, None, None]


@pytest.mark.parametrize("place", [(-0.6, 0.5), (0.7, -0.4)])
def test_it_learns_the_one_place_that_matters(place: tuple[float, float]) -> None:
    env = toy_env(enhancer=FadingEnhancer(*place), patch_size=(8, 6), horizon=1)
    settings = {"n_faces": 8, "n_rollouts": 4, "coupling": "frozen", "flip": False, "learning_rate": 3e-3}
    agent = gaussian_agent(env, **settings)
    distances = []
    for _ in range(2):
        looked = agent.predict(ToyFaces().pictures, deterministic=True)[0]
        centres = agent.core.geometry.centres(torch.from_numpy(looked))
        distances.append(float((centres - torch.tensor(place)).norm(dim=1).mean()))
        agent.learn(40 * 32)
    assert distances[0] > 0.7
    assert distances[1] < 0.35


def test_the_authors_reward_teaches_to_spread() -> None:
    env = toy_env(patch_size=(8, 6), horizon=4, enhancer=None)
    arguments = {"n_faces": 16, "reward": "coverage", "coupling": "frozen", "learning_rate": 3e-3}
    agent = gaussian_agent(env, **arguments)
    covered = []
    for iterations in (1, 30):
        agent.learn(iterations * 128)
        covered.append(float(agent.buffer.coverage.mean()))
    assert covered[1] > covered[0] + 0.1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"imitation_updates": 1}, "imitation_updates is 1, but only policies that choose places"),
        ({"rows_per_pass": 3}, "rows_per_pass is 3 for 4 episodes an iteration"),
        ({"n_faces": 1, "n_rollouts": 1, "baseline": "batch"}, "collect 2 episodes or more"),
        ({"policy_kwargs": {"stride": 4}}, "stride is 4, but head 'gaussian'"),
        ({"policy_kwargs": {"history": "visits"}}, "history is 'visits', but head 'gaussian'"),
        ({"policy_kwargs": {"policy_input": "current"}}, "policy_input is 'current', but head 'gaussian'"),
        ({"policy_kwargs": {"head": "conv"}}, "only head 'gaussian' looks at two pictures"),
        ({"policy_kwargs": {"location_std": 0.0}}, "location_std is 0.0"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        gaussian_agent(**arguments)


def test_it_cannot_imitate() -> None:
    with pytest.raises(ValueError, match="can imitate a teacher"):
        gaussian_agent().imitate()
