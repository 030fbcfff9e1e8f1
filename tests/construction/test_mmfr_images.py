import json

import pytest
from mmfr_answers import mmfr_image_folder

from forgescope.construction.mmfr_images import TRAIN_LABELS, LabelledImage, describe_images, find_labelled_images
from forgescope.datasets_scripts import mmfr


@pytest.fixture
def pets(tmp_path):
    return mmfr_image_folder(tmp_path, real=2, fake=3)


def test_the_names_are_those_of_the_reader():
    assert TRAIN_LABELS == mmfr.TRAIN_LABELS


def test_folders_tell_label_and_source(pets):
    images = find_labelled_images([pets])
    assert [(image.path.name, image.label, image.source) for image in images] == [
        *((f"image{number}.png", "real", "pets") for number in range(2)),
        *((f"image{number}.png", "fake", "pets") for number in range(3)),
    ]
    # a class folder itself, and one image twice
    assert find_labelled_images([pets / "1_fake", pets]) == [*images[2:], *images[:2]]
    # several sources below one folder, and class folders deeper down
    (pets / "cats" / "1_fake" / "deep").mkdir(parents=True)
    (pets / "1_fake" / "image0.png").rename(pets / "cats" / "1_fake" / "deep" / "x.png")
    found = {(image.path.name, image.label, image.source) for image in find_labelled_images([pets])}
    assert ("x.png", "fake", "cats") in found
    assert {image.source for image in find_labelled_images([pets], source="big cats")} == {"big-cats"}


def test_one_label_for_all(pets, tmp_path):
    plain = tmp_path / "plain"
    (pets / "1_fake").rename(plain)
    images = find_labelled_images([plain], "fake")
    assert [(image.label, image.source) for image in images] == [("fake", "plain")] * 3
    assert find_labelled_images([plain / "image1.png"], "real") == [
        LabelledImage(plain / "image1.png", "real", "plain")
    ]
    with pytest.raises(ValueError, match=r"3 of 3 images in .*plain have no label, the first is .*image0.png: put"):
        find_labelled_images([plain])
    with pytest.raises(ValueError, match=r"image0.png is real by its folder or table, and fake was asked for"):
        find_labelled_images([pets], "fake")


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_tables(pets, kind):
    rows = [("0_real/image0.png", "0", "cam"), ("1_fake/image0.png", "FAKE", ""), ("1_fake/image1.png", 1, "gan")]
    table = pets / f"all.{kind}"
    if kind == "csv":
        table.write_text("path,label,source\n" + "".join(f"{path},{label},{from_}\n" for path, label, from_ in rows))
    else:
        names = ("file_name", "label", "source")
        table.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows))
    images = find_labelled_images([table])
    assert [(image.label, image.source) for image in images] == [("real", "cam"), ("fake", "all"), ("fake", "gan")]
    assert [image.path for image in images] == [pets / row[0] for row in rows]


@pytest.mark.parametrize(
    ("line", "error", "message"),
    [
        ("0_real/image0.png,maybe", ValueError, r"line 2 has label 'maybe': expected real, fake, 0 \(real\) or 1"),
        ("0_real/image0.png,", ValueError, "line 2 has label ''"),
        (",fake", ValueError, "line 2 names no image: expected columns path or file_name"),
        ("nowhere.png,fake", FileNotFoundError, "line 2 names .*nowhere.png, which does not exist"),
        ("0_real/image0.png,0\n0_real/image0.png,1", ValueError, "image0.png is given as real and as fake"),
        ("", ValueError, "no images in .*all.csv"),
    ],
)
def test_tables_that_are_refused(pets, line, error, message):
    (pets / "all.csv").write_text(f"path,label\n{line}\n")
    with pytest.raises(error, match=message):
        find_labelled_images([pets / "all.csv"])


def test_other_things_that_are_refused(pets, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no photographs in .*empty"):
        find_labelled_images([tmp_path / "empty"])
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        find_labelled_images([tmp_path / "nowhere"])
    with pytest.raises(ValueError, match="is fake and has the source laion, which stands for real images"):
        find_labelled_images([pets / "1_fake"], source="laion")
    with pytest.raises(ValueError, match="has label 'forged': expected real or fake"):
        LabelledImage(pets / "x.png", "forged", "pets")


def test_a_description_changes_with_labels_names_and_sizes_alone(pets):
    images = find_labelled_images([pets])
    description = describe_images(images)
    assert description["images"] == 5
    pets.rename(pets.with_name("moved"))
    assert describe_images(find_labelled_images([pets.with_name("moved")], source="pets")) == description
    assert describe_images(find_labelled_images([pets.with_name("moved")])) != description
    assert describe_images(find_labelled_images([pets.with_name("moved")], source="pets")[1:]) != description
