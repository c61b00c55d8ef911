"""What each switch of the engine gains over the reference path, on one device and in one run.

``python -m benchmarks.engine`` (``--device cuda --horizon 25 --updates 25`` on a GPU; a rehearsal that takes
a minute: ``--preset tiny --rows 4 --horizon 2 --updates 1 --rounds 1 --goals --episodes 8 --output FOLDER``).

Rollouts and updates of the enhancer with channels-last convolutions, ``torch.compile`` and CUDA graphs, alone
and together, take turns with those of the reference path; so do updates whose faces are read ahead with
updates that wait for theirs. With ``--goals``, which a CUDA device brings along, the engine is asked
for what a GPU is to reach in bfloat16: an epoch of LFW's training set in 60 seconds (iterations of rollout,
REINFORCE and enhancer's updates, in the reference path and with the switches whose updates are fastest), one
face in 5 ms, 2,000 faces a second in batches. ``--switches`` names fewer, since each is compiled anew.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any

import gymnasium as gym
import torch
import torch._dynamo.config
from stable_baselines3.common.logger import Logger
from torch import nn

import facehall_env  # noqa: F401 (registers the ids)
from agents.baselines import Degradation
from agents.baselines.latency import timed, untrained
from agents.baselines.looking import Looking
from agents.buffers import EpisodeBuffer
from agents.enhancement import EnhancerTrainer, Pretraining
from agents.faces import FaceBatches, face_batch
from agents.reinforce import RecurrentReinforce
from agents.rollout import walk
from agents.scripted import RandomPatch
from benchmarks.common import at_least, claim, interleave, make_parser, ratio, usable_device
from facehall_env import ENV_IDS
from facehall_env.core import HallucinationCore, Precision, wait_for
from facehall_env.datasets import FaceDataset, load_dataset
from facehall_env.enhancer import PRESETS, LocalEnhancementNetwork, make_enhancer

REFERENCE = "reference"
SWITCHES: dict[str, dict[str, Any]] = {
    REFERENCE: {},
    "channels-last": {"channels_last": True},
    "compile": {"compile": "default"},
    "compile, channels-last": {"compile": "default", "channels_last": True},
    "CUDA graphs": {"compile": "reduce-overhead"},
    "CUDA graphs, channels-last": {"compile": "reduce-overhead", "channels_last": True},
}
GOAL = "report; bfloat16 on an H100: epoch <= 60 s, ms_a_face <= 5, faces_a_second >= 2,000"


class Variant:
    """The engine with some switches on.

    Args:
        network: The enhancer; a copy of it is run and trained.
        faces: uint8, (N, C, H, W), on the device.
        options: The command line's.
        precision: Of the enhancer.
        switches: Arguments of the core.
    """

    def __init__(
        self,
        network: LocalEnhancementNetwork,
        faces: torch.Tensor,
        options: argparse.Namespace,
        precision: Precision,
        switches: dict[str, Any],
    ) -> None:
        self.faces, self.options = faces, options
        self.core = HallucinationCore(
            enhancer=copy.deepcopy(network),
            precision=precision,
            horizon=options.horizon,
            device=options.device,
            **switches,
        )
        assert isinstance(self.core.enhancer, nn.Module)
        self.trainer = EnhancerTrainer(self.core.enhancer)
        self.buffer = EpisodeBuffer(options.horizon, len(faces), self.core.shape, self.core.device)
        walk(self.core, RandomPatch(), faces, buffer=self.buffer)
        self.pictures = self.core.current

    def rollout(self) -> None:
        """One batch of episodes, at random places."""
        walk(self.core, RandomPatch(), self.faces)
        wait_for(self.core.device)

    def update(self) -> None:
        """The enhancer's phase of an iteration."""
        self.trainer.fit(
            self.core,
            self.buffer,
            updates=self.options.updates,
            batch_size=len(self.faces),
            generator=torch.Generator().manual_seed(0),
        )
        wait_for(self.core.device)


