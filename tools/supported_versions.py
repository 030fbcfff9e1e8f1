"""Run the tests on the lowest supported versions, on the newest, or on every Python that is installed.

    python tools/supported_versions.py min|latest|pythons [--python 3.12] [--workers 2] [PYTEST_ARGUMENT ...]

`make test-min`, `make test-latest` and `make test-pythons` call it with what it needs: uv and packaging, and tomli on
Python 3.10. The lowest versions are read from pyproject.toml. Environments are kept in `.environments/` and only
brought up to date when they exist. Exits with 1 when something cannot be installed or a test fails.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENTS = ROOT / ".environments"
# those that `pythons` looks for; what pyproject.toml excludes is left out
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
# the versions that the last lines name, for reports of faults
NAMED = ("torch", "transformers", "datasets", "numpy", "pillow", "opencv-python-headless")
NOT_FOUND = "not tested, for it was found neither on PATH nor among the Pythons of uv and pyenv"


class NotInstalledError(Exception):
    """An environment cannot be made; uv has printed why."""


def stated_requirements(project: dict) -> list[str]:
    """Required and optional dependencies, each once; extras of the project itself are left out.

    Args:
        project: Table `project` of a pyproject.toml.
    """
    groups = [project["dependencies"], *project.get("optional-dependencies", {}).values()]
    return list(dict.fromkeys(line for group in groups for line in group if Requirement(line).name != project["name"]))


def lowest_version(specifier: SpecifierSet) -> Version | None:
    """Return the version that `>=`, `~=` or `==` names; None where none does."""
    floors = [Version(one.version.removesuffix(".*")) for one in specifier if one.operator in (">=", "~=", "==")]
    return max(floors, default=None)


def lowest_pins(requirements: Iterable[str]) -> list[str]:
    """Constraints that admit the lowest version of every requirement, and its later patches, only.

    `torch>=2.6` becomes `torch==2.6.*`: a floor need not be a release itself (4.10 of OpenCV is 4.10.0.82).

    Args:
        requirements: Lines such as `ray[data]>=2.40; python_version < '3.14'`; markers are kept.

    Raises:
        ValueError: If a requirement has no lowest version.
    """
    pins = []
    for line in requirements:
        requirement = Requirement(line)
        lowest = lowest_version(requirement.specifier)
        if lowest is None:
            raise ValueError(f"{line!r} has no lowest version: write {requirement.name}>=VERSION in pyproject.toml")
        marker = f"; {requirement.marker}" if requirement.marker else ""
        pins.append(f"{requirement.name}=={'.'.join(map(str, lowest.release))}.*{marker}")
    return pins


def search_path() -> str:
    """PATH, and before it the Pythons of pyenv: its shims do not run the versions that are not switched on."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    folders = [folder for version in PYTHONS for folder in sorted(pyenv.glob(f"versions/{version}.*/bin"))]
    return os.pathsep.join([*map(str, folders), os.environ["PATH"]])


def uv(*arguments: str | Path, quiet: bool = False) -> subprocess.CompletedProcess:
    """Run uv in the repository; what it prints is shown unless `quiet`."""
    from uv import find_uv_bin

    command = [find_uv_bin(), *map(str, arguments)]
    env = {**os.environ, "PATH": search_path()}
    return subprocess.run(command, cwd=ROOT, capture_output=quiet, text=True, check=False, env=env)


def find_python(version: str) -> str | None:
    """Path of an installed Python, or None."""
    found = uv("python", "find", "--system", "--no-project", "--no-python-downloads", version, quiet=True)
    return found.stdout.strip() if found.returncode == 0 else None


def install(environment: Path, python: str, *options: str | Path) -> None:
    """Make an environment, or bring it up to date, with forgescope and what its tests need.

    Raises:
        NotInstalledError: If there is no such Python, or no versions that go together.
    """
    commands = (
        ("venv", "--quiet", "--allow-existing", "--no-project", "--python", python, environment),
        ("pip", "install", "--python", environment / "bin" / "python", *options, "--editable", ".[test]"),
    )
    for command in commands:
        if uv(*command).returncode:
            raise NotInstalledError(f"not installed: uv {command[0]} failed, see above")


