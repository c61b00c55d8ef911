"""Alignment by the eyes: where they land, and what the pixels around them are."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from facehall_env.datasets.alignment import align_eyes, eye_transform

from .samples import noise

coordinate = st.floats(0, 300)
point = st.tuples(coordinate, coordinate)


@given(left=point, right=point, distance=st.floats(10, 100), row=st.floats(0, 160))
def test_both_eyes_land_on_their_row_and_columns(
    left: tuple[float, float], right: tuple[float, float], distance: float, row: float
) -> None:
    assume(np.hypot(left[0] - right[0], left[1] - right[1]) > 1)
    matrix = eye_transform(left, right, distance=distance, row=row, size=(160, 120))
    np.testing.assert_allclose(matrix @ [*right, 1], [59.5 - distance / 2, row], atol=1e-6)
    np.testing.assert_allclose(matrix @ [*left, 1], [59.5 + distance / 2, row], atol=1e-6)


@given(left=point, right=point)
def test_the_transform_is_a_similarity(left: tuple[float, float], right: tuple[float, float]) -> None:
    assume(np.hypot(left[0] - right[0], left[1] - right[1]) > 1)
    linear = eye_transform(left, right)[:, :2]
    scale = np.sqrt(np.linalg.det(linear))
    np.testing.assert_allclose(linear @ linear.T, scale**2 * np.eye(2), atol=1e-9 * scale**2)


def test_eyes_in_place_move_nothing() -> None:
    picture = noise(0, 200, 180)
    crop = align_eyes(picture, (83.0, 64.0), (36.0, 64.0), distance=47)
    np.testing.assert_array_equal(crop, picture[:160, :120])


def test_a_shift_is_exact_and_the_edge_goes_on_outside() -> None:
    picture = noise(0, 160, 120, 3)
    crop = align_eyes(picture, (73.0, 69.0), (26.0, 69.0), distance=47)
    np.testing.assert_array_equal(crop[:155, 10:], picture[5:, :110])
    np.testing.assert_array_equal(crop[:155, 0], picture[5:, 0])
    np.testing.assert_array_equal(crop[159, 10:], picture[159, :110])


@pytest.mark.parametrize("angle", [-40, 15, 90])
def test_marks_at_the_eyes_of_a_turned_face_are_found_level(angle: float) -> None:
    turn = np.exp(1j * np.radians(angle))
    right, left = 150 + 150j - 30 * turn, 150 + 150j + 30 * turn
    y, x = np.mgrid[:300, :300]
    picture = np.zeros((300, 300))
    for eye, height in ((left, 250), (right, 120)):
        picture += height * np.exp(-((x - eye.real) ** 2 + (y - eye.imag) ** 2) / 18)
    crop = align_eyes(picture.astype(np.uint8), (left.real, left.imag), (right.real, right.imag), distance=60)
    assert crop[64, 59 - 30 : 61 - 30].min() > 100  # both pixels beside column 29.5
    assert crop[64, 59 + 30 : 61 + 30].min() > 220


def test_impossible_eyes_are_refused() -> None:
    with pytest.raises(ValueError, match="both eyes are the same point"):
        eye_transform((3.0, 4.0), (3.0, 4.0))
    with pytest.raises(ValueError, match="must be positive, not 0"):
        eye_transform((3.0, 4.0), (1.0, 4.0), distance=0)
