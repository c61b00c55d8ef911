"""MZQ: hallucination by position patches (Ma, Zhang and Qi, Pattern Recognition 43(6), 2010)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final, Literal

import torch
from torch import Tensor
from tqdm.auto import tqdm

from agents.baselines.contract import Degradation, Hallucinator
from agents.faces import face_batch
from facehall_env.arguments import one_of, whole
from facehall_env.datasets import FaceDataset

Mode = Literal["closed", "exemplar"]
_FACES_AT_ONCE: Final = 64


class MZQ(Hallucinator):
    """Rebuilds every low-resolution patch from the training faces' patches at the same position.

    The weights w of the training patches, which sum to one, minimise |x - X w|^2 + lambda |w|^2; applied to
    the training faces' high-resolution patches at that position they give the high-resolution patch, and
    where patches overlap, the mean counts.

    ``mode="closed"`` (default): with w = 1/K + v the minimiser is
    v = Xc' (Xc Xc' + lambda I)^-1 (x - mean x), so the patch is mean y + Yc v: one affine map a position,

        y = mean y + Yc Xc' (Xc Xc' + lambda I)^-1 (x - mean x).

    Its two matrices are sums over faces, so `fit` reads all faces once and keeps none of them.

    ``mode="exemplar"``: the paper to the letter, from K faces that are kept: w solves
    (C + lambda I) w = 1 up to its scale, C the Gram matrix of the differences x - X_k (Eq. (6)).

    We differ from the paper: a ridge where it drops the nearest-neighbour limit and inverts C plainly (C is
    singular as soon as K exceeds the pixels of a patch); all training faces in place of a few hundred; the
    channels of a colour patch are one vector; no second, residual step.

    Args:
        degradation: What it is made for.
        patch_size: Rows and columns of a low-resolution patch.
        overlap: By how much neighbours overlap; the last row and column of patches snap to the edge.
        ridge: lambda in units of the mean eigenvalue of Xc Xc'.
        mode: ``"closed"`` or ``"exemplar"``.
        exemplars: K of ``"exemplar"``: a seeded choice of the training faces.
        seed: Of that choice.
        share_channels: Rebuild each channel by itself, by weights or maps that serve them all, in place of
            the channels' patches as one vector; somewhat worse on LFW x8, and a third of the numbers an
            entry.

    Shapes:
        P positions, d = C * patch_size^2 (patch_size^2 with `share_channels`) and D = d * s^2: ``matrix`` (P,
        D, d) and ``offset`` (P, D), float32; or ``faces``, uint8 (K, C, H, W).

    Raises:
        ValueError: If a setting is out of range.
    """

    name = "mzq"
    reads_initial = False

    matrix: Tensor
    offset: Tensor
    faces: Tensor
    _low: Tensor
    _high: Tensor
    _count: Tensor

    def __init__(
        self,
        degradation: Degradation,
        *,
        patch_size: int = 6,
        overlap: int = 4,
        ridge: float = 1e-4,
        mode: Mode = "closed",
        exemplars: int = 500,
        seed: int = 0,
        share_channels: bool = False,
    ) -> None:
        one_of("mode", mode, Mode)
        channels, rows, columns = degradation.low_shape
        if not 1 <= whole("patch_size", patch_size) <= min(rows, columns):
            raise ValueError(f"patch_size is {patch_size}, but the pictures have {rows}x{columns} pixels")
        if not 0 <= whole("overlap", overlap, least=0) < patch_size:
            raise ValueError(f"overlap is {overlap}, but it must be less than patch_size, {patch_size}")
        if not ridge > 0:
            raise ValueError(f"ridge is {ridge}, but it must be positive")
        super().__init__(
            degradation,
            patch_size=patch_size,
            overlap=overlap,
            ridge=ridge,
            mode=mode,
            exemplars=whole("exemplars", exemplars, least=2),
            seed=seed,
            share_channels=share_channels,
        )
        channels = 1 if share_channels else channels
        self.share_channels = share_channels
        self.ridge, self.mode, self.exemplars, self.seed = ridge, mode, exemplars, seed
        step = patch_size - overlap
        tops, lefts = _starts(rows, patch_size, step), _starts(columns, patch_size, step)
        low = _patch_indices((channels, rows, columns), tops, lefts, patch_size)
        s, large = degradation.scale, (channels, degradation.height, degradation.width)
        high = _patch_indices(large, [s * top for top in tops], [s * left for left in lefts], s * patch_size)
        count = torch.zeros(channels * degradation.height * degradation.width)
        count.index_add_(0, high.flatten(), torch.ones(high.numel()))
        for name, tensor in (("_low", low), ("_high", high), ("_count", count)):
            self.register_buffer(name, tensor, persistent=False)
        if mode == "closed":
            self.register_buffer("matrix", torch.zeros(*high.shape, low.shape[1]))
            self.register_buffer("offset", torch.zeros(high.shape))
        else:
            self.register_buffer("faces", torch.zeros(0, *degradation.high_shape, dtype=torch.uint8))

    def prepare(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Make room for the exemplars of a file: fewer than asked for where the data set held fewer."""
        if self.mode == "exemplar":
            wanted = shapes["faces"]
            self.faces = torch.zeros(*wanted, dtype=torch.uint8, device=self.device)

    def forward(self, low_resolution: Tensor) -> Tensor:
        """Patches by their maps, then the mean where they overlap; (N, C, H, W)."""
        low = self._split(low_resolution)
        patches = self._patches(low, self._low)
        if self.mode == "closed":
            made = torch.baddbmm(self.offset[:, None], patches, self.matrix.mT)
        else:
            made = self._from_exemplars(patches)
        pictures = made.new_zeros(len(low), len(self._count))
        pictures.index_add_(1, self._high.flatten(), made.transpose(0, 1).flatten(1))
        return (pictures / self._count).view(-1, *self.degradation.high_shape)

    def _split(self, pictures: Tensor) -> Tensor:
        """Pictures (N, C, h, w), or their channels one after the other, (N * C, 1, h, w)."""
        return pictures.flatten(0, 1)[:, None] if self.share_channels else pictures

    @staticmethod
    def _patches(pictures: Tensor, indices: Tensor) -> Tensor:
        """The patches of pictures (N, C, h, w), position by position: (P, N, pixels)."""
        return pictures.flatten(1)[:, indices].transpose(0, 1)

    # --- learning ---

    def _fit(self, dataset: FaceDataset, *, progress_bar: bool) -> str:
        started = time.monotonic()
        if self.mode == "exemplar":
            order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(self.seed))
            self.faces = face_batch(dataset, sorted(order[: self.exemplars].tolist())).to(self.device)
            used = len(self.faces)
        else:
            self._fit_closed(dataset, progress_bar)
            used = len(dataset)
        seconds = time.monotonic() - started
        how = "closed form" if self.mode == "closed" else "exemplars"
        return f"{used:,} faces, {how}; {seconds / 60.0:.1f} min on {self.device.type}"

    def _fit_closed(self, dataset: FaceDataset, progress_bar: bool) -> None:
        positions, d = self._low.shape
        large = self._high.shape[1]
        gram, cross = self._zeros(positions, d, d), self._zeros(positions, large, d)
        sum_x, sum_y = self._zeros(positions, d), self._zeros(positions, large)
        with tqdm(total=len(dataset), desc=self.name, unit="face", disable=not progress_bar) as bar:
            for start in range(0, len(dataset), _FACES_AT_ONCE):
                indices = range(start, min(len(dataset), start + _FACES_AT_ONCE))
                levels = self._split(face_batch(dataset, indices).to(self.device).float())
                # Around mid-gray, so that little is lost when the means are taken off
                x = self._patches(self.resampler.shrink(levels), self._low).to(gram.dtype) / 255.0 - 0.5
                y = self._patches(levels, self._high).to(gram.dtype) / 255.0 - 0.5
                gram.baddbmm_(x.mT, x)  # in place: the sums are hundreds of megabytes
                cross.baddbmm_(y.mT, x)
                sum_x += x.sum(dim=1)
                sum_y += y.sum(dim=1)
                bar.update(len(indices))
        n = len(dataset) * (dataset.shape[2] if self.share_channels else 1)
        gram -= sum_x[:, :, None] * sum_x[:, None] / n
        cross -= sum_y[:, :, None] * sum_x[:, None] / n
        gram.diagonal(dim1=1, dim2=2).add_(self._ridge(gram)[:, None])
        for p in range(positions):
            matrix = torch.linalg.solve(gram[p], cross[p].T).T
            self.matrix[p] = matrix
            self.offset[p] = sum_y[p] / n + 0.5 - matrix @ (sum_x[p] / n + 0.5)

    def _zeros(self, *shape: int) -> Tensor:
        """Room for sums over many faces; the small eigenvalues of a Gram matrix drown in single precision."""
        wide = torch.float32 if self.device.type == "mps" else torch.float64
        return torch.zeros(*shape, device=self.device, dtype=wide)

    def _ridge(self, gram: Tensor) -> Tensor:
        """The penalty lambda of Gram matrices Xc Xc', (P, d, d)."""
        mean = gram.diagonal(dim1=1, dim2=2).mean(dim=1)
        return self.ridge * mean.clamp_min(torch.finfo(torch.float32).tiny)

    # --- the literal form ---

    def _from_exemplars(self, patches: Tensor) -> Tensor:
        """High-resolution patches (P, N, D) of low-resolution ones (P, N, d)."""
        wide = self._zeros(0)
        faces = self._split(self.faces.to(wide) / 255.0)
        small = self._split(self.resampler.shrink(self.faces.float()).to(wide) / 255.0)
        made = []
        for position in range(len(patches)):
            low, high = small.flatten(1)[:, self._low[position]], faces.flatten(1)[:, self._high[position]]
            centred = low - low.mean(dim=0)
            ridge = self._ridge((centred.T @ centred)[None])
            difference = patches[position].to(wide)[:, None] - low  # (N, K, d)
            system = difference @ difference.mT + ridge * torch.eye(len(low)).to(wide)
            weights = torch.linalg.solve(system, torch.ones(system.shape[:2]).to(wide))
            weights = weights / weights.sum(dim=1, keepdim=True)
            made.append(weights @ high)
        return torch.stack(made).float()


def _starts(size: int, patch: int, step: int) -> list[int]:
    """First pixels of the patches along one axis; the last patch ends at the edge."""
    return sorted({*range(0, size - patch, step), size - patch})


def _patch_indices(shape: tuple[int, int, int], tops: list[int], lefts: list[int], size: int) -> Tensor:
    """Which entries of a flattened (C, H, W) picture each patch has: int64, (P, C * size * size)."""
    pixels = torch.arange(shape[0] * shape[1] * shape[2]).view(shape)
    patches = [pixels[:, top : top + size, left : left + size] for top in tops for left in lefts]
    return torch.stack(patches).flatten(1)
