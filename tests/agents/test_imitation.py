"""The warm start: what the oracle says, what is remembered, and that imitating it makes it likelier."""

import math

import pytest
import torch
from toys import POLICY, SHAPE, RecordingCore, ToyFaces, randomise, toy_agent, toy_enhancer

from agents.faces import face_batch
from agents.imitation import Demonstration, OracleTeacher, imitation_loss, oracle_targets
from agents.policies import PolicyConfig, RecurrentPolicyNetwork
from agents.rollout import PolicyAgent, walk
from agents.scripted import ErrorMap
from facehall_env.core import HallucinationCore

CONFIG = PolicyConfig(3, 16, 12, 6, 5, **POLICY)


def map_of(wins: dict[int, float], elsewhere: float = 0.0) -> torch.Tensor:
    """An error map with these values at the locations of some places."""
    error_map = torch.full((1, 16, 12), elsewhere)
    for place, value in wins.items():
        row, column = divmod(int(CONFIG.location(torch.tensor(place))), 12)
        error_map[0, row, column] = value
    return error_map


@pytest.mark.parametrize("left", [1.0, 0.25])
def test_a_place_that_wins_a_temperature_less_is_e_times_less_likely(left: float) -> None:
    temperature, most = 0.1, torch.tensor([40.0])  # what the best place had to win at the start
    unit = temperature * 40.0
    error_map = map_of({5: left * 40.0, 2: left * 40.0 - unit, 7: left * 40.0 - 2.0 * unit})
    error_map[0, 0, 0] = 1e6  # no place of the grid
    target = oracle_targets(error_map, CONFIG, temperature, most)[0]
    assert math.isclose(float(target.sum()), 1.0, rel_tol=1e-6)
    assert int(target.argmax()) == 5
    assert math.isclose(float(target[5] / target[2]), math.e, rel_tol=1e-4)
    assert math.isclose(float(target[2] / target[7]), math.e, rel_tol=1e-4)
    assert math.isclose(float(target[5] / target[0]), math.exp(left / temperature), rel_tol=1e-3)


def test_where_nothing_is_to_be_won_no_place_is_advised_before_another() -> None:
    nothing = oracle_targets(torch.zeros(2, 16, 12), CONFIG, 0.05, torch.zeros(2))
    torch.testing.assert_close(nothing, torch.full((2, CONFIG.places), 1.0 / CONFIG.places))
    harm = oracle_targets(map_of({4: -0.5}, elsewhere=-1.0), CONFIG, 0.05, torch.tensor([-0.5]))
    assert harm[0, 4] == 1.0


def test_the_oracle_falls_silent_when_little_is_left() -> None:
    left = map_of({3: 1e-4, 8: 2e-4})
    targets = oracle_targets(left, CONFIG, 0.05, torch.ones(1))
    torch.testing.assert_close(targets, torch.full_like(targets, 1.0 / CONFIG.places), rtol=0.01, atol=0.0)


