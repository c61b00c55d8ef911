"""What is shipped: metadata, pins, citation, and a wheel that works away from the source tree."""

import ast
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import facehall_env

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def declared(project) -> list[Requirement]:
    extras = project["optional-dependencies"].values()
    return [Requirement(text) for texts in (project["dependencies"], *extras) for text in texts]


@pytest.fixture(scope="module")
def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def run(*command: object, cwd: Path) -> str:
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def imported(path: Path) -> set[str]:
    """The top-level modules that a source file imports, by their full names."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module)
    return {name.split(".")[0] for name in found}


def test_the_bounds_users_were_promised(project):
    bounds = {
        requirement.name: requirement.specifier for requirement in map(Requirement, project["dependencies"])
    }
    assert project["requires-python"] == ">=3.11"
    assert bounds["gymnasium"] == SpecifierSet(">=1.1")
    assert bounds["stable-baselines3"] == SpecifierSet(">=2.8")
    assert bounds["torch"] == SpecifierSet(">=2.8")


def test_every_declared_dependency_has_a_lower_bound_and_no_upper(declared):
    for requirement in declared:
        assert [clause.operator for clause in requirement.specifier] == [">="], str(requirement)


def test_constraints_pin_every_declared_dependency_within_its_bound(declared, pins):
    for requirement in declared:
        name = canonicalize_name(requirement.name)
        assert name in pins, f"constraints.txt does not pin {name}"
        assert pins[name] in requirement.specifier, f"{name}=={pins[name]} is outside {requirement}"


def test_constraints_leave_the_build_of_torch_open(pins):
    assert pins["torch"].local is None


def test_every_import_is_declared(declared):
    """Found by reading the sources, so that a package which is there by way of another is noticed."""
    names = {
        "cv2": "opencv-python-headless",
        "dlib": "dlib-bin",
        "PIL": "pillow",
        "skimage": "scikit-image",
        "yaml": "pyyaml",
    }
    ours = {"facehall_env", "agents"}
    known = {canonicalize_name(requirement.name) for requirement in declared}
    missing = {}
    for path in (path for folder in ours for path in (ROOT / folder).rglob("*.py")):
        for module in imported(path) - sys.stdlib_module_names - ours:
            if canonicalize_name(names.get(module, module)) not in known:
                missing[module] = path.relative_to(ROOT)
    assert not missing


def test_the_changelog_and_the_citation_speak_of_this_version():
    changelog = (ROOT / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d{2}-\d{2}))?$", changelog, re.MULTILINE)
    assert headings[0] == ("Unreleased", "")
    assert headings[1][0] == facehall_env.__version__
    assert all(date for _, date in headings[1:])
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == facehall_env.__version__


def test_the_citation_names_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= citation.keys()
    paper = citation["preferred-citation"]
    assert paper["title"] == "Attention-Aware Face Hallucination via Deep Reinforcement Learning"
    authors = [author["family-names"] for author in paper["authors"]]
    assert authors == ["Cao", "Lin", "Shi", "Liang", "Li"]
    assert (paper["year"], paper["start"], paper["end"]) == (2017, 1656, 1664)


WEIGHTS = {
    f"facehall_env/pretrained/{name}"
    for name in ("some-x4/config.json", "some-x4/README.md", "some-x4/enhancer.safetensors")
}
"""Weights that come with the packages that these tests build, whichever come with the project."""


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """The project's wheel and sdist, built from a copy of the sources so that the tree stays as it is."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("facehall_env", "agents"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("tests", "benchmarks", "examples"):  # packages that have to stay behind
        (source / name).mkdir()
        (source / name / "__init__.py").touch()
    for name in WEIGHTS:
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text(name)
    out = tmp_path_factory.mktemp("dist")
    build = ("-m", "build", "--wheel", "--sdist", "--no-isolation", "--outdir", out, source)
    run(sys.executable, *build, cwd=source)
    return out


@pytest.fixture(scope="module")
def wheel(built) -> Path:
    (path,) = built.glob("*.whl")
    return path


def test_the_wheel_holds_the_two_packages_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {
        "facehall_env",
        "agents",
        f"facehall-{facehall_env.__version__}.dist-info",
    }
    assert {"facehall_env/py.typed", "agents/py.typed", "agents/visualisation/page.html"} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    sources = {
        path.relative_to(ROOT).as_posix()
        for top in ("facehall_env", "agents")
        for path in (ROOT / top).rglob("*.py")
    }
    assert sources == {name for name in names if name.endswith(".py")}


def test_weights_are_in_the_wheel_and_in_the_sdist(built, wheel):
    (source,) = built.glob("*.tar.gz")
    packaged = {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "facehall_env" / "pretrained").glob("*/*.*")
    }
    wanted = WEIGHTS | {name for name in packaged if "__pycache__" not in name}
    assert wanted <= set(zipfile.ZipFile(wheel).namelist())
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert wanted <= names
    assert not any("__pycache__" in name for name in names)


def test_the_wheel_works_in_a_clean_venv_from_another_folder(wheel, tmp_path):
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--no-deps",
        "--no-index",
        "--ignore-installed",  # whatever PYTHONPATH shows it
        wheel,
        cwd=tmp_path,
    )
    # This environment lends the dependencies. A .pth line only adds the folder to the path: the .pth files in
    # that folder, among them the one that makes the source tree importable, are not read.
    (packages,) = home.glob("lib/python3*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")

    (tmp_path / "elsewhere").mkdir()
    code = (
        "import importlib.metadata, agents, facehall_env;"
        "print(importlib.metadata.version('facehall'), agents.__file__, facehall_env.__file__)"
    )
    version, *files = run(python, "-I", "-c", code, cwd=tmp_path / "elsewhere").split()
    assert version == facehall_env.__version__
    assert files == [str(packages / name / "__init__.py") for name in ("agents", "facehall_env")]
