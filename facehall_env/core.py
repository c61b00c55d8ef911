"""The Markov decision process of the paper on batches of tensors; no RL library is known here.

All rows of a batch are at the same step, so the step counter is a Python int and a step never waits for the
device. Pixels are in [-1, 1] inside (zero padding is mid-gray) and in [0, 1] in every error and reward.
"""

from __future__ import annotations

import math
from typing import Any, Final, Literal, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facehall_env.arguments import one_of, size_of_patch, truth, whole
from facehall_env.compilation import CompiledEnhancement, CompileMode
from facehall_env.enhancer import Enhancer, EnhancerConfig, EnhancerInput, IdentityEnhancer
from facehall_env.messages import say
from facehall_env.patches import PATCH_SIZE, Boundary, PatchGeometry
from facehall_env.resample import ProtocolName, Resampler

Reward = Literal["terminal", "delta", "coverage"]
Precision = Literal["float32", "bfloat16"]
HORIZON: Final = 25
"""Steps of an episode in the paper, T."""
_OVERSHOOT: Final = 0.01
"""How far a low-resolution picture may reach beyond [0, 1], as filters that ring make it."""
_STEPPED: Final = ("_canvas", "_covered", "_covered_pixels", "_squares", "_shown", "t")
"""What a step changes."""


class Step(NamedTuple):
    """What one step did, for those who train on it.

    Attributes:
        reward: (N,) float32.
        inputs: What the enhancer was shown.
        enhanced: What it made of it, (N, C, h, w), before pasting.
        target: The patches of the HR pictures, (N, C, h, w).
        inside: Which pixels count, bool, (N, 1, h, w).
    """

    reward: Tensor
    inputs: EnhancerInput
    enhanced: Tensor
    target: Tensor
    inside: Tensor


