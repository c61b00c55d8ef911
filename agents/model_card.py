"""The README.md of a folder of weights, rendered from what the training run wrote down."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from agents.records import Record, make_table
from facehall_env.pretrained import PretrainedWeights

_DATASETS: Final = {
    "lfw": "Labeled Faces in the Wild, View 1",
    "bioid": "BioID, aligned by the eyes",
    "folder": "a folder of pictures",
    "synthetic": "drawn faces, no photographs",
}
_COLUMNS: Final = ("method", "psnr", "gain", "ssim", "fsim", "coverage", "n")


def render_card(
    weights: PretrainedWeights,
    *,
    config: dict[str, Any],
    budget: str,
    commands: Sequence[str],
    records: Sequence[Record],
    check: str,
) -> str:
    """A model card in Markdown, with the head that the Hugging Face Hub reads.

    Args:
        weights: The weights.
        config: The configuration of the run, resolved.
        budget: What they were trained on and for how long, in words.
        commands: Lines of ``commands.txt``, of the run and those before it: date, commit, command.
        records: What was measured with them.
        check: What half precision was found to cost, in words.
    """
    task, env_id = weights.task, weights.env_id
    policy = weights.has_policy
    kind = "a recurrent policy and a local enhancement network" if policy else "a local enhancement network"
    head = {"library_name": "facehall", "pipeline_tag": "image-to-image", "tags": ["face-hallucination"]}
    head["tags"] = [*head["tags"], "super-resolution", "gymnasium"]
    faces = _DATASETS.get(task.dataset, task.dataset)
    measured = "\n\n".join(
        f"{_named(record)}:\n\n{make_table(chosen, columns=_COLUMNS).markdown()}"
        for record, chosen in _groups(records)
    )
    parts = [
        f"---\n{yaml.safe_dump(head, sort_keys=False)}---",
        f"# {weights.name}",
        f"Weights of facehall ({kind}) for x{task.scale} face hallucination under the *{task.protocol}* "
        f"protocol, after *Attention-Aware Face Hallucination via Deep Reinforcement Learning* (Cao et al., "
        "CVPR 2017). Stored in half precision; they compute in float32.",
        "## Use",
        f"```python\n{_usage(weights)}\n```",
        "`gymnasium.make` takes these weights by itself where it finds no others for the task "
        f"({task}). Fetched from the Hub they are named by the repository's id, see "
        "`facehall_env.get_weights`. Their intended use is research on attention, reinforcement learning and "
        "super-resolution.",
        "## Limits",
        "**Hallucinated faces are not evidence of identity.** The network adds plausible detail that the "
        "low-resolution picture does not determine; two people may share a low-resolution picture. No "
        "identification, verification or other decision about a person may rest on these pictures.",
        f"The weights know faces as in their training data ({faces}), shrunk by averaging over "
        f"{task.scale}x{task.scale} pixels, placed and sized alike, at {task.shape[1]}x{task.shape[2]} "
        "pixels and no other size. On other faces, poses, lighting, blur, noise or compression they are "
        "worse in ways that were not measured, and whom the training data under-represent they serve less "
        "well.",
        "## Training",
        f"- data: {faces}, training split ({env_id})\n- budget: {budget}",
        f"Commands (date, commit, command):\n\n```text\n{_lines(commands)}\n```",
        f"The configuration, resolved:\n\n```yaml\n{_configuration(config)}```",
        "## Measured",
        measured,
        f"Commits of these measurements: {', '.join(sorted({record.commit for record in records}))}. "
        "They were made with the weights before they were stored in half precision. " + check,
        "## Licence",
        "The code is under the MIT licence. The pictures that the weights were trained on have terms of "
        "their own, and are not part of this.",
    ]
    return "\n\n".join(parts) + "\n"


def _usage(weights: PretrainedWeights) -> str:
    made = weights.arguments()
    usual = {"horizon": 25, "boundary": "pad", "consistent": False, "protocol": "aligned"}
    usual["patch_size"] = [60, 45]
    more = "".join(f", {key}={value!r}" for key, value in made.items() if value != usual[key])
    lines = [
        "import gymnasium as gym",
        "import facehall_env",
        "",
        f'env = gym.make("{weights.env_id}"{more}, enhancer="{weights.name}")',
    ]
    if weights.has_policy:
        lines[2:2] = ["from agents.reinforce import RecurrentReinforce"]
        lines.append(f'agent = RecurrentReinforce.from_pretrained("{weights.name}", env)')
    return "\n".join(lines)


def _groups(records: Sequence[Record]) -> list[tuple[Record, list[Record]]]:
    """The records by data set, split and protocol, and one that names each group."""
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        groups.setdefault((record.dataset, record.split, record.protocol), []).append(record)
    return [(group[0], group) for _, group in sorted(groups.items())]


def _named(record: Record) -> str:
    return f"{record.dataset}, {record.split} split, x{record.scale}, {record.protocol} protocol"


def _lines(commands: Sequence[str]) -> str:
    """The commands with absolute paths cut down to their last part: where files lay is nobody's concern."""
    return "\n".join(shlex.join(_short(word) for word in _words(line)) for line in commands if line.strip())


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()


def _short(word: str) -> str:
    option, equals, value = word.partition("=")
    if equals and option.startswith("--"):
        return f"{option}={_short(value)}"
    return Path(word).name if Path(word).is_absolute() else word


def _configuration(config: dict[str, Any]) -> str:
    """The configuration without what concerns the machine of the training alone."""
    shown = {name: value for name, value in config.items() if name != "run"}
    shown["start_from"] = _short(config["start_from"] or "") or None
    shown["env"] = {name: value for name, value in shown["env"].items() if name not in ("root", "device")}
    shown["enhancer"] = {
        name: _short(value) if isinstance(value, str) else value for name, value in shown["enhancer"].items()
    }
    shown["seed"] = config["run"]["seed"]
    return yaml.safe_dump(shown, sort_keys=False)
