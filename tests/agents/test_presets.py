"""Named hyperparameters: the paper's are the paper's, in Python and in YAML."""

from pathlib import Path

import pytest
import torch
from toys import learned, toy_env

from agents.configuration import make_parser, read_experiment
from agents.presets import PAPER, preset_arguments
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
    with pytest.raises(ValueError, match="no preset 'papers'; the presets are default, paper"):
        RecurrentReinforce.from_preset("papers", toy_env())


def test_the_configuration_carries_the_same_values() -> None:
    def read(*names: str) -> tuple[dict[str, object], dict[str, object], object]:
        files = [argument for name in names for argument in ("--config", str(CONFIGS / f"{name}.yaml"))]
        experiment = read_experiment(make_parser().parse_args(files))
        return experiment.agent, experiment.policy, experiment.env

    agent, policy, env = read("demo", "paper")
    assert {name: agent[name] for name in PAPER if name != "policy_kwargs"} == {
        name: value for name, value in PAPER.items() if name != "policy_kwargs"
    }
    assert {name: policy[name] for name in PAPER["policy_kwargs"]} == PAPER["policy_kwargs"]
    assert env == read("demo")[2]  # and leaves the rest to the file before it
    alone = make_parser().parse_path(CONFIGS / "paper.yaml", defaults=False)
    given = alone.as_dict()
    assert set(given["policy"]) == set(PAPER["policy_kwargs"])
    assert set(given["agent"]) == set(PAPER) - {"policy_kwargs"}
