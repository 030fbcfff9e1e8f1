"""Accuracy, unparsed answers, reasons and consistency on answers whose numbers are known by hand."""

from dataclasses import replace

import numpy as np
import pytest

from forgescope.evaluation.protocols_fakereasoning import CONSISTENCY, DETECTION, REASONING, TEMPERATURES
from forgescope.evaluation.reasoning_report import reasoning_tables
from forgescope.evaluation.reasoning_rows import MEAN_OF_ROUNDS, reasoning_rows
from forgescope.evaluation.reasoning_scores import AnswerRecord, attribute_text, kept

FAMILIES = {"DM": ("glide", "if"), "GAN": ("biggan",)}
GROUPS = {name: (name,) for members in FAMILIES.values() for name in members}


def small(protocol, **changes):
    return replace(protocol, groups=GROUPS, families=FAMILIES, **changes)


def answers(source, fake, real, **texts):
    """Records of a subset: the verdicts about its fake and about its real images."""
    return [
        AnswerRecord(f"{source}/{label}/{number}", source, label, verdict, **({"reasoning": "because"} | texts))
        for label, verdicts in ((1, fake), (0, real))
        for number, verdict in enumerate(verdicts)
    ]


# glide: 3 of 4 right; if: 2 of 4, one without a verdict; biggan: 3 of 6
ANSWERS = [
    *answers("glide", (1, 0), (0, 0)),
    *answers("if", (1, None), (1, 0)),
    *answers("biggan", (1, 1, 0), (0, 1, 1)),
]


def by_source(rows, metric, setting=None):
    return {row.source: row for row in rows if (row.metric, row.setting) == (metric, setting)}


def values(rows, metric, setting=None):
    return {source: row.value for source, row in by_source(rows, metric, setting).items()}


def test_accuracy_of_subsets_families_and_classes():
    rows = reasoning_rows({0.2: {0: ANSWERS}}, small(DETECTION), resamples=20)
    own = {"glide": 3 / 4, "if": 2 / 4, "biggan": 3 / 6}
    means = {"DM": 5 / 8, "GAN": 3 / 6, "average": np.mean(list(own.values()))}
    assert values(rows, "image_accuracy") == pytest.approx({**own, "all": 8 / 14, **means})
    assert values(rows, "image_accuracy_fake")["if"] == 1 / 2
    assert values(rows, "image_accuracy_real")["biggan"] == 1 / 3
    assert values(rows, "image_unparsed") == pytest.approx(
        {"glide": 0, "if": 1 / 4, "biggan": 0, "all": 1 / 14, "DM": 1 / 8, "GAN": 0, "average": 1 / 12}
    )
    row = by_source(rows, "image_accuracy")["if"]
    assert (row.n, row.unparsed, row.classes, row.reduction, row.paper_value) == (4, "wrong", "fake", "pooled", 0.975)
    assert row.low <= row.value <= row.high
    assert by_source(rows, "image_accuracy")["all"].n == 14
    # the paper's averages are of its ten generators
    assert by_source(rows, "image_accuracy")["GAN"].paper_value == 0.8718
    assert {row.metric for row in rows} == {
        "image_accuracy",
        "image_accuracy_fake",
        "image_accuracy_real",
        "image_unparsed",
    }


def test_dropping_leaves_out_answers_without_verdict_or_reasons():
    silent = [replace(record, reasoning=None) for record in answers("glide", (1,), ())]
    records = [*silent, *ANSWERS[1:]]
    rows = reasoning_rows({0.2: {0: records}}, small(DETECTION), unparsed="drop", resamples=0)
    found = by_source(rows, "image_accuracy")
    # glide loses a right answer without reasons, `if` the one without a verdict, which counted as wrong
    assert (found["glide"].value, found["glide"].n) == (2 / 3, 3)
    assert (found["if"].value, found["if"].n) == (2 / 3, 3)
    assert found["if"].unparsed == "drop"
    # the share of answers without a verdict is of all answers, under both rules
    assert values(rows, "image_unparsed")["if"] == 1 / 4
    assert (
        values(reasoning_rows({0.2: {0: records}}, small(DETECTION), resamples=0), "image_accuracy")["glide"] == 0.75
    )
    with pytest.raises(ValueError, match="unparsed must be wrong or drop, got 'skip'"):
        kept(records, "skip")


def test_a_subset_without_both_classes_has_no_row_and_there_is_no_average():
    records = [*answers("glide", (1,), (0,)), *answers("if", (1,), ())]
    rows = reasoning_rows({0.2: {0: records}}, small(DETECTION), resamples=0)
    assert values(rows, "image_accuracy") == {"glide": 1}
    with pytest.raises(ValueError, match="mmfr-detection needs fake and real images: none of glide, if, biggan has"):
        reasoning_rows({0.2: {0: answers("if", (1,), ())}}, small(DETECTION))
    with pytest.raises(ValueError, match="temperature 0.2 has no answers of round 0"):
        reasoning_rows({0.2: {1: ANSWERS}}, small(DETECTION))


