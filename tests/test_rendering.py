"""The frame of one state: every part where it belongs, of one size, in every mode that Gymnasium offers."""

import math

import cv2
import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import facehall_env  # noqa: F401 (registers the ids)
from facehall_env.patches import PatchGeometry
from facehall_env.rendering import BLUE, ERROR_RANGE, RED, error_colours, magnify, render_frame, rgb
from tests.small import small_env

NUMBERS = {"horizon": 5, "psnr": 25.0, "psnr_input": 24.0, "coverage": 0.5}


def pictures(height=128, width=128, channels=3, scale=8, seed=0):
    """Random pictures without the colours of the boxes."""
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.integers(60, 140, shape, dtype=np.uint8)

    return {
        "low_resolution": draw(height // scale, width // scale, channels),
        "current": draw(height, width, channels),
        "high_resolution": draw(height, width, channels),
    }


def find(frame, panel):
    """Where a panel stands in a frame, as (row, column), pixel for pixel."""
    height, width = panel.shape[:2]
    rows, columns = frame.shape[0] - height + 1, frame.shape[1] - width + 1
    corners = (frame[:rows, :columns] == panel[0, 0]).all(axis=2)
    (place,) = (
        (row, column)
        for row, column in np.argwhere(corners).tolist()
        if np.array_equal(frame[row : row + height, column : column + width], panel)
    )
    return place


def boxes(*corners, size=(60, 45)):
    return np.array([(*corner, *size) for corner in corners], dtype=np.int64).reshape(-1, 4)


@pytest.mark.parametrize("size", [(128, 128, 3), (160, 120, 1), (16, 16, 3), (300, 250, 1)])
def test_every_panel_shows_its_picture(size):
    height, width, channels = size
    scale = 2 if height == 300 else 4
    shown = pictures(height, width, channels, scale)
    before = {name: picture.copy() for name, picture in shown.items()}
    frame = render_frame(shown, boxes(), **NUMBERS)
    assert frame.dtype == np.uint8
    assert frame.shape[2] == 3
    assert frame.shape[0] % 2 == frame.shape[1] % 2 == 0
    enlarge = max(1, math.ceil(240 / max(height, width)))
    error = np.abs(shown["current"].astype(float) - shown["high_resolution"]).mean(axis=2)
    panels = [
        magnify(rgb(shown["low_resolution"]), scale * enlarge),
        magnify(rgb(shown["current"]), enlarge),
        magnify(rgb(shown["high_resolution"]), enlarge),
        magnify(error_colours(error), enlarge),
    ]
    places = [find(frame, panel) for panel in panels]
    assert len({row for row, _ in places}) == 1
    assert (np.diff([column for _, column in places]) > width * enlarge).all()
    assert all(np.array_equal(shown[name], before[name]) for name in before)


def current_panel(shown, places, enlarge=2):
    frame = render_frame(shown, places, **NUMBERS)
    height, width = (enlarge * length for length in shown["current"].shape[:2])
    row, column = find(render_frame(shown, places[:0], **NUMBERS), magnify(rgb(shown["current"]), enlarge))
    return frame[row : row + height, column : column + width], frame


def colours(panel):
    return (panel == RED).all(axis=2), (panel == BLUE).all(axis=2)


def test_the_present_box_is_solid_red_and_the_earlier_ones_are_dashed_blue():
    shown = pictures()
    panel, _ = current_panel(shown, boxes((10, 5), (60, 70)))
    red, blue = colours(panel)
    assert red[120, 140:230].all()  # the whole upper edge of the second box
    assert red[120:240, 140].all()
    assert 0.3 < blue[20, 10:100].mean() < 0.7  # that of the first one, dashed
    assert 0.3 < blue[20:140, 10].mean() < 0.7
    outside = np.ones_like(red)
    outside[120:240, 140:230] = outside[20:140, 10:100] = False
    assert not (red | blue)[outside].any()
    untouched = ~(red | blue)
    assert np.array_equal(panel[untouched], magnify(shown["current"], 2)[untouched])


def test_a_box_that_hangs_over_the_border_is_drawn_as_far_as_it_lies_inside():
    panel, frame = current_panel(pictures(), boxes((-30, -22), (98, 106)))
    red, blue = colours(panel)
    assert red[196, 212:].all()
    assert blue[59, :46].any()
    red_everywhere, blue_everywhere = colours(frame)
    assert red_everywhere.sum() == red.sum()  # nothing is drawn beside the picture
    assert blue_everywhere.sum() == blue.sum()


corners = st.tuples(st.integers(-30, 97), st.integers(-22, 105))


@settings(derandomize=True, max_examples=10)
@given(
    places=st.lists(corners, max_size=30),
    psnr=st.one_of(st.floats(-5, 99), st.just(math.inf)),
    coverage=st.floats(0, 1),
    seed=st.integers(0, 9),
)
def test_frames_have_one_size_and_are_deterministic(places, psnr, coverage, seed):
    shown = pictures(seed=seed)
    numbers = {"horizon": 30, "psnr": psnr, "psnr_input": 24.0, "coverage": coverage}
    frame = render_frame(shown, boxes(*places), **numbers)
    assert frame.shape == render_frame(pictures(), boxes(), **NUMBERS).shape
    assert np.array_equal(frame, render_frame(shown, boxes(*places), **numbers))


@pytest.mark.parametrize(
    ("name", "value"), [("horizon", 6), ("psnr", 25.1), ("psnr_input", 24.1), ("coverage", 0.6)]
)
def test_every_number_is_written(name, value):
    one, other = (render_frame(pictures(), boxes(), **(NUMBERS | change)) for change in ({}, {name: value}))
    assert not np.array_equal(one[290:], other[290:])
    assert np.array_equal(one[:280], other[:280])


def test_the_colours_of_the_error_tell_more_from_less():
    ramp = error_colours(np.arange(0, ERROR_RANGE + 1)[None, :]).astype(int)[0]
    assert (np.diff(ramp.sum(axis=1)) >= 0).all()
    assert ramp[0].sum() < 20
    assert ramp[-1].sum() > 550
    assert np.array_equal(error_colours(np.array([[255.0]]))[0, 0], ramp[-1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"current": None}, "needs the picture 'current'; there are 'low_resolution', 'high_resolution'"),
        ({"current": np.zeros((128, 128, 3))}, "current must be uint8 .* not float64"),
        ({"current": np.zeros((128, 128), np.uint8)}, r"current must be uint8 .* \(128, 128\)"),
        ({"current": np.zeros((128, 120, 3), np.uint8)}, "not of one face"),
        ({"low_resolution": np.zeros((15, 16, 3), np.uint8)}, "not of one face"),
        ({"low_resolution": np.zeros((256, 256, 3), np.uint8)}, "not of one face"),
    ],
)
def test_what_is_no_state_is_refused(change, message):
    shown = {name: picture for name, picture in (pictures() | change).items() if picture is not None}
    with pytest.raises(ValueError, match=message):
        render_frame(shown, boxes(), **NUMBERS)


