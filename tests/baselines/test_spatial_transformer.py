"""The spatial transformer: its two maps, the way of the gradient, and whether it can learn."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.baselines import Degradation, load_hallucinator
from agents.baselines.cost import multiply_adds
from agents.baselines.spatial_transformer import SpatialTransformer, crop, put_back
from agents.faces import face_batch
from facehall_env.metrics import psnr
from facehall_env.patches import PatchGeometry
from tests.baselines.test_networks import FourFaces

SIZE, PATCH = (16, 12), (6, 5)
SMALL = {
    "preset": "tiny",
    "horizon": 3,
    "patch_size": (8, 6),
    "picture_features": 8,
    "history_features": 4,
    "lstm_features": 8,
}


def place(top: int, left: int) -> torch.Tensor:
    """(x, y) of a patch whose corner is a whole pixel."""
    return torch.tensor([[(2 * left + PATCH[1]) / SIZE[1] - 1, (2 * top + PATCH[0]) / SIZE[0] - 1]])


def make(**more: object) -> SpatialTransformer:
    torch.manual_seed(0)
    return SpatialTransformer(Degradation(3, 16, 16, 4), **(SMALL | more))


@settings(max_examples=20)
@given(top=st.integers(-3, 12), left=st.integers(-2, 9))
def test_whole_pixels_are_cropped_as_by_slicing_and_put_back_where_they_were(top: int, left: int) -> None:
    picture = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    geometry = PatchGeometry(*SIZE, PATCH)
    window = torch.tensor([[top + PATCH[0] // 2, left + PATCH[1] // 2]])
    sliced = geometry.crop(geometry.to_canvas(picture), window)
    patch = crop(picture, place(top, left), PATCH)
    torch.testing.assert_close(patch, sliced, rtol=0, atol=1e-5)
    back = put_back(patch, place(top, left), SIZE)
    expected = geometry.put(torch.zeros_like(geometry.to_canvas(picture)), window, sliced)
    torch.testing.assert_close(back, geometry.to_picture(expected), rtol=0, atol=1e-5)
    inside = 0 <= top <= SIZE[0] - PATCH[0] and 0 <= left <= SIZE[1] - PATCH[1]
    if inside:
        torch.testing.assert_close(crop(back, place(top, left), PATCH), patch, rtol=0, atol=1e-5)


def test_between_pixels_a_ramp_comes_back_as_it_was() -> None:
    x, y = torch.meshgrid(torch.arange(12.0), torch.arange(16.0), indexing="xy")
    ramp = (x + 2 * y)[None, None]
    where = place(4, 3) + torch.tensor([[0.37, -0.61]]) * 2 / torch.tensor([[12.0, 16.0]])
    patch = crop(ramp, where, PATCH)
    torch.testing.assert_close(patch[0, 0, 0, 0], torch.tensor(3.37 + 2 * 3.39), rtol=0, atol=1e-4)
    back = put_back(patch, where, SIZE)
    assert torch.allclose(back[..., 4:9, 4:8], ramp[..., 4:9, 4:8], atol=1e-4)
    assert not back[..., :3, :].any()
    assert not back[..., 10:, :].any()


def test_the_enhancer_is_told_the_centre_that_the_environment_tells() -> None:
    network = SpatialTransformer(Degradation(3, *SIZE, 4), **(SMALL | {"patch_size": PATCH}))
    geometry = PatchGeometry(*SIZE, PATCH)
    for top, left in ((0, 0), (-3, 9), (7, 4)):
        location = torch.tensor([(top + geometry.above) * SIZE[1] + left + geometry.left])
        torch.testing.assert_close(network._centre(place(top, left)), geometry.centres(location))


def test_gradients_reach_the_localiser_through_every_step() -> None:
    network, faces = make(), face_batch(FourFaces(), range(4)).float() / 255
    torch.nn.init.normal_(network.enhancer.convolutions[-1].weight, std=0.1)  # it starts without a change
    low = network.resampler.shrink(faces)
    pictures = network.attempts(low)
    assert pictures.shape == (3, 4, 3, 16, 16)
    torch.testing.assert_close(pictures[-1], network(low))
    (pictures[-1] - faces).square().mean().backward()
    for name, weight in network.localiser.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().max() > 0, name


def test_four_faces_are_overfitted_and_kept_in_a_file(tmp_path) -> None:
    faces, network = FourFaces(), make(patch_size=(12, 10), horizon=2)
    truth = face_batch(faces, range(4)).float() / 255
    low = network.resampler.shrink(truth)
    start = {name: weight.clone() for name, weight in network.localiser.named_parameters()}
    network.recipe = replace(
        network.recipe, updates=90, batch_size=4, learning_rate=3e-3, warmup=5, flip=False
    )
    network.fit(faces)
    made = network.hallucinate(low)
    assert psnr(made, truth).mean() > psnr(network.initial(low).clamp(0, 1), truth).mean() + 1.0
    assert any(not torch.equal(start[name], weight) for name, weight in network.localiser.named_parameters())
    network.save(tmp_path / "method.safetensors")
    loaded = load_hallucinator(tmp_path / "method.safetensors")
    assert isinstance(loaded, SpatialTransformer)
    assert torch.equal(loaded.hallucinate(low), made)
    assert (loaded.settings, loaded.budget) == (network.settings, network.budget)


def test_every_step_costs_the_same() -> None:
    costs = [multiply_adds(make(horizon=horizon)) for horizon in (1, 2, 3)]
    assert costs[2] - costs[1] == costs[1] - costs[0] > 0


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"patch_size": (17, 6)}, "patch_size is 17x6, but a patch must fit the picture of 16x16"),
        ({"horizon": 0}, "horizon is 0"),
        ({"preset": "huge"}, "no enhancer preset 'huge'"),
    ],
)
def test_bad_settings_are_named(more: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        make(**more)
