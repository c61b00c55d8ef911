"""The variants of Attention-FH: under which names their runs are recorded, and what each name promises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from agents.configuration import Experiment

VariantName = Literal[
    "attention_fh",
    "attention_fh_t5",
    "attention_fh_t15",
    "attention_fh_t25",
    "attention_fh_t35",
    "whole_image",
    "random_patch",
    "initial_input",
    "patch_30x22",
    "patch_90x67",
    "no_global_branch",
    "raster_scan",
    "greedy_oracle",
]
Looker = Literal["attention_fh", "random_patch", "raster_scan", "greedy_oracle"]


class Variant(NamedTuple):
    """What a name says of a run.

    Attributes:
        looker: Who chooses the locations when the run is measured; ``attention_fh`` is the policy.
        promises: What the configuration must say to bear the name, by dotted key.
    """

    looker: Looker
    promises: Mapping[str, Any] = {}

    @property
    def has_policy(self) -> bool:
        """Whether there is a policy to learn."""
        return self.looker == "attention_fh"


def _scripted(looker: Looker, chooser: str) -> Variant:
    """A variant whose enhancer learns from the episodes of an agent that learns nothing."""
    return Variant(
        looker, {"pretraining.chooser": chooser, "agent.imitation_updates": 0, "total_timesteps": 0}
    )


VARIANTS: Final[dict[VariantName, Variant]] = {
    "attention_fh": Variant("attention_fh"),
    "attention_fh_t5": Variant("attention_fh", {"env.horizon": 5}),
    "attention_fh_t15": Variant("attention_fh", {"env.horizon": 15}),
    "attention_fh_t25": Variant("attention_fh", {"env.horizon": 25}),
    "attention_fh_t35": Variant("attention_fh", {"env.horizon": 35}),
    # A scan by a patch as large as the picture has one place, the middle
    "whole_image": _scripted("raster_scan", "raster"),
    "random_patch": _scripted("random_patch", "random"),
    "initial_input": Variant("attention_fh", {"policy.policy_input": "initial"}),
    "patch_30x22": Variant("attention_fh", {"env.patch_size": (30, 22)}),
    "patch_90x67": Variant("attention_fh", {"env.patch_size": (90, 67)}),
    "no_global_branch": Variant("attention_fh", {"enhancer.global_features": 0}),
    "raster_scan": _scripted("raster_scan", "raster"),
    "greedy_oracle": _scripted("greedy_oracle", "oracle"),
}
"""Name in records -> what it says. ``configs/ablations/`` has a configuration for each."""


def check_name(experiment: Experiment, picture: tuple[int, int]) -> None:
    """Refuse a run whose name says another thing than its configuration.

    Args:
        experiment: What is to be run.
        picture: H, W of its pictures.

    Raises:
        ValueError: If they differ; the message names the key and what it must be.
    """
    promises = dict(VARIANTS[experiment.name].promises)
    if experiment.name == "whole_image":
        promises["env.patch_size"] = picture
    values = asdict(experiment)
    for key, wanted in promises.items():
        found: Any = values
        for part in key.split("."):
            found = found[part]
        if (tuple(found) if isinstance(wanted, tuple) else found) != wanted:
            raise ValueError(
                f"{key} is {found!r}, but a run named {experiment.name!r} has {wanted!r}: set it, or choose "
                "another --name"
            )
