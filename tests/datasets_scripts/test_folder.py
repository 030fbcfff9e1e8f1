import json
import re

import numpy as np
import pytest
from archives_layout import encoded
from PIL import Image
from promptforge_layout import mask_png, notes_of, picture, tar_of, write, write_lines
from three_ways import assert_three_ways_equal

from forgescope.datasets_scripts.load import load_corpus

SIZE = (16, 12)


def mask_of(rows: int, value: int = 255, size: tuple[int, int] = SIZE) -> np.ndarray:
    """The first rows are forged."""
    pixels = np.zeros(size[::-1], np.uint8)
    pixels[:rows] = value
    return pixels


def forged_rows(dataset) -> list[int | None]:
    """Forged rows of every mask, after a look at its values and size."""
    found = []
    for row in dataset:
        mask = row["mask"]
        if mask is not None:
            assert mask.mode == "L"
            assert mask.size == row["image"].size
            pixels = np.asarray(mask)
            assert pixels.max(initial=0) <= 1
            assert (pixels == pixels[:, :1]).all()
        found.append(None if mask is None else int(pixels[:, 0].sum()))
    return found


def load(data, tmp_path, **options):
    return load_corpus("folder", data, cache_dir=tmp_path / "cache", **options)


def test_tp_gt(tmp_path):
    data = tmp_path / "CASIA"
    masks = {"a": "a", "b.v2": "b.v2_gt", "C": "c_MASK", "deep/d": "deep/d_forged", "e.jpg": "e.jpg"}
    for number, (image, mask) in enumerate(masks.items()):
        write(data / f"Tp/{image}.JPG", picture(number, form="JPEG"))
        write(data / f"Gt/{mask}.png", mask_png(mask_of(number + 1)))
    write(data / "Tp/e.jpg", picture(9, form="JPEG"))
    write(data / "Tp/alone.png", picture(1))
    write(data / "Tp/black.png", picture(1))
    write(data / "Gt/black.png", mask_png(mask_of(0)))
    write(data / "Au/real.png", picture(2))
    write(data / "readme.txt", "not an image")
    dataset = assert_three_ways_equal("folder", data, tmp_path)["train"]
    assert list(dataset.features) == ["image", "label", "mask", "id", "source", "task"]
    found = dict(zip(dataset["id"], zip(forged_rows(dataset), dataset["label"], strict=True), strict=True))
    assert found == {
        "Tp/C.JPG": (3, 1),
        "Tp/a.JPG": (1, 1),
        "Tp/b.v2.JPG": (2, 1),
        "Tp/black.png": (0, 1),
        "Tp/deep/d.JPG": (4, 1),
        "Tp/e.jpg": (5, 1),
        "Tp/e.jpg.JPG": (5, 1),
        "Au/real.png": (0, 0),
    }
    assert set(dataset["source"]) == {"CASIA"}
    assert set(dataset["task"]) == {None}
    assert notes_of("folder", data, tmp_path).examples == {
        "image without a mask, left out": ["Tp/alone.png"],
        "fake image whose mask has no forged pixel": ["Tp/black.png"],
    }


def test_several_sets_and_splits_at_once(tmp_path):
    for place in ("one/train", "one/test", "two"):
        write(tmp_path / "data" / place / "tp/x.png", picture(1))
        write(tmp_path / "data" / place / "GT/x.png", mask_png(mask_of(1)))
    dataset = assert_three_ways_equal("folder", tmp_path / "data", tmp_path, layout="tp_gt")
    assert {split: rows["source"] for split, rows in dataset.items()} == {
        "train": ["one/train", "two"],
        "test": ["one/test"],
    }


@pytest.mark.parametrize(
    ("images", "masks", "ending"),
    [("images", "masks", ""), ("Image", "Mask", "_gt"), ("imgs", "masks", "_mask"), ("IMAGES", "Gt", "")],
)
def test_folders_of_images_and_masks(tmp_path, images, masks, ending):
    data = tmp_path / "data"
    for number in range(3):
        write(data / f"{images}/no.{number}.jpeg", picture(number, form="JPEG"))
        write(data / f"{masks}/no.{number}{ending}.PNG", mask_png(mask_of(number)))
    write(data / f"{images}/alone.png", picture(1))
    dataset = assert_three_ways_equal("folder", data, tmp_path)["train"]
    assert forged_rows(dataset) == [0, 1, 2]
    assert dataset["label"] == [0, 1, 1]
    assert notes_of("folder", data, tmp_path).examples == {"image without a mask, left out": [f"{images}/alone.png"]}


