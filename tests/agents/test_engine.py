"""What makes the engine faster and must change nothing: each switch against the reference path."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._inductor.config
from torch import Tensor
from toys import PATCH, SHAPE, ToyFaces, learned, same_weights, toy_agent, toy_enhancer, toy_env

from agents.buffers import EpisodeBuffer
from agents.enhancement import EnhancerTrainer, squared_error
from agents.faces import FaceBatches, face_batch
from agents.reinforce import RecurrentReinforce
from agents.rollout import walk
from agents.scripted import RandomPatch
from facehall_env.compilation import CompiledEnhancement
from facehall_env.core import HallucinationCore
from facehall_env.enhancer import IdentityEnhancer

ROWS, HORIZON = 5, 3
ROUNDING = {"rtol": 1e-4, "atol": 1e-5}
"""Of pictures in [-1, 1] and of weights, in single precision."""
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def learning(core: HallucinationCore, *, ema: float = 0.0, **fit: Any) -> dict[str, Tensor]:
    """The pictures after an episode, and the enhancer's weights after two updates from it."""
    buffer = EpisodeBuffer(HORIZON, ROWS, SHAPE, core.device)
    walk(core, RandomPatch(seed=5), face_batch(ToyFaces(), range(ROWS)).to(core.device), buffer=buffer)
    found = {"pictures": core.current}
    trainer = EnhancerTrainer(core.enhancer, learning_rate=1e-3, ema=ema)
    generator = torch.Generator().manual_seed(0)
    trainer.fit(core, buffer, updates=2, batch_size=6, generator=generator, **fit)  # 15 patches: 6, 6, 3
    return found | {name: value.detach().clone() for name, value in core.enhancer.state_dict().items()}


def core(*, device: str = "cpu", **switches: Any) -> HallucinationCore:
    settings: dict[str, Any] = {"horizon": HORIZON, "patch_size": PATCH, "device": device}
    return HallucinationCore(SHAPE, 4, **(settings | {"enhancer": toy_enhancer()} | switches))


def is_laid_channels_last(network: torch.nn.Module) -> bool:
    weights = [weight for weight in network.parameters() if weight.dim() == 4]
    return all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)


@pytest.mark.parametrize("ema", [0.0, 0.5])
@pytest.mark.parametrize("fit", [{}, {"accumulate": 2}, {"accumulate": None}, {"through_pictures": True}])
def test_channels_last_changes_nothing_but_rounding(fit: dict[str, Any], ema: float) -> None:
    plain, laid = core(), core(channels_last=True)
    torch.testing.assert_close(learning(laid, ema=ema, **fit), learning(plain, ema=ema, **fit), **ROUNDING)
    assert is_laid_channels_last(laid.enhancer)
    assert not is_laid_channels_last(plain.enhancer)


def test_an_agent_with_channels_last_goes_on_from_its_file(tmp_path: Path) -> None:
    """Files hold weights and moments row by row; fused Adam would mix them up with weights laid otherwise."""

    def agent() -> RecurrentReinforce:
        return toy_agent(toy_env(channels_last=True), enhancer_ema=0.5)

    whole = agent()
    whole.learn(24)
    stopped = agent()
    stopped.learn(12)
    stopped.save(tmp_path / "agent")
    resumed = RecurrentReinforce.load(tmp_path / "agent", env=toy_env(channels_last=True))
    resumed.set_logger(whole.logger)
    resumed.learn(12, reset_num_timesteps=False)
    assert is_laid_channels_last(resumed.enhancer)
    assert same_weights(learned(resumed), learned(whole))


def test_weights_may_be_laid_anew_while_they_learn() -> None:
    results = []
    for then in (False, True):
        network = toy_enhancer()
        trainer = EnhancerTrainer(network, learning_rate=1e-2)
        for channels_last in (False, then, then):
            here = core(channels_last=channels_last)
            here.set_enhancer(network)
            here.reset(face_batch(ToyFaces(), range(ROWS)))
            step = here.step_recorded(torch.arange(ROWS))
            trainer.step(squared_error(step.enhanced, step.target, step.inside))
        results.append(dict(network.state_dict()))
    torch.testing.assert_close(*results, **ROUNDING)


