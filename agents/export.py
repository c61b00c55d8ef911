"""A training run as a folder of weights: ``python -m agents.export --run runs/demo --name synthetic-x4``."""

from __future__ import annotations

import copy
import json
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import gymnasium as gym
import torch
from jsonargparse import auto_cli
from torch import Tensor

from agents.ablations import VARIANTS
from agents.configuration import Experiment, experiment_of
from agents.evaluation import budget_in_words
from agents.faces import evenly_spread, face_batch
from agents.files import half, save_policy
from agents.model_card import render_card
from agents.records import Record, git_commit, load_records, package_versions
from agents.reinforce import RecurrentReinforce
from agents.rollout import PolicyAgent, Recorder, walk
from agents.runs import AGENT, BUDGET, CONFIGURATION, read_config, run_name
from agents.scripted import CoreAgent, RasterScan
from agents.state import weights_digest
from facehall_env.arguments import whole
from facehall_env.core import HallucinationCore
from facehall_env.datasets import load_dataset
from facehall_env.enhancer import ENHANCER, PRESETS, LocalEnhancementNetwork
from facehall_env.pretrained.folder import (
    CARD,
    CONFIG,
    FILES,
    POLICY,
    PretrainedWeights,
    WeightsTask,
    read_weights,
)

ENHANCER_LIMIT: Final = 40 * 10**6
"""Bytes of an enhancer."""
TOTAL_LIMIT: Final = 80 * 10**6
"""Bytes of an enhancer with its policy."""
TOLERANCE: Final = 0.01
"""What half precision may cost in dB: the mean PSNR of the argmax rollouts on the compared faces."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_OTHER_MEANINGS: Final = ("identity", "pretrained", *PRESETS)
_OF_A_RUN: Final = (CONFIGURATION, AGENT, BUDGET, "commands.txt")


@dataclass(frozen=True)
class Difference:
    """What half precision changed in argmax rollouts (a raster scan where there is no policy).

    Attributes:
        faces: How many were compared.
        before: Their mean PSNR in dB with the weights of the run.
        after: The same with the exported ones.
        largest: The largest change of a face's PSNR, in dB.
        same_places: Share of the steps that looked at the same place.
    """

    faces: int
    before: float
    after: float
    largest: float
    same_places: float

    def __str__(self) -> str:
        return (
            f"On {self.faces} validation faces half precision changed the mean PSNR by "
            f"{abs(self.after - self.before):.4f} dB and that of a face by {self.largest:.4f} dB at most; "
            f"{self.same_places:.1%} of the steps looked at the same place."
        )


def export_run(
    run: Path,
    name: str,
    output: Path = Path("weights"),
    *,
    records: Path | None = None,
    root: str | None = None,
    faces: int = 64,
    overwrite: bool = False,
) -> PretrainedWeights:
    """Write the weights of a finished and measured run in half precision, with a model card.

    The folder is complete or not there at all.

    Args:
        run: The run folder of train_agent.py, measured by evaluate.py measure.
        name: What the weights are to be called, such as lfw-x8.
        output: Where their folder is to lie; name this place in FACEHALL_WEIGHTS to find them by name.
        records: The records file that has what was measured; by default that in the run folder.
        root: Where the pictures lie, if elsewhere than in training.
        faces: Compare rollouts before and after on so many validation faces; 0 for none.
        overwrite: Replace a folder of weights of this name.

    Returns:
        The weights as they were written.

    Raises:
        FileNotFoundError: If the run is not finished or not measured, or the faces are missing.
        FileExistsError: If the folder is there already.
        ValueError: If the name or the weights cannot be used: not finite in half precision, too large, or
            further from the run's than `TOLERANCE`.
    """
    _check_name(name)
    whole("faces", faces, least=0)
    target = _free_folder(output, name, overwrite)
    experiment = _read_run(run)
    agent = RecurrentReinforce.load(run / AGENT, device="cpu")
    if not isinstance(agent.enhancer, LocalEnhancementNetwork):
        raise ValueError(f"{run / AGENT} holds no enhancer of ours, so there is nothing to export")
    digest = weights_digest(agent.policy, agent.enhancer)
    measured = _records_of(run, experiment, records or run / "records.json", digest)
    weights = _weights(name, experiment, agent)
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=output) as scratch:
        folder = Path(scratch) / name
        folder.mkdir()
        _write(folder, weights, agent, with_policy=VARIANTS[experiment.name].has_policy)
        written = _written(folder, run, weights)
        check = "The rollouts of the stored weights were not compared with theirs."
        if faces:
            check = str(_compared(agent, written, experiment, root, faces))
        card = render_card(
            written,
            config=read_config(run),
            budget=budget_in_words(run),
            commands=_commands(run),
            records=measured,
            check=check,
        )
        (folder / CARD).write_text(card, encoding="utf-8")
        if target.exists():
            shutil.rmtree(target)
        folder.replace(target)
    return read_weights(target)


def _commands(run: Path, after: frozenset[Path] = frozenset()) -> list[str]:
    """A run's commands, and before them those of the runs that it started from, as far as they are there."""
    config = read_config(run)
    network = config.get("enhancer") or {}
    lines = (run / "commands.txt").read_text().splitlines()
    for origin in (config.get("start_from"), network.get("weights"), network.get("prior")):
        if origin is None:
            continue
        folder = Path(origin) if Path(origin).is_dir() else Path(origin).parent
        whole = all((folder / file).is_file() for file in (CONFIGURATION, "commands.txt"))
        if whole and folder.resolve() not in after:
            lines = [*_commands(folder, after | {run.resolve(), folder.resolve()}), *lines]
    return lines


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or name in _OTHER_MEANINGS:
        raise ValueError(
            f"name is {name!r}, but it must be a word of letters, digits, '-', '_' and '.', and none of "
            f"{', '.join(_OTHER_MEANINGS)}, which mean other enhancers"
        )