def lively(preset: str) -> LocalEnhancementNetwork:
    """An untrained network that changes pictures: the presets begin as the identity."""
    torch.manual_seed(0)
    network = make_enhancer(preset)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            last = module
    nn.init.normal_(last.weight, std=0.005)
    return network


def compare_switches(
    names: Iterable[str], network: LocalEnhancementNetwork, dataset: FaceDataset, options: argparse.Namespace
) -> dict[str, dict[str, dict[str, float]]]:
    """By precision and switch the gain over the reference path, the time of a patch, and the difference."""
    faces = face_batch(dataset, range(options.rows)).to(options.device)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for precision in options.precisions:
        variants = {
            name: Variant(network, faces, options, precision, SWITCHES[name]) for name in (REFERENCE, *names)
        }
        differences = {
            name: float((variant.pictures - variants[REFERENCE].pictures).abs().max())
            for name, variant in variants.items()
        }
        functions: dict[str, Callable[[], None]] = {}
        for phase in ("rollout", "update"):
            functions |= {f"{phase}, {name}": getattr(each, phase) for name, each in variants.items()}
        seconds = interleave(functions, options.rounds)
        patches = {"rollout": options.rows * options.horizon, "update": options.rows * options.updates}
        found[precision] = {
            name: {
                **{
                    f"{phase}_speedup": round(ratio(seconds, f"{phase}, {REFERENCE}", f"{phase}, {name}"), 3)
                    for phase in patches
                },
                **{
                    f"{phase}_ms_a_patch": round(
                        1e3 * statistics.median(seconds[f"{phase}, {name}"]) / count, 4
                    )
                    for phase, count in patches.items()
                },
                "largest_difference_of_a_pixel": float(f"{differences[name]:.1g}"),
            }
            for name in variants
        }
        print(precision, found[precision], flush=True)
    return found


def compare_prefetch(
    network: LocalEnhancementNetwork, dataset: FaceDataset, options: argparse.Namespace
) -> dict[str, dict[str, float]]:
    """Updates of the enhancer's start with faces that are read in time, over such as wait for theirs."""

    def episode(prefetch: bool) -> Callable[[], None]:
        core = HallucinationCore(
            enhancer=copy.deepcopy(network),
            precision=options.precisions[-1],
            horizon=options.horizon,
            device=options.device,
        )
        assert isinstance(core.enhancer, nn.Module)
        faces = FaceBatches(dataset, options.rows, flip=True, prefetch=prefetch, device=core.device)
        learning = Pretraining(core, EnhancerTrainer(core.enhancer), faces, updates=1000)

        def play() -> None:
            for _ in range(options.horizon):
                learning.update()
            wait_for(core.device)

        return play

    seconds = interleave({"off": episode(False), "on": episode(True)}, options.rounds)
    return {
        name: {
            "speedup": round(ratio(seconds, "off", name), 3),
            "ms_an_update": round(1e3 * statistics.median(taken) / options.horizon, 3),
        }
        for name, taken in seconds.items()
    }


