"""The film strip of one episode, as the paper's Fig. 5."""

from __future__ import annotations

import numpy as np

from agents.pictures import film_strip
from agents.visualisation.trace import EpisodeTrace
from facehall_env.rendering import Pixels


def trace_strip(trace: EpisodeTrace, *, columns: int = 9, enlarge: int = 1) -> Pixels:
    """I_0, then every step's picture with its boxes and below it the patch as it was pasted.

    Args:
        trace: The episode.
        columns: How many pictures stand side by side; 9 put 25 steps into three rows.
        enlarge: By how much everything is enlarged, pixel by pixel.

    Returns:
        The strip as one RGB picture, uint8, (height, width, 3).
    """
    patches = [trace.patch(trace.pictures[t], t) for t in range(1, trace.steps + 1)]
    return film_strip(trace.pictures, trace.boxes, np.stack(patches), columns=columns, enlarge=enlarge)
