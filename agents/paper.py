"""The numbers that Cao et al. (CVPR 2017) print in their Tables 1 to 4, to stand beside ours."""

from typing import NamedTuple


class PaperRow(NamedTuple):
    """What the paper prints for one method, data set and scale; None where this module does not hold it."""

    psnr: float
    ssim: float | None = None
    fsim: float | None = None


# Table 1, and Tables 2 and 3 for the variants of the method: PSNR on LFW x4, LFW x8, BioID x4, BioID x8.
_COLUMNS = (("lfw", 4), ("lfw", 8), ("bioid", 4), ("bioid", 8))
_PSNR = {
    "bicubic": (26.79, 21.92, 25.18, 20.68),
    "sfh": (26.59, 22.12, 25.41, 20.31),
    "bccnn": (26.60, 22.62, 24.77, 21.40),
    "mzq": (25.93, 22.12, 24.66, 21.11),
    "srcnn": (28.94, 23.92, 27.02, 22.34),
    "vdsr": (29.25, 24.12, 28.52, 24.31),
    "gln": (30.34, 24.51, 29.13, 24.76),
    "attention_fh": (32.93, 26.17, 31.56, 26.56),
    # Table 2: the number of steps.
    "attention_fh_t5": (28.89, 23.55),
    "attention_fh_t15": (31.51, 25.25),
    "attention_fh_t25": (32.93, 26.17),
    "attention_fh_t35": (32.91, 26.31),
    # Table 3: what each part is worth.
    "cnn16": (29.11, 24.02),
    "whole_image": (32.26, 25.71),  # "w/o attention"
    "random_patch": (31.60, 25.76),
    "initial_input": (32.10, 25.92),  # "I_0"
    "spatial_transformer": (28.13, 25.75),
}
_SSIM_FSIM = {
    ("bicubic", "lfw", 4): (0.8469, 0.8947),
    ("bicubic", "lfw", 8): (0.6712, 0.7824),
    ("attention_fh", "lfw", 4): (0.9104, 0.9427),
    ("attention_fh", "lfw", 8): (0.7604, 0.8630),
    ("attention_fh", "bioid", 4): (0.9002, 0.9343),
    ("attention_fh", "bioid", 8): (0.7864, 0.8748),
}

SECONDS = {"srcnn": 0.020, "vdsr": 0.100, "attention_fh": 0.081}
"""Table 4: seconds for one picture of 128x128 pixels on a Titan X."""


def paper_row(method: str, dataset: str, scale: int) -> PaperRow | None:
    """What the paper prints for a method, or None if it prints nothing.

    The paper's input pictures are those of the protocol "torch7", on LFW funneled (ours is deep-funneled by
    default) and BioID.

    Args:
        method: A method's name, as in a record.
        dataset: A data set's name; every name that begins with "lfw" is LFW.
        scale: Up-scaling factor.
    """
    dataset = "lfw" if dataset.startswith("lfw") else dataset
    values = dict(zip(_COLUMNS, _PSNR.get(method, ()), strict=False))
    if (dataset, scale) not in values:
        return None
    return PaperRow(values[dataset, scale], *_SSIM_FSIM.get((method, dataset, scale), (None, None)))
