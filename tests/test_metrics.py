import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from facehall_env import metrics
from facehall_env.metrics import MetricInputError, fsim, luma, measure, psnr, psnr_y, quantise, ssim
from facehall_env.metrics.phase import phase_congruency

ALL = (psnr, psnr_y, ssim, fsim)
SHAPES = [(3, 128, 128), (1, 160, 120), (3, 33, 47), (1, 11, 11)]


def pattern(height, width, seed):
    """Integer pattern, uint8 (H, W): hyperbolic fringes over blocks, the same on every machine."""
    row, column = np.indices((height, width))
    fringes = (row * row * (3 + seed) + column * row * 7 + column * column * 5) // 16
    blocks = (row // 12) * (column // 9) * (37 + seed)
    return ((fringes + blocks) % 256).astype(np.uint8)


def blurred(picture):
    """Mean over 3x3 pixels, rounded down, uint8 (H, W)."""
    height, width = picture.shape
    padded = np.pad(picture.astype(np.int64), 1, mode="edge")
    total = sum(padded[r : r + height, c : c + width] for r in range(3) for c in range(3))
    return (total // 9).astype(np.uint8)


def batch(*channels):
    return torch.from_numpy(np.stack(channels))[None]


def noisy_pair(shape, number=3, seed=0):
    """Random smooth pictures and noisy copies, unit float (N, C, H, W)."""
    generator = torch.Generator().manual_seed(seed)
    channels, height, width = shape
    coarse = torch.rand(number, channels, 6, 6, generator=generator)
    truth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    strength = torch.linspace(0.02, 0.2, number).view(-1, 1, 1, 1)
    return truth + strength * torch.randn(truth.shape, generator=generator).clamp(-2, 2), truth


def eight_bit(picture):
    """Reference rounding in numpy, (C, H, W) -> uint8 (H, W, C)."""
    return np.rint(np.clip(picture.numpy() * 255, 0, 255)).astype(np.uint8).transpose(1, 2, 0)


def matlab_luma(picture):
    """The design's formula, uint8 (H, W, C) -> float64 (H, W)."""
    if picture.shape[2] == 1:
        return picture[..., 0].astype(np.float64)
    return np.floor(16 + picture @ np.array([65.481, 128.553, 24.966]) / 255 + 0.5)


# The 8-bit grid and the luma


def test_quantise_rounds_and_clamps():
    unit = torch.tensor([-0.3, 0.0, 0.4 / 255, 0.6 / 255, 100.4 / 255, 1.0, 1.3]).view(1, 1, 1, 7)
    assert quantise(unit).flatten().tolist() == [0, 0, 0, 1, 100, 255, 255]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_quantise_takes_every_byte_there_and_back(dtype):
    bytes_ = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(quantise(bytes_), bytes_.float())
    assert torch.equal(quantise(bytes_.to(dtype) / 255), bytes_.float())


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_luma_is_matlabs(colour):
    grid = torch.tensor(colour, dtype=torch.float32).view(1, 3, 1, 1)
    exact = (16 * 255000 + 65481 * colour[0] + 128553 * colour[1] + 24966 * colour[2]) / 255000
    value = luma(grid).item()
    assert value == math.floor(exact + 0.5)
    assert 16 <= value <= 235


def test_luma_of_known_colours():
    colours = {(0, 0, 0): 16, (255, 255, 255): 235, (255, 0, 0): 81, (0, 255, 0): 145, (0, 0, 255): 41}
    grid = torch.tensor(list(colours), dtype=torch.float32).view(-1, 3, 1, 1)
    assert luma(grid).flatten().tolist() == list(colours.values())


def test_gray_pictures_are_their_own_luma():
    grid = torch.arange(256.0).view(1, 1, 16, 16)
    assert torch.equal(luma(grid), grid[:, 0])


# PSNR and SSIM against scikit-image


@pytest.mark.parametrize("shape", SHAPES)
def test_psnr_is_scikit_images(shape):
    x, y = noisy_pair(shape)
    for value, luma_value, a, b in zip(psnr(x, y), psnr_y(x, y), x, y, strict=True):
        a, b = eight_bit(a), eight_bit(b)
        assert value.item() == pytest.approx(peak_signal_noise_ratio(b, a), abs=1e-9)
        expected = peak_signal_noise_ratio(matlab_luma(b), matlab_luma(a), data_range=255)
        assert luma_value.item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_ssim_is_scikit_images(shape):
    x, y = noisy_pair(shape)
    for value, a, b in zip(ssim(x, y), x, y, strict=True):
        expected = structural_similarity(
            matlab_luma(eight_bit(a)),
            matlab_luma(eight_bit(b)),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=255,
        )
        assert value.item() == pytest.approx(expected, abs=1e-10)


def test_psnr_of_one_gray_level():
    black = torch.zeros(1, 1, 16, 16, dtype=torch.uint8)
    assert psnr(black + 1, black).item() == pytest.approx(20 * math.log10(255))


def test_psnr_averages_decibels_per_picture():
    truth = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    assert psnr(truth + torch.tensor([1, 10]).view(2, 1, 1, 1).byte(), truth).tolist() == pytest.approx(
        [48.1308036, 28.1308036], abs=1e-6
    )


# FSIM

# Values of the authors' FeatureSIM.m (Zhang et al., version 1.0 of 2010), run with GNU Octave 7.3 on the luma
# of these pictures. piq 0.8.0 gives the same to 3e-5, but for the down-sampled one, whose odd row it drops.
REFERENCE = {
    "square": (batch(blurred(pattern(64, 64, 0))), batch(pattern(64, 64, 0)), 0.814740538),
    "odd sizes": (batch(blurred(pattern(33, 47, 1))), batch(pattern(33, 47, 1)), 0.844533051),
    "few gray levels": (batch(pattern(160, 120, 2) // 32 * 32), batch(pattern(160, 120, 2)), 0.962260587),
    "down-sampled": (batch(blurred(blurred(pattern(401, 385, 3)))), batch(pattern(401, 385, 3)), 0.849247224),
    "colour": (
        batch(*[blurred(pattern(64, 48, seed)) for seed in range(3)]),
        batch(*[pattern(64, 48, seed) for seed in range(3)]),
        0.875583775,
    ),
}


@pytest.mark.parametrize("name", REFERENCE)
def test_fsim_is_the_authors(name):
    x, y, expected = REFERENCE[name]
    assert fsim(x, y).item() == pytest.approx(expected, abs=1e-6)


def test_fsim_of_even_pictures_is_defined():
    black, gray = (torch.full((1, 3, 32, 32), value, dtype=torch.uint8) for value in (0, 128))
    assert fsim(black, black).item() == 1
    assert fsim(gray, gray).item() == pytest.approx(1, abs=1e-6)
    assert 0 < fsim(black, gray).item() < 1  # zeros beyond the border give the gray picture an edge there


def test_phase_congruency_ignores_contrast():
    picture = torch.from_numpy(pattern(64, 64, 0).astype(np.float32))[None]
    torch.testing.assert_close(phase_congruency(picture / 4), phase_congruency(picture), atol=1e-3, rtol=0)


def test_phase_congruency_marks_a_step_and_no_even_ground():
    step = torch.zeros(1, 64, 64)
    step[:, :, 16:48] = 200
    congruency = phase_congruency(step)[0]
    assert ((congruency >= 0) & (congruency <= 1)).all()
    assert congruency[:, 15:17].min() > 0.75
    assert congruency[:, 20:25].max() < 0.3
    assert set(congruency.argmax(1).tolist()) <= {15, 16, 47, 48}


# What all metrics share


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize("shape", SHAPES)
def test_perfect_pictures(metric, shape):
    _, truth = noisy_pair(shape)
    best = math.inf if metric in (psnr, psnr_y) else 1
    assert metric(truth, truth).tolist() == pytest.approx([best] * 3)


@pytest.mark.parametrize("metric", ALL)
def test_more_noise_is_worse_and_order_does_not_matter(metric):
    x, y = noisy_pair((3, 64, 64), number=4)
    values = metric(x, y)
    assert values.shape == (4,)
    assert values.dtype == torch.float64
    assert (values.diff() < 0).all()
    assert torch.equal(metric(y, x), values)


@pytest.mark.parametrize("metric", ALL)
def test_a_batch_is_its_pictures(metric):
    x, y = noisy_pair((1, 120, 128), number=6)  # on a CPU worked off in pieces of four
    one_by_one = torch.cat([metric(a[None], b[None]) for a, b in zip(x, y, strict=True)])
    torch.testing.assert_close(metric(x, y), one_by_one, atol=1e-6, rtol=0)


@pytest.mark.parametrize("metric", ALL)
def test_bytes_and_floats_mean_the_same(metric):
    x, y = noisy_pair((3, 32, 32))
    bytes_x, bytes_y = quantise(x).byte(), quantise(y).byte()
    values = metric(x, y)
    assert torch.equal(metric(bytes_x, bytes_y), values)
    assert torch.equal(metric(x, bytes_y), values)
    assert torch.equal(metric(bytes_x.double() / 255, y), values)


def test_measure_is_all_of_them():
    x, y = noisy_pair((3, 48, 32), number=5)
    measured = measure(x, y)
    assert tuple(measured) == metrics.METRICS
    for name, values in measured.items():
        assert torch.equal(values, getattr(metrics, name)(x, y))


def test_nothing_is_changed_and_no_gradient_asked_for():
    x, y = noisy_pair((3, 32, 32))
    x.requires_grad_()
    before = x.detach().clone(), y.clone()
    assert not any(values.requires_grad for values in measure(x, y).values())
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])


def test_autocasting_and_inference_mode_change_nothing():
    x, y = noisy_pair((3, 32, 40))
    plain = measure(x, y)
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        inside = measure(x, y)
    assert all(torch.equal(inside[name], plain[name]) for name in plain)


GOOD = torch.zeros(2, 3, 32, 32)


@pytest.mark.parametrize("metric", [*ALL, measure])
@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (GOOD, GOOD[:1], r"x \(2, 3, 32, 32\) and y \(1, 3, 32, 32\) differ in shape"),
        (GOOD, GOOD[:, :1], "differ in shape"),
        (GOOD[0], GOOD[0], r"x has shape \(3, 32, 32\), .* unsqueeze"),
        (GOOD.permute(0, 2, 3, 1), GOOD, r"x has shape \(2, 32, 32, 3\), .* channels last"),
        (GOOD[:, :2], GOOD[:, :2], r"x has shape \(2, 2, 32, 32\)"),
        (GOOD[:0], GOOD[:0], "x is empty"),
        (GOOD, GOOD[:, :, :0], "y is empty"),
        (GOOD.long(), GOOD, "x is torch.int64"),
        (GOOD * math.nan, GOOD, "x contains NaN or infinity"),
        (GOOD, GOOD - math.inf, "y contains NaN or infinity"),
        (GOOD, GOOD + 255, "y reaches from 255 to 255, .* black = 0 and white = 1"),
        (GOOD - 1, GOOD, r"x reaches from -1 to -1, .* -1..1 by \(x \+ 1\) / 2"),
        (GOOD, GOOD.to("meta"), "x is on cpu but y on meta"),
        (GOOD, GOOD.numpy(), "y is a ndarray, but metrics take tensors .* torch.from_numpy"),
    ],
)
def test_what_cannot_be_measured_is_refused(metric, x, y, message):
    with pytest.raises(MetricInputError, match=message):
        metric(x, y)


def test_an_array_is_not_quantised():
    with pytest.raises(MetricInputError, match="x is a ndarray, but metrics take tensors"):
        quantise(GOOD.numpy())


def test_pictures_smaller_than_the_window_are_refused():
    small = torch.zeros(1, 1, 64, 10)
    with pytest.raises(MetricInputError, match="SSIM needs pictures of at least 11 x 11 pixels, not 64 x 10"):
        ssim(small, small)
    with pytest.raises(MetricInputError, match="FSIM needs pictures of at least 2 x 2 pixels, not 64 x 1"):
        fsim(small[..., :1], small[..., :1])


def test_quantise_checks_its_input():
    with pytest.raises(MetricInputError, match="x reaches from 0 to 254"):
        quantise(torch.arange(0.0, 255.0, 2.0).view(1, 1, 8, 16))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpu_agrees_with_the_cpu():
    x, y = noisy_pair((3, 128, 128), number=40)
    expected, measured = measure(x, y), measure(x.cuda(), y.cuda())
    for name in expected:
        assert measured[name].is_cuda
        torch.testing.assert_close(measured[name].cpu(), expected[name], atol=1e-5, rtol=0)