def _free_folder(output: Path, name: str, overwrite: bool) -> Path:
    folder = output / name
    if not folder.exists():
        return folder
    if not overwrite:
        raise FileExistsError(f"{folder} is there already: choose another name, or --overwrite true")
    if not folder.is_dir() or (strange := sorted({path.name for path in folder.iterdir()} - set(FILES))):
        what = f"it also holds {strange[0]}" if folder.is_dir() else "it is a file"
        raise FileExistsError(f"{folder} is no folder of weights, {what}: it is not overwritten")
    return folder


def _read_run(run: Path) -> Experiment:
    """The configuration of a run that is finished."""
    for file in _OF_A_RUN:
        if not (run / file).is_file():
            raise FileNotFoundError(
                f"{run} holds no {file}, so it is no finished run: train it to the end with python "
                f"train_agent.py --config ... --run.folder {run}"
            )
    return experiment_of(run)


def _records_of(run: Path, experiment: Experiment, path: Path, weights: str | None) -> list[Record]:
    """What was measured with the weights of this run, and bicubic on the same pictures.

    Raises:
        FileNotFoundError: If nothing was measured.
        ValueError: If the run's own method was not.
    """
    measure = f"measure it with python evaluate.py measure --run {run}"
    if not path.is_file():
        raise FileNotFoundError(f"there are no records {path} of {run}: {measure}, or name a file: --records")
    budget, everything = budget_in_words(run), load_records(path)
    own = [
        record
        for record in everything
        if record.preset == run_name(run) and record.trained_alike(budget, weights)
    ]
    if not any(record.method == experiment.name for record in own):
        raise ValueError(
            f"{path} has no record of {experiment.name} with the weights of {run} (preset {run_name(run)!r}, "
            f"budget {budget!r}): {measure} --records {path}"
        )
    on = {(*record.key[:4], record.n) for record in own}
    bicubic = [r for r in everything if r.method == "bicubic" and (*r.key[:4], r.n) in on]
    return [*bicubic, *own]


def _weights(name: str, experiment: Experiment, agent: RecurrentReinforce) -> PretrainedWeights:
    env, config = experiment.env, agent.policy.config
    fixed = gym.spec(env.id).kwargs
    task = WeightsTask(
        str(fixed["dataset"]),
        int(fixed["scale"]),
        env.protocol,
        (config.channels, config.height, config.width),
        (config.patch_height, config.patch_width),
    )
    return PretrainedWeights(name, Path(name), task, env.id, env.horizon, env.boundary, env.consistent)


