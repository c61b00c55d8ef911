"""Agents on disk: what comes back is what was written, and what is no agent is refused by name."""

import inspect
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from toys import (
    ToyFaces,
    learned,
    randomise,
    same_weights,
    toy_agent,
    toy_enhancer,
    toy_env,
)

from agents import files
from agents.checkpoints import CheckpointFolder
from agents.reinforce import RecurrentReinforce

STEPS = 12  # of one iteration


@pytest.fixture
def agent() -> RecurrentReinforce:
    agent = toy_agent(imitation_updates=1)
    agent.learn(STEPS)
    return agent


def answers(agent: RecurrentReinforce) -> list[int]:
    """A few deterministic steps over two pictures."""
    faces, state, found = ToyFaces(6), None, []
    for i in range(3):
        pictures = np.stack([faces[2 * i], faces[2 * i + 1]])
        locations, state = agent.predict(pictures, state, deterministic=True)
        found += locations.tolist()
    return found


def test_what_is_loaded_predicts_the_same(agent: RecurrentReinforce, tmp_path: Path) -> None:
    randomise(agent.policy)
    agent.save(tmp_path / "deep" / "agent")
    assert (tmp_path / "deep" / "agent.zip").is_file()
    for path in (tmp_path / "deep" / "agent", str(tmp_path / "deep" / "agent.zip")):
        loaded = RecurrentReinforce.load(path)
        assert answers(loaded) == answers(agent)
        assert len(set(answers(loaded))) > 1
        assert same_weights(learned(loaded), learned(agent))


def test_the_file_holds_json_and_safetensors_alone(agent: RecurrentReinforce, tmp_path: Path) -> None:
    agent.save(tmp_path / "agent.zip")
    with zipfile.ZipFile(tmp_path / "agent.zip") as archive:
        names = archive.namelist()
        description = json.loads(archive.read("agent.json"))
    assert {Path(name).suffix for name in names} == {".json", ".safetensors"}
    assert "policy.safetensors" in names
    assert description["arguments"]["enhancer_betas"] == [0.5, 0.999]
    assert description["num_timesteps"] == STEPS
    assert [path.name for path in tmp_path.iterdir()] == ["agent.zip"]


def test_every_argument_that_learning_depends_on_is_written() -> None:
    arguments = set(inspect.signature(RecurrentReinforce.__init__).parameters) - {"self"}
    apart = {
        "policy",
        "env",
        "policy_kwargs",
        "stats_window_size",
        "tensorboard_log",
        "verbose",
        "device",
        "prefetch",
        "ranks",
    }
    assert arguments - apart - {"_init_setup_model"} == set(RecurrentReinforce.HYPERPARAMETERS)


@pytest.mark.parametrize("way", ["env", "env without an enhancer", "set_env", "checkpoint"])
@pytest.mark.parametrize(
    "more", [{"baseline": "leave_one_out"}, {"baseline": "scalar"}, {"enhancer_ema": 0.5}]
)
def test_learning_goes_on_bit_for_bit(tmp_path: Path, way: str, more: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"imitation_updates": 2, "learning_rate": 1e-3, **more}
    whole = toy_agent(**arguments)
    whole.learn(3 * STEPS)
    first = toy_agent(**arguments)
    first.learn(STEPS)
    first.learn(STEPS, reset_num_timesteps=False)
    if way == "checkpoint":
        folder = CheckpointFolder(tmp_path)
        folder.write(first.training_state())
        rest = toy_agent(toy_env(enhancer=toy_enhancer(seed=9)), **arguments)
        newest = folder.read_newest()
        assert newest is not None
        rest.load_training_state(newest[1])
    else:
        first.save(tmp_path / "agent")
        env = toy_env(enhancer=toy_enhancer(seed=9) if way == "env" else None)
        rest = RecurrentReinforce.load(tmp_path / "agent", env=None if way == "set_env" else env)
        if way == "set_env":
            rest.set_env(env)
    assert not same_weights(learned(whole), learned(rest))
    rest.learn(STEPS, reset_num_timesteps=False)
    assert rest.num_timesteps == 3 * STEPS
    assert same_weights(learned(whole), learned(rest))
    assert whole.positions() == rest.positions()


