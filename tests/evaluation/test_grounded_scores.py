"""Masks of artifacts against loops over pixels, images and phrases."""

from itertools import permutations

import numpy as np
import pytest

from forgescope.evaluation.grounded_protocol import GroundedRow, with_grounded_values
from forgescope.evaluation.grounded_report import grounded_tables
from forgescope.evaluation.grounded_rows import grounded_rows
from forgescope.evaluation.grounded_scores import (
    ArtifactRecord,
    count_tables,
    mask_estimate,
    pair_phrases,
    phrase_counts,
    united,
)
from forgescope.evaluation.protocols import find_protocol
from forgescope.evaluation.text_scores import rouge_l

SIZE = (6, 7)


def blob(rng, size=SIZE, share=0.3):
    return (rng.random(size) < share).astype(np.uint8)


@pytest.fixture(scope="module")
def samples():
    """Per image: masks found, and masks annotated; the fourth has nothing found, the fifth nothing annotated."""
    rng = np.random.default_rng(0)
    numbers = ((2, 3), (3, 2), (1, 1), (0, 2), (2, 0), (4, 1), (0, 0))
    return [([blob(rng) for _ in range(one)], [blob(rng) for _ in range(two)]) for one, two in numbers]


def counts(found, wanted):
    pairs = [(int(one), int(two)) for one, two in zip(found.ravel(), wanted.ravel(), strict=True)]
    return np.array([pairs.count(pair) for pair in ((1, 1), (1, 0), (0, 1), (0, 0))])


def slow_iou(tp, fp, fn, both_absent=1.0):
    return tp / (tp + fp + fn) if tp + fp + fn else both_absent


def slow_metric(table, metric, both_absent=1.0):
    tp, fp, fn, tn = (int(one) for one in table)
    if metric == "f1":
        return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else both_absent
    front = slow_iou(tp, fp, fn, both_absent)
    return front if metric == "front" else (front + slow_iou(tn, fn, fp, both_absent)) / 2


METRICS = {"f1": ("f1", "forged"), "front": ("iou", "forged"), "miou": ("iou", "macro")}


def records(samples, matching="best"):
    made = []
    for number, (found, annotated) in enumerate(samples):
        union = counts(united(found, SIZE), united(annotated, SIZE))
        phrases, paired = phrase_counts(found, annotated, matching)
        made.append(ArtifactRecord(str(number), union, phrases, len(found), paired))
    return made


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("empty", "both_absent"), [("skip", 1.0), ("one", 1.0), ("zero", 0.0)])
def test_union_by_image_and_by_data_set(samples, metric, empty, both_absent):
    tables = [counts(united(found, SIZE), united(annotated, SIZE)) for found, annotated in samples]
    if empty == "skip":
        tables = [table for table in tables if table[0] + table[2]]
    by_image = sum(slow_metric(table, metric, both_absent) for table in tables) / len(tables)
    whole = slow_metric(sum(tables), metric, both_absent)
    own = count_tables(records(samples), "union", empty)
    assert len(own) == {"skip": 5, "one": 7, "zero": 7}[empty]
    for reduction, expected in (("image", by_image), ("dataset", whole)):
        value, low, high = mask_estimate(own, *METRICS[metric], reduction, empty, resamples=200)
        assert value == pytest.approx(expected, abs=1e-12)
        assert low <= value <= high


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("matching", ["best", "order"])
def test_each_phrase_by_image_and_by_data_set(samples, metric, matching):
    images, pooled = [], np.zeros(4, int)
    for found, annotated in samples:
        values = []
        for place, partner in enumerate(pair_phrases(found, annotated, matching)):
            table = counts(np.zeros(SIZE) if partner is None else found[partner], annotated[place])
            values.append(slow_metric(table, metric))
            pooled += table
        if values:
            images.append(sum(values) / len(values))
    assert len(images) == 5
    tables = count_tables(records(samples, matching), "per_phrase", "skip")
    expected = {"image": sum(images) / 5, "dataset": slow_metric(pooled, metric)}
    for reduction, value in expected.items():
        assert mask_estimate(tables, *METRICS[metric], reduction)[0] == pytest.approx(value, abs=1e-12)


def test_best_pairs_are_those_of_the_greatest_sum(samples):
    """Against every one-to-one pairing."""
    for found, annotated in samples:
        partners = pair_phrases(found, annotated)
        table = np.array([[slow_iou(*counts(one, wanted)[:3], 0.0) for one in found] for wanted in annotated])
        own = sum(table[place, partner] for place, partner in enumerate(partners) if partner is not None)
        free = [*range(len(found)), *[None] * len(annotated)]
        best = max(
            sum(table[place, partner] for place, partner in enumerate(some) if partner is not None)
            for some in permutations(free, len(annotated))
        )
        assert own == pytest.approx(best)
        used = [partner for partner in partners if partner is not None]
        assert len(used) == len(set(used)) == min(len(found), len(annotated))


def test_order_and_best_differ_where_phrases_are_swapped():
    left, right = np.zeros((2, *SIZE), np.uint8)
    left[:, :3] = right[:, 4:] = 1
    assert pair_phrases([right, left], [left, right]) == [1, 0]
    assert pair_phrases([right, left], [left, right], "order") == [0, 1]
    assert mask_estimate([phrase_counts([right, left], [left, right])[0]], "iou", "forged", "image")[0] == 1
    table, paired = phrase_counts([right, left], [left, right], "order")
    assert (mask_estimate([table], "iou", "forged", "image")[0], paired) == (0, 2)
    # what does not overlap is no partner, and what is too many has none
    assert pair_phrases([right], [left, right]) == [None, 0]
    assert pair_phrases([left], [right]) == [None]
    assert pair_phrases([left, right, right], [left], "order") == [0]
    assert pair_phrases([], [left], "order") == [None]