def _write(folder: Path, weights: PretrainedWeights, agent: RecurrentReinforce, *, with_policy: bool) -> None:
    """All but the card."""
    said = weights.describe() | {"commit": git_commit(__file__), "versions": package_versions()}
    (folder / CONFIG).write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
    assert isinstance(agent.enhancer, LocalEnhancementNetwork)
    parts: list[tuple[str, torch.nn.Module]] = [("enhancer", agent.enhancer)]
    if with_policy:
        parts.append(("policy", agent.policy))
    for what, network in parts:
        for key, tensor in network.state_dict().items():
            if not bool(torch.isfinite(half(tensor)).all()):
                raise ValueError(f"the {what}'s {key} is not finite in half precision: it cannot be exported")
    copy.deepcopy(agent.enhancer).half().save(folder / ENHANCER)
    if with_policy:
        save_policy(agent, folder / POLICY)
    for path in folder.iterdir():  # readable by all, as what is packaged has to be
        path.chmod(0o644)


def _written(folder: Path, run: Path, weights: PretrainedWeights) -> PretrainedWeights:
    """The weights as they are read again, if they are small enough."""
    sizes = {file: (folder / file).stat().st_size for file in FILES if (folder / file).is_file()}
    for what, size, limit in (
        ("enhancer", sizes[ENHANCER], ENHANCER_LIMIT),
        ("enhancer with its policy", sizes[ENHANCER] + sizes.get(POLICY, 0), TOTAL_LIMIT),
    ):
        if size > limit:
            raise ValueError(
                f"the {what} of {run} takes {size / 1e6:.1f} MB in half precision, but at most "
                f"{limit / 1e6:.0f} MB may be exported: train a smaller preset"
            )
    return read_weights(folder, weights.name)


def _compared(
    agent: RecurrentReinforce,
    weights: PretrainedWeights,
    experiment: Experiment,
    root: str | None,
    faces: int,
) -> Difference:
    env = experiment.env
    try:
        dataset = load_dataset(weights.task.dataset, root=root or env.root, split="val", **env.data)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error} (the validation faces are for comparing rollouts; without: --faces 0)"
        ) from error
    batch = face_batch(dataset, evenly_spread(len(dataset), faces))
    difference = compare(agent, weights, batch)
    if not abs(difference.after - difference.before) <= TOLERANCE:
        raise ValueError(
            f"half precision changes the mean PSNR of {len(batch)} validation faces from "
            f"{difference.before:.3f} to {difference.after:.3f} dB, more than {TOLERANCE} dB: not exported"
        )
    return difference


def compare(agent: RecurrentReinforce, weights: PretrainedWeights, faces: Tensor) -> Difference:
    """Walk the same faces with an agent and with its exported weights.

    Args:
        agent: Before.
        weights: After.
        faces: uint8, (N, C, H, W).
    """
    task = weights.task
    after = RecurrentReinforce.from_pretrained(weights, device="cpu") if weights.has_policy else None
    psnr, places = [], []
    for enhancer, looker in ((agent.enhancer, agent), (weights.enhancer(), after)):
        core = HallucinationCore(
            task.shape,
            task.scale,
            horizon=weights.horizon,
            patch_size=task.patch_size,
            boundary=weights.boundary,
            protocol=task.protocol,
            consistent=weights.consistent,
            enhancer=enhancer,
        )
        chooser: CoreAgent = RasterScan()
        if after is not None and looker is not None:
            chooser = PolicyAgent(looker.policy, deterministic=True)
        recorder = Recorder(chooser)
        walk(core, recorder, faces)
        psnr.append(-10.0 * core.mse.log10())
        places.append(torch.stack(recorder.locations))
    return Difference(
        len(faces),
        float(psnr[0].mean()),
        float(psnr[1].mean()),
        float((psnr[1] - psnr[0]).abs().max()),
        float((places[0] == places[1]).float().mean()),
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command; errors come as one line."""
    try:
        cli: Any = auto_cli
        weights: PretrainedWeights = cli(
            export_run, args=arguments, prog="python -m agents.export", as_positional=False
        )
    except (ValueError, OSError) as error:
        print(f"agents.export: {error}", file=sys.stderr)
        return 2
    for path in sorted(weights.folder.iterdir()):
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    print(f"for {weights.task}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