@pytest.mark.parametrize("done", [0, 1, 3])
def test_the_warm_start_goes_on_bit_for_bit(tmp_path: Path, done: int) -> None:
    whole = toy_agent(imitation_updates=4)
    whole.learn(STEPS)
    first = toy_agent(imitation_updates=4)
    for _ in range(done):
        first.imitate()
    first.save(tmp_path / "agent")
    rest = RecurrentReinforce.load(tmp_path / "agent", env=toy_env())
    assert rest.imitated == done
    rest.learn(STEPS)
    assert same_weights(learned(whole), learned(rest))


def test_a_saved_agent_without_an_environment_saves_all_it_was_given(
    agent: RecurrentReinforce, tmp_path: Path
) -> None:
    agent.save(tmp_path / "one")
    RecurrentReinforce.load(tmp_path / "one").save(tmp_path / "two")
    again = RecurrentReinforce.load(tmp_path / "two", env=toy_env())
    assert same_weights(learned(again), learned(agent))
    assert again.positions() == agent.positions()


def test_changes_are_the_callers(agent: RecurrentReinforce, tmp_path: Path) -> None:
    agent.save(tmp_path / "agent")
    loaded = RecurrentReinforce.load(
        tmp_path / "agent", env=toy_env(), learning_rate=0.5, ent_coef=(0.1, 0.0)
    )
    loaded.learn(STEPS, reset_num_timesteps=False)
    assert loaded.optimizer.param_groups[0]["lr"] == 0.5
    loaded.save(tmp_path / "again")
    assert RecurrentReinforce.load(tmp_path / "again").ent_coef == (0.1, 0.0)


def test_a_function_is_missed_aloud(tmp_path: Path) -> None:
    agent = toy_agent(learning_rate=lambda left: 1e-3 * left)
    agent.save(tmp_path / "agent")
    with pytest.warns(UserWarning, match="learning_rate .* was a function"):
        RecurrentReinforce.load(tmp_path / "agent")
    again = RecurrentReinforce.load(tmp_path / "agent", learning_rate=1e-3)
    assert again.learning_rate == 1e-3


def test_parts_can_be_left_out(agent: RecurrentReinforce, tmp_path: Path) -> None:
    agent.save(tmp_path / "all")
    agent.save(tmp_path / "bare", exclude=["optimizer", "enhancer"])
    with zipfile.ZipFile(tmp_path / "bare.zip") as archive:
        assert set(archive.namelist()) == {"agent.json", "policy.safetensors"}
    own = toy_enhancer(seed=9)
    loaded = RecurrentReinforce.load(tmp_path / "bare", env=toy_env(enhancer=own))
    assert loaded.enhancer is own
    assert answers(loaded) == answers(agent)
    assert not loaded.optimizer.state_dict()["state"]
    with pytest.raises(ValueError, match="exclude has \\['policy'\\]"):
        agent.save(tmp_path / "none", exclude=["policy"])


def test_a_file_that_cannot_be_finished_leaves_the_old_one(
    agent: RecurrentReinforce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent.save(tmp_path / "agent.zip")
    before = (tmp_path / "agent.zip").read_bytes()

    def fail(_: object) -> bytes:
        raise OSError("no space left")

    monkeypatch.setattr(files, "_pack", fail)
    with pytest.raises(OSError, match="no space"):
        agent.save(tmp_path / "agent.zip")
    assert (tmp_path / "agent.zip").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["agent.zip"]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.999])
def test_a_file_that_is_cut_off_is_refused(agent: RecurrentReinforce, tmp_path: Path, share: float) -> None:
    path = tmp_path / "agent.zip"
    agent.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"agent\.zip is cut off or no agent file"):
        RecurrentReinforce.load(path)


def test_a_damaged_file_is_refused(agent: RecurrentReinforce, tmp_path: Path) -> None:
    path = tmp_path / "agent.zip"
    agent.save(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"agent\.zip is cut off or no agent file"):
        RecurrentReinforce.load(path)


def test_weights_that_are_not_finite_are_refused(agent: RecurrentReinforce, tmp_path: Path) -> None:
    with torch.no_grad():
        next(agent.policy.parameters()).fill_(float("nan"))
    agent.save(tmp_path / "agent.zip")
    with pytest.raises(ValueError, match=r"agent\.zip is of no use: .* has values that are not finite"):
        RecurrentReinforce.load(tmp_path / "agent.zip")


