"""One number of a table: which row, which faces, which scale and protocol; and the run that makes it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from agents.baselines import hallucinator_class
from agents.reproduction.rows import Row
from facehall_env.datasets import FaceDataset, load_dataset
from facehall_env.resample import ProtocolName

SCALES: Final = (4, 8)
ROOT: Final = Path(__file__).parents[2]
CONFIGS: Final = ROOT / "configs"
_IDS: Final = {"lfw": "LFW", "bioid": "BioID", "synthetic": "Synthetic"}


@dataclass(frozen=True)
class Faces:
    """The faces of a table.

    Attributes:
        name: ``lfw``, ``bioid`` or ``synthetic``.
        root: Where they lie; None where they need no files or were prepared before.
        options: More of the data set's options, by name.
        split: Which of them are measured.
    """

    name: str
    root: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    split: str = "test"

    def load(self, split: str | None = None) -> FaceDataset:
        """Open a split, by default the one that is measured.

        Raises:
            ValueError: If the data are wrong.
            FileNotFoundError: If they are not there.
        """
        return load_dataset(self.name, root=self.root, split=split or self.split, **self.options)


@dataclass(frozen=True)
class Cell:
    """One number of a table.

    Attributes:
        row: Which row.
        dataset: ``lfw``, ``bioid`` or ``synthetic``.
        scale: 4 or 8.
        protocol: ``"aligned"`` or ``"torch7"``.
        seed: Of the run.
    """

    row: Row
    dataset: str
    scale: int
    protocol: ProtocolName
    seed: int = 0

    def __str__(self) -> str:
        """Such as ``srcnn x8, torch7``."""
        seed = f", seed {self.seed}" if len(self.row.seeds) > 1 else ""
        return f"{self.row.name} x{self.scale}, {self.protocol}{seed}"

    @property
    def serves_both(self) -> bool:
        """Whether one run stands for both protocols, as its method does not read I_0."""
        return self.row.kind == "method" and not hallucinator_class(self.row.method).reads_initial

    @property
    def task(self) -> str:
        """What its run learns, in the names of files: such as ``lfw-x8``, and ``lfw-x8-torch7``."""
        protocol = "-torch7" if self.protocol == "torch7" and not self.serves_both else ""
        return f"{self.dataset}-x{self.scale}{protocol}"

    @property
    def env_id(self) -> str:
        """The environment of its agent."""
        return f"FaceHallucination-{_IDS[self.dataset]}-x{self.scale}"

    def folder(self, runs: Path) -> Path:
        """The run folder, such as ``runs/srcnn-lfw-x8-torch7`` and ``runs/lfw-x8`` for Attention-FH.

        Args:
            runs: Where all run folders lie.
        """
        method = "" if self.row.method == "attention_fh" else f"{self.row.method}-"
        name = f"{method}{self.task}"
        return runs / f"seed-{self.seed}" / name if len(self.row.seeds) > 1 else runs / name


@dataclass(frozen=True)
class Recipe:
    """How runs are configured, whatever the row.

    Attributes:
        faces: What they learn from and are measured on.
        runs: Where all run folders lie.
        overrides: A folder of configurations: its ``agent.yaml`` is given after the configuration that all
            agents share, then one for those of a scale and protocol, such as ``agent-lfw-x8-torch7.yaml``,
            its ``METHOD.yaml`` after a row's own, and one of a run folder's name, such as
            ``srcnn-lfw-x8-torch7.yaml``, after that; None for none.
        device: Where to compute.
        progress_bar: Show them.
    """

    faces: Faces
    runs: Path
    overrides: Path | None = None
    device: str = "auto"
    progress_bar: bool = True

    def program(self, cell: Cell) -> str:
        """Which program trains the row."""
        return "python train_agent.py" if cell.row.kind == "agent" else "python -m agents.baselines"

    def words(self, cell: Cell) -> list[str]:
        """The command line that trains a row, without the program."""
        agent = cell.row.kind == "agent"
        words = self._agent(cell) if agent else self._method(cell)
        words += self._given(*dict.fromkeys((cell.row.method, cell.folder(self.runs).name)))
        faces, prefix = self.faces, "env" if agent else "data"
        if faces.root is not None:
            words += [f"--{prefix}.root", faces.root]
        if faces.options:
            words += ["--env.data" if agent else "--data.options", json.dumps(faces.options)]
        words += ["--env.protocol" if agent else "--protocol"]
        words += ["aligned" if cell.serves_both else cell.protocol]
        if self.device != "auto":
            words += ["--env.device" if agent else "--device", self.device]
        if not self.progress_bar:
            words += ["--run.progress_bar", "false"]
        return [*words, "--run.seed", str(cell.seed), "--run.folder", str(cell.folder(self.runs))]

    def _given(self, *names: str) -> list[str]:
        """The options that give the overrides of these names, those that there are."""
        if self.overrides is None:
            return []
        paths = [self.overrides / f"{name}.yaml" for name in names]
        return [word for path in paths if path.is_file() for word in ("--config", _shown(path))]

    def _agent(self, cell: Cell) -> list[str]:
        own = CONFIGS / f"{cell.dataset}-x{cell.scale}-{cell.protocol}.yaml"
        shared = self._given("agent", f"agent-{cell.task}")
        if shared:
            # What all agents share is changed, so they have to share the rest
            words = ["--config", _shown(_configuration("{}-x{}", cell.dataset, cell.scale)), *shared]
        elif cell.row.method == "attention_fh" and own.is_file():
            words = ["--config", _shown(own)]
        else:
            words = ["--config", _shown(_configuration("{}-x{}", cell.dataset, cell.scale))]
        if cell.row.method != "attention_fh":
            words += ["--config", _shown(CONFIGS / "ablations" / f"{cell.row.method}.yaml")]
        return [*words, "--env.id", cell.env_id]

    def _method(self, cell: Cell) -> list[str]:
        pattern = f"baselines/{cell.row.method}-{{}}-x{{}}"
        words = ["--config", _shown(_configuration(pattern, cell.dataset, cell.scale))]
        words += ["--scale", str(cell.scale), "--data.name", cell.dataset]
        # Only real data have their training and validation faces in one
        return [*words, "--data.split", "train"] if cell.dataset == "synthetic" else words


def _configuration(pattern: str, dataset: str, scale: int) -> Path:
    """The configuration that is nearest to what is asked for: LFW's and x8 stand in for others."""
    candidates = [(dataset, scale), ("lfw", scale), (dataset, 8), ("lfw", 8)]
    paths = [CONFIGS / f"{pattern.format(*names)}.yaml" for names in candidates]
    return next((path for path in paths if path.is_file()), paths[-1])


def _shown(path: Path) -> str:
    """A path as one would type it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
