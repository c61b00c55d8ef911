"""The contract on methods that cost nothing: what is refused, what a file keeps, what an agent becomes."""

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from agents.baselines import (
    HALLUCINATORS,
    Degradation,
    Hallucinator,
    hallucinator_class,
    load_hallucinator,
    make_hallucinator,
)
from agents.baselines.bicubic import Bicubic
from agents.baselines.looking import Looking
from agents.faces import face_batch
from agents.records import METHODS
from agents.reinforce import RecurrentReinforce
from agents.rollout import PolicyAgent, walk
from agents.scripted import RasterScan
from facehall_env.core import to_unit
from facehall_env.resample import PROTOCOLS
from tests.small import SMALL_AGENT, SmallFaces, small_env

SMALL = Degradation(3, 16, 16, 4)
GAUSSIAN = {"head": "gaussian", "stride": 1, "history": "last", "policy_input": "both", "inhibition": 0.0}


class Brighter(Hallucinator):
    """I_0 plus the mean difference to the faces, one number a channel, `times` over."""

    name = "brighter"

    def __init__(self, degradation: Degradation, *, times: tuple[float, ...] = (1.0,)) -> None:
        super().__init__(degradation, times=times)
        self.times = times
        self.register_buffer("offset", torch.zeros(0))

    def prepare(self, shapes):
        self.register_buffer("offset", torch.zeros(shapes["offset"]))

    def forward(self, low_resolution: Tensor) -> Tensor:
        return self.initial(low_resolution) + sum(self.times) * self.offset.view(1, -1, 1, 1)

    def _fit(self, dataset, *, progress_bar):
        faces = face_batch(dataset, range(len(dataset))).float() / 255
        self.offset = (faces - self.resampler(faces)).mean(dim=(0, 2, 3)) + 0.25
        return f"{len(dataset)} faces"


def low(rows: int = 2, degradation: Degradation = SMALL) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(rows, *degradation.low_shape, generator=generator)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("shape", [(3, 128, 128, 8), (1, 160, 120, 4), (3, 24, 16, 2)])
def test_bicubic_is_the_clamped_input(protocol: str, shape: tuple[int, int, int, int]) -> None:
    degradation = Degradation(*shape, protocol=protocol)
    small = low(2, degradation)
    large = Bicubic(degradation).hallucinate(small)
    assert large.shape == (2, *degradation.high_shape)
    assert torch.equal(large, degradation.resampler().enlarge(small).clamp(0, 1))


def test_every_registered_method_goes_under_its_name() -> None:
    for name in HALLUCINATORS:
        assert name in hallucinator_class(name).names()
        assert name in METHODS


def test_unknown_methods_and_settings_are_named() -> None:
    with pytest.raises(ValueError, match="no method 'nearest'; the methods are bicubic"):
        make_hallucinator("nearest", SMALL)
    with pytest.raises(ValueError, match=r"bicubic cannot be made: .*'sharpness'"):
        make_hallucinator("bicubic", SMALL, sharpness=2)


@pytest.mark.parametrize(
    ("pictures", "named"),
    [
        (low()[:, :1], "bicubic was made for x4 from 4x4 to 16x16 RGB: its pictures have 3 channel.*have 1"),
        (torch.rand(1, 3, 8, 8), "4x4 to 16x16 RGB, but these pictures have 8x8 pixels: that is x2"),
        (torch.rand(1, 3, 4, 5), "made for x4 from 4x4.* have 4x5 pixels$"),
        (torch.rand(3, 4, 4), r"batches \(N, 3, 4, 4\), not \(3, 4, 4\)"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), "float.* / 255"),
        (255 * low(), r"pixels in \[0, 1\], but these reach from"),
        (low() * torch.nan, r"pixels in \[0, 1\]"),
    ],
)
def test_pictures_it_was_not_made_for_are_named(pictures: Tensor, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Bicubic(SMALL).hallucinate(pictures)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"channels": 4}, "channels is 4"),
        ({"scale": 5}, "not a multiple of the scale 5"),
        ({"protocol": "lanczos"}, "unknown protocol 'lanczos'"),
    ],
)
def test_degradations_that_cannot_be_are_named(values: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Degradation(**values)


def test_degradation_is_that_of_the_core() -> None:
    core = small_env().core
    faces = face_batch(SmallFaces(3), range(3))
    core.reset(faces)
    small = Degradation.of(SmallFaces(3), 4).resampler().shrink(faces.float() / 255)
    torch.testing.assert_close(small, (core.low_resolution + 1) / 2, rtol=0, atol=1e-6)


def test_method_learns_before_it_answers() -> None:
    method = Brighter(SMALL)
    with pytest.raises(RuntimeError, match="brighter has not learned yet"):
        method.hallucinate(low())
    assert method.fit(SmallFaces(4)) is method
    assert method.budget == "4 faces"
    assert method.parameter_count == 3
    assert method.hallucinate(low()).mean() > low().mean() + 0.2


def test_faces_of_another_shape_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"brighter was made for faces of shape \(3, 16, 16\).*\(3, 24, 24\)"
    ):
        Brighter(SMALL).fit(SmallFaces(4, side=24))
    with pytest.raises(ValueError, match="holds no faces"):
        Brighter(SMALL).fit(SmallFaces(0))


