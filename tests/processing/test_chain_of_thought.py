"""Chains of thought and prompts: written, read back, and read where a model wrote them badly."""

import re

import pytest

from forgescope.processing.chain_of_thought import (
    QUESTION,
    STAGES,
    SUMMARY,
    build_chain_of_thought,
    concluded_labels,
    find_stages,
    parse_chain_of_thought,
    reasoning_text,
)
from forgescope.processing.conversation_prompts import TEMPLATES, conversation, image_question

PARTS = ("A dog on a lawn.", "The shadows fall apart.", "The dog has five legs.")
GOOD = build_chain_of_thought(*PARTS, label="fake")


@pytest.mark.parametrize("label", ["fake", "real"])
@pytest.mark.parametrize("wording", ["this_image", "based_on_analysis"])
def test_what_is_written_is_read_back(label, wording):
    read = parse_chain_of_thought(build_chain_of_thought(*PARTS, label=label, conclusion=wording))
    assert (read.summary, read.caption, read.label, read.problems) == (SUMMARY, PARTS[0], label, [])
    assert read.reasoning == (
        "From low-level perspective: The shadows fall apart. "
        f"From high-level perspective: The dog has five legs. Therefore, this image is {label}."
    )
    assert read.conclusion.endswith(f"his image is {label}.")


def test_the_published_answers_are_read(fakereasoning_parity):
    data = fakereasoning_parity["data"]
    for record, label in zip(data["records"], data["forgery_labels"].tolist(), strict=True):
        answer = record["conversations"][1]["value"]
        read = parse_chain_of_thought(answer)
        assert read.label == ("real", "fake")[label]
        for span in find_stages(answer):
            assert answer[span.start : span.end] == getattr(read, span.stage.lower())


@pytest.mark.parametrize(
    ("template", "name"), [("vicuna_v1", "train_prompt_v1"), ("llava_v1", "infer_prompt_llava_v1")]
)
def test_prompts_are_those_of_the_published_code(template, name, fakereasoning_parity):
    prompt = fakereasoning_parity["data"][name]
    question = prompt[prompt.index("<image>") : prompt.index(" ASSISTANT:")]
    assert conversation(template, image_question(question)) == prompt


def test_the_image_comes_first_wherever_it_stood():
    assert image_question(f"{QUESTION}\n<image>") == image_question(f"<image>\n{QUESTION}") == f"<image>\n{QUESTION}"


def test_an_answered_prompt_continues_the_open_one():
    for template in TEMPLATES:
        full = conversation(template, QUESTION, GOOD)
        assert full == conversation(template, QUESTION) + f" {GOOD}</s>"
    with pytest.raises(ValueError, match="unknown conversation template 'plain': expected vicuna_v1 or llava_v1"):
        conversation("plain", QUESTION)


def test_one_perspective_is_enough():
    assert reasoning_text("", "Odd.", "fake") == "From high-level perspective: Odd. Therefore, this image is fake."
    assert reasoning_text("Odd. ", "", "real") == "From low-level perspective: Odd. Therefore, this image is real."
    with pytest.raises(ValueError, match="one perspective at least, got two empty texts"):
        reasoning_text(" ", "", "fake")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "forged"}, "expected the label fake or real, got 'forged'"),
        ({"conclusion": "short"}, "unknown wording of the conclusion 'short': expected this_image or based_on"),
        ({"caption": "\n"}, "expected a caption, got an empty text"),
        ({"caption": "A dog. </caption>"}, "expected a text without tags, got </caption> in 'A dog. </caption>'"),
    ],
)
def test_parts_that_cannot_be_written(change, message):
    parts = {"caption": "A dog.", "low_level": "Odd.", "high_level": "", "label": "fake"}
    with pytest.raises(ValueError, match=message):
        build_chain_of_thought(**{**parts, **change})


@pytest.mark.parametrize("length", range(0, len(GOOD), 7))
def test_an_answer_cut_anywhere_is_read_as_far_as_it_goes(length):
    read = parse_chain_of_thought(GOOD[:length])
    whole = parse_chain_of_thought(GOOD)
    assert read.problems
    for stage in ("summary", "caption", "reasoning", "conclusion"):
        text = getattr(read, stage)
        assert text is None or getattr(whole, stage).startswith(text)
    assert read.label in (None, "fake")


def test_a_cut_answer_says_where_it_ends():
    read = parse_chain_of_thought(GOOD[: GOOD.index("The dog has") + 7])
    assert read.problems == ["CONCLUSION is missing", "REASONING is not closed: the answer ends in it"]
    assert read.reasoning.endswith("From high-level perspective: The dog")
    read = parse_chain_of_thought(GOOD[:-4])
    assert (read.conclusion, read.label) == ("This image is fake.", "fake")
    assert read.problems == ["CONCLUSION is not closed: the answer ends in it"]
    read = parse_chain_of_thought("<CAPTION> A cat < dog")
    assert read.caption == "A cat < dog"


def test_no_tags_at_all():
    read = parse_chain_of_thought("This image is fake.")
    assert (read.summary, read.caption, read.reasoning, read.conclusion, read.label) == (None,) * 5
    assert read.problems == [f"{stage} is missing" for stage in STAGES]


def test_stages_out_of_order_are_still_read():
    summary, caption, reasoning, conclusion = GOOD.split("\n\n")
    read = parse_chain_of_thought("\n".join((conclusion, caption, summary, reasoning)))
    assert read.problems == ["the stages are out of order: CONCLUSION, CAPTION, SUMMARY, REASONING"]
    assert (read.caption, read.label) == (PARTS[0], "fake")


