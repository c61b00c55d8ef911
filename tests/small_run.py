"""A training run in a size that takes seconds."""

from pathlib import Path

from agents.configuration import make_parser, read_experiment
from agents.training import TrainingRun

SMALL = """
env:
  id: FaceHallucination-Synthetic-x4
  data: {size: 12, image_size: 32}
  horizon: 3
  patch_size: [15, 11]
  device: cpu
enhancer: {preset: tiny}
pretraining: {updates: 6, batch_size: 4, horizon: 2, warmup: 2}
policy: {picture_features: 8, history_features: 8, lstm_features: 8, head_channels: 4}
agent:
  n_faces: 2
  n_rollouts: 2
  imitation_updates: 2
  imitation_faces: 2
  enhancer_updates: 1
  enhancer_batch_size: 4
total_timesteps: 36
run:
  {checkpoint_minutes: 0.0, log_interval: 2, validation_faces: 3, validation_interval: 1, progress_bar: false}
"""


def make_run(config: Path, folder: Path, *more: str) -> TrainingRun:
    parser = make_parser()
    arguments = parser.parse_args(["--config", str(config), "--run.folder", str(folder), *more])
    return TrainingRun(read_experiment(arguments), parser.dump(arguments, skip_unset=False))
