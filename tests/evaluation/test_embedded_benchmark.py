import csv
import importlib.util
import json
import sys

import numpy as np
import pytest
from PIL import Image

SIZE = (48, 64)
COLUMNS = ("file", "role", "subset", "pair_of", "mask_polarity")


@pytest.fixture
def benchmark(repository):
    spec = importlib.util.spec_from_file_location("bench", repository / "benchmarks" / "embedded_checkpoint.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["bench"]


@pytest.fixture
def data(tmp_path):
    """Two tampered images with masks of either polarity, one without; an original, a real photograph, other roles."""
    random = np.random.default_rng(0)
    mask = np.zeros(SIZE, np.uint8)
    mask[10:30, 10:40] = 255
    rows = {
        "tampered": [
            ("a.png", "tampered", "copy-move", "a_original.png", ""),
            ("a_original.png", "original", "copy-move", "", ""),
            ("a_mask.png", "mask", "copy-move", "a.png", "white=tampered"),
            ("a_copy.png", "mask_copy", "copy-move", "a.png", "white=region"),
            ("b.png", "tampered", "splicing", "", ""),
            ("b_mask.png", "mask", "splicing", "b.png", "black=tampered"),
            ("b_pred.png", "pred_mask", "splicing", "b.png", "white=predicted"),
            ("c.png", "tampered", "splicing", "", ""),
        ],
        "real": [("r.png", "real", "", "", ""), ("r_mask.png", "object_mask", "", "r.png", "white=object")],
    }
    for folder, lines in rows.items():
        (tmp_path / folder).mkdir()
        with (tmp_path / folder / "manifest.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows([COLUMNS, *lines])
        for file, role, *_ in lines:
            if "mask" in role:
                values = 255 - mask if file == "b_mask.png" else mask
                # Columns of a_mask.png are transparent: only the grey level counts.
                alpha = np.zeros_like(mask) if file == "a_mask.png" else np.full_like(mask, 255)
                Image.fromarray(np.dstack([values, values, values, alpha])).save(tmp_path / folder / file)
            else:
                photo = random.integers(0, 255, (*SIZE, 3), dtype=np.uint8)
                Image.fromarray(photo).save(tmp_path / folder / file)
    return tmp_path


def test_only_ground_truth_masks_are_read_in_their_polarity(benchmark, data):
    photos = {photo.path.name: photo for photo in benchmark.list_photos(data)}
    assert sorted(photos) == ["a.png", "a_original.png", "b.png", "c.png", "r.png"]
    assert [photos[name].tampered for name in sorted(photos)] == [True, False, True, True, False]
    assert photos["c.png"].mask is None
    masks = [benchmark.read_mask(photos[name].mask, photos[name].mask_polarity) for name in ("a.png", "b.png")]
    assert np.array_equal(*masks)
    assert masks[0].sum() == 20 * 30


def test_the_whole_run(benchmark, data, checkpoint, tmp_path, monkeypatch, capsys):
    (data / "real" / "r.png").write_bytes(b"")
    monkeypatch.setattr(
        sys, "argv", ["x", str(checkpoint), "--data", str(data), "--json", str(tmp_path / "rows.json")]
    )
    assert benchmark.main() == 1
    rows = {(row["source"], row["metric"]): row for row in json.loads((tmp_path / "rows.json").read_text())}
    assert rows["all", "pixel_f1"]["n"] == 2
    assert rows["all", "image_auc"]["n"] == 4
    assert rows["splicing", "pixel_iou"]["n"] == 1
    pair = [rows[source, "pixel_f1"]["value"] for source in ("copy-move", "splicing")]
    assert rows["all", "pixel_f1"]["value"] == pytest.approx(np.mean(pair))
    out = capsys.readouterr().out
    assert "images: 3 tampered, 1 authentic" in out
    assert "r.png" in out


def test_a_mask_without_polarity_is_refused(benchmark, data):
    manifest = data / "tampered" / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("black=tampered", "inverted"))
    with pytest.raises(ValueError, match=r"expected a polarity white=... or black=..., got 'inverted'"):
        benchmark.list_photos(data)


def test_the_shared_manifests_can_be_read(benchmark, data_dir):
    photos = benchmark.list_photos(data_dir)
    for photo in photos:
        assert photo.path.is_file()
        if photo.mask:
            with Image.open(photo.path) as image:
                assert benchmark.read_mask(photo.mask, photo.mask_polarity).shape == image.size[::-1]
    assert {photo.tampered for photo in photos} == {True, False}
