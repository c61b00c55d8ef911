"""Noticing whoever waits for an accelerator, with one or without."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_READING = ("_local_scalar_dense", "is_nonzero", "nonzero", "masked_select")


class NoReadBack(TorchDispatchMode):
    """Refuses to turn a tensor into a Python number or a shape, which would wait for an accelerator."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket in [getattr(torch.ops.aten, name) for name in _READING]:
            raise AssertionError("a value was read back from the device")
        return func(*args, **(kwargs or {}))


@contextmanager
def never_waiting_for_cuda() -> Iterator[None]:
    """A context in which CUDA refuses to be waited for."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")