def measure_epochs(names: Iterable[str], options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Seconds of an epoch of training by switch: iterations of rollout, REINFORCE and enhancer's updates."""
    found: dict[str, dict[str, float]] = {}
    for name in (REFERENCE, *names):
        env = gym.make(
            options.env,
            root=options.root,
            enhancer="identity",
            precision="bfloat16",
            device=options.device,
            **SWITCHES[name],
        )
        env.unwrapped.set_enhancer(lively(options.preset))  # type: ignore[attr-defined]
        agent = RecurrentReinforce(
            "RecurrentPolicy",
            env,
            n_faces=options.rows,
            imitation_updates=0,
            rows_per_pass=4 * options.rows,
            policy_precision="bfloat16",
            prefetch=True,
        )
        agent.set_logger(Logger(None, []))
        _, callback = agent._setup_learn(0)  # learn() would, before its first iteration

        def iteration(agent: RecurrentReinforce = agent, callback: Any = callback) -> None:
            agent.collect_rollouts(callback)
            agent.train()
            agent.train_enhancer()

        for _ in range(3):
            iteration()
        iterations = max(1, options.episodes // agent.buffer.rows)
        wait_for(agent.device)
        start = time.perf_counter()
        for _ in range(iterations):
            iteration()
        wait_for(agent.device)
        share = iterations * agent.buffer.rows / options.episodes
        found[name] = {"seconds": round((time.perf_counter() - start) / share, 2)}
        print("epoch", name, found[name], flush=True)
    return found


def measure_answers(
    names: Iterable[str], options: argparse.Namespace
) -> dict[str, dict[str, dict[str, float]]]:
    """By precision and switch the time of one face and the faces a second in batches, policy and all."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for precision in options.precisions:
        found[precision] = {}
        for name in (REFERENCE, *names):
            method = untrained("attention_fh", Degradation(3, 128, 128, 8, "aligned"), options.preset)
            assert isinstance(method, Looking)
            method.to(options.device)
            method.precision = precision
            method._core = method._core.replica(device=options.device, precision=precision, **SWITCHES[name])
            limits: Any = {"warmup": 0, "most_seconds": 60.0}
            timed(method, 1, 3, fewest=3, **limits)  # compiled, tried, recorded
            one = timed(method, 1, options.calls, fewest=3, **limits)
            timed(method, options.batch, 3, fewest=3, **limits)
            together = timed(method, options.batch, options.batches, fewest=1, **limits)
            found[precision][name] = {
                "ms_a_face": round(1e3 * statistics.median(one), 3),
                "faces_a_second": round(options.batch / statistics.median(together), 1),
            }
            print("answers", precision, name, found[precision][name], flush=True)
    return found


def main() -> None:
    """Measure what was asked for, and write one record."""
    parser = make_parser(__doc__)
    parser.add_argument("--preset", choices=[*PRESETS], default="full")
    parser.add_argument(
        "--precisions", nargs="+", choices=["float32", "bfloat16"], default=["float32", "bfloat16"]
    )
    parser.add_argument("--device", type=usable_device, default="cpu")
    parser.add_argument("--switches", nargs="+", choices=[*SWITCHES][1:], help="by default all there are")
    parser.add_argument("--rows", type=at_least(1), default=32, help="faces, and patches an update")
    parser.add_argument("--horizon", type=at_least(1), default=5)
    parser.add_argument("--updates", type=at_least(1), default=5, help="of the enhancer, from one buffer")
    parser.add_argument("--rounds", type=at_least(1), default=7)
    parser.add_argument(
        "--env", choices=[*ENV_IDS], default="FaceHallucination-Synthetic-x8", help="whose faces are read"
    )
    parser.add_argument("--root", help="where the pictures lie")
    parser.add_argument("--goals", action="store_true", help="also without a CUDA device")
    parser.add_argument("--episodes", type=at_least(1), default=9525, help="of an epoch")
    parser.add_argument("--calls", type=at_least(1), default=50, help="on one face")
    parser.add_argument("--batch", type=at_least(1), default=256, help="faces in a batch")
    parser.add_argument("--batches", type=at_least(1), default=5)
    options = parser.parse_args()
    kind = torch.device(options.device).type
    options.goals = options.goals or kind == "cuda"
    record = claim(f"engine-{options.preset}-{kind}", parser, options)
    names = options.switches or [
        name for name in SWITCHES if name != REFERENCE and (kind == "cuda" or "graphs" not in name)
    ]
    torch._dynamo.config.recompile_limit = 64  # all variants live side by side
    network = lively(options.preset)
    dataset = load_dataset(str(gym.spec(options.env).kwargs["dataset"]), root=options.root, split="train")
    switches = compare_switches(names, network, dataset, options)
    last = switches[options.precisions[-1]]
    best = max(names, key=lambda name: last[name]["update_speedup"])
    values: dict[str, Any] = {
        "best_update_speedup": last[best]["update_speedup"],
        "goal": GOAL,
        **switches,
        "prefetch": compare_prefetch(network, dataset, options),
    }
    if options.goals:
        values["epoch"] = measure_epochs((best,), options)
        values |= {f"answers_{name}": table for name, table in measure_answers(names, options).items()}
    record.write(values, options.device)


if __name__ == "__main__":
    main()
