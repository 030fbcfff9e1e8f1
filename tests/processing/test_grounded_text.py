"""Grounded answers: tagged for training, read back, and read where a model wrote them badly."""

import random

import pytest

from forgescope.processing.grounded_text import (
    GroundedPhrase,
    GroundedText,
    parse_grounded_text,
    plain_text,
    write_grounded_text,
)

# the form of SynthScars' captions: a general sentence, then each phrase with its explanation
START = "Upon examining the image. I have found: "
LIST = "\nTo elaborate, I have found the following artifacts. "


def phrases_of(text):
    return [one.phrase for one in parse_grounded_text(text).phrases]


def test_a_caption_of_the_data_set_is_tagged_and_read_back():
    caption = f"{START}odd hands{LIST}The left hand:It has six fingers.The eyes:Their shapes differ."
    text, order = write_grounded_text(f'"{caption} "', ["The eyes", "The left hand"])
    assert order == [1, 0]
    assert text == (
        f"{START}odd hands{LIST}<p> The left hand </p> [SEG]:It has six fingers."
        "<p> The eyes </p> [SEG]:Their shapes differ."
    )
    assert parse_grounded_text(text) == GroundedText(
        f"{START}odd hands{LIST}".replace("\n", " ")
        + "The left hand:It has six fingers. The eyes:Their shapes differ.",
        [
            GroundedPhrase("The left hand", "It has six fingers.", 0),
            GroundedPhrase("The eyes", "Their shapes differ.", 1),
        ],
    )


def test_a_phrase_of_the_general_sentence_is_tagged_where_it_is_explained():
    caption = f"{START}The hand is odd{LIST}The hand:fused."
    text, order = write_grounded_text(caption, ["The hand"])
    assert text == f"{START}The hand is odd{LIST}<p> The hand </p> [SEG]:fused."
    published, same_order = write_grounded_text(caption, ["The hand"], authors_way=True)
    assert published == f"{START}<p> The hand </p> [SEG] is odd{LIST}The hand:fused."
    assert order == same_order == [0]
    assert write_grounded_text("The hand is odd", ["The hand"])[0] == "<p> The hand </p> [SEG] is odd"


def test_repeated_phrases_get_a_place_each_in_their_order():
    caption = "A hand is odd. hand: fused. eye: dim. hand : six fingers."
    text, order = write_grounded_text(caption, ["hand", "eye", "hand"])
    assert order == [0, 1, 2]
    assert text == (
        "A hand is odd. <p> hand </p> [SEG]: fused. <p> eye </p> [SEG]: dim. <p> hand </p> [SEG] : six fingers."
    )
    assert [one.explanation for one in parse_grounded_text(text).phrases] == ["fused.", "dim.", "six fingers."]
    # the fourth has no place: its mask is left out
    text, order = write_grounded_text(caption, ["hand"] * 4)
    assert order == [2, 0, 1]
    assert phrases_of(text) == ["hand"] * 3


def test_nested_phrases_move_to_another_place_or_are_left_out():
    assert write_grounded_text("The left hand: fused.", ["hand", "The left hand"]) == (
        "<p> The left hand </p> [SEG]: fused.",
        [1],
    )
    text, order = write_grounded_text("The left hand: fused. hand: odd.", ["hand", "The left hand"])
    assert (order, phrases_of(text)) == ([1, 0], ["The left hand", "hand"])


def test_overlapping_phrases_are_cut_to_what_is_left():
    text, order = write_grounded_text("The left hand of the old man: odd.", ["The left hand", "hand of the old man"])
    assert (text, order) == ("<p> The left </p> [SEG] <p> hand of the old man </p> [SEG]: odd.", [0, 1])
    text, _ = write_grounded_text("aa bb cc dd ee", ["aa bb xx", "bb cc dd", "dd ee", "aa bb"])
    assert text == "<p> aa </p> [SEG] <p> bb cc dd </p> [SEG] <p> ee </p> [SEG]"
    # the rest of `- hand` has no letter
    assert write_grounded_text("a - hand", ["a -", "- hand"])[1] == [0, 1]
    assert write_grounded_text("- hand", ["- ", "- hand"])[1] == [1]


def test_whole_words_in_the_same_case_come_first():
    assert write_grounded_text("A handle and a hand.", ["hand"])[0] == "A handle and a <p> hand </p> [SEG]."
    assert write_grounded_text("Hand, hand.", ["hand"])[0] == "Hand, <p> hand </p> [SEG]."
    assert write_grounded_text("The Hand: odd.", ["hand"]) == ("The <p> Hand </p> [SEG]: odd.", [0])
    assert write_grounded_text("The hand", ["", " ", "foot", " hand "]) == ("The <p> hand </p> [SEG]", [3])
    assert write_grounded_text("No artifacts.", []) == ("No artifacts.", [])


def test_the_authors_way_is_the_first_place_whatever_it_breaks():
    caption = "The left hand: fused. The left hand: odd."
    # section 7 of the published code's defects: the second tag lands in the first
    text, order = write_grounded_text(caption, ["The left hand"] * 2, authors_way=True)
    assert text == "<p> <p> The left  </p> [SEG]hand </p> [SEG]: fused. The left hand: odd."
    assert order == [0, 1]
    text, order = write_grounded_text("The left hand: fused.", ["hand", "The left hand", "foot", "Hand"], True)
    assert order == [1, 0]
    assert text == "<p> The left <p>  </p> [SEG]hand </p> [SEG]: fused."
    assert parse_grounded_text(text).problems


