"""The patch geometry against Python slicing, pixel by pixel."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from facehall_env.patches import PATCH_SIZE, PatchGeometry


@st.composite
def geometries(draw):
    """Pictures of up to 12x12 with any patch that fits, odd and even, both boundaries, both ways to copy."""
    height, width = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    patch = draw(st.integers(1, height)), draw(st.integers(1, width))
    geometry = PatchGeometry(height, width, patch, draw(st.sampled_from(["pad", "clamp"])))
    geometry.on_host = draw(st.booleans())
    return geometry


def corner(geometry: PatchGeometry, location: int) -> tuple[int, int]:
    """Top row and left column as the specification has them, in plain Python."""
    row, column = divmod(location, geometry.width)
    top, left = row - geometry.rows // 2, column - geometry.columns // 2
    if geometry.boundary == "clamp":
        top = min(max(top, 0), geometry.height - geometry.rows)
        left = min(max(left, 0), geometry.width - geometry.columns)
    return top, left


def slow_crop(geometry: PatchGeometry, picture: np.ndarray, location: int) -> np.ndarray:
    """One patch of one picture (C, H, W), pixel by pixel; zero outside."""
    top, left = corner(geometry, location)
    patch = np.zeros((len(picture), geometry.rows, geometry.columns), picture.dtype)
    for i in range(geometry.rows):
        for j in range(geometry.columns):
            if 0 <= top + i < geometry.height and 0 <= left + j < geometry.width:
                patch[:, i, j] = picture[:, top + i, left + j]
    return patch


def slow_paste(geometry: PatchGeometry, picture: np.ndarray, location: int, patch: np.ndarray) -> np.ndarray:
    """The picture with one patch in it; what lies outside is dropped."""
    top, left = corner(geometry, location)
    result = picture.copy()
    for i in range(geometry.rows):
        for j in range(geometry.columns):
            if 0 <= top + i < geometry.height and 0 <= left + j < geometry.width:
                result[:, top + i, left + j] = patch[:, i, j]
    return result


def everywhere(geometry: PatchGeometry) -> torch.Tensor:
    return torch.arange(geometry.locations)


def numbered(geometry: PatchGeometry, rows: int, channels: int = 2) -> torch.Tensor:
    """Pictures in which no two pixels are alike, and none is zero."""
    count = rows * channels * geometry.height * geometry.width
    return torch.arange(1.0, count + 1).view(rows, channels, geometry.height, geometry.width)


@settings(max_examples=30)
@given(geometries())
def test_crops_are_those_of_slicing_at_every_location(geometry):
    pictures = numbered(geometry, geometry.locations)
    window = geometry.window(everywhere(geometry))
    patches = geometry.crop(geometry.to_canvas(pictures), window)
    for location, (picture, patch) in enumerate(zip(pictures.numpy(), patches.numpy(), strict=True)):
        np.testing.assert_array_equal(patch, slow_crop(geometry, picture, location))


@settings(max_examples=30)
@given(geometries())
def test_pastes_are_those_of_slicing_at_every_location(geometry):
    pictures = numbered(geometry, geometry.locations)
    window = geometry.window(everywhere(geometry))
    patches = -1000.0 - torch.rand(
        geometry.locations, 2, geometry.rows, geometry.columns, generator=torch.Generator().manual_seed(0)
    )
    canvas = geometry.paste(geometry.to_canvas(pictures), window, patches, geometry.inside(window))
    for location, pasted in enumerate(geometry.to_picture(canvas).numpy()):
        expected = slow_paste(geometry, pictures[location].numpy(), location, patches[location].numpy())
        np.testing.assert_array_equal(pasted, expected)
    margin = canvas.clone()
    geometry.to_picture(margin).zero_()
    assert not margin.any()  # the zeros around the picture are zeros still


@settings(max_examples=30)
@given(geometries())
def test_pasting_back_what_was_cropped_changes_nothing(geometry):
    pictures = numbered(geometry, geometry.locations)
    canvas = geometry.to_canvas(pictures)
    window = geometry.window(everywhere(geometry))
    pasted = geometry.paste(canvas.clone(), window, geometry.crop(canvas, window), geometry.inside(window))
    assert torch.equal(pasted, canvas)
    assert torch.equal(geometry.to_picture(pasted), pictures)


@settings(max_examples=30)
@given(geometries())
def test_inside_marks_the_pixels_of_the_picture(geometry):
    ones = np.ones((1, geometry.height, geometry.width))
    inside = geometry.inside(geometry.window(everywhere(geometry)))
    assert inside.shape == (geometry.locations, 1, geometry.rows, geometry.columns)
    for location in range(geometry.locations):
        np.testing.assert_array_equal(inside[location].numpy(), slow_crop(geometry, ones, location))
    if geometry.boundary == "clamp":
        assert inside.all()


@settings(max_examples=30)
@given(geometries(), st.lists(st.integers(0, 143), min_size=1, max_size=6))
def test_coverage_is_the_share_of_pixels_that_were_under_a_patch(geometry, looked_at):
    places = [place % geometry.locations for place in looked_at]
    covered = torch.zeros(2, geometry.canvas_height * geometry.canvas_width, dtype=torch.bool)
    reference = np.zeros((1, geometry.height, geometry.width))
    for place in places:
        window = geometry.window(torch.tensor([place]))
        geometry.cover(covered[:1], window, geometry.inside(window))
        patch = np.ones((1, geometry.rows, geometry.columns))
        reference = slow_paste(geometry, reference, place, patch)
    expected = np.float32(reference.sum()) / np.float32(reference.size)
    assert geometry.coverage(covered).tolist() == [expected, 0.0]


@settings(max_examples=30)
@given(geometries())
def test_centres_span_the_picture(geometry):
    centres = geometry.centres(everywhere(geometry))
    assert centres.shape == (geometry.locations, 2)
    for location, centre in enumerate(centres.tolist()):
        top, left = corner(geometry, location)
        for value, first, before, size in (
            (centre[0], top, geometry.rows // 2, geometry.height),
            (centre[1], left, geometry.columns // 2, geometry.width),
        ):
            assert value == pytest.approx(2 * (first + before) / max(size - 1, 1) - 1, abs=1e-6)


def test_the_papers_patch_begins_30_rows_above_and_22_columns_left_of_its_location():
    geometry = PatchGeometry(128, 128)
    assert (geometry.rows, geometry.columns) == PATCH_SIZE == (60, 45)
    location = torch.tensor([0, 64 * 128 + 64, 127 * 128 + 3])
    top, left = geometry.corners(location)
    assert top.tolist() == [-30, 34, 97]
    assert left.tolist() == [-22, 42, -19]


def test_patches_at_the_four_corners_hold_a_quarter_of_picture_and_zeros():
    geometry = PatchGeometry(6, 8, (4, 4))
    picture = numbered(geometry, 1, 1)
    canvas = geometry.to_canvas(picture.expand(4, -1, -1, -1))
    location = torch.tensor([0, 7, 5 * 8, 5 * 8 + 7])
    patches = geometry.crop(canvas, geometry.window(location))[:, 0].tolist()
    assert patches[0] == [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 2], [0, 0, 9, 10]]
    assert patches[1] == [[0, 0, 0, 0], [0, 0, 0, 0], [6, 7, 8, 0], [14, 15, 16, 0]]
    assert patches[2] == [[0, 0, 25, 26], [0, 0, 33, 34], [0, 0, 41, 42], [0, 0, 0, 0]]
    assert patches[3] == [[30, 31, 32, 0], [38, 39, 40, 0], [46, 47, 48, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("row", "column", "outside"),
    [
        (0, 20, np.s_[:, :4, :]),
        (39, 20, np.s_[:, 5:, :]),
        (20, 0, np.s_[:, :, :3]),
        (20, 29, np.s_[:, :, 4:]),
    ],
    ids=["top", "bottom", "left", "right"],
)
def test_what_hangs_over_a_border_is_zero_when_cropped_and_dropped_when_pasted(row, column, outside):
    geometry = PatchGeometry(40, 30, (9, 7))
    window = geometry.window(torch.tensor([row * 30 + column]))
    picture = torch.ones(1, 1, 40, 30)
    canvas = geometry.to_canvas(picture)
    patch = geometry.crop(canvas, window)[0]
    assert not patch[outside].any()
    assert patch.sum() == 63 - patch[outside].numel()
    flooded = torch.zeros(1, 1, 9, 7)
    flooded[0][outside] = 5.0
    pasted = geometry.paste(canvas, window, flooded, geometry.inside(window))
    assert not (pasted == 5.0).any()
    assert geometry.to_picture(pasted).sum() == 1200 - patch.sum()


def test_clamp_moves_the_patch_inside():
    geometry = PatchGeometry(128, 128, boundary="clamp")
    location = torch.tensor([0, 127 * 128 + 127, 64 * 128 + 64])
    top, left = geometry.corners(location)
    assert top.tolist() == [0, 68, 34]
    assert left.tolist() == [0, 83, 42]
    assert torch.equal(
        geometry.centres(location),
        geometry.centres(torch.tensor([30 * 128 + 22, 98 * 128 + 105, 64 * 128 + 64])),
    )


def test_paste_writes_in_place_unless_gradients_are_recorded():
    geometry = PatchGeometry(6, 5, (3, 3))
    window = geometry.window(torch.tensor([7]))
    inside = geometry.inside(window)
    canvas = geometry.to_canvas(torch.zeros(1, 1, 6, 5))
    patch = torch.ones(1, 1, 3, 3)
    assert geometry.paste(canvas, window, patch, inside) is canvas
    assert geometry.to_picture(canvas).sum() == 9
    leaf = (2 * patch).requires_grad_()
    copy = geometry.paste(canvas, window, leaf, inside)
    assert copy is not canvas
    assert geometry.to_picture(canvas).sum() == 9
    with torch.no_grad():
        assert geometry.paste(canvas, window, leaf, inside) is canvas
        cut = geometry.paste(copy, window, patch, inside)
    assert cut is not copy  # a graph may still need it
    assert not cut.requires_grad


def test_gradients_of_a_paste_go_to_the_pixels_that_are_seen():
    geometry = PatchGeometry(6, 5, (3, 3))
    location = torch.tensor([0])  # only the lower right 2x2 of the patch lies inside
    window = geometry.window(location)
    picture = torch.zeros(1, 1, 6, 5, requires_grad=True)
    patch = torch.zeros(1, 1, 3, 3, requires_grad=True)
    weight = torch.arange(1.0, 31.0).view(1, 1, 6, 5)
    canvas = geometry.paste(geometry.to_canvas(picture), window, patch, geometry.inside(window))
    (geometry.to_picture(canvas) * weight).sum().backward()
    assert patch.grad.tolist() == [[[[0, 0, 0], [0, 1, 2], [0, 6, 7]]]]
    expected = weight.clone()
    expected[:, :, :2, :2] = 0
    assert torch.equal(picture.grad, expected)


def test_legal_locations():
    geometry = PatchGeometry(6, 5, (3, 3))
    assert geometry.locations == 30
    assert geometry.legal(torch.tensor([0, 29]))
    assert not geometry.legal(torch.tensor([0, 30]))
    assert not geometry.legal(torch.tensor([-1, 3]))


@pytest.mark.parametrize(
    ("patch_size", "boundary", "message"),
    [
        ((9, 4), "pad", "patch_size is 9x4"),
        ((4, 9), "pad", "patch_size is 4x9"),
        ((0, 4), "pad", r"patch_size\[0\] is 0"),
        ((4, 2.5), "pad", r"patch_size\[1\] is 2.5"),
        ((4, True), "pad", r"patch_size\[1\] is True"),
        ((4, 4, 4), "pad", r"patch_size is \(4, 4, 4\)"),
        (4, "pad", "patch_size is 4"),
        ((4, 4), "mirror", "boundary is 'mirror'"),
    ],
)
def test_impossible_geometries_are_refused(patch_size, boundary, message):
    with pytest.raises(ValueError, match=message):
        PatchGeometry(8, 8, patch_size, boundary)
