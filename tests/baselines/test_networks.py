"""The networks against their specification, and whether each can learn at all."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from agents.baselines import Degradation, Hallucinator, load_hallucinator, make_hallucinator
from agents.baselines.recipes import TrainingConfig
from agents.faces import face_batch
from facehall_env.datasets.synthetic import draw_face
from facehall_env.metrics import psnr
from tests.small import SmallFaces

LFW_X8, LFW_X4 = Degradation(3, 128, 128, 8), Degradation(3, 128, 128, 4)
BIOID_X8, BIOID_X4 = Degradation(1, 160, 120, 8), Degradation(1, 160, 120, 4)

SMALL_SETTINGS = {
    "srcnn": {"widths": (8, 4)},
    "vdsr": {"depth": 4, "width": 8},
    "cnn16": {"depth": 3, "width": 8},
    "gln": {"hidden": (8, 8), "widths": (4, 4, 4, 4, 4, 4, 4)},
    "bccnn": {"hidden": 8},
    "edsr": {"features": 8, "blocks": 1},
    "spatial_transformer": {
        "preset": "tiny",
        "horizon": 2,
        "picture_features": 4,
        "history_features": 4,
        "lstm_features": 4,
    },
}


def make(name: str, degradation: Degradation, seed: int = 0, **settings: object) -> Hallucinator:
    torch.manual_seed(seed)
    return make_hallucinator(name, degradation, **settings)


def conv(kernel: int, before: int, after: int) -> int:
    return kernel * kernel * before * after + after


def fc(*sizes: int) -> int:
    return sum(before * after + after for before, after in pairwise(sizes))


def ln8(channels: int) -> int:
    widths = (2 * channels, 16, 32, 64, 64, 64, 32, 16, channels)
    return sum(map(conv, (5, 7, 7, 7, 7, 7, 5, 5), widths[:-1], widths[1:]))


def bccnn(channels: int, pixels: int) -> int:
    features = conv(5, channels, 32) + conv(3, 32, 64) + conv(3, 64, 128)
    return features + fc(2048, 2000, pixels) + fc(2048, 100, 1)


def edsr(channels: int, features: int, blocks: int, scale: int) -> int:
    body = conv(3, channels, features) + 2 * blocks * conv(3, features, features)
    return body + conv(3, features, channels * scale**2)


@pytest.mark.parametrize(
    ("name", "degradation", "settings", "weights"),
    [
        ("srcnn", LFW_X8, {}, conv(9, 3, 64) + conv(1, 64, 32) + conv(5, 32, 3)),
        ("srcnn", BIOID_X4, {}, conv(9, 1, 64) + conv(1, 64, 32) + conv(5, 32, 1)),
        ("srcnn", LFW_X4, {"kernels": (9, 5, 5)}, conv(9, 3, 64) + conv(5, 64, 32) + conv(5, 32, 3)),
        ("vdsr", LFW_X8, {}, conv(3, 3, 64) + 18 * conv(3, 64, 64) + conv(3, 64, 3)),
        ("cnn16", BIOID_X8, {}, conv(3, 1, 64) + 14 * conv(3, 64, 64) + conv(3, 64, 1)),
        ("gln", LFW_X8, {}, conv(16, 3, 3) + fc(768, 256, 256, 256, 49152) + ln8(3)),
        ("gln", LFW_X4, {}, conv(8, 3, 3) + fc(3072, 512, 256, 512, 49152) + ln8(3)),
        ("gln", BIOID_X8, {}, conv(16, 1, 1) + fc(300, 256, 256, 256, 19200) + ln8(1)),
        ("bccnn", LFW_X8, {}, bccnn(3, 49152)),
        ("bccnn", BIOID_X4, {}, bccnn(1, 19200)),
        ("edsr", LFW_X8, {}, edsr(3, 64, 8, 8) + 64 * 16 * 16),
        ("edsr", BIOID_X4, {"features": 16, "blocks": 2, "placed": False}, edsr(1, 16, 2, 4)),
    ],
)
def test_weights_are_those_of_the_specification(
    name: str, degradation: Degradation, settings: dict, weights: int
) -> None:
    method = make_hallucinator(name, degradation, **settings)
    assert method.parameter_count == weights
    assert method.protocols == (("aligned", "torch7") if name in ("gln", "edsr") else ("aligned",))


@pytest.mark.parametrize("name", SMALL_SETTINGS)
@pytest.mark.parametrize("degradation", [LFW_X8, LFW_X4, BIOID_X8, BIOID_X4], ids=str)
def test_every_size_and_scale_and_the_way_through_a_file(
    name: str, degradation: Degradation, tmp_path
) -> None:
    method = make(name, degradation, **SMALL_SETTINGS[name])
    method.fitted = True
    method.save(tmp_path / "method.safetensors")
    loaded = load_hallucinator(tmp_path / "method.safetensors")
    low = torch.rand(2, *degradation.low_shape, generator=torch.Generator().manual_seed(0))
    made = method.hallucinate(low)
    assert made.shape == (2, *degradation.high_shape)
    assert torch.equal(loaded.hallucinate(low), made)
    assert loaded.settings == method.settings
    for row in range(2):
        torch.testing.assert_close(method.hallucinate(low[row : row + 1])[0], made[row], rtol=0, atol=1e-5)


class FourFaces(SmallFaces):
    """Four drawn faces of 16x16, drawn once."""

    def __init__(self) -> None:
        super().__init__(4)
        drawn = [draw_face(seed, 32) for seed in range(4)]
        self._faces = [face.reshape(16, 2, 16, 2, 3).mean((1, 3)).astype(np.uint8) for face in drawn]

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        return self._faces[index]


@pytest.mark.parametrize(
    ("name", "settings", "updates", "rate", "gain"),
    [
        ("srcnn", {"widths": (16, 16)}, 300, 5e-3, 1.3),
        ("vdsr", {"depth": 4, "width": 16}, 150, 1e-2, 0.9),
        ("cnn16", {"depth": 5, "width": 16}, 150, 1e-2, 1.1),
        ("gln", {"hidden": (32, 32), "widths": (8,) * 7}, 150, 5e-3, 1.2),
        ("bccnn", {"hidden": 32}, 150, 3e-3, 1.5),
        ("edsr", {"features": 32, "blocks": 2}, 150, 5e-3, 20.0),  # it knows where each pixel lies
    ],
)
def test_four_faces_are_overfitted(name: str, settings: dict, updates: int, rate: float, gain: float) -> None:
    faces = FourFaces()
    method = make(name, Degradation.of(faces, 4), **settings)
    recipe = replace(method.recipe, updates=updates, batch_size=4, learning_rate=rate, warmup=10, flip=False)
    method.recipe = replace(recipe, slow_share=1.0) if name == "srcnn" else recipe
    method.expects_pretraining = False
    method.fit(faces)
    truth = face_batch(faces, range(4)).float() / 255
    low = method.resampler.shrink(truth)
    bicubic = psnr(method.initial(low).clamp(0, 1), truth).mean()
    assert psnr(method.hallucinate(low), truth).mean() > bicubic + gain
    assert method.budget.startswith(f"{updates} updates of 4 faces ({updates:.1f} passes over 4); ")


def test_networks_start_where_they_should() -> None:
    faces = face_batch(SmallFaces(2), range(2)).float() / 255
    degradation = Degradation(3, 16, 16, 4)
    vdsr, gln = make("vdsr", degradation), make("gln", degradation)
    low = degradation.resampler().shrink(faces)
    upsampled = torch.nn.functional.interpolate(low, scale_factor=4, mode="bilinear", align_corners=False)
    inside = (..., slice(2, -2), slice(2, -2))  # beyond the edges the transposed convolution sees zeros
    torch.testing.assert_close(gln.upsampling(low)[inside], upsampled[inside], rtol=0, atol=1e-6)
    for weight in vdsr.parameters():
        with torch.no_grad():
            weight.zero_()
    assert torch.equal(vdsr(low), vdsr.initial(low))


def test_bccnn_normalises_the_brightness_of_every_picture() -> None:
    """Brighter and flatter by an affine map of pixels: the picture it paints follows."""
    degradation = Degradation(3, 32, 32, 4)
    method = make("bccnn", degradation, **SMALL_SETTINGS["bccnn"])
    low = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(method(0.5 * low + 0.2), 0.5 * method(low) + 0.2, rtol=0, atol=0.01)
        assert torch.isfinite(method(torch.full((1, 3, 8, 8), 0.5))).all()


@pytest.mark.parametrize(
    ("name", "degradation", "settings", "named"),
    [
        ("srcnn", LFW_X8, {"kernels": (9, 2, 5)}, r"kernels\[1\] is 2, but it must be odd"),
        ("srcnn", LFW_X8, {"widths": (0, 32)}, r"widths\[0\] is 0"),
        ("vdsr", LFW_X8, {"depth": 1}, "depth is 1"),
        ("gln", Degradation(3, 27, 27, 3), {}, "scale is 3.*even"),
        ("gln", LFW_X8, {"widths": (1, 2)}, "widths is .* must name 7"),
        ("bccnn", Degradation(3, 128, 128, 2), {}, "at most|48x48, but these have 64x64"),
        ("bccnn", LFW_X8, {"hidden": 0}, "hidden is 0"),
        ("vdsr", LFW_X8, {"residual": True}, "vdsr cannot be made: .*'residual'"),
    ],
)
def test_settings_out_of_range_are_named(
    name: str, degradation: Degradation, settings: dict, named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        make_hallucinator(name, degradation, **settings)


@pytest.mark.parametrize(
    "changes",
    [
        {"updates": -1},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"schedule": "linear"},
        {"optimizer": "lion"},
        {"loss": "l1"},
        {"clip": "value"},
        {"precision": "float16"},
    ],
)
def test_recipes_out_of_range_are_named(changes: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        TrainingConfig(**changes)