def test_a_missing_conclusion_gives_no_label():
    read = parse_chain_of_thought("\n\n".join(GOOD.split("\n\n")[:3]))
    assert (read.conclusion, read.label, read.problems) == (None, None, ["CONCLUSION is missing"])


def test_tags_in_other_spellings_and_without_blanks():
    spelled = re.sub(r"<(/?)(\w+)> ?", lambda tag: f"< {tag[1]} {tag[2].capitalize()} >", GOOD).replace("\n\n", "\r\n")
    assert parse_chain_of_thought(spelled) == parse_chain_of_thought(GOOD)
    assert parse_chain_of_thought(GOOD.replace("\n\n", "")) == parse_chain_of_thought(GOOD)
    assert parse_chain_of_thought(GOOD.replace("> ", ">\n").replace(" <", "\n<")) == parse_chain_of_thought(GOOD)


def test_a_closing_tag_that_is_missing_in_the_middle():
    read = parse_chain_of_thought(GOOD.replace("</CAPTION>", ""))
    assert (read.caption, read.label, read.problems) == (PARTS[0], "fake", ["CAPTION is not closed"])
    read = parse_chain_of_thought(GOOD.replace("</CAPTION>", "</REASONING>"))
    assert (read.caption, read.problems) == (PARTS[0], ["CAPTION is not closed"])


def test_an_empty_stage_is_named():
    read = parse_chain_of_thought(GOOD.replace(PARTS[0], ""))
    assert (read.caption, read.problems) == ("", ["CAPTION is empty"])
    read = parse_chain_of_thought(GOOD.replace("This image is fake. </C", "</C"))
    assert (read.conclusion, read.label, read.problems) == ("", None, ["CONCLUSION is empty"])


def test_a_repeated_stage_keeps_the_first_and_conclusions_must_agree():
    again = parse_chain_of_thought(f"{GOOD}\n<CAPTION> A cat. </CAPTION>")
    assert (again.caption, again.problems[0]) == (PARTS[0], "CAPTION comes 2 times")
    both = parse_chain_of_thought(f"{GOOD}\n<CONCLUSION> This image is real. </CONCLUSION>")
    assert both.label is None
    assert both.problems == ["CONCLUSION comes 2 times", "the conclusion says both real and fake"]


@pytest.mark.parametrize(
    ("conclusion", "labels"),
    [
        ("This image is fake.", {"fake"}),
        ("THIS IMAGE IS FAKE", {"fake"}),
        ("this image\nis real", {"real"}),
        ("Based on the analysis above, this image is real.", {"real"}),
        ("This image is not real.", {"fake"}),
        ("This image isn't fake.", {"real"}),
        ("This image isn\u2019t a real photograph.", {"fake"}),
        ("It does not appear to be authentic.", {"fake"}),
        ("The picture is AI-generated.", {"fake"}),
        ("The picture was generated by AI.", {"fake"}),
        ("The picture is not AI generated, it is genuine.", {"real"}),
        ("The image is likely a deepfake.", {"fake"}),
        ("Although it looks realistic, this image is fake.", {"fake"}),
        ("Unlike a real-world scene, this image is synthetic.", {"fake"}),
        ("This image is real, not fake.", {"real"}),
        ("This image is not real but fake.", {"fake"}),
        ("This image cannot be real.", {"fake"}),
        ("It is highly unlikely that this image is real.", {"fake"}),
        ("This image is unlikely to be AI-generated.", {"real"}),
        ("This image is far from authentic.", {"fake"}),
        ("There is no evidence that this image is fake.", {"real"}),
        ("This image is real, with no signs of being AI-generated.", {"real"}),
        ("This image is not only fake but badly made.", {"fake"}),
        ("This image is real. This image is fake.", {"real", "fake"}),
        ("It is not clear whether it is real or fake.", {"real", "fake"}),
        ("It cannot be decided if it is AI-generated or authentic.", {"real", "fake"}),
        ("I cannot tell.", set()),
        ("", set()),
    ],
)
def test_what_a_conclusion_says(conclusion, labels):
    assert concluded_labels(conclusion) == labels
    read = parse_chain_of_thought(GOOD.replace("This image is fake.", conclusion))
    assert read.label == (next(iter(labels)) if len(labels) == 1 else None)
    assert bool(read.problems) == (len(labels) != 1)


def test_the_authors_rule_wants_the_exact_words():
    assert parse_chain_of_thought(GOOD, strict=True).label == "fake"
    refused = {
        "other wording": GOOD.replace("This image is fake.", "Based on the analysis above, this image is fake."),
        "no reasoning": GOOD.replace("REASONING", "REASON"),
        "not closed": GOOD.replace("</CONCLUSION>", ""),
        "small letters": GOOD.replace("CONCLUSION", "conclusion"),
    }
    for text in refused.values():
        read = parse_chain_of_thought(text, strict=True)
        assert read.label is None
        assert "the conclusion says neither real nor fake, letter for letter" in read.problems


def test_spans_leave_out_tags_and_blanks():
    for span, stage in zip(find_stages(GOOD), STAGES, strict=True):
        assert span.stage == stage
        assert GOOD[: span.start].endswith(f"<{stage}> ")
        assert GOOD[span.end :].startswith(f" </{stage}>")
