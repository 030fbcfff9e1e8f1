"""Inputs and outputs of the authors' code on tiny random weights, and networks of the same sizes."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[2]


def parity_dir() -> Path:
    """Folder of the fixtures."""
    return Path(os.environ.get("FORGESCOPE_PARITY_DIR", ROOT.parent / "shared" / "reference" / "parity"))


def load_parity(name: str) -> dict[str, Any]:
    """Read a fixture; a test that needs it is skipped where it is absent."""
    path = parity_dir() / name
    if not path.is_file():
        pytest.skip(f"no file {path}: set FORGESCOPE_PARITY_DIR")
    return torch.load(path, weights_only=True)
