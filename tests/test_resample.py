import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from facehall_env.resample import PROTOCOLS, Resampler, bicubic_matrix, box_matrix

SIZES = st.tuples(st.integers(1, 24), st.integers(2, 9))
"""Number of low-resolution samples and scale."""


def keys_kernel(distance):
    """Cubic convolution with a = -0.5, as Keys writes it."""
    d = abs(distance)
    if d < 1:
        return 1.5 * d**3 - 2.5 * d**2 + 1
    return -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d < 2 else 0.0


def aligned_by_loop(signal, target):
    """Half-pixel bicubic with replicated edges, sample by sample."""
    size = len(signal)
    result = []
    for index in range(target):
        source = (index + 0.5) * size / target - 0.5
        taps = range(math.floor(source) - 1, math.floor(source) + 3)
        result.append(sum(signal[min(max(tap, 0), size - 1)] * keys_kernel(source - tap) for tap in taps))
    return np.array(result)


def torch7_by_loop(signal, target):
    """One row of Torch7's ``image.scale``, bicubic, in its own form of the polynomial."""
    size = len(signal)
    if size == 1:
        return np.full(target, signal[0])
    result = []
    for index in range(target - 1):
        source = index * (size - 1) / (target - 1)
        left = min(int(source + 1e-12), size - 2)
        x = source - left
        p1, p2 = signal[left], signal[left + 1]
        p0 = signal[left - 1] if left > 0 else 2 * p1 - p2
        p3 = signal[left + 2] if left + 2 < size else 2 * p2 - p1
        cubic = 2 * p0 - 5 * p1 + 4 * p2 - p3 + x * (3 * (p1 - p2) + p3 - p0)
        result.append(p1 + 0.5 * x * (p2 - p0 + x * cubic))
    return np.array([*result, signal[-1]])


LOOPS = {"aligned": aligned_by_loop, "torch7": torch7_by_loop}


@given(SIZES, st.sampled_from(PROTOCOLS), st.integers(0, 2**32 - 1))
def test_bicubic_matrix_does_what_the_loop_does(sizes, protocol, seed):
    size, scale = sizes
    signal = np.random.default_rng(seed).uniform(-1, 1, size)
    enlarged = bicubic_matrix(size, size * scale, protocol) @ signal
    np.testing.assert_allclose(enlarged, LOOPS[protocol](signal, size * scale), atol=1e-12)


@given(st.integers(1, 20), st.integers(0, 30), st.sampled_from(PROTOCOLS), st.integers(0, 2**32 - 1))
def test_bicubic_matrix_takes_any_enlargement(size, more, protocol, seed):
    signal = np.random.default_rng(seed).uniform(-1, 1, size)
    enlarged = bicubic_matrix(size, size + more, protocol) @ signal
    np.testing.assert_allclose(enlarged, LOOPS[protocol](signal, size + more), atol=1e-12)
    if more == 0:
        np.testing.assert_allclose(enlarged, signal, atol=1e-12)


@given(SIZES, st.sampled_from(PROTOCOLS))
def test_rows_sum_to_one(sizes, protocol):
    size, scale = sizes
    enlarge = bicubic_matrix(size, size * scale, protocol)
    assert enlarge.shape == (size * scale, size)
    assert enlarge.dtype == np.float64
    np.testing.assert_allclose(enlarge.sum(1), 1, atol=1e-13)
    np.testing.assert_allclose(box_matrix(size * scale, scale).sum(1), 1, atol=1e-13)


@given(SIZES, st.sampled_from(PROTOCOLS))
def test_enlarging_commutes_with_mirroring(sizes, protocol):
    size, scale = sizes
    matrix = bicubic_matrix(size, size * scale, protocol)
    np.testing.assert_allclose(matrix, matrix[::-1, ::-1], atol=1e-12)


@given(SIZES, st.integers(0, 2**32 - 1))
def test_box_matrix_averages_groups(sizes, seed):
    size, scale = sizes
    signal = np.random.default_rng(seed).uniform(-1, 1, size * scale)
    means = box_matrix(size * scale, scale) @ signal
    np.testing.assert_allclose(means, signal.reshape(size, scale).mean(1), atol=1e-14)


@given(st.integers(2, 24), st.integers(2, 9))
def test_torch7_continues_a_ramp_to_the_borders(size, scale):
    target = size * scale
    ramp = bicubic_matrix(size, target, "torch7") @ np.arange(size)
    np.testing.assert_allclose(ramp, np.arange(target) * (size - 1) / (target - 1), atol=1e-12)


@given(st.integers(4, 24), st.integers(2, 9))
def test_aligned_restores_a_ramp_except_at_the_borders(size, scale):
    target = size * scale
    ramp = bicubic_matrix(size, target, "aligned") @ (box_matrix(target, scale) @ np.arange(target))
    inner = slice(2 * scale, -2 * scale or None)
    np.testing.assert_allclose(ramp[inner], np.arange(target)[inner], atol=1e-11)


@pytest.mark.parametrize(("scale", "stretch"), [(4, 1.5), (8, 3.5)])
def test_torch7_stretches_the_picture_at_its_borders(scale, stretch):
    ramp = torch.arange(128.0).expand(1, 1, 128, 128)
    shown = Resampler(128, 128, scale, "torch7")(ramp)[0, 0, 64]
    assert shown[0].item() == pytest.approx(stretch, abs=1e-4)
    assert shown[127].item() == pytest.approx(127 - stretch, abs=1e-4)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("scale", [4, 8])
