"""Agents that do not learn: scans cover, oracles choose what brute force would."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import SHAPE, ToyFaces, toy_enhancer

from agents.faces import face_batch
from agents.scripted import (
    CoverageGreedy,
    ErrorMap,
    GreedyOracle,
    RandomPatch,
    RasterScan,
    Ties,
    covering_locations,
    patch_sums,
)
from facehall_env.core import HallucinationCore
from facehall_env.patches import Boundary


@settings(max_examples=20)
@given(data=st.data(), boundary=st.sampled_from(["pad", "clamp"]))
def test_patch_sums_are_sums_over_patches(data: st.DataObject, boundary: Boundary) -> None:
    height, width = data.draw(st.integers(1, 5)) * 2, data.draw(st.integers(1, 5)) * 2
    patch = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    core = HallucinationCore((1, height, width), 2, patch_size=patch, boundary=boundary)
    values = torch.randint(10, (2, height, width), generator=torch.Generator().manual_seed(0)).float()
    expected = torch.zeros_like(values)
    for row in range(height):
        for column in range(width):
            top, left = row - patch[0] // 2, column - patch[1] // 2
            if boundary == "clamp":
                top, left = (min(max(top, 0), height - patch[0]), min(max(left, 0), width - patch[1]))
            inside = values[:, max(top, 0) : top + patch[0], max(left, 0) : left + patch[1]]
            expected[:, row, column] = inside.sum(dim=(1, 2))
    assert torch.equal(patch_sums(core, values), expected)


@pytest.mark.parametrize(
    ("shape", "patch", "count"),
    [
        ((1, 128, 128), (60, 45), 9),
        ((1, 160, 120), (60, 45), 9),
        ((1, 16, 12), (16, 12), 1),
        ((1, 16, 12), (6, 5), 9),
    ],
)
def test_a_raster_scan_covers_the_picture_and_wastes_no_pixel_outside(
    shape: tuple[int, int, int], patch: tuple[int, int], count: int
) -> None:
    core = HallucinationCore(shape, 4, horizon=2 * count, patch_size=patch)
    assert len(covering_locations(core)) == count
    core.reset(torch.zeros(2, *shape, dtype=torch.uint8))
    scan = RasterScan()
    scan.begin(core)
    first = []
    for _ in range(count):
        assert float(core.coverage.min()) < 1.0
        first.append(scan.select(core))
        assert bool(core.geometry.inside(core.geometry.window(first[-1])).all())
        core.step(first[-1])
    assert core.coverage.tolist() == [1.0, 1.0]
    assert torch.equal(scan.select(core), first[0])  # and again


def oracle_core(boundary: Boundary = "pad") -> HallucinationCore:
    core = HallucinationCore(
        SHAPE, 4, horizon=3, patch_size=(6, 5), boundary=boundary, enhancer=toy_enhancer()
    )
    core.reset(face_batch(ToyFaces(), range(3)))
    return core


def brute_force(core: HallucinationCore, criterion: str) -> torch.Tensor:
    """What replacing each patch would take off the squared error, (N, H*W)."""
    error = (core.current.clamp(-1, 1) - core.target).square() / 4
    mended = torch.zeros_like(error)
    if criterion == "gain":
        once = core.replica(horizon=9)
        once.reset(core.high_resolution)
        for location in covering_locations(core):
            once.step(location.expand(core.rows))
        mended = (once.current.clamp(-1, 1) - core.target).square() / 4
    won = torch.zeros(core.rows, core.geometry.locations)
    for location in range(core.geometry.locations):
        window = core.geometry.window(torch.tensor([location])).expand(core.rows, -1)
        difference = core.geometry.crop(core.geometry.to_canvas(error - mended), window)
        won[:, location] = difference.double().sum(dim=(1, 2, 3)).float()
    return won


@pytest.mark.parametrize("boundary", ["pad", "clamp"])
@pytest.mark.parametrize("criterion", ["error", "gain"])
@torch.no_grad()
def test_the_oracle_looks_where_most_is_to_be_won(criterion: str, boundary: Boundary) -> None:
    core = oracle_core(boundary)
    oracle = GreedyOracle(criterion)
    oracle.begin(core)
    chosen = []
    for _ in range(2):
        location = oracle.select(core)
        won = brute_force(core, criterion)
        torch.testing.assert_close(won.gather(1, location[:, None]), won.amax(dim=1, keepdim=True))
        core.step(location)
        chosen.append(location)
    assert len(set(torch.stack(chosen).flatten().tolist())) > 1


def test_the_two_criteria_differ_where_the_enhancer_does_harm() -> None:
    core = oracle_core()
    maps = {}
    for criterion in ("error", "gain"):
        maps[criterion] = ErrorMap(criterion)
        maps[criterion].begin(core)
    assert bool((maps["error"](core) >= 0).all())
    assert bool((maps["gain"](core) < 0).any())
    assert core.t == 0  # asking changes nothing


def test_an_unknown_criterion_is_refused() -> None:
    with pytest.raises(ValueError, match="criterion is 'luck'"):
        GreedyOracle("luck")


def test_random_patches_are_legal_and_repeat_with_their_seed() -> None:
    core = oracle_core()
    agents = [RandomPatch(1), RandomPatch(1), RandomPatch(2)]
    drawn = [torch.stack([agent.select(core) for _ in range(40)]) for agent in agents]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert int(drawn[0].min()) >= 0
    assert int(drawn[0].max()) < 16 * 12
    assert len(drawn[0].unique()) > 70  # of 192, in 120 draws


@pytest.mark.parametrize("boundary", ["pad", "clamp"])
@pytest.mark.parametrize("ties", ["random", "order"])
def test_the_coverage_greedy_agent_covers_as_much_as_any_other_place(boundary: Boundary, ties: Ties) -> None:
    core = HallucinationCore((1, 8, 6), 2, horizon=20, patch_size=(3, 2), boundary=boundary)
    core.reset(torch.zeros(2, 1, 8, 6, dtype=torch.uint8))
    agent = CoverageGreedy(ties)
    agent.begin(core)
    covered: list[set[int]] = [set(), set()]
    while not core.terminated:
        location = agent.select(core)
        for row, seen in enumerate(covered):
            if len(seen) == 48:  # all of it: anew
                seen.clear()
            fresh = [len(pixels(core, place) - seen) for place in range(48)]
            chosen = int(location[row])
            assert fresh[chosen] == max(fresh)
            assert ties == "random" or chosen == fresh.index(max(fresh))
            seen |= pixels(core, chosen)
        core.step(location)
    assert core.coverage.tolist() == [1.0, 1.0]


def pixels(core: HallucinationCore, location: int) -> set[int]:
    """The pixels of the picture that the patch at a location covers."""
    top, left, rows, columns = core.geometry.boxes(torch.tensor([location]))[0].tolist()
    return {
        row * 6 + column
        for row in range(max(top, 0), min(top + rows, 8))
        for column in range(max(left, 0), min(left + columns, 6))
    }


def test_ties_of_coverage_repeat_with_their_seed_and_other_words_are_refused() -> None:
    core = oracle_core()

    def first(seed: int) -> list[int]:
        agent = CoverageGreedy(seed=seed)
        agent.begin(core)
        return [*agent.select(core).tolist(), *agent.select(core).tolist()]

    assert first(1) == first(1) != first(2)
    with pytest.raises(ValueError, match="ties is 'luck'"):
        CoverageGreedy("luck")  # type: ignore[arg-type]
