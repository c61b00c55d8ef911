"""Where a number comes from: the commit, the packages, the command and the day."""

import importlib.metadata
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# Those that can change a number.
PACKAGES = (
    "facehall",
    "torch",
    "numpy",
    "scipy",
    "gymnasium",
    "stable-baselines3",
    "scikit-image",
    "opencv-python-headless",
    "pillow",
)


def git_commit(source: str | Path = __file__) -> str:
    """The commit of the repository that tracks a source file.

    Args:
        source: The file that asks; by default this one.

    Returns:
        The commit's 40 digits, with "-dirty" after them if a tracked file differs from it. Files under
        results/ are not looked at, as the run itself changes them. "unknown" where there is no git, no
        commit, or where the repository around the file does not track it, as around a package installed into
        a virtual environment.
    """
    source = Path(source).resolve()
    try:
        _git(source.parent, "ls-files", "--error-unmatch", source.name)
        commit = _git(source.parent, "rev-parse", "HEAD")
        changes = _git(
            source.parent,
            "status",
            "--porcelain",
            "--untracked-files=no",
            "--",
            ":/",
            ":(top,exclude)results",
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return commit + "-dirty" * bool(changes)


def package_versions() -> dict[str, str]:
    """The version of Python and of every installed package of `PACKAGES`."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def provenance() -> dict[str, Any]:
    """The fields of a record that say where it comes from: commit, versions, command and date (UTC).

    To the second, as of two measurements of one day the later one counts.
    """
    return {
        "commit": git_commit(),
        "versions": package_versions(),
        "command": shlex.join(["python", *sys.orig_argv[1:]]),
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
    }


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout.strip()
