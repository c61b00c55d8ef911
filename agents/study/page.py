"""A finished study as files: figure and tables in its folder, published copies, and the page about them."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from agents.records import provenance
from agents.records.blocks import render_blocks
from agents.records.files import write_atomically
from agents.study.configuration import SCRIPTED
from agents.study.curves import CurveFile, CurveRow
from agents.study.figure import save_figure
from agents.study.run import Study
from agents.study.summary import COMPARED, Curves, equal_table, mean_over_seeds, outcome_table, paired_table

PAGE: Final = Path("docs/policy.md")


def draw(study: Study) -> None:
    """Write figure, tables and what they are made from into the study's folder, from what is there so far.

    Raises:
        ValueError: If nothing was measured yet.
    """
    config, folder = study.config, study.folder
    rows = _finished(study)
    if not any(row.variant not in SCRIPTED for row in rows):
        raise ValueError(f"{study.curves.path} has no variant to draw yet: run the study first")
    pairs = {
        f"{config.compare}.argmax.csv": [
            study.faces_path(config.compare, seed, "argmax")
            for seed in config.seeds
            if study.finished(config.compare, seed)
        ],
    }
    for name in COMPARED:
        paths = (study.faces_path(name, seed, "scripted") for seed in config.seeds)
        pairs[f"{name}.csv"] = [path for path in paths if path.is_file()]
    if all(pairs.values()):
        for name, files in pairs.items():
            mean_over_seeds(files, folder / "compared" / name)
    about = {
        "name": config.name,
        "env": asdict(config.env) | {"root": None},
        "enhancer": config.enhancer.name,
        "total_timesteps": config.total_timesteps,
        "agent": config.agent,
        "policy": config.policy,
        "variants": {name: asdict(variant) for name, variant in config.variants.items()},
        "panels": config.panels or {config.name: list(config.variants)},
        "by_time": config.by_time,
        "compare": config.compare,
        **study.measured_on(),
        **{name: value for name, value in provenance().items() if name != "command"},
    }
    write_atomically(folder / "study.json", json.dumps(about, indent=2, default=str) + "\n")
    save_figure(folder / "curves.png", Curves(rows), about["panels"], config.by_time)
    tables = _tables(folder / "study.json", rows, folder / "compared")
    write_atomically(folder / "tables.md", tables + "\n")


def publish(study: Study, root: Path = Path()) -> None:
    """Copy the study's records and figure to where they are kept, and render the page.

    Args:
        study: Drawn.
        root: The project's folder.

    Raises:
        ValueError: If a variant is not finished, or nothing was drawn.
    """
    config, folder, records = study.config, study.folder, root / "results" / "studies"
    missing = [
        f"{name} (seed {seed})"
        for name in config.variants
        for seed in config.seeds
        if not study.finished(name, seed)
    ]
    if missing:
        raise ValueError(f"{config.name} is not finished: {', '.join(missing)} are to be run")
    if not (folder / "compared").is_dir():
        raise ValueError(
            f"{config.name} lacks the agents that do not learn: run the same command without --only"
        )
    records.mkdir(parents=True, exist_ok=True)
    images = root / "docs" / "images"
    images.mkdir(parents=True, exist_ok=True)
    CurveFile(records / f"{config.name}.csv").replace(_finished(study))
    shutil.copyfile(folder / "study.json", records / f"{config.name}.json")
    shutil.copytree(folder / "compared", records / config.name, dirs_exist_ok=True)
    shutil.copyfile(folder / "curves.png", images / f"{config.name}.png")
    render_page(root / PAGE, root)


def render_page(page: Path, root: Path = Path(), *, check: bool = False) -> bool:
    """Render what lies between ``<!-- study: NAME -->`` and ``<!-- /study -->`` anew, from published records.

    Args:
        page: A Markdown file.
        root: The project's folder.
        check: Change nothing.

    Returns:
        Whether the page was up to date.

    Raises:
        ValueError: If there is no such mark.
    """
    return render_blocks(page, "study", lambda name: _block(name, root), check=check)


def _block(name: str, root: Path) -> str:
    records = root / "results" / "studies"
    about = records / f"{name}.json"
    if not about.is_file():
        return f"No results are published yet; `configs/studies/{name}.yaml` says how to get them."
    tables = _tables(about, CurveFile(records / f"{name}.csv").rows(), records / name)
    return f"![Learning curves of {name}](images/{name}.png)\n\n{tables}"


def _finished(study: Study) -> list[CurveRow]:
    """What was measured of the seeds of the study that are done; one that learns, or was cut off, is none."""
    return [
        row
        for row in study.curves.rows()
        if row.seed in study.config.seeds
        and (row.variant in SCRIPTED or study.finished(row.variant, row.seed))
    ]


def _tables(about_path: Path, rows: list[CurveRow], compared: Path) -> str:
    """All that is said of a study."""
    about: dict[str, Any] = json.loads(about_path.read_text(encoding="utf-8"))
    curves = Curves(rows)
    commits = sorted({row.commit[:12] + row.commit[40:] for row in rows})
    parts = [
        f"`{about['env']['id']}`, T = {about['env']['horizon']}, the enhancer `{about['enhancer']}` frozen; "
        f"{about['total_timesteps']:,} environment steps, {about['validation_faces']} validation faces; "
        f"on {about['processor']}; commit {', '.join(commits)}.",
        "After all steps, interquartile mean of the gain over the input and its 95 % bootstrap interval over "
        "the seeds; covered and distinct places of argmax:",
        outcome_table(curves, list(about["variants"])),
    ]
    for title in about["by_time"]:
        parts += [f"{title}, at equal steps and at equal time:", equal_table(curves, about["panels"][title])]
    if compared.is_dir():
        parts += [
            "The same faces, a face's values being means over the seeds, paired bootstrap over the faces:",
            paired_table(compared, about["compare"]),
        ]
    return "\n\n".join(parts)