def demonstrate(
    share: float, *, deterministic: bool = False, temperature: float = 0.05
) -> tuple[RecordingCore, Demonstration]:
    core = RecordingCore(SHAPE, 4, horizon=4, patch_size=(6, 5), enhancer=toy_enhancer())
    network = randomise(RecurrentPolicyNetwork(CONFIG))
    agent = PolicyAgent(network, deterministic=deterministic, generator=torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(2)
    teacher = OracleTeacher(ErrorMap(), temperature=temperature, floor=1.0)
    demonstration = Demonstration(agent, teacher, share=share, generator=generator)
    walk(core, demonstration, face_batch(ToyFaces(), range(5)))
    return core, demonstration


@torch.no_grad()
def test_the_policy_remembers_what_was_done_whoever_chose_it() -> None:
    core, demonstration = demonstrate(0.5)
    network = demonstration.agent.network
    state = network.initial_state(5)
    advised = followed = 0
    for step, place, target in zip(core.steps, demonstration.places, demonstration.targets, strict=True):
        logits, state = network.step(step.inputs.picture, state)
        state = network.remember(state, place)
        followed += int((target.argmax(dim=1) == place).sum())
        advised += int((logits.argmax(dim=1) == place).sum())
    for expected, found in zip(state, demonstration.agent.state, strict=True):
        torch.testing.assert_close(found, expected)
    assert followed > 4
    assert advised > 2


def test_the_share_says_who_is_followed() -> None:
    core, demonstration = demonstrate(0.0, deterministic=True)
    alone = RecordingCore(SHAPE, 4, horizon=4, patch_size=(6, 5), enhancer=toy_enhancer())
    walk(alone, PolicyAgent(demonstration.agent.network, deterministic=True), core.high_resolution)
    assert torch.equal(alone.current, core.current)
    _, demonstration = demonstrate(1.0, temperature=1e-6)
    for place, target in zip(demonstration.places, demonstration.targets, strict=True):
        assert torch.equal(place, target.argmax(dim=1))


def test_the_loss_is_a_cross_entropy() -> None:
    logits = torch.tensor([[[0.0, 0.0], [math.log(3.0), 0.0]]])
    targets = torch.tensor([[[0.5, 0.5], [1.0, 0.0]]])
    expected = (math.log(2.0) - math.log(0.75)) / 2.0
    assert math.isclose(float(imitation_loss(logits, targets)), expected, rel_tol=1e-6)


def test_the_warm_start_makes_the_oracle_likelier() -> None:
    agent = toy_agent(
        imitation_updates=10,
        imitation_faces=7,
        imitation_rows=7,
        flip=False,
        imitation_learning_rate=1e-2,
        imitation_teacher="oracle",
        imitation_temperature=0.02,
    )
    losses = [float(agent.imitate()) for _ in range(10)]
    assert sum(losses[-3:]) / 3 < losses[0] - 0.2
    assert agent.imitated == 10
    assert agent.num_timesteps == 0
    assert int(agent.optimizer.state_dict()["state"][0]["step"]) == 20  # two epochs of one update each


def test_a_round_walks_over_all_of_its_episodes() -> None:
    agent = toy_agent(imitation_updates=3, imitation_faces=5, imitation_rows=2, imitation_epochs=3)
    agent.imitate()
    assert int(agent.optimizer.state_dict()["state"][0]["step"]) == 9
    assert agent.optimizer.param_groups[0]["lr"] == agent.imitation_learning_rate


def test_the_oracle_advises_nothing_that_is_forbidden() -> None:
    forbidden = torch.zeros(1, CONFIG.places, dtype=torch.bool)
    forbidden[0, 5] = True
    target = oracle_targets(map_of({5: 40.0, 2: 39.0}), CONFIG, 0.01, torch.tensor([40.0]), forbidden)[0]
    assert target[5] == 0.0
    assert int(target.argmax()) == 2
    assert math.isclose(float(target.sum()), 1.0, rel_tol=1e-6)


class Fading(ErrorMap):
    """A map that is the same at every step, but for its size, which halves."""

    def begin(self, core: HallucinationCore) -> None:
        generator = torch.Generator().manual_seed(0)
        self._map = torch.rand(core.rows, *core.shape[1:], generator=generator)

    def __call__(self, core: HallucinationCore) -> torch.Tensor:
        return self._map * 0.5**core.t


@pytest.mark.parametrize(("floor", "steps_as_loud"), [(1.0, 1), (0.25, 3), (0.0, 4)])
def test_what_is_left_speaks_as_loud_as_the_floor_lets_it(floor: float, steps_as_loud: int) -> None:
    core = RecordingCore(SHAPE, 4, horizon=4, patch_size=(6, 5), enhancer=toy_enhancer())
    agent = PolicyAgent(randomise(RecurrentPolicyNetwork(CONFIG)))
    demonstration = Demonstration(
        agent,
        OracleTeacher(Fading(), temperature=0.1, floor=floor),
        share=1.0,
        generator=torch.Generator().manual_seed(2),
    )
    walk(core, demonstration, face_batch(ToyFaces(), range(5)))
    entropy = torch.special.entr(torch.stack(demonstration.targets)).sum(dim=2)
    for step, found in enumerate(entropy):
        if step < steps_as_loud:
            torch.testing.assert_close(found, entropy[0])
        else:
            assert bool((found > entropy[0] + 0.01).all())
