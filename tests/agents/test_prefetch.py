"""Faces that are read ahead: the same batches, however the stream is stopped, moved or broken."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from toys import ToyFaces, learned, same_weights, toy_agent

from agents.faces import FaceBatches


class WatchedFaces(ToyFaces):
    """Remembers which faces were read, and breaks where it is told to."""

    def __init__(self, size: int = 7) -> None:
        super().__init__(size)
        self.read: list[int] = []
        self.broken = False

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        if self.broken:
            raise OSError(f"face {index} cannot be read")
        self.read.append(index)
        return super().__getitem__(index)


def soon(condition: Callable[[], bool]) -> bool:
    """Whether it comes true before patience ends."""
    until = time.monotonic() + 30.0
    while not condition() and time.monotonic() < until:
        time.sleep(0.001)
    return condition()


def stream(faces: Any = None, **more: Any) -> FaceBatches:
    return FaceBatches(faces or ToyFaces(), 3, seed=2, flip=True, shift=1, **more)


def test_batches_that_are_read_ahead_are_the_same() -> None:
    plain, ahead = stream(), stream(prefetch=True)
    for _ in range(7):  # three epochs
        assert torch.equal(plain.next(), ahead.next())
        assert ahead.state_dict() == plain.state_dict()


def test_the_next_batch_is_read_while_one_is_used_and_no_thread_stays() -> None:
    faces = WatchedFaces()
    ahead = stream(faces, prefetch=True)
    ahead.next()
    assert soon(lambda: len(faces.read) == 6)
    assert ahead.state_dict() == {"seen": 3}  # what was handed out
    assert soon(lambda: not any(thread.name.startswith("faces") for thread in threading.enumerate()))
    assert len(faces.read) == 6  # and no more than one batch


def test_a_stream_goes_on_from_what_was_handed_out_and_may_be_moved() -> None:
    plain = stream()
    batches = [plain.next() for _ in range(6)]
    first = stream(prefetch=True)
    for batch in batches[:2]:
        assert torch.equal(first.next(), batch)
    second = stream(prefetch=True)
    second.load_state_dict(first.state_dict())
    assert torch.equal(second.next(), batches[2])
    first.load_state_dict({"seen": 12})  # the third batch, which it read ahead, is not wanted any more
    assert torch.equal(first.next(), batches[4])
    first.load_state_dict({"seen": 0})
    assert torch.equal(first.next(), batches[0])


def test_what_goes_wrong_in_the_thread_is_raised_with_its_batch() -> None:
    faces, plain = WatchedFaces(), stream()
    ahead = stream(faces, prefetch=True)
    assert torch.equal(ahead.next(), plain.next())
    assert soon(lambda: len(faces.read) == 6)
    faces.broken = True
    assert torch.equal(ahead.next(), plain.next())  # was read before
    with pytest.raises(OSError, match="cannot be read"):
        ahead.next()
    assert ahead.state_dict() == {"seen": 6}
    faces.broken = False
    assert torch.equal(ahead.next(), plain.next())


def test_an_agent_learns_the_same_bit_for_bit() -> None:
    agents = [toy_agent(imitation_updates=2, prefetch=prefetch) for prefetch in (False, True)]
    for agent in agents:
        agent.learn(24)
    assert same_weights(*(learned(agent) for agent in agents))
    assert agents[0].positions() == agents[1].positions()


_LEFT_BEHIND = """
import time, numpy as np
from agents.faces import FaceBatches

class Slow:
    name, split, shape = "slow", "train", (8, 8, 3)
    def __len__(self): return 4
    def __getitem__(self, index):
        time.sleep(0.2)
        return np.zeros(self.shape, np.uint8)

FaceBatches(Slow(), 2, prefetch=True).next()
"""


@pytest.mark.slow
def test_a_program_ends_while_a_batch_is_read() -> None:
    ended = subprocess.run([sys.executable, "-c", _LEFT_BEHIND], capture_output=True, timeout=120, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
