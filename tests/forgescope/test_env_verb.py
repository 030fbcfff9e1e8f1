import importlib.metadata
import json
import platform
import re
import sys
from types import SimpleNamespace

import pytest
import torch

from forgescope import __version__, environment
from forgescope.cli import main
from forgescope.environment import describe_environment, describe_extras

METADATA = """Metadata-Version: 2.4
Name: forgescope
Version: 1.2
Requires-Dist: torch>=2.6
Requires-Dist: numpy<1; python_version < "3"
Requires-Dist: torch>=1; extra == "met"
Requires-Dist: torch>=99; extra == "unmet"
Requires-Dist: no-such-package>=3,<4; extra == "unmet"
Requires-Dist: other-python; extra == "unmet" and python_version < "3"
Requires-Dist: pytest; extra == "test"
Provides-Extra: met
Provides-Extra: unmet
Provides-Extra: test
"""


@pytest.fixture
def run(monkeypatch, capsys):
    def call(*words):
        monkeypatch.setattr(sys, "argv", ["forgescope", *words])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        return stopped.value.code, out, err

    return call


@pytest.fixture
def metadata(monkeypatch, tmp_path):
    """Metadata of forgescope as written above, before those that are installed."""
    folder = tmp_path / "forgescope-1.2.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(METADATA)
    monkeypatch.syspath_prepend(tmp_path)


def test_extras_are_met_or_say_what_is_missing(metadata):
    assert describe_extras() == {
        "met": {"installed": True, "missing": [], "install": 'pip install "forgescope[met]"'},
        "unmet": {
            "installed": False,
            "missing": ["torch>=99", "no-such-package<4,>=3"],
            "install": 'pip install "forgescope[unmet]"',
        },
    }


def test_packages_are_those_that_are_always_needed(metadata):
    assert environment.required_packages() == ["torch"]


def test_json_is_one_object_with_versions_threads_and_folders(run, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    status, out, err = run("env", "--json")
    found = json.loads(out)
    assert (status, err, out.count("\n")) == (0, "", 1)
    assert found["system"]["forgescope"] == importlib.metadata.version("forgescope") == __version__
    assert found["system"]["python"].startswith(platform.python_version())
    for package in ("torch", "transformers", "datasets", "accelerate", "peft"):
        assert found["packages"][package] == importlib.metadata.version(package)
    assert found["hardware"]["torch_threads"] == torch.get_num_threads()
    assert len(found["hardware"]["gpus"]) == torch.cuda.device_count()
    assert found["hub"]["offline"] is True
    assert found["variables"]["OMP_NUM_THREADS"] == "3"


def test_lines_name_every_fact_and_the_command_for_an_extra(run, metadata):
    status, out, _ = run("env")
    assert status == 0
    assert re.search(r"^forgescope +1\.2$", out, re.MULTILINE)
    assert re.search(r"^extra met +yes$", out, re.MULTILINE)
    assert "extra unmet" in out
    assert 'no (torch>=99, no-such-package<4,>=3): pip install "forgescope[unmet]"' in out


def test_home_folders_keep_their_user_to_themselves(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/ada")
    assert environment._without_user("/home/ada/.cache/hub") == "~/.cache/hub"
    assert environment._without_user("/home/adam/hub") == "/home/adam/hub"
    assert environment._without_user("/data/hub") == "/data/hub"


def test_keys_are_not_shown(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_very_secret")
    assert "very_secret" not in json.dumps(describe_environment())


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://hub.example/mirror@2", "https://hub.example/mirror@2"),
        ("https://ada:very_secret@hub.example:8443/mirror", "https://hub.example:8443/mirror"),
        ("https://very_secret@hub.example", "https://hub.example"),
        ("https://ada:very@secret@hub.example", "https://hub.example"),
    ],
)
def test_addresses_are_shown_without_passwords(monkeypatch, address, shown):
    monkeypatch.setenv("HF_ENDPOINT", address)
    assert describe_environment()["variables"]["HF_ENDPOINT"] == shown


def test_torch_that_cannot_be_imported_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert environment.describe_hardware()["torch"].startswith("cannot be imported: ")


def test_gpus_are_named_with_memory_and_capability():
    properties = SimpleNamespace(name="H200", total_memory=140 << 30, major=9, minor=0)
    assert environment._describe_gpu(properties) == "H200, 140 GiB, capability 9.0"


def test_sources_that_are_not_installed_are_described_too(monkeypatch):
    monkeypatch.setattr(environment, "PACKAGE", "forgescope-not-installed")
    found = describe_environment()
    assert found["system"]["forgescope-not-installed"] == f"{__version__}, not installed"
    assert (found["packages"], found["extras"]) == ({}, {})