def test_masks_beside_their_images(tmp_path):
    data = tmp_path / "data"
    for name in ("a/x", "a/y", "b/x"):
        write(data / f"{name}.jpg", picture(5, form="JPEG"))
        write(data / f"{name}_{'gt' if name == 'b/x' else 'mask'}.png", mask_png(mask_of(2)))
    write(data / "a/z.jpg", picture(5, form="JPEG"))
    dataset = assert_three_ways_equal("folder", data, tmp_path)["train"]
    assert dataset["id"] == ["a/x.jpg", "a/y.jpg", "b/x.jpg"]
    assert dataset["source"] == ["a", "a", "b"]
    assert forged_rows(dataset) == [2, 2, 2]
    assert notes_of("folder", data, tmp_path).examples == {"image without a mask, left out": ["a/z.jpg"]}


def write_pair(data, mask: bytes, image: bytes | None = None):
    write(data / "images/x.png", image or picture(1))
    write(data / "masks/x.png", mask)


def palette_png(pixels: np.ndarray, colours: list[int]) -> bytes:
    image = Image.fromarray(pixels, mode="P")
    image.putpalette(colours)
    return encoded(image)


GREY_RGB = np.repeat(mask_of(3)[..., None], 3, axis=2)
MASKS = {
    "0 and 255": mask_png(mask_of(3)),
    "0 and 1": mask_png(mask_of(3, 1)),
    "bool": encoded(Image.fromarray(mask_of(3)).convert("1")),
    "grey in RGB": encoded(Image.fromarray(GREY_RGB)),
    "grey in RGBA": encoded(Image.fromarray(GREY_RGB).convert("RGBA")),
    "coloured palette": palette_png(mask_of(3, 2), [0, 0, 0, 0, 99, 0, 128, 0, 0]),
    "palette that begins with white": palette_png(1 - mask_of(3, 1), [255, 255, 255, 0, 0, 0]),
    "TIFF": encoded(Image.fromarray(mask_of(3)), "TIFF"),
    "bool in TIFF": encoded(Image.fromarray(mask_of(3)).convert("1"), "TIFF"),
}


@pytest.mark.parametrize("kind", MASKS)
def test_masks_of_every_kind_become_0_and_1(tmp_path, kind):
    write_pair(tmp_path / "data", MASKS[kind])
    dataset = load(tmp_path / "data", tmp_path, split="train")
    assert forged_rows(dataset) == [3]
    assert not notes_of("folder", tmp_path / "data", tmp_path).counts


def test_mask_above_and_masks_of_more_than_two_values(tmp_path):
    pixels = mask_of(6, 1)
    pixels[:4] = 128
    pixels[:2] = 255
    write_pair(tmp_path / "data", mask_png(pixels))
    for above, rows in ((0, 6), (1, 4), (128, 2), (254, 2)):
        assert forged_rows(load(tmp_path / "data", tmp_path, split="train", mask_above=above)) == [rows]
    notes = notes_of("folder", tmp_path / "data", tmp_path, mask_above=1)
    assert notes.examples == {
        "mask of more than two values": ["masks/x.png: 4 values: 0, 1, 128, 255, ...; forged above 1"]
    }


def test_a_limit_that_empties_a_mask_is_counted(tmp_path):
    write_pair(tmp_path / "data", mask_png(mask_of(3, 1)))
    assert load(tmp_path / "data", tmp_path, split="train", mask_above=127)["label"] == [0]
    notes = notes_of("folder", tmp_path / "data", tmp_path, mask_above=127)
    assert notes.examples == {"mask with no value above mask_above": ["masks/x.png: 0, 1; forged above 127"]}


def test_inverted_masks_are_suspected_and_can_be_turned(tmp_path):
    write_pair(tmp_path / "data", mask_png(255 - mask_of(1)))
    assert notes_of("folder", tmp_path / "data", tmp_path).examples == {
        "mask that marks nearly the whole image, perhaps inverted": ["masks/x.png: 92%"]
    }
    assert forged_rows(load(tmp_path / "data", tmp_path, split="train", invert_masks=True)) == [1]
    assert not notes_of("folder", tmp_path / "data", tmp_path, invert_masks=True).counts


def test_a_mask_of_another_size_is_resized_by_the_nearest_pixel(tmp_path):
    write_pair(tmp_path / "data", mask_png(mask_of(3, size=(8, 6))))
    dataset = assert_three_ways_equal("folder", tmp_path / "data", tmp_path)["train"]
    assert forged_rows(dataset) == [6]
    notes = notes_of("folder", tmp_path / "data", tmp_path)
    assert notes.examples == {"mask resized to its image": ["masks/x.png: 8 x 6 to 16 x 12"]}


