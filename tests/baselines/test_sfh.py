"""Structured face hallucination as a method: every kind of face, the file, what it refuses."""

import sys
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from agents.baselines import Degradation, load_hallucinator, make_hallucinator, sfh
from agents.baselines.sfh import SFH
from agents.baselines.structured.components import component_mask
from agents.landmarks import relative_errors
from facehall_env.datasets.synthetic import SyntheticFaces
from tests.small import SmallFaces

FEW: dict[str, Any] = {"exemplars": 14, "nearest": 5, "starts": 2, "stages": 2, "iterations": 25}


class GrayCrops:
    """Drawn faces as BioID's crops: gray, 160x120."""

    name, shape = "gray", (160, 120, 1)

    def __init__(self, split: str = "train", size: int = 14, known: bool = True) -> None:
        self.split, self._faces = split, SyntheticFaces(split, size, image_size=160)
        if known:
            self.landmarks = lambda index: self._faces.landmarks(index) - [20, 0]

    def __len__(self) -> int:
        return len(self._faces)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        return self._faces[index][:, 20:140, 1:2].copy()

    def id(self, index: int) -> str:
        return self._faces.id(index)


def batch(dataset: Any, count: int) -> torch.Tensor:
    pictures = np.stack([dataset[i] for i in range(count)])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255


@pytest.fixture(scope="module")
def fitted() -> SFH:
    return SFH(Degradation(scale=8), **FEW).fit(SyntheticFaces("train"))


@pytest.fixture(scope="module")
def high() -> torch.Tensor:
    return batch(SyntheticFaces("test"), 3)


def test_it_is_sharper_than_bicubic_and_shrinks_to_its_input(fitted: SFH, high: torch.Tensor) -> None:
    low = fitted.resampler.shrink(high)
    answer, initial = fitted.hallucinate(low), fitted.initial(low).clamp(0, 1)
    assert answer.shape == high.shape
    assert (fitted.resampler.shrink(answer) - low).abs().mean() < 0.01
    assert answer.diff(dim=3).abs().mean() > 1.1 * initial.diff(dim=3).abs().mean()
    # Not like noise: it stays about as near to the face as bicubic is.
    assert (answer - high).square().mean() < 1.5 * (initial - high).square().mean()


def test_landmarks_are_found_on_the_blurred_face(fitted: SFH, high: torch.Tensor) -> None:
    true = np.stack([SyntheticFaces("test").landmarks(i) for i in range(3)])
    assert relative_errors(fitted.find_landmarks(fitted.resampler(high)), true).mean() < 0.08


def test_colour_is_that_of_the_input(fitted: SFH, high: torch.Tensor) -> None:
    low = fitted.resampler.shrink(high)
    answer, initial = fitted(low), fitted.initial(low)
    torch.testing.assert_close(answer[:, 0] - answer[:, 2], initial[:, 0] - initial[:, 2], atol=1e-5, rtol=0)


def test_a_face_is_answered_alike_alone_and_in_a_batch(fitted: SFH, high: torch.Tensor) -> None:
    low = fitted.resampler.shrink(high)
    alone = torch.cat([fitted.hallucinate(face) for face in low.split(1)])
    torch.testing.assert_close(fitted.hallucinate(low), alone, atol=1e-3, rtol=0)


def test_components_reach_no_further_than_their_masks(
    fitted: SFH, high: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def target() -> torch.Tensor:
        low = sfh.luminance(fitted.resampler.shrink(high[:1]))[0, 0]
        smooth = sfh.luminance(fitted.resampler(high[:1]))[0, 0]
        points = SyntheticFaces("test").landmarks(0)
        return fitted.target_gradients(low, smooth, points, fitted.exemplars.numpy())

    points = SyntheticFaces("test").landmarks(0)
    masks = [component_mask(points, c, 128, 128) for c in sfh.COMPONENTS]
    inside = torch.stack(masks).amax(0) > 0
    everything = target()
    monkeypatch.setattr(sfh, "COMPONENTS", {})
    changed = (everything - target()).abs().amax(0) > 0
    assert changed[inside].float().mean() > 0.9
    assert not changed[~inside].any()


@pytest.mark.parametrize("protocol", ["aligned", "torch7"])
@pytest.mark.parametrize("scale", [4, 8])
def test_gray_crops_at_both_scales_under_both_protocols(scale: int, protocol: str) -> None:
    degradation = Degradation(1, 160, 120, scale, protocol)  # type: ignore[arg-type]
    method = SFH(degradation, **FEW).fit(GrayCrops())
    assert method.budget.startswith("14 exemplars of gray (train), their landmarks by dataset; ")
    assert method.budget.endswith(" min on cpu")
    high = batch(GrayCrops("test"), 1)
    low = method.resampler.shrink(high)
    answer = method.hallucinate(low)
    assert answer.shape == high.shape
    assert (method.resampler.shrink(answer) - low).abs().mean() < 0.02


def test_a_file_gives_back_the_same_answers(fitted: SFH, high: torch.Tensor, tmp_path: Any) -> None:
    fitted.save(tmp_path / "sfh.safetensors")
    loaded = load_hallucinator(tmp_path / "sfh.safetensors")
    assert isinstance(loaded, SFH)
    assert loaded.settings == fitted.settings
    assert loaded.budget.startswith("14 exemplars of synthetic (train), their landmarks by dataset; ")
    low = fitted.resampler.shrink(high[:1])
    assert torch.equal(loaded.hallucinate(low), fitted.hallucinate(low))


def test_faces_without_landmarks_borrow_those_of_drawn_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sfh, "_DRAWN_FACES", 6)
    method = SFH(Degradation(1, 160, 120, 8), **FEW).fit(GrayCrops(known=False))
    assert "their landmarks by drawn; " in method.budget


def test_landmarks_by_dlib_without_dlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(ValueError, match=r"landmarks is 'dlib', but dlib is not installed.*facehall\[dlib\]"):
        SFH(Degradation(3, 16, 16, 4), landmarks="dlib").fit(SmallFaces())


def test_what_it_refuses() -> None:
    small = Degradation(3, 16, 16, 4)
    with pytest.raises(ValueError, match="has no landmarks of its own"):
        SFH(small, landmarks="dataset").fit(SmallFaces())
    with pytest.raises(ValueError, match="at least two faces"):
        SFH(small).fit(SmallFaces(1))
    for wrong in ({"nearest": 0}, {"fidelity": 0.0}, {"landmarks": "eyes"}, {"stages": 0}, {"exemplars": 1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            make_hallucinator("sfh", small, **wrong)