def rewrite(path: Path, **changes: Any) -> None:
    """Change entries of agent.json; None removes one."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    description = json.loads(parts["agent.json"]) | changes
    kept = {name: value for name, value in description.items() if value is not None}
    parts["agent.json"] = json.dumps(kept).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"kind": "facehall-enhancer"}, "holds 'facehall-enhancer', not a 'facehall-agent'"),
        ({"num_timesteps": None}, "disagree about num_timesteps"),
        ({"version": "9.0", "arguments": {"warp": 9}}, "facehall 9.0.*disagree about warp"),
        ({"policy": {"height": 16, "eyes": 2}}, "disagree about eyes"),
    ],
)
def test_another_version_is_named(
    agent: RecurrentReinforce, tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    agent.save(tmp_path / "agent.zip")
    rewrite(tmp_path / "agent.zip", **changes)
    with pytest.raises(ValueError, match=named):
        RecurrentReinforce.load(tmp_path / "agent.zip")


def test_a_file_that_says_less_still_predicts(agent: RecurrentReinforce, tmp_path: Path) -> None:
    """Which faces come next can be missing, and the shape of an enhancer that the environment has."""
    agent.save(tmp_path / "agent.zip", exclude=["optimizer"])
    rewrite(tmp_path / "agent.zip", faces=None, imitation_batches=None, enhancer=None)
    for env in (None, toy_env(enhancer=toy_enhancer(seed=9))):
        loaded = RecurrentReinforce.load(tmp_path / "agent.zip", env=env)
        assert answers(loaded) == answers(agent)
    assert same_weights(loaded.enhancer.state_dict(), agent.enhancer.state_dict())


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no agent file"):
        RecurrentReinforce.load(tmp_path / "nowhere")
    (tmp_path / "text.zip").write_text("not a zip")
    with pytest.raises(ValueError, match=r"text\.zip is cut off or no agent file"):
        RecurrentReinforce.load(tmp_path / "text.zip")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ValueError, match="holds no agent of ours"):
        RecurrentReinforce.load(tmp_path / "other.zip")
    PPO("MlpPolicy", "CartPole-v1", n_steps=8, batch_size=8, device="cpu").save(tmp_path / "ppo")
    with pytest.raises(ValueError, match="Stable-Baselines3's own files are read by its classes"):
        RecurrentReinforce.load(tmp_path / "ppo.zip")


def test_an_environment_that_does_not_fit_is_refused(agent: RecurrentReinforce, tmp_path: Path) -> None:
    agent.save(tmp_path / "agent")
    small = toy_env(ToyFaces(3, (8, 12, 3)))
    with pytest.raises(ValueError, match="the environment needs PolicyConfig"):
        RecurrentReinforce.load(tmp_path / "agent", env=small)
    wide = toy_enhancer(widths=(3,) * 7)
    before = {name: value.clone() for name, value in wide.state_dict().items()}
    with pytest.raises(ValueError, match="enhancer's weights do not fit: convolutions"):
        RecurrentReinforce.load(tmp_path / "agent", env=toy_env(enhancer=wide))
    assert same_weights(before, wide.state_dict())


def test_a_state_that_does_not_fit_changes_nothing(agent: RecurrentReinforce) -> None:
    other = toy_agent(toy_env(enhancer=toy_enhancer(widths=(3,) * 7)), seed=5)
    before = learned(other)
    with pytest.raises(ValueError, match="weights do not fit"):
        other.load_training_state(agent.training_state())
    assert same_weights(before, learned(other))


def test_moments_are_taken_over_and_settings_are_not(agent: RecurrentReinforce) -> None:
    """Checkpoints may hold more parameters than the optimiser has today."""
    state = agent.training_state()
    state["optimizer"]["state"][99] = {"step": torch.tensor(1.0)}
    state["optimizer"]["param_groups"].append({"params": [99], "lr": 7.0})
    other = toy_agent(learning_rate=0.25)
    other.load_training_state(state)
    assert other.optimizer.param_groups[0]["lr"] == 0.25
    assert same_weights(learned(other), learned(agent))
