"""The local enhancement network (Cao et al. 2017, section 3.2) and its weights on disk.

A global branch reads the whole current picture and makes a map of the patch's size, so that the
patch is enhanced with the face in mind; eight convolutions over patch and map give a residual,
which is added to the patch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Protocol, get_args

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from facehall_env.arguments import colours, one_of, whole
from facehall_env.linear import PictureLinear
from facehall_env.patches import PATCH_SIZE
from facehall_env.prior import FacePrior, PriorConfig
from facehall_env.weights import read_header, read_tensors

ExtraInput = Literal["coordinates", "location", "initial_patch", "prior_patch"]
ResidualTo = Literal["current", "initial", "prior"]
LAST_KERNEL: Final = 5
"""Kernel of the eighth convolution; only those of the first and the seventh are in dispute."""


class EnhancerInput(NamedTuple):
    """What an enhancer is shown of N patches, pixels in [-1, 1].

    Attributes:
        patch: The patches of the current pictures I_{t-1}, (N, C, h, w), zero outside the picture.
        picture: The whole current pictures, (N, C, H, W). In a step they are a view of the episodes' own
            memory, into which the enhanced patches are pasted afterwards: who keeps them must copy them.
        centre: Row and column of the patches' centres in [-1, 1], (N, 2).
        initial_patch: The same patches of I_0, (N, C, h, w), or None where the
            enhancer does not ask for them.
        prior_patch: The same patches of what the enhancer's prior made of the low-resolution pictures,
            (N, C, h, w), or None where the enhancer has no prior.
    """

    patch: Tensor
    picture: Tensor
    centre: Tensor
    initial_patch: Tensor | None = None
    prior_patch: Tensor | None = None


class Enhancer(Protocol):
    """Anything that maps an `EnhancerInput` to enhanced patches (N, C, h, w) in [-1, 1].

    One that has an attribute `prior` other than None, a `facehall_env.prior.FacePrior`, is also given the
    patches of what that makes of the low-resolution pictures; it is asked once an episode.
    """

    @property
    def needs_initial_patch(self) -> bool:
        """Whether `EnhancerInput.initial_patch` must be given."""

    def __call__(self, inputs: EnhancerInput, /) -> Tensor:
        """Enhance the patches."""


class IdentityEnhancer(nn.Module):
    """Returns the patch as it is: for measuring the environment alone and for tests."""

    needs_initial_patch = False

    def forward(self, inputs: EnhancerInput) -> Tensor:
        """Return `inputs.patch`."""
        return inputs.patch


@dataclass(frozen=True)
class EnhancerConfig:
    """Everything that fixes the shape of a `LocalEnhancementNetwork`.

    Attributes:
        channels: C of the picture, 1 or 3.
        height: H of the picture.
        width: W of the picture.
        patch_height: h of the patch.
        patch_width: w of the patch.
        widths: Output channels of the first seven convolutions.
        edge_kernel: Kernel of the first and the seventh convolution: 5 (Tuzel et al. 2016 and the authors'
            code) or 3 (the paper's text). The eighth always has 5.
        inner_kernel: Kernel of the second to the sixth convolution.
        global_features: Width of the two hidden layers of the global branch; 0 leaves the branch out.
        extra_inputs: What the network sees beyond the paper: ``coordinates`` (two channels, the place of each
            pixel in the picture), ``location`` (the patch's centre, to the global branch), ``initial_patch``
            (the patch of I_0), ``prior_patch`` (the patch of what the prior says).
        tanh_output: Squash the sum of patch and residual with tanh, as the authors' code does.
        residual_to: What the residual is added to: ``current``, the patch as it is now (the paper), or
            ``initial``, the patch of I_0, or ``prior``, that of what the prior says. The sum over one of
            these is stable under repetition: a patch that is looked at again gets a better residual, not one
            more.
        zero_last_layer: Start the last convolution at zero, so that the untrained network gives the patch
            that the residual is added to (without `tanh_output`).
        prior: The network that reads the low-resolution picture, or None for none (the paper). It learns on
            its own, before this one (``python -m agents.baselines --method edsr``), and never here.
    """

    channels: int = 3
    height: int = 128
    width: int = 128
    patch_height: int = PATCH_SIZE[0]
    patch_width: int = PATCH_SIZE[1]
    widths: tuple[int, ...] = (16, 32, 64, 64, 64, 32, 16)
    edge_kernel: int = 5
    inner_kernel: int = 7
    global_features: int = 256
    extra_inputs: tuple[ExtraInput, ...] = ()
    residual_to: ResidualTo = "current"
    tanh_output: bool = False
    zero_last_layer: bool = False
    prior: PriorConfig | None = None

    def __post_init__(self) -> None:
        """Refuse what no network can be built from, naming the field."""
        for name in ("height", "width", "patch_height", "patch_width"):
            whole(name, getattr(self, name))
        whole("global_features", self.global_features, least=0)
        colours(self.channels)
        if len(self.widths) != 7:
            raise ValueError(f"widths is {self.widths}, but it must name seven channel counts")
        for place, count in enumerate(self.widths):
            whole(f"widths[{place}]", count)
        for name in ("edge_kernel", "inner_kernel"):
            if whole(name, getattr(self, name)) % 2 == 0:
                raise ValueError(
                    f"{name} is {getattr(self, name)}, but it must be odd, so that patches keep their size"
                )
        if unknown := set(self.extra_inputs) - set(get_args(ExtraInput)):
            raise ValueError(
                f"extra_inputs has {sorted(unknown)}; the extra inputs are {', '.join(get_args(ExtraInput))}"
            )
        one_of("residual_to", self.residual_to, ResidualTo)
        if self.prior is None:
            if self.needs_prior_patch:
                raise ValueError(
                    "extra_inputs 'prior_patch' and residual_to 'prior' need a prior: train one with "
                    "python -m agents.baselines --method edsr and give its weights"
                )
        elif (self.prior.channels, self.prior.height, self.prior.width) != (
            self.channels,
            self.height,
            self.width,
        ):
            raise ValueError(
                f"prior makes pictures of {(self.prior.channels, self.prior.height, self.prior.width)} "
                f"(channels, rows, columns), but the enhancer is for "
                f"{(self.channels, self.height, self.width)}"
            )
        if "location" in self.extra_inputs and not self.global_features:
            raise ValueError(
                "extra_inputs has 'location', which goes to the global branch, but global_features is 0"
            )

    @property
    def needs_prior_patch(self) -> bool:
        """Whether the patch of what the prior says is read or added to."""
        return "prior_patch" in self.extra_inputs or self.residual_to == "prior"

    @property
    def needs_initial_patch(self) -> bool:
        """Whether the patch of I_0 is read or added to."""
        return "initial_patch" in self.extra_inputs or self.residual_to == "initial"


_BEYOND_THE_PAPER: Final[dict[str, Any]] = {
    "extra_inputs": ("coordinates", "location", "initial_patch"),
    "residual_to": "initial",
    "zero_last_layer": True,
}
PRESETS: Final[dict[str, dict[str, Any]]] = {
    "paper": {},
    "full": _BEYOND_THE_PAPER,
    "half": {"widths": (8, 16, 32, 32, 32, 16, 8), "global_features": 128, **_BEYOND_THE_PAPER},
    "tiny": {"widths": (4, 8, 16, 16, 16, 8, 4), "global_features": 64, **_BEYOND_THE_PAPER},
}
"""Named networks: ``paper`` as printed; ``full``, the paper's widths, told where the patch lies and adding to
the patch of I_0; ``half`` and ``tiny``, a half and a quarter of the channels, for tests and machines without
an accelerator."""


class LocalEnhancementNetwork(nn.Module):
    """Enhances one patch a picture (Eq. (5) to (7) of the paper).

    Args:
        config: The shape of the network.
    """

    def __init__(self, config: EnhancerConfig) -> None:
        super().__init__()
        self.config = config
        c, h, w = config.channels, config.patch_height, config.patch_width
        self.prior = None if config.prior is None else FacePrior(config.prior).requires_grad_(False)
        inputs = c
        if config.global_features:
            g = config.global_features
            placed = 2 if "location" in config.extra_inputs else 0
            self.picture_features = PictureLinear(c * config.height * config.width, g)
            self.global_map = nn.Sequential(
                nn.ReLU(), nn.Linear(g + placed, g), nn.ReLU(), nn.Linear(g, c * h * w)
            )
            inputs += c
        inputs += 2 * ("coordinates" in config.extra_inputs)
        inputs += c * len({"initial_patch", "prior_patch"} & set(config.extra_inputs))
        widths = (inputs, *config.widths, c)
        kernels = (config.edge_kernel, *(5 * (config.inner_kernel,)), config.edge_kernel, LAST_KERNEL)
        layers: list[nn.Module] = []
        for before, after, kernel in zip(widths[:-1], widths[1:], kernels, strict=True):
            layers += [nn.Conv2d(before, after, kernel, padding=kernel // 2), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers[:-1])  # the residual is linear
        rows = (torch.arange(h) - h // 2) * (2.0 / max(config.height - 1, 1))
        columns = (torch.arange(w) - w // 2) * (2.0 / max(config.width - 1, 1))
        self.register_buffer("_rows", rows.view(1, 1, h, 1), persistent=False)
        self.register_buffer("_columns", columns.view(1, 1, 1, w), persistent=False)
        self.reset_parameters()

    _rows: Tensor
    _columns: Tensor

    def reset_parameters(self) -> None:
        """Start at N(0, 0.02) with zero biases, as the authors do.

        Where the last layer starts at zero, the others take He's scale instead: draws of 0.02 shrink the
        signal of the narrow presets to nothing. The global map starts at a twentieth of it, since a map as
        loud as the patch but unrelated to it hides what the first convolutions have to learn.
        """
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear) and not name.startswith("prior."):
                if self.config.zero_last_layer:
                    nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                else:
                    nn.init.normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        if self.config.zero_last_layer:
            last = self.convolutions[-1]
            assert isinstance(last, nn.Conv2d)
            nn.init.zeros_(last.weight)
            if self.config.global_features:
                loud = self.global_map[-1]
                assert isinstance(loud, nn.Linear)
                with torch.no_grad():
                    loud.weight.mul_(0.05)

    @property
    def needs_initial_patch(self) -> bool:
        """Whether `EnhancerInput.initial_patch` must be given."""
        return self.config.needs_initial_patch

    def forward(self, inputs: EnhancerInput) -> Tensor:
        """Enhance patches.

        Args:
            inputs: N patches with what belongs to them, pixels in [-1, 1].

        Returns:
            Enhanced patches (N, C, h, w), not clamped: the core clamps when a picture leaves it.

        Raises:
            ValueError: If pictures or patches have another shape than the network was made for.
        """
        config, patch = self.config, inputs.patch
        _check("patches", patch, (config.channels, config.patch_height, config.patch_width))
        _check("pictures", inputs.picture, (config.channels, config.height, config.width))
        n, _, h, w = patch.shape
        layers = [patch]
        if config.global_features:
            features = self.picture_features(inputs.picture.flatten(1))
            if "location" in config.extra_inputs:
                features = torch.cat((features, inputs.centre.to(features.dtype)), dim=1)
            layers.append(self.global_map(features).view(n, config.channels, h, w).to(patch.dtype))
        if "coordinates" in config.extra_inputs:
            centre = inputs.centre.view(n, 2, 1, 1)
            layers.append((centre[:, :1] + self._rows).expand(n, 1, h, w))
            layers.append((centre[:, 1:] + self._columns).expand(n, 1, h, w))
        bases = {"current": patch}
        if config.needs_initial_patch:
            bases["initial"] = _given("initial_patch", "I_0", inputs.initial_patch, patch)
        if config.needs_prior_patch:
            bases["prior"] = _given("prior_patch", "what the prior says", inputs.prior_patch, patch)
        layers += [bases[name] for name in ("initial", "prior") if f"{name}_patch" in config.extra_inputs]
        residual = self.convolutions(torch.cat(layers, dim=1)).to(patch.dtype)
        enhanced = residual + bases[config.residual_to]
        return torch.tanh(enhanced) if config.tanh_output else enhanced

    def save(self, path: str | Path) -> None:
        """Write weights (safetensors) with the configuration as JSON in the file's header.

        Args:
            path: The file to write, by custom ``*.safetensors``.
        """
        metadata = {"kind": _KIND, "config": json.dumps(asdict(self.config))}
        save_file({name: tensor.contiguous() for name, tensor in self.state_dict().items()}, path, metadata)


ENHANCER: Final = "enhancer.safetensors"
"""The name of the file in the folder of a run, or of weights."""
_KIND: Final = "facehall-enhancer"


def _check(what: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape[1:]) != shape:
        raise ValueError(
            f"the enhancer was made for {what} of shape {tuple(shape)} (channels, rows, columns), not "
            f"{tuple(tensor.shape[1:])}"
        )


def _given(name: str, of: str, patches: Tensor | None, like: Tensor) -> Tensor:
    if patches is None:
        raise ValueError(f"this enhancer also reads the patch of {of}: give EnhancerInput.{name}")
    _check(f"patches of {of}", patches, tuple(like.shape[1:]))
    return patches


def make_enhancer(
    preset: str,
    *,
    shape: Sequence[int] = (3, 128, 128),
    patch_size: tuple[int, int] = PATCH_SIZE,
    prior: FacePrior | None = None,
    **overrides: Any,
) -> LocalEnhancementNetwork:
    """An untrained network by the name of its preset.

    Args:
        preset: A key of `PRESETS`.
        shape: C, H, W of the picture.
        patch_size: h, w of the patch.
        prior: A trained prior, whose weights are copied; then the network also reads the patch of what it
            says and adds its residual to that.
        **overrides: Fields of `EnhancerConfig` that replace the preset's, and what `prior` makes of them.

    Raises:
        ValueError: If the preset or a field is unknown.
    """
    if preset not in PRESETS:
        raise ValueError(f"there is no enhancer preset {preset!r}; the presets are {', '.join(PRESETS)}")
    if unknown := set(overrides) - {field.name for field in fields(EnhancerConfig)}:
        raise ValueError(f"EnhancerConfig has no field {', '.join(sorted(unknown))}")
    channels, height, width = shape
    settings = dict(PRESETS[preset])
    if prior is not None:
        seen = tuple(settings.get("extra_inputs", ()))
        settings |= {"prior": prior.config, "residual_to": "prior", "extra_inputs": (*seen, "prior_patch")}
    config = EnhancerConfig(
        channels=channels,
        height=height,
        width=width,
        patch_height=patch_size[0],
        patch_width=patch_size[1],
        **settings,
    )
    network = LocalEnhancementNetwork(replace(config, **overrides))
    if prior is not None and network.prior is not None:
        network.prior.load_state_dict(prior.state_dict())
    return network


def enhancer_config(values: Mapping[str, Any]) -> EnhancerConfig:
    """The configuration that `dataclasses.asdict` made of one, JSON's lists for tuples allowed.

    Raises:
        TypeError: If a field is unknown.
        ValueError: If a field is out of range.
    """
    known: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    if known.get("prior") is not None:
        known["prior"] = PriorConfig(**known["prior"])
    return EnhancerConfig(**known)


def load_enhancer(path: str | Path) -> LocalEnhancementNetwork:
    """Read a network that `LocalEnhancementNetwork.save` wrote.

    Args:
        path: The safetensors file; or a folder with one by the name `ENHANCER`, which a run of
            train_agent.py and a folder of weights are.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is cut off, of another kind, its weights do not fit its configuration, or are
            not finite.
    """
    path = Path(path)
    path = path / ENHANCER if path.is_dir() else path
    header = read_header(path, _KIND, f"there is no enhancer file {path}; train one with train_agent.py")
    weights = read_tensors(path)
    try:
        values: dict[str, Any] = json.loads(header["config"])
        network = LocalEnhancementNetwork(enhancer_config(values))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} has no configuration that fits this version: {error}") from error
    expected = network.state_dict()
    if wrong := sorted(
        name
        for name in weights.keys() | expected.keys()
        if name not in weights or name not in expected or weights[name].shape != expected[name].shape
    ):
        named = ", ".join(wrong[:3]) + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else "")
        raise ValueError(f"the weights in {path} do not belong to its configuration: {named}")
    network.load_state_dict(weights)  # copies, and converts half precision
    return network
