"""What is installed, what is shipped to the Hub, and who may import whom."""

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FACE = ROOT / "src" / "forgescope"
SHIPPABLE = ("modeling", "processing")
# folder -> modules of other folders that it may import; src/forgescope may import anything
MAY_IMPORT = {
    "modeling": (),
    "processing": (),
    "datasets_scripts": (),
    # its metric modules are loaded by path, where a relative import has no parent package
    "evaluation": ("evaluation",),
    "refinement": (),
    "construction": ("datasets_scripts.features",),
    "trainers": ("modeling", "processing", "evaluation", "datasets_scripts.features"),
}
# the folders of the repository that are no package
OTHER_FOLDERS = {"src", "tests", "docs", "examples", "benchmarks", "build", "dist"}
MAXIMUM_LINES = 600


def package_folders() -> list[Path]:
    return [path.parent for path in ROOT.glob("*/__init__.py") if path.parent.name not in OTHER_FOLDERS]


def library_files() -> list[Path]:
    return [file for folder in (*package_folders(), FACE) for file in sorted(folder.rglob("*.py"))]


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


def imported_modules(tree: ast.AST) -> Iterator[tuple[int, int, str]]:
    """Line, number of leading dots and dotted name of every import, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, 0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            # `from forgescope import trainers` names a folder as `import forgescope.trainers` does
            names = [f"{base}.{alias.name}" for alias in node.names] if base == "forgescope" else [base]
            yield from ((node.lineno, node.level, name) for name in names)


def forbidden_imports(source: str, folder: str, depth: int) -> list[str]:
    """Imports that a file of `folder`, `depth` folders below the package, must not have."""
    allowed = MAY_IMPORT[folder]
    found = []
    for line, dots, module in imported_modules(ast.parse(source)):
        inside = module.removeprefix("forgescope.") if module.partition(".")[0] == "forgescope" else None
        if dots > depth:
            found.append(f"{line}: {'.' * dots}{module} leaves the folder")
        elif inside is not None and not any(inside == name or inside.startswith(f"{name}.") for name in allowed):
            found.append(f"{line}: {module}")
    return found


@pytest.mark.parametrize("folder", package_folders(), ids=lambda folder: folder.name)
def test_who_may_import_whom(folder):
    assert folder.name in MAY_IMPORT, f"say in MAY_IMPORT what {folder.name} may import"
    for file in folder.rglob("*.py"):
        depth = len(file.relative_to(ROOT).parts) - 1
        assert forbidden_imports(file.read_text(), folder.name, depth) == [], name_of(file)


@pytest.mark.parametrize(
    ("source", "folder", "found"),
    [
        ("from forgescope.trainers.recipe import read", "modeling", ["1: forgescope.trainers.recipe"]),
        ("def f():\n    import forgescope.hub", "evaluation", ["2: forgescope.hub"]),
        ("from forgescope.evaluation.counts import x", "evaluation", []),
        ("from forgescope import modeling", "construction", ["1: forgescope.modeling"]),
        ("from ..modeling import x", "processing", ["1: ..modeling leaves the folder"]),
        ("from forgescope.datasets_scripts.features import x", "construction", []),
        ("from forgescope.datasets_scripts.other import x", "trainers", ["1: forgescope.datasets_scripts.other"]),
        ("import torch\nfrom .sibling import x", "modeling", []),
    ],
)
def test_the_import_rule_finds_what_it_should(source, folder, found):
    assert forbidden_imports(source, folder, depth=1) == found


@pytest.mark.parametrize("folder", SHIPPABLE)
def test_shippable_folders_are_flat(folder):
    assert [path.name for path in (ROOT / folder).iterdir() if path.is_dir() and path.name != "__pycache__"] == []


def test_shippable_names_are_unique():
    names = Counter(file.name for folder in SHIPPABLE for file in (ROOT / folder).glob("*.py"))
    del names["__init__.py"]
    assert [name for name, count in names.items() if count > 1] == []


def shippable_files() -> list[Path]:
    return [file for folder in SHIPPABLE for file in sorted((ROOT / folder).glob("*.py"))]


@pytest.mark.parametrize("file", shippable_files(), ids=name_of)
def test_shippable_imports_can_be_followed(file):
    """The Hub's copier reads lines: only `from .sibling import name` is followed, in docstrings too."""
    source = file.read_text()
    siblings = {path.stem for path in file.parent.glob("*.py")}
    for line, dots, module in imported_modules(ast.parse(source)):
        assert dots == 0 or (dots == 1 and module in siblings), f"line {line}"
        assert module != "__future__", f"line {line}: breaks config classes (annotations become strings)"
    statements = {line for line, dots, _ in imported_modules(ast.parse(source)) if dots}
    looks_relative = {
        number
        for number, text in enumerate(source.splitlines(), start=1)
        if re.match(r"\s*(from\s+\.\S*\s+import|import\s+\.)", text)
    }
    assert looks_relative <= statements, "a line of text begins like a relative import"


