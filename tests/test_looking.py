"""What looks: the policy network, the scripted agents, the oracle's lesson, the episodes they leave."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from agents.buffers import EpisodeBuffer
from agents.enhancement import EnhancerTrainer, cosine_schedule, patch_error
from agents.faces import FaceBatches, face_batch
from agents.imitation import Demonstration, imitation_loss, oracle_targets
from agents.policies import PolicyConfig, RecurrentPolicyNetwork
from agents.rollout import PolicyAgent, distinct_places, walk
from agents.scripted import ErrorMap, GreedyOracle, RandomPatch, RasterScan, covering_locations, patch_sums
from facehall_env.core import HallucinationCore
from facehall_env.enhancer import EnhancerInput
from tests.small import PATCH, SIDE, SmallFaces, small_enhancer


def small_core(horizon: int = 4, **options: Any) -> HallucinationCore:
    settings: dict[str, Any] = {"enhancer": small_enhancer()} | options
    return HallucinationCore((3, SIDE, SIDE), 4, horizon=horizon, patch_size=PATCH, **settings)


def faces(n: int = 3) -> Tensor:
    return face_batch(SmallFaces(), range(n))


def network(**options: Any) -> RecurrentPolicyNetwork:
    torch.manual_seed(0)
    small = {"picture_features": 8, "history_features": 8, "lstm_features": 8, "head_channels": 4}
    size = {"height": SIDE, "width": SIDE, "patch_height": PATCH[0], "patch_width": PATCH[1]}
    made = RecurrentPolicyNetwork(PolicyConfig(**(small | size | options)))
    with torch.no_grad():
        for parameter in made.parameters():  # also those that start at zero
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made


# --- the policy ---


@pytest.mark.parametrize("head", ["conv", "flat"])
@pytest.mark.parametrize("history", ["visits", "last"])
@pytest.mark.parametrize("policy_input", ["current", "initial"])
def test_one_call_over_the_sequence_equals_step_by_step(head: str, history: str, policy_input: str) -> None:
    policy = network(head=head, history=history, policy_input=policy_input)
    pictures = torch.rand(5, 3, 3, SIDE, SIDE) * 2 - 1
    places = torch.randint(policy.config.places, (5, 3))
    state, logits = policy.initial_state(3), []
    with torch.no_grad():
        for picture, place in zip(pictures, places, strict=True):
            found, state = policy.step(picture, state)
            logits.append(found)
            state = policy.remember(state, place)
        together, values = policy.evaluate(pictures, places)
    assert together.shape == (5, 3, policy.config.places)
    assert values.shape == (5, 3)
    assert torch.allclose(torch.stack(logits), together, atol=1e-5)
    assert together.std() > 1e-3


def test_policy_sees_what_it_should() -> None:
    pictures = torch.rand(2, 1, 3, SIDE, SIDE)
    changed = pictures.clone()
    changed[1] += 0.5
    places = torch.tensor([[0], [1]])
    for policy_input, sees in (("current", True), ("initial", False)):
        policy = network(policy_input=policy_input)
        before, after = policy.evaluate(pictures, places)[0], policy.evaluate(changed, places)[0]
        assert torch.equal(before, after) != sees
    other = torch.tensor([[5], [1]])
    for history in ("visits", "last"):
        policy = network(head="flat", history=history)
        difference = policy.evaluate(pictures, places)[0] - policy.evaluate(pictures, other)[0]
        assert difference[0].abs().max() == 0
        assert difference[1].abs().max() > 0


@given(
    stride=st.sampled_from([1, 2, 4, 8]),
    shape=st.sampled_from([(128, 128), (160, 120), (16, 24)]),
    data=st.data(),
)
def test_places_and_locations_belong_together(stride: int, shape: tuple[int, int], data: Any) -> None:
    config = PolicyConfig(height=shape[0], width=shape[1], stride=stride)
    place = torch.tensor([data.draw(st.integers(0, config.places - 1))])
    location = config.location(place)
    row, column = divmod(int(location), shape[1])
    assert torch.equal(config.place(location), place)
    assert 0 <= row < shape[0]
    assert (row // stride, column // stride) == divmod(int(place), config.grid[1])
    assert row % stride == column % stride == stride // 2


def test_conv_head_counts_the_patches_on_each_place() -> None:
    policy = network(stride=2)
    rows, columns = policy.config.grid
    seen = torch.zeros(1, 1, rows, columns)
    seen[0, 0, 0, 3] = 2.0
    seen[0, 0, 5, 7] = 1.0
    h, w = policy.head.window  # type: ignore[union-attr]
    expected = torch.zeros(rows, columns)
    for (row, column), count in (((0, 3), 2.0), ((5, 7), 1.0)):
        top, left = max(0, row - h // 2), max(0, column - w // 2)
        expected[top : row + h // 2 + 1, left : column + w // 2 + 1] += count
    assert torch.equal(policy.head._cover(seen)[0, 0], expected)  # type: ignore[union-attr]


def test_gray_faces_of_bioid_fit() -> None:
    config = PolicyConfig(
        channels=1, height=160, width=120, picture_features=4, lstm_features=4, head_channels=2
    )
    logits, _ = RecurrentPolicyNetwork(config).evaluate(
        torch.zeros(2, 1, 1, 160, 120), torch.zeros(2, 1).long()
    )
    assert logits.shape == (2, 1, 40 * 30)


# --- scripted agents ---


@given(row=st.integers(0, SIDE - 1), column=st.integers(0, SIDE - 1), seed=st.integers(0, 5))
@settings(max_examples=40)
def test_patch_sums_are_sums_over_patches(row: int, column: int, seed: int) -> None:
    core = small_core()
    values = torch.rand(2, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
    top, left = row - PATCH[0] // 2, column - PATCH[1] // 2
    patch = values[:, max(0, top) : max(0, top + PATCH[0]), max(0, left) : max(0, left + PATCH[1])]
    assert torch.allclose(patch_sums(core, values)[:, row, column], patch.sum(dim=(1, 2)), atol=1e-5)


@pytest.mark.parametrize("size", [(16, 16, (6, 5)), (128, 128, (60, 45)), (160, 120, (60, 45))])
def test_raster_scan_covers_the_picture_with_the_fewest_patches(
    size: tuple[int, int, tuple[int, int]],
) -> None:
    height, width, patch = size
    core = HallucinationCore((1, height, width), 4, patch_size=patch, horizon=30)
    places = covering_locations(core)
    assert len(places) == -(-height // patch[0]) * -(-width // patch[1])
    core.reset(torch.zeros(2, 1, height, width, dtype=torch.uint8))
    scan = RasterScan()
    scan.begin(core)
    for _ in places:
        core.step(scan.select(core))
    assert torch.equal(core.coverage, torch.ones(2))
    assert torch.equal(scan.select(core), places[:1].expand(2))


def test_greedy_oracle_finds_the_most_error() -> None:
    core = small_core()
    core.reset(faces())
    oracle = GreedyOracle("error")
    oracle.begin(core)
    chosen = oracle.select(core)
    error = (core.current.clamp(-1, 1) - core.target).square().sum(dim=1)
    for i, location in enumerate(chosen.tolist()):
        sums = {}
        for row, column in itertools.product(range(SIDE), range(SIDE)):
            top, left = row - PATCH[0] // 2, column - PATCH[1] // 2
            window = error[i, max(0, top) : top + PATCH[0], max(0, left) : left + PATCH[1]]
            sums[row * SIDE + column] = float(window.sum())
        assert sums[location] == pytest.approx(max(sums.values()), rel=1e-5)


class Bleach(torch.nn.Module):
    """Makes every patch white: it mends where the original is white, and spoils the rest."""

    needs_initial_patch = False

    def forward(self, inputs: EnhancerInput) -> Tensor:
        return torch.ones_like(inputs.patch)


def test_oracle_of_gain_goes_where_something_can_be_mended() -> None:
    picture = torch.randint(
        0, 256, (1, 3, SIDE, SIDE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    picture[:, :, 9:15, 9:14] = 255
    core = small_core(enhancer=Bleach())
    core.reset(picture)
    oracle = GreedyOracle("gain")
    oracle.begin(core)
    before = core.mse.clone()
    location = oracle.select(core)
    core.step(location)
    assert divmod(int(location), SIDE) == (12, 11)
    assert core.mse < before


def test_random_patch_repeats_with_its_seed_and_reaches_everywhere() -> None:
    core = small_core()
    core.reset(faces(3).repeat(200, 1, 1, 1))
    draws = [torch.cat([agent.select(core) for _ in range(4)]) for agent in (RandomPatch(1), RandomPatch(1))]
    assert torch.equal(*draws)
    assert len(draws[0].unique()) > 0.9 * SIDE * SIDE


@given(st.lists(st.integers(0, SIDE * SIDE - 1), min_size=1, max_size=12))
def test_distinct_places_are_far_apart(locations: list[int]) -> None:
    counted: list[np.ndarray[Any, Any]] = []
    for location in locations:
        point = np.array(divmod(location, SIDE), float)
        if all(np.linalg.norm(point - other) > 4.0 for other in counted):
            counted.append(point)
    assert distinct_places(torch.tensor(locations)[:, None], SIDE, 4.0).item() == len(counted)


# --- imitation ---


def test_oracle_targets_prefer_the_best_place() -> None:
    config = PolicyConfig(height=SIDE, width=SIDE, patch_height=6, patch_width=5, stride=4)
    error = torch.rand(2, SIDE, SIDE) * 0.1
    error[0, 6, 10] = 1.0  # the middle of cell (1, 2)
    error[1, 14, 2] = 2.0
    most = error.amax(dim=(1, 2))
    targets = oracle_targets(error, config, 0.05, most)
    assert torch.allclose(targets.sum(dim=1), torch.ones(2))
    assert targets.argmax(dim=1).tolist() == [1 * 4 + 2, 3 * 4 + 0]
    assert (oracle_targets(error, config, 5.0, most).max(dim=1).values < targets.max(dim=1).values).all()
    assert torch.isfinite(oracle_targets(torch.zeros(1, SIDE, SIDE), config, 0.05, torch.zeros(1))).all()


def test_oracle_falls_silent_when_nothing_is_left_to_win() -> None:
    config = PolicyConfig(height=SIDE, width=SIDE, patch_height=6, patch_width=5, stride=4)
    noise = 1e-4 * torch.rand(1, SIDE, SIDE)
    targets = oracle_targets(noise, config, 0.05, torch.ones(1))
    assert torch.allclose(targets, torch.full_like(targets, 1 / 16), rtol=0.01)


def test_demonstration_remembers_what_was_done() -> None:
    policy = network()
    core = small_core()
    generator = torch.Generator().manual_seed(0)
    agent = PolicyAgent(policy, generator=generator)
    lesson = Demonstration(agent, ErrorMap("error"), temperature=0.05, oracle_share=0.5, generator=generator)
    buffer = EpisodeBuffer(4, 3, (3, SIDE, SIDE), torch.device("cpu"))
    walk(core, lesson, faces(), buffer=buffer)
    places = torch.stack(lesson.places)
    assert torch.equal(policy.config.location(places), buffer.locations)
    visits = torch.nn.functional.one_hot(places, policy.config.places).sum(dim=0).float()
    assert torch.equal(agent.state.visits, visits)
    assert torch.equal(agent.state.last, places[-1])


def test_following_the_oracle_makes_it_likelier() -> None:
    policy = network()
    core = small_core()
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.01)
    losses = []
    for _ in range(25):
        generator = torch.Generator().manual_seed(0)
        agent = PolicyAgent(policy, generator=generator)
        lesson = Demonstration(
            agent, ErrorMap("error"), temperature=0.05, oracle_share=1.0, generator=generator
        )
        buffer = EpisodeBuffer(4, 3, (3, SIDE, SIDE), torch.device("cpu"))
        walk(core, lesson, faces(), buffer=buffer)
        logits, _ = policy.evaluate(buffer.pictures.float(), torch.stack(lesson.places))
        loss = imitation_loss(logits, torch.stack(lesson.targets))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.3


# --- episodes and the enhancer's phase ---


def recorded_episodes(core: HallucinationCore) -> tuple[EpisodeBuffer, list[EnhancerInput]]:
    shown: list[EnhancerInput] = []
    enhance = core.enhance

    def remember(inputs: EnhancerInput) -> Tensor:
        shown.append(inputs)
        return enhance(inputs)

    core.enhance = remember  # type: ignore[method-assign]
    buffer = EpisodeBuffer(core.horizon, 3, core.shape, core.device)
    walk(core, RandomPatch(0), faces(), buffer=buffer)
    core.enhance = enhance  # type: ignore[method-assign]
    return buffer, shown


def test_buffer_gives_back_what_the_enhancer_was_shown() -> None:
    core = small_core()
    buffer, shown = recorded_episodes(core)
    expected = {
        (t, i): (inputs.patch[i], inputs.picture[i], inputs.centre[i], inputs.initial_patch[i])  # type: ignore[index]
        for t, inputs in enumerate(shown)
        for i in range(3)
    }
    batches = list(buffer.patches(core.geometry, 5, torch.Generator().manual_seed(0)))
    assert [len(target) for _, target, _ in batches] == [5, 5, 2]
    for inputs, target, inside in batches:
        for k in range(len(target)):
            close = [
                key
                for key, (patch, picture, centre, initial) in expected.items()
                if torch.equal(inputs.centre[k], centre)
                and torch.allclose(inputs.patch[k], patch, atol=1e-3)
                and torch.allclose(inputs.picture[k], picture, atol=1e-3)
                and torch.allclose(inputs.initial_patch[k], initial, atol=1e-3)  # type: ignore[index]
            ]
            assert len(close) == 1
            t, i = close[0]
            del expected[t, i]
            window = core.geometry.window(buffer.locations[t, i : i + 1])
            original = core.geometry.to_canvas(faces()[i : i + 1].float() / 127.5 - 1.0)
            assert torch.allclose(target[k], core.geometry.crop(original, window)[0])
            assert torch.equal(inside[k], core.geometry.inside(window)[0])
    assert not expected


def test_patch_error_counts_only_what_is_inside() -> None:
    inside = torch.zeros(2, 1, 2, 2, dtype=torch.bool)
    inside[0, 0, 0, 0] = inside[1, 0, 1] = True
    enhanced, target = torch.zeros(2, 3, 2, 2), torch.full((2, 3, 2, 2), 7.0)
    target[0, :, 0, 0], target[1, :, 1] = 1.0, 2.0
    assert float(patch_error(enhanced, target, inside)) == pytest.approx((1.0 + 4.0 + 4.0) / 3)


def test_joint_update_is_the_gradient_of_the_mean_over_all_patches() -> None:
    gradients = []
    for batch_size in (12, 4):
        core = small_core()
        with torch.no_grad():
            core.enhancer.convolutions[-1].weight.normal_(std=0.1)  # type: ignore[attr-defined]
        buffer, _ = recorded_episodes(core)
        trainer = EnhancerTrainer(core.enhancer, max_grad_norm=1e9)  # type: ignore[arg-type]
        torch.manual_seed(0)
        trainer.fit(
            core,
            buffer,
            updates=1,
            batch_size=batch_size,
            generator=torch.Generator().manual_seed(0),
            accumulate=True,
        )
        gradients.append([parameter.grad.clone() for parameter in trainer.enhancer.parameters()])  # type: ignore
    # Batches hold different numbers of pixels inside the picture, so the two means differ a little
    first, second = (torch.cat([g.flatten() for g in some]) for some in gradients)
    assert torch.nn.functional.cosine_similarity(first, second, dim=0) > 0.98


def test_enhancer_overfits_the_patches_of_a_buffer() -> None:
    core = small_core(enhancer=small_enhancer(widths=(12,) * 7, global_features=8))
    trainer = EnhancerTrainer(core.enhancer, learning_rate=3e-3, betas=(0.9, 0.999))  # type: ignore[arg-type]
    buffer = EpisodeBuffer(4, 2, core.shape, core.device)
    walk(core, RandomPatch(0), faces(2), buffer=buffer)
    generator = torch.Generator().manual_seed(0)
    losses = [
        trainer.fit(core, buffer, updates=1, batch_size=8, generator=generator)[0].loss.item()
        for _ in range(150)
    ]
    assert losses[-1] < 0.6 * losses[0]


def test_schedule_rises_and_falls() -> None:
    rates = [cosine_schedule(step, 100, 1.0, warmup=10) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) in (9, 10)
    assert rates[-1] == pytest.approx(0.0, abs=1e-9)
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))


# --- faces ---


@given(size=st.integers(1, 9), batch_size=st.integers(1, 7), batches=st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_every_face_comes_once_an_epoch_and_a_stream_goes_on(
    size: int, batch_size: int, batches: int
) -> None:
    stream = FaceBatches(SmallFaces(size), batch_size, seed=3)
    seen = torch.cat([stream.next() for _ in range(batches)])
    known = {face.numpy().tobytes(): i for i, face in enumerate(face_batch(SmallFaces(size), range(size)))}
    order = [known[face.numpy().tobytes()] for face in seen]
    for start in range(0, len(order) - size + 1, size):
        assert sorted(order[start : start + size]) == list(range(size))
    resumed = FaceBatches(SmallFaces(size), batch_size, seed=3)
    resumed.load_state_dict(stream.state_dict())
    assert torch.equal(resumed.next(), stream.next())


def test_flips_mirror_about_half_of_the_faces() -> None:
    plain, flipped = (FaceBatches(SmallFaces(64), 64, seed=1, flip=flip).next() for flip in (False, True))
    same = [torch.equal(a, b) for a, b in zip(plain, flipped, strict=True)]
    mirrored = [torch.equal(a, b.flip(2)) for a, b in zip(plain, flipped, strict=True)]
    assert all(a != b for a, b in zip(same, mirrored, strict=True))
    assert 16 < sum(mirrored) < 48


def test_empty_split_is_named() -> None:
    with pytest.raises(ValueError, match="'train' split of 'small' holds no faces"):
        FaceBatches(SmallFaces(0), 2)
