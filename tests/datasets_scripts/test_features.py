import io
import json
from pathlib import Path

import numpy as np
import pytest
from damaged_exif import CUT_OFF, NO_EXIF, TURNED_AND_DAMAGED
from PIL import Image, ImageOps

from forgescope.datasets_scripts.features import (
    forgery_features,
    is_validation_key,
    load_forgery_folder,
    orientation_of,
    turned_upright,
)


def write_folder(folder: Path, count: int, photos: int | None = None, **changes) -> list[dict]:
    """Images of 8 x 6 pixels whose value is their number; every second one is authentic and has no mask."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(count):
        forged = number % 2 == 1
        row = {
            "file_name": f"image{number}.png",
            "mask_file_name": f"mask{number}.png" if forged else None,
            "label": int(forged),
            "task": "inpainting_blended" if forged else "authentic",
            "id": f"item-{number}",
            **changes,
        }
        if photos:
            row["photo"] = f"photo-{number % photos}.jpg"
        Image.new("RGB", (8, 6), (number % 256,) * 3).save(folder / row["file_name"])
        if forged:
            mask = np.zeros((6, 8), np.uint8)
            mask[:2] = 255
            Image.fromarray(mask).save(folder / f"mask{number}.png")
        rows.append(row)
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return rows


def test_columns_and_values(tmp_path):
    write_folder(tmp_path, 4)
    dataset = load_forgery_folder(tmp_path)
    assert dataset.features == forgery_features()
    assert dataset.features["label"].names == ["real", "fake"]
    assert [row["id"] for row in dataset] == [f"item-{number}" for number in range(4)]
    assert [row["label"] for row in dataset] == [0, 1, 0, 1]
    assert dataset[0]["mask"] is None
    assert dataset[1]["mask"].mode == "L"
    assert np.asarray(dataset[1]["mask"]).sum() == 2 * 8 * 255
    assert dataset[3]["image"].getpixel((0, 0)) == (3, 3, 3)
    assert dataset[1]["ai_mask"] is None
    assert dataset[1]["source"] is None


def test_a_text_may_hold_any_line_separator(tmp_path):
    rows = write_folder(tmp_path, 2)
    rows[0]["parameters"] = "remove\u2028the cat\u0085and the dog"
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    (tmp_path / "metadata.jsonl").write_bytes("".join(lines).encode())
    assert rows[0]["parameters"] in load_forgery_folder(tmp_path)["parameters"][:]


def test_a_tenth_is_cut_off_by_hash_and_stays_when_the_folder_grows(tmp_path):
    write_folder(tmp_path / "small", 100)
    write_folder(tmp_path / "large", 300)
    parts = {
        (size, split): set(load_forgery_folder(tmp_path / size, split)["id"])
        for size in ("small", "large")
        for split in ("train", "validation")
    }
    assert parts["large", "train"] | parts["large", "validation"] == {f"item-{number}" for number in range(300)}
    assert not parts["large", "train"] & parts["large", "validation"]
    assert 15 <= len(parts["large", "validation"]) <= 45
    assert parts["small", "validation"] <= parts["large", "validation"]
    assert parts["small", "train"] <= parts["large", "train"]
    assert all(is_validation_key(name) for name in parts["large", "validation"])
    assert not any(is_validation_key(name) for name in parts["large", "train"])


def test_one_photograph_never_stands_on_both_sides(tmp_path):
    write_folder(tmp_path, 60, photos=20)
    train, validation = (set(load_forgery_folder(tmp_path, split)["photo"]) for split in ("train", "validation"))
    assert not train & validation
    assert len(train | validation) == 20
    assert validation


def test_a_small_folder_still_has_both_sides(tmp_path):
    write_folder(tmp_path, 2)
    assert [len(load_forgery_folder(tmp_path, split)) for split in ("train", "validation")] == [1, 1]


def test_split_folders_are_used_where_they_exist(tmp_path):
    write_folder(tmp_path / "train", 6)
    write_folder(tmp_path / "validation", 3)
    write_folder(tmp_path / "test", 2)
    sizes = {split: len(load_forgery_folder(tmp_path, split)) for split in ("train", "validation", "test", None)}
    assert sizes == {"train": 6, "validation": 3, "test": 2, None: 11}


def test_validation_is_cut_from_train_where_only_test_is_separate(tmp_path):
    write_folder(tmp_path / "train", 40)
    write_folder(tmp_path / "test", 2)
    sizes = [len(load_forgery_folder(tmp_path, split)) for split in ("train", "validation")]
    assert sum(sizes) == 40
    assert sizes[1] >= 1


@pytest.mark.parametrize(
    ("lines", "error", "message"),
    [
        ("", ValueError, "is empty"),
        ("no json\n", ValueError, "line 1 is not JSON"),
        ("[1]\n", ValueError, "line 1 has no file_name"),
        ('{"file_name": "a.png", "label": 0}\n', ValueError, "names no masks"),
        (
            '{"file_name": "gone.png", "mask_file_name": null}\n',
            FileNotFoundError,
            "1 files .* missing: .*gone",
        ),
        ('{"file_name": "a.png", "mask_file_name": null, "label": 1}\n', ValueError, "forged image .* without mask"),
        ('{"file_name": "a.png", "mask_file_name": null, "task": "splicing"}\n', ValueError, r"\(splicing\) without"),
        ('{"file_name": "a.png", "mask_file_name": null, "label": 7}\n', ValueError, "has label 7: expected 0, 1"),
    ],
)
def test_bad_metadata(tmp_path, lines, error, message):
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    (tmp_path / "metadata.jsonl").write_text(lines)
    with pytest.raises(error, match=message):
        load_forgery_folder(tmp_path)


def test_bad_folders_and_splits(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        load_forgery_folder(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"metadata.jsonl does not exist: expected one JSON object a line"):
        load_forgery_folder(tmp_path)
    write_folder(tmp_path, 1)
    with pytest.raises(ValueError, match="unknown split 'dev'"):
        load_forgery_folder(tmp_path, "dev")
    with pytest.raises(ValueError, match="has no test folder"):
        load_forgery_folder(tmp_path, "test")
    with pytest.raises(ValueError, match="cannot cut a validation split"):
        load_forgery_folder(tmp_path, "validation")


def opened(kind: str, exif: Image.Exif | bytes) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, exif=exif)
    return Image.open(file)


@pytest.mark.parametrize("kind", ["png", "jpeg", "tiff", "webp"])
@pytest.mark.parametrize("orientation", range(10))
def test_pictures_are_turned_as_pillow_turns_them(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright, expected = turned_upright(opened(kind, exif)), ImageOps.exif_transpose(opened(kind, exif))
    np.testing.assert_array_equal(np.asarray(upright), np.asarray(expected))
    assert turned_upright(upright) is upright


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
@pytest.mark.parametrize(("exif", "orientation"), [(TURNED_AND_DAMAGED, 6), (CUT_OFF, 6), (NO_EXIF, 1)])
@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, on what is cut off
def test_damaged_exif_data_are_no_hindrance(kind, exif, orientation):
    assert orientation_of(opened(kind, exif)) == orientation
    assert turned_upright(opened(kind, exif)).size == ((40, 60) if orientation == 6 else (60, 40))
