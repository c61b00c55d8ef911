"""Making a number of a table: train what is missing, measure what is not measured."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from agents.baselines.configuration import BaselineExperiment, parse
from agents.baselines.run import BaselineRun
from agents.configuration import Experiment, make_parser, read_experiment
from agents.evaluation import Method
from agents.measurement import Measurement, measure_baseline, measure_bicubic
from agents.reproduction.cells import SCALES, Cell, Recipe
from agents.reproduction.checking import check_finished, check_origins, check_split, is_finished
from agents.runs import check_same
from agents.training import TrainingRun
from facehall_env.resample import PROTOCOLS


@dataclass(frozen=True)
class Maker:
    """Trains and measures.

    Attributes:
        recipe: How.
        records: The file for what was measured.
        limit: Measure only the first faces of the split.
        batch_size: Faces side by side when measuring.
    """

    recipe: Recipe
    records: Path
    limit: int | None = None
    batch_size: int = 64

    def finished(self, cell: Cell) -> bool:
        """Whether the run that a number needs has been done."""
        return is_finished(cell, self.recipe.runs)

    def check(self, cell: Cell) -> None:
        """Refuse what cannot be made, before anything is.

        Raises:
            ValueError: If the run folder holds another experiment or broken weights, the configuration does
                not fit, or the method learns from what is to be measured.
            FileNotFoundError: If a configuration is missing, or weights to start from.
        """
        if cell.row.kind == "input":
            return
        if self.finished(cell):
            check_finished(cell, self.recipe.runs, self.recipe.faces.split)
            return
        kind = TrainingRun if cell.row.kind == "agent" else BaselineRun
        unfinished = self._unfinished(cell)
        for run, (experiment, resolved) in unfinished.items():
            check_same(run.folder(self.recipe.runs), resolved, kind.MAY_CHANGE)
            check_origins(experiment, self._origin(run, experiment.start_from) in unfinished)
        experiment, _ = unfinished[cell]
        if isinstance(experiment, BaselineExperiment):
            check_split(cell, experiment.data.split, self.recipe.faces.split)

    def make(self, cell: Cell) -> None:
        """Train if need be, and measure; what was cut off goes on where it was.

        Raises:
            ValueError: If a run does not fit the number.
            FileNotFoundError: If data are missing.
            DivergenceError: If learning came apart.
        """
        self.train(cell)
        self._measure(cell)

    def train(self, cell: Cell) -> None:
        """Do what is left to do of the run that a number needs, and before it of the runs it starts from.

        Raises:
            ValueError, FileNotFoundError, DivergenceError: As `make`.
        """
        for run, (experiment, resolved) in self._unfinished(cell).items():
            self._train(run, experiment, resolved)
            gc.collect()  # one method's networks need not lie beside the next one's

    def _unfinished(self, cell: Cell) -> dict[Cell, tuple[Experiment | BaselineExperiment, str]]:
        """The runs that are left to do for a number, as `_read` has them: the first to be done comes first.

        They are those that `start_from` leads back to, and the number's own.

        Raises:
            ValueError: If a run starts from itself.
            FileNotFoundError: If a configuration is missing.
        """
        chain: dict[Cell, tuple[Experiment | BaselineExperiment, str]] = {}
        run: Cell | None = cell
        while run is not None and not self.finished(run):
            if run in chain:
                raise ValueError(
                    f"the runs that {cell} starts from start from one another "
                    f"({' after '.join(str(one) for one in (*chain, run))}): change a start_from"
                )
            chain[run] = self._read(run)
            run = self._origin(run, chain[run][0].start_from)
        return dict(reversed(chain.items()))

    def _origin(self, cell: Cell, start: Path | None) -> Cell | None:
        """The number of the same row whose run a run starts from; None where there is no such number."""
        if start is None:
            return None
        # An agent's run is named by the file in its folder
        places = (start.resolve(), start.resolve().parent)
        for other, folder in self._of_the_row(cell):
            if folder.resolve() in places:
                return other
        return None

    def _moved(self, cell: Cell, start: Path | None) -> Path | None:
        """Where a run lies that a configuration takes to be in ``runs``, if it is one of the same row.

        None if it is not.
        """
        if start is None or start.is_absolute() or start.parts[0] != "runs":
            return None
        for _, folder in self._of_the_row(cell):
            if folder.name == start.name:
                return folder
            if folder.name == start.parent.name:
                return folder / start.name
        return None

    def _of_the_row(self, cell: Cell) -> Iterator[tuple[Cell, Path]]:
        """The numbers of the same row, whose runs may start from one another, and their run folders."""
        for scale, protocol in itertools.product(SCALES, PROTOCOLS):
            other = replace(cell, scale=scale, protocol=protocol)
            yield other, other.folder(self.recipe.runs)

    def _read(self, cell: Cell) -> tuple[Experiment | BaselineExperiment, str]:
        """The experiment, and the whole configuration as YAML."""
        words = self.recipe.words(cell)
        experiment, resolved = self._parse(cell, words)
        if (start := self._moved(cell, experiment.start_from)) is None or start == experiment.start_from:
            return experiment, resolved
        return self._parse(cell, [*words, "--start_from", str(start)])

    def _parse(self, cell: Cell, words: list[str]) -> tuple[Experiment | BaselineExperiment, str]:
        if cell.row.kind == "method":
            return parse(words)
        parser = make_parser()
        made = parser.parse_args(words)
        return read_experiment(made), parser.dump(made, skip_unset=False)

    def _train(self, cell: Cell, experiment: Experiment | BaselineExperiment, resolved: str) -> None:
        print(f"training {cell} in {cell.folder(self.recipe.runs)}", flush=True)
        run: TrainingRun | BaselineRun
        if isinstance(experiment, Experiment):
            run = TrainingRun(experiment, resolved)
        else:
            run = BaselineRun(experiment, resolved)
        run.train()

    def _measure(self, cell: Cell) -> None:
        recipe, faces = self.recipe, self.recipe.faces
        bar = recipe.progress_bar
        if cell.row.kind == "input":
            measure_bicubic(
                faces.load(),
                faces.split,
                cell.scale,
                cell.protocol,
                self.records,
                limit=self.limit,
                progress_bar=bar,
            )
        elif cell.row.kind == "method":
            measure_baseline(
                cell.folder(recipe.runs),
                None if cell.serves_both else cell.protocol,
                split=faces.split,
                records=self.records,
                root=faces.root,
                batch_size=self.batch_size,
                limit=self.limit,
                device=recipe.device,
                progress_bar=bar,
            )
        else:
            measurement = Measurement(
                cell.folder(recipe.runs),
                faces.split,
                records=self.records,
                root=faces.root,
                batch_size=self.batch_size,
                limit=self.limit,
                device=recipe.device,
            )
            looker: Method = measurement.variant.looker
            if cell.row.mode == "sampled":
                looker = "attention_fh_sampled"
            measurement.measure(cell.protocol, (looker,), progress_bar=bar)