def test_setup_lists_every_package():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    listed = setup["options"]["packages"].split()
    places = dict(line.split(" = ") for line in setup["options"]["package_dir"].strip().splitlines())
    expected = {"forgescope": "src/forgescope"}
    roots = [(FACE, "forgescope"), *((folder, f"forgescope.{folder.name}") for folder in package_folders())]
    for root, package in roots:
        inner = [path.parent.relative_to(root).parts for path in root.rglob("__init__.py")]
        expected |= {".".join((package, *parts)): str((root / Path(*parts)).relative_to(ROOT)) for parts in inner}
    assert sorted(listed) == sorted(expected)
    assert {package: expected[package] for package in places} == places
    assert {folder.name for folder in package_folders()} == {place for place in places.values() if "/" not in place}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Names of the files in a wheel built from a copy of the sources."""
    copy, out = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("wheel")
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for folder in ("src", *(folder.name for folder in package_folders())):
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignore)
    for file in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, copy)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(copy)]
    done = subprocess.run(build, capture_output=True, text=True, timeout=300, cwd=out)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    with zipfile.ZipFile(next(out.glob("*.whl"))) as archive:
        return archive.namelist()


def test_the_wheel_holds_one_package(wheel):
    tops = {name.split("/")[0] for name in wheel}
    assert tops == {"forgescope", next(top for top in tops if top.endswith(".dist-info"))}


def test_the_wheel_holds_every_source_file(wheel):
    sources = {str(file.relative_to(FACE)) for file in FACE.rglob("*.py")}
    sources |= {name_of(file) for folder in package_folders() for file in folder.rglob("*.py")}
    assert {name.removeprefix("forgescope/") for name in wheel if name.endswith(".py")} == sources


def test_the_wheel_holds_the_data(wheel):
    data = {f"forgescope/{file.relative_to(FACE)}" for file in (FACE / "checkpoints").glob("*/*")}
    data |= {f"forgescope/{file.relative_to(FACE)}" for file in (FACE / "templates").iterdir()}
    data |= {f"forgescope/{name_of(file)}" for file in (ROOT / "trainers" / "recipes").glob("*.yaml")}
    data |= {f"forgescope/{name_of(file)}" for file in (ROOT / "datasets_scripts").glob("*.md")}
    data |= {f"forgescope/{name_of(file)}" for file in (ROOT / "trainers").glob("*.md")}
    data |= {f"forgescope/{name_of(file)}" for file in (ROOT / "construction").glob("*.md")}
    assert {"forgescope/py.typed", *data} <= set(wheel)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel)


def run_python(code: str, cwd: Path) -> subprocess.CompletedProcess:
    """Run code as the command line would: forgescope imported without registering, so without waiting for torch."""
    code = f"import sys; sys.argv = ['forgescope']\n{code}"
    environment = {**os.environ, "COLUMNS": "100"}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=cwd, env=environment
    )


def test_nothing_generic_is_importable(tmp_path):
    names = [folder.name for folder in package_folders()]
    code = (
        "from importlib.util import find_spec\n"
        f"names = {names!r}\n"
        "print([name for name in names if find_spec(name)], end=' ')\n"
        "print([name for name in names if not find_spec('forgescope.' + name)])"
    )
    child = run_python(code, tmp_path)
    assert child.stdout.strip() == "[] []", child.stderr


def test_the_tests_themselves_see_one_copy():
    for folder in package_folders():
        assert folder.name not in sys.modules


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["detect", "--help"], ["push", "--help"]])
def test_help_does_not_wait_for_torch(arguments, tmp_path):
    code = (
        f"sys.argv += {arguments!r}\n"
        "from forgescope.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "heavy = {'torch', 'transformers', 'datasets', 'cv2'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    child = run_python(code, tmp_path)
    assert child.returncode == 0, child.stderr
    assert "forgescope" in child.stdout


@pytest.mark.parametrize("arguments", [["nonsense"], ["detect", "--nonsense"], ["push", "only-one-argument"]])
def test_wrong_usage_exits_with_2(arguments, tmp_path):
    child = run_python(f"sys.argv += {arguments!r}\nfrom forgescope.cli import main\nmain()", tmp_path)
    assert child.returncode == 2
    assert child.stdout == ""
    assert child.stderr.startswith("error: ")
    assert child.stderr.endswith("--help\n")
    assert child.stderr.count("\n") == 1


@pytest.mark.parametrize("file", library_files(), ids=name_of)
def test_library_files_are_short_and_quiet(file):
    source = file.read_text()
    assert source.count("\n") <= MAXIMUM_LINES
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    printed = [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
    assert printed == []
    asserted = [node.lineno for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Assert)]
    assert asserted == [], "user input is answered with ValueError, not assert"


def test_test_files_have_unique_names():
    names = Counter(file.name for file in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


def test_version_is_stated_once_everywhere():
    project = (ROOT / "pyproject.toml").read_text()
    version = re.search(r'^version = "(.+)"$', project, re.MULTILINE)[1]
    assert f'__version__ = "{version}"' in (FACE / "__init__.py").read_text()
    assert f"version: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()
