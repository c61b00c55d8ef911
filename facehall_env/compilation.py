"""Running an enhancer through ``torch.compile`` while the network itself stays as it is.

What is compiled is a function of network and input, not the network: weight files, checkpoints, the names of
weights and who the enhancer is do not know about it, and an average of the weights, a copy for another device
or a learner that takes the enhancer's place for a while share what was compiled for its shape.
"""

from __future__ import annotations

import os
import shutil
from typing import Final, Literal

import torch
from torch import Tensor

from facehall_env.arguments import one_of
from facehall_env.enhancer import Enhancer, EnhancerInput

CompileMode = Literal["default", "reduce-overhead", "max-autotune"]
_WITH_GRAPHS: Final = ("reduce-overhead", "max-autotune")
_C_COMPILERS: Final = ("gcc", "clang")


def _enhance(enhancer: Enhancer, inputs: EnhancerInput) -> Tensor:
    return enhancer(inputs)


class CompiledEnhancement:
    """Enhances patches by what ``torch.compile`` makes of an enhancer.

    The first patches of a kind wait for the compiler, seconds to minutes: once for steps that record
    gradients and once for those that do not, and again for a second number of patches, after which any number
    will do. Beyond eight variants of one process torch runs the network as it is, and says so.

    Args:
        mode: As ``torch.compile`` names it: ``"default"``; ``"reduce-overhead"``: on CUDA devices as CUDA
            graphs; ``"max-autotune"``: the same with kernels chosen by trying.
        device: Where the enhancer computes.

    Attributes:
        replays_graphs: Whether the enhancer runs as CUDA graphs. Their memory is that of every replay: the
            patches that are handed out are copies, but gradients must be added up outside, in memory that was
            there before.

    Raises:
        ValueError: If there is no such mode, or no compiler that torch needs.
    """

    def __init__(self, mode: CompileMode, device: torch.device) -> None:
        one_of("compile", mode, CompileMode)
        _require_compiler(mode, device)
        self._mode, self._device = mode, device
        self.replays_graphs = device.type == "cuda" and mode in _WITH_GRAPHS
        self._run = torch.compile(_enhance, mode=mode)

    def __reduce__(self) -> tuple[type[CompiledEnhancement], tuple[CompileMode, torch.device]]:
        """Who unpickles a core compiles anew."""
        return CompiledEnhancement, (self._mode, self._device)

    def __call__(self, enhancer: Enhancer, inputs: EnhancerInput) -> Tensor:
        """The enhanced patches, (N, C, h, w)."""
        # Views of the episodes' memory and patches of a buffer alike, or each would be compiled for
        alike = EnhancerInput._make(None if part is None else part.contiguous() for part in inputs)
        enhanced = self._run(enhancer, alike)
        return enhanced.clone() if self.replays_graphs else enhanced


def _require_compiler(mode: CompileMode, device: torch.device) -> None:
    """Refuse to compile where that could only fail, in the middle of the first step.

    Raises:
        ValueError: If torch finds no C++ compiler for a CPU, or no C compiler for a CUDA device, where Triton
            builds what launches its kernels.
    """
    if device.type == "cuda" and not (os.environ.get("CC") or any(map(shutil.which, _C_COMPILERS))):
        raise ValueError(
            f"compile is {mode!r}, but there is no C compiler here, which Triton needs for {device}: install "
            f"{' or '.join(_C_COMPILERS)}, or name one in the environment variable CC; or leave compile out "
            "(None)"
        )
    if device.type != "cpu":
        return
    try:
        from torch._inductor.cpp_builder import get_cpp_compiler  # loads much: only where it is used

        get_cpp_compiler()
    except ImportError:  # no public name: where torch moves it, the first step finds out
        return
    except RuntimeError as error:
        raise ValueError(
            f"compile is {mode!r}, but torch finds no C++ compiler here, which it needs on a CPU: install "
            "g++ or clang++, or name one in the environment variable CXX; or leave compile out (None)"
        ) from error