def test_nothing_found_and_nothing_annotated():
    full, none = np.ones(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
    wanted = none.copy()
    wanted[0, 0] = 1
    # an empty answer is an empty mask: the background is nearly right
    table = [counts(none, wanted)[None]]
    assert mask_estimate(table, "iou", "macro", "image")[0] == pytest.approx((0 + 41 / 42) / 2)
    assert mask_estimate(table, "f1", "forged", "image")[0] == 0
    # a class that neither has is right, or counts 0
    for empty, value in (("skip", 1.0), ("one", 1.0), ("zero", 0.5)):
        assert mask_estimate([counts(full, full)[None]], "iou", "macro", "image", empty)[0] == value
    assert mask_estimate([counts(none, none)[None]], "iou", "macro", "image", "one")[0] == 1
    assert np.isnan(mask_estimate([], "iou", "macro", "image")[0])
    assert united([], SIZE).shape == SIZE
    # an artifact that a rasterizer made no pixel of takes no part
    record = ArtifactRecord("a", counts(none, none), np.stack([counts(none, none), counts(wanted, wanted)]))
    assert [len(table) for table in count_tables([record], "per_phrase", "skip")] == [1]


def test_wrong_rules_are_refused(samples):
    with pytest.raises(ValueError, match="matching must be best or order, got 'first'"):
        pair_phrases([], [], "first")
    with pytest.raises(ValueError, match="targets must be union or per_phrase, got 'all'"):
        count_tables([], "all", "skip")
    with pytest.raises(ValueError, match="reduction must be image or dataset, got 'batch'"):
        mask_estimate([], "iou", "macro", "batch")
    with pytest.raises(ValueError, match="one shape"):
        phrase_counts([np.ones((2, 2), np.uint8)], [np.ones((3, 3), np.uint8)], "order")


def test_rows_name_their_rules_and_the_papers_numbers(samples):
    protocol = find_protocol("legion-synthscars")
    made = [
        ArtifactRecord(one.name, one.union, one.phrases, one.found, one.paired, "left hand fused" * (place != 2), text)
        for place, (one, text) in enumerate(
            zip(records(samples), ["the left hand is fused", "the eyes", "a roof", "", "x", "y", ""], strict=True)
        )
    ]

    def embed(texts):
        return np.array([[len(text), 1.0] for text in texts])

    rows = grounded_rows(made, protocol, threshold=0.5, embedder=embed, resamples=10)
    assert len(rows) == 2 * 2 * 3 + 3
    keys = {(row.targets, row.reduction, row.metric, row.classes) for row in rows}
    assert len(keys) == len(rows)
    found = {(row.targets, row.reduction, row.metric, row.classes): row for row in rows}
    miou = found["union", "image", "pixel_iou", "macro"]
    assert (miou.paper_value, miou.n, miou.empty_rule, miou.rasterizer, miou.matching) == (
        *(0.5941, 5, "skip"),
        *("fillpoly", None),
    )
    assert "0.5813 and 0.3454" in miou.note
    assert found["union", "image", "pixel_f1", "forged"].paper_value == 0.3696
    assert found["union", "image", "pixel_iou", "forged"].paper_value is None
    assert found["union", "dataset", "pixel_iou", "macro"].paper_value is None
    assert found["per_phrase", "image", "pixel_iou", "macro"].paper_value is None
    assert found["per_phrase", "image", "pixel_iou", "macro"].matching == "best"
    rouge = found[None, "image", "text_rouge_l", "all"]
    references = ["the left hand is fused", "the eyes", "a roof", "x", "y"]
    given = ["left hand fused"] * 2 + [""] + ["left hand fused"] * 2
    assert rouge.value == pytest.approx(np.mean([rouge_l(*pair) for pair in zip(given, references, strict=True)]))
    assert (rouge.n, rouge.paper_value, rouge.cleaning, rouge.note) == (5, 0.395, "plain", None)
    assert found[None, "image", "text_css", "all"].paper_value == 0.726
    assert found[None, "image", "text_missing", "all"].value == 0.2
    titles = [table.title for table in grounded_tables(rows)]
    assert titles[0] == (
        "legion-synthscars: one mask an image (union), mean over images, masks by fillpoly, images without artifact: "
        "left out, threshold 0.5"
    )
    assert "one mask a phrase (per_phrase), counts of the data set added" in titles[3]
    assert "phrases paired by best" in titles[3]
    assert grounded_tables(rows)[0].header == ["source", "n", "mIoU", "paper", "F1", "paper", "IoU"]
    assert grounded_tables(rows)[4].header == ["source", "n", "ROUGE-L", "paper", "CSS", "paper", "without text"]


def test_what_was_not_asked_for_is_not_there(samples):
    protocol = find_protocol("legion-robustness")
    options = {"targets": ("union",), "reductions": ("dataset",), "resamples": 0, "empty": "zero"}
    rows = grounded_rows(records(samples), protocol, perturbation="noise:0.3", **options)
    assert {(row.targets, row.reduction, row.n, row.low, row.empty_rule, row.threshold) for row in rows} == {
        ("union", "dataset", 7, None, "zero", None)
    }
    assert {row.paper_value for row in rows} == {None}
    whole = [ArtifactRecord(one.name, one.union) for one in records(samples)]
    assert {row.targets for row in grounded_rows(whole, protocol, resamples=0)} == {"union"}
    row = GroundedRow("p", "s", "pixel_iou", 0.5, 1, "image", "macro", "skip", None, targets="union")
    (noisy,) = with_grounded_values([GroundedRow(**{**row.__dict__, "perturbation": "noise:0.3"})], protocol)
    assert noisy.paper_value == 0.5649
