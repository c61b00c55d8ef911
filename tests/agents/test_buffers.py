"""The episode buffer: what it keeps is what happened."""

from functools import lru_cache

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import PATCH, SHAPE, RecordingCore, ToyFaces, toy_enhancer

from agents.buffers import EpisodeBuffer
from agents.faces import face_batch
from agents.rollout import walk
from agents.scripted import RandomPatch
from facehall_env.enhancer import EnhancerInput
from facehall_env.patches import Boundary

HORIZON, ROWS = 4, 3


@given(st.lists(st.lists(st.integers(-5, 5), min_size=2, max_size=2), min_size=1, max_size=6))
def test_every_step_is_credited_with_what_comes_from_there_on(rewards: list[list[int]]) -> None:
    buffer = EpisodeBuffer(len(rewards), 2, (1, 2, 2), torch.device("cpu"))
    buffer.rewards.copy_(torch.tensor(rewards))
    expected = [[sum(step[row] for step in rewards[t:]) for row in range(2)] for t in range(len(rewards))]
    assert buffer.returns().tolist() == expected


@lru_cache
def filled(boundary: Boundary = "pad") -> tuple[RecordingCore, EpisodeBuffer]:
    core = RecordingCore(
        SHAPE,
        4,
        horizon=HORIZON,
        patch_size=PATCH,
        boundary=boundary,
        reward="delta",
        enhancer=toy_enhancer(),
    )
    buffer = EpisodeBuffer(HORIZON, ROWS, SHAPE, core.device)
    assert walk(core, RandomPatch(seed=3), face_batch(ToyFaces(), range(ROWS)), buffer=buffer)
    return core, buffer


def test_episodes_are_kept_as_they_were() -> None:
    core, buffer = filled()
    for t, step in enumerate(core.steps):
        torch.testing.assert_close(buffer.pictures[t].float(), step.inputs.picture, rtol=1e-3, atol=1e-3)
        assert torch.equal(buffer.rewards[t], step.reward)
    assert torch.equal(buffer.high_resolution, face_batch(ToyFaces(), range(ROWS)))
    assert torch.equal(buffer.final_mse, core.mse)
    torch.testing.assert_close(buffer.initial_mse - buffer.final_mse, buffer.rewards.sum(dim=0))
    assert torch.equal(buffer.coverage, core.coverage)


@settings(max_examples=6)
@given(
    boundary=st.sampled_from(["pad", "clamp"]),
    batch_size=st.integers(1, HORIZON * ROWS + 1),
    seed=st.integers(0, 9),
)
def test_patches_are_what_the_enhancer_was_shown_each_once(
    boundary: Boundary, batch_size: int, seed: int
) -> None:
    core, buffer = filled(boundary)
    batches = list(buffer.patches(core.geometry, batch_size, torch.Generator().manual_seed(seed)))
    sizes = [len(target) for _, target, _ in batches]
    assert sizes[:-1] == [batch_size] * (len(sizes) - 1)
    assert sum(sizes) == HORIZON * ROWS
    shown = rows([(*shown_of(step.inputs), step.target, step.inside) for step in core.steps])
    given_back = rows([(*shown_of(inputs), target, inside) for inputs, target, inside in batches])
    # half precision, and pictures that overshoot
    same = (shown[:, None] - given_back[None]).abs().amax(dim=2) < 4e-3
    assert bool((same.sum(dim=0) == 1).all())
    assert bool((same.sum(dim=1) == 1).all())


def shown_of(inputs: EnhancerInput) -> list[torch.Tensor]:
    """What the enhancer was shown, without what there was not."""
    return [part for part in inputs if part is not None]


def rows(batches: list[tuple[torch.Tensor, ...]]) -> torch.Tensor:
    """All that belongs to each patch, one row a patch."""
    parts = zip(*batches, strict=True)
    return torch.cat([torch.cat(part).float().flatten(1) for part in parts], dim=1)


def test_the_order_is_the_generators_and_all_pixels_are_counted() -> None:
    core, buffer = filled()

    def targets(seed: int) -> torch.Tensor:
        walked = buffer.patches(core.geometry, 5, torch.Generator().manual_seed(seed))
        return torch.cat([target for _, target, _ in walked])

    assert torch.equal(targets(1), targets(1))
    assert not torch.equal(targets(1), targets(2))
    assert int(buffer.pixels(core.geometry)) == sum(int(step.inside.sum()) for step in core.steps)
    assert int(buffer.pixels(core.geometry)) < HORIZON * ROWS * PATCH[0] * PATCH[1]


def test_patches_of_the_first_picture_are_only_cut_where_they_are_wanted() -> None:
    core, buffer = filled()
    generator = torch.Generator().manual_seed(0)
    inputs, _, _ = next(buffer.patches(core.geometry, 5, generator, initial_patch=False))
    assert inputs.initial_patch is None


def test_a_walk_that_is_stopped_says_so() -> None:
    core, buffer = filled()
    faces = face_batch(ToyFaces(), range(ROWS))
    assert not walk(core, RandomPatch(), faces, buffer=buffer, after_step=lambda: core.t < 2)
    assert core.t == 2
