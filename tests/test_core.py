"""The core against loops over single pictures, written from the specification."""

import copy
import math
import pickle
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.scripted import RandomPatch, covering_locations
from facehall_env.core import HallucinationCore, to_uint8, to_unit
from facehall_env.enhancer import EnhancerInput, make_enhancer
from facehall_env.resample import bicubic_matrix, box_matrix

SMALL = {"shape": (3, 24, 16), "scale": 4, "patch_size": (8, 6), "horizon": 4}
"""A core that costs nothing."""


def faces(rows: int, shape: tuple[int, int, int], seed: int = 0) -> torch.Tensor:
    """Blocks of 8x8 black or white pixels, some of them noise, uint8: enlarging them overshoots."""
    generator = torch.Generator().manual_seed(seed)
    channels, height, width = shape
    blocks = torch.randint(0, 2, (rows, channels, height // 8, width // 8), generator=generator)
    noise = torch.randint(0, 256, (rows, *shape), generator=generator)
    picture = 255 * blocks.repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
    return torch.where(torch.rand(noise.shape, generator=generator) < 0.1, noise, picture).to(torch.uint8)


def places(core: HallucinationCore, seed: int = 0) -> torch.Tensor:
    """Locations of one episode of all rows, int64, (T, N)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(core.geometry.locations, (core.horizon, core.rows), generator=generator)


def episode(core: HallucinationCore, pictures: torch.Tensor, seed: int = 0) -> list[torch.Tensor]:
    """Reset, walk to the end, give all rewards."""
    core.reset(pictures)
    return [core.step(location) for location in places(core, seed)]


class Affine(torch.nn.Module):
    """Maps every pixel x to 0.75 x + 0.125: cheap, exact in single precision, and not the identity."""

    needs_initial_patch = False

    def forward(self, inputs: EnhancerInput) -> torch.Tensor:
        return 0.75 * inputs.patch + 0.125


class Gain(torch.nn.Module):
    """One weight, to look at gradients; 1 is the identity."""

    needs_initial_patch = True

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(gain))

    def forward(self, inputs: EnhancerInput) -> torch.Tensor:
        return self.gain * inputs.patch


def tiny(core_settings: dict, seed: int = 0, **overrides):
    """A small network whose residual is not zero."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = make_enhancer(
            "tiny", shape=core_settings["shape"], patch_size=core_settings["patch_size"], **overrides
        )
        last = network.convolutions[-1]
        torch.nn.init.normal_(last.weight, std=0.05)
    return network.eval()


# --- the episode against an independent loop -----------------------------------------------------------


def numpy_episode(picture, locations, scale, patch_size, enhance, boundary="pad", protocol="aligned"):
    """One episode of one picture as the specification tells it: numpy, float64, slices.

    Args:
        picture: uint8, (C, H, W).
        locations: The actions.
        scale: Of the low-resolution picture.
        patch_size: Rows and columns of the patch.
        enhance: (patch, whole picture, row and column of the centre, patch of I_0) -> patch.
        boundary: What happens at the border.
        protocol: How to enlarge.

    Yields:
        I_t and the share of the picture that was covered, from t = 0 on.
    """
    (_, height, width), (rows, columns) = picture.shape, patch_size
    unit = picture / 255.0
    small = box_matrix(height, scale) @ unit @ box_matrix(width, scale).T
    up = bicubic_matrix(height // scale, height, protocol), bicubic_matrix(width // scale, width, protocol)
    initial = 2 * (up[0] @ small @ up[1].T) - 1
    current = initial.copy()
    seen = np.zeros((height, width), dtype=bool)
    yield current.copy(), 0.0
    for location in locations:
        row, column = divmod(int(location), width)
        if boundary == "clamp":
            row = min(max(row, rows // 2), height - rows + rows // 2)
            column = min(max(column, columns // 2), width - columns + columns // 2)
        pad = ((0, 0), (rows, rows), (columns, columns))
        at = np.s_[
            :,
            row - rows // 2 + rows : row - rows // 2 + 2 * rows,
            column - columns // 2 + columns : column - columns // 2 + 2 * columns,
        ]
        patch, initial_patch = np.pad(current, pad)[at], np.pad(initial, pad)[at]
        centre = np.array([2 * row / (height - 1) - 1, 2 * column / (width - 1) - 1])
        enhanced = enhance(patch, current, centre, initial_patch)
        for i in range(rows):
            for j in range(columns):
                y, x = row - rows // 2 + i, column - columns // 2 + j
                if 0 <= y < height and 0 <= x < width:
                    current[:, y, x] = enhanced[:, i, j]
                    seen[y, x] = True
        yield current.copy(), float(seen.mean())


def squared_error(current: np.ndarray, picture: np.ndarray) -> float:
    """MSE in units of [0, 1] of what a screen would show of `current`."""
    return float(np.mean((np.clip((current + 1) / 2, 0, 1) - picture / 255.0) ** 2))


@pytest.mark.parametrize("boundary", ["pad", "clamp"])
@pytest.mark.parametrize("protocol", ["aligned", "torch7"])
def test_a_whole_episode_in_the_papers_geometry_equals_a_loop_over_slices(boundary, protocol):
    core = HallucinationCore((3, 128, 128), 8, boundary=boundary, protocol=protocol, enhancer=Affine())
    pictures = faces(2, core.shape)
    core.reset(pictures)
    assert core.horizon == 25
    assert core.patch_size == (60, 45)
    locations = places(core)
    locations[:4] = torch.tensor([0, 127, 127 * 128, 128 * 128 - 1])[:, None]  # the four corners first
    loops = [
        numpy_episode(
            picture.numpy(), row, 8, (60, 45), lambda patch, *_: 0.75 * patch + 0.125, boundary, protocol
        )
        for picture, row in zip(pictures, locations.T, strict=True)
    ]
    for step in range(26):
        if step:
            assert not core.terminated
            reward = core.step(locations[step - 1])
        assert core.t == step
        for i, (current, coverage) in enumerate(map(next, loops)):
            np.testing.assert_allclose(core.current[i], current, atol=1e-5)
            assert float(core.coverage[i]) == pytest.approx(coverage, abs=1e-6)
            assert float(core.mse[i]) == pytest.approx(squared_error(current, pictures[i].numpy()), rel=1e-4)
            if step:
                assert float(reward[i]) == (-float(core.mse[i]) if step == 25 else 0.0)
    assert core.terminated


def test_an_episode_with_a_network_equals_a_loop_over_slices():
    settings = SMALL | {"horizon": 6}
    network = tiny(settings)
    core = HallucinationCore(**settings, enhancer=network)
    reference = copy.deepcopy(network).double()

    def enhance(*arrays):
        patch, picture, centre, initial = (torch.from_numpy(array)[None] for array in arrays)
        with torch.no_grad():
            return reference(EnhancerInput(patch, picture, centre, initial))[0].numpy()

    pictures = faces(3, core.shape)
    episode(core, pictures)
    moved = 0.0
    for i, picture in enumerate(pictures.numpy()):
        *_, (current, coverage) = numpy_episode(picture, places(core)[:, i], 4, (8, 6), enhance)
        np.testing.assert_allclose(core.current[i], current, atol=1e-5)
        assert float(core.coverage[i]) == pytest.approx(coverage, abs=1e-6)
        moved = max(moved, float((core.current[i] - core.initial[i]).abs().max()))
    assert moved > 0.1  # the network did something


# --- the start -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["aligned", "torch7"])
@pytest.mark.parametrize(("shape", "scale"), [((3, 128, 128), 8), ((1, 160, 120), 4), ((3, 24, 16), 2)])
def test_the_first_picture_is_the_input_enlarged_again(shape, scale, protocol):
    core = HallucinationCore(shape, scale, patch_size=(8, 6), protocol=protocol)
    pictures = faces(2, shape)
    core.reset(pictures)
    unit = pictures.double().numpy() / 255
    small = box_matrix(shape[1], scale) @ unit @ box_matrix(shape[2], scale).T
    rows, columns = (bicubic_matrix(size // scale, size, protocol) for size in shape[1:])
    np.testing.assert_allclose(core.low_resolution, 2 * small - 1, atol=1e-6)
    np.testing.assert_allclose(core.initial, 2 * (rows @ small @ columns.T) - 1, atol=1e-6)
    np.testing.assert_allclose(core.target, 2 * unit - 1, atol=1e-6)
    assert torch.equal(core.current, core.initial)
    assert core.initial.max() > 1  # bicubic overshoots, and nothing clamps it here
    assert (core.t, core.rows, core.terminated) == (0, 2, False)
    assert core.coverage.tolist() == [0, 0]
    for tensor in (core.low_resolution, core.initial, core.target, core.current, core.mse):
        assert tensor.dtype == torch.float32
        assert tensor.is_contiguous()


def test_the_core_keeps_its_own_copy_of_the_pictures():
    core = HallucinationCore(**SMALL)
    pictures = faces(2, core.shape)
    kept = pictures.clone()
    core.reset(pictures)
    pictures.zero_()
    assert torch.equal(core.high_resolution, kept)


def test_the_layout_in_memory_makes_no_difference():
    first, second = HallucinationCore(**SMALL), HallucinationCore(**SMALL)
    pictures = faces(2, first.shape)
    episode(first, pictures)
    episode(second, pictures.contiguous(memory_format=torch.channels_last))
    assert torch.equal(first.current, second.current)
    assert torch.equal(first.mse, second.mse)
    assert second.high_resolution.is_contiguous()


def test_a_reset_starts_over_with_another_number_of_rows():
    core = HallucinationCore(**SMALL, enhancer=Affine())
    before = episode(core, faces(3, core.shape))
    episode(core, faces(5, core.shape, seed=1))
    assert core.rows == 5
    again = episode(core, faces(3, core.shape))
    assert torch.equal(torch.stack(before), torch.stack(again))


# --- rewards -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reward", ["terminal", "delta", "coverage"])
def test_rewards_are_those_computed_by_hand(reward):
    core = HallucinationCore(**SMALL, reward=reward, coverage_weight=0.5, enhancer=Affine())
    pictures = faces(3, core.shape)
    unit = pictures.double() / 255
    core.reset(pictures)
    errors, covered = [], []
    rewards = []
    for location in (None, *places(core)):
        if location is not None:
            rewards.append(core.step(location))
        shown = ((core.current.double() + 1) / 2).clamp(0, 1)
        errors.append((shown - unit).square().mean(dim=(1, 2, 3)))
        covered.append(core.coverage.double())
    got = torch.stack(rewards)
    assert got.dtype == torch.float32
    expected = torch.zeros(4, 3, dtype=torch.float64)
    if reward == "delta":
        expected = torch.stack(errors)[:-1] - torch.stack(errors)[1:]
        torch.testing.assert_close(got.sum(0).double(), errors[0] - errors[-1], atol=1e-6, rtol=0)
    else:
        expected[-1] = -errors[-1] + (0.5 * covered[-1] if reward == "coverage" else 0)
    torch.testing.assert_close(got.double(), expected, atol=1e-6, rtol=1e-5)
    assert (errors[0] - errors[-1]).abs().max() > 1e-3  # there was something to reward


def test_the_error_of_a_picture_that_overshoots_is_that_of_the_clamped_one():
    core = HallucinationCore((1, 8, 8), 2, patch_size=(8, 8), horizon=1, enhancer=Gain(100.0))
    core.reset(torch.full((1, 1, 8, 8), 255, dtype=torch.uint8))
    core.step(torch.tensor([4 * 8 + 4]))
    assert core.current.min() > 99
    assert core.mse.tolist() == [0]


def test_the_error_is_a_measurement_without_a_graph():
    core = HallucinationCore(**SMALL, reward="delta", enhancer=Gain(0.9))
    core.reset(faces(2, core.shape))
    for location in places(core):
        step = core.step_recorded(location, through_pictures=True)
        assert step.enhanced.requires_grad
        assert not step.reward.requires_grad
    assert core.current.requires_grad
    assert not core.mse.requires_grad


# --- rows are alone ------------------------------------------------------------------------------------


@pytest.fixture
def two_threads():
    """Torch splits sums among threads; rows must not notice."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("protocol", ["aligned", "torch7"])
@pytest.mark.parametrize("shape", [(3, 128, 128), (1, 160, 120), (1, 24, 16)])
def test_a_row_of_a_batch_is_bit_for_bit_the_face_alone(shape, protocol):
    core = HallucinationCore(shape, 8, patch_size=(20, 15), horizon=3, protocol=protocol, reward="delta")
    pictures = faces(5, shape)
    rewards = torch.stack(episode(core, pictures))
    locations = places(core)
    for row in (0, 3, 4):
        alone = core.replica()
        alone.reset(pictures[row : row + 1])
        single = torch.stack([alone.step(location) for location in locations[:, row : row + 1]])
        assert torch.equal(single[:, 0], rewards[:, row])
        for name in ("low_resolution", "initial", "target", "current", "mse", "coverage"):
            assert torch.equal(getattr(alone, name)[0], getattr(core, name)[row]), name
        for name, picture in alone.pictures().items():
            assert torch.equal(picture[0], core.pictures()[name][row]), name


def test_a_row_of_a_batch_with_a_network_is_the_face_alone_but_for_rounding():
    core = HallucinationCore(**SMALL, enhancer=tiny(SMALL))
    pictures = faces(4, core.shape)
    episode(core, pictures)
    locations = places(core)
    for row in range(4):
        alone = core.replica()
        alone.reset(pictures[row : row + 1])
        for location in locations[:, row : row + 1]:
            alone.step(location)
        torch.testing.assert_close(alone.current[0], core.current[row], atol=1e-5, rtol=0)


@settings(max_examples=20)
@given(st.integers(0, 2), st.integers(0, 24 * 16 - 1), st.integers(0, 255))
def test_what_happens_in_one_row_stays_there(row, elsewhere, level):
    core, other = (HallucinationCore(**SMALL, enhancer=Affine()) for _ in range(2))
    pictures, changed = faces(3, core.shape), faces(3, core.shape)
    changed[row] = level
    core.reset(pictures)
    other.reset(changed)
    for location in places(core):
        core.step(location)
        location[row] = elsewhere
        other.step(location)
    rest = [i for i in range(3) if i != row]
    assert torch.equal(core.current[rest], other.current[rest])
    assert torch.equal(core.mse[rest], other.mse[rest])


# --- pictures ------------------------------------------------------------------------------------------


def test_pictures_are_rounded_copies_and_never_flow_back():
    first, second = (HallucinationCore(**SMALL, enhancer=Affine()) for _ in range(2))
    pictures = faces(2, first.shape)
    first.reset(pictures)
    second.reset(pictures)
    for location in places(first):
        shown = first.pictures()
        current = first.current
        for picture in (*shown.values(), current):
            picture.zero_()  # they are the caller's
        first.step(location)
        second.step(location)
    assert torch.equal(first.current, second.current)
    shown = first.pictures()
    assert shown["current"].dtype == torch.uint8
    assert shown["current"].shape == (2, 24, 16, 3)
    assert shown["low_resolution"].shape == (2, 6, 4, 3)
    assert torch.equal(shown["high_resolution"], pictures.permute(0, 2, 3, 1))
    levels = (first.current + 1) * 127.5
    assert (levels - levels.round()).abs().max() > 0.1  # the picture inside is off the grid of 256 levels
    expected = levels.clamp(0, 255).permute(0, 2, 3, 1)
    assert (shown["current"] - expected).abs().max() <= 0.5 + 1e-4


def test_a_uint8_picture_survives_the_way_in_and_out():
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    core = HallucinationCore((1, 16, 16), 2, patch_size=(4, 4))
    core.reset(levels)
    assert torch.equal(to_uint8(core.target)[..., 0], levels[:, 0])
    torch.testing.assert_close(to_unit(core.target), levels / 255)
    assert to_unit(torch.tensor([-3.0, 3.0])).tolist() == [0, 1]
    assert to_uint8(torch.tensor([-3.0, 3.0]).view(1, 1, 1, 2)).tolist() == [[[[0], [255]]]]


# --- refusals ------------------------------------------------------------------------------------------


def state(core: HallucinationCore) -> list[object]:
    """All that a refused call must leave alone."""
    return [core.t, core.current.tolist(), core.mse.tolist(), core.coverage.tolist(), id(core.enhancer)]


def test_there_is_nothing_to_step_before_the_first_reset():
    core = HallucinationCore(**SMALL)
    assert (core.rows, core.terminated) == (0, True)
    assert core.current.shape == (0, 3, 24, 16)
    with pytest.raises(RuntimeError, match=r"call reset\(\)"):
        core.step(torch.zeros(0, dtype=torch.int64))


@pytest.mark.parametrize("method", ["step", "step_recorded"])
def test_a_step_after_the_end_is_refused(method):
    core = HallucinationCore(**SMALL, enhancer=Affine())
    episode(core, faces(2, core.shape))
    before = state(core)
    with pytest.raises(RuntimeError, match="ended after 4 steps"):
        getattr(core, method)(torch.tensor([1, 2]))
    assert state(core) == before


@pytest.mark.parametrize("method", ["step", "step_recorded"])
@pytest.mark.parametrize(
    "location",
    [
        torch.tensor([1]),
        torch.tensor([1, 2, 3]),
        torch.tensor([[1, 2]]),
        torch.tensor(1),
        torch.tensor([1.0, 2.0]),
        torch.tensor([1, 2], dtype=torch.int32),
        torch.tensor([0, 24 * 16]),
        torch.tensor([-1, 0]),
    ],
    ids=lambda location: f"{location.dtype}-{location.tolist()}",
)
@pytest.mark.parametrize("boundary", ["pad", "clamp"])
def test_wrong_locations_are_refused_and_change_nothing(method, location, boundary):
    core = HallucinationCore(**SMALL, boundary=boundary, enhancer=Affine())
    core.reset(faces(2, core.shape))
    core.step(torch.tensor([5, 200]))
    before = state(core)
    with pytest.raises(ValueError, match="locations"):
        getattr(core, method)(location)
    assert state(core) == before


@pytest.mark.parametrize(
    "pictures",
    [
        torch.zeros(2, 3, 24, 16),
        torch.zeros(2, 3, 24, 16, dtype=torch.int64),
        torch.zeros(2, 24, 16, 3, dtype=torch.uint8),
        torch.zeros(2, 1, 24, 16, dtype=torch.uint8),
        torch.zeros(3, 24, 16, dtype=torch.uint8),
        torch.zeros(2, 3, 16, 24, dtype=torch.uint8),
    ],
    ids=lambda pictures: f"{pictures.dtype}-{tuple(pictures.shape)}",
)
def test_wrong_pictures_are_refused_and_change_nothing(pictures):
    core = HallucinationCore(**SMALL, enhancer=Affine())
    core.reset(faces(2, core.shape))
    core.step(torch.tensor([5, 200]))
    before = state(core)
    with pytest.raises(ValueError, match=r"reset needs uint8 pictures of shape \(N, 3, 24, 16\)"):
        core.reset(pictures)
    assert state(core) == before


@pytest.mark.parametrize(
    ("enhancer", "error", "message"),
    [
        (make_enhancer("tiny", shape=(3, 32, 16), patch_size=(8, 6)), ValueError, "was made for pictures"),
        (make_enhancer("tiny", shape=(1, 24, 16), patch_size=(8, 6)), ValueError, "was made for pictures"),
        (make_enhancer("tiny", shape=(3, 24, 16), patch_size=(8, 8)), ValueError, r"patches \(8, 8\)"),
        (
            make_enhancer("tiny", shape=(3, 24, 16), patch_size=(8, 6)).to("meta"),
            ValueError,
            "is on meta, but",
        ),
        (torch.nn.Identity(), TypeError, "needs_initial_patch"),
        ("tiny", TypeError, "str is no enhancer"),
    ],
    ids=["height", "channels", "patch", "device", "module", "word"],
)
def test_an_enhancer_that_does_not_fit_is_refused_and_the_old_one_stays(enhancer, error, message):
    core = HallucinationCore(**SMALL, enhancer=Affine())
    core.reset(faces(1, core.shape))
    before = state(core)
    with pytest.raises(error, match=message):
        core.set_enhancer(enhancer)
    assert state(core) == before


def test_an_enhancer_that_changes_the_shape_of_patches_is_refused_in_the_step():
    class Gray(Affine):
        def forward(self, inputs):
            return inputs.patch.mean(dim=1, keepdim=True)

    core = HallucinationCore(**SMALL, enhancer=Gray())
    core.reset(faces(1, core.shape))
    before = state(core)
    with pytest.raises(ValueError, match="must keep their shape"):
        core.step(torch.tensor([7]))
    assert state(core) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"horizon": 0}, "horizon is 0"),
        ({"horizon": 2.5}, "horizon is 2.5"),
        ({"horizon": "25"}, "horizon is '25'"),
        ({"reward": "psnr"}, "reward is 'psnr'.*'terminal', 'delta', 'coverage'"),
        ({"precision": "float16"}, "precision is 'float16'"),
        ({"boundary": "reflect"}, "boundary is 'reflect'"),
        ({"protocol": "matlab"}, "protocol 'matlab'"),
        ({"scale": 5}, "scale 5"),
        ({"scale": 1}, "scale must be"),
        ({"patch_size": (25, 6)}, "patch_size is 25x6"),
        ({"patch_size": (8,)}, r"patch_size is \(8,\)"),
        ({"coverage_weight": math.nan}, "coverage_weight is nan"),
    ],
    ids=str,
)
def test_impossible_settings_are_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        HallucinationCore(**SMALL | changes)


def test_bfloat16_that_a_gpu_only_imitates_is_said(caplog, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    refused = pytest.raises((RuntimeError, AssertionError))  # as there is no GPU, which is found out later
    with nullcontext() if torch.cuda.is_available() else refused, caplog.at_level("INFO"):
        HallucinationCore(**SMALL, precision="bfloat16", device="cuda")
    assert "cuda only imitates bfloat16" in caplog.text


# --- enhancers and copies ------------------------------------------------------------------------------


def test_the_enhancer_can_change_between_steps_and_none_is_the_identity():
    core = HallucinationCore(**SMALL)
    core.reset(faces(2, core.shape))
    initial = core.initial.clone()
    core.step(torch.tensor([100, 200]))
    assert torch.equal(core.current, initial)
    core.set_enhancer(Gain(0.0))
    core.step(torch.tensor([100, 200]))
    window = core.geometry.window(torch.tensor([100, 200]))
    assert not core.geometry.crop(core.geometry.to_canvas(core.current), window).any()
    after = core.current
    core.set_enhancer(None)
    core.step(torch.tensor([0, 0]))
    assert torch.equal(core.current, after)


def test_the_enhancer_is_a_reference_and_is_never_trained():
    network = Gain(0.5)
    core = HallucinationCore(**SMALL, enhancer=network)
    assert core.enhancer is network
    core.reset(faces(1, core.shape))
    core.step(torch.tensor([100]))
    assert not core.current.requires_grad
    network.gain.data.fill_(0.0)
    core.step(torch.tensor([100]))
    window = core.geometry.window(torch.tensor([100]))
    assert not core.geometry.crop(core.geometry.to_canvas(core.current), window).any()


def test_observe_shows_what_the_next_step_shows():
    seen = []

    class Spy(Gain):
        def forward(self, inputs):
            seen.append(inputs._replace(picture=inputs.picture.clone()))
            return super().forward(inputs)

    core = HallucinationCore(**SMALL, enhancer=Spy(0.5))
    core.reset(faces(2, core.shape))
    core.step(torch.tensor([100, 103]))
    location = torch.tensor([101, 383])
    preview = core.observe(location)
    assert core.t == 1
    assert core.coverage.tolist() == [48 / 384, 48 / 384]
    core.step(location)
    assert preview.prior_patch is None is seen[-1].prior_patch  # without a prior
    for shown, expected in zip(seen[-1][:4], preview[:4], strict=True):
        assert torch.equal(shown, expected)
    window = core.geometry.window(location)
    assert torch.equal(
        preview.initial_patch, core.geometry.crop(core.geometry.to_canvas(core.initial), window)
    )
    assert not torch.equal(preview.initial_patch, preview.patch)


@pytest.mark.parametrize("protocol", ["aligned", "torch7"])
@pytest.mark.parametrize("scale", [4, 8])
def test_consistent_pictures_shrink_to_the_low_resolution_one_and_come_closer(protocol, scale):
    settings = SMALL | {"scale": scale, "protocol": protocol, "enhancer": Affine()}
    core, plain = HallucinationCore(**settings, consistent=True), HallucinationCore(**settings)
    pictures = faces(3, core.shape)
    core.reset(pictures)
    for location in places(core):
        plain.reset(pictures)  # the same picture, but not mended
        plain._canvas.copy_(core._canvas)
        core.step(location)
        plain.step(location)
        shrunk = core.resampler.shrink(core.current.double()).float()
        torch.testing.assert_close(shrunk, core.low_resolution, rtol=0.0, atol=1e-5)
        before = (plain.current - core.target).square().sum(dim=(1, 2, 3))
        assert ((core.current - core.target).square().sum(dim=(1, 2, 3)) <= before).all()
        error = (to_unit(core.current) - to_unit(core.target)).square().mean(dim=(1, 2, 3))
        torch.testing.assert_close(core.mse, error, rtol=1e-4, atol=1e-7)
        assert torch.equal(core.levels, to_uint8(core.current))


def test_a_replica_has_the_same_settings_and_none_of_the_state():
    settings = SMALL | {
        "boundary": "clamp",
        "protocol": "torch7",
        "reward": "coverage",
        "coverage_weight": 0.25,
        "consistent": True,
        "precision": "bfloat16",
        "enhancer": Affine(),
    }
    core = HallucinationCore(**settings)
    rewards = episode(core, faces(2, core.shape))
    replica = core.replica()
    assert replica.enhancer is core.enhancer
    assert (replica.rows, replica.terminated) == (0, True)
    for name in (*(name for name in settings if name != "shape"), "shape", "device"):
        assert getattr(replica, name) == getattr(core, name), name
    assert torch.equal(torch.stack(episode(replica, faces(2, core.shape))), torch.stack(rewards))
    assert core.replica(horizon=9, reward="delta").horizon == 9
    assert core.horizon == 4


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda core: pickle.loads(pickle.dumps(core))])
def test_a_copy_goes_on_from_where_it_was_taken(duplicate):
    core = HallucinationCore(**SMALL, reward="delta", enhancer=tiny(SMALL))
    core.reset(faces(2, core.shape))
    locations = places(core)
    core.step(locations[0])
    twin = duplicate(core)
    for location in locations[1:]:
        assert torch.equal(core.step(location), twin.step(location))
    assert torch.equal(core.current, twin.current)


def test_bfloat16_stays_within_a_hundredth_of_float32():
    network = tiny(SMALL)
    full = HallucinationCore(**SMALL, enhancer=network)
    half = full.replica(precision="bfloat16")
    pictures = faces(4, full.shape)
    episode(full, pictures)
    episode(half, pictures)
    assert half.current.dtype == torch.float32
    difference = (half.current - full.current).abs().max()
    assert 0 < difference < 0.02  # of a range of 2; the residuals themselves are 0.1 and more
    assert (full.current - full.initial).abs().max() > 0.1
    torch.testing.assert_close(half.mse, full.mse, rtol=0.02, atol=0)


def test_precision_is_the_cores_whatever_surrounds_it():
    network = tiny(SMALL)
    core = HallucinationCore(**SMALL, enhancer=network)
    pictures = faces(2, core.shape)
    episode(core, pictures)
    expected = core.current
    with torch.autocast("cpu", torch.bfloat16):
        episode(core, pictures)
    assert torch.equal(core.current, expected)


# --- gradients -----------------------------------------------------------------------------------------


def losses(core: HallucinationCore, through_pictures: bool) -> list[torch.Tensor]:
    """The loss of every step of one episode."""
    core.reset(faces(2, core.shape))
    steps = [core.step_recorded(location, through_pictures=through_pictures) for location in places(core)]
    return [((step.enhanced - step.target).square() * step.inside).mean() for step in steps]


def test_a_recorded_step_gives_the_enhancer_its_gradient():
    core = HallucinationCore(**SMALL, enhancer=tiny(SMALL).train())
    for loss in losses(core, through_pictures=False):
        core.enhancer.zero_grad()
        loss.backward()
        assert all(parameter.grad is not None for parameter in core.enhancer.parameters())
        assert core.enhancer.convolutions[-1].weight.grad.abs().sum() > 0
    assert not core.current.requires_grad


@pytest.mark.parametrize("reward", ["terminal", "delta", "coverage"])
@pytest.mark.parametrize("consistent", [False, True])
def test_a_preview_says_what_a_step_would_come_to_and_changes_nothing(reward, consistent):
    pictures = faces(3, SMALL["shape"])
    looked, plain = (
        HallucinationCore(**SMALL, reward=reward, consistent=consistent, enhancer=Affine()) for _ in range(2)
    )
    plain.reset(pictures)
    looked.reset(pictures)
    for location in places(plain):
        _ = looked.levels  # what is shown must not go stale either
        foreseen = [looked.preview(other) for other in (location, location.flip(0), location)]
        assert looked.t == plain.t
        assert torch.equal(looked.current, plain.current)
        assert torch.equal(looked.coverage, plain.coverage)
        assert torch.equal(looked.mse, plain.mse)
        assert torch.equal(looked.step(location), plain.step(location))
        assert torch.equal(looked.levels, plain.levels)
        assert torch.equal(foreseen[0], looked.mse)
        assert torch.equal(foreseen[0], foreseen[2])
    with pytest.raises(RuntimeError, match="ended after"):
        looked.preview(places(looked)[0])


def test_a_recorded_step_does_what_a_step_does():
    core = HallucinationCore(**SMALL, reward="delta", enhancer=tiny(SMALL))
    rewards = episode(core, faces(2, core.shape))
    plain = core.current
    for through_pictures in (False, True):
        core.reset(faces(2, core.shape))
        steps = [core.step_recorded(x, through_pictures=through_pictures) for x in places(core)]
        assert torch.equal(torch.stack([step.reward for step in steps]), torch.stack(rewards))
        assert torch.equal(core.current.detach(), plain)
    step, location = steps[-1], places(core)[-1]
    window = core.geometry.window(location)
    assert torch.equal(step.target, core.geometry.crop(core.geometry.to_canvas(core.target), window))
    assert torch.equal(step.inside, core.geometry.inside(window))
    assert torch.equal(step.inputs.centre, core.geometry.centres(location))


def test_what_a_step_was_shown_does_not_change_afterwards():
    core = HallucinationCore(**SMALL, enhancer=Affine())
    core.reset(faces(2, core.shape))
    for location in places(core):
        before, expected = core.current, core.observe(location)
        step = core.step_recorded(location)
        assert torch.equal(step.inputs.picture, before)
        assert torch.equal(step.inputs.patch, expected.patch)
        assert not torch.equal(core.current, before)


@pytest.mark.parametrize("through_pictures", [True, False])
def test_gradients_reach_earlier_steps_through_the_pictures_only_if_asked(through_pictures):
    class Steps(torch.nn.Module):
        """One gain for every step."""

        needs_initial_patch = False

        def __init__(self):
            super().__init__()
            self.gains = torch.nn.Parameter(torch.full((4,), 0.9))
            self.calls = 0

        def forward(self, inputs):
            self.calls += 1
            return self.gains[self.calls - 1] * inputs.patch

    core = HallucinationCore(**SMALL, enhancer=Steps())
    core.reset(faces(2, core.shape))
    location = torch.tensor([100, 200])
    steps = [core.step_recorded(location, through_pictures=through_pictures) for _ in range(4)]
    loss = (steps[-1].enhanced - steps[-1].target).square().sum()
    loss.backward()
    reached = core.enhancer.gains.grad != 0
    assert reached.tolist() == [through_pictures, through_pictures, through_pictures, True]
    if through_pictures:  # the enhanced patch is g1 g2 g3 g4 x, so all four have the same gradient
        torch.testing.assert_close(core.enhancer.gains.grad, core.enhancer.gains.grad[:1].expand(4))


def test_the_gradient_through_the_pictures_is_that_of_finite_differences():
    core = HallucinationCore(**SMALL, enhancer=Gain(0.95))

    def value() -> torch.Tensor:
        return sum(losses(core, through_pictures=True))

    gradient = torch.autograd.grad(value(), core.enhancer.gain)[0]
    with torch.no_grad():
        core.enhancer.gain.fill_(0.96)
        above = value()
        core.enhancer.gain.fill_(0.94)
        below = value()
    assert float(gradient) == pytest.approx(float(above - below) / 0.02, rel=1e-2)
    assert abs(float(gradient)) > 1e-3


def test_a_step_without_recording_cuts_the_graph():
    core = HallucinationCore(**SMALL, enhancer=Gain(0.9))
    core.reset(faces(2, core.shape))
    location = torch.tensor([100, 200])
    recorded = core.step_recorded(location, through_pictures=True)
    assert core.current.requires_grad
    core.step(location)
    assert not core.current.requires_grad
    recorded.enhanced.sum().backward()  # and what was recorded before is whole
    assert core.enhancer.gain.grad != 0


def test_a_scripted_agent_walks_a_core_to_its_end():
    core = HallucinationCore(**SMALL, enhancer=Affine())
    core.reset(faces(2, core.shape))
    agent = RandomPatch(seed=3)
    agent.begin(core)
    while not core.terminated:
        core.step(agent.select(core))
    assert core.t == 4
    assert core.coverage.min() > 0


# --- from low resolution alone -------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["aligned", "torch7"])
@pytest.mark.parametrize("shape", [(3, 24, 16), (1, 16, 24)])
def test_episode_from_low_resolution_is_the_same(shape, protocol):
    settings = SMALL | {"shape": shape, "protocol": protocol}
    known = HallucinationCore(**settings, enhancer=tiny(settings))
    unknown = known.replica()
    episode(known, faces(3, shape))
    unknown.reset_low_resolution((known.low_resolution + 1) / 2)
    for location in places(known):
        unknown.advance(location)
    torch.testing.assert_close(unknown.current, known.current, rtol=0, atol=1e-5)
    torch.testing.assert_close(unknown.initial, known.initial, rtol=0, atol=1e-6)
    assert torch.equal(unknown.coverage, known.coverage)
    assert unknown.terminated
    assert unknown.rows == 3
    pictures = unknown.pictures()
    assert set(pictures) == {"low_resolution", "input", "current"}


@pytest.mark.parametrize("reward", ["terminal", "delta", "coverage"])
def test_what_needs_the_high_resolution_picture_says_so(reward):
    core = HallucinationCore(**SMALL, reward=reward)
    core.reset_low_resolution(torch.rand(2, 3, 6, 4))
    location = places(core)[0]
    for ask in (
        lambda: core.target,
        lambda: core.high_resolution,
        lambda: core.mse,
        lambda: core.step(location),
        lambda: core.step_recorded(location),
    ):
        with pytest.raises(RuntimeError, match=r"started by reset_low_resolution\(\)"):
            ask()
        assert core.t == 0
    core.reset(faces(2, core.shape))
    assert core.step(location).shape == (2,)


def test_advance_is_a_step_without_its_reward():
    core = HallucinationCore(**SMALL, enhancer=Affine())
    other = core.replica()
    for one in (core, other):
        one.reset(faces(2, core.shape))
    for location in places(core):
        core.step(location)
        other.advance(location)
    assert torch.equal(core.mse, other.mse)
    with pytest.raises(RuntimeError, match="the episodes ended"):
        other.advance(location)


@pytest.mark.parametrize("picture", [255.0 * torch.rand(1, 3, 6, 4), torch.full((1, 3, 6, 4), torch.nan)])
def test_low_resolution_pictures_of_another_range_are_refused(picture):
    core = HallucinationCore(**SMALL)
    with pytest.raises(ValueError, match=r"in \[0, 1\], but these reach from"):
        core.reset_low_resolution(picture)
    with pytest.raises(ValueError, match=r"in \[0, 1\], but these reach from -1 to"):
        core.reset_low_resolution(torch.linspace(-1, 1, 72).view(1, 3, 6, 4))


def test_an_error_that_is_mended_away_is_never_less_than_nothing():
    class Answer:
        """Knows the patch."""

        needs_initial_patch = False

        def __call__(self, inputs):
            return core.geometry.crop(core._target_canvas, core.geometry.window(location))

    core = HallucinationCore(**SMALL | {"horizon": 40}, enhancer=Answer())
    core.reset(faces(24, core.shape))
    assert (core.mse > 0).all()
    covering = covering_locations(core).tolist()
    for place in range(40):
        location = torch.full((24,), covering[place % len(covering)])
        core.step(location)
    assert core.coverage.min() == 1.0
    assert (core.mse >= 0).all()
    assert (core.mse < 1e-9).all()


@pytest.mark.parametrize(
    "pictures", [torch.zeros(2, 3, 6, 4, dtype=torch.uint8), torch.rand(2, 3, 24, 16), torch.rand(3, 6, 4)]
)
def test_low_resolution_pictures_of_another_kind_are_named(pictures):
    core = HallucinationCore(**SMALL)
    with pytest.raises(ValueError, match=r"floating-point pictures in \[0, 1\] of shape \(N, 3, 6, 4\)"):
        core.reset_low_resolution(pictures)
