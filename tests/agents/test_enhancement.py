"""How the enhancer learns: its loss, its three couplings, through the pictures or not, and its start."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from toys import PATCH, SHAPE, ToyFaces, learned, same_weights, toy_agent, toy_enhancer, toy_env

from agents.buffers import EpisodeBuffer
from agents.enhancement import EnhancerTrainer, Pretraining, cosine_schedule, patch_error, squared_error
from agents.faces import FaceBatches, face_batch
from agents.rollout import walk
from agents.scripted import RandomPatch
from facehall_env.core import HallucinationCore
from facehall_env.enhancer import EnhancerInput, make_enhancer

HORIZON, ROWS = 3, 4


def collected(enhancer: nn.Module | None = None) -> tuple[HallucinationCore, EpisodeBuffer]:
    core = HallucinationCore(SHAPE, 4, horizon=HORIZON, patch_size=PATCH, enhancer=enhancer or toy_enhancer())
    buffer = EpisodeBuffer(HORIZON, ROWS, SHAPE, core.device)
    walk(core, RandomPatch(seed=5), face_batch(ToyFaces(), range(ROWS)), buffer=buffer)
    return core, buffer


def gradient(network: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.grad.flatten() for parameter in network.parameters()])


def test_what_lies_outside_counts_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    enhanced, target = torch.randn(2, 2, 3, 4, 5, generator=generator)
    inside = torch.rand(2, 1, 4, 5, generator=generator) < 0.5
    pixels = [
        float((enhanced[n, c, i, j] - target[n, c, i, j]) ** 2)
        for n in range(2)
        for c in range(3)
        for i in range(4)
        for j in range(5)
        if inside[n, 0, i, j]
    ]
    assert float(patch_error(enhanced, target, inside)) == pytest.approx(sum(pixels) / len(pixels), rel=1e-5)
    enhanced.requires_grad_()
    patch_error(enhanced, target, inside).backward()
    assert not enhanced.grad[~inside.expand_as(enhanced)].any()
    assert enhanced.grad[inside.expand_as(enhanced)].all()


@pytest.mark.parametrize("through_pictures", [False, True])
@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_a_joint_update_follows_the_mean_over_all_pixels(batch_size: int, through_pictures: bool) -> None:
    core, buffer = collected()
    network = core.enhancer
    core.reset(buffer.high_resolution)
    squared, pixels = torch.zeros(()), 0
    for location in buffer.locations:
        step = core.step_recorded(location, through_pictures=through_pictures)
        squared = squared + ((step.enhanced - step.target).square() * step.inside).sum()
        pixels += int(step.inside.sum()) * SHAPE[0]
    (squared / pixels).backward()
    expected = gradient(network)
    trainer = EnhancerTrainer(network, max_grad_norm=1e9)
    reports = trainer.fit(
        core,
        buffer,
        updates=7,
        batch_size=batch_size,
        accumulate=None,
        through_pictures=through_pictures,
        generator=torch.Generator().manual_seed(0),
    )
    assert len(reports) == 1
    assert float(reports[0].loss) == pytest.approx(float(squared.detach()) / pixels, rel=1e-3)
    # the buffer's pictures have half precision, a replay has not
    tolerance = 1e-4 if through_pictures else 2e-3
    assert float((gradient(network) - expected).norm() / expected.norm()) < tolerance


class Gain(nn.Module):
    """Multiplies the patch by its one weight."""

    needs_initial_patch = False

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, inputs: EnhancerInput) -> torch.Tensor:
        return self.weight * inputs.patch


@pytest.mark.parametrize("through_pictures", [False, True])
def test_the_gradient_flows_through_the_pictures_where_it_shall(through_pictures: bool) -> None:
    w = 0.7
    core = HallucinationCore(SHAPE, 4, horizon=2, patch_size=SHAPE[1:], enhancer=Gain(w))
    middle = torch.full((1,), 8 * 12 + 6)  # the patch is the whole picture
    buffer = EpisodeBuffer(2, 1, SHAPE, core.device)
    buffer.locations.fill_(int(middle))
    buffer.high_resolution.copy_(face_batch(ToyFaces(), [0]))
    core.reset(buffer.high_resolution)
    buffer.pictures.copy_(torch.stack((core.initial, w * core.initial)))
    p, y = core.initial, core.target
    first, second = 2.0 * (w * p - y) * p, 2.0 * (w * w * p - y) * p * w
    expected = float((first + second * (2.0 if through_pictures else 1.0)).mean() / 2.0)
    EnhancerTrainer(core.enhancer, max_grad_norm=1e9).fit(
        core,
        buffer,
        updates=1,
        batch_size=2,
        through_pictures=through_pictures,
        generator=torch.Generator().manual_seed(0),
    )
    assert float(core.enhancer.weight.grad) == pytest.approx(expected, rel=2e-3)


def test_alternating_updates_as_often_as_asked_or_as_the_patches_go() -> None:
    core, buffer = collected()
    trainer = EnhancerTrainer(core.enhancer)
    for updates, batch_size, expected in ((2, 4, 2), (9, 5, 3), (1, 100, 1)):
        before = {name: value.clone() for name, value in core.enhancer.state_dict().items()}
        reports = trainer.fit(
            core, buffer, updates=updates, batch_size=batch_size, generator=torch.Generator().manual_seed(0)
        )
        assert len(reports) == expected
        assert not same_weights(before, core.enhancer.state_dict())


@pytest.mark.parametrize("coupling", ["alternating", "joint", "frozen"])
@pytest.mark.parametrize("through", [False, True])
def test_couplings_say_what_an_iteration_changes(coupling: str, through: bool) -> None:
    agent = toy_agent(coupling=coupling, backprop_through_image=through)
    before = learned(agent)
    agent.learn(12)
    after = learned(agent)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert any(name.startswith("policy.") for name in changed)
    assert any(name.startswith("enhancer.") for name in changed) == (coupling != "frozen")
    steps = [int(value) for name, value in after.items() if name.startswith("enhancer_optimizer.0.step")]
    assert steps == {"alternating": [1 if through else 2], "joint": [1], "frozen": []}[coupling]


def test_the_gradient_is_clipped() -> None:
    core, buffer = collected()
    trainer = EnhancerTrainer(core.enhancer, max_grad_norm=1e-3)
    report = trainer.fit(core, buffer, updates=1, batch_size=4, generator=torch.Generator().manual_seed(0))[0]
    assert float(report.gradient_norm) > 1e-3
    assert float(gradient(core.enhancer).norm()) == pytest.approx(1e-3, rel=1e-3)


def test_two_faces_can_be_learned_by_heart() -> None:
    blocks = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).repeat(4, axis=1).repeat(4, axis=2)
    faces = ToyFaces(pictures=blocks)  # in blocks of 4x4, of which shrinking by 8 leaves only means
    torch.manual_seed(0)
    small = {"widths": (4,) * 7, "global_features": 16, "edge_kernel": 3, "inner_kernel": 1}
    network = make_enhancer("tiny", shape=(3, 32, 32), patch_size=(32, 32), **small)
    core = HallucinationCore((3, 32, 32), 8, horizon=1, patch_size=(32, 32), enhancer=network)
    trainer = EnhancerTrainer(network, learning_rate=1e-2, betas=(0.9, 0.999))
    middle = torch.full((2,), 16 * 32 + 16)
    losses = []
    for _ in range(100):
        core.reset(face_batch(faces, [0, 1]))
        step = core.step_recorded(middle)
        losses.append(float(trainer.step(squared_error(step.enhanced, step.target, step.inside)).loss))
    core.reset(face_batch(faces, [0, 1]))
    before = core.mse
    core.step(middle)
    assert losses[-1] < 0.5 * losses[0]
    assert bool((core.mse < 0.5 * before).all())


def test_the_learning_rate_rises_and_falls() -> None:
    rates = [cosine_schedule(step, 110, 2.0, warmup=10, floor=0.5) for step in range(111)]
    assert rates[:10] == pytest.approx([0.2 * (i + 1) for i in range(10)])
    assert rates[10] == pytest.approx(2.0)
    assert rates[60] == pytest.approx(1.25)
    assert rates[110] == pytest.approx(0.5)
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[10:]))


def pretraining(network: nn.Module) -> Pretraining:
    core = toy_env(enhancer=network).core.replica()
    trainer = EnhancerTrainer(network, betas=(0.9, 0.999))
    faces = FaceBatches(ToyFaces(), 3, seed=1, flip=True)
    return Pretraining(core, trainer, faces, updates=12, learning_rate=1e-2, warmup=2, seed=4)


def test_pretraining_is_taken_up_between_episodes() -> None:
    whole, first, second = (toy_enhancer(seed=7) for _ in range(3))
    run = pretraining(whole)
    for _ in range(12):
        run.update()
    half = pretraining(first)
    while half.done < 6 or not half.between_episodes:
        half.update()
    assert half.done == 6  # episodes have three steps
    rest = pretraining(second)
    second.load_state_dict(first.state_dict())
    rest.load_state_dict(half.state_dict())
    rest.trainer.load_state_dict(half.trainer.state_dict())
    while rest.done < 12:
        rest.update()
    assert same_weights(whole.state_dict(), second.state_dict())
    assert not same_weights(whole.state_dict(), first.state_dict())


def test_faces_come_once_an_epoch_and_go_on_where_they_stopped() -> None:
    faces = ToyFaces(5)
    stream = FaceBatches(faces, 3, seed=2)
    epochs = torch.cat([stream.next() for _ in range(5)])
    pictures = face_batch(faces, range(5))
    for epoch in epochs.split(5):
        found = [int((pictures == face).flatten(1).all(dim=1).nonzero()) for face in epoch]
        assert sorted(found) == [0, 1, 2, 3, 4]
    assert not torch.equal(epochs[:5], epochs[5:10])
    other = FaceBatches(faces, 3, seed=2)
    other.load_state_dict({"seen": 6})
    assert torch.equal(other.next(), epochs[6:9])


def test_half_the_faces_are_mirrored_and_nothing_else() -> None:
    faces = ToyFaces(60)
    plain = FaceBatches(faces, 60, seed=2).next()
    flipped = FaceBatches(faces, 60, seed=2, flip=True).next()
    mirrored = [bool(torch.equal(a.flip(2), b)) for a, b in zip(plain, flipped, strict=True)]
    same = [bool(torch.equal(a, b)) for a, b in zip(plain, flipped, strict=True)]
    assert all(a != b for a, b in zip(mirrored, same, strict=True))
    assert 15 < sum(mirrored) < 45


@pytest.mark.parametrize(("size", "batch", "named"), [(0, 2, "no faces"), (3, 0, "batch_size is 0")])
def test_a_stream_without_faces_is_refused(size: int, batch: int, named: str) -> None:
    faces = ToyFaces(pictures=np.zeros((size, 16, 12, 3)))
    with pytest.raises(ValueError, match=named):
        FaceBatches(faces, batch)


def test_the_schedule_needs_no_warmup() -> None:
    assert cosine_schedule(0, 10, 1.0) == 1.0
    assert math.isclose(cosine_schedule(5, 10, 1.0), 0.5)


def test_the_enhancer_is_the_running_average_of_what_learns() -> None:
    core, buffer = collected()
    trainer = EnhancerTrainer(core.enhancer, learning_rate=1e-2, ema=0.15)
    expected = {name: value.clone() for name, value in core.enhancer.named_parameters()}
    before = learned_weights = None
    for k in range(4):
        trainer.fit(core, buffer, updates=1, batch_size=4, generator=torch.Generator().manual_seed(k))
        assert core.enhancer is trainer.enhancer
        decay = min(0.15, (1 + k) / (10 + k))  # 0.1 at first
        before, learned_weights = learned_weights, dict(trainer.learner.named_parameters())
        for name, value in expected.items():
            value.lerp_(learned_weights[name].detach(), 1.0 - decay)
    assert before is not None
    for name, value in core.enhancer.named_parameters():
        torch.testing.assert_close(value.detach(), expected[name])
        assert not torch.equal(value, learned_weights[name])


@pytest.mark.parametrize("through", [False, True])
def test_the_average_does_not_disturb_what_learns(through: bool) -> None:
    """The learner takes the very updates of a plain run on the same episodes."""
    weights = []
    for ema in (0.0, 0.9):
        core, buffer = collected(toy_enhancer(seed=3))
        trainer = EnhancerTrainer(core.enhancer, learning_rate=1e-2, ema=ema)
        generator = torch.Generator().manual_seed(0)
        trainer.fit(core, buffer, updates=3, batch_size=2, generator=generator, through_pictures=through)
        weights.append(trainer.learner.state_dict())
    assert same_weights(*weights)


def test_the_learner_starts_from_what_the_enhancer_is_when_learning_starts() -> None:
    core, buffer = collected(toy_enhancer(seed=3))
    trainer = EnhancerTrainer(core.enhancer, learning_rate=1e-9, ema=0.9)
    core.enhancer.load_state_dict(toy_enhancer(seed=4).state_dict())
    trainer.fit(core, buffer, updates=1, batch_size=4, generator=torch.Generator().manual_seed(0))
    for value, started in zip(trainer.learner.parameters(), toy_enhancer(seed=4).parameters(), strict=True):
        torch.testing.assert_close(value, started, atol=1e-6, rtol=0.0)


@pytest.mark.parametrize("decay", [1.0, -0.1, math.nan])
def test_a_decay_that_is_none_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match=r"enhancer_ema is .*, but a decay must be"):
        toy_agent(enhancer_ema=decay)


def test_shifted_faces_are_moved_whole_and_their_edges_repeated() -> None:
    faces = ToyFaces()
    plain = FaceBatches(faces, 60, seed=2).next()
    moved = FaceBatches(faces, 60, seed=2, shift=2).next()
    assert torch.equal(FaceBatches(faces, 60, seed=2, shift=2).next(), moved)
    padded = torch.nn.functional.pad(plain.float(), (2, 2, 2, 2), mode="replicate").byte()
    height, width = plain.shape[2:]
    found = []
    for face, shifted in zip(padded, moved, strict=True):
        places = [
            (top, left)
            for top in range(5)
            for left in range(5)
            if torch.equal(face[:, top : top + height, left : left + width], shifted)
        ]
        assert places
        found.append(places[0])
    assert len(set(found)) > 10
    with pytest.raises(ValueError, match="shift is -1"):
        FaceBatches(faces, 3, shift=-1)


@pytest.mark.parametrize("through", [False, True])
def test_accumulated_batches_are_one_larger_batch(through: bool) -> None:
    gradients, norms = [], []
    for batch_size, accumulate in ((1, 3), (3, 1)):
        core, buffer = collected(toy_enhancer(seed=3))
        trainer = EnhancerTrainer(core.enhancer, max_grad_norm=1e9)
        reports = trainer.fit(
            core,
            buffer,
            updates=1,
            batch_size=batch_size,
            accumulate=accumulate,
            through_pictures=through,
            generator=torch.Generator().manual_seed(0),
        )
        gradients.append(gradient(core.enhancer))
        norms.append([(float(report.loss), float(report.gradient_norm)) for report in reports])
    assert len(norms[0]) == 1
    assert norms[0][0] == pytest.approx(norms[1][0], rel=1e-4)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


def test_accumulation_goes_as_far_as_the_patches_go() -> None:
    core, buffer = collected()  # 12 patches
    trainer = EnhancerTrainer(core.enhancer)
    generator = torch.Generator().manual_seed(0)
    for batch_size, accumulate, expected in ((2, 2, 3), (5, 2, 2), (4, 9, 1)):
        reports = trainer.fit(
            core, buffer, updates=9, batch_size=batch_size, accumulate=accumulate, generator=generator
        )
        assert len(reports) == expected


class People(ToyFaces):
    """Three people with one, two and four pictures."""

    def identity(self, index: int) -> str:
        return "abbcccc"[index]


def test_people_come_equally_often_and_all_their_pictures_in_turn() -> None:
    faces = People(7)
    pictures = face_batch(faces, range(7))
    stream = FaceBatches(faces, 3, seed=2, balance_people=True)
    epochs = [
        [int((pictures == face).flatten(1).all(dim=1).nonzero()) for face in stream.next()] for _ in range(8)
    ]
    for epoch in epochs:
        assert sorted(faces.identity(index) for index in epoch) == ["a", "b", "c"]
    for half in (epochs[:4], epochs[4:]):
        shown = sorted(index for epoch in half for index in epoch)
        assert shown == [0, 0, 0, 0, 1, 1, 2, 2, 3, 4, 5, 6]
    other = FaceBatches(faces, 3, seed=2, balance_people=True)
    other.load_state_dict({"seen": 15})
    found = [int((pictures == face).flatten(1).all(dim=1).nonzero()) for face in other.next()]
    assert found == epochs[5]


def test_balancing_needs_to_know_who_is_who() -> None:
    with pytest.raises(ValueError, match="balance_people is set, but 'synthetic' does not say who"):
        toy_agent(balance_people=True)
    agent = toy_agent(toy_env(People(7)), balance_people=True)
    agent.learn(12)
    assert agent.faces.seen == 2