@pytest.mark.slow
def test_compiling_changes_nothing_but_rounding() -> None:
    """Rollout and updates, one of them of the rest of the patches; the file and the network stay the same."""
    plain, compiled = core(), core(compile="default")
    network, names = compiled.enhancer, set(compiled.enhancer.state_dict())
    torch.testing.assert_close(learning(compiled, accumulate=2), learning(plain, accumulate=2), **ROUNDING)
    # The learner of an average takes the network's place and gives it back
    torch.testing.assert_close(learning(compiled, ema=0.5), learning(plain, ema=0.5), **ROUNDING)
    assert compiled.enhancer is network
    assert type(network) is type(plain.enhancer)
    assert set(network.state_dict()) == names == set(plain.enhancer.state_dict())


def test_replicas_keep_the_switches() -> None:
    replica = core(compile="reduce-overhead", channels_last=True).replica(horizon=7)
    assert (replica.compile, replica.channels_last, replica.horizon) == ("reduce-overhead", True, 7)
    assert not replica.replays_graphs  # there are none on a CPU
    assert (core().compile, core().channels_last) == (None, False)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda core: pickle.loads(pickle.dumps(core))])
def test_a_core_that_compiles_can_be_copied(duplicate: Callable[..., HallucinationCore]) -> None:
    twin = duplicate(core(compile="default", channels_last=True))
    assert (twin.compile, twin.channels_last) == ("default", True)
    assert twin.replays_graphs is False
    assert is_laid_channels_last(twin.enhancer)


def test_the_identity_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    here = core(compile="default", enhancer=IdentityEnhancer())
    monkeypatch.setattr(here, "_compiled", pytest.fail)
    walk(here, RandomPatch(), face_batch(ToyFaces(), range(2)))
    assert here.terminated


def test_what_cannot_be_compiled_is_refused_before_anything_is_made() -> None:
    with pytest.raises(ValueError, match="compile is 'fast', but it must be one of 'default'"):
        core(compile="fast")
    with (
        torch._inductor.config.patch({"cpp.cxx": ("no-such-compiler",)}),
        pytest.raises(ValueError, match=r"no C\+\+ compiler here.*CXX"),
    ):
        core(compile="default")


def test_triton_needs_a_c_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(ValueError, match=r"no C compiler here, which Triton needs for cuda.*CC"):
        CompiledEnhancement("default", torch.device("cuda"))
    monkeypatch.setenv("CC", "some-compiler")
    assert CompiledEnhancement("reduce-overhead", torch.device("cuda")).replays_graphs


@needs_cuda
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:TensorFloat32")
@pytest.mark.parametrize("fit", [{}, {"accumulate": 2}, {"accumulate": None}, {"through_pictures": True}])
@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_cuda_graphs_change_nothing_but_rounding(fit: dict[str, Any], ema: float) -> None:
    """Gradients are added up over replays of one graph, and the learner takes the network's place.

    Adam makes much of little where gradients are nearly nothing, so what was learned is compared as a whole.
    """
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        here = core(device="cuda")
        start = {name: value.clone() for name, value in here.enhancer.state_dict().items()}
        expected = learning(here, ema=ema, **fit)
        graphs = core(device="cuda", compile="reduce-overhead")
        assert graphs.replays_graphs
        for _ in range(3):  # compiled, tried, recorded and replayed
            graphs.enhancer.load_state_dict(start)
            found = learning(graphs, ema=ema, **fit)
            torch.testing.assert_close(found["pictures"], expected["pictures"], rtol=1e-3, atol=1e-4)
            change, wrong = (
                torch.cat([(one[name] - other[name]).flatten() for name in start]).norm()
                for one, other in ((expected, start), (found, expected))
            )
            assert float(wrong) < 0.02 * float(change)


@needs_cuda
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:TensorFloat32")
def test_what_a_cuda_graph_gave_is_not_overwritten() -> None:
    here = core(device="cuda", compile="reduce-overhead")
    here.reset(face_batch(ToyFaces(), range(ROWS)))
    shown = [here.observe(torch.full((ROWS,), place, device="cuda")) for place in (0, 90, 0)]
    with torch.no_grad():
        given = [[here.enhance(inputs) for inputs in shown] for _ in range(3)][-1]
        torch.testing.assert_close(given, [here.enhancer(inputs) for inputs in shown], rtol=1e-3, atol=1e-4)
    assert torch.equal(given[0], given[2])


@needs_cuda
def test_batches_read_ahead_for_cuda_are_pinned() -> None:
    ahead = FaceBatches(ToyFaces(), 3, prefetch=True, device=torch.device("cuda"))
    plain = FaceBatches(ToyFaces(), 3)
    for _ in range(4):
        batch = ahead.next()
        assert batch.is_pinned()
        assert torch.equal(batch, plain.next())
