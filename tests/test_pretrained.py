"""Trained weights: folders, finding them, the environment's default, and the Hub."""

import json
import logging
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

import facehall_env
from agents.callbacks import EnhancerPhase
from agents.reinforce import RecurrentReinforce
from facehall_env import (
    ENV_IDS,
    FaceHallucinationEnv,
    LocalEnhancementNetwork,
    available_weights,
    get_weights,
    load_pretrained_enhancer,
    make_enhancer,
    push_to_hub,
)
from facehall_env.enhancer import IdentityEnhancer
from facehall_env.pretrained import FILES, PretrainedWeights, WeightsTask, read_weights, weights_for
from facehall_env.pretrained.registry import PACKAGED
from facehall_env.sb3 import FaceHallucinationVecEnv
from tests.hub import serve_hub
from tests.small import SMALL_AGENT, SmallFaces

ID = "FaceHallucination-Synthetic-x4"
PICTURES = {"data_options": {"size": 4, "image_size": 32}}
TASK: dict[str, Any] = {"horizon": 2, "patch_size": [12, 9]} | PICTURES
WANTED = WeightsTask("synthetic", 4, "aligned", (3, 32, 32), (12, 9))


def write_weights(folder: Path, task: WeightsTask = WANTED, *, brightness: float = 0.1) -> Path:
    """A folder of weights whose network brightens every patch."""
    folder.mkdir(parents=True)
    channels, height, width = task.shape
    env_id = next(
        name for name, kwargs in ENV_IDS.items() if kwargs == {"dataset": task.dataset, "scale": task.scale}
    )
    weights = PretrainedWeights(folder.name, folder, task, env_id, 2, "pad", False)
    (folder / "config.json").write_text(json.dumps(weights.describe()))
    network = make_enhancer(
        "tiny",
        shape=(channels, height, width),
        patch_size=task.patch_size,
        global_features=4,
        widths=(2,) * 7,
        inner_kernel=3,
    )
    torch.nn.init.constant_(network.convolutions[-1].bias, brightness)
    network.half().save(folder / "enhancer.safetensors")
    (folder / "README.md").write_text(f"---\nlibrary_name: facehall\n---\n# {folder.name}\n")
    return folder


