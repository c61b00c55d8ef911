"""Image quality as the paper reports it: PSNR, SSIM and FSIM of batches of pictures, on any device.

Every metric takes two batches of the same shape (N, C, H, W), the restored pictures and the true ones, with
C = 3 (RGB) or 1 (gray), either uint8 or float with black = 0 and white = 1, and returns one float64 value
per picture (N,). Floats are first clamped and rounded to 8 bits, since that is the picture a user would save
and see. No border is cropped. Swapping the two batches changes no value.

Large batches are worked off in small pieces, so that memory stays small and the CPU's cache is used.
Apple's GPUs have no double precision: pictures there are measured on the CPU, and the values stay there.

Example:
    >>> import torch
    >>> from facehall_env.metrics import measure
    >>> truth = torch.rand(2, 3, 128, 128)
    >>> {name: values.shape for name, values in measure(truth * 0.9, truth).items()}
    {'psnr': torch.Size([2]), 'psnr_y': torch.Size([2]), 'ssim': torch.Size([2]), 'fsim': torch.Size([2])}
"""

import torch
from torch import Tensor

from facehall_env.metrics.features import feature_similarity
from facehall_env.metrics.fidelity import signal_to_noise
from facehall_env.metrics.pixels import MetricInputError, compare, luma, quantise
from facehall_env.metrics.structure import structural_similarity

__all__ = ["METRICS", "MetricInputError", "fsim", "luma", "measure", "psnr", "psnr_y", "quantise", "ssim"]

METRICS = ("psnr", "psnr_y", "ssim", "fsim")
"""The keys of :func:`measure`, in this order."""


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """Peak signal-to-noise ratio, ``10 log10(255^2 / MSE)``, over all pixels and channels of each picture.

    Args:
        x: Pictures (N, C, H, W), uint8 or unit float.
        y: Pictures of the same shape.

    Returns:
        Decibels (N,), float64. Identical pictures give ``inf``, and so does then the mean over a data set.

    Raises:
        MetricInputError: If the two are not batches of pictures that can be compared.
    """
    return compare(x, y, signal_to_noise)


def psnr_y(x: Tensor, y: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of the luma, today's convention in super-resolution.

    The luma is MATLAB's rounded Y (:func:`luma`), the same that SSIM and FSIM see; the peak is 255 although
    this Y ends at 235, as everywhere in that literature. Gray pictures are their own luma, so this is
    :func:`psnr`.

    Args:
        x: Pictures (N, C, H, W), uint8 or unit float.
        y: Pictures of the same shape.

    Returns:
        Decibels (N,), float64; ``inf`` where the lumas are identical.

    Raises:
        MetricInputError: If the two are not batches of pictures that can be compared.
    """
    return compare(x, y, lambda a, b: signal_to_noise(luma(a), luma(b)))


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity of the luma: Wang et al., IEEE TIP 13(4), 2004, Eq. (13), averaged, Eq. (17).

    Gaussian 11 x 11 window with sigma 1.5, K1 = 0.01, K2 = 0.03, data range 255, population covariance,
    mean over the positions where the window lies inside the picture: scikit-image's
    ``structural_similarity`` with ``gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
    data_range=255`` on :func:`luma`.

    Args:
        x: Pictures (N, C, H, W), uint8 or unit float, at least 11 x 11.
        y: Pictures of the same shape.

    Returns:
        Similarity (N,), float64, at most 1.

    Raises:
        MetricInputError: If the two are not batches of pictures that can be compared.
    """
    return compare(x, y, lambda a, b: structural_similarity(luma(a), luma(b)))


def fsim(x: Tensor, y: Tensor) -> Tensor:
    """Feature similarity of the luma, FSIM without colour: Zhang et al., IEEE TIP 20(8), 2011, Eq. (9).

    Agrees with the authors' MATLAB code to 1e-6; see :mod:`facehall_env.metrics.features`.

    Args:
        x: Pictures (N, C, H, W), uint8 or unit float, at least 2 x 2.
        y: Pictures of the same shape.

    Returns:
        Similarity (N,), float64, in (0, 1].

    Raises:
        MetricInputError: If the two are not batches of pictures that can be compared.
    """
    return compare(x, y, lambda a, b: feature_similarity(luma(a), luma(b)))


def measure(x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """All metrics of a batch, sharing the rounding and the luma.

    Args:
        x: Pictures (N, C, H, W), uint8 or unit float, at least 11 x 11.
        y: Pictures of the same shape.

    Returns:
        ``{"psnr": (N,), "psnr_y": (N,), "ssim": (N,), "fsim": (N,)}``, float64, as the functions of these
        names return them.

    Raises:
        MetricInputError: If the two are not batches of pictures that can be compared.
    """
    values = compare(x, y, _measure)
    return dict(zip(METRICS, values.unbind(1), strict=True))


def _measure(x: Tensor, y: Tensor) -> Tensor:
    luma_x, luma_y = luma(x), luma(y)
    values = (
        signal_to_noise(x, y),
        signal_to_noise(luma_x, luma_y),
        structural_similarity(luma_x, luma_y),
        feature_similarity(luma_x, luma_y),
    )
    return torch.stack(values, dim=1)
