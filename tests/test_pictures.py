"""The grid of faces and the film strip: every pixel of every picture where it belongs."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from agents.pictures import GAP, OUTSIDE, film_strip, picture_grid, save_png
from facehall_env.rendering import BLUE, PAPER, RED

RNG = np.random.default_rng(0)


def noise(*shape):
    """Pictures in which every patch is unique, none of them with the colours of boxes or paper."""
    return RNG.integers(0, 200, shape, dtype=np.uint8)


def magnified(picture, factor):
    return np.repeat(np.repeat(np.broadcast_to(picture, (*picture.shape[:2], 3)), factor, 0), factor, 1)


def places(sheet, picture):
    """Top left corners, as (row, column), where a picture stands on the sheet, pixel for pixel."""
    height, width = picture.shape[:2]
    rows, columns = sheet.shape[0] - height + 1, sheet.shape[1] - width + 1
    corner = (sheet[:rows, :columns] == picture[0, 0]).all(axis=2)
    return [
        (row, column)
        for row, column in np.argwhere(corner).tolist()
        if np.array_equal(sheet[row : row + height, column : column + width], picture)
    ]


def blank(part):
    return bool((part == PAPER).all())


# The grid


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("enlarge", [1, 2])
def test_every_picture_stands_in_its_row_and_column(channels, enlarge):
    columns = {name: noise(3, 40, 30, channels) for name in ("Bicubic", "Attention-FH", "HR")}
    sheet = picture_grid(columns, enlarge=enlarge)
    found = [
        [places(sheet, magnified(picture, enlarge)) for picture in pictures] for pictures in columns.values()
    ]
    assert all(len(place) == 1 for column in found for place in column)
    corners = np.array(found)[:, :, 0]
    assert (np.diff(corners[:, :, 0], axis=0) == 0).all()  # one height a row
    assert (np.diff(corners[:, :, 1], axis=1) == 0).all()  # one edge a column
    assert (np.diff(corners[:, :, 0], axis=1) > 40 * enlarge).all()
    assert (np.diff(corners[:, :, 1], axis=0) > 30 * enlarge).all()


def test_a_small_picture_is_blown_up_by_repeating_its_pixels():
    columns = {"LR": noise(2, 5, 4, 3), "HR": noise(2, 40, 32, 3)}
    sheet = picture_grid(columns)
    for low, high in zip(columns["LR"], columns["HR"], strict=True):
        ((top, left),) = places(sheet, magnified(low, 8))
        ((row, column),) = places(sheet, high)
        assert top == row
        assert left < column


def below(sheet, picture):
    ((top, left),) = places(sheet, picture)
    height, width = picture.shape[:2]
    return sheet[top + height : top + height + 20, left : left + width]


def test_all_but_the_reference_have_their_psnr_below():
    truth = noise(1, 64, 64, 3)
    near, far = truth + np.uint8(1), truth + np.uint8(20)
    sheet = picture_grid({"near": near, "far": far, "HR": truth})
    assert not blank(below(sheet, near[0]))
    assert not np.array_equal(below(sheet, near[0]), below(sheet, far[0]))
    assert blank(below(sheet, truth[0]))
    # The value and nothing else: the same error on other faces looks the same.
    other = noise(1, 64, 64, 3)
    again = picture_grid({"near": other + np.uint8(1), "HR": other})
    assert np.array_equal(below(again, other[0] + np.uint8(1)), below(sheet, near[0]))


def test_without_a_reference_nothing_stands_below():
    columns = {"one": noise(1, 64, 64, 3), "two": noise(1, 64, 64, 3)}
    sheet = picture_grid(columns, reference=None)
    assert all(blank(below(sheet, pictures[0])) for pictures in columns.values())


def test_names_widen_the_sheet_instead_of_running_into_each_other():
    columns = {"A name that is far wider than its picture": noise(2, 16, 16, 1), "HR": noise(2, 16, 16, 1)}
    sheet = picture_grid(columns)
    corners = [places(sheet, magnified(pictures[0], 1))[0] for pictures in columns.values()]
    heading = sheet[: corners[0][0], : (corners[0][1] + corners[1][1] + 16) // 2]
    inked = np.flatnonzero((heading != 255).any(axis=(0, 2)))
    assert inked.size
    assert inked[-1] < heading.shape[1] - GAP // 2
    assert inked[0] >= GAP - 1
    named = picture_grid(columns, rows=["Aaron_Guiel_0001", "Zinedine_Zidane_0001"])
    assert named.shape[1] > sheet.shape[1] + 100
    assert np.array_equal(named[:, -sheet.shape[1] :][:, GAP:], sheet[:, GAP:])


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({}, {}, "one picture a face, not {}"),
        ({"A": noise(2, 8, 8, 3), "HR": noise(1, 8, 8, 3)}, {}, r"one picture a face, not {'A': 2, 'HR': 1}"),
        ({"A": noise(1, 8, 8, 3)}, {}, "no column 'HR' to measure against; there are A"),
        ({"HR": noise(1, 8, 8, 4)}, {}, "the column 'HR': pictures are uint8"),
        ({"HR": noise(1, 8, 8, 3) / 255}, {}, "the column 'HR': .* not float64"),
        ({"HR": [noise(8, 8, 3), noise(9, 8, 3)]}, {}, "the column 'HR': .* not all of one size"),
        ({"HR": noise(2, 8, 8, 3)}, {"rows": ["one"]}, "2 names of rows or none, not 1"),
        ({"HR": noise(1, 8, 8, 3)}, {"enlarge": 0}, "enlarge is 0"),
        ({"HR": noise(1, 8, 8, 3)}, {"enlarge": 1.5}, r"enlarge is 1\.5"),
    ],
)
def test_what_is_no_grid_is_refused(columns, options, message):
    with pytest.raises(ValueError, match=message):
        picture_grid(columns, **options)


# The film strip

HEIGHT, WIDTH, ROWS, COLUMNS = 40, 30, 12, 9


def strip_cells(sheet, steps, columns, enlarge=1):
    """The pictures and the patches of a strip, cut out again by its layout (t = 1 ... T for the patches)."""
    height, width, rows, across = (length * enlarge for length in (HEIGHT, WIDTH, ROWS, COLUMNS))
    step_x = width + GAP
    lines = -(-(steps + 1) // columns)
    step_y = (sheet.shape[0] - GAP) // lines
    pictures, patches = [], []
    for t in range(steps + 1):
        left, bottom = GAP + t % columns * step_x, (t // columns + 1) * step_y - GAP
        middle = left + (width - across) // 2
        patches.append(sheet[bottom + GAP - rows : bottom + GAP, middle : middle + across])
        top = bottom + GAP - rows - GAP - height
        pictures.append(sheet[top : top + height, left : left + width])
    return pictures, patches


def ring(box):
    """Which pixels of the picture are the border of what lies of the box within it."""
    top, left, height, width = box
    inside = np.zeros((HEIGHT, WIDTH), dtype=bool)
    inside[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)] = True
    padded = np.pad(inside, 1)
    core = padded[2:, 1:-1] & padded[:-2, 1:-1] & padded[1:-1, 2:] & padded[1:-1, :-2]
    return inside & ~core


corners = st.tuples(
    st.integers(-ROWS // 2, HEIGHT - ROWS // 2), st.integers(-COLUMNS // 2, WIDTH - COLUMNS // 2)
)


@settings(derandomize=True, deadline=None, max_examples=15)
@given(
    places=st.lists(corners, min_size=1, max_size=5),
    columns=st.integers(1, 10),
    channels=st.sampled_from([1, 3]),
)
def test_each_picture_shows_the_box_just_seen_and_the_earlier_ones(places, columns, channels):
    steps = len(places)
    boxes = np.array([(top, left, ROWS, COLUMNS) for top, left in places], dtype=np.int64)
    pictures, patches = (
        noise(steps + 1, HEIGHT, WIDTH, channels),
        noise(steps, ROWS, COLUMNS, channels),
    )
    kept = pictures.copy(), patches.copy()
    shown, seen = strip_cells(
        film_strip(pictures, boxes, patches, columns=columns), steps, min(columns, steps + 1)
    )
    assert np.array_equal(pictures, kept[0])
    assert np.array_equal(patches, kept[1])
    assert np.array_equal(shown[0], magnified(pictures[0], 1))
    for t in range(1, steps + 1):
        red = (shown[t] == RED).all(axis=2)
        blue = (shown[t] == BLUE).all(axis=2)
        assert np.array_equal(red, ring(boxes[t - 1]))
        earlier = np.any([ring(box) for box in boxes[: t - 1]], axis=0) if t > 1 else np.zeros_like(blue)
        assert not (blue & ~earlier).any()
        for box in boxes[: t - 1]:  # dashed: some of it is blue, some is not, but where others cross it
            visible = ring(box) & ~red
            assert blue[visible].any() or visible.sum() < 8
        untouched = ~(red | blue)
        assert np.array_equal(shown[t][untouched], magnified(pictures[t], 1)[untouched])
        top, left = places[t - 1]
        row, column = np.indices((ROWS, COLUMNS))
        within = (row + top >= 0) & (row + top < HEIGHT) & (column + left >= 0) & (column + left < WIDTH)
        assert np.array_equal(seen[t][within], magnified(patches[t - 1], 1)[within])
        assert (seen[t][~within] == OUTSIDE).all()


def test_earlier_boxes_are_dashed():
    pictures, patches = noise(3, HEIGHT, WIDTH, 3), noise(2, ROWS, COLUMNS, 3)
    boxes = np.array([(2, 2, ROWS, COLUMNS), (25, 15, ROWS, COLUMNS)])
    shown, _ = strip_cells(film_strip(pictures, boxes, patches), 2, 3)
    dashes = (shown[2] == BLUE).all(axis=2)[ring(boxes[0])]
    assert 0.3 < dashes.mean() < 0.7


def test_a_strip_is_enlarged_pixel_by_pixel_with_its_lines():
    pictures, patches = noise(3, HEIGHT, WIDTH, 1), noise(2, ROWS, COLUMNS, 1)
    boxes = np.array([(2, 2, ROWS, COLUMNS), (35, 25, ROWS, COLUMNS)])
    small, _ = strip_cells(film_strip(pictures, boxes, patches), 2, 3)
    large, seen = strip_cells(film_strip(pictures, boxes, patches, enlarge=3), 2, 3, enlarge=3)
    for before, after in zip(small, large, strict=True):
        red = (magnified(before, 3) == RED).all(axis=2)
        assert np.array_equal((after == RED).all(axis=2), red)
    assert np.array_equal(large[0], magnified(pictures[0], 3))
    assert np.array_equal(seen[1], magnified(patches[0], 3))


def test_a_strip_goes_on_below():
    pictures, patches = noise(6, HEIGHT, WIDTH, 3), noise(5, ROWS, COLUMNS, 3)
    boxes = np.tile([2, 2, ROWS, COLUMNS], (5, 1))
    one, two = (film_strip(pictures, boxes, patches, columns=columns) for columns in (6, 3))
    assert two.shape[1] < 0.6 * one.shape[1]
    assert two.shape[0] - GAP == 2 * (one.shape[0] - GAP)


@pytest.mark.parametrize(
    ("pictures", "boxes", "patches", "options", "message"),
    [
        (3, (3, 4), 2, {}, r"3 pictures go with 2 boxes .* not with boxes \(3, 4\)"),
        (3, (2, 2), 2, {}, r"not with boxes \(2, 2\)"),
        (3, (2, 4), 3, {}, r"and patches \(3, 12, 9, 3\)"),
        (3, (2, 4), 2, {"columns": 0}, "columns is 0"),
        (3, (2, 4), 2, {"enlarge": 0}, "enlarge is 0"),
    ],
)
def test_what_is_no_strip_is_refused(pictures, boxes, patches, options, message):
    made = np.resize([2, 2, ROWS, COLUMNS], boxes)
    with pytest.raises(ValueError, match=message):
        film_strip(noise(pictures, HEIGHT, WIDTH, 3), made, noise(patches, ROWS, COLUMNS, 3), **options)


def test_patches_of_another_size_than_their_boxes_are_refused():
    boxes = np.array([(2, 2, ROWS + 1, COLUMNS)])
    with pytest.raises(ValueError, match="of the boxes' size"):
        film_strip(noise(2, HEIGHT, WIDTH, 3), boxes, noise(1, ROWS, COLUMNS, 3))


# Files


@pytest.mark.parametrize("channels", [1, 3])
def test_a_saved_picture_is_the_picture(tmp_path, channels):
    picture = noise(20, 30, channels)
    save_png(tmp_path / "deep" / "p.png", picture)
    with Image.open(tmp_path / "deep" / "p.png") as file:
        assert (file.format, file.mode) == ("PNG", "RGB")
        assert np.array_equal(np.asarray(file), magnified(picture, 1))


def test_only_pictures_are_saved_and_only_as_png(tmp_path):
    with pytest.raises(ValueError, match=r"p\.jpg does not end in \.png"):
        save_png(tmp_path / "p.jpg", noise(4, 4, 3))
    with pytest.raises(ValueError, match="the picture: pictures are uint8"):
        save_png(tmp_path / "p.png", np.full((4, 4, 3), math.pi))
    assert not list(tmp_path.iterdir())
