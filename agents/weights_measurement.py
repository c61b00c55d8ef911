"""Measuring pretrained weights: what was exported, and not the run that it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import gymnasium as gym

from agents.distributed import ALONE, Ranks
from agents.evaluation import Method, make_agent, measure_split, measured_size
from agents.measurement import blank_record, recorded_mode, write_measured
from agents.records import is_measured
from agents.reinforce import RecurrentReinforce
from agents.state import weights_digest
from facehall_env.env import FaceHallucinationEnv
from facehall_env.pretrained import PretrainedWeights, get_weights

LOOKERS: Final[tuple[Method, ...]] = ("attention_fh", "raster_scan")
"""What is measured by default: the policy, and what it has to beat with the same enhancer."""


def measure_weights(
    name: str | PretrainedWeights,
    records: Path,
    methods: Sequence[Method] = LOOKERS,
    *,
    root: str | None = None,
    data: Mapping[str, Any] | None = None,
    split: str = "test",
    batch_size: int = 64,
    limit: int | None = None,
    seed: int = 0,
    self_ensemble: bool = False,
    again: bool = False,
    device: str = "auto",
    progress_bar: bool = True,
    ranks: Ranks = ALONE,
) -> None:
    """Measure weights by name on the faces that they are for; writes a record a method.

    Args:
        name: A name, a folder or a repository's id, see `facehall_env.get_weights`.
        records: The records file to update, with a CSV an image beside it.
        methods: Who looks, with the enhancer of the weights.
        root: Where the pictures lie; None where they need no files or were prepared before.
        data: More options of the data set, by name.
        split: ``"train"``, ``"val"`` or ``"test"``.
        batch_size: Faces side by side.
        limit: Only the first faces of the split.
        seed: Of random locations.
        self_ensemble: Measure each face with its mirror image, see `agents.evaluation.measure_split`; the
            records' mode says so.
        again: Also what the records file has already.
        device: Where to compute.
        progress_bar: Show one.
        ranks: The processes that share the faces; the first one writes.

    Raises:
        FileNotFoundError: If there are no such weights or pictures.
        ValueError: If the weights do not fit, or hold no policy where one is to be measured.
    """
    weights = get_weights(name)
    made = gym.make(
        weights.env_id,
        root=root,
        split=split,
        enhancer=str(weights.folder),
        data_options=dict(data or {}),
        device=device,
        disable_env_checker=True,
        **weights.arguments(),
    )
    env = made.unwrapped
    assert isinstance(env, FaceHallucinationEnv)
    agent = RecurrentReinforce.from_pretrained(weights, env) if weights.has_policy else None
    core, dataset = env.core.replica(reward="terminal"), env.task.dataset
    size = measured_size(dataset, limit)
    blanks = {
        method: replace(
            blank_record(core, dataset, split, seed),
            method=method.removesuffix("_sampled"),
            mode=recorded_mode(method, self_ensemble),
            # Not the name alone, which a run folder may have, and its records
            preset="pretrained-" + weights.name.replace("/", "_"),
            budget=f"pretrained weights {weights.name}: their card says it",
            weights=weights_digest(agent and agent.policy, core.enhancer),
        )
        for method in methods
    }
    known = {method: is_measured(records, blank, size, again=again) for method, blank in blanks.items()}
    for method, record in blanks.items():
        if ranks.share(known[method]):  # the first one alone need see the file
            continue
        measured = measure_split(
            core,
            dataset,
            make_agent(method, agent, seed),
            batch_size=batch_size,
            limit=limit,
            self_ensemble=self_ensemble,
            progress=f"{weights.name}, {method}" if progress_bar else None,
            ranks=ranks,
        )
        if ranks.first:
            write_measured(records, record, measured)
    ranks.wait()