class HallucinationCore:
    """N episodes side by side: crop, enhance, paste, reward.

    On a CPU no row depends on the rows beside it: with the identity as enhancer, row i is bit for bit what
    its picture gives alone; a network's batched arithmetic may differ in the last digits.

    Args:
        shape: C, H, W of the high-resolution picture.
        scale: How many times smaller the low-resolution picture is, a divisor of H and W.
        horizon: Steps of an episode, T.
        patch_size: Rows and columns of the patch.
        boundary: ``"pad"`` or ``"clamp"``, see `PatchGeometry`.
        protocol: How I_0 is made, ``"aligned"`` or ``"torch7"``, see `Resampler`.
        reward: ``"terminal"``: 0, then -MSE(I_T, HR); ``"delta"``: the decrease of the MSE at every step, the
            same return up to MSE(I_0, HR); ``"coverage"``: terminal plus `coverage_weight` times the share of
            the picture that was covered, as in the authors' code.
        coverage_weight: Only for ``reward="coverage"``. The authors' 4 dwarfs the MSE: 5 % more of the
            picture are worth 0.2, half a dB at 26 dB only 0.0003. (Their error is summed over channels in
            [-1, 1], 12 times ours for RGB; 1/3 has their very proportion, and dwarfs it still.)
        consistent: After every step move the pictures by the least (in the squared sense) that makes them
            shrink to the low-resolution picture exactly, as the HR picture does. Beyond the paper; it brings
            them closer to the HR picture whatever the enhancer did, up to the clamping at black and white.
        enhancer: The network that enhances patches; None leaves them as they are.
        precision: ``"bfloat16"`` runs the enhancer under autocast; pictures stay float32.
        compile: Run the enhancer, not its prior, through ``torch.compile`` in this mode: ``"default"``,
            ``"reduce-overhead"`` (on CUDA devices as CUDA graphs) or ``"max-autotune"``, see
            `CompiledEnhancement`. None runs the network as it is. The arithmetic is the same but for its
            rounding.
        channels_last: Lay the weights of the enhancer's convolutions, and so what they make, out with the
            channels side by side. The arithmetic is the same but for the order of its sums; what it gains
            depends on network and device.
        device: Where everything lives.

    Attributes:
        high_resolution: The pictures of the last `reset`, uint8, (N, C, H, W); N is 0 before the first. Not
            there (RuntimeError) after `reset_low_resolution`, as `target`, `mse` and rewards.
        target: The same in [-1, 1], float32.
        low_resolution: What they were shrunk to, in [-1, 1], (N, C, H/s, W/s).
        initial: I_0, enlarged again, (N, C, H, W); not clamped, so it can overshoot [-1, 1] a little.
        t: Steps taken.
        enhancer: The network that enhances patches.
        geometry: Where patches lie.

    Raises:
        TypeError: If `enhancer` is no `Enhancer`.
        ValueError: If an argument is out of range; the message names it.
    """

    def __init__(
        self,
        shape: tuple[int, int, int] = (3, 128, 128),
        scale: int = 8,
        *,
        horizon: int = HORIZON,
        patch_size: tuple[int, int] = PATCH_SIZE,
        boundary: Boundary = "pad",
        protocol: ProtocolName = "aligned",
        reward: Reward = "terminal",
        coverage_weight: float = 4.0,
        consistent: bool = False,
        enhancer: Enhancer | None = None,
        precision: Precision = "float32",
        compile: CompileMode | None = None,
        channels_last: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        one_of("reward", reward, Reward)
        one_of("precision", precision, Precision)
        if not isinstance(coverage_weight, int | float) or not math.isfinite(coverage_weight):
            raise ValueError(f"coverage_weight is {coverage_weight!r}, but it must be a finite number")
        truth("consistent", consistent)
        truth("channels_last", channels_last)
        channels, height, width = shape
        self.shape, self.scale, self.horizon = (channels, height, width), scale, whole("horizon", horizon)
        self.patch_size, self.boundary, self.protocol = size_of_patch(patch_size), boundary, protocol
        self.reward, self.coverage_weight, self.precision = reward, coverage_weight, precision
        self.consistent = consistent
        self.device = torch.device(device)
        on_cuda = self.device.type == "cuda"
        if (
            precision == "bfloat16"
            and on_cuda
            and not torch.cuda.is_bf16_supported(including_emulation=False)
        ):
            say(
                f"{self.device} only imitates bfloat16, which is many times slower than float32 there: leave "
                'precision at "float32"'
            )
        self.compile, self.channels_last = compile, channels_last
        self._compiled = None if compile is None else CompiledEnhancement(compile, self.device)
        self.geometry = PatchGeometry(height, width, self.patch_size, boundary, self.device)
        # Whole levels, shrunk by a power of two and enlarged by dyadic weights, are exact in double
        # precision, in whatever order the products are summed: I_0 depends neither on the batch nor
        # on the number of threads.
        self._exact = torch.float32 if self.device.type == "mps" else torch.float64
        self.resampler = Resampler(height, width, scale, protocol, device=self.device, dtype=self._exact)
        self.set_enhancer(enhancer)
        self.reset(torch.empty(0, *self.shape, dtype=torch.uint8))
        self.t = self.horizon  # nothing to step before the first reset

    def set_enhancer(self, enhancer: Enhancer | None) -> None:
        """Enhance with this network from the next step on; the core keeps a reference and never trains it.

        Args:
            enhancer: The network; a module is moved to the core's device, and its convolutions are laid out
                channels-last where the core says so. None is the identity.

        Raises:
            TypeError: If it is no `Enhancer`.
            ValueError: If the network was made for another picture or patch size, or its prior for another
                scale.
        """
        enhancer = IdentityEnhancer() if enhancer is None else enhancer
        if not callable(enhancer) or not hasattr(enhancer, "needs_initial_patch"):
            raise TypeError(
                f"{type(enhancer).__name__} is no enhancer: it must map an EnhancerInput to patches and have "
                "the attribute needs_initial_patch"
            )
        config = getattr(enhancer, "config", None)
        if isinstance(config, EnhancerConfig):
            made = (config.channels, config.height, config.width), (config.patch_height, config.patch_width)
            if made != (self.shape, self.patch_size):
                raise ValueError(
                    f"the enhancer was made for pictures {made[0]} and patches {made[1]} (channels, rows, "
                    f"columns), but this environment has {self.shape} and {self.patch_size}"
                )
        prior = getattr(enhancer, "prior", None)
        if prior is not None and prior.config.scale != self.scale:
            raise ValueError(
                f"the enhancer's prior was made for scale {prior.config.scale}, but this environment has "
                f"{self.scale}"
            )
        if isinstance(enhancer, nn.Module):
            self._refuse_to_take_away(enhancer)
            enhancer = cast(Enhancer, enhancer.to(self.device))
            if self.channels_last:  # convolutions pass the layout on from their weights to what they make
                cast(Any, enhancer).to(memory_format=torch.channels_last)
        self.enhancer = enhancer
        self._prior_canvas: Tensor | None = None

    def _refuse_to_take_away(self, enhancer: nn.Module) -> None:
        """Moving a network moves it for everyone who has it, and its optimiser stays behind."""
        placed = next((tensor.device for tensor in enhancer.parameters()), self.device)
        if placed.type not in ("cpu", self.device.type):
            raise ValueError(
                f"the enhancer is on {placed}, but this environment computes on {self.device}: make it with "
                f"gym.make(..., device={str(placed)!r}), or give it a copy, "
                f"copy.deepcopy(enhancer).to({str(self.device)!r})"
            )

    def replica(self, **changes: Any) -> HallucinationCore:
        """Another core with the same settings and the same enhancer, for episodes beside these.

        Args:
            **changes: Arguments of the constructor that shall differ. With another device give another
                enhancer, too: the one that is shared would be moved there.
        """
        settings: dict[str, Any] = {
            "shape": self.shape,
            "scale": self.scale,
            "horizon": self.horizon,
            "patch_size": self.patch_size,
            "boundary": self.boundary,
            "protocol": self.protocol,
            "reward": self.reward,
            "coverage_weight": self.coverage_weight,
            "consistent": self.consistent,
            "enhancer": self.enhancer,
            "precision": self.precision,
            "compile": self.compile,
            "channels_last": self.channels_last,
            "device": self.device,
        }
        return HallucinationCore(**(settings | changes))

    @property
    def replays_graphs(self) -> bool:
        """Whether the enhancer runs as CUDA graphs, see `CompiledEnhancement`."""
        return self._compiled is not None and self._compiled.replays_graphs

    @property
    def terminated(self) -> bool:
        """Whether the episodes are over (T steps were taken)."""
        return self.t >= self.horizon

    @property
    def rows(self) -> int:
        """The number N of episodes side by side."""
        return int(self.initial.shape[0])

    @property
    def high_resolution(self) -> Tensor:
        """The pictures of the last `reset`."""
        return self._known(self._high_resolution)

    @property
    def target(self) -> Tensor:
        """The same in [-1, 1], float32."""
        return self._known(self._target)

    @staticmethod
    def _known(tensor: Tensor | None) -> Tensor:
        if tensor is None:
            raise RuntimeError(
                "these episodes were started by reset_low_resolution(), so the high-resolution pictures are "
                "unknown, and so are targets, errors and rewards: step with advance(), or start with reset()"
            )
        return tensor

    def reset(self, high_resolution: Tensor) -> None:
        """Start one episode a picture: shrink it, enlarge it again (I_0), cover nothing.

        Args:
            high_resolution: uint8, (N, C, H, W).

        Raises:
            ValueError: If the pictures have another shape or type.
        """
        if high_resolution.dtype != torch.uint8 or tuple(high_resolution.shape[1:]) != self.shape:
            raise ValueError(
                f"reset needs uint8 pictures of shape (N, {', '.join(map(str, self.shape))}), not "
                f"{high_resolution.dtype} of shape {tuple(high_resolution.shape)}"
            )
        # A copy, so that neither the caller's memory layout nor what happens to it later counts here.
        kept = high_resolution.to(self.device).clone(memory_format=torch.contiguous_format)
        levels = kept.to(self._exact)
        self._high_resolution: Tensor | None = kept
        self._target: Tensor | None = _from_levels(levels)
        self._target_canvas: Tensor | None = self.geometry.to_canvas(self._target)
        self._start(self.resampler.shrink(levels))

    def reset_low_resolution(self, low_resolution: Tensor) -> None:
        """Start one episode a picture that is only known in low resolution, as in use.

        The episodes are walked with `advance`: there is nothing to compare with, so `high_resolution`,
        `target`, `mse` and rewards are undefined, and asking for them is a RuntimeError.

        Args:
            low_resolution: Floating point, in [0, 1], (N, C, H/s, W/s).

        Raises:
            ValueError: If the pictures have another shape or type, or other values (these are looked at on
                the CPU alone, where nothing has to be waited for).
        """
        channels, height, width = self.shape
        wanted = (channels, height // self.scale, width // self.scale)
        if not low_resolution.is_floating_point() or tuple(low_resolution.shape[1:]) != wanted:
            raise ValueError(
                f"reset_low_resolution needs floating-point pictures in [0, 1] of shape "
                f"(N, {', '.join(map(str, wanted))}), not {low_resolution.dtype} of shape "
                f"{tuple(low_resolution.shape)}"
            )
        if low_resolution.device.type == "cpu" and low_resolution.numel():
            low, high = (float(value) for value in torch.aminmax(low_resolution.detach()))
            if not (low >= -_OVERSHOOT and high <= 1.0 + _OVERSHOOT):  # NaN is neither
                raise ValueError(
                    f"reset_low_resolution needs pictures in [0, 1], but these reach from {low:.4g} to "
                    f"{high:.4g}: divide 0..255 by 255, or map -1..1 by (x + 1) / 2"
                )
        self._high_resolution = self._target = self._target_canvas = None
        self._start(low_resolution.to(self.device, self._exact) * 255.0)

    def _start(self, small: Tensor) -> None:
        """Begin the episodes from the low-resolution pictures, in levels from 0 to 255."""
        self.low_resolution = _from_levels(small)
        self.initial = _from_levels(self.resampler.enlarge(small))
        self._initial_canvas = self.geometry.to_canvas(self.initial)
        self._canvas = self._initial_canvas.clone()
        self._covered = torch.zeros_like(self._canvas[:, 0], dtype=torch.bool)
        self._covered_pixels = torch.zeros(self.rows, dtype=torch.int64, device=self.device)
        # Made when first asked for; from then on every step mends what its patch has changed.
        self._squares: Tensor | None = None
        self._shown: Tensor | None = None
        self._prior_canvas = None
        self.t = 0

    @property
    def prior(self) -> Tensor | None:
        """What the enhancer's prior makes of the low-resolution pictures, (N, C, H, W), not clamped.

        None where the enhancer has no prior. No gradient is recorded: the prior learns before the enhancer.
        """
        canvas = self._prior()
        return None if canvas is None else self.geometry.to_picture(canvas)

    def _prior(self) -> Tensor | None:
        """The same on a canvas; made when it is first asked for, once an episode."""
        network = getattr(self.enhancer, "prior", None)
        if network is not None and self._prior_canvas is None:
            with torch.no_grad(), autocast(self.device, self.precision):
                self._prior_canvas = self.geometry.to_canvas(network(self.low_resolution))
        return self._prior_canvas

    @property
    def current(self) -> Tensor:
        """The current pictures I_t, a fresh tensor (N, C, H, W), not clamped: [-1, 1] and a little beyond."""
        return self.geometry.to_picture(self._canvas).clone(memory_format=torch.contiguous_format)

    @property
    def mse(self) -> Tensor:
        """Mean squared error of the clamped current pictures, pixels in [0, 1], float32, (N,).

        The mean is over pixels and channels. A measurement: no gradient is recorded. Train on the
        `enhanced` and `target` of a `Step`, or on `current`.
        """
        if self._squares is None:
            with torch.no_grad():
                self._squares = _squared_error(self.geometry.to_picture(self._canvas), self.target)
        # Mended step by step, a sum that is nothing may have become less than nothing
        return (self._squares.clamp_min(0.0) / (4.0 * math.prod(self.shape))).to(torch.float32)

    @property
    def levels(self) -> Tensor:
        """The current pictures, clamped and rounded for the eye: a fresh tensor, uint8, (N, H, W, C)."""
        geometry = self.geometry
        if self._shown is None:
            whole = self._canvas.detach()
            self._shown = to_uint8(
                whole.view(*whole.shape[:2], geometry.canvas_height, geometry.canvas_width)
            )
        below, right = geometry.above + geometry.height, geometry.left + geometry.width
        inside = self._shown[:, geometry.above : below, geometry.left : right]
        return inside.clone(memory_format=torch.contiguous_format)

    @property
    def coverage(self) -> Tensor:
        """Share of each picture that has been under a patch, in [0, 1]; (N,)."""
        return self._covered_pixels.to(torch.float32) / self.geometry.locations

    def observe(self, location: Tensor) -> EnhancerInput:
        """What the enhancer would be shown at these locations, without taking a step."""
        return self._observe(location, self.geometry.window(location), self.current)

    def _observe(self, location: Tensor, window: Tensor, picture: Tensor) -> EnhancerInput:
        initial = (
            self.geometry.crop(self._initial_canvas, window) if self.enhancer.needs_initial_patch else None
        )
        prior = self._prior()
        return EnhancerInput(
            self.geometry.crop(self._canvas, window),
            picture,
            self.geometry.centres(location),
            initial,
            None if prior is None else self.geometry.crop(prior, window),
        )

    def enhance(self, inputs: EnhancerInput) -> Tensor:
        """Run the enhancer in this core's precision.

        Args:
            inputs: N patches with what belongs to them.

        Returns:
            (N, C, h, w), float32.

        Raises:
            ValueError: If the enhancer returns patches of another shape.
        """
        with autocast(self.device, self.precision):
            if self._compiled is None or isinstance(self.enhancer, IdentityEnhancer):
                enhanced = self.enhancer(inputs)
            else:
                enhanced = self._compiled(self.enhancer, inputs)
        if enhanced.shape != inputs.patch.shape:
            raise ValueError(
                f"the enhancer turned patches {tuple(inputs.patch.shape)} into {tuple(enhanced.shape)}, but "
                "patches must keep their shape"
            )
        return enhanced.to(torch.float32)

    def step(self, location: Tensor) -> Tensor:
        """Enhance one patch of every picture (without recording gradients) and give the reward.

        Args:
            location: Locations in [0, H*W), int64, (N,). On an accelerator their values are not checked,
                which would wait for the device.

        Returns:
            Reward, float32, (N,).

        Raises:
            RuntimeError: If the episodes are over, or none was started, or the high-resolution pictures are
                unknown.
            ValueError: If these are no N locations. Nothing has changed then.
        """
        self._known(self._target)
        before = self.mse if self.reward == "delta" and not self.terminated else None
        self.advance(location)
        return self._reward(before)

    def advance(self, location: Tensor) -> None:
        """The same step without its reward, for which nothing but the low-resolution pictures need be known.

        Args:
            location: As for `step`.

        Raises:
            RuntimeError, ValueError: As `step`.
        """
        with torch.no_grad():
            self._check_step(location)
            self._thaw()
            window = self.geometry.window(location)
            # No copy of the pictures: the enhancer is done with them before the patches are pasted
            inputs = self._observe(location, window, self.geometry.to_picture(self._canvas))
            kept = None if self._squares is None else self._target_canvas
            target = None if kept is None else self.geometry.crop(kept, window)
            before = self._error_of(inputs.patch, target)
            self._paste(window, self.enhance(inputs), before, target)

    @torch.no_grad()
    def preview(self, location: Tensor) -> Tensor:
        """What `mse` would be after a step at these locations; nothing changes.

        Args:
            location: As for `step`.

        Returns:
            float32, (N,).

        Raises:
            RuntimeError, ValueError: As `step`.
        """
        self._check_step(location)
        _ = self.mse  # kept from here on, so that a step need only mend it
        before = {name: getattr(self, name) for name in _STEPPED}
        # What a step writes into is lent to it as a copy
        self._canvas, self._covered, self._shown = self._canvas.clone(), self._covered.clone(), None
        try:
            self.advance(location)
            return self.mse
        finally:
            for name, value in before.items():
                setattr(self, name, value)

    def step_recorded(self, location: Tensor, *, through_pictures: bool = False) -> Step:
        """The same step, with all that a trainer of the enhancer needs; records gradients where enabled.

        Args:
            location: As for `step`.
            through_pictures: Paste without cutting the graph: losses of later steps reach this one.

        Raises:
            RuntimeError, ValueError: As `step`.
        """
        target_canvas = self._known(self._target_canvas)
        self._check_step(location)
        self._thaw()
        window = self.geometry.window(location)
        inputs = self._observe(location, window, self.current)  # a copy: pasting writes into the canvas
        target = self.geometry.crop(target_canvas, window)
        mse = self.mse if self.reward == "delta" else None
        before = self._error_of(inputs.patch, target)
        enhanced = self.enhance(inputs)
        pasted = enhanced if through_pictures else enhanced.detach()
        inside = self._paste(window, pasted, before, target)
        return Step(self._reward(mse), inputs, enhanced, target, inside)

    def _check_step(self, location: Tensor) -> None:
        if self.terminated:
            raise RuntimeError(
                f"the episodes ended after {self.horizon} steps, or none was started: call reset() first"
            )
        if location.dtype != torch.int64 or location.shape != (self.rows,):
            raise ValueError(
                f"step needs int64 locations of shape ({self.rows},), not {location.dtype} of shape "
                f"{tuple(location.shape)}"
            )
        if location.device.type == "cpu" and not self.geometry.legal(location):
            last = self.geometry.locations - 1
            raise ValueError(f"the locations {location.tolist()} must lie between 0 and {last}")

    def _thaw(self) -> None:
        """What was made under inference mode may not be written into outside of it: go on with copies."""
        if torch.is_inference_mode_enabled():
            return
        for name in ("_canvas", "_covered", "_shown"):
            tensor: Tensor | None = getattr(self, name)
            if tensor is not None and tensor.is_inference():
                setattr(self, name, tensor.clone())

    def _error_of(self, patch: Tensor, target: Tensor | None) -> Tensor | None:
        """The squared errors of patches, (N,), where the errors of the pictures are kept."""
        if self._squares is None or target is None:
            return None
        with torch.no_grad():
            return _squared_error(patch, target)

    def _paste(self, window: Tensor, patch: Tensor, before: Tensor | None, target: Tensor | None) -> Tensor:
        """Paste, mend what is kept of the pictures, and count the step.

        Args:
            window: Where.
            patch: The enhanced patches, (N, C, h, w).
            before: What `_error_of` gave for the patches that were there.
            target: The patches of the HR pictures.

        Returns:
            Which pixels of the patches lie inside the picture, bool, (N, 1, h, w).
        """
        inside = self.geometry.inside(window)
        pasted = self.geometry.trim(patch, inside)
        self._canvas = self.geometry.put(self._canvas, window, pasted)
        fresh = self.geometry.cover(self._covered, window, inside)
        self._covered_pixels = self._covered_pixels + fresh
        with torch.no_grad():
            after = self._error_of(pasted, target)
            if self._squares is not None and before is not None and after is not None:
                self._squares = self._squares + (after - before)
            if self._shown is not None:
                self._show(window, to_uint8(pasted))
        if self.consistent:
            self._canvas = self.geometry.to_canvas(self._made_consistent())
            self._squares = self._shown = None  # pixels beyond the patch have changed as well
        self.t += 1
        return inside

    def _made_consistent(self) -> Tensor:
        """The current pictures with their averages over s x s pixels, which shrinking takes, put right.

        All pixels of a cell move alike: the nearest picture, in squared distance, with the right averages.
        """
        picture = self.geometry.to_picture(self._canvas)
        wrong = self.low_resolution - F.avg_pool2d(picture, self.scale)
        return picture + F.interpolate(wrong, scale_factor=self.scale, mode="nearest")

    def _show(self, window: Tensor, levels: Tensor) -> None:
        """Lay patches, uint8, (N, h, w, C), into the shown pictures."""
        assert self._shown is not None
        rows, columns = self.patch_size
        channels = self.shape[0]
        row = torch.arange(self.rows, device=self.device)
        if not self.geometry.on_host:
            line, column = self.geometry.pixels(window)
            self._shown[row[:, None, None], line[:, :, None], column[:, None, :]] = levels
            return
        # A copy of whole lines
        lines = self._shown.flatten(2).unfold(1, rows, 1).unfold(2, columns * channels, channels)
        lines[row, window[:, 0], window[:, 1]] = levels.flatten(2)

    def _reward(self, before: Tensor | None) -> Tensor:
        if before is not None:
            return before - self.mse
        if not self.terminated:
            return torch.zeros(self.rows, dtype=torch.float32, device=self.device)
        if self.reward == "coverage":
            return self.coverage_weight * self.coverage - self.mse
        return -self.mse

    def pictures(self) -> dict[str, Tensor]:
        """What a person would look at, clamped and rounded to uint8, channels last.

        Returns:
            ``low_resolution`` (N, H/s, W/s, C), ``input`` (I_0), ``current`` and, where it is known,
            ``high_resolution`` (N, H, W, C).
        """
        pictures = {
            "low_resolution": to_uint8(self.low_resolution),
            "input": to_uint8(self.initial),
            "current": to_uint8(self.geometry.to_picture(self._canvas)),
        }
        if self._high_resolution is not None:
            pictures["high_resolution"] = self._high_resolution.permute(0, 2, 3, 1).contiguous()
        return pictures


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """A block in which a device computes in this precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def wait_for(device: torch.device) -> None:
    """Let a device finish what it was given, before a clock is read."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _squared_error(picture: Tensor, target: Tensor) -> Tensor:
    """The sum over each clamped picture (N, C, H, W) of the squared difference from the target, (N,)."""
    squares = picture.clamp(-1.0, 1.0).sub_(target).square_()
    # In double precision, where there is one, so that the sum of the steps' changes is that of the whole
    # picture. Line by line first: one long sum is split among threads, but only where it is alone.
    exact = torch.float32 if squares.device.type == "mps" else torch.float64
    return squares.sum(dim=3, dtype=exact).flatten(1).sum(dim=1)


def _from_levels(levels: Tensor) -> Tensor:
    """Pixels from 0..255 to [-1, 1], float32."""
    return (levels / 127.5 - 1.0).to(torch.float32)


def to_uint8(picture: Tensor) -> Tensor:
    """Clamp and round pixels from [-1, 1] to 0..255, and put the channels last.

    Args:
        picture: (N, C, H, W).

    Returns:
        uint8, (N, H, W, C).
    """
    levels = (picture + 1.0).mul_(127.5).round_().clamp_(0, 255)
    return levels.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def to_unit(picture: Tensor) -> Tensor:
    """Pixels from [-1, 1] to [0, 1], clamped, as the metrics take them."""
    return ((picture + 1.0) * 0.5).clamp(0.0, 1.0)
