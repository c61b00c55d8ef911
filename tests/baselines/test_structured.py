"""The steps of structured face hallucination, each on a case whose answer is known."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents.baselines.sfh import luminance
from agents.baselines.structured.components import COMPONENTS, component_mask, match_component
from agents.baselines.structured.edges import EdgeTable, smooth_picture
from agents.baselines.structured.exemplars import similarities, warp
from agents.baselines.structured.gradients import gradients, gradients_adjoint, magnitude
from agents.baselines.structured.reconstruction import reconstruct
from agents.baselines.structured.texture import texture_picture
from facehall_env.datasets.synthetic import SyntheticFaces
from facehall_env.resample import Resampler

WHOLE = (slice(0, 128), slice(0, 128))


@pytest.fixture(scope="module")
def faces() -> torch.Tensor:
    """Luminance of eight drawn faces, (8, 128, 128)."""
    dataset = SyntheticFaces("train")
    pictures = torch.from_numpy(np.stack([dataset[i] for i in range(8)])).permute(0, 3, 1, 2)
    return (255 * luminance(pictures.float() / 255)[:, 0]).round() / 255


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    dataset = SyntheticFaces("train")
    return np.stack([dataset.landmarks(i) for i in range(8)])


def as_bytes(pictures: torch.Tensor) -> np.ndarray:
    return (255 * pictures).round().byte().numpy()


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(st.integers(2, 9), st.integers(2, 9), st.integers(0, 99))
def test_gradients_and_their_adjoint(height: int, width: int, seed: int) -> None:
    picture, field = random(2, height, width, seed=seed), random(2, 4, height, width, seed=seed + 1)
    assert (gradients(picture) * field).sum() == pytest.approx((picture * gradients_adjoint(field)).sum())


def test_gradients_of_a_slope() -> None:
    rows, columns = torch.meshgrid(torch.arange(4.0), torch.arange(5.0), indexing="ij")
    right, down, right_down, left_down = gradients(2 * columns + 3 * rows)
    assert right[:, :-1].unique().tolist() == [2]
    assert down[:-1].unique().tolist() == [3]
    assert right_down[:-1, :-1].unique().tolist() == [5]
    assert left_down[:-1, 1:].unique().tolist() == [1]
    assert not any((right[:, -1].any(), down[-1].any(), right_down[-1].any(), left_down[:, 0].any()))


@pytest.mark.parametrize(("height", "width", "scale"), [(128, 128, 8), (160, 120, 4), (12, 6, 3)])
def test_shrinking_and_its_adjoint(height: int, width: int, scale: int) -> None:
    resampler = Resampler(height, width, scale, dtype=torch.float64)
    x, y = random(1, 2, height, width), random(1, 2, height // scale, width // scale, seed=1)
    assert (resampler.shrink(x) * y).sum() == pytest.approx((x * resampler.shrink_adjoint(y)).sum())


def test_a_similarity_is_found_again(points: np.ndarray) -> None:
    matrix = np.array([[1.1, -0.2, 5.0], [0.2, 1.1, -3.0]])
    target = points[0] @ matrix[:, :2].T + matrix[:, 2]
    found = similarities(points[:2], target)
    np.testing.assert_allclose(found[0], matrix, atol=1e-9)
    # No other similarity comes closer
    rng = np.random.default_rng(0)
    left = np.square(points[1] @ found[1, :, :2].T + found[1, :, 2] - target).sum()
    for _ in range(20):
        a, b, x, y = rng.normal(0, 0.01, 4)
        near = found[1] + [[a, -b, x], [b, a, y]]
        assert np.square(points[1] @ near[:, :2].T + near[:, 2] - target).sum() > left


def test_a_picture_laid_where_it_is_stays_as_it_is(faces: torch.Tensor) -> None:
    still = np.tile(np.eye(2, 3), (2, 1, 1))
    window = (slice(16, 48), slice(8, 120))
    np.testing.assert_array_equal(warp(as_bytes(faces[:2]), still, window), faces[:2, 16:48, 8:120].numpy())


@pytest.mark.parametrize("scale", [4, 8])
def test_texture_finds_the_face_among_shifted_exemplars(faces: torch.Tensor, scale: int) -> None:
    resampler = Resampler(128, 128, scale)
    low = resampler.shrink(faces[:1, None])[0, 0]
    exemplars = torch.stack([faces[1], faces[0].roll((2, -3), (0, 1)), faces[2]])
    inside = np.s_[40:88, 40:88]
    picture = texture_picture(low, exemplars, resampler)
    torch.testing.assert_close(picture[inside], faces[0][inside], atol=1e-3, rtol=0)
    others = texture_picture(low, faces[1:], resampler)
    assert (others - faces[0])[inside].abs().mean() > 0.01
    shrunk = resampler.shrink(others[None, None])[0, 0]
    assert (shrunk - low).abs().mean() < 0.01  # what the patches lacked was added


def test_smooth_pictures_shrink_to_what_they_were_made_of(faces: torch.Tensor) -> None:
    resampler = Resampler(128, 128, 8)
    low = resampler.shrink(faces[:, None])
    initial = resampler.enlarge(low)[:, 0]
    smooth = smooth_picture(low[:, 0], initial, resampler)
    before, after = ((resampler.shrink(p[:, None]) - low).square().mean() for p in (initial, smooth))
    assert after < before / 2


def test_the_edge_table_learns_how_steep_edges_are() -> None:
    """Steps of several heights, blurred: on the ridge the gradient was steeper, away from it flatter."""
    heights = torch.linspace(0.2, 0.6, 6)
    high = torch.zeros(6, 64, 64)
    high[:, :, 32:] = heights[:, None, None]
    smooth = torch.from_numpy(np.stack([cv2.GaussianBlur(p, (0, 0), 3) for p in high.numpy()]))
    table = EdgeTable.learn(smooth, high, 8)
    fields, weight = table.edge_gradients(smooth[3])
    steepness = magnitude(fields)[20:44]
    assert steepness[:, 31].mean() > 3 * magnitude(gradients(smooth[3]))[20:44, 31].mean()
    assert steepness[:, 26].mean() < magnitude(gradients(smooth[3]))[20:44, 26].mean()
    assert weight[20:44, 30:33].mean() > 0.8
    assert not weight[:, :20].any()


def test_a_flat_picture_has_no_edges() -> None:
    fields, weight = EdgeTable(4).edge_gradients(torch.full((32, 32), 0.5))
    assert not fields.any()
    assert not weight.any()


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize("scale", [4, 8])
def test_a_face_among_the_exemplars_is_its_own_match(
    faces: torch.Tensor, points: np.ndarray, component: str, scale: int
) -> None:
    low = Resampler(128, 128, scale).shrink(faces[5:6, None])[0, 0]
    match = match_component(low, points[5], component, as_bytes(faces), points, scale)
    assert match is not None
    assert match.exemplar == 5
    torch.testing.assert_close(match.gradients, gradients(faces[5]), atol=1e-5, rtol=0)


def test_the_exemplar_with_the_right_mouth_wins(faces: torch.Tensor, points: np.ndarray) -> None:
    """Face 0 with the mouth of face 3: mouth and eyes come from different exemplars."""
    mask = component_mask(points[3], "mouth", 128, 128)
    mixed, where = torch.where(mask > 0, faces[3], faces[0]), points[0].copy()
    where[48:68] = points[3][48:68]
    low = Resampler(128, 128, 4).shrink(mixed[None, None])[0, 0]
    found = {
        name: match_component(low, where, name, as_bytes(faces), points, 4) for name in ("mouth", "eyes")
    }
    assert {name: match.exemplar for name, match in found.items() if match} == {"mouth": 3, "eyes": 0}


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_mask_covers_its_points_and_little_else(points: np.ndarray, component: str) -> None:
    mask = component_mask(points[0], component, 128, 128)
    mine = np.concatenate([points[0][part] for part in COMPONENTS[component]])
    for x, y in mine.round().astype(int):
        assert mask[y, x] > 0.9
    rows, columns = torch.nonzero(mask, as_tuple=True)
    assert rows.min() > mine[:, 1].min() - 10
    assert rows.max() < mine[:, 1].max() + 10
    assert columns.min() > mine[:, 0].min() - 10
    assert columns.max() < mine[:, 0].max() + 10
    assert 0 < ((mask > 0) & (mask < 1)).sum() < (mask > 0).sum()  # soft at the rim


def test_a_component_outside_the_picture_is_left_out(faces: torch.Tensor, points: np.ndarray) -> None:
    low = torch.zeros(16, 16)
    assert match_component(low, points[0] + 300, "mouth", as_bytes(faces), points, 8) is None


def test_every_step_of_the_reconstruction_leads_down(faces: torch.Tensor) -> None:
    resampler = Resampler(128, 128, 8)
    low = resampler.shrink(faces[:2, None])
    target = gradients(faces[:2].flip(0))  # gradients that do not fit the small faces
    _, energies = reconstruct(
        low[:, 0], resampler.enlarge(low)[:, 0], target, resampler, fidelity=10.0, iterations=30
    )
    values = torch.stack(energies)
    assert values.shape == (31, 2)
    assert (values[1:] < values[:-1]).all()


def test_true_gradients_give_the_true_face(faces: torch.Tensor) -> None:
    resampler = Resampler(128, 128, 8)
    low = resampler.shrink(faces[:2, None])
    initial = resampler.enlarge(low)[:, 0]
    picture, energies = reconstruct(
        low[:, 0], initial, gradients(faces[:2]), resampler, fidelity=100.0, iterations=100
    )
    assert (picture - faces[:2]).square().mean() < 0.02 * (initial - faces[:2]).square().mean()
    assert (energies[-1] < 0.01 * energies[0]).all()
