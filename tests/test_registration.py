"""The table of environment ids."""

import subprocess
import sys

import gymnasium as gym

from facehall_env import ENV_IDS, register_envs


def test_the_ids_are_those_of_four_data_sets_at_two_scales():
    names = ("LFW", "BioID", "Synthetic", "Folder")
    assert sorted(ENV_IDS) == sorted(
        f"FaceHallucination-{name}-x{scale}" for name in names for scale in (4, 8)
    )
    assert {env_id for env_id in gym.registry if env_id.startswith("FaceHallucination")} == set(ENV_IDS)
    for env_id, arguments in ENV_IDS.items():
        assert gym.spec(env_id).kwargs == arguments
        assert gym.spec(env_id).max_episode_steps is None  # the episode terminates, nothing truncates it


def test_registering_again_changes_nothing():
    before = {env_id: gym.registry[env_id] for env_id in ENV_IDS}
    register_envs()
    assert all(gym.registry[env_id] is spec for env_id, spec in before.items())


def test_importing_the_package_registers_the_ids_and_pulls_in_nothing_that_learns():
    lines = [
        "import sys, gymnasium, facehall_env",
        "gymnasium.make('FaceHallucination-Synthetic-x8').reset(seed=0)",
        "print([name for name in ('agents', 'stable_baselines3', 'matplotlib') if name in sys.modules])",
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr
