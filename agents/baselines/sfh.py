"""Structured face hallucination: facial components, edges and texture, each from where it is known best.

Yang, Liu and Yang, "Structured Face Hallucination", CVPR 2013. On luminance; colour comes from I_0 (adding
the same to R, G and B changes Y of YIQ and leaves I and Q as they are).

1. 68 landmarks on I_0.
2. Texture gradients from small patches of the nearest exemplar faces (`structured.texture`).
3. Edge gradients from an up-sampling along edges, made as steep as a table says (`structured.edges`).
4. Gradients of mouth, brows, eyes and nose, each from one exemplar (`structured.components`).
5. The picture that has these gradients and shrinks to the given one (`structured.reconstruction`).

Differences from Yang et al.: the landmarks come from a supervised descent trained on the I_0 of the
exemplars, so that it knows blurred (and, with ``torch7``, stretched) faces; exemplars with glasses are not
set apart; in step 5 the given picture weighs ``fidelity`` = 1,000 times the gradients, not once, so that what
is known is kept.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from agents.baselines.contract import Degradation, Hallucinator
from agents.baselines.structured.components import COMPONENTS, match_component
from agents.baselines.structured.edges import EdgeTable, smooth_picture
from agents.baselines.structured.exemplars import similarities, warp
from agents.baselines.structured.gradients import gradients
from agents.baselines.structured.reconstruction import reconstruct
from agents.baselines.structured.texture import texture_picture
from agents.landmarks.dlib68 import DlibPredictor
from agents.landmarks.points import LandmarkPredictor, Pictures, Points
from agents.landmarks.sdm import SDM, SDMConfig
from agents.landmarks.sources import KnowsLandmarks, annotate, degraded
from facehall_env.arguments import one_of, whole
from facehall_env.datasets import FaceDataset
from facehall_env.datasets.synthetic import SyntheticFaces
from facehall_env.resample import Resampler

LandmarkSource = Literal["auto", "dataset", "drawn", "dlib"]
_TABLE_FACES: Final = 100
_DRAWN_FACES: Final = 300
_LUMA: Final = (0.299, 0.587, 0.114)  # Y of YIQ


class SFH(Hallucinator):
    """Structured face hallucination (Yang et al. 2013); the module's docstring has the steps.

    What `fit` keeps are the exemplars themselves: **a saved SFH holds training pictures** (their luminance)
    and must be treated as the data set is. In return it is complete, as every other method's file is. Which
    pictures they are follows from the data set, its split, ``exemplars`` and ``seed``; the budget names the
    first two.

    Args:
        degradation: What it is made for. Everything but I_0 itself is computed where the pixels are, under
            both protocols.
        exemplars: How many training faces to keep, 300 to 1,000 by custom; all of a smaller data set.
        nearest: Exemplars that lend texture.
        landmarks: Where the exemplars' 68 points come from: ``"dataset"``: it has them; ``"drawn"``: an SDM
            trained on drawn faces (no files needed, and rough on photographs); ``"dlib"``: dlib's predictor
            (optional extra, weights for non-commercial use); ``"auto"``: ``dataset`` where there are any,
            else ``drawn``.
        starts: Of the supervised descent's training, see `agents.landmarks.SDMConfig`.
        stages: Likewise.
        iterations: Steps of the reconstruction.
        fidelity: Weight of the low-resolution picture against the gradients.
        seed: Draws the exemplars and the starts.

    Raises:
        ValueError: If a setting is out of range.
    """

    name = "sfh"
    exemplars: Tensor
    points: Tensor
    edge_ratio: Tensor
    mean_shape: Tensor
    descent_weights: Tensor
    descent_biases: Tensor

    def __init__(
        self,
        degradation: Degradation,
        *,
        exemplars: int = 500,
        nearest: int = 50,
        landmarks: LandmarkSource = "auto",
        starts: int = 4,
        stages: int = 5,
        iterations: int = 80,
        fidelity: float = 1000.0,
        seed: int = 0,
    ) -> None:
        one_of("landmarks", landmarks, LandmarkSource)
        for name, value, least in (
            ("exemplars", exemplars, 2),
            ("nearest", nearest, 1),
            ("iterations", iterations, 0),
        ):
            whole(name, value, least)
        if not 0 < fidelity < float("inf"):
            raise ValueError(f"fidelity is {fidelity}, but it must be a positive number")
        self._descent = SDMConfig(starts=starts, stages=stages, seed=seed)
        super().__init__(
            degradation,
            exemplars=exemplars,
            nearest=nearest,
            landmarks=landmarks,
            starts=starts,
            stages=stages,
            iterations=iterations,
            fidelity=fidelity,
            seed=seed,
        )
        # In a tuple, so that it stays on the CPU when the method moves to another device.
        self._held = (replace(degradation, protocol="aligned").resampler(),)
        for name in ("exemplars", "points", "edge_ratio", *_DESCENT):
            self.register_buffer(name, torch.empty(0))

    @property
    def _pixels(self) -> Resampler:
        """The maps by which everything but I_0 is computed: where the pixels are, and on the CPU."""
        return self._held[0]

    def prepare(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Make room for the exemplars and all that was learned from them."""
        for name, shape in shapes.items():
            if name in self._buffers:
                self.register_buffer(name, torch.zeros(shape, dtype=_TYPES.get(name, torch.float32)))

    def _fit(self, dataset: FaceDataset, *, progress_bar: bool) -> str:
        started, settings = time.monotonic(), self.settings
        count = min(settings["exemplars"], len(dataset))
        if count < 2:
            raise ValueError(f"{self.name} needs at least two faces, but {dataset.name!r} holds {count}")
        rng = np.random.default_rng(settings["seed"])
        indices = np.sort(rng.choice(len(dataset), count, replace=False)).tolist()
        source = self._source(dataset)
        faces = annotate(dataset, indices, _predictor(source))
        scale, protocol = self.degradation.scale, self.degradation.protocol
        descent = self._train_descent(degraded(faces.pictures, scale, protocol), faces.points, progress_bar)
        gray = luminance(torch.from_numpy(faces.pictures).permute(0, 3, 1, 2).float() / 255)
        high = gray[:_TABLE_FACES]
        low = self._pixels.shrink(high)
        smooth = smooth_picture(low[:, 0], self._pixels.enlarge(low)[:, 0], self._pixels)
        values = {
            "exemplars": (255 * gray[:, 0]).round().byte(),
            "points": torch.from_numpy(faces.points).float(),
            "edge_ratio": EdgeTable.learn(smooth, high[:, 0], scale).ratio,
            **dict(zip(_DESCENT, (descent.mean, descent.weights.half(), descent.biases.half()), strict=True)),
        }
        for name, value in values.items():
            self.register_buffer(name, value.to(self.device))
        minutes = (time.monotonic() - started) / 60.0
        return (
            f"{count} exemplars of {dataset.name} ({dataset.split}), their landmarks by {source}; "
            f"{minutes:.1f} min on {self.device.type}"
        )

    def _train_descent(self, pictures: Pictures, points: Points, progress_bar: bool) -> SDM:
        with tqdm(total=self._descent.stages, disable=not progress_bar, desc="landmarks", leave=False) as bar:

            def report(stage: int, distance: float) -> None:
                bar.update()

            return SDM.train(pictures, points, config=self._descent, report=report)

    def _source(self, dataset: FaceDataset) -> str:
        named = str(self.settings["landmarks"])
        if named == "auto":
            return "dataset" if isinstance(dataset, KnowsLandmarks) else "drawn"
        return named

    def find_landmarks(self, initial: Tensor) -> Points:
        """The 68 points of each face, (N, 68, 2), found on I_0 (N, C, H, W)."""
        descent = SDM(self._descent, *(getattr(self, name).float().cpu() for name in _DESCENT))
        levels = (255 * initial).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()
        return descent.predict(levels.cpu().numpy())

    def forward(self, low_resolution: Tensor) -> Tensor:
        """(N, C, H, W); faces are matched one by one on the CPU and reconstructed together."""
        with torch.autocast(low_resolution.device.type, enabled=False):
            initial = self.initial(low_resolution)
            low, start = luminance(low_resolution.cpu())[:, 0], luminance(initial.cpu())[:, 0]
            smooth = smooth_picture(low, start, self._pixels)
            known: Pictures = self.exemplars.cpu().numpy()
            target = torch.stack(
                [
                    self.target_gradients(*face, known)
                    for face in zip(low, smooth, self.find_landmarks(initial), strict=True)
                ]
            )
            picture, _ = reconstruct(
                low,
                start,
                target,
                self._pixels,
                fidelity=self.settings["fidelity"],
                iterations=self.settings["iterations"],
            )
            return initial + (picture - start)[:, None].to(initial.device)

    def target_gradients(self, low: Tensor, smooth: Tensor, points: Points, known: Pictures) -> Tensor:
        """G of one face: texture, over it edges, over both components.

        Args:
            low: Luminance of the low-resolution face, (h, w).
            smooth: Its `smooth_picture`, (H, W).
            points: Its landmarks, (68, 2).
            known: Luminance of the exemplars, uint8 (M, H, W).

        Returns:
            (4, H, W).
        """
        scale = self.degradation.scale
        theirs = self.points.cpu().double().numpy()
        target = gradients(texture_picture(low, self._nearest(low, points, known, theirs), self._pixels))
        edges, weight = EdgeTable(scale, self.edge_ratio.cpu()).edge_gradients(smooth)
        target = torch.lerp(target, edges, weight)
        for component in COMPONENTS:
            match = match_component(low, points, component, known, theirs, scale)
            if match is not None:
                target = torch.lerp(target, match.gradients, match.mask)
        return target

    def _nearest(self, low: Tensor, points: Points, known: Pictures, theirs: Points) -> Tensor:
        """The exemplars that, laid over the face, shrink to what is nearest to it, (E, H, W)."""
        height, width = known.shape[1:]
        laid = warp(known, similarities(theirs, points), (slice(0, height), slice(0, width)))
        pictures = torch.from_numpy(laid)
        shrunk = self._pixels.shrink(pictures[:, None])[:, 0]
        distance = (shrunk - low).square().sum((1, 2))
        return pictures[distance.argsort(stable=True)[: self.settings["nearest"]]]


_DESCENT: Final = ("mean_shape", "descent_weights", "descent_biases")
_TYPES: Final = {
    "exemplars": torch.uint8,
    "descent_weights": torch.float16,
    "descent_biases": torch.float16,
}


def luminance(pictures: Tensor) -> Tensor:
    """Y of YIQ of RGB pictures (N, 3, H, W), or gray ones as they are: (N, 1, H, W)."""
    if pictures.shape[1] == 1:
        return pictures
    weights = torch.tensor(_LUMA, device=pictures.device, dtype=pictures.dtype)
    return (pictures * weights[:, None, None]).sum(1, keepdim=True)


def _predictor(source: str) -> LandmarkPredictor | None:
    if source == "dlib":
        try:
            return DlibPredictor()
        except ImportError as error:
            raise ValueError(f"landmarks is 'dlib', but {error}") from error
    if source == "drawn":
        drawn: Any = annotate(SyntheticFaces("train"), range(_DRAWN_FACES))
        return SDM.train(drawn.pictures, drawn.points, config=SDMConfig(starts=4))
    return None