def test_answer_that_depends_on_the_input_picture_belongs_to_its_protocol() -> None:
    method = Brighter(SMALL)
    method.require_protocol("aligned")
    with pytest.raises(ValueError, match=r"brighter reads I_0 as protocol 'aligned'.*'torch7'"):
        method.require_protocol("torch7")
    method.reads_initial = False
    method.require_protocol("torch7")


def test_half_precision_leaves_pictures_in_single() -> None:
    method = Brighter(SMALL).fit(SmallFaces(4))
    whole = method.hallucinate(low())
    method.precision = "bfloat16"
    assert method.hallucinate(low()).dtype == torch.float32
    torch.testing.assert_close(method.hallucinate(low()), whole, rtol=0, atol=0.02)


# --- files ---


@pytest.fixture
def trained(tmp_path):
    method = Brighter(SMALL, times=(0.5, 0.25)).fit(SmallFaces(4))
    method.precision = "bfloat16"
    method.save(tmp_path / "new" / "brighter.safetensors")
    return method, tmp_path / "new" / "brighter.safetensors"


def test_file_keeps_the_method(trained) -> None:
    method, path = trained
    loaded = Brighter.load(path)
    assert torch.equal(loaded.hallucinate(low()), method.hallucinate(low()))
    assert (loaded.settings, loaded.degradation) == (method.settings, method.degradation)
    assert (loaded.budget, loaded.precision, loaded.fitted) == ("4 faces", "bfloat16", True)
    assert [path.name for path in path.parent.iterdir()] == ["brighter.safetensors"]


def test_method_without_weights_has_a_file_too(tmp_path) -> None:
    Bicubic(SMALL).save(tmp_path / "bicubic.safetensors")
    loaded = load_hallucinator(tmp_path / "bicubic.safetensors")
    assert isinstance(loaded, Bicubic)
    assert loaded.degradation == SMALL


def test_files_of_others_are_refused(trained, tmp_path) -> None:
    _, path = trained
    with pytest.raises(ValueError, match="holds 'brighter', not bicubic"):
        Bicubic.load(path)
    with pytest.raises(ValueError, match="no method 'brighter'"):
        load_hallucinator(path)
    with pytest.raises(FileNotFoundError, match=r"no file .*missing"):
        load_hallucinator(tmp_path / "missing.safetensors")
    env = small_env()
    env.core.enhancer.save(tmp_path / "enhancer.safetensors")
    with pytest.raises(ValueError, match="holds 'facehall-enhancer', not a 'facehall-hallucinator'"):
        load_hallucinator(tmp_path / "enhancer.safetensors")


@pytest.mark.parametrize("length", [0, 5, 100, -1])
def test_cut_off_file_is_named(trained, length: int) -> None:
    _, path = trained
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"brighter\.safetensors is no safetensors file, or it is cut off"):
        Brighter.load(path)


def test_weights_that_do_not_fit_are_named(trained, monkeypatch: pytest.MonkeyPatch) -> None:
    _, path = trained
    monkeypatch.setattr(Brighter, "prepare", lambda self, shapes: None)
    with pytest.raises(ValueError, match=r"brighter\.safetensors does not fit .*offset is \(3,\)"):
        Brighter.load(path)


# --- agents ---


@pytest.fixture(scope="module")
def agent() -> RecurrentReinforce:
    agent = RecurrentReinforce("RecurrentPolicy", small_env(horizon=5), seed=3, **SMALL_AGENT)
    last = agent.core.enhancer.convolutions[-1]
    torch.nn.init.normal_(last.weight, std=0.05)
    return agent


