"""Bicubic on real faces against known numbers: proof of the crops, the resampling and the metrics at once.

The known numbers were measured independently of this code, with scikit-image's SSIM. Beside them stands
what the paper's Table 1 prints for bicubic on LFW (funneled).
"""

import numpy as np
import pytest
import torch

from facehall_env.datasets import load_dataset
from facehall_env.metrics import fsim, psnr, ssim
from facehall_env.resample import Resampler

ROWS = [("torch7", 4), ("torch7", 8), ("aligned", 4), ("aligned", 8)]

LFW = {
    ("torch7", 4): (26.789, 0.8507, 0.892),
    ("torch7", 8): (21.896, 0.6835, 0.782),
    ("aligned", 4): (29.935, 0.8871, 0.914),
    ("aligned", 8): (24.277, 0.7262, 0.805),
}
"""PSNR in dB, SSIM on the whole test split, FSIM on 600 faces spread over it."""

PAPER = {4: (26.79, 0.8469, 0.8947), 8: (21.92, 0.6712, 0.7824)}

LFW_TWELFTH = {
    ("torch7", 4): (26.9052, 0.85183, 0.88938),
    ("torch7", 8): (21.9927, 0.68455, 0.77817),
    ("aligned", 4): (30.0947, 0.88866, 0.91192),
    ("aligned", 8): (24.3744, 0.72739, 0.80108),
}
"""The same on every twelfth face, FSIM on every fourth of those: this code's own values, which hold it in
place."""

BIOID = {
    (45, "torch7", 4): 24.78,
    (45, "torch7", 8): 20.68,
    (45, "aligned", 4): 27.34,
    (45, "aligned", 8): 23.11,
    (50, "torch7", 4): 25.42,
    (50, "torch7", 8): 21.30,
    (50, "aligned", 4): 28.18,
    (50, "aligned", 8): 23.67,
}
"""PSNR in dB on every fourth picture, by distance of the eyes, protocol and scale."""


def stack(pictures):
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


def bicubic(faces, protocol, scale):
    """Unrounded I_0 of uint8 faces (N, C, H, W), as unit float."""
    resampler = Resampler(*faces.shape[2:], scale, protocol)
    return torch.cat([resampler(part.float() / 255) for part in torch.split(faces, 64)])


@pytest.fixture(scope="module")
def lfw_test(lfw_root):
    return load_dataset("lfw", root=lfw_root, split="test")


@pytest.fixture(scope="module")
def twelfth(lfw_test):
    return stack([lfw_test[index] for index in range(0, len(lfw_test), 12)])


@pytest.fixture(scope="module")
def whole(lfw_test):
    return stack([lfw_test[index] for index in range(len(lfw_test))])


def test_lfw_test_split_has_its_official_size(lfw_test):
    assert len(lfw_test) == 3708
    assert lfw_test.shape == (128, 128, 3)


@pytest.mark.parametrize(("protocol", "scale"), ROWS)
def test_bicubic_on_every_twelfth_lfw_face(twelfth, protocol, scale):
    i0 = bicubic(twelfth, protocol, scale)
    few = slice(None, None, 4)
    db, structure, feature = LFW_TWELFTH[protocol, scale]
    assert psnr(i0, twelfth).mean().item() == pytest.approx(db, abs=0.001)
    assert ssim(i0, twelfth).mean().item() == pytest.approx(structure, abs=0.00005)
    assert fsim(i0[few], twelfth[few]).mean().item() == pytest.approx(feature, abs=0.00005)


@pytest.mark.slow
@pytest.mark.parametrize(("protocol", "scale"), ROWS)
def test_bicubic_on_the_whole_lfw_test_split(whole, protocol, scale):
    i0 = bicubic(whole, protocol, scale)
    # The 600 faces whose FSIM is known are evenly spread, positions rounded down: with every sixth face
    # instead it is 0.002 higher, with the first 600 up to 0.005.
    spread = np.linspace(0, len(whole) - 1, 600).astype(int)
    db, structure = psnr(i0, whole).mean().item(), ssim(i0, whole).mean().item()
    feature = fsim(i0[spread], whole[spread]).mean().item()
    golden = LFW[protocol, scale]
    assert db == pytest.approx(golden[0], abs=0.02)
    assert structure == pytest.approx(golden[1], abs=0.0005)
    assert feature == pytest.approx(golden[2], abs=0.002)
    if protocol == "torch7":
        paper = PAPER[scale]
        assert db == pytest.approx(paper[0], abs=0.3)
        assert structure == pytest.approx(paper[1], abs=0.015)
        assert feature == pytest.approx(paper[2], abs=0.005)


@pytest.fixture(scope="module", params=[45, 50])
def bioid_quarter(request, bioid_root):
    distance, pictures = request.param, {}
    for split in ("trainval", "test"):
        faces = load_dataset("bioid", root=bioid_root, split=split, eye_distance=distance)
        pictures |= {faces.id(index): faces[index] for index in range(len(faces))}
    if len(pictures) != 1141:
        pytest.skip(
            f"the numbers are known for another copy of BioID, with 1,141 pictures, not {len(pictures)}"
        )
    return distance, stack([pictures[name] for name in sorted(pictures)[::4]])


@pytest.mark.parametrize(("protocol", "scale"), ROWS)
def test_bicubic_on_every_fourth_bioid_face(bioid_quarter, protocol, scale):
    distance, faces = bioid_quarter
    assert faces.shape[1:] == (1, 160, 120)
    db = psnr(bicubic(faces, protocol, scale), faces).mean().item()
    assert db == pytest.approx(BIOID[distance, protocol, scale], abs=0.02)
