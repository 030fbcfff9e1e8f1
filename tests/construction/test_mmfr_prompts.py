import pytest

from forgescope.construction.mmfr_attributes import ATTRIBUTES
from forgescope.construction.mmfr_prompts import (
    CAPTION_PROMPT,
    LONGEST_DESCRIPTION,
    interpretation_prompt,
    read_caption,
    read_interpretation,
)
from forgescope.datasets_scripts import mmfr_texts


def test_the_ten_attributes_are_those_of_the_reader():
    names = [attribute.name for label in ("fake", "real") for attribute in ATTRIBUTES[label]]
    assert tuple(names) == mmfr_texts.ATTRIBUTES
    for label in ("fake", "real"):
        assert [attribute.is_low_level for attribute in ATTRIBUTES[label]] == [True, True, True, True, False]


@pytest.mark.parametrize(("label", "other"), [("fake", "real"), ("real", "fake")])
def test_a_prompt_lists_the_attributes_of_its_label(label, other):
    prompt = interpretation_prompt(label)
    assert all(f"- {attribute.name}: {attribute.meaning}\n" in prompt for attribute in ATTRIBUTES[label])
    assert not any(attribute.name in prompt for attribute in ATTRIBUTES[other])
    assert f'{{"answer": "{label}", "attributes": {{"<name as in the list>": "<your sentences>"}}}}' in prompt
    assert prompt.endswith('{"answer": "undecided"}')
    # the caption must not know the label
    assert not {"real", "fake", "genuine", "generated"} & set(CAPTION_PROMPT.lower().split())


def test_a_reply_is_put_in_order_and_unknown_attributes_are_dropped():
    reply = {
        "answer": "FAKE.",
        "attributes": {
            "semantic  irrationality": "Six fingers on the left hand",
            "Low Image Quality": None,
            "High Image Quality": "Sharp.",
            "Irregular Image Edges": " The hair melts\ninto the wall! ",
            "x" * 200: 5,
        },
    }
    read = read_interpretation(reply, "fake")
    assert read.verdict == "fake"
    assert list(read.attributes.items()) == [
        ("Irregular Image Edges", "The hair melts into the wall!"),
        ("Semantic Irrationality", "Six fingers on the left hand."),
    ]
    assert read.dropped == ("High Image Quality", "x" * 80)


def test_verdicts_against_the_label_are_answers():
    assert read_interpretation({"answer": "real"}, "fake").verdict == "real"
    assert read_interpretation({"answer": "undecided", "attributes": 3}, "real").verdict == "undecided"
    assert read_interpretation({"answer": "fake", "attributes": {}}, "fake").attributes == {}


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ({}, '"answer" must be "fake" or "undecided"'),
        ({"answer": "The image is fake or real."}, '"answer" must be'),
        ({"answer": True}, '"answer" must be'),
        ({"answer": "fake"}, '"attributes" must be an object'),
        ({"answer": "fake", "attributes": ["Low Image Quality"]}, '"attributes" must be an object'),
        ({"answer": "fake", "attributes": {"Low Image Quality": 3}}, '"Low Image Quality" must be a text of 1 to 600'),
        ({"answer": "fake", "attributes": {"Low Image Quality": " "}}, "must be a text"),
        ({"answer": "fake", "attributes": {"Low Image Quality": "x" * (LONGEST_DESCRIPTION + 1)}}, "must be a text"),
        ({"answer": "fake", "attributes": {"Low Image Quality": "</REASONING> so"}}, "not hold tags such as </REASO"),
    ],
)
def test_replies_of_another_form(reply, message):
    with pytest.raises(ValueError, match=message):
        read_interpretation(reply, "fake")


def test_captions():
    assert read_caption({"caption": "A dog.\nA cat"}) == "A dog. A cat."
    for caption in ("", 3, None, "a <image>", "a < Summary >", "a</s>"):
        with pytest.raises(ValueError, match='"caption" must'):
            read_caption({"caption": caption})
    assert read_caption({"caption": "2 < 3 > 1"}) == "2 < 3 > 1."
