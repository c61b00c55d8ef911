"""The recurrent policy network: its grid, its memory, and that stepping and evaluating agree."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toys import POLICY, randomise

from agents.heads import ConvHead
from agents.policies import PolicyConfig, PolicyState, RecurrentPolicyNetwork

HEADS, HISTORIES, INPUTS = ("conv", "flat"), ("visits", "last"), ("current", "initial")


def toy_config(**changes: object) -> PolicyConfig:
    size = {"channels": 3, "height": 16, "width": 12, "patch_height": 6, "patch_width": 5}
    return PolicyConfig(**(size | POLICY | changes))


@given(
    rows=st.integers(1, 6), columns=st.integers(1, 6), stride=st.sampled_from([1, 2, 4, 6]), data=st.data()
)
def test_places_and_locations_are_two_names_of_a_cell(
    rows: int, columns: int, stride: int, data: st.DataObject
):
    config = PolicyConfig(height=rows * stride, width=columns * stride, stride=stride)
    places = torch.arange(config.places)
    locations = config.location(places)
    assert torch.equal(config.place(locations), places)
    assert config.grid == (rows, columns)
    row = data.draw(st.integers(0, config.height - 1))
    column = data.draw(st.integers(0, config.width - 1))
    place = config.place(torch.tensor([row * config.width + column]))
    assert place.tolist() == [row // stride * columns + column // stride]
    middle = (row // stride * stride + stride // 2) * config.width + column // stride * stride + stride // 2
    assert config.location(place).tolist() == [middle]


@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize(
    ("shape", "head"), [((3, 16, 12), "conv"), ((1, 160, 120), "conv"), ((1, 16, 12), "flat")]
)
def test_logits_have_one_value_a_place(shape: tuple[int, int, int], head: str, stride: int) -> None:
    channels, height, width = shape
    config = toy_config(channels=channels, height=height, width=width, head=head, stride=stride)
    network = RecurrentPolicyNetwork(config)
    logits, state = network.step(torch.zeros(2, *shape), network.initial_state(2))
    assert logits.shape == (2, height * width // stride**2)
    assert state.hidden.shape == (1, 2, config.lstm_features)
    logits, values = network.evaluate(torch.zeros(3, 2, *shape), torch.zeros(3, 2, dtype=torch.int64))
    assert logits.shape == (3, 2, config.places)
    assert values.shape == (3, 2)


def play(
    network: RecurrentPolicyNetwork, pictures: torch.Tensor, places: torch.Tensor
) -> tuple[torch.Tensor, PolicyState]:
    state, logits = network.initial_state(places.shape[1]), []
    for picture, place in zip(pictures, places, strict=True):
        step, state = network.step(picture, state)
        logits.append(step)
        state = network.remember(state, place)
    return torch.stack(logits), state


@pytest.mark.parametrize(("head", "history", "seen"), list(itertools.product(HEADS, HISTORIES, INPUTS)))
@torch.no_grad()
def test_stepping_is_evaluating(head: str, history: str, seen: str) -> None:
    config = toy_config(head=head, history=history, policy_input=seen)
    network = randomise(RecurrentPolicyNetwork(config), std=0.3)
    torch.manual_seed(1)
    pictures = torch.rand(5, 3, 3, 16, 12) * 2.0 - 1.0
    places = torch.randint(config.places, (5, 3))
    places[2] = places[1]  # a place that was visited twice counts twice
    stepped, state = play(network, pictures, places)
    evaluated, _ = network.evaluate(pictures, places)
    assert stepped.std() > 0.1
    torch.testing.assert_close(stepped, evaluated, rtol=1e-4, atol=1e-4)
    visits = torch.stack([torch.bincount(row, minlength=config.places) for row in places.T]).float()
    assert torch.equal(state.visits, visits)
    assert torch.equal(state.last, places[-1])


@pytest.mark.parametrize("seen", INPUTS)
@torch.no_grad()
def test_the_policy_looks_at_the_picture_that_it_is_told_to(seen: str) -> None:
    network = randomise(RecurrentPolicyNetwork(toy_config(policy_input=seen)))
    torch.manual_seed(2)
    pictures = torch.rand(3, 2, 3, 16, 12)
    places = torch.zeros(3, 2, dtype=torch.int64)
    before, _ = network.evaluate(pictures, places)
    pictures[1:] = torch.rand(2, 2, 3, 16, 12)
    after, _ = network.evaluate(pictures, places)
    assert torch.equal(before[0], after[0])
    assert torch.equal(before, after) == (seen == "initial")


@pytest.mark.parametrize(("head", "history", "seen"), list(itertools.product(HEADS, HISTORIES, INPUTS)))
@torch.no_grad()
def test_a_row_that_restarts_forgets_and_the_others_do_not(head: str, history: str, seen: str) -> None:
    network = randomise(RecurrentPolicyNetwork(toy_config(head=head, history=history, policy_input=seen)))
    torch.manual_seed(3)
    pictures = torch.rand(4, 2, 3, 16, 12)
    places = torch.tensor([[3, 7], [5, 1], [2, 2], [4, 4]])
    whole, _ = play(network, pictures, places)
    _, state = play(network, pictures[:2], places[:2])
    state = state.restart(torch.tensor([True, False]))
    for t in (2, 3):
        logits, state = network.step(pictures[t], state)
        state = network.remember(state, places[t])
    fresh, _ = play(network, pictures[2:, :1], places[2:, :1])
    torch.testing.assert_close(logits[:1], fresh[-1])
    torch.testing.assert_close(logits[1:], whole[-1, 1:])
    assert not torch.allclose(logits[:1], whole[-1, :1])


def test_the_convolutional_head_starts_uniform() -> None:
    network = RecurrentPolicyNetwork(toy_config())
    logits, _ = network.step(torch.rand(2, 3, 16, 12), network.initial_state(2))
    assert torch.equal(logits, logits[:1, :1].expand_as(logits))


@pytest.mark.parametrize("patch", [(6, 5), (16, 12), (2, 2)])
def test_cover_counts_the_patches_over_each_place(patch: tuple[int, int]) -> None:
    config = toy_config(patch_height=patch[0], patch_width=patch[1], stride=2)
    network = RecurrentPolicyNetwork(config)
    visits = torch.randint(3, (2, 1, *config.grid), generator=torch.Generator().manual_seed(0)).float()
    reach = [window // 2 for window in network.head.window]
    expected = torch.zeros_like(visits)
    for row, column in itertools.product(*map(range, config.grid)):
        top, left = max(0, row - reach[0]), max(0, column - reach[1])
        near = visits[:, :, top : row + reach[0] + 1, left : column + reach[1] + 1]
        expected[:, :, row, column] = near.sum(dim=(2, 3))
    assert torch.equal(network.head._cover(visits), expected)


def test_values_teach_their_head_alone() -> None:
    network = RecurrentPolicyNetwork(toy_config())
    _, values = network.evaluate(torch.rand(2, 2, 3, 16, 12), torch.zeros(2, 2, dtype=torch.int64))
    values.square().sum().backward()
    taught = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert taught == {"value_layer.weight", "value_layer.bias"}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"stride": 3}, "stride is 3"),
        ({"stride": 0}, "stride is 0"),
        ({"stride": 8}, "divisor of the picture's height 16 and width 12"),
        ({"head": "round"}, "head is 'round'"),
        ({"history": "all"}, "history is 'all'"),
        ({"policy_input": "both"}, "policy_input is 'both'"),
        ({"lstm_features": 0}, "lstm_features is 0"),
        ({"channels": 0}, "channels is 0"),
    ],
)
def test_what_no_network_can_be_built_from_is_refused(change: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        toy_config(**change)


@pytest.mark.parametrize(("stride", "inhibition"), [(1, 2.0), (2, 3.0), (4, 4.0), (4, 2.0)])
@torch.no_grad()
def test_inhibited_places_lie_apart_while_there_are_others(stride: int, inhibition: float) -> None:
    config = toy_config(stride=stride, inhibition=inhibition)
    network = randomise(RecurrentPolicyNetwork(config), std=0.3)
    state, points = network.initial_state(3), torch.zeros(0, 3, 2)
    pictures = torch.rand(6, 3, 3, 16, 12, generator=torch.Generator().manual_seed(0)) * 2.0 - 1.0
    places = []
    for picture in pictures:
        logits, state = network.step(picture, state)
        places.append(network.choose(logits, deterministic=True))
        state = network.remember(state, places[-1])
        location = network.location(places[-1])
        point = torch.stack((location // 12, location % 12), dim=1).float()
        apart = (points - point).norm(dim=2) > inhibition
        chances = logits.softmax(dim=1)
        if len(places) <= config.places // (4 * (inhibition // stride) ** 2 + 1):  # some are left for certain
            assert bool(apart.all())
        points = torch.cat((points, point[None]))
    logits, _ = network.evaluate(pictures, torch.stack(places))
    torch.testing.assert_close(logits[-1].softmax(dim=1), chances, rtol=1e-4, atol=1e-6)
    _, entropy = network.log_prob_and_entropy(logits, torch.stack(places))
    assert bool(entropy.isfinite().all())


@torch.no_grad()
def test_where_every_place_would_be_forbidden_none_is() -> None:
    network = RecurrentPolicyNetwork(toy_config(stride=4, inhibition=3.9))
    visits = torch.ones(2, network.config.places)
    visits[1, 3] = 0.0
    forbidden = network.forbidden(visits)
    assert forbidden is not None
    assert forbidden.tolist()[0] == [False] * network.config.places
    assert forbidden[1].logical_not().nonzero().tolist() == [[3]]
    plain = RecurrentPolicyNetwork(toy_config())
    assert plain.forbidden(visits) is None


def test_a_distance_must_be_one() -> None:
    with pytest.raises(ValueError, match="inhibition is -1"):
        toy_config(inhibition=-1)


@torch.no_grad()
def test_the_head_sees_how_much_a_patch_would_newly_cover() -> None:
    config = toy_config(stride=1, patch_height=5, patch_width=3)
    head = RecurrentPolicyNetwork(config).head
    assert isinstance(head, ConvHead)
    for weight in head.parameters():
        weight.zero_()
    head.last.weight[0, -1] = 15.0  # of the window's 5x3 places
    visits = torch.zeros(1, config.places)
    visits[0, 6 * 12 + 6] = 1.0
    hidden, picture = torch.zeros(1, config.lstm_features), torch.zeros(1, 3, 16, 12)
    fresh = head(hidden, picture, visits).view(16, 12)
    assert float(fresh[6, 6]) == 0.0
    torch.testing.assert_close(fresh[6, 7:10], torch.tensor([5.0, 10.0, 15.0]))
    torch.testing.assert_close(fresh[7:12, 6], torch.tensor([3.0, 6.0, 9.0, 12.0, 15.0]))
    assert math.isclose(float(fresh[0, 0]), 6.0, rel_tol=1e-5)  # the rest hangs over the border