@pytest.mark.parametrize("wrong", [np.zeros(4, int), np.zeros((2, 3), int), np.zeros((2, 4))])
def test_what_are_no_boxes_is_refused(wrong):
    with pytest.raises(ValueError, match="boxes are integers"):
        render_frame(pictures(), wrong, **NUMBERS)


@pytest.mark.parametrize("boundary", ["pad", "clamp"])
def test_boxes_are_where_the_patches_are_cut(boundary):
    geometry = PatchGeometry(20, 16, (6, 5), boundary)
    canvas = geometry.to_canvas(torch.arange(1.0, 321.0).view(1, 1, 20, 16))
    for location in (0, 15, 163, 319):
        at = torch.tensor([location])
        ((top, left, height, width),) = geometry.boxes(at).tolist()
        patch = geometry.crop(canvas, geometry.window(at))[0, 0]
        inside = patch > 0
        rows = slice(max(top, 0), min(top + height, 20))
        columns = slice(max(left, 0), min(left + width, 16))
        cut = torch.arange(1.0, 321.0).view(20, 16)[rows, columns]
        assert torch.equal(patch[inside], cut.flatten())
        assert patch.shape == (height, width)


# The environment


def test_an_episode_has_frames_of_one_size_that_show_its_state():
    env = small_env(render_mode="rgb_array")
    env.reset(seed=3)
    frames = [env.render()]
    for action in (0, 100, 200):
        env.step(action)
        frames.append(env.render())
    assert {frame.shape for frame in frames} == {frames[0].shape}
    reds = [int((frame == RED).all(axis=2).sum()) for frame in frames]
    assert reds[0] == 0
    assert min(reds[1:]) > 0
    blues = [int((frame == BLUE).all(axis=2).sum()) for frame in frames]
    assert blues[0] == blues[1] == 0 < blues[2] < blues[3]
    again = small_env(render_mode="rgb_array")
    again.reset(seed=3)
    assert np.array_equal(again.render(), frames[0])
    for action, frame in zip((0, 100, 200), frames[1:], strict=True):
        again.step(action)
        assert np.array_equal(again.render(), frame)
    env.reset(seed=3)
    assert np.array_equal(env.render(), frames[0])  # the boxes of the episode before are gone


