"""Runs on several processes: what each takes of a batch, and that together they learn what one does."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import evaluate
from agents.callbacks import Validation
from agents.distributed import ALONE, Ranks, _backends, _own_accelerators, join
from agents.faces import FaceBatches
from agents.records import load_images, load_records
from agents.reinforce import RecurrentReinforce
from facehall_env.core import HallucinationCore
from tests.agents.toys import ToyFaces
from tests.test_training import SMALL, make_run

ROOT = Path(__file__).parents[2]


@given(size=st.integers(1, 5), count=st.integers(1, 4), seed=st.integers(0, 99))
def test_ranks_share_rows_draws_and_choices_without_rest(size: int, count: int, seed: int) -> None:
    ranks = [Ranks(rank, size) for rank in range(size)]
    rows = torch.arange(size * count)
    assert torch.equal(torch.cat([each.own(rows) for each in ranks]), rows)

    def generator() -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    whole = ALONE.rand(size * count, generator(), rows.device)
    assert torch.equal(torch.cat([each.rand(count, generator(), rows.device) for each in ranks]), whole)
    whole = ALONE.randn(size * count, 2, generator(), rows.device)
    assert torch.equal(torch.cat([each.randn(count, 2, generator(), rows.device) for each in ranks]), whole)
    whole = ALONE.randint(100, size * count, generator())
    assert torch.equal(torch.cat([each.randint(100, count, generator()) for each in ranks]), whole)
    chosen = torch.randperm(size * count, generator=generator())[: max(1, size * count // 2)]
    mine = [(each.own_of(chosen, count) + each.rank * count).tolist() for each in ranks]
    assert sorted(number for part in mine for number in part) == sorted(chosen.tolist())
    for part in mine:
        assert part == [number for number in chosen.tolist() if number in part]


def test_ranks_share_the_faces_of_a_batch() -> None:
    faces = ToyFaces(size=5)
    alone = FaceBatches(faces, 4, seed=3, flip=True)
    parts = [FaceBatches(faces, 4, seed=3, flip=True, ranks=Ranks(rank, 2)) for rank in range(2)]
    for _ in range(3):  # more than an epoch
        assert torch.equal(torch.cat([part.next() for part in parts]), alone.next())
    assert parts[0].state_dict() == parts[1].state_dict() == alone.state_dict()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Ranks(2, 2), "rank is 2, but it must be from 0 to 1"),
        (lambda: Ranks(0, 2).check("n_faces", 3), "n_faces is 3, which 2 processes cannot share evenly"),
        (lambda: FaceBatches(ToyFaces(), 3, ranks=Ranks(0, 2)), "batch_size is 3, which 2 processes"),
        (
            lambda: Validation(
                HallucinationCore((3, 16, 12), 4, patch_size=(6, 5)), ToyFaces(), 1, ranks=Ranks(1, 2)
            ),
            "1 validation faces are fewer than the 2 processes",
        ),
    ],
)
def test_what_cannot_be_shared_is_refused(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


@pytest.mark.parametrize("size", ["1", "2"])
def test_a_process_ends_with_its_code_and_with_what_it_said(size: str) -> None:
    program = "import atexit; from agents.distributed import end; atexit.register(print, 'torn down'); "
    done = subprocess.run(
        [sys.executable, "-c", program + "print('said', end=''); end(3)"],
        cwd=ROOT,
        env={**os.environ, "WORLD_SIZE": size},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3
    assert done.stdout == ("said" if size == "2" else "saidtorn down\n")


def test_one_process_has_nobody_to_wait_for() -> None:
    assert join() is ALONE
    layer = nn.Linear(2, 1)
    layer(torch.ones(1, 2)).sum().backward()
    before = layer.weight.grad.clone()
    ALONE.sum_gradients(layer.parameters())
    assert torch.equal(layer.weight.grad, before)
    ALONE.wait()
    assert ALONE.share("x") == "x"
    assert torch.equal(ALONE.mean(torch.ones(2)), torch.ones(2))


def test_processes_talk_about_tensors_of_every_kind_of_device(monkeypatch: pytest.MonkeyPatch) -> None:
    for accelerator, backends in ((None, "gloo"), (torch.device("cuda"), "cpu:gloo,cuda:nccl")):
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda *_, a=accelerator, **__: a)
        assert _backends(own=True) == backends
        assert _backends(own=False) == "gloo"


def test_an_accelerator_is_taken_where_there_is_one_for_every_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    for processes, own in (("1", True), ("2", True), ("3", False)):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
        assert _own_accelerators() == own
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    assert not _own_accelerators()


ABORTED = "terminate called without an active exception"
"""What PyTorch's Gloo says, rarely and on a busy machine, when a process that is done is torn down."""


