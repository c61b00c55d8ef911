"""One run on several processes: each has rows of its own, all hold the same weights.

Whatever is drawn at random is drawn for all rows by every process, from generators that stay equal, and each
takes what belongs to its own rows. So a batch that is split over two processes is the very batch that one
process would have had, and so are its update and the generators after it: a run may go on with another number
of processes than it was begun with.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor, nn


class Ranks:
    """This process among those that share a run.

    Args:
        rank: Its number, from 0.
        size: How many there are.

    Raises:
        ValueError: If the rank is none of them.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        if not 0 <= rank < size:
            raise ValueError(
                f"rank is {rank}, but it must be from 0 to {size - 1}, the number of processes less one"
            )
        self.rank, self.size = rank, size

    @property
    def first(self) -> bool:
        """Whether this process writes logs, checkpoints and results."""
        return self.rank == 0

    def check(self, name: str, rows: int) -> int:
        """How many of these rows are this process's own.

        Raises:
            ValueError: If the processes cannot share them evenly; the message names them.
        """
        if rows % self.size:
            raise ValueError(
                f"{name} is {rows}, which {self.size} processes cannot share evenly: make it a multiple of "
                f"{self.size}"
            )
        return rows // self.size

    def own(self, rows: Tensor, dim: int = 0) -> Tensor:
        """The part of a tensor over all rows that belongs to this process."""
        count = rows.shape[dim] // self.size
        return rows.narrow(dim, self.rank * count, count)

    def own_of(self, chosen: Tensor, count: int) -> Tensor:
        """Which of some chosen things are this process's own, numbered among its own.

        Args:
            chosen: Numbers in [0, count * size), int64, (M,); rank r has those from r * count on.
            count: How many each process has.

        Returns:
            Numbers in [0, count), at most M of them, in the order given.
        """
        numbers = chosen - self.rank * count
        return numbers[(numbers >= 0) & (numbers < count)]

    def rand(self, rows: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
        """Uniform draws in [0, 1) for this process's own rows, (rows,)."""
        return self.own(torch.rand(rows * self.size, generator=generator, device=device))

    def randn(
        self, rows: int, columns: int, generator: torch.Generator | None, device: torch.device
    ) -> Tensor:
        """Standard normal draws for this process's own rows, (rows, columns)."""
        return self.own(torch.randn(rows * self.size, columns, generator=generator, device=device))

    def randint(self, high: int, rows: int, generator: torch.Generator) -> Tensor:
        """Whole numbers in [0, high) for this process's own rows, int64, (rows,)."""
        draws = torch.randint(high, (rows * self.size,), generator=generator, device=generator.device)
        return self.own(draws)

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes; a fresh tensor without gradients."""
        total = values.detach().clone()
        if self.size > 1:
            dist.all_reduce(total)
        return total

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all processes, each counting the same; a fresh tensor without gradients."""
        return self.sum(values) / self.size

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add up the gradients of all processes, in one message.

        What has a gradient in no process has none afterwards, so that an optimiser leaves it alone, and does
        not count a step for it, as it does in one process.
        """
        if self.size == 1:
            return
        parameters = [parameter for parameter in parameters if parameter.requires_grad]
        parts = [
            torch.zeros_like(parameter).flatten() if parameter.grad is None else parameter.grad.flatten()
            for parameter in parameters
        ]
        there = parts[0].new_tensor([parameter.grad is not None for parameter in parameters])
        flat = torch.cat([*parts, there])
        dist.all_reduce(flat)
        *sums, there = torch.split(flat, [*(parameter.numel() for parameter in parameters), len(parameters)])
        # Read back only where this process lacks one: what it has, somebody has
        lacking = any(parameter.grad is None for parameter in parameters)
        counts = there.tolist() if lacking else [1.0] * len(parameters)
        for parameter, part, count in zip(parameters, sums, counts, strict=True):
            parameter.grad = part.view_as(parameter) if count else None

    def share(self, value: Any) -> Any:
        """What the first process has, in all processes; plain values and tensors."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def gather(self, value: Any) -> list[Any]:
        """What every process has, in the order of their numbers, in all processes; plain values."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            dist.barrier()


ALONE = Ranks()
"""One process with all rows."""


def join() -> Ranks:
    """Join the processes that ``torchrun`` started; alone where there are none.

    Accelerators talk by their own backend (NCCL on CUDA) and each process takes the one of its local rank, if
    there is one for each; CPUs, and what is counted on the CPU beside an accelerator, talk by Gloo.
    """
    if _processes() == 1:
        return ALONE
    if not dist.is_initialized():
        own = _own_accelerators()
        if own:
            torch.accelerator.set_device_index(int(os.environ.get("LOCAL_RANK", "0")))
        dist.init_process_group(_backends(own))
    return Ranks(dist.get_rank(), dist.get_world_size())


def refuse_several(what: str) -> None:
    """Refuse to do in every process of ``torchrun`` what one process does.

    Args:
        what: What is not shared, as the message names it.

    Raises:
        ValueError: If there are several processes.
    """
    if (size := _processes()) > 1:
        raise ValueError(
            f"{what} runs in one process, but WORLD_SIZE says that there are {size}, which would all do the "
            "same work: start it with python and not with torchrun, or unset WORLD_SIZE"
        )


def _processes() -> int:
    """How many processes ``torchrun`` has started."""
    return int(os.environ.get("WORLD_SIZE") or "1")


def _own_accelerators() -> bool:
    """Whether every process of this machine can have an accelerator of its own.

    Where they are more than the accelerators they compute on CPUs, or share one, of which NCCL wants no part.
    """
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return torch.accelerator.is_available() and processes <= torch.accelerator.device_count()


def _backends(own: bool) -> str:
    """How the processes talk about tensors of each kind of device: left to itself PyTorch leaves CPUs out."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None or not own:
        return "gloo"
    return f"cpu:gloo,{accelerator.type}:{dist.get_default_backend_for_device(accelerator)}"


def end(code: int) -> NoReturn:
    """End this process with an exit code.

    One of several ends at once: while Python is torn down, threads of PyTorch's may abort a process that has
    done its work, and torchrun would end the others for it.
    """
    if _processes() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def leave() -> None:
    """Part from the other processes, at the end of a run."""
    if dist.is_initialized():
        dist.destroy_process_group()