def installed_versions(environment: Path) -> str:
    """Return the versions of Python and of the libraries in `NAMED`, on one line."""
    python = environment / "bin" / "python"
    listed = json.loads(uv("pip", "list", "--python", python, "--format", "json", quiet=True).stdout)
    found = {one["name"]: one["version"] for one in listed}
    version = subprocess.run([python, "-V"], capture_output=True, text=True, check=True).stdout.split()[1]
    return ", ".join([f"Python {version}", *(f"{name} {found[name]}" for name in NAMED if name in found)])


def run_tests(environment: Path, arguments: list[str], workers: int) -> bool:
    """Run pytest in an environment and say whether every test passed."""
    command = [environment / "bin" / "pytest", "-n", str(workers), "--dist", "loadfile", *arguments]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False).returncode == 0


def try_out(name: str, python: str, options: list[str | Path], arguments: list[str], workers: int) -> tuple[bool, str]:
    """Install one environment and run the tests in it.

    Returns:
        Whether all went well, and the line that says so.
    """
    environment, start = ENVIRONMENTS / name, time.monotonic()
    print(f"== {name}: installing into {environment}", flush=True)
    try:
        install(environment, python, *options)
    except NotInstalledError as error:
        return False, f"{name}: {error}"
    versions = installed_versions(environment)
    print(f"== {name}: tests on {versions}", flush=True)
    passed = run_tests(environment, arguments, workers)
    minutes = (time.monotonic() - start) / 60
    return passed, f"{name}: {'passed' if passed else 'TESTS FAILED'} after {minutes:.1f} minutes on {versions}"


def lowest_options(project: dict) -> list[str | Path]:
    """Write the constraints of the lowest versions and return the options of `uv pip install` that use them."""
    pins = ENVIRONMENTS / "lowest.txt"
    pins.parent.mkdir(exist_ok=True)
    pins.write_text("\n".join([*lowest_pins(stated_requirements(project)), ""]))
    return ["--resolution", "lowest-direct", "--constraint", pins]


def plan(kind: str, project: dict, python: str | None) -> tuple[list[tuple[str, str, list[str | Path]]], list[str]]:
    """Say which environments a kind of run needs.

    Args:
        kind: `min`, `latest` or `pythons`.
        project: Table `project` of pyproject.toml.
        python: Version to use; None for the lowest supported (`min`), the newest found (`latest`) or all (`pythons`).

    Returns:
        Name, Python and options of `uv pip install` of every environment; and the versions of Python not found.
    """
    supported = SpecifierSet(project["requires-python"])
    if kind == "min":
        version = python or str(lowest_version(supported))
        # uv looks for it, and may download it
        return [(f"min-{version}", version, lowest_options(project))], []
    wanted = [python] if python else [version for version in PYTHONS if version in supported]
    found = {version: path for version in wanted if (path := find_python(version))}
    missing = [version for version in wanted if version not in found]
    if kind == "latest":
        return [(f"latest-{version}", path, ["--upgrade"]) for version, path in list(found.items())[-1:]], missing
    return [(f"python-{version}", path, []) for version, path in found.items()], missing


def read_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line; words after `--` are for pytest, wherever `--python` stands."""
    parser = argparse.ArgumentParser(description="Run the tests on other versions of Python and of the libraries.")
    parser.add_argument("kind", choices=("min", "latest", "pythons"), help="lowest, newest, or every Python installed")
    parser.add_argument("--python", metavar="X.Y", help="this Python only")
    parser.add_argument("--workers", type=int, default=2, help="processes of the test suite (default: 2)")
    parser.add_argument("pytest", nargs="*", metavar="PYTEST_ARGUMENT", help="for pytest: folders, -k, ...")
    return parser.parse_intermixed_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    options = read_arguments(arguments)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    environments, missing = plan(options.kind, project, options.python)
    done = [try_out(*one, options.pytest, options.workers) for one in environments]
    for line in (*(line for _, line in done), *(f"Python {version}: {NOT_FOUND}" for version in missing)):
        print(f"== {line}")
    if not done:
        print("== nothing was tested: install one of these versions of Python and run this again")
    return 0 if done and all(passed for passed, _ in done) else 1


if __name__ == "__main__":
    sys.exit(main())