def test_rendering_changes_nothing():
    seen, unseen = small_env(render_mode="rgb_array"), small_env()
    for env in (seen, unseen):
        env.reset(seed=0)
    for action in (7, 7, 255):
        seen.render()
        one, other = seen.step(action), unseen.step(action)
        assert np.array_equal(one[0], other[0])
        assert one[1:] == other[1:]


def test_a_refused_action_draws_no_box():
    env = small_env(render_mode="rgb_array")
    env.reset(seed=0)
    env.step(5)
    before = env.render()
    with pytest.raises(ValueError, match="the action is 256"):
        env.step(256)
    assert np.array_equal(env.render(), before)


def test_rendering_before_the_first_episode_is_refused():
    with pytest.raises(RuntimeError, match=r"before the first episode: call reset\(\)"):
        small_env(render_mode="rgb_array").render()


def test_without_a_mode_nothing_is_rendered_and_said_so():
    env = small_env()
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="without a render mode"):
        assert env.render() is None


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match=r"render_mode is 'human'.*gymnasium.make also knows 'human'"):
        small_env(render_mode="human")


def made(mode):
    return gym.make("FaceHallucination-Synthetic-x8", render_mode=mode, horizon=3, enhancer="identity")


def test_a_list_of_frames_is_collected():
    env = made("rgb_array_list")
    env.reset(seed=0)
    env.step(100)
    env.step(5000)
    frames = env.render()
    assert [frame.shape for frame in frames] == [frames[0].shape] * 3


def test_a_window_shows_the_frames(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    pygame = pytest.importorskip("pygame")
    with pytest.warns(UserWarning, match="HumanRendering wrapper is being applied"):
        env = made("human")
    env.reset(seed=0)
    env.step(100)
    frame = env.unwrapped.render()
    surface = pygame.display.get_surface()
    assert surface.get_size() == frame.shape[1::-1]
    assert np.array_equal(pygame.surfarray.array3d(surface).transpose(1, 0, 2), frame)
    env.close()


def decoded(path):
    video = cv2.VideoCapture(str(path))
    frames = []
    while (read := video.read())[0]:
        frames.append(read[1][:, :, ::-1])
    return frames, video.get(cv2.CAP_PROP_FPS)


def test_a_video_is_recorded(tmp_path):
    pytest.importorskip("moviepy")
    env = gym.wrappers.RecordVideo(
        made("rgb_array"), str(tmp_path / "video"), episode_trigger=lambda episode: True
    )
    rendered = []
    env.reset(seed=0)
    rendered.append(env.unwrapped.render())
    for action in (100, 5000, 9000):
        env.step(action)
        rendered.append(env.unwrapped.render())
    env.close()
    (path,) = (tmp_path / "video").iterdir()
    assert path.suffix == ".mp4"
    frames, fps = decoded(path)
    assert fps == env.metadata["render_fps"]
    assert len(frames) == 4
    for frame, truth in zip(frames, rendered, strict=True):
        assert frame.shape == truth.shape
        assert np.abs(frame.astype(float) - truth).mean() < 4