def torchrun(*arguments: str) -> str:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for _ in range(2):
        done = subprocess.run(
            [*command, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True
        )
        if ABORTED not in done.stderr:
            break  # else once more: what was done is on disk, and the same command goes on from there
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def train_on_two(config: Path, folder: Path, *more: str) -> None:
    torchrun("train_agent.py", "--config", str(config), "--run.folder", str(folder), *more)


def validated(folder: Path) -> list[float]:
    with (folder / "progress.csv").open() as file:
        gains = [row["validation/psnr_gain"] for row in csv.DictReader(file)]
    return [float(gain) for gain in gains if gain]


def learned(folder: Path) -> dict[str, torch.Tensor]:
    agent = RecurrentReinforce.load(folder / "agent.zip")
    assert isinstance(agent.enhancer, nn.Module)
    policy = agent.policy.state_dict()
    # Added to all logits alike it changes no probability: its gradient is nothing but rounding
    del policy["head.last.bias"]
    return {
        **{f"policy.{name}": value for name, value in policy.items()},
        **{f"enhancer.{name}": value for name, value in agent.enhancer.state_dict().items()},
    }


@pytest.mark.parametrize(
    "more",
    [
        (),
        pytest.param(("--agent.baseline", "scalar", "--agent.coupling", "joint"), marks=pytest.mark.slow),
        pytest.param(("--agent.baseline", "batch", "--agent.flip", "true"), marks=pytest.mark.slow),
        # Its head has no gradient in the warm start, in no process
        pytest.param(("--agent.baseline", "value", "--agent.learning_rate", "1e-3"), marks=pytest.mark.slow),
        pytest.param(
            ("--agent.baseline", "self_critical", "--agent.backprop_through_image", "true"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_two_processes_learn_what_one_does(tmp_path: Path, more: tuple[str, ...]) -> None:
    """Weights after a whole run agree to 1e-4: sums are taken in another order, which Adam magnifies."""
    config = tmp_path / "small.yaml"
    config.write_text(SMALL)
    fixed = ("--run.select", "last", *more)
    make_run(config, tmp_path / "one", *fixed).train()
    train_on_two(config, tmp_path / "two", *fixed)
    one, two = learned(tmp_path / "one"), learned(tmp_path / "two")
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(
            value, two[name], rtol=0.0, atol=1e-4, msg=lambda text, n=name: f"{n}: {text}"
        )
    gains = validated(tmp_path / "one")
    assert len(gains) > 2
    assert validated(tmp_path / "two") == pytest.approx(gains, abs=1e-3)  # dB, of those weights


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes(tmp_path: Path) -> None:
    config = tmp_path / "small.yaml"
    config.write_text(SMALL)
    make_run(config, tmp_path / "whole", "--run.select", "last").train()
    train_on_two(config, tmp_path / "cut", "--run.select", "last", "--total_timesteps", "12")
    make_run(config, tmp_path / "cut", "--run.select", "last").train()
    for name, value in learned(tmp_path / "whole").items():
        torch.testing.assert_close(value, learned(tmp_path / "cut")[name], rtol=0.0, atol=1e-4)


def test_two_processes_measure_what_one_does(tmp_path: Path) -> None:
    """Bit for bit, the draws of sampled agents too: every process takes whole batches."""
    config, one, two = tmp_path / "small.yaml", tmp_path / "one", tmp_path / "two"
    config.write_text(SMALL)
    make_run(config, one, "--total_timesteps", "12").train()
    shutil.copytree(one, two)
    evaluate.measure(one, batch_size=4, limit=11, faces=3, progress_bar=False)
    command = (
        "evaluate.py",
        "measure",
        "--run",
        str(two),
        "--batch_size",
        "4",
        "--limit",
        "11",
        "--faces",
        "3",
    )
    said = torchrun(*command, "--progress_bar", "false")
    assert said.count("records:") == 1  # the first process alone speaks and writes
    alone, shared = load_records(one / "records.json"), load_records(two / "records.json")
    assert len(alone) == len(shared) == 7
    tables = sorted(path.name.replace(".one.", ".two.") for path in (one / "records").iterdir())
    assert sorted(path.name for path in (two / "records").iterdir()) == tables
    for path in (one / "records").iterdir():
        found = load_images(two / "records" / path.name.replace(".one.", ".two."))
        for name, column in load_images(path).items():
            assert list(found[name]) == list(column), (path.name, name)
    for record, other in zip(alone, shared, strict=True):
        assert record.n == other.n == 11
        assert (record.psnr, record.fsim, record.coverage) == (other.psnr, other.fsim, other.coverage)
    picture = "faces-test-aligned.png"
    assert (one / picture).read_bytes() == (two / picture).read_bytes()
    torchrun(*command, "--progress_bar", "false")
    assert load_records(two / "records.json") == shared  # nothing was missing, and all processes knew
