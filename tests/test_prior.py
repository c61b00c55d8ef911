"""The prior: a network at low resolution, and what an enhancer makes of it in the environment."""

import pytest
import torch

from agents.baselines import Degradation, make_hallucinator
from agents.baselines.edsr import EDSR, load_prior
from facehall_env.core import HallucinationCore
from facehall_env.enhancer import load_enhancer, make_enhancer
from facehall_env.prior import FacePrior, PriorConfig
from facehall_env.resample import Resampler

SHAPE, PATCH, SCALE = (3, 32, 32), (12, 9), 4
CONFIG = PriorConfig(*SHAPE, SCALE, features=6, blocks=2)


def drawn_prior(seed: int = 0, config: PriorConfig = CONFIG) -> FacePrior:
    """A prior whose weights are draws, as if it had learned something."""
    torch.manual_seed(seed)
    prior = FacePrior(config)
    with torch.no_grad():
        for weight in prior.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.05)
    return prior


def faces(rows: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (rows, *SHAPE), generator=generator, dtype=torch.uint8)


def test_untrained_it_is_the_aligned_enlargement() -> None:
    low = torch.rand(2, 3, 8, 8) * 2 - 1
    torch.testing.assert_close(FacePrior(CONFIG)(low), Resampler(32, 32, SCALE).enlarge(low), rtol=0, atol=0)


def test_a_cell_reaches_as_far_as_the_kernels_do() -> None:
    prior = drawn_prior().double()
    low = torch.zeros(1, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    features = prior.first(low)
    prior.blocks(features)[0, :, 4, 4].sum().backward()
    reached = low.grad[0].abs().sum(0) > 0
    assert reached.all()  # 1 + 2 * 2 cells to each side of cell 4 of 8
    low.grad = None
    prior.last(prior.first(low))[0, :, 4, 4].sum().backward()
    assert (low.grad[0].abs().sum(0) > 0).nonzero().tolist() == [
        [r, c] for r in range(2, 7) for c in range(2, 7)
    ]


def test_cells_know_where_they_are_unless_told_not_to() -> None:
    even = torch.zeros(1, 3, 8, 8)
    placed = drawn_prior()(even)[0, :, 12:20, 12:20]
    plain = drawn_prior(config=PriorConfig(*SHAPE, SCALE, features=6, blocks=0, placed=False))(even)
    cells = plain[0, :, 12:20, 12:20].unfold(1, 4, 4).unfold(2, 4, 4)
    torch.testing.assert_close(cells[:, 0, 0], cells[:, 1, 1])
    assert not torch.allclose(placed[:, :4, :4], placed[:, 4:, 4:], atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"channels": 2}, "channels is 2"),
        ({"features": 0}, "features is 0"),
        ({"blocks": -1}, "blocks is -1"),
        ({"scale": 7}, "7"),
    ],
)
def test_what_cannot_be_built_is_named(settings: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        PriorConfig(**settings)


def test_pictures_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(3, 8, 8\).*not \(3, 16, 16\)"):
        FacePrior(CONFIG)(torch.zeros(1, 3, 16, 16))


@pytest.mark.parametrize("protocol", ["aligned", "torch7"])
def test_an_enhancer_that_has_learned_nothing_shows_the_prior_where_it_looks(protocol: str) -> None:
    prior = drawn_prior()
    enhancer = make_enhancer("tiny", shape=SHAPE, patch_size=PATCH, prior=prior)
    core = HallucinationCore(SHAPE, SCALE, horizon=2, patch_size=PATCH, protocol=protocol, enhancer=enhancer)
    core.reset(faces(2))
    said = prior(core.low_resolution).detach()
    torch.testing.assert_close(core.prior, said, rtol=0, atol=0)
    location = torch.tensor([16 * 32 + 16, 5 * 32 + 3])
    boxes = core.geometry.boxes(location)
    core.step(location)
    for row, (top, left, height, width) in enumerate(boxes.tolist()):
        inside = torch.zeros(32, 32, dtype=torch.bool)
        inside[max(top, 0) : top + height, max(left, 0) : left + width] = True
        torch.testing.assert_close(core.current[row][:, inside], said[row][:, inside], rtol=0, atol=1e-6)
        assert torch.equal(core.current[row][:, ~inside], core.initial[row][:, ~inside])


def test_it_is_asked_once_an_episode_and_never_learns_here() -> None:
    prior = drawn_prior()
    enhancer = make_enhancer("tiny", shape=SHAPE, patch_size=PATCH, prior=prior)
    asked: list[int] = []
    assert enhancer.prior is not None
    enhancer.prior.register_forward_hook(lambda *_: asked.append(1))
    core = HallucinationCore(SHAPE, SCALE, horizon=3, patch_size=PATCH, enhancer=enhancer)
    for seed in range(2):
        core.reset(faces(1, seed))
        while not core.terminated:
            step = core.step_recorded(torch.tensor([100 + core.t]))
    assert len(asked) == 2
    step.enhanced.square().sum().backward()
    assert all(weight.grad is None for weight in enhancer.prior.parameters())
    assert enhancer.convolutions[-1].weight.grad is not None


def test_the_way_through_a_file(tmp_path) -> None:
    enhancer = make_enhancer("tiny", shape=SHAPE, patch_size=PATCH, prior=drawn_prior())
    enhancer.save(tmp_path / "enhancer.safetensors")
    loaded = load_enhancer(tmp_path / "enhancer.safetensors")
    assert loaded.config == enhancer.config
    assert loaded.config.residual_to == "prior"
    assert loaded.config.extra_inputs[-1] == "prior_patch"
    for name, weight in enhancer.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight)


def test_another_scale_is_refused_before_anything_changes() -> None:
    enhancer = make_enhancer("tiny", shape=SHAPE, patch_size=PATCH, prior=drawn_prior())
    core = HallucinationCore(SHAPE, 8, patch_size=PATCH)
    before = core.enhancer
    with pytest.raises(ValueError, match="prior was made for scale 4, but this environment has 8"):
        core.set_enhancer(enhancer)
    assert core.enhancer is before


def test_without_a_prior_its_patch_cannot_be_asked_for() -> None:
    with pytest.raises(ValueError, match="need a prior: train one"):
        make_enhancer("tiny", shape=SHAPE, patch_size=PATCH, residual_to="prior")
    with pytest.raises(ValueError, match=r"prior makes pictures of \(3, 32, 32\)"):
        make_enhancer("tiny", shape=(3, 64, 64), patch_size=PATCH, prior=drawn_prior())


def test_a_trained_method_gives_its_network(tmp_path) -> None:
    method = make_hallucinator("edsr", Degradation(*SHAPE, SCALE), features=6, blocks=2)
    assert isinstance(method, EDSR)
    method.network.load_state_dict(drawn_prior().state_dict())
    method.save(tmp_path / "method.safetensors")
    with pytest.raises(ValueError, match="has not learned anything yet"):
        load_prior(tmp_path)
    method.fitted = True
    method.save(tmp_path / "method.safetensors")
    for path in (tmp_path, tmp_path / "method.safetensors"):
        low = torch.rand(1, 3, 8, 8)
        torch.testing.assert_close((load_prior(path)(low * 2 - 1) + 1) / 2, method(low))
