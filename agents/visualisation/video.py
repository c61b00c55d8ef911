"""The video of one episode: where the policy would look, where it looked, and what came of it."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from agents.visualisation.heat import heat_over
from agents.visualisation.trace import EpisodeTrace
from facehall_env.rendering import RED, Pixels, draw_boxes, enlargement, magnify, outline, panel_row, rgb


def trace_frames(trace: EpisodeTrace) -> list[Pixels]:
    """The frames of an episode: one before the first step and one after each.

    From left to right: what the policy saw, with its probabilities of the next location in colours and the
    box that it chose; the picture after the patch was enhanced, with all boxes so far; the original.

    Args:
        trace: The episode.

    Returns:
        T + 1 frames of one size, uint8, (rows, columns, 3), both even.
    """
    enlarge = enlargement(*trace.high_resolution.shape[:2])
    original = magnify(rgb(trace.high_resolution), enlarge)
    frames = []
    for t in range(trace.steps + 1):
        seen = magnify(rgb(trace.pictures[max(t - 1, 0)]), enlarge)
        name, bars = "Seen, and the box chosen", None
        if trace.probabilities is not None:
            name = "Seen, and where to look"
            places = trace.probabilities[max(t - 1, 0)]
            highest = float(places.max()) * places.size
            # The colours are those of the root, see `heat_layer`
            bars = {name: ("0", f"{highest / 4:.1f}", f"{highest:.1f} times chance")}
            if t > 0:
                seen = magnify(heat_over(trace.pictures[t - 1], places), enlarge)
        if t > 0:
            outline(seen, trace.boxes[t - 1] * enlarge, RED, 2)
        panels = {
            name: seen,
            "The patch there enhanced": draw_boxes(trace.pictures[t], trace.boxes[:t], enlarge),
            "Original": original,
        }
        gain = trace.psnr[t] - trace.psnr[0] if np.isfinite(trace.psnr[t]) else np.inf
        status = f"step {t} of {trace.steps}      PSNR {trace.psnr[t]:.2f} dB ({gain:+.2f})"
        status = f"{status}      covered {trace.coverage[t]:.0%}"
        frames.append(panel_row(panels, status, bars))
    return frames


def save_video(path: Path, frames: Sequence[Pixels], fps: float = 2.0) -> Path:
    """Write frames as MP4 (H.264, which browsers play), or as GIF where imageio-ffmpeg is not installed.

    Args:
        path: The file without its ending; its folder must exist.
        frames: uint8, (rows, columns, 3), of one size, rows and columns even.
        fps: Frames a second.

    Returns:
        The file.

    Raises:
        ValueError: If there are no frames or they are not of one even size.
    """
    sizes = {frame.shape for frame in frames}
    if len(sizes) != 1 or any(length % 2 for length in next(iter(sizes))[:2]):
        raise ValueError(f"a video needs frames of one size with even sides, not {sorted(sizes)}")
    if importlib.util.find_spec("imageio_ffmpeg") is None:
        return _save_gif(path.with_suffix(".gif"), frames, fps)
    return _save_mp4(path.with_suffix(".mp4"), frames, fps)


def _save_mp4(path: Path, frames: Sequence[Pixels], fps: float) -> Path:
    import imageio_ffmpeg

    height, width = frames[0].shape[:2]
    writer = imageio_ffmpeg.write_frames(
        str(path), (width, height), fps=fps, codec="libx264", quality=8, macro_block_size=2
    )
    writer.send(None)
    for frame in frames:
        writer.send(np.ascontiguousarray(frame))
    writer.close()
    return path


def _save_gif(path: Path, frames: Sequence[Pixels], fps: float) -> Path:
    first, *others = (Image.fromarray(frame).quantize(128) for frame in frames)
    first.save(path, save_all=True, append_images=others, duration=round(1000.0 / fps), loop=0)
    return path
