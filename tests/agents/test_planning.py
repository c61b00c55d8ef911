"""Planned scans: that each place is the best one that may be chosen, and that they are taught."""

import math

import pytest
import torch
from toys import PATCH, POLICY, SHAPE, ToyFaces, toy_agent, toy_enhancer

from agents.faces import face_batch
from agents.imitation import PlanTeacher
from agents.planning import PlannedScan, Planner
from agents.policies import PolicyConfig
from agents.rollout import PolicyAgent, Recorder, walk
from facehall_env.core import HallucinationCore


def config(**changes: object) -> PolicyConfig:
    settings = POLICY | {"stride": 4} | changes
    return PolicyConfig(*SHAPE, *PATCH, **settings)


def core_of(horizon: int = 4) -> HallucinationCore:
    return HallucinationCore(SHAPE, 4, horizon=horizon, patch_size=PATCH, enhancer=toy_enhancer())


@pytest.mark.parametrize("inhibition", [0.0, 5.0])
def test_every_place_of_a_plan_wins_most_in_the_mean_of_those_allowed(inhibition: float) -> None:
    grid, core, faces = config(inhibition=inhibition), core_of(), face_batch(ToyFaces(), range(5))
    planned = Planner(core, grid).plan(faces)
    assert len(planned) == core.horizon
    core.reset(faces)
    for step, place in enumerate(planned):
        before, won = core.mse.double(), {}
        for other in range(grid.places):
            row, column = divmod(other, grid.grid[1])
            distances = [
                4 * math.dist((row, column), divmod(earlier, grid.grid[1])) for earlier in planned[:step]
            ]
            if inhibition and min(distances, default=math.inf) <= inhibition:
                continue
            trial = core_of()
            trial.reset(faces)
            for earlier in (*planned[:step], other):
                trial.step(torch.full((5,), int(grid.location(torch.tensor(earlier)))))
            won[other] = float((before.log() - trial.mse.double().log()).mean())
        assert place == max(won, key=lambda each: won[each])
        core.step(torch.full((5,), int(grid.location(torch.tensor(place)))))


def test_a_fine_grid_is_searched_around_the_best_places_of_a_coarse_one(monkeypatch) -> None:
    shape, patch = (3, 96, 96), (12, 12)
    grid = PolicyConfig(*shape, *patch, stride=2, inhibition=0.0)
    planner, tried = Planner(HallucinationCore(shape, 8, horizon=1, patch_size=patch), grid), []

    def won(place: int) -> float:
        tried.append(place)
        return -math.dist(divmod(int(grid.location(torch.tensor(place))), 96), (45, 65))

    monkeypatch.setattr(planner, "_won", won)
    [place] = planner.plan(torch.zeros(1, *shape, dtype=torch.uint8))
    assert divmod(int(grid.location(torch.tensor(place))), 96) == (45, 65)
    assert len(tried) == len(set(tried)) < 150 < 48 * 48


def test_a_picture_without_error_neither_wins_nor_confuses() -> None:
    grid, core = config(inhibition=0.0), core_of()
    faces = face_batch(ToyFaces(), range(3))
    flat = torch.full_like(faces[:1], 7)
    core.set_enhancer(None)
    core.reset(flat)
    assert float(core.mse) == 0.0
    planner = Planner(core, grid)
    assert planner._won(3) == 0.0
    core.set_enhancer(toy_enhancer())
    planned = planner.plan(torch.cat((faces, flat)))
    assert len(planned) == core.horizon
    assert all(0 <= place < grid.places for place in planned)


def test_a_plan_takes_at_least_as_many_patches_as_it_says() -> None:
    for inhibition in (0.0, 5.0, 9.0):
        grid, core = config(inhibition=inhibition), core_of()
        planner, taken = Planner(core, grid), []
        enhance = core.enhance
        core.enhance = lambda inputs: taken.append(len(inputs.patch)) or enhance(inputs)  # noqa: B023
        planner.plan(face_batch(ToyFaces(), range(2)))
        assert sum(taken) >= 2 * planner.least_patches


def test_a_planned_scan_walks_its_locations_and_starts_over() -> None:
    core = core_of(horizon=5)
    seen: list[torch.Tensor] = []
    scan = PlannedScan([3, 50, 7])
    step = core.step
    core.step = lambda location: seen.append(location) or step(location)  # type: ignore[method-assign, func-returns-value]
    walk(core, scan, face_batch(ToyFaces(), range(2)))
    assert [location.tolist() for location in seen] == [[3, 3], [50, 50], [7, 7], [3, 3], [50, 50]]
    with pytest.raises(ValueError, match="at least one location"):
        PlannedScan([])


def test_a_plan_is_taught_in_order_and_what_was_missed_first() -> None:
    grid, core = config(), core_of()
    teacher = PlanTeacher([5, 2, 9])
    core.reset(face_batch(ToyFaces(), range(2)))
    free = teacher.advise(core, grid, None)
    assert free.argmax(dim=1).tolist() == [5, 5]
    torch.testing.assert_close(free.sum(dim=1), torch.ones(2))
    forbidden = torch.zeros(2, grid.places, dtype=torch.bool)
    forbidden[0, 5] = forbidden[0, 9] = True
    advice = teacher.advise(core, grid, forbidden)
    assert advice.argmax(dim=1).tolist() == [2, 5]
    assert float(advice[forbidden].sum()) == 0.0
    assert float(advice[0, 2]) > 0.9
    forbidden[0, 2] = True
    lost = teacher.advise(core, grid, forbidden)[0]  # nothing of the plan is left
    allowed = ~forbidden[0]
    torch.testing.assert_close(lost[allowed], torch.full_like(lost[allowed], 1.0 / int(allowed.sum())))


def test_the_warm_start_plans_once_and_the_plan_is_saved_with_the_agent(tmp_path) -> None:
    agent = toy_agent(imitation_updates=2, imitation_plan_faces=3)
    assert agent.plan is None
    agent.imitate()
    faces = face_batch(ToyFaces(), [0, 2, 4])
    core = agent.core.replica()
    assert agent.plan == Planner(core, agent.policy.config).plan(faces)
    agent.plan = [1, 2, 3]  # would be planned otherwise
    agent.imitate()
    assert agent.plan == [1, 2, 3]
    agent.save(tmp_path / "agent.zip")
    assert type(agent).load(tmp_path / "agent.zip", env=agent.env).plan == [1, 2, 3]
    again = toy_agent(imitation_updates=2)
    again.load_training_state(agent.training_state())
    assert again.plan == [1, 2, 3]


def test_imitating_a_plan_ends_in_walking_it() -> None:
    agent = toy_agent(imitation_updates=40, imitation_faces=7, imitation_rows=7, imitation_learning_rate=1e-2)
    for _ in range(40):
        agent.imitate()
    recorder = Recorder(PolicyAgent(agent.policy, deterministic=True))
    walk(agent.core, recorder, face_batch(ToyFaces(), range(7)))
    for location, place in zip(recorder.locations, agent.plan or (), strict=True):
        assert agent.policy.location(torch.tensor(place)).expand(7).tolist() == location.tolist()
