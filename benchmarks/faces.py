"""What the faces of the environment cost over the work itself, and over single environments.

``python -m benchmarks.faces`` (``--device cuda --large`` on a GPU). Every function that is timed is a whole
episode of N rows with the start of the next one; faces come from memory, so no decoding is timed. Goals:
the vector face at most 1.10 of the enhancer's forward passes alone; Stable-Baselines3's face at most 1.10 of
the vector face; the vector face at least 5 times (identity) and 2.5 times (tiny enhancer) as fast as
DummyVecEnv over N single environments.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from benchmarks.common import RecordFile, at_least, claim, interleave, make_parser, ratio, usable_device
from facehall_env.core import wait_for
from facehall_env.enhancer import PRESETS, EnhancerInput
from facehall_env.sb3 import FaceHallucinationVecEnv
from facehall_env.vector import FaceHallucinationVectorEnv

ENV_ID = "FaceHallucination-Synthetic-x8"
PARTS = ("forward", "sb3", "dummy", "speed")
ENHANCERS = ("identity", *PRESETS)
SIZES = (1, 32, 512)  # rows whose speed is measured


class Faces:
    """Pictures of LFW's size in memory."""

    name, split, shape = "noise", "train", (128, 128, 3)

    def __init__(self, size: int = 64) -> None:
        self.pictures = np.random.default_rng(0).integers(0, 256, (size, *self.shape), np.uint8)

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        return self.pictures[index]

    def id(self, index: int) -> str:
        """A name of its own."""
        return f"noise-{index}"


def vector(rows: int, **arguments: Any) -> FaceHallucinationVectorEnv:
    env = gym.make_vec(ENV_ID, num_envs=rows, dataset=Faces(), **arguments)
    assert isinstance(env, FaceHallucinationVectorEnv)
    env.reset(seed=0)
    return env


def vector_episode(env: FaceHallucinationVectorEnv) -> Callable[[], None]:
    """All steps of an episode and the one that starts the next."""
    shape = (env.core.horizon + 1, env.num_envs)
    actions: Any = np.random.default_rng(0).integers(0, env.core.geometry.locations, shape)
    if not env.to_numpy:
        actions = torch.from_numpy(actions).to(env.core.device)

    def play() -> None:
        for action in actions:
            env.step(action)
        wait_for(env.core.device)

    return play


def sb3_episode(env: VecEnv, horizon: int) -> Callable[[], None]:
    """All steps of an episode; the last one starts the next."""
    actions = np.random.default_rng(0).integers(0, env.action_space.n, (horizon, env.num_envs))
    env.seed(0)
    env.reset()

    def play() -> None:
        for action in actions:
            env.step(action)

    return play


def forward_passes(env: FaceHallucinationVectorEnv) -> Callable[[], None]:
    """The enhancer alone on what an episode shows it."""
    core = env.core
    actions = torch.randint(core.geometry.locations, (core.horizon, env.num_envs), device=core.device)
    seen: list[EnhancerInput] = []
    for action in actions:
        seen.append(core.observe(action))
        core.step(action)
    env.reset(seed=0)

    @torch.no_grad()
    def play() -> None:
        for inputs in seen:
            core.enhance(inputs)
        wait_for(core.device)

    return play


def compare_forward(
    record: RecordFile, rows: int, rounds: int, preset: str, precision: str, device: str
) -> None:
    """The vector face against the forward passes of its enhancer."""
    env = vector(rows, horizon=5, enhancer=preset, precision=precision, device=device)
    seconds = interleave({"face": vector_episode(env), "forward": forward_passes(env)}, rounds)
    values = {
        "ratio": round(ratio(seconds, "face", "forward"), 3),
        "goal": "ratio <= 1.10 over the bare forward passes",
        "ms_per_step": round(1e3 * statistics.median(seconds["face"]) / 5, 3),
    }
    record.write(values, device)


def compare_sb3(record: RecordFile, rows: int, rounds: int, device: str) -> None:
    """Stable-Baselines3's face against the vector face, overhead alone."""
    face = FaceHallucinationVecEnv(ENV_ID, num_envs=rows, dataset=Faces(), enhancer="identity", device=device)
    env = vector(rows, enhancer="identity", device=device)
    functions = {"sb3": sb3_episode(face, env.core.horizon), "vector": vector_episode(env)}
    seconds = interleave(functions, rounds)
    values = {
        "ratio": round(ratio(seconds, "sb3", "vector"), 3),
        "goal": "ratio <= 1.10 over the vector face, identity as enhancer",
        "ms_per_step": round(1e3 * statistics.median(seconds["sb3"]) / env.core.horizon, 3),
    }
    record.write(values, device)