def bias(enhancer: Any) -> float:
    """By which the networks of this file are told apart."""
    return float(enhancer.convolutions[-1].bias[0].detach())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of weights of one's own, in which there are some for the small task."""
    place = tmp_path / "weights"
    write_weights(place / "small-x4")
    monkeypatch.setenv("FACEHALL_WEIGHTS", str(place))
    return place


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights but those of the package, which are for larger pictures."""
    monkeypatch.delenv("FACEHALL_WEIGHTS", raising=False)


# --- folders and finding them --------------------------------------------------------------------------


def test_a_folder_says_what_it_is_for(place: Path) -> None:
    weights = read_weights(place / "small-x4")
    assert (weights.name, weights.task, weights.env_id) == ("small-x4", WANTED, ID)
    assert not weights.has_policy
    network = weights.enhancer()
    assert (network.convolutions[0].weight.dtype, network.training) == (torch.float32, False)
    assert bias(network) == pytest.approx(0.1, rel=1e-3)
    env = gym.make(weights.env_id, enhancer=weights.name, **(PICTURES | weights.arguments()))
    assert env.unwrapped.core.horizon == 2


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"kind": "facehall-agent"}, "of kind 'facehall-agent'"),
        ({"task": {"dataset": "synthetic"}}, "it lacks 'scale'"),
        ({"horizon": None, "task": 3}, "does not describe weights"),
        (None, "does not describe weights"),
    ],
)
def test_a_folder_that_says_something_else_is_refused(place: Path, change: Any, named: str) -> None:
    path = place / "small-x4" / "config.json"
    said = json.loads(path.read_text())
    path.write_text("{" if change is None else json.dumps(said | change))
    with pytest.raises(ValueError, match=named) as error:
        available_weights()
    assert str(path) in str(error.value)


def test_own_folders_come_before_the_package_and_names_in_order(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("b", "a"):
        write_weights(tmp_path / "more" / name, brightness=0.3)
    write_weights(tmp_path / "more" / "small-x4", brightness=0.5)
    (tmp_path / "more" / "notes").mkdir()
    monkeypatch.setenv("FACEHALL_WEIGHTS", f"{place}:{tmp_path / 'more'}")
    there = available_weights()
    assert list(there)[:3] == ["small-x4", "a", "b"]
    assert bias(there["small-x4"].enhancer()) == pytest.approx(0.1, rel=1e-3)
    monkeypatch.setenv("FACEHALL_WEIGHTS", f"{tmp_path / 'more'}:{place}")
    found = weights_for(WANTED)
    assert found is not None
    assert found.name == "a"
    assert weights_for(WeightsTask("synthetic", 8, "aligned", (3, 32, 32), (12, 9))) is None


def test_a_search_path_that_leads_nowhere_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEHALL_WEIGHTS", "/no/such/place")
    with pytest.raises(FileNotFoundError, match="FACEHALL_WEIGHTS names /no/such/place"):
        gym.make(ID, **TASK)


def test_a_search_path_to_the_weights_themselves_is_no_search_path(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEHALL_WEIGHTS", str(place / "small-x4"))
    with pytest.raises(ValueError, match=f"itself: name the one that it lies in, {place}"):
        gym.make(ID, **TASK)


def test_the_packaged_weights_are_complete_small_and_load(nowhere: None) -> None:
    for name, weights in available_weights().items():
        assert weights.folder.parent == PACKAGED
        files = {path.name: path.stat().st_size for path in weights.folder.iterdir()}
        assert {"config.json", "enhancer.safetensors", "README.md"} <= set(files) <= set(FILES), name
        assert files["enhancer.safetensors"] <= 40e6, name
        assert sum(files.values()) <= 80e6, name
        fixed = ENV_IDS[weights.env_id]
        assert fixed == {"dataset": weights.task.dataset, "scale": weights.task.scale}, name
        config = weights.enhancer().config
        assert (config.channels, config.height, config.width) == weights.task.shape, name
        card = (weights.folder / "README.md").read_text()
        assert "not evidence of identity" in card, name
        if weights.has_policy:
            assert RecurrentReinforce.from_pretrained(weights).enhancer is not None


# --- the environment's enhancer ------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [{}, {"enhancer": "pretrained"}, {"enhancer": "small-x4"}])
def test_an_environment_enhances_with_the_weights_of_its_task_and_says_so(
    place: Path, asked: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "facehall_env"):
        env = gym.make(ID, **TASK, **asked)
        gym.make(ID, **TASK, **asked)
    task = env.unwrapped.task
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "enhancing with small-x4, trained for synthetic x4, aligned, 32x32 RGB, patches 12x9 "
        f"({place / 'small-x4'})"
    ]
    assert task.pretrained.name == "small-x4"
    assert task.enhancer_by_default is (not asked)
    env.reset(seed=0)
    before = env.unwrapped.core.current
    env.step(500)
    assert not torch.equal(env.unwrapped.core.current, before)
    env.unwrapped.set_enhancer(None)
    assert task.pretrained is None
    assert not task.enhancer_by_default


def test_all_faces_of_the_environment_have_the_same_default(place: Path) -> None:
    batch = gym.make_vec(ID, num_envs=2, **TASK)
    theirs = FaceHallucinationVecEnv(ID, 2, **TASK)
    assert batch.unwrapped.task.pretrained.name == "small-x4"
    assert theirs.get_attr("task")[0].pretrained.name == "small-x4"
    opened = FaceHallucinationEnv(
        dataset=gym.make(ID, **TASK).unwrapped.task.dataset, scale=4, patch_size=[12, 9]
    )
    assert opened.task.pretrained.name == "small-x4"


@pytest.mark.parametrize("change", [{"scale": 8}, {"protocol": "torch7"}, {"patch_size": [12, 8]}])
def test_weights_of_another_task_are_nobodys_default(place: Path, change: dict[str, Any]) -> None:
    env = FaceHallucinationEnv(**({"scale": 4} | TASK | change))
    assert isinstance(env.core.enhancer, IdentityEnhancer)
    with pytest.warns(UserWarning, match=r"there are no pretrained weights for synthetic .*small-x4 \(synth"):
        env.reset(seed=0)
    env.reset(seed=0)  # warns once
    with pytest.raises(ValueError, match=r"'pretrained', but there are no weights for .*there are: small-x4"):
        FaceHallucinationEnv(**({"scale": 4} | TASK | change), enhancer="pretrained")


def test_the_warning_comes_only_where_nobody_chose(nowhere: None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gym.make(ID, enhancer="identity", **TASK).reset(seed=0)
        for network in (None, make_enhancer("tiny", shape=(3, 32, 32), patch_size=(12, 9))):
            env = gym.make(ID, **TASK)
            env.unwrapped.set_enhancer(network)
            env.reset(seed=0)
    for batch in (gym.make_vec(ID, num_envs=2, **TASK), FaceHallucinationVecEnv(ID, 2, **TASK)):
        with pytest.warns(UserWarning, match="attach a network"):
            batch.reset()


def test_specs_carry_the_default(place: Path) -> None:
    env = gym.make(ID, **TASK)
    again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert again.unwrapped.task.enhancer_by_default
    named = gym.make(ID, enhancer="pretrained", **TASK)
    again = gym.make(gym.envs.registration.EnvSpec.from_json(named.spec.to_json()))
    assert again.unwrapped.task.pretrained.name == "small-x4"
    assert not again.unwrapped.task.enhancer_by_default


def test_a_folder_may_be_named_instead(place: Path, tmp_path: Path) -> None:
    folder = write_weights(tmp_path / "elsewhere", brightness=0.7)
    for name in (folder, str(folder)):
        env = FaceHallucinationEnv(scale=4, enhancer=name, **TASK)
        assert bias(env.core.enhancer) == pytest.approx(0.7, rel=1e-3)
        assert env.task.pretrained.folder == folder


def test_weights_for_other_pictures_are_refused_by_the_core(place: Path) -> None:
    write_weights(place / "large", WeightsTask("synthetic", 4, "aligned", (3, 64, 64), (12, 9)))
    with pytest.raises(ValueError, match=r"was made for pictures \(3, 64, 64\)"):
        FaceHallucinationEnv(scale=4, enhancer="large", **TASK)


def test_without_logging_the_line_goes_to_standard_error_once(place: Path) -> None:
    code = f"import gymnasium as gym, facehall_env; gym.make_vec({ID!r}, 2, 'sync', **{TASK!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert done.stderr.count("facehall: enhancing with small-x4") == 1


# --- learning does not start from what nobody asked for -----------------------------------------------


def agent_for(env: Any, **more: Any) -> RecurrentReinforce:
    return RecurrentReinforce("RecurrentPolicy", env, **(SMALL_AGENT | more))


def test_an_agent_that_trains_its_enhancer_starts_anew_unless_it_was_asked_for(
    place: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facehall_env.messages._SAID", set())
    with caplog.at_level(logging.INFO, "facehall_env"):
        fresh = agent_for(gym.make(ID, **TASK))
    assert "trains a new enhancer instead of small-x4" in caplog.text
    assert isinstance(fresh.enhancer, LocalEnhancementNetwork)
    assert bias(fresh.enhancer) == 0.0
    assert fresh.task.core.enhancer is fresh.enhancer
    assert fresh.task.pretrained is None
    going_on = agent_for(gym.make(ID, enhancer="pretrained", **TASK))
    assert bias(going_on.enhancer) == pytest.approx(0.1, rel=1e-3)
    frozen = agent_for(gym.make(ID, **TASK), coupling="frozen")
    assert bias(frozen.enhancer) == pytest.approx(0.1, rel=1e-3)
    assert caplog.text.count("a new enhancer") == 1


def test_the_default_gives_way_to_a_loaded_agents_enhancer(place: Path, tmp_path: Path) -> None:
    own = make_enhancer("tiny", shape=(3, 32, 32), patch_size=(12, 9), global_features=8)
    torch.nn.init.constant_(own.convolutions[-1].bias, 0.5)
    env = gym.make(ID, **TASK)
    env.unwrapped.set_enhancer(own)
    agent_for(env).save(tmp_path / "agent.zip")
    for ways in ("env", "set_env"):
        env = gym.make(ID, **TASK)
        agent = RecurrentReinforce.load(tmp_path / "agent.zip", env=env if ways == "env" else None)
        if ways == "set_env":
            agent.set_env(env)
        assert bias(env.unwrapped.core.enhancer) == bias(agent.enhancer) == 0.5


def test_the_enhancers_phase_does_not_train_the_default(place: Path) -> None:
    for asked in ({}, {"enhancer": "pretrained"}):
        envs = FaceHallucinationVecEnv(ID, 2, **TASK, **asked)
        model = PPO("MlpPolicy", envs, n_steps=2, batch_size=4, n_epochs=1, device="cpu", seed=0)
        if asked:
            model.learn(4, callback=EnhancerPhase(updates=1))
        else:
            with pytest.raises(ValueError, match=r'small-x4, which it has by default.*"pretrained"'):
                model.learn(4, callback=EnhancerPhase(updates=1))


# --- names, folders, the Hub --------------------------------------------------------------------------


def test_weights_are_found_by_name_and_by_folder(place: Path, tmp_path: Path) -> None:
    assert get_weights("small-x4").folder == place / "small-x4"
    folder = write_weights(tmp_path / "here" / "mine", brightness=0.2)
    assert bias(load_pretrained_enhancer(str(folder))) == pytest.approx(0.2, rel=1e-3)
    assert get_weights(read_weights(folder)).folder == folder
    for name in ("nothing", Path("no/such"), "a/b/c", "../up"):
        with pytest.raises(FileNotFoundError, match=r"neither the name of available ones .*small-x4"):
            get_weights(name)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"has no config\.json"):
        get_weights(tmp_path / "empty")


def test_weights_go_to_the_hub_and_come_back(place: Path, tmp_path: Path) -> None:
    folder = place / "small-x4"
    (folder / "secret.txt").write_text("stays here")
    with serve_hub() as hub:
        url = push_to_hub("small-x4", "someone/faces", private=True, token=hub.token, endpoint=hub.endpoint)
        files = hub.repositories["someone/faces"]
        assert url == f"{hub.endpoint}/someone/faces/commit/{hub.commit('someone/faces')}"
        assert hub.private == {"someone/faces"}
        assert set(files) == {"config.json", "enhancer.safetensors", "README.md"}
        assert files["enhancer.safetensors"] == (folder / "enhancer.safetensors").read_bytes()

        files["harmful.pkl"] = b"never fetched"
        options: dict[str, Any] = {"endpoint": hub.endpoint, "cache_dir": tmp_path / "cache"}
        shutil.rmtree(place / "small-x4")
        weights = get_weights("someone/faces", **options)
        assert (weights.name, weights.task) == ("someone/faces", WANTED)
        assert {path.name for path in weights.folder.iterdir()} == set(files) - {"harmful.pkl"}
        assert not any("harmful" in request for request in hub.requests if "resolve" in request)
        assert bias(load_pretrained_enhancer(weights)) == pytest.approx(0.1, rel=1e-3)
        env = gym.make(ID, enhancer="identity", **TASK)
        env.unwrapped.set_enhancer(load_pretrained_enhancer(weights))
        observation, _ = env.reset(seed=0)
        assert not np.array_equal(env.step(500)[0], observation)

        fetched = sum("GET" in request and "resolve" in request for request in hub.requests)
        get_weights("someone/faces", **options)
        assert sum("GET" in request and "resolve" in request for request in hub.requests) == fetched


def test_what_the_hub_does_not_have_is_one_error(nowhere: None, tmp_path: Path) -> None:
    with serve_hub() as hub:
        options: dict[str, Any] = {"endpoint": hub.endpoint, "cache_dir": tmp_path}
        with pytest.raises(FileNotFoundError, match=r"'no/body', .* cannot be fetched as a repository"):
            get_weights("no/body", **options)
        hub.repositories["some/text"] = {"README.md": b"no weights"}
        with pytest.raises(FileNotFoundError, match=r"it has no config\.json"):
            get_weights("some/text", **options)
        with pytest.raises(FileNotFoundError, match="cannot be fetched as a repository"):
            get_weights("bad..name/--", **options)
    with pytest.raises(FileNotFoundError, match="cannot be fetched as a repository"):
        get_weights("some/faces", **options)  # nobody listens there any more


def test_a_transport_that_fails_is_the_same_error(
    nowhere: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "nonsense://x")  # refused by the HTTP library, not by the Hub's client
    with pytest.raises(FileNotFoundError, match="cannot be fetched as a repository"):
        get_weights("some/faces", endpoint="https://127.0.0.1:9", cache_dir=tmp_path)


def test_what_lies_here_has_no_revisions(place: Path) -> None:
    for name in ("small-x4", place / "small-x4"):
        with pytest.raises(ValueError, match=r"revision is 'v2', but '.*small-x4' lies here and has none"):
            get_weights(name, revision="v2")


def test_nothing_incomplete_is_uploaded(place: Path) -> None:
    with serve_hub() as hub:
        options: dict[str, Any] = {"token": hub.token, "endpoint": hub.endpoint}
        with pytest.raises(ValueError, match="repo_id is 'faces', but it must be owner/name"):
            push_to_hub("small-x4", "faces", **options)
        (place / "small-x4" / "README.md").unlink()
        with pytest.raises(FileNotFoundError, match=r"lacks README\.md, so nothing was uploaded"):
            push_to_hub("small-x4", "someone/faces", **options)
        assert hub.requests == []


def test_without_the_extra_the_way_out_is_named(nowhere: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"no folder 'someone/faces'.* pip install 'facehall\[hub\]'"):
        facehall_env.get_weights("someone/faces")


def test_an_open_data_set_of_another_make_has_no_default(place: Path) -> None:
    env = FaceHallucinationEnv(dataset=SmallFaces(side=32), scale=4, patch_size=[12, 9])
    assert env.task.pretrained is None
