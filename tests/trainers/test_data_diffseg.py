import json

import datasets
import numpy as np
import pytest
from damaged_exif import NO_EXIF, TURNED_AND_DAMAGED
from PIL import Image
from training_runs import EDITORS

from forgescope.datasets_scripts.features import load_forgery_folder
from forgescope.trainers.augmentation import AugmentationConfig
from forgescope.trainers.data import ForgeryDataset
from forgescope.trainers.data_diffseg import drawn_photographs, edit_rows
from forgescope.trainers.rows_diffseg import DiffSegDataConfig, editor_ids, row_editors

PLAIN = DiffSegDataConfig(negatives=0)
FILLS = ("telea", "navier_stokes")


@pytest.fixture(scope="module")
def rows(edit_folder):
    return load_forgery_folder(edit_folder, "train")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Ten of 60 x 40 pixels, red on the left, green in the middle."""
    folder = tmp_path_factory.mktemp("photographs")
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, :10, 0], pixels[:, 10:50, 1] = 255, 255
    for number in range(10):
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return sorted(folder.iterdir())


def memory_rows(masks, **columns):
    """Grey images of 8 x 8 pixels with these masks."""
    features = {"image": datasets.Image(), "mask": datasets.Image(mode="L"), "id": datasets.Value("string")}
    given = {
        "image": [Image.new("RGB", (8, 8), (9, 9, 9)) for _ in masks],
        "mask": [None if mask is None else Image.fromarray(mask) for mask in masks],
        "id": [f"row-{index}" for index in range(len(masks))],
    }
    text = datasets.Value("string")
    features |= {name: datasets.List(text) if name == "edit_models" else text for name in columns}
    return datasets.Dataset.from_dict(given | columns, features=datasets.Features(features))


def mask_of(*values):
    """An 8 x 8 mask whose first pixels have these values."""
    mask = np.zeros((8, 8), np.uint8)
    mask.flat[: len(values)] = values
    return mask


def engine_rows(fills, masks=None, tasks=None):
    """Rows as the manipulation engine writes them."""
    masks = masks or [mask_of(*([255] * 9 if fill else [])) for fill in fills]
    tasks = tasks or ["inpainting_blended" if fill else "authentic" for fill in fills]
    parameters = [json.dumps({"radius": 3, **({"fill": fill} if fill else {})}) for fill in fills]
    return memory_rows(masks, parameters=parameters, task=tasks)


def test_masks_of_ids_are_given_as_they_are(rows):
    given = edit_rows(rows, PLAIN, EDITORS, is_training=True)
    assert len(given) == len(rows) == 16
    for index in range(16):
        mask = given[index]["mask"]
        present = set() if mask is None else set(np.unique(mask)) - {0}
        assert present == [set(), {1}, {2}, {1, 2}][index % 4]
        assert np.array_equal(given[index]["image"], rows[index]["image"])


def test_the_engines_masks_get_the_id_of_the_editor():
    config = DiffSegDataConfig(editor_field="fill", negatives=0)
    given = edit_rows(engine_rows([*FILLS, None]), config, FILLS, is_training=True)
    assert [np.unique(given[index]["mask"]).tolist() for index in range(3)] == [[0, 1], [0, 2], [0]]
    assert (np.asarray(given[1]["mask"]) == 2).sum() == 9


def test_a_column_may_name_the_editor():
    rows = memory_rows([mask_of(1), None], source=["b", None])
    assert editor_ids(rows, "source", ("a", "b")) == [2, 0]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            engine_rows(["telea", "exemplar"]),
            r"image 'row-1' was edited by 'exemplar' \(1 images of unknown editors\)",
        ),
        (
            engine_rows(["telea", None], tasks=["inpainting_blended", "copy_move"]),
            r"image 'row-1' \(copy_move\) has no fill \(1 such images\): leave out images without an editor",
        ),
        (
            engine_rows([None, None]),
            "no image names its editor: 'fill' .data.editor_field. is neither column nor para",
        ),
        (memory_rows([mask_of(1)]), "no image names its editor: 'fill'"),
    ],
)
def test_editors_that_are_not_known_are_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        editor_ids(rows, "fill", FILLS)


def test_an_edited_image_without_editor_is_refused_where_no_task_says_so():
    rows = engine_rows(["telea", None], masks=[mask_of(255), mask_of(255)], tasks=[None, None])
    given = edit_rows(rows, DiffSegDataConfig(editor_field="fill"), FILLS, is_training=True)
    with pytest.raises(ValueError, match="image 'row-1' is edited, but data.editor_field names no editor for it"):
        given[1]


def test_bad_masks_are_named(rows):
    given = edit_rows(memory_rows([mask_of(1), mask_of(3, 7)]), PLAIN, EDITORS, is_training=True)
    assert given[0]["mask"] is not None
    with pytest.raises(
        ValueError, match=r"mask of image 'row-1' holds \[3, 7\]: expected 0 .authentic., 1 to 2 .flat"
    ):
        given[1]
    given = edit_rows(memory_rows([np.zeros((4, 8), np.uint8)]), PLAIN, EDITORS, is_training=True)
    with pytest.raises(ValueError, match="image 'row-0' is 8 x 8, its mask 8 x 4: expected masks of the image's size"):
        given[0]
    with pytest.raises(ValueError, match="the data have no column mask: expected image and mask, got"):
        edit_rows(rows.remove_columns("mask"), PLAIN, EDITORS, is_training=True)


def test_photographs_are_drawn_by_the_seed_alone(photographs):
    drawn = drawn_photographs(photographs, 4, seed=1)
    assert len(set(drawn)) == 4
    assert drawn == drawn_photographs(photographs, 4, seed=1) != drawn_photographs(photographs, 4, seed=2)
    assert drawn_photographs(photographs, 10, seed=3) == photographs
    with pytest.raises(ValueError, match="the recipe adds 11 untouched photographs, found are 10; data.negatives is"):
        drawn_photographs(photographs, 11, seed=0)
    with pytest.raises(ValueError, match="the recipe adds 3 untouched photographs, name their folder .--negatives.;"):
        drawn_photographs([], 3, seed=0)


def test_untouched_photographs_are_prepared_as_edited_ones_were(rows, photographs):
    given = edit_rows(rows, DiffSegDataConfig(negative_edge=80), EDITORS, is_training=True, negatives=photographs[:2])
    assert len(given) == 18
    negative = given[17]
    assert negative["mask"] is None
    assert negative["image"].size == (80, 80)
    # the middle 40 of 60 columns, twice as large: green but for the resampling of its edge
    assert np.asarray(negative["image"])[:, 3:-3].reshape(-1, 3).tolist() == [[0, 255, 0]] * (80 * 74)
    kept = edit_rows(rows, DiffSegDataConfig(negative_edge=None), EDITORS, is_training=True, negatives=photographs[:1])
    assert kept[16]["image"].size == (60, 40)


def test_a_photograph_that_cannot_be_read_is_named(rows, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    given = edit_rows(rows, PLAIN, EDITORS, is_training=True, negatives=[broken])
    with pytest.raises(OSError, match="broken.jpg cannot be read .*: take it out of the untouched photographs"):
        given[16]


@pytest.mark.parametrize(("exif", "size"), [(TURNED_AND_DAMAGED, (40, 60)), (NO_EXIF, (60, 40))])
def test_a_photograph_with_damaged_exif_is_used_as_displayed(rows, tmp_path, exif, size):
    Image.new("RGB", (60, 40)).save(tmp_path / "photo.jpg", exif=exif)
    config = DiffSegDataConfig(negative_edge=None)
    given = edit_rows(rows, config, EDITORS, is_training=True, negatives=[tmp_path / "photo.jpg"])
    assert given[16]["image"].size == size


def test_table_4_trains_and_evaluates_on_different_editors():
    names = ("a", "b", "c")
    editors = [[], ["a"], ["b"], ["c"], ["a", "b"], ["b", "c"]]
    ids = [mask_of(*(names.index(name) + 1 for name in given)) for given in editors]
    config = DiffSegDataConfig(held_out_editors=("b", "c"), negatives=0)
    for rows in (memory_rows(ids), memory_rows(ids, edit_models=editors)):  # masks are looked at, or the column
        assert row_editors(rows, None, names) == [set(given) for given in editors]
        trained, tested = (edit_rows(rows, config, names, is_training) for is_training in (True, False))
        assert trained.rows["id"][:] == ["row-0", "row-1"]
        assert tested.rows["id"][:] == ["row-2", "row-3", "row-5"]
    rows = engine_rows(["a", None, "b"])
    config = DiffSegDataConfig(editor_field="fill", held_out_editors=("b",))
    assert edit_rows(rows, config, names, is_training=True).ids == [1, 0]
    assert edit_rows(rows, config, names, is_training=False).ids == [2]


@pytest.mark.parametrize(
    ("held_out", "is_training", "message"),
    [
        (("d",), True, "data.held_out_editors names d: model.id2editor has a, b, c only"),
        (("a", "b"), True, "no training image is left: all were edited by a, b"),
        (("c",), False, "no validation image is left: none was edited by c alone"),
    ],
)
def test_what_table_4_leaves_must_not_be_empty(held_out, is_training, message):
    rows = memory_rows([mask_of(1), mask_of(2), mask_of(1, 2)])
    with pytest.raises(ValueError, match=message):
        edit_rows(rows, DiffSegDataConfig(held_out_editors=held_out), ("a", "b", "c"), is_training)


def test_held_out_editors_must_be_known_for_every_image():
    rows = memory_rows([mask_of(255), mask_of()], edit_models=[None, []])
    with pytest.raises(ValueError, match=r"image 'row-0' does not say who edited it \(1 such images\), which"):
        edit_rows(rows, DiffSegDataConfig(held_out_editors=("a",)), ("a", "b"), is_training=True)


def test_crops_keep_image_and_mask_together(rows):
    config = AugmentationConfig(crop_size=32, jpeg_probability=0.0, flip_probability=0.5)
    dataset = ForgeryDataset(edit_rows(rows, PLAIN, EDITORS, is_training=True), config, seed=1)
    for index in range(16):
        item = dataset[index]
        flat = (np.asarray(item["image"]) == 128).all(axis=-1)
        expected = np.zeros_like(flat) if item["mask"] is None else np.asarray(item["mask"]) == 1
        assert np.array_equal(flat, expected)


def test_the_corpus_is_read_with_its_ids(tmp_path):
    from forgescope.datasets_scripts.load import load_corpus

    folder = tmp_path / "train_copy"
    folder.mkdir()
    for number in range(20):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / f"{number:08d}.image.png")
        ids = Image.fromarray(mask_of(*([1 + number % 2] * 9)))
        ids.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
        ids.save(folder / f"{number:08d}.mask.png")
    rows = load_corpus("diffseg30k", tmp_path, split="train", cache_dir=tmp_path / "cache", id2editor=("a", "b"))
    given = edit_rows(rows, PLAIN, ("a", "b"), is_training=True)
    for index in range(len(given)):
        assert np.unique(given[index]["mask"]).tolist() == [0, 1 + int(rows["id"][index]) % 2]
    held_out = edit_rows(rows, DiffSegDataConfig(held_out_editors=("b",)), ("a", "b"), is_training=True)
    assert {int(name) % 2 for name in held_out.rows["id"][:]} == {0}
