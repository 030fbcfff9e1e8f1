import json
import re
import sys
from importlib.metadata import version

import numpy as np
import pytest
from PIL import Image

from forgescope.construction.manipulation import LABELS

PACKAGES = {"NumPy": "numpy", "OpenCV": "opencv-python-headless", "Pillow": "Pillow",
            "scikit-image": "scikit-image", "scikit-learn": "scikit-learn"}  # fmt: skip


def test_examples_are_complete_and_small(repository):
    folder = repository / "examples"
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    assert {row["task"] for row in rows} == set(LABELS)
    sources = (folder / "SOURCES.md").read_text()
    for row in rows:
        mask = np.asarray(Image.open(folder / row["mask_file_name"]))
        assert mask.shape == Image.open(folder / row["file_name"]).size[::-1]
        assert mask.any() == (row["task"] != "authentic")
        assert row["label"] == LABELS[row["task"]]
        assert f"`{row['photo']}`" in sources
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 2_000_000


def test_examples_are_made_again(repository, tmp_path, monkeypatch):
    pytest.importorskip("skimage")
    pytest.importorskip("sklearn")
    folder = repository / "examples"
    stated = dict(re.findall(r"(NumPy|OpenCV|Pillow|scikit-\w+) (\d+\.\d+\.\d+)", (folder / "SOURCES.md").read_text()))
    for name, package in PACKAGES.items():
        if not version(package).startswith(stated[name]):
            pytest.skip(f"made with {name} {stated[name]}, installed is {version(package)}: bytes may differ")
    monkeypatch.syspath_prepend(str(folder))
    import make_examples

    make_examples.make_examples(tmp_path)
    sys.modules.pop("make_examples")
    made = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert len(made) == 17
    for path in made:
        if path.suffix == ".jsonl":
            assert (tmp_path / path).read_bytes() == (folder / path).read_bytes()
            continue
        # OpenCV rounds differently from processor to processor, so pictures are compared and not their bytes
        new, old = (np.asarray(Image.open(root / path)).astype(int) for root in (tmp_path, folder))
        assert new.shape == old.shape
        assert np.abs(new - old).mean() < 0.25, path