def test_files_that_cannot_be_read_are_counted(tmp_path):
    data = tmp_path / "data"
    colour = np.zeros((12, 16, 3), np.uint8)
    colour[0, 0] = (255, 0, 0)
    masks = {
        "good": mask_png(mask_of(1)),
        "empty": b"",
        "text": b"no mask",
        "colour": encoded(Image.fromarray(colour)),
    }
    for name, mask in masks.items():
        write(data / f"images/{name}.png", picture(1))
        write(data / f"masks/{name}.png", mask)
    for name, image in (("no bytes", b""), ("no image", b"text"), ("cut", picture(3, (400, 300))[:200])):
        write(data / f"images/{name}.jpg", image)
        write(data / f"masks/{name}.png", mask_png(mask_of(1)))
    dataset = assert_three_ways_equal("folder", data, tmp_path, verify_images="decode")["train"]
    assert dataset["id"] == ["images/good.png"]
    counts = notes_of("folder", data, tmp_path, verify_images="decode").counts
    assert dict(counts) == {
        "mask that cannot be read": 3,
        "empty file": 1,
        "not an image": 1,
        "damaged image": 1,
    }


def test_imdl_benco_lists(tmp_path):
    data = tmp_path / "data"
    outside = tmp_path / "elsewhere"
    write(data / "files/a.png", picture(1))
    write(data / "files/a_gt.png", mask_png(mask_of(2)))
    write(outside / "b.png", picture(2))
    write(outside / "b_mask.png", mask_png(mask_of(5)))
    pairs = [
        ["files/a.png", "./files/a_gt.png"],
        ["files\\a.png", "Negative"],
        [str(outside / "b.png"), str(outside / "b_mask.png")],
        ["files/none.png", "Negative"],
        ["files/a.png", "files/none.png"],
    ]
    write(data / "Columbia.json", "﻿" + json.dumps(pairs))
    write(data / "casia_test.json", json.dumps(pairs[:1]))
    write(data / "settings.json", '{"a": 1}')
    write(data / "deeper/other.json", "[1]")
    dataset = assert_three_ways_equal("folder", data, tmp_path)
    assert dataset["test"]["source"] == ["casia_test"]
    train = dataset["train"]
    assert train["source"] == ["Columbia"] * 3
    assert train["id"] == ["files/a.png", "files/a.png", str(outside / "b.png")]
    assert forged_rows(train) == [2, 0, 5]
    assert train["label"] == [1, 0, 1]
    assert notes_of("folder", data, tmp_path).examples == {
        "missing file": ["files/none.png"],
        "missing mask": ["files/none.png"],
    }


def test_forensichub_lists(tmp_path):
    data = tmp_path / "data"
    write(data / "real/a.png", picture(1))
    write(data / "fake/b.png", picture(2))
    items = [{"path": "real/a.png", "label": 0}, {"path": str(data / "fake/b.png"), "label": 1}]
    write(data / "DiffusionForensics_val.json", json.dumps(items))
    dataset = assert_three_ways_equal("folder", data, tmp_path)["validation"]
    assert dataset["id"] == ["real/a.png", "fake/b.png"]
    assert dataset["label"] == [0, 1]
    assert dataset["mask"] == [None, None]
    assert set(dataset["source"]) == {"DiffusionForensics_val"}


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([{"path": "a.png", "label": 2}], "list.json entry 0 has label 2: expected 0 (real) or 1 (fake)"),
        ([{"path": "a.png", "label": True}], "list.json entry 0 has label True"),
        ([{"path": "a.png", "label": 0}, {"label": 1}], "list.json entry 1 is {'label': 1}: expected an object with"),
        ([["a.png", "b.png"], ["a.png"]], "list.json entry 1 is ['a.png']: expected [image, mask] or"),
    ],
)
def test_lists_of_another_form_say_where(tmp_path, items, message):
    write(tmp_path / "list.json", json.dumps(items))
    with pytest.raises(ValueError, match=re.escape(message)):
        load_corpus("folder", tmp_path, streaming=True)


def metadata_folder(folder, rows: int = 3):
    """The first row is authentic and has no mask."""
    lines = []
    for number in range(rows):
        write(folder / f"{number}.png", picture(number))
        write(folder / f"m{number}.png", mask_png(mask_of(number)))
        lines.append(
            {
                "file_name": f"{number}.png",
                "mask_file_name": f"m{number}.png" if number else None,
                "label": int(number > 0),
                "id": f"id-{number}",
                "task": "splicing" if number else "authentic",
            }
        )
    write_lines(folder / "metadata.jsonl", lines)


def test_metadata(tmp_path):
    data = tmp_path / "mine"
    metadata_folder(data)
    write(data / "images/x.png", picture(1))
    write(data / "masks/x.png", mask_png(mask_of(1)))
    dataset = assert_three_ways_equal("folder", data, tmp_path)["train"]
    assert dataset["id"] == ["id-0", "id-1", "id-2"]
    assert forged_rows(dataset) == [0, 1, 2]
    assert dataset["label"] == [0, 1, 1]
    assert dataset["task"] == ["authentic", "splicing", "splicing"]
    assert set(dataset["source"]) == {"mine"}
    assert load(data, tmp_path, split="train", layout="image_mask")["id"] == ["images/x.png"]


