"""Runs on several processes: what each takes of a batch, and that together they learn what one does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from agents.distributed import ALONE, Ranks, join
from agents.faces import FaceBatches
from agents.reinforce import RecurrentReinforce
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
    ],
)
def test_what_cannot_be_shared_is_refused(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


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


def torchrun(config: Path, folder: Path, *more: str, processes: int = 2) -> None:
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        str(processes),
    ]
    arguments = ["train_agent.py", "--config", str(config), "--run.folder", str(folder), *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


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
    torchrun(config, tmp_path / "two", *fixed)
    one, two = learned(tmp_path / "one"), learned(tmp_path / "two")
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(
            value, two[name], rtol=0.0, atol=1e-4, msg=lambda text, n=name: f"{n}: {text}"
        )


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes(tmp_path: Path) -> None:
    config = tmp_path / "small.yaml"
    config.write_text(SMALL)
    make_run(config, tmp_path / "whole", "--run.select", "last").train()
    torchrun(config, tmp_path / "cut", "--run.select", "last", "--total_timesteps", "12")
    make_run(config, tmp_path / "cut", "--run.select", "last").train()
    for name, value in learned(tmp_path / "whole").items():
        torch.testing.assert_close(value, learned(tmp_path / "cut")[name], rtol=0.0, atol=1e-4)