@pytest.mark.parametrize("looker", ["attention_fh", "raster_scan"])
def test_agent_needs_no_high_resolution_picture(agent: RecurrentReinforce, looker: str) -> None:
    faces = face_batch(SmallFaces(3), range(3))
    chooser = PolicyAgent(agent.policy, deterministic=True) if looker == "attention_fh" else RasterScan()
    walk(agent.core, chooser, faces)
    method = Looking.of_agent(agent, looker)
    small = method.resampler.shrink(faces.float() / 255)
    torch.testing.assert_close(method.hallucinate(small), to_unit(agent.core.current), rtol=0, atol=1e-5)
    assert method.name == looker


@pytest.mark.parametrize(("looker", "sampled"), [("attention_fh", True), ("random_patch", False)])
def test_agent_becomes_one_file(agent: RecurrentReinforce, tmp_path, looker: str, sampled: bool) -> None:
    method = Looking.of_agent(agent, looker, sampled=sampled, seed=1)
    method.save(tmp_path / "agent.safetensors")
    loaded = load_hallucinator(tmp_path / "agent.safetensors")
    assert loaded.name == looker
    first = loaded.hallucinate(low())
    assert torch.equal(first, method.hallucinate(low()))
    assert torch.equal(first, loaded.hallucinate(low()))  # the same draws every time
    assert not torch.equal(first, Looking.of_agent(agent, looker, sampled=sampled, seed=2).hallucinate(low()))


@pytest.mark.parametrize("consistent", [False, True])
@pytest.mark.parametrize("policy", [{}, GAUSSIAN], ids=["grid", "points"])
def test_agent_takes_its_ways_along(tmp_path, policy: dict[str, Any], consistent: bool) -> None:
    settings = SMALL_AGENT | {"policy_kwargs": SMALL_AGENT["policy_kwargs"] | policy, "imitation_updates": 0}
    env = small_env(horizon=3, consistent=consistent)
    agent = RecurrentReinforce("RecurrentPolicy", env, seed=3, **settings)
    torch.nn.init.normal_(agent.core.enhancer.convolutions[-1].weight, std=0.05)
    faces = face_batch(SmallFaces(3), range(3))
    walk(agent.core, PolicyAgent(agent.policy, deterministic=True), faces)
    Looking.of_agent(agent).save(tmp_path / "agent.safetensors")
    method = load_hallucinator(tmp_path / "agent.safetensors")
    made = method.hallucinate(method.resampler.shrink(faces.float() / 255))
    torch.testing.assert_close(made, to_unit(agent.core.current), rtol=0, atol=1e-5)


def test_agent_without_its_environment_is_not_taken_over(agent: RecurrentReinforce, tmp_path) -> None:
    agent.save(tmp_path / "agent.zip")
    with pytest.raises(ValueError, match="the agent has no environment"):
        Looking.of_agent(RecurrentReinforce.load(tmp_path / "agent.zip"))


def test_agent_keeps_its_weights_to_itself(agent: RecurrentReinforce) -> None:
    method = Looking.of_agent(agent)
    before = method.hallucinate(low())
    weight = agent.core.enhancer.convolutions[-1].bias
    with torch.no_grad():
        weight += 1.0
    assert torch.equal(method.hallucinate(low()), before)
    with torch.no_grad():
        weight -= 1.0


def test_agents_half_precision_is_the_enhancers(agent: RecurrentReinforce) -> None:
    method = Looking.of_agent(agent, "raster_scan")
    whole = method.hallucinate(low())
    method.precision = "bfloat16"
    half = method.hallucinate(low())
    assert not torch.equal(half, whole)
    torch.testing.assert_close(half, whole, rtol=0, atol=0.02)


def test_agent_is_not_trained_here(agent: RecurrentReinforce) -> None:
    with pytest.raises(ValueError, match=r"attention_fh learns with train_agent\.py"):
        Looking.of_agent(agent).fit(SmallFaces(4))
    with pytest.raises(ValueError, match="looker is 'greedy_oracle'"):
        Looking.of_agent(agent, "greedy_oracle")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain = RecurrentReinforce("RecurrentPolicy", small_env(), seed=0, **SMALL_AGENT)
    plain.core.set_enhancer(None)
    with pytest.raises(ValueError, match="IdentityEnhancer"):
        Looking.of_agent(plain)