def test_metadata_with_splits_and_from_a_tar(tmp_path):
    metadata_folder(tmp_path / "data/train")
    metadata_folder(tmp_path / "data/test", 2)
    dataset = assert_three_ways_equal("folder", tmp_path / "data", tmp_path)
    assert {split: rows.num_rows for split, rows in dataset.items()} == {"train": 3, "test": 2}
    data = tmp_path / "data"
    members = [(path.relative_to(data).as_posix(), path.read_bytes()) for path in data.rglob("*") if path.is_file()]
    unpacked = assert_three_ways_equal("folder", write(tmp_path / "all.tar", tar_of(members)), tmp_path)
    assert unpacked["train"]["id"] == dataset["train"]["id"]
    assert forged_rows(unpacked["train"]) == [0, 1, 2]


def test_rows_of_metadata_that_cannot_be_used_are_counted(tmp_path):
    data = tmp_path / "data"
    metadata_folder(data, 2)
    forged = {"file_name": "1.png", "mask_file_name": "m1.png"}
    rows = [
        forged | {"label": "fake", "id": "good"},
        "{broken",
        {"mask_file_name": "m1.png"},
        forged | {"label": "forged"},
        forged | {"label": 1, "mask_file_name": None},
        forged | {"file_name": "none.png"},
        forged | {"mask_file_name": "none.png"},
        {"file_name": "1.png", "mask_file_name": None},
        forged,
    ]
    write_lines(data / "metadata.jsonl", rows)
    dataset = assert_three_ways_equal("folder", data, tmp_path)["train"]
    assert dataset["id"] == ["good", "1", "1"]
    assert dataset["label"] == [1, None, 1]
    assert forged_rows(dataset) == [1, None, 1]
    notes = notes_of("folder", data, tmp_path)
    assert dict(notes.counts) == {
        "line that is not JSON": 1,
        "row that cannot be used": 3,
        "missing file": 1,
        "missing mask": 1,
    }
    assert notes.examples["row that cannot be used"][1] == (
        "metadata.jsonl line 4 has label 'forged': expected 0, 1, real, fake or null"
    )


def test_an_archive_of_pairs(tmp_path):
    members = [("set/images/a.png", picture(1)), ("set/masks/a.png", mask_png(mask_of(4)))]
    archive = write(tmp_path / "data" / "all.tar", tar_of(members))
    for place in (archive, archive.parent):
        dataset = assert_three_ways_equal("folder", place, tmp_path)["train"]
        assert (forged_rows(dataset), dataset["source"]) == ([4], ["set"])


def test_errors_say_what_was_looked_for(tmp_path):
    data = tmp_path / "data"
    with pytest.raises(FileNotFoundError, match="does not exist: expected metadata.jsonl; a JSON list"):
        load_corpus("folder", data)
    write(data / "photo.jpg", picture(1))
    with pytest.raises(FileNotFoundError, match="holds no local images and masks: expected metadata.jsonl; a JSON"):
        load_corpus("folder", data, streaming=True)
    with pytest.raises(ValueError, match="unknown layout 'tp': expected one of auto, metadata"):
        load_corpus("folder", data, streaming=True, layout="tp")
    with pytest.raises(ValueError, match="mask_above is 255: expected 0 to 254"):
        load_corpus("folder", data, streaming=True, mask_above=255)
    write(data / "Tp/a.png", picture(1))
    write(data / "Gt/b.png", mask_png(mask_of(1)))
    with pytest.raises(ValueError, match=r"layout tp_gt gives no image in .*: image without a mask, left out \(Tp/a"):
        load_corpus("folder", data, streaming=True)
    write(tmp_path / "broken" / "list.json", "[{broken")
    with pytest.raises(ValueError, match="no layout was found, and JSON that cannot be read: list.json: Expecting"):
        load_corpus("folder", tmp_path / "broken", streaming=True)
    with pytest.raises(ValueError, match="layout imdl_json gives no image in .* JSON that cannot be read"):
        load_corpus("folder", tmp_path / "broken", streaming=True, layout="imdl_json")


def test_changed_masks_are_noticed(tmp_path):
    data = tmp_path / "data"
    write_pair(data, mask_png(mask_of(3)))
    assert forged_rows(load(data, tmp_path, split="train")) == [3]
    write(data / "masks/x.png", mask_png(mask_of(11, 254)))
    assert forged_rows(load(data, tmp_path, split="train")) == [11]
