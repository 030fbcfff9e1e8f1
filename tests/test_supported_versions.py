"""The lowest versions that `make test-min` installs, read from pyproject.toml, and the Pythons that are tried."""

import importlib.util
from collections import Counter
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("supported_versions", ROOT / "tools" / "supported_versions.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def project(tool):
    return tool.tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize(
    ("requirement", "pin"),
    [
        ("torch>=2.6", "torch==2.6.*"),
        ("transformers>=5.20,<6", "transformers==5.20.*"),
        ("evaluate>=0.4.6", "evaluate==0.4.6.*"),
        ("PyYAML >= 6", "PyYAML==6.*"),
        ("numpy~=1.26", "numpy==1.26.*"),
        ("tenacity==8.2.*", "tenacity==8.2.*"),
        ("typer>=0.16,!=0.17", "typer==0.16.*"),
        ("ray[data]>=2.40; python_version < '3.14'", 'ray==2.40.*; python_version < "3.14"'),
    ],
)
def test_pin_of_a_requirement(tool, requirement, pin):
    assert tool.lowest_pins([requirement]) == [pin]
    Requirement(pin)


@pytest.mark.parametrize("requirement", ["rich", "rich<14", "rich!=13.0"])
def test_a_requirement_without_lowest_version_is_refused(tool, requirement):
    with pytest.raises(ValueError, match="has no lowest version: write rich>=VERSION in pyproject.toml"):
        tool.lowest_pins(["torch>=2.6", requirement])


def test_every_requirement_is_stated_once_and_never_the_project_itself(tool):
    project = {
        "name": "forgescope",
        "dependencies": ["torch>=2.6"],
        "optional-dependencies": {"plot": ["matplotlib>=3.8"], "test": ["matplotlib>=3.8", "forgescope[plot]"]},
    }
    assert tool.stated_requirements(project) == ["torch>=2.6", "matplotlib>=3.8"]
    assert tool.stated_requirements({"name": "forgescope", "dependencies": []}) == []


def test_every_requirement_of_this_project_has_a_pin(tool, project):
    lines = tool.stated_requirements(project)
    assert "torch" in {Requirement(line).name for line in lines}
    for line, pin in zip(lines, map(Requirement, tool.lowest_pins(lines)), strict=True):
        stated = Requirement(line)
        lowest = tool.lowest_version(stated.specifier)
        assert (pin.name, lowest in stated.specifier, lowest in pin.specifier) == (stated.name, True, True), line


def test_one_package_has_one_lowest_version(tool, project):
    pins = [Requirement(pin) for pin in tool.lowest_pins(tool.stated_requirements(project))]
    names = Counter(name for name, _ in {(pin.name, str(pin.specifier)) for pin in pins})
    assert [name for name, count in names.items() if count > 1] == [], "extras differ in what they call the lowest"


def test_lowest_run_takes_the_lowest_python(tool, project, tmp_path, monkeypatch):
    monkeypatch.setattr(tool, "ENVIRONMENTS", tmp_path / "environments")
    environments, missing = tool.plan("min", project, python=None)
    pins = tmp_path / "environments" / "lowest.txt"
    options = ["--resolution", "lowest-direct", "--constraint", pins]
    assert (environments, missing) == ([("min-3.10", "3.10", options)], [])
    assert pins.read_text().splitlines() == tool.lowest_pins(tool.stated_requirements(project))


def test_pythons_of_pyenv_are_looked_up_before_its_shims(tool, tmp_path, monkeypatch):
    for version in ("3.9.18", "3.10.13", "3.11.7", "3.13.0"):
        (tmp_path / "versions" / version / "bin").mkdir(parents=True)
    monkeypatch.setenv("PATH", f"{tmp_path / 'shims'}:/usr/bin")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    folders = tool.search_path().split(":")
    assert folders[:3] == [f"{tmp_path}/versions/{version}/bin" for version in ("3.10.13", "3.11.7", "3.13.0")]
    assert folders[3:] == [f"{tmp_path}/shims", "/usr/bin"]
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "none"))
    assert tool.search_path() == f"{tmp_path / 'shims'}:/usr/bin"


def test_continuous_integration_runs_every_supported_python(tool, project):
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())["jobs"]
    tried = jobs["tests"]["strategy"]["matrix"]["python-version"]
    prefix = "Programming Language :: Python :: 3."
    assert tried == [one.rpartition(" ")[2] for one in project["classifiers"] if one.startswith(prefix)]
    assert set(tried) <= set(tool.PYTHONS)
    assert Version(tried[0]) == tool.lowest_version(SpecifierSet(project["requires-python"]))
    makes = [one["make"] for one in jobs["versions"]["strategy"]["matrix"]["include"]]
    assert makes == ["test-min", "test-latest"]


@pytest.mark.parametrize(
    ("arguments", "python", "words"),
    [
        (["latest"], None, []),
        (["--workers", "2", "latest", "--", "tests/hub", "-x"], None, ["tests/hub", "-x"]),
        (["latest", "--python", "3.13", "--", "-k", "one or two"], "3.13", ["-k", "one or two"]),
        (["latest", "--python", "3.13", "tests/hub"], "3.13", ["tests/hub"]),
        (["--python", "3.13", "latest", "--"], "3.13", []),
    ],
)
def test_words_for_pytest_stand_after_all_others(tool, arguments, python, words):
    options = tool.read_arguments(arguments)
    assert (options.kind, options.python, options.pytest) == ("latest", python, words)


@pytest.mark.parametrize("arguments", [[], ["oldest"], ["min", "--workers", "two"]])
def test_wrong_usage_of_the_tool_exits_with_2(tool, arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        tool.main(arguments)
    assert stopped.value.code == 2
    assert "usage:" in capsys.readouterr().err