@pytest.mark.parametrize("shape", [(128, 128, 3), (160, 120, 1)])
def test_pictures(shape, scale, protocol):
    height, width, channels = shape
    generator = torch.Generator().manual_seed(0)
    hr = torch.rand(2, channels, height, width, generator=generator, dtype=torch.float64)
    resampler = Resampler(height, width, scale, protocol, dtype=torch.float64)
    lr = resampler.shrink(hr)
    torch.testing.assert_close(lr, F.avg_pool2d(hr, scale), atol=1e-14, rtol=0)
    i0 = resampler.enlarge(lr)
    assert i0.shape == hr.shape
    rows = np.apply_along_axis(LOOPS[protocol], 2, lr.numpy(), height)
    expected = np.apply_along_axis(LOOPS[protocol], 3, rows, width)
    np.testing.assert_allclose(i0.numpy(), expected, atol=1e-12)
    torch.testing.assert_close(resampler(hr), i0)
    single = Resampler(height, width, scale, protocol)(hr.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), i0, atol=1e-6, rtol=0)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_constants_stay(protocol):
    even = torch.full((1, 3, 24, 36), 0.7, dtype=torch.float64)
    torch.testing.assert_close(Resampler(24, 36, 12, protocol, dtype=torch.float64)(even), even)


def test_the_protocols_share_the_low_resolution_picture_and_enlarge_differently():
    hr = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    aligned, torch7 = (Resampler(64, 64, 8, protocol) for protocol in PROTOCOLS)
    assert torch.equal(aligned.shrink(hr), torch7.shrink(hr))
    assert (aligned(hr) - torch7(hr)).abs().max() > 0.02


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_gradients_are_the_adjoint_maps(protocol):
    generator = torch.Generator().manual_seed(2)
    resampler = Resampler(16, 24, 4, protocol, dtype=torch.float64)
    lr = torch.rand(2, 1, 4, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(2, 1, 16, 24, generator=generator, dtype=torch.float64)
    (resampler.enlarge(lr) * weight).sum().backward()
    rows, columns = bicubic_matrix(4, 16, protocol), bicubic_matrix(6, 24, protocol)
    np.testing.assert_allclose(lr.grad.numpy(), rows.T @ weight.numpy() @ columns, atol=1e-12)


def test_the_matrices_are_no_state_but_follow_the_module():
    resampler = Resampler(16, 16, 4)
    assert not resampler.state_dict()
    assert not list(resampler.parameters())
    assert resampler.double()(torch.rand(1, 3, 16, 16, dtype=torch.float64)).dtype == torch.float64


def test_autocasting_does_not_reach_the_degradation():
    hr = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    resampler = Resampler(32, 32, 8)
    plain = resampler(hr)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(resampler(hr), plain)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((130, 128, 4), "height 130 is not a multiple of the scale 4"),
        ((128, 4, 8), "width 4 is not a multiple of the scale 8"),
        ((128, 128, 1), "at least 2, not 1"),
        ((128, 128, 2.5), "at least 2, not 2.5"),
        ((128, 128, 4.0), r"must be an integer of at least 2, not 4\.0"),
        ((128, 128, 4, "matlab"), "unknown protocol 'matlab': choose one of 'aligned', 'torch7'"),
        ((128, 128, 4, "aligned", "cpu", torch.uint8), "floating type, not in torch.uint8"),
    ],
)
def test_impossible_resamplers_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Resampler(*arguments)


@pytest.mark.parametrize(("size", "target"), [(0, 8), (8, 4)])
def test_impossible_enlargements_are_refused(size, target):
    with pytest.raises(ValueError, match=f"cannot enlarge {size} samples to {target}"):
        bicubic_matrix(size, target, "aligned")


@pytest.mark.parametrize(
    ("method", "pictures", "message"),
    [
        ("shrink", torch.zeros(1, 3, 120, 160), r"\(N, C, 160, 120\), not \(1, 3, 120, 160\)"),
        ("shrink", torch.zeros(3, 160, 120), r"not \(3, 160, 120\)"),
        ("enlarge", torch.zeros(1, 3, 160, 120), r"\(N, C, 40, 30\)"),
        ("shrink", torch.zeros(1, 3, 160, 120, dtype=torch.uint8), "torch.uint8 .* torch.float32"),
        ("enlarge", torch.zeros(1, 3, 40, 30, dtype=torch.float64), "torch.float64 .* torch.float32"),
    ],
)
def test_other_pictures_are_refused(method, pictures, message):
    with pytest.raises(ValueError, match=message):
        getattr(Resampler(160, 120, 4), method)(pictures)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_gpu_agrees_with_the_cpu(protocol):
    hr = torch.rand(4, 3, 128, 128, generator=torch.Generator().manual_seed(4))
    resampler = Resampler(128, 128, 8, protocol)
    expected = resampler(hr)
    torch.testing.assert_close(resampler.to("cuda")(hr.cuda()).cpu(), expected, atol=1e-5, rtol=0)
