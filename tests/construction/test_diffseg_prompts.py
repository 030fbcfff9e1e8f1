import numpy as np
import pytest
from PIL import Image

from forgescope.construction.diffseg.prompts import (
    edit_prompt,
    objects_prompt,
    outlined,
    quality_prompt,
    read_edit,
    read_objects,
    read_quality,
)
from forgescope.construction.diffseg.regions import NamedObject
from forgescope.construction.diffseg.settings import EDIT_TYPES


def test_texts():
    assert "at most 5 things" in objects_prompt(5)
    assert '{"objects": [{"name": "...", "person": true or false}]}' in objects_prompt(5)
    texts = [edit_prompt(edit_type, "a {strange} name") for edit_type in EDIT_TYPES]
    assert len(set(texts)) == 3
    assert all("a {strange} name" in text and '"prompt": "..."}' in text for text in texts)
    assert '"object"' in edit_prompt("addition", "x")
    assert "How natural is the picture?" in quality_prompt([])
    examples = quality_prompt([(4, "fine but stiff"), (1, "a torn face")])
    assert "How natural is the last picture?" in examples
    assert "Picture 1 deserves 4: fine but stiff\nPicture 2 deserves 1: a torn face\nReply" in examples


def test_objects():
    entries = [
        {"name": " A  man ", "person": True},
        {"name": "dog", "person": False, "more": 1},
        {"name": "a man", "person": True},
    ]
    assert read_objects({"objects": entries}, 8) == [NamedObject("A man", True), NamedObject("dog")]
    assert read_objects({"objects": entries}, 1) == [NamedObject("A man", True)]
    assert read_objects({"objects": []}, 8) == []


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ({}, '"objects" must be a list'),
        ({"objects": ["dog"]}, '"objects" must be a list of objects'),
        ({"objects": [{"name": "dog"}]}, '"person" must be true or false'),
        ({"objects": [{"name": "dog", "person": "no"}]}, '"person" must be true or false'),
        ({"objects": [{"name": "", "person": True}]}, '"name" must be a text'),
        ({"objects": [{"name": "x" * 81, "person": True}]}, '"name" must be a text of 1 to 80'),
    ],
)
def test_objects_of_another_form(reply, message):
    with pytest.raises(ValueError, match=message):
        read_objects(reply, 8)


def test_edits():
    assert read_edit({"prompt": " a  wall"}, "removal") == ("a wall", None)
    assert read_edit({"prompt": "a cat", "object": "cat"}, "addition") == ("a cat", "cat")
    assert read_edit({"prompt": "a cat", "object": "cat"}, "attribute_change") == ("a cat", None)
    with pytest.raises(ValueError, match='"object" must be a text'):
        read_edit({"prompt": "a cat"}, "addition")
    with pytest.raises(ValueError, match='"prompt" must be a text'):
        read_edit({}, "removal")


@pytest.mark.parametrize("score", [-1, 6, True, "4", None, [3]])
def test_scores(score):
    assert read_quality({"score": 4, "reason": "fine"}) == (4, "fine")
    assert read_quality({"score": 2.5, "reason": "so"}) == (2.5, "so")
    with pytest.raises(ValueError, match='"score" must be a number from 0 to 5'):
        read_quality({"score": score, "reason": "fine"})


def test_outline():
    image = Image.new("RGB", (64, 64), (10, 20, 30))
    mask = np.zeros((64, 64), dtype=bool)
    mask[20:40, 10:50] = True
    pixels = np.asarray(outlined(image, mask))
    red = (pixels == (255, 0, 0)).all(axis=2)
    assert red[20, 10:50].all()
    assert red[20:40, 10].all()
    assert not red[22:38, 12:48].any()
    assert not red[:18].any()
    assert np.asarray(image).max() == 30
