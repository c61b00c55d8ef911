"""Named hyperparameters: the paper's are the paper's, in Python and in YAML."""

from pathlib import Path
from typing import Any

import pytest
import torch
from toys import learned, toy_env

from agents.configuration import make_parser, read_experiment
from agents.gaussian import GaussianPolicyNetwork
from agents.presets import AUTHORS, PAPER, preset_arguments
from agents.reinforce import RecurrentReinforce

CONFIGS = Path(__file__).parents[2] / "configs"
NARROW = {"picture_features": 8, "history_features": 6, "lstm_features": 16}


def test_the_paper_preset_learns_on_a_small_picture() -> None:
    agent = RecurrentReinforce.from_preset("paper", toy_env(), n_faces=3, policy_kwargs=NARROW)
    assert agent.policy.config.places == 16 * 12
    assert agent.policy.config.head == "flat"
    assert agent.policy.config.history == "last"
    assert agent.buffer.rows == 3
    before = learned(agent)
    agent.learn(18)
    after = learned(agent)
    assert agent.imitated == 0
    assert agent._n_updates == 2
    for name in ("policy.head.layer.weight", "policy.picture_layer.weight", "enhancer.convolutions.0.weight"):
        assert not torch.equal(before[name], after[name])
    # One pass over all patches, 32 at a time, is at most the paper's 25 updates
    assert int(after["enhancer_optimizer.0.step"]) == 2


def test_overrides_replace_what_they_name() -> None:
    arguments = preset_arguments("paper", {"n_faces": 4, "policy_kwargs": {"history": "visits"}})
    assert arguments["n_faces"] == 4
    assert arguments["policy_kwargs"] == PAPER["policy_kwargs"] | {"history": "visits"}
    assert arguments["baseline"] == "scalar"
    assert PAPER["n_faces"] == 32
    assert PAPER["policy_kwargs"]["history"] == "last"
    assert preset_arguments("default", {}) == {"policy_kwargs": {}}


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(ValueError, match="no preset 'papers'; the presets are default, paper, authors"):
        RecurrentReinforce.from_preset("papers", toy_env())


@pytest.mark.parametrize("before", ["demo", "lfw-x8"])
@pytest.mark.parametrize(("name", "preset"), [("paper", PAPER), ("authors", AUTHORS)])
def test_the_configuration_carries_the_same_values(name: str, preset: dict[str, Any], before: str) -> None:
    def read(*names: str) -> tuple[dict[str, object], dict[str, object], object]:
        files = [argument for name in names for argument in ("--config", str(CONFIGS / f"{name}.yaml"))]
        experiment = read_experiment(make_parser().parse_args(files))
        assert (experiment.pretraining.updates == 0) == (len(names) > 1)
        return experiment.agent, experiment.policy, experiment.env

    agent, policy, env = read(before, name)
    # What the presets leave open is as it is by default, whatever stood in the file before
    usual = read_experiment(make_parser().parse_args([])).agent
    free = {
        "policy_precision",
        "imitation_faces",
        "imitation_epochs",
        "imitation_rows",
        "imitation_plan_faces",
    }
    assert {key: agent[key] for key in usual if key not in {*preset, *free}} == {
        key: usual[key] for key in usual if key not in {*preset, *free}
    }
    assert {key: agent[key] for key in preset if key != "policy_kwargs"} == {
        key: value for key, value in preset.items() if key != "policy_kwargs"
    }
    assert {key: policy[key] for key in preset["policy_kwargs"]} == preset["policy_kwargs"]
    assert env == read(before)[2]  # and leaves the rest to the file before it
    given = make_parser().parse_path(CONFIGS / f"{name}.yaml", defaults=False).as_dict()
    assert set(given["policy"]) == set(preset["policy_kwargs"])
    assert set(given["agent"]) == set(preset) - {"policy_kwargs"}


def test_the_authors_preset_learns_on_a_small_picture() -> None:
    agent = RecurrentReinforce.from_preset("authors", toy_env(), n_faces=3, policy_kwargs=NARROW)
    assert isinstance(agent.policy, GaussianPolicyNetwork)
    before = learned(agent)
    agent.learn(18)
    after = learned(agent)
    assert (agent.imitated, agent._n_updates) == (0, 2)
    # Every episode is paid at its end: the share that was covered, four times, less the error
    paid = 4.0 * agent.buffer.coverage - agent.buffer.final_mse
    torch.testing.assert_close(agent.buffer.rewards.sum(dim=0), paid)
    for name in (
        "policy.mean_layer.weight",
        "policy.start",
        "policy.cell.weight_hh",
        "policy.joined.1.norm.weight",
    ):
        assert not torch.equal(before[name], after[name]), name
    assert int(after["enhancer_optimizer.0.step"]) == 2  # one joint update an iteration