def test_reasons_are_compared_with_annotations():
    texts = {"reasoning": "the light is odd", "reference": "the light is wrong"}
    records = [
        *answers("glide", (1, 1), (0,), **texts),
        *answers("if", (1,), (0,), reasoning=None, reference="the light is wrong"),
        *answers("biggan", (None,), (0,), **texts),
        *answers("biggan", (1,), (0,), reasoning="never compared"),
    ]
    seen = []

    def embedder(some):
        seen.extend(some)
        return np.array([[3.0, 4.0] if "odd" in text else [5.0, 0.0] for text in some])

    rows = reasoning_rows({0.2: {0: records}}, small(REASONING), embedder=embedder, resamples=0)
    assert values(rows, "text_bleu1") == pytest.approx(
        {"glide": 0.75, "if": 0, "biggan": 0.75, "all": 0.75 * 5 / 7, "DM": 0.375, "GAN": 0.75, "average": 0.5}
    )
    # one of three common pairs of words... two: "the light", "light is"
    assert values(rows, "text_bleu2")["glide"] == pytest.approx((3 / 4 * 2 / 3) ** 0.5)
    assert values(rows, "text_rouge_l")["glide"] == pytest.approx(3 / 4)
    assert values(rows, "text_css") == pytest.approx(
        {"glide": 0.6, "if": 0, "biggan": 0.6, "all": 0.6 * 5 / 7, "DM": 0.3, "GAN": 0.6, "average": 0.4}
    )
    assert sorted(seen) == ["the light is odd", "the light is wrong"]
    unparsed = by_source(rows, "text_unparsed")
    assert (unparsed["if"].value, unparsed["glide"].value, unparsed["biggan"].n) == (1, 0, 2)
    row = by_source(rows, "text_rouge_l")["average"]
    assert (row.paper_value, row.reduction, row.n) == (0.34, "image", 7)
    # without a verdict the reasons count all the same; the authors drop both
    dropped = reasoning_rows({0.2: {0: records}}, small(REASONING), unparsed="drop", resamples=0)
    assert {source: row.n for source, row in by_source(dropped, "text_bleu1").items()} == {
        "glide": 3,
        "if": 0,
        "biggan": 1,
        "all": 4,
        "GAN": 1,
    }
    assert values(dropped, "text_bleu1")["if"] is None


def test_attributes_are_joined_by_name():
    entries = [{"attribute": "Low Image Quality", "text": "It is soft."}, {"attribute": "A", "text": "First."}]
    assert attribute_text(entries) == "First. It is soft."
    assert attribute_text([]) == ""


def test_rounds_are_compared_with_round_0():
    """Round 1 turns two verdicts of glide, one to right and one to wrong; round 2 loses two right ones of biggan."""
    first = [*answers("glide", (1, 0), (0, 0)), *answers("if", (1,), (0,)), *answers("biggan", (1, 1), (0, 0))]
    one = [*answers("glide", (1, 1), (0, 1)), *answers("if", (1,), (0,)), *answers("biggan", (1, 1), (0, 0))]
    two = [*answers("glide", (1, 0), (0, 0)), *answers("if", (1,), (0,)), *answers("biggan", (None, 1), (1, 0))]
    rows = reasoning_rows({0.2: {0: first, 1: one, 2: two}}, small(CONSISTENCY), resamples=0)
    assert values(rows, "image_accuracy", "round 0")["glide"] == 3 / 4
    assert values(rows, "image_accuracy", "round 2")["biggan"] == 2 / 4
    assert values(rows, "image_accuracy_fluctuation", "round 1") == pytest.approx(
        {"glide": 0, "if": 0, "biggan": 0, "all": 0, "DM": 0, "GAN": 0, "average": 0}
    )
    assert values(rows, "image_verdict_changes", "round 1")["glide"] == 2 / 4
    assert values(rows, "image_accuracy_fluctuation", "round 2") == pytest.approx(
        {"glide": 0, "if": 0, "biggan": 0.5, "all": 0.2, "DM": 0, "GAN": 0.5, "average": 0.5 / 3}
    )
    assert values(rows, "image_verdict_changes", "round 2")["all"] == 2 / 10
    assert values(rows, "image_accuracy_fluctuation", MEAN_OF_ROUNDS)["average"] == pytest.approx(0.5 / 6)
    assert values(rows, "image_verdict_changes", MEAN_OF_ROUNDS)["all"] == pytest.approx((0.2 + 0.2) / 2)
    paper = {
        row.setting: row.paper_value
        for row in rows
        if (row.metric, row.source) == ("image_accuracy_fluctuation", "average")
    }
    assert paper == {"round 1": 0.013, "round 2": 0.0055, MEAN_OF_ROUNDS: 0.0075}
    # left out in round 2, the image takes no part in either of the two rounds
    dropped = reasoning_rows({0.2: {0: first, 2: two}}, small(CONSISTENCY), unparsed="drop", resamples=0)
    assert by_source(dropped, "image_accuracy_fluctuation", "round 2")["biggan"].n == 3
    assert values(dropped, "image_accuracy_fluctuation", "round 2")["biggan"] == pytest.approx(1 / 3)
    (table,) = reasoning_tables(rows, small(CONSISTENCY))
    assert table.title == "mmfr-consistency: mean over the generators, answers without a verdict count as wrong"
    assert [line[0] for line in table.lines] == ["round 0", "round 1", "round 2", MEAN_OF_ROUNDS]
    assert table.header[:4] == ["answers", "n", "accuracy", "paper"]


def test_each_temperature_has_its_own_round_0():
    first = answers("glide", (1, 1), (0, 0))
    protocol = replace(TEMPERATURES, groups={"glide": ("glide",)}, families={})
    later = answers("glide", (1, 0), (0, 0))
    worst = answers("glide", (0, 0), (0, 0))
    runs = {0.1: {0: first, 1: first, 2: later}, 0.6: {0: later, 1: worst}}
    rows = reasoning_rows(runs, protocol, resamples=0)
    assert {row.setting for row in rows} == {"temperature 0.1", "temperature 0.6"}
    assert values(rows, "image_accuracy", "temperature 0.6") == {"glide": 0.75}
    assert values(rows, "image_accuracy_fluctuation", "temperature 0.1") == {"glide": 0.125}
    assert values(rows, "image_accuracy_fluctuation", "temperature 0.6") == {"glide": 0.25}
    (table,) = reasoning_tables(rows, protocol)
    assert [line[0] for line in table.lines] == ["temperature 0.1", "temperature 0.6"]
