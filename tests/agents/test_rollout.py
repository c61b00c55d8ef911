"""Walking episodes, and what is said of them afterwards."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toys import POLICY, SHAPE, RecordingCore, ToyFaces, randomise, toy_agent, toy_enhancer, toy_env

from agents.buffers import EpisodeBuffer
from agents.faces import face_batch
from agents.policies import PolicyConfig, RecurrentPolicyNetwork, choose_place
from agents.rollout import PolicyAgent, describe, distinct_places, walk
from facehall_env.core import HallucinationCore
from facehall_env.patches import PatchGeometry
from tests.waiting import NoReadBack, never_waiting_for_cuda

WIDTH = 20
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@given(st.lists(st.integers(0, WIDTH * 15 - 1), min_size=1, max_size=8), st.sampled_from([0.0, 3.0, 8.0]))
def test_distinct_places_are_counted_one_after_the_other(path: list[int], distance: float) -> None:
    counted: list[tuple[int, int]] = []
    for location in path:
        point = divmod(location, WIDTH)
        if all(math.dist(point, other) > distance for other in counted):
            counted.append(point)
    locations = torch.tensor([path, path[:1] * len(path)]).T
    assert distinct_places(locations, WIDTH, distance).tolist() == [len(counted), 1]


def test_a_policy_that_draws_follows_its_distribution_and_its_generator() -> None:
    logits = torch.tensor([[0.0, math.log(3.0), -100.0]]).expand(4000, -1)
    drawn = choose_place(logits, deterministic=False, generator=torch.Generator().manual_seed(0))
    again = choose_place(logits, deterministic=False, generator=torch.Generator().manual_seed(0))
    assert torch.equal(drawn, again)
    share = torch.bincount(drawn, minlength=3) / 4000
    torch.testing.assert_close(share, torch.tensor([0.25, 0.75, 0.0]), atol=0.03, rtol=0.0)
    assert bool((choose_place(logits, deterministic=True) == 1).all())


def test_the_agent_remembers_what_it_did_and_episodes_are_described() -> None:
    config = PolicyConfig(3, 16, 12, 6, 5, **POLICY)
    core = RecordingCore(SHAPE, 4, horizon=4, patch_size=(6, 5), enhancer=toy_enhancer())
    buffer = EpisodeBuffer(4, 3, SHAPE, core.device)
    agent = PolicyAgent(randomise(RecurrentPolicyNetwork(config)), generator=torch.Generator().manual_seed(0))
    walk(core, agent, face_batch(ToyFaces(), range(3)), buffer=buffer)
    places = config.place(buffer.locations)
    assert torch.equal(torch.stack(agent.chosen), places)
    assert torch.equal(agent.state.last, places[-1])
    assert agent.state.visits.sum(dim=1).tolist() == [4.0, 4.0, 4.0]
    said = describe(buffer)
    assert set(said) == {"psnr", "psnr_gain", "coverage", "distinct_places"}
    psnr = [-10.0 * math.log10(float(mse)) for mse in core.mse]
    assert math.isclose(said["psnr"], sum(psnr) / 3, rel_tol=1e-5)
    before = [-10.0 * math.log10(float(mse)) for mse in buffer.initial_mse]
    assert math.isclose(said["psnr_gain"], (sum(psnr) - sum(before)) / 3, rel_tol=1e-3)
    assert math.isclose(said["coverage"], float(core.coverage.mean()), rel_tol=1e-6)
    assert 1.0 <= said["distinct_places"] <= 4.0


def test_a_policy_in_half_precision_learns_about_the_same_and_remembers_in_single() -> None:
    """Logits agree within 2 % of the largest; gradients point the same way."""
    agent = toy_agent(policy_precision="bfloat16")
    randomise(agent.policy, std=0.3)
    explorer = PolicyAgent(agent.policy, precision="bfloat16", generator=agent.generator)
    walk(agent.core, explorer, face_batch(ToyFaces(), range(4)), buffer=agent.buffer)
    assert {part.dtype for part in explorer.state} == {torch.float32, torch.int64}
    choices = torch.stack(explorer.chosen)
    gradients, logits = [], []
    for precision in ("float32", "bfloat16"):
        agent.policy_precision = precision
        agent.policy.zero_grad()
        found, _ = agent._evaluate(agent.buffer.pictures, choices)
        log_prob, _ = agent.policy.log_prob_and_entropy(found, choices)
        (log_prob * torch.linspace(-1, 1, log_prob.numel()).view_as(log_prob)).sum().backward()
        gradients.append(
            torch.cat([p.grad.flatten() for p in agent.policy.parameters() if p.grad is not None])
        )
        logits.append(found.detach())
    assert logits[1].dtype == torch.float32
    assert not torch.equal(*logits)
    assert float((logits[0] - logits[1]).abs().max() / logits[0].abs().max()) < 0.02
    assert float(torch.cosine_similarity(*gradients, dim=0)) > 0.99


POLICIES = [
    {},
    {"inhibition": 5.0},
    {"head": "flat", "history": "last"},
    {"head": "gaussian", "stride": 1, "history": "last", "policy_input": "both"},
]


def explored(device: str, policy: dict[str, Any], **env: Any) -> tuple[HallucinationCore, Callable[[], bool]]:
    """A core, and what fills an agent's buffer with its episodes; the faces are on the device."""
    agent = toy_agent(toy_env(reward="delta", device=device, **env), policy_kwargs=policy)
    explorer = PolicyAgent(randomise(agent.policy), generator=agent.generator, training=True)
    faces = face_batch(ToyFaces(), range(4)).to(agent.device)
    return agent.core, lambda: walk(agent.core, explorer, faces, buffer=agent.buffer)


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_a_rollout_reads_nothing_back(policy: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    core, rollout = explored("cpu", policy)
    with NoReadBack(), pytest.raises(AssertionError, match="read back"):
        rollout()  # on a CPU, where it costs nothing, the locations are checked
    monkeypatch.setattr(PatchGeometry, "legal", lambda *_: True)
    core.geometry.on_host = False
    with NoReadBack():
        assert rollout()


@needs_cuda
@pytest.mark.parametrize("switches", [{}, {"precision": "bfloat16", "channels_last": True}], ids=str)
@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_a_rollout_never_waits_for_the_gpu(policy: dict[str, Any], switches: dict[str, Any]) -> None:
    _, rollout = explored("cuda", policy, **switches)
    rollout()  # libraries are loaded, and matrices laid out
    with never_waiting_for_cuda():
        assert rollout()


@needs_cuda
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:TensorFloat32")
@pytest.mark.parametrize("compile", ["default", "reduce-overhead"])
def test_a_compiled_rollout_never_waits_for_the_gpu(compile: str) -> None:
    _, rollout = explored("cuda", {}, compile=compile)
    for _ in range(3):  # compiled, tried, recorded
        rollout()
    with never_waiting_for_cuda():
        assert rollout()
