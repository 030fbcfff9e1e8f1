"""The tables of DiffSeg30k as printed, what does not agree in them, and the protocols that run them."""

import pytest

from forgescope.datasets_scripts.diffseg30k import FIGURE_6_EDITORS
from forgescope.datasets_scripts.load import corpus_builder_class
from forgescope.evaluation.perturbations import parse_perturbations
from forgescope.evaluation.protocols import PROTOCOLS, find_protocol
from forgescope.evaluation.protocols_diffseg import (
    DEEPLAB,
    FCN,
    SEGFORMER,
    TABLE2,
    TABLE3,
    TABLE4,
    TABLE5,
    TABLE6,
    TABLE7,
    TABLE8,
    UNSEEN_PAIRS,
)
from forgescope.trainers.recipe import available_ablations

DIFFSEG = {name: one for name, one in PROTOCOLS.items() if name.startswith("diffseg-")}


def test_the_baseline_lines_of_tables_2_and_3_differ_in_one_number():
    for architecture in (SEGFORMER, DEEPLAB):
        assert TABLE3[architecture]["none"]["binary"] == TABLE2[architecture]["binary"]
    assert TABLE3[DEEPLAB]["none"]["semantic"] == TABLE2[DEEPLAB]["semantic"]
    assert TABLE2[SEGFORMER]["semantic"] == (0.952, 0.825, 0.532)
    assert TABLE3[SEGFORMER]["none"]["semantic"] == (0.953, 0.825, 0.532)


def share_of_real(total, real, ai):
    """Share of real bases at which a mean of the two halves is the total."""
    return (ai - total) / (ai - real)


def test_the_halves_of_table_8_and_the_whole_of_table_2():
    real, ai, whole = (table["binary"] for table in (TABLE8["real-base"], TABLE8["ai-base"], TABLE2[DEEPLAB]))
    accuracy, mean_iou, boundary = (share_of_real(*one) for one in zip(whole, real, ai, strict=True))
    assert (round(accuracy, 2), round(mean_iou, 2), round(boundary, 2)) == (0.43, 0.28, 0.48)
    # pooled: true positives and union of each half, as shares of its pixels
    found = {name: true_positives(*one[:2]) for name, one in (("real", real), ("ai", ai))}
    both = [(0.5 * found["real"] + 0.5 * found["ai"]), 0.5 * found["real"] / real[1] + 0.5 * found["ai"] / ai[1]]
    assert both[0] / both[1] == pytest.approx(0.974, abs=0.0005)
    semantic = [table["semantic"] for table in (TABLE2[DEEPLAB], TABLE8["real-base"], TABLE8["ai-base"])]
    assert round(share_of_real(*(one[0] for one in semantic)), 2) == 0.94
    assert semantic[0][1] == semantic[2][1]
    assert semantic[2][0] < semantic[1][0]


def true_positives(accuracy, iou):
    """Share of the pixels that are true positives, where both numbers are of pooled counts of one class."""
    return (1 - accuracy) * iou / (1 - iou)


def test_not_all_binary_numbers_of_table_2_are_of_pooled_counts():
    shares = {architecture: round(true_positives(*lines["binary"][:2]), 2) for architecture, lines in TABLE2.items()}
    assert shares == {SEGFORMER: 0.27, DEEPLAB: 0.60, FCN: 0.38}


def test_table_7_loses_about_003():
    assert TABLE7["sdxl"] - TABLE7["sdxl-lora"] == pytest.approx(0.03, abs=0.005)


def test_tables_are_shares_of_three_or_two():
    lines = [line for lines in TABLE2.values() for line in lines.values()]
    lines += [line for runs in TABLE3.values() for lines in runs.values() for line in lines.values()]
    lines += [line for pairs in TABLE4.values() for line in pairs.values()]
    lines += [line for lines in TABLE8.values() for line in lines.values()]
    assert {len(line) for line in lines} == {3}
    pairs = [*TABLE5.values(), *(line for lines in TABLE6.values() for line in lines.values())]
    assert {len(pair) for pair in pairs} == {2}
    assert all(0 < number < 1 for line in (*lines, *pairs) for number in line)
    assert set(TABLE4[DEEPLAB]) == set(TABLE6[DEEPLAB]) == set(UNSEEN_PAIRS)


def test_every_table_has_its_protocols():
    assert len(DIFFSEG) == 14
    tables = {one.table.split(",")[0] for one in DIFFSEG.values()}
    assert tables == {f"Table {number}" for number in range(2, 9)}
    for protocol in DIFFSEG.values():
        builder = corpus_builder_class(protocol.corpus)
        assert set(protocol.options) <= set(builder.BUILDER_CONFIG_CLASS.__dataclass_fields__)
        assert {*protocol.editors, protocol.of_editor} <= {*FIGURE_6_EDITORS, None}
        assert (protocol.split, protocol.threshold, protocol.area_threshold) == ("validation", 0.5, 0.01)
        assert (protocol.level == "images") == bool(protocol.real_images)
        assert protocol.note
        assert parse_perturbations(",".join(protocol.perturbations))
        for values in protocol.values.values():
            assert {source for source, _, _ in values} <= {"", *protocol.groups}
            assert {perturbation for _, perturbation, _ in values} <= set(protocol.perturbations)
            assert {metric for _, _, metric in values} <= set(protocol.reported)


def test_the_ablations_leave_out_the_editors_that_the_protocols_take():
    ablations = available_ablations("diffseg")
    for pair, editors in UNSEEN_PAIRS.items():
        assert tuple(ablations[f"table4-{pair}"]["data"]["held_out_editors"]) == editors
        assert DIFFSEG[f"diffseg-unseen-{pair}"].editors == editors


@pytest.mark.parametrize(
    ("name", "architecture", "key", "value"),
    [
        ("diffseg-binary", FCN, ("", "none", "pixel_boundary_f1"), 0.457),
        ("diffseg-semantic", DEEPLAB, ("", "none", "pixel_iou"), 0.760),
        ("diffseg-robustness-binary", SEGFORMER, ("", "resize:256", "pixel_accuracy"), 0.565),
        ("diffseg-robustness-semantic", DEEPLAB, ("", "jpeg:60", "pixel_iou"), 0.013),
        ("diffseg-unseen-sd2-sd3.5", SEGFORMER, ("", "none", "pixel_iou"), 0.926),
        ("diffseg-classification", DEEPLAB, ("", "none", "image_accuracy"), 0.980),
        ("diffseg-classification-glide-kolors", SEGFORMER, ("", "none", "image_average_precision"), 0.996),
        ("diffseg-lora", DEEPLAB, ("sdxl-lora", "none", "pixel_iou"), 0.630),
        ("diffseg-base-binary", DEEPLAB, ("real-base", "none", "pixel_iou"), 0.911),
        ("diffseg-base-semantic", DEEPLAB, ("ai-base", "none", "pixel_boundary_f1"), 0.516),
    ],
)
def test_the_papers_numbers_stand_at_the_right_protocols(name, architecture, key, value):
    assert find_protocol(name).values[architecture][key] == value


def test_the_papers_classifiers_are_named():
    assert "CNNSpot 0.942 and 0.979, UniversalFakeDet 0.860 and 0.934" in DIFFSEG["diffseg-classification"].note
    assert "UniversalFakeDet 0.714 and 0.817" in DIFFSEG["diffseg-classification-sd2-sd3.5"].note
