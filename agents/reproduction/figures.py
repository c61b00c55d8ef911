"""Figures 3 and 5: what the methods make of some faces, and how an episode goes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from agents.baselines import Degradation, Hallucinator, hallucinator_class, make_hallucinator
from agents.baselines.run import WEIGHTS
from agents.evaluation import make_agent
from agents.faces import evenly_spread, face_batch
from agents.measurement import Measurement
from agents.pictures import picture_grid, save_png
from agents.reinforce import RecurrentReinforce
from agents.reproduction.cells import Cell
from agents.reproduction.request import Request
from agents.rollout import walk
from agents.runs import AGENT
from agents.training import make_environment
from agents.visualisation.rollout import Rollout
from agents.visualisation.strip import trace_strip
from facehall_env.core import to_uint8
from facehall_env.task import choose_device


@dataclass(frozen=True)
class FigureRequest(Request):
    """A figure to be made; of what a table's request has, ``records`` and ``limit`` are refused.

    Attributes:
        train: Train what is missing; false: only draw the runs that are there.
        faces_shown: How many faces, evenly spread over the split.
    """

    faces_shown: int = 5

    def __post_init__(self) -> None:
        """Refuse what no figure has."""
        super().__post_init__()
        for name, given in (("records", bool(self.records)), ("limit", self.limit is not None)):
            if given:
                raise ValueError(
                    f"{name} is set, but a figure is drawn from runs and measures nothing: leave it out; "
                    "faces_shown says how many faces are drawn"
                )
        if self.faces_shown < 1:
            raise ValueError(f"faces_shown is {self.faces_shown}, but a figure has at least one face")


def draw_figure(request: FigureRequest) -> tuple[list[Path], list[Cell]]:
    """Train what is missing, and draw.

    Figure 3 is one picture a scale and protocol, a row a face and a column a method; Figure 5 one picture a
    face too: I_0, and every step's picture with its boxes and the patch.

    Args:
        request: Which figure, of what. Without ``train`` it shows the runs that are there.

    Returns:
        The pictures, and the runs that are missing.

    Raises:
        ValueError: If something does not fit, before anything is trained.
        FileNotFoundError: If data or configurations are not there, likewise.
        DivergenceError: If learning came apart.
    """
    maker, faces = request.maker, request.faces
    cells = request.cells()
    faces.load()
    for cell in cells:
        if request.train or maker.finished(cell):
            maker.check(cell)
    if request.train:
        if not all(maker.finished(cell) for cell in cells):
            faces.load("train")
        for cell in _shown(cells, request):
            maker.train(cell)
    there = [cell for cell in cells if maker.finished(cell)]
    draw = _draw_systems if request.table == "figure3" else _draw_episodes
    return list(draw(request, there)), [cell for cell in cells if cell not in there]


def _draw_systems(request: FigureRequest, cells: list[Cell]) -> Iterator[Path]:
    faces = request.faces.load()
    original = face_batch(faces, evenly_spread(len(faces), request.faces_shown))
    for scale, protocol in dict.fromkeys((cell.scale, cell.protocol) for cell in cells):
        degradation = Degradation.of(faces, scale, protocol)
        low = degradation.resampler().shrink(original.float() / 255.0)
        columns = {"input": _pixels(low)}
        for cell in _shown([c for c in cells if (c.scale, c.protocol) == (scale, protocol)], request):
            columns[cell.row.heading] = _answer(request, cell, degradation, original, low)
        columns["HR"] = original.permute(0, 2, 3, 1).numpy()
        path = request.folder / f"figure3-{request.faces.name}-x{scale}-{protocol}.png"
        save_png(path, picture_grid(columns, reference="HR"))
        yield path


def _answer(
    request: FigureRequest, cell: Cell, degradation: Degradation, original: Tensor, low: Tensor
) -> NDArray[np.uint8]:
    """What a method makes of the faces, uint8 (N, H, W, C)."""
    folder = cell.folder(request.maker.recipe.runs)
    if cell.row.kind == "agent":
        run = Measurement(folder, request.split, root=request.root, device=request.device)
        env = make_environment(run.experiment, request.split)
        agent = RecurrentReinforce.load(folder / AGENT, env=env)
        core = agent.core.replica(reward="terminal")
        chooser = make_agent("attention_fh", agent, run.seed)
        assert chooser is not None
        walk(core, chooser, original)
        return to_uint8(core.current).cpu().numpy()
    method: Hallucinator
    if cell.row.kind == "input":
        method = make_hallucinator("bicubic", degradation)
    else:
        device = choose_device(request.device)
        method = hallucinator_class(cell.row.method).load(folder / WEIGHTS, device)
        method.require_protocol(cell.protocol)
    return _pixels(method.hallucinate(low))


def _draw_episodes(request: FigureRequest, cells: list[Cell]) -> Iterator[Path]:
    size = len(request.faces.load())
    for cell in _shown(cells, request):
        run = cell.folder(request.maker.recipe.runs)
        env = {"device": request.device}
        _, looker = Rollout(str(run), split=request.split, root=request.root, env=env).open()
        for trace in looker.traces(evenly_spread(size, request.faces_shown)):
            name = f"figure5-{cell.dataset}-x{cell.scale}-{cell.protocol}-face-{trace.index}.png"
            save_png(request.folder / name, trace_strip(trace))
            yield request.folder / name


def _shown(cells: list[Cell], request: Request) -> Iterator[Cell]:
    """The cells, behind a progress bar."""
    bar = tqdm(cells, desc=request.table, unit="run", disable=not request.progress_bar, dynamic_ncols=True)
    for cell in bar:
        bar.set_postfix_str(str(cell))
        yield cell


def _pixels(pictures: Tensor) -> NDArray[np.uint8]:
    """Pictures in [0, 1], (N, C, H, W), as uint8 (N, H, W, C)."""
    return to_uint8(2.0 * torch.as_tensor(pictures) - 1.0).cpu().numpy()
