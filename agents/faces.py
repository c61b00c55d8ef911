"""Batches of faces for training: every face once an epoch, in an order that a checkpoint can resume."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from agents.distributed import ALONE, Ranks
from facehall_env.arguments import whole
from facehall_env.datasets import FaceDataset


class _ReadAhead(NamedTuple):
    """A batch that is being read, or was.

    Attributes:
        seen: The position that it belongs to.
        faces: What `FaceBatches.next` will hand out.
    """

    seen: int
    faces: Future[Tensor]


class FaceBatches:
    """An endless stream of batches of high-resolution faces.

    The order of epoch e is a permutation drawn from (seed, e), so the position alone says what comes next,
    and a stream that was restored goes on as if it had never stopped.

    Args:
        dataset: Where the faces come from; read on demand, never copied whole.
        batch_size: Faces a batch; a batch may span two epochs.
        seed: Seed of the order, the flips and the shifts.
        flip: Mirror each face left to right with probability 1/2.
        shift: Move each face by up to so many pixels up or down and left or right, all equally likely; its
            edge is repeated. Where faces are few, other averages of the same face are as good as another
            face.
        balance_people: An epoch shows one picture of every person instead of all pictures; who has n of them
            shows each once in n epochs. (In LFW's training set a few people have a large part of the
            pictures.)
        ranks: The processes that share the batches; each reads only its own part of every batch.
        prefetch: Read the next batch in a thread while this one is used; the batches are the same, bit for
            bit. The data set is then read while others may read it too, which ours bear.
        device: Where the batches will be used. For a CUDA device batches that were read ahead lie in pinned
            memory, from which ``to(device, non_blocking=True)`` copies without waiting.

    Raises:
        ValueError: If the data set is empty, or the batch size not positive or not to be shared evenly, or
            the data set does not know who is who.
    """

    def __init__(
        self,
        dataset: FaceDataset,
        batch_size: int,
        *,
        seed: int = 0,
        flip: bool = False,
        shift: int = 0,
        balance_people: bool = False,
        ranks: Ranks = ALONE,
        prefetch: bool = False,
        device: torch.device | None = None,
    ) -> None:
        if len(dataset) == 0:
            raise ValueError(f"the {dataset.split!r} split of {dataset.name!r} holds no faces to train on")
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, but a batch holds at least one face")
        self.dataset, self.batch_size, self.seed, self.flip = dataset, batch_size, seed, flip
        self.shift = whole("shift", shift, least=0)
        self._own = ranks.check("batch_size", batch_size)
        self._first = ranks.rank * self._own
        self.seen = 0
        self._people = people_of(dataset) if balance_people else None
        self._length = len(dataset) if self._people is None else len(self._people)
        self._epoch = -1
        self._order: np.ndarray[Any, np.dtype[np.int64]] = np.empty(0, np.int64)
        self.prefetch, self._pin = prefetch, device is not None and device.type == "cuda"
        self._ahead: _ReadAhead | None = None

    def next(self) -> Tensor:
        """This process's part of the next batch: uint8, (batch_size / processes, C, H, W), on the CPU.

        What goes wrong while a batch is read is raised when that batch is asked for.
        """
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead.seen == self.seen:
            faces = ahead.faces.result()
        else:
            if ahead is not None:
                wait((ahead.faces,))  # only one reader at a time
            faces = self._read(self.seen)
        self.seen += self.batch_size
        if self.prefetch:
            self._ahead = self._read_ahead(self.seen)
        return faces

    def _read_ahead(self, seen: int) -> _ReadAhead:
        """Start to read the batch at a position, in a thread that ends with it."""
        thread = ThreadPoolExecutor(1, "faces")
        faces = thread.submit(self._read, seen)
        thread.shutdown(wait=False)
        return _ReadAhead(seen, faces)

    def _read(self, seen: int) -> Tensor:
        start = seen + self._first
        faces = np.stack([self._face(position) for position in range(start, start + self._own)])
        batch = torch.from_numpy(faces).permute(0, 3, 1, 2).contiguous()
        return batch.pin_memory() if self.prefetch and self._pin else batch

    def _face(self, position: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        epoch, place = divmod(position, self._length)
        if epoch != self._epoch:
            self._order = np.random.default_rng((self.seed, epoch)).permutation(self._length)
            self._epoch = epoch
        index = int(self._order[place])
        face = self.dataset[index if self._people is None else self._picture(index, epoch)]
        if not (self.flip or self.shift):
            return face
        rng = np.random.default_rng((self.seed, epoch, place))
        if self.flip and rng.random() < 0.5:
            face = face[:, ::-1]
        if self.shift:
            height, width, _ = face.shape
            top, left = rng.integers(0, 2 * self.shift, size=2, endpoint=True)
            margin = (self.shift, self.shift)
            face = np.pad(face, (margin, margin, (0, 0)), "edge")[top : top + height, left : left + width]
        return face

    def _picture(self, person: int, epoch: int) -> int:
        """Which picture of a person an epoch shows."""
        assert self._people is not None
        pictures = self._people[person]
        turn, place = divmod(epoch, len(pictures))
        order = np.random.default_rng((self.seed, 1, turn, person)).permutation(len(pictures))
        return pictures[int(order[place])]

    def state_dict(self) -> dict[str, int]:
        """How many faces have been handed out, to all processes together."""
        return {"seen": self.seen}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where another stream of the same data, size and seed stopped."""
        self.seen = state["seen"]


def people_of(dataset: FaceDataset) -> list[list[int]]:
    """The indices of every person's pictures, people in the order of their first pictures.

    Raises:
        ValueError: If the data set does not know who is who.
    """
    identity = getattr(dataset, "identity", None)
    if identity is None:
        raise ValueError(
            f"balance_people is set, but {dataset.name!r} does not say who is on its pictures (LFW does): "
            "set it to false"
        )
    people: dict[str, list[int]] = {}
    for index in range(len(dataset)):
        people.setdefault(identity(index), []).append(index)
    return list(people.values())


def evenly_spread(size: int, count: int) -> list[int]:
    """Indices of at most `count` of `size` faces, evenly spread over them."""
    count = min(size, count)
    return [i * size // count for i in range(count)]


def face_batch(dataset: FaceDataset, indices: range | list[int]) -> Tensor:
    """These faces as uint8, (N, C, H, W)."""
    return torch.from_numpy(np.stack([dataset[i] for i in indices])).permute(0, 3, 1, 2).contiguous()
