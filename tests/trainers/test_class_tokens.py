"""CLIP's class tokens are computed once, kept in files, and named by image, CLIP and view."""

from pathlib import Path

import datasets
import pytest
import torch
from PIL import Image

from forgescope.datasets_scripts.load import load_corpus
from forgescope.modeling.modeling_legion import LegionForGroundedExplanation
from forgescope.processing.processing_legion import LegionProcessor
from forgescope.trainers import class_tokens
from forgescope.trainers.class_tokens import ClassTokenCache, stored_images
from forgescope.trainers.data_legion_detection import ClassTokenDataset


@pytest.fixture(scope="module")
def rows(progan_folder):
    return load_corpus("cnnspot", progan_folder, config="progan_train", split="train")


@pytest.fixture(scope="module")
def loaded(legion_base):
    return LegionForGroundedExplanation.from_pretrained(legion_base).eval(), LegionProcessor.from_pretrained(
        legion_base
    )


def test_class_tokens_are_those_of_the_model_and_computed_once(rows, loaded, tmp_path, monkeypatch):
    model, processor = loaded
    cache = ClassTokenCache(tmp_path, model, processor)
    images = stored_images(rows)
    tokens = cache.tokens(images, batch_size=8)
    with torch.no_grad():
        inputs = processor.detection_inputs([row["image"] for row in rows])
        expected = model.class_tokens(inputs["pixel_values"])
    torch.testing.assert_close(torch.stack(tokens), expected)
    monkeypatch.setattr(model, "class_tokens", None)  # whoever calls it now fails
    again = ClassTokenCache(tmp_path, model, processor).tokens(images)
    assert all(torch.equal(one, two) for one, two in zip(tokens, again, strict=True))


def test_a_cache_goes_on_where_it_was_killed(rows, loaded, tmp_path, monkeypatch):
    model, processor = loaded
    monkeypatch.setattr(class_tokens, "PART_IMAGES", 8)
    images = list(stored_images(rows))
    cache = ClassTokenCache(tmp_path, model, processor)
    seen, compute = [], ClassTokenCache._compute

    def killed_at_the_second_part(self, chosen, *settings):
        seen.append(len(chosen))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return compute(self, chosen, *settings)

    monkeypatch.setattr(ClassTokenCache, "_compute", killed_at_the_second_part)
    with pytest.raises(KeyboardInterrupt):
        cache.tokens(images)
    parts = list(cache.folder.iterdir())
    assert [part.suffix for part in parts] == [".safetensors"]
    (cache.folder / "0.17.part").write_bytes(b"half a part")  # of a process that was killed while it wrote
    tokens = cache.tokens(images)
    assert seen == [8, 8, 8, 4]
    monkeypatch.setattr(ClassTokenCache, "_compute", compute)
    whole = ClassTokenCache(tmp_path / "whole", model, processor).tokens(images)
    assert all(torch.equal(one, two) for one, two in zip(tokens, whole, strict=True))


def test_a_changed_image_or_clip_or_view_is_computed_anew(rows, loaded, legion_base, tmp_path):
    model, processor = loaded
    cache = ClassTokenCache(tmp_path, model, processor)
    files = [Path(tmp_path / f"{number}.png") for number in range(2)]
    for file, row in zip(files, rows, strict=False):
        row["image"].save(file)
    stored = [{"path": str(file), "bytes": None} for file in files]
    first = cache.tokens(stored)
    files[0].write_bytes(files[1].read_bytes())
    second = cache.tokens(stored)
    assert not torch.equal(first[0], second[0])
    torch.testing.assert_close(second[0], second[1])
    other = LegionForGroundedExplanation.from_pretrained(legion_base)
    with torch.no_grad():
        other.model.vision_tower.embeddings.class_embedding += 1
    assert ClassTokenCache(tmp_path, other, processor).folder != cache.folder
    half = LegionForGroundedExplanation.from_pretrained(legion_base, dtype=torch.bfloat16)
    in_half = ClassTokenCache(tmp_path, half, processor)
    assert in_half.folder != cache.folder
    assert in_half.tokens(stored)[0].dtype == torch.bfloat16
    view = LegionProcessor.from_pretrained(legion_base)
    view.image_processor.image_mean = [0.5, 0.5, 0.5]
    assert ClassTokenCache(tmp_path, model, view).folder != cache.folder


def test_a_damaged_part_is_named(rows, loaded, tmp_path):
    cache = ClassTokenCache(tmp_path, *loaded)
    (cache.folder / "0.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"0.safetensors is damaged .* delete it, and its images are computed again"):
        cache.tokens(stored_images(rows))


def test_rows_that_do_not_fit_are_left_out_and_reported(loaded, tmp_path, caplog):
    Image.new("RGB", (40, 40), "red").save(tmp_path / "whole.png")
    content = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "half.png").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.png").write_text("no image")
    columns = {
        "image": [str(tmp_path / f"{name}.png") for name in ("whole", "half", "text", "gone", "whole")] + [None],
        "label": [1, 0, 1, 0, None, 1],
        "id": list("abcdef"),
    }
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["real", "fake"])}
    rows = datasets.Dataset.from_dict(columns, features=datasets.Features(features | {"id": datasets.Value("string")}))
    dataset = ClassTokenDataset(rows, ClassTokenCache(tmp_path, *loaded))
    assert dataset.labels == [1]
    messages = [record.getMessage() for record in caplog.records if "rows:" in record.getMessage()]
    assert messages == [
        "1 of 6 rows: no label, left out (e)",
        "4 of 6 rows: the image is missing or damaged, left out (b, c, d, ...)",
    ]
    with pytest.raises(ValueError, match=r"no row of 1 can be taught: the image is missing or damaged, left out"):
        ClassTokenDataset(rows.select([1]), ClassTokenCache(tmp_path, *loaded))
    with pytest.raises(ValueError, match="no column label: expected image and label"):
        ClassTokenDataset(rows.remove_columns("label"), ClassTokenCache(tmp_path, *loaded))
    swapped = rows.cast_column("label", datasets.ClassLabel(names=["fake", "real"]))
    with pytest.raises(ValueError, match="expected the labels real, fake in this order, got fake, real"):
        ClassTokenDataset(swapped, ClassTokenCache(tmp_path, *loaded))