def compare_dummy(
    record: RecordFile, rows: int, rounds: int, enhancer: str, goal: float, device: str
) -> None:
    """The vector face against DummyVecEnv over single environments."""
    arguments = {"enhancer": enhancer, "device": device}
    faces, env = Faces(), vector(rows, **arguments)
    singles = DummyVecEnv([lambda: gym.make(ENV_ID, dataset=faces, **arguments)] * rows)
    functions = {"dummy": sb3_episode(singles, env.core.horizon), "vector": vector_episode(env)}
    seconds = interleave(functions, rounds)
    per_step = 1e3 / env.core.horizon
    values = {
        "speedup": round(ratio(seconds, "dummy", "vector"), 2),
        "goal": f"speedup >= {goal} over DummyVecEnv",
        "vector_ms_per_step": round(per_step * statistics.median(seconds["vector"]), 3),
        "dummy_ms_per_step": round(per_step * statistics.median(seconds["dummy"]), 3),
    }
    record.write(values, device)


def measure_speed(record: RecordFile, rows: list[int], rounds: int, enhancer: str, device: str) -> None:
    """Steps a second (rows times steps) at several N, as arrays and as tensors."""
    speed: dict[str, dict[str, float]] = {}
    for n in rows:
        pair = {
            "numpy": vector(n, horizon=10, enhancer=enhancer, device=device),
            "tensor": vector(n, horizon=10, enhancer=enhancer, device=device, to_numpy=False),
        }
        seconds = interleave({name: vector_episode(env) for name, env in pair.items()}, rounds, warmup=1)
        steps = n * pair["numpy"].core.horizon
        speed[str(n)] = {name: round(steps / statistics.median(taken)) for name, taken in seconds.items()}
        speed[str(n)]["numpy_over_tensor_time"] = round(ratio(seconds, "numpy", "tensor"), 3)
    fastest = max(each["tensor"] for each in speed.values())
    record.write({"steps_per_second": fastest, "goal": "report", "by_rows": speed}, device)


def main() -> None:
    """Measure what was asked for."""
    parser = make_parser(__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rows", type=at_least(1), default=32)
    parser.add_argument("--rounds", type=at_least(1), default=9)
    parser.add_argument(
        "--preset",
        choices=ENHANCERS,
        default="full",
        help="enhancer of the comparison with its forward passes",
    )
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument(
        "--speed-enhancer", choices=ENHANCERS, default="identity", help="of the steps a second at several N"
    )
    parser.add_argument("--device", type=usable_device, default="cpu")
    parser.add_argument("--large", action="store_true", help="also measure the speed of 2048 rows")
    options = parser.parse_args()
    rows, rounds, device = options.rows, options.rounds, options.device
    shared = ("rows", "rounds", "device")
    plan: list[Callable[[], None]] = []  # nothing is measured before every record has its place
    if "forward" in options.parts:
        name = f"faces-vector-{options.preset}-{options.precision}-n{rows}"
        record = claim(name, parser, options, (*shared, "preset", "precision"))
        plan.append(partial(compare_forward, record, rows, rounds, options.preset, options.precision, device))
    if "sb3" in options.parts:
        record = claim(f"faces-sb3-identity-n{rows}", parser, options, shared)
        plan.append(partial(compare_sb3, record, rows, rounds, device))
    if "dummy" in options.parts:
        for enhancer, goal in (("identity", 5), ("tiny", 2.5)):
            record = claim(f"faces-dummy-{enhancer}-n{rows}", parser, options, shared)
            plan.append(partial(compare_dummy, record, rows, rounds, enhancer, goal, device))
    if "speed" in options.parts:
        enhancer, sizes = options.speed_enhancer, [*SIZES, *([2048] if options.large else [])]
        name = f"faces-speed-{enhancer}-{torch.device(device).type}"
        record = claim(name, parser, options, ("rounds", "speed_enhancer", "device", "large"))
        plan.append(partial(measure_speed, record, sizes, rounds, enhancer, device))
    for measure in plan:
        measure()


if __name__ == "__main__":
    main()
