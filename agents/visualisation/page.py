"""A page to step through episodes with: plain HTML beside its pictures, which needs no network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image

from agents.pictures import save_png
from agents.visualisation.heat import heat_layer
from agents.visualisation.trace import EpisodeTrace


def save_steps(folder: Path, trace: EpisodeTrace) -> None:
    """Write the pictures that the page shows of one episode, pixel by pixel.

    Args:
        folder: Made if need be; gets ``picture-000.png`` (I_0) ... ``picture-T.png``, ``original.png``, for
            every step from 1 the patch ``before-``, ``after-`` and ``truth-``, and the layer ``heat-``.
        trace: The episode.
    """
    folder.mkdir(parents=True, exist_ok=True)
    save_png(folder / "original.png", trace.high_resolution)
    for t, picture in enumerate(trace.pictures):
        save_png(folder / f"picture-{t:03}.png", picture)
        if t == 0:
            continue
        save_png(folder / f"before-{t:03}.png", trace.patch(trace.pictures[t - 1], t))
        save_png(folder / f"after-{t:03}.png", trace.patch(picture, t))
        save_png(folder / f"truth-{t:03}.png", trace.patch(trace.high_resolution, t))
        if trace.probabilities is not None:
            layer = heat_layer(trace.probabilities[t - 1])
            Image.fromarray(layer).save(folder / f"heat-{t:03}.png")


def save_page(
    path: Path,
    traces: Sequence[EpisodeTrace],
    folders: Sequence[str],
    links: Sequence[Sequence[tuple[str, str]]],
    *,
    about: str,
    attention: str | None = None,
) -> None:
    """Write the page; the pictures lie in ``FOLDER/steps`` beside it, see `save_steps`.

    Args:
        path: The HTML file.
        traces: The episodes.
        folders: Of every episode, seen from the page.
        links: Of every episode, text and name of more files in its folder.
        about: A line about environment and agent.
        attention: The summary picture, seen from the page; None for none.
    """
    height, width = traces[0].high_resolution.shape[:2]
    data = {
        "about": about,
        "height": height,
        "width": width,
        "patch": traces[0].boxes[0, 2:].tolist(),
        "probabilities": all(trace.probabilities is not None for trace in traces),
        "episodes": [
            {
                "index": trace.index,
                "folder": folder,
                "boxes": trace.boxes.tolist(),
                "psnr": np.minimum(trace.psnr, 99.0).round(3).tolist(),  # JSON knows no infinity
                "coverage": trace.coverage.round(4).tolist(),
                "files": list(file),
            }
            for trace, folder, file in zip(traces, folders, links, strict=True)
        ],
    }
    page = files("agents.visualisation").joinpath("page.html").read_text(encoding="utf-8")
    # Nothing in the data may end the script element
    page = page.replace("/*data*/null/*end*/", json.dumps(data).replace("</", "<\\/"))
    picture = f'<p><img class="wide" src="{attention}" alt="Where all episodes looked, step by step"></p>'
    page = page.replace("<!-- attention -->", picture if attention else "")
    path.write_text(page, encoding="utf-8")
