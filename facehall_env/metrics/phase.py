"""Phase congruency: Kovesi, "Image features from phase congruency", Videre 1(3), 1999, as FSIM uses it.

A feature is where the Fourier components of a picture are in phase. Log-Gabor filters of several scales and
orientations split the picture into pairs of even and odd responses; their sum's length, less what the
components' phases deviate and less what noise alone would give, over the sum of their lengths, is the phase
congruency.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SCALES = 4
ORIENTATIONS = 4
SHORTEST_WAVELENGTH = 6.0
WAVELENGTH_RATIO = 2.0
SIGMA_ON_F = 0.55
"""Ratio of a log-Gabor filter's radial deviation to its centre frequency; smaller means a wider band."""
THETA_ON_SIGMA = 1.2
"""Ratio of the angle between orientations to the angular deviation of a filter."""
NOISE_DEVIATIONS = 2.0
"""k: how many deviations above its mean the energy of noise is cut off."""
NOISE_RESCALING = 1.7
"""The noise energy is derived for a simpler measure and about this much too large here, says Kovesi."""
CUTOFF, SHARPNESS = 0.45, 15
"""Butterworth low-pass that keeps the filters away from the corners of the spectrum."""
EPSILON = 1e-4


def phase_congruency(x: Tensor) -> Tensor:
    """Phase congruency at every pixel.

    Args:
        x: Luma 0..255 (N, H, W).

    Returns:
        Values (N, H, W) in [0, 1], of the same type.
    """
    height, width = x.shape[1:]
    bank = _filter_bank(height, width, x.device, x.dtype)
    spectrum = torch.fft.rfft2(x).unsqueeze(1)
    quadrature = -1j * spectrum
    energy, amplitude = torch.zeros_like(x), torch.zeros_like(x)
    for orientation in range(ORIENTATIONS):
        even = torch.fft.irfft2(spectrum * bank.even[orientation], s=(height, width))
        odd = torch.fft.irfft2(quadrature * bank.odd[orientation], s=(height, width))
        power = even * even + odd * odd
        noise = bank.noise[orientation] * _median(power[:, 0].flatten(1)).sqrt()
        amplitude += power.sqrt_().sum(1)
        energy += (_energy(even, odd) - noise[:, None, None]).clamp_(min=0)
    # The bound matters only where the picture is even, where energy and amplitude are rounding errors.
    return energy / amplitude.clamp_(min=EPSILON)


def _energy(even: Tensor, odd: Tensor) -> Tensor:
    """Sum over scales of ``A (cos(d) - abs(sin(d)))``, where d is the deviation from the mean phase.

    Args:
        even: Even responses (N, scales, H, W).
        odd: Odd responses of the same shape.

    Returns:
        Energy (N, H, W).
    """
    sum_even, sum_odd = even.sum(1), odd.sum(1)
    squared = sum_even * sum_even + sum_odd * sum_odd
    length = squared.sqrt() + EPSILON
    mean_even, mean_odd = (sum_even / length).unsqueeze(1), (sum_odd / length).unsqueeze(1)
    # The cosine terms are linear in the responses: summed over the scales they give squared / length.
    return squared / length - (even * mean_odd - odd * mean_even).abs_().sum(1)


def _median(x: Tensor) -> Tensor:
    """Median of each row of (N, M); for even M the mean of the middle two, of which torch takes the lower."""
    size = x.shape[1]
    lower = x.kthvalue((size + 1) // 2, dim=1).values
    return lower if size % 2 else (lower + x.kthvalue(size // 2 + 1, dim=1).values) / 2


@dataclass(frozen=True)
class _FilterBank:
    """Transfer functions for one picture size.

    A filter's response to a real picture is complex, its real and imaginary part being the responses to an
    even and an odd filter. Split into their even and odd parts, all filters need only real transforms.
    """

    even: Tensor
    """Even parts, (orientations, scales, H, W // 2 + 1)."""
    odd: Tensor
    """Odd parts, of the same shape."""
    noise: tuple[float, ...]
    """Noise threshold of each orientation over the root of the median power at the smallest scale."""


@lru_cache(maxsize=8)
def _filter_bank(height: int, width: int, device: torch.device, dtype: torch.dtype) -> _FilterBank:
    x, y = np.meshgrid(_frequencies(width), _frequencies(height))
    radius = np.fft.ifftshift(np.hypot(x, y))
    angle = np.fft.ifftshift(np.arctan2(-y, x))
    radial = _radial_filters(radius)
    even, odd, noise = [], [], []
    for orientation in range(ORIENTATIONS):
        filters = radial * _angular_filter(angle, orientation * math.pi / ORIENTATIONS)
        reflected = np.roll(filters[:, ::-1, ::-1], (1, 1), axis=(1, 2))  # the value at minus the frequency
        even.append((filters + reflected) / 2)
        odd.append((filters - reflected) / 2)
        noise.append(_noise_factor(filters[0], even[-1]))
    half = width // 2 + 1
    return _FilterBank(
        even=torch.tensor(np.stack(even)[..., :half], device=device, dtype=dtype),
        odd=torch.tensor(np.stack(odd)[..., :half], device=device, dtype=dtype),
        noise=tuple(noise),
    )


def _frequencies(size: int) -> NDArray[np.float64]:
    """Frequencies -0.5..0.5 with zero in the middle, as the MATLAB code scales them for odd sizes too."""
    if size % 2:
        return (np.arange(size) - (size - 1) / 2) / (size - 1)
    return (np.arange(size) - size / 2) / size


def _radial_filters(radius: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-Gabor functions of the frequency (scales, H, W), zero at zero frequency."""
    low_pass = 1 / (1 + (radius / CUTOFF) ** (2 * SHARPNESS))
    radius = radius.copy()
    radius[0, 0] = 1.0  # any value: its logarithm is not used
    wavelengths = SHORTEST_WAVELENGTH * WAVELENGTH_RATIO ** np.arange(SCALES)
    ratio = np.log(radius * wavelengths[:, None, None])
    filters = np.exp(-(ratio**2) / (2 * math.log(SIGMA_ON_F) ** 2)) * low_pass
    filters[:, 0, 0] = 0.0
    return np.asarray(filters)


def _angular_filter(angle: NDArray[np.float64], orientation: float) -> NDArray[np.float64]:
    difference = angle - orientation
    distance = np.abs(np.arctan2(np.sin(difference), np.cos(difference)))
    sigma = math.pi / ORIENTATIONS / THETA_ON_SIGMA
    return np.asarray(np.exp(-(distance**2) / (2 * sigma**2)))


def _noise_factor(smallest: NDArray[np.float64], even: NDArray[np.float64]) -> float:
    """Noise threshold of one orientation over the root of the median power at the smallest scale.

    The power of white noise behind the smallest filter is exponentially distributed, so its mean is the
    median over ln 2. Passed through all scales, whose impulse responses add up, it gives a Rayleigh
    distributed length.

    Args:
        smallest: Filter of the smallest scale (H, W).
        even: Even parts of all filters of the orientation (scales, H, W).
    """
    noise_power = 1 / (math.log(2) * np.sum(smallest**2))
    rayleigh = math.sqrt(noise_power * np.sum(even.sum(0) ** 2))
    mean, deviation = rayleigh * math.sqrt(math.pi / 2), rayleigh * math.sqrt(2 - math.pi / 2)
    return (mean + NOISE_DEVIATIONS * deviation) / NOISE_RESCALING
