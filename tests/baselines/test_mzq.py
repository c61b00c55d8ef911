"""MZQ: the closed form against the literal one, what it can rebuild exactly, and real faces."""

import numpy as np
import pytest
import torch
from torch import Tensor

from agents.baselines import Degradation, load_hallucinator, make_hallucinator
from agents.baselines.mzq import MZQ
from agents.faces import face_batch
from facehall_env.datasets import load_dataset
from facehall_env.metrics import psnr
from tests.small import SmallFaces


def drawn(size: int, shape: tuple[int, int, int]) -> SmallFaces:
    return SmallFaces(size, shape=shape)


def small(degradation: Degradation, dataset: SmallFaces) -> tuple[Tensor, Tensor]:
    faces = face_batch(dataset, range(len(dataset))).float() / 255
    return degradation.resampler().shrink(faces), faces


SHAPES = [
    (Degradation(3, 32, 32, 4), {"patch_size": 6, "overlap": 4}),
    (Degradation(1, 40, 30, 5), {"patch_size": 3, "overlap": 1}),  # the last column snaps to the edge
    (Degradation(3, 16, 24, 8), {"patch_size": 2, "overlap": 0}),
    (Degradation(3, 16, 24, 8), {"patch_size": 2, "overlap": 0, "share_channels": True}),
]


@pytest.mark.parametrize(("degradation", "settings"), SHAPES)
@pytest.mark.parametrize("faces", [5, 90])
def test_closed_form_is_the_literal_one(degradation: Degradation, settings: dict, faces: int) -> None:
    dataset = drawn(faces, (degradation.height, degradation.width, degradation.channels))
    closed = MZQ(degradation, **settings).fit(dataset)
    literal = MZQ(degradation, **settings, mode="exemplar", exemplars=faces).fit(dataset)
    unseen, _ = small(degradation, drawn(faces + 3, dataset.shape))
    torch.testing.assert_close(
        closed.hallucinate(unseen[-3:]), literal.hallucinate(unseen[-3:]), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("mode", ["closed", "exemplar"])
def test_faces_it_knows_come_back(mode: str) -> None:
    degradation = Degradation(3, 32, 32, 4)
    dataset = drawn(4, (32, 32, 3))
    method = MZQ(degradation, ridge=1e-9, mode=mode).fit(dataset)
    low, faces = small(degradation, dataset)
    torch.testing.assert_close(method.hallucinate(low), faces, rtol=0, atol=1e-3)


def test_map_of_pixels_is_learned_whatever_the_position() -> None:
    """Faces that are constant on every 4x4 block: the high-resolution pixel is the low-resolution one."""

    class Blocks(SmallFaces):
        def __getitem__(self, index: int):
            blocks = np.random.default_rng(index).integers(0, 256, (4, 4, 3), dtype=np.uint8)
            return blocks.repeat(4, 0).repeat(4, 1)

    degradation = Degradation(3, 16, 16, 4)
    method = MZQ(degradation, patch_size=2, overlap=1, ridge=1e-7).fit(Blocks(300))
    low, faces = small(degradation, Blocks(302))
    torch.testing.assert_close(method.hallucinate(low[300:]), faces[300:], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("degradation", "positions", "d"),
    [
        (Degradation(3, 128, 128, 8), 36, 108),
        (Degradation(3, 128, 128, 4), 196, 108),
        (Degradation(1, 160, 120, 8), 8 * 6, 36),
        (Degradation(1, 160, 120, 4), 18 * 13, 36),
    ],
)
def test_shapes_are_those_of_the_specification(degradation: Degradation, positions: int, d: int) -> None:
    method = MZQ(degradation)
    assert method.matrix.shape == (positions, d * degradation.scale**2, d)
    assert method.parameter_count == positions * d * degradation.scale**2 * (d + 1)
    assert method._count.min() == 1
    assert set(method.protocols) == {"aligned", "torch7"}


@pytest.mark.parametrize("mode", ["closed", "exemplar"])
def test_file_keeps_what_was_learned(tmp_path, mode: str) -> None:
    degradation = Degradation(1, 40, 30, 5)
    method = MZQ(degradation, patch_size=3, overlap=1, mode=mode, exemplars=50).fit(drawn(7, (40, 30, 1)))
    method.save(tmp_path / "mzq.safetensors")
    loaded = load_hallucinator(tmp_path / "mzq.safetensors")
    low, _ = small(degradation, drawn(2, (40, 30, 1)))
    assert torch.equal(loaded.hallucinate(low), method.hallucinate(low))
    assert loaded.budget.startswith("7 faces, ")
    assert loaded.fitted


def test_exemplars_are_a_seeded_choice() -> None:
    degradation, dataset = Degradation(3, 16, 16, 8), drawn(40, (16, 16, 3))
    made = [
        MZQ(degradation, patch_size=2, overlap=1, mode="exemplar", exemplars=5, seed=seed).fit(dataset).faces
        for seed in (0, 0, 1)
    ]
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
    assert len(made[0]) == 5


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"patch_size": 17}, "patch_size is 17, but the pictures have 16x16"),
        ({"overlap": 6}, "overlap is 6, but it must be less than patch_size, 6"),
        ({"ridge": 0.0}, "ridge is 0.0"),
        ({"mode": "both"}, "mode is 'both'"),
        ({"exemplars": 1}, "exemplars is 1"),
    ],
)
def test_settings_out_of_range_are_named(settings: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        make_hallucinator("mzq", Degradation(), **settings)


# --- real faces ---


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "golden"), [(8, 25.636), (4, 31.547)])
def test_golden_numbers_on_lfw(lfw_root, scale: int, golden: float) -> None:
    """Those of one map for all channels; the channels as one vector are 0.05 dB better at x8."""
    train = load_dataset("lfw", root=lfw_root, split="trainval")
    test = load_dataset("lfw", root=lfw_root, split="test")
    assert len(train) == 9525
    method = MZQ(Degradation.of(train, scale), share_channels=True).fit(train)
    values = []
    for start in range(0, len(test), 64):
        faces = face_batch(test, range(start, min(len(test), start + 64)))
        small = method.resampler.shrink(faces.float() / 255)
        values.append(psnr(method.hallucinate(small), faces))
    assert torch.cat(values).mean().item() == pytest.approx(golden, abs=0.005)