def test_whatever_is_written_is_read_back():
    draw = random.Random(0)
    words = ["hand", "The left hand", "left", "eye", "The eye of the dog", "dog", "wall (left)", "HAND", "a.b", "the"]
    for _ in range(300):
        sentences = draw.choices(words, k=draw.randint(0, 6))
        parts = [draw.choice([f"{one}: it is odd.", f"{one} is odd."]) for one in sentences]
        caption = " ".join(draw.sample(parts, len(parts)) + draw.choices(words, k=3))
        text, order = write_grounded_text(caption, sentences)
        read = parse_grounded_text(text)
        assert read.problems == []
        assert [one.seg_index for one in read.phrases] == list(range(len(order)))
        assert len(set(order)) == len(order)
        assert text.replace("<p> ", "").replace(" </p> [SEG]", "") == caption
        assert read.text == caption
        for phrase, number in zip(read.phrases, order, strict=True):
            assert phrase.phrase.lower() in sentences[number].lower()


def test_a_text_with_tags_cannot_be_tagged():
    with pytest.raises(ValueError, match=r"expected texts without tags, got \[SEG\] in 'The hand \[SEG\]'"):
        write_grounded_text("The hand [SEG]", ["hand"])
    with pytest.raises(ValueError, match="expected texts without tags, got </p> in 'hand </p>'"):
        write_grounded_text("The hand", ["hand </p>"])


def test_explanations_end_at_the_next_phrase():
    read = parse_grounded_text("Odd: <p>The hand</p>[SEG] : fused,\nsix fingers.<p>The eye</p>[SEG]. Done.</s>")
    assert read.phrases == [
        GroundedPhrase("The hand", "fused, six fingers.", 0),
        GroundedPhrase("The eye", ". Done.", 1),
    ]
    assert read.text == "Odd: The hand: fused, six fingers. The eye. Done."
    assert read.problems == []


@pytest.mark.parametrize(
    ("text", "phrases", "problems"),
    [
        ("", [], []),
        ("No artifacts.", [], []),
        ("<p> A [SEG]: x", [("A", "x", 0)], ["phrase 1 ('A') has no </p>"]),
        (
            "<p> A </p>: x <p> B </p> [SEG]: y",
            [("A", "x", None), ("B", "y", 0)],
            ["phrase 1 ('A') has no [SEG]"],
        ),
        ("a [SEG]: x", [("", "x", 0)], ["[SEG] 1 has no phrase"]),
        ("<p> A </p> [SEG] [SEG]: x", [("A", "", 0), ("", "x", 1)], ["[SEG] 2 has no phrase"]),
        (
            "<p> A <p> B </p> [SEG]: y",
            [("A", "", None), ("B", "y", 0)],
            ["phrase 1 ('A') has no </p>", "phrase 1 ('A') has no [SEG]"],
        ),
        ("A </p> [SEG]: x", [("", "x", 0)], ["a </p> has no <p>", "[SEG] 1 has no phrase"]),
        ("<p> A </p> </p> [SEG]: x", [("A", "x", 0)], ["a </p> has no <p>"]),
        ("<p></p>[SEG]: x", [("", "x", 0)], []),
        ("[SEG][SEG]", [("", "", 0), ("", "", 1)], ["[SEG] 1 has no phrase", "[SEG] 2 has no phrase"]),
        (
            "<p> A </p> [SEG]: x <p> The le",
            [("A", "x", 0), ("The le", "", None)],
            ["phrase 2 ('The le') has no </p>: the answer ends in it", "phrase 2 ('The le') has no [SEG]"],
        ),
        ("<p>", [], ["phrase 1 ('') has no </p>: the answer ends in it", "phrase 1 ('') has no [SEG]"]),
    ],
)
def test_broken_answers_are_read_as_far_as_they_go(text, phrases, problems):
    read = parse_grounded_text(text)
    assert [(one.phrase, one.explanation, one.seg_index) for one in read.phrases] == phrases
    assert read.problems == problems


def test_an_answer_cut_anywhere_keeps_its_masks():
    whole = "<p> A </p> [SEG]: x. <p> B </p> [SEG]: y."
    for length in range(len(whole)):
        read = parse_grounded_text(whole[:length])
        found = [one.seg_index for one in read.phrases if one.seg_index is not None]
        assert found == list(range(whole[:length].count("[SEG]")))


def test_plain_text_and_that_of_the_authors():
    text = "USER: q ASSISTANT: <p> The hand </p> [SEG] : odd\nstructure.\n<p> The  eye </p> [SEG]'s <b>shape</b> </s>'"
    assert plain_text(text) == ("USER: q ASSISTANT: The hand: odd structure. The eye 's <b>shape</b> '")
    # lines are joined without a blank, and whatever looks like a tag goes
    assert plain_text(text, authors_way=True) == "The hand : oddstructure. The eye 's shape"
    assert plain_text("a < b, b > c") == "a < b, b > c"
    assert plain_text("a < b, b > c", authors_way=True) == "a c"


def test_texts_of_the_fixture(legion_parity):
    for text in legion_parity["train"]["batch"]["conversation_list"]:
        answer = text.split("ASSISTANT: ")[1]
        read = parse_grounded_text(answer)
        assert read.problems == []
        assert len(read.phrases) == answer.count("[SEG]")
        rebuilt, order = write_grounded_text(read.text, [one.phrase for one in read.phrases])
        assert order == list(range(len(read.phrases)))
        assert parse_grounded_text(rebuilt) == read
