"""Which faces the episodes are about: drawn, in order, or chosen by ``options``."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Sampling = Literal["random", "sequential"]
Indices = NDArray[np.int64]


class FaceOrder:
    """Deals the faces of a split to the rows of a batch.

    In order, the faces are those of the endless walk 0, 1, ..., size - 1, 0, 1, ..., dealt to the rows in
    turn: any `size` faces in succession are the whole split. So the k-th faces of N rows are those that one
    row alone would meet as its k N-th to (k N + N - 1)-th.

    Args:
        size: Faces in the split.
        sampling: ``"random"``: every row draws from its own generator; ``"sequential"``: in order.
        rows: N.
        last_row_first: Deal from the last row to the first instead.

    Raises:
        ValueError: If there are no faces.
    """

    def __init__(self, size: int, sampling: Sampling, rows: int = 1, *, last_row_first: bool = False) -> None:
        if size < 1:
            raise ValueError("the split holds no faces, so there is no episode to start")
        self.size, self.sampling, self.rows, self.last_row_first = size, sampling, rows, last_row_first
        self._next = 0

    def restart(self) -> None:
        """Begin with face 0 again."""
        self._next = 0

    def next(self, generators: Sequence[np.random.Generator]) -> Indices:
        """The next face of every row, int64, (N,).

        Args:
            generators: One a row; not touched where the faces come in order.
        """
        if self.sampling == "random":
            return np.array([generator.integers(self.size) for generator in generators], np.int64)
        faces = (self._next + np.arange(self.rows, dtype=np.int64)) % self.size
        self._next = (self._next + self.rows) % self.size
        return faces[::-1].copy() if self.last_row_first else faces

    def go_on_after(self, faces: Indices) -> None:
        """Let the order go on after these, the faces that the rows were given by choice."""
        self._next = (int(faces[0 if self.last_row_first else -1]) + 1) % self.size


def chosen_faces(
    options: Mapping[str, Any], size: int, rows: int, known: Collection[str] = ("index",)
) -> Indices | None:
    """The faces that the options of a reset choose, int64, (N,); None where they choose none.

    Args:
        options: As given to `reset`; an integer is the face of every row.
        size: Faces in the split.
        rows: N.
        known: The options that there are.

    Raises:
        ValueError: If an option is unknown, or the indices are no `rows` faces of the split.
    """
    if unknown := set(options) - set(known):
        raise ValueError(
            f"reset knows no option {', '.join(map(repr, sorted(unknown)))}; it knows "
            f"{', '.join(map(repr, known))}"
        )
    if "index" not in options:
        return None
    index = options["index"]
    several = isinstance(index, Sequence | np.ndarray) and not isinstance(index, str) and np.ndim(index) > 0
    chosen = list(index) if several else [index] * rows
    if len(chosen) != rows:
        raise ValueError(
            f"options['index'] names {len(chosen)} faces, but there are {rows} rows: name one each"
        )
    for face in chosen:
        if not isinstance(face, int | np.integer) or isinstance(face, bool) or not 0 <= face < size:
            raise ValueError(f"options['index'] is {index!r}, but the split holds faces 0 to {size - 1}")
    return np.array(chosen, np.int64)
