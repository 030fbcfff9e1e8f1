"""Settings of every test: no network, a cache of its own, one thread; paths of the repository and of shared data."""

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
# helper modules of all tests are imported by name: `from tiny_diffusion import tiny_inpainting_pipeline`; this folder
# itself must not be on the path, for tests/forgescope would hide the package
sys.path.append(str(Path(__file__).parent / "helpers"))

# read at import by huggingface_hub, datasets and torch, so set before any test module is collected
HF_HOME = tempfile.mkdtemp(prefix="forgescope-tests-")
atexit.register(shutil.rmtree, HF_HOME, ignore_errors=True)
os.environ.update(HF_HOME=HF_HOME, HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of shared photographs; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("FORGESCOPE_DATA_DIR", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}: set FORGESCOPE_DATA_DIR")
    return folder


@pytest.fixture(scope="session")
def fakereasoning_parity() -> dict[str, Any]:
    """What the authors' code of FakeReasoning computes on tiny weights."""
    from parity import load_parity

    return load_parity("fakereasoning_tiny.pt")


@pytest.fixture(scope="session")
def legion_parity() -> dict[str, Any]:
    """What the authors' code of LEGION computes on tiny weights."""
    from parity import load_parity

    return load_parity("legion_tiny.pt")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A headless browser for a module: while playwright runs, nothing else can run an event loop."""
    from browser import chromium

    with chromium() as browser:
        yield browser


@pytest.fixture
def browser_page(chromium: Any) -> Iterator[Any]:
    """An empty tab; the test fails when its pages report an error."""
    from browser import error_free_page

    with error_free_page(chromium) as page:
        yield page
