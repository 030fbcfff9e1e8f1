import json

import numpy as np
import pytest
from PIL import Image
from promptforge_layout import annotated_row, write_lines

from forgescope.analyze import Analyzer
from forgescope.evaluation.evaluator import Evaluator, Example
from forgescope.evaluation.localization_rows import localization_rows
from forgescope.evaluation.protocols import find_protocol
from forgescope.evaluation.protocols_iclnet import PROTOCOLS, SOURCES, SUBSETS, TABLE2, TABLE3, paper_value
from forgescope.evaluation.rules import preset
from forgescope.examination import Examination
from forgescope.localization_evaluation import draw_masked_images

ORDER = tuple(source for sources in SOURCES.values() for source in sources)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Three test images of each source, one of them with a mask of its own small size, and one image of training."""
    folder = tmp_path_factory.mktemp("promptforge")
    rows = [annotated_row(number, folder / "test", source=ORDER[number % 4]) for number in range(12)]
    write_lines(folder / "test" / "metadata.jsonl", rows)
    write_lines(folder / "train" / "metadata.jsonl", [annotated_row(50, folder / "train", source=ORDER[0])])
    return folder


def test_names_and_papers_numbers():
    assert [one.name for one in PROTOCOLS] == [
        "iclnet-localization",
        "iclnet-robustness",
        *(f"iclnet-unseen-{subset}" for subset in SUBSETS),
    ]
    whole, robust, unseen, *_ = PROTOCOLS
    assert len(whole.values) == 5 * 4
    assert all(paper_value(source, metric) == value for (source, metric, _), value in whole.values.items())
    assert len(robust.values) == len(TABLE2) * 4
    assert robust.values["average", "pixel_iou", "jpeg:80+crop:20"] == 0.6156
    assert unseen.values == {
        ("nano-banana", "pixel_f1", "none"): 0.3107,
        ("nano-banana", "pixel_iou", "none"): 0.1895,
        ("nano-banana", "pixel_precision", "none"): 0.3525,
        ("nano-banana", "pixel_recall", "none"): 0.2949,
    }


def test_averages_out_of_domain_are_means_of_the_four_protocols():
    for place, expected in enumerate(TABLE3["average"]["out"]):
        drawn = [TABLE3[subset]["out"][place] for subset in SUBSETS]
        # recall: 63.93, 65.41, 43.63 and 29.49 have the mean 50.615, printed 50.62
        assert np.mean(drawn) == pytest.approx(expected, abs=0.0101)


def test_images_are_drawn_by_subset_with_masks_of_their_size(corpus):
    protocol = find_protocol("iclnet-localization")
    images = draw_masked_images(protocol, corpus)
    assert images.counts == {(subset, "fake"): 3 for subset in SUBSETS}
    examples = list(images.examples())
    assert sorted(example.name for example in examples) == sorted(f"pair-{number}" for number in range(12))
    assert {example.mask.shape for example in examples} == {(12, 16)}
    by_name = {example.name: example for example in examples}
    # rows 0 to 3 of 8 are forged: the upper half, of 12 rows 6
    assert by_name["pair-3"].mask[:6].all()
    assert not by_name["pair-3"].mask[6:].any()
    assert by_name["pair-3"].source == "step1x"
    two = draw_masked_images(protocol, corpus, per_class=2, seed=1)
    assert two.total == 8
    assert {one.name for one in two.examples()} < set(by_name)
    assert draw_masked_images(protocol, corpus, split="all").total == 13


def test_numbers_are_those_of_summed_counts(corpus, checkpoint, run, tmp_path):
    file = tmp_path / "rows.json"
    words = (checkpoint, "--protocol", "iclnet-localization", "--data", corpus, "--json", file, "--resamples", 0)
    status, out, err = run(*words, "--plot", tmp_path / "chart.png")
    assert status == 0, err
    rows = json.loads(file.read_text())
    assert {row["metric"] for row in rows} == {"pixel_precision", "pixel_recall", "pixel_f1", "pixel_iou"}
    assert {row["source"] for row in rows} == {*SUBSETS, "all", "average"}
    found = {(row["source"], row["metric"]): row for row in rows}
    analyzer = Analyzer(str(checkpoint))
    for subset in SUBSETS:
        counts = np.zeros(4)
        for example in draw_masked_images(find_protocol("iclnet-localization"), corpus).examples():
            if example.source == subset:
                (examination,) = analyzer.localizer.examine([example.image])
                called, forged = examination.probability_map > 0.5, example.mask > 0
                pairs = ((called, forged), (called, ~forged), (~called, forged), (~called, ~forged))
                counts += [np.sum(one & other) for one, other in pairs]
        tp, fp, fn, _ = counts
        row = found[subset, "pixel_iou"]
        assert row["value"] == pytest.approx(tp / (tp + fp + fn), abs=1e-6)
        assert row["n"] == 3
        assert row["paper_value"] == paper_value(subset, "iou")
    mean = np.mean([found[subset, "pixel_f1"]["value"] for subset in SUBSETS])
    assert found["average", "pixel_f1"]["value"] == pytest.approx(mean)
    assert found["average", "pixel_f1"]["paper_value"] == 0.752
    assert "75" in out or "0.752" in out
    assert (tmp_path / "chart.png").stat().st_size > 1000


def test_robustness_runs_every_row_of_table_2(corpus, checkpoint, run, tmp_path):
    file = tmp_path / "rows.json"
    words = (checkpoint, "--protocol", "iclnet-robustness", "--data", corpus, "--json", file, "--resamples", 0)
    status, _, err = run(*words, "--per-class", 1)
    assert status == 0, err
    rows = [row for row in json.loads(file.read_text()) if row["source"] == "average" and row["metric"] == "pixel_f1"]
    assert {row["perturbation"]: row["paper_value"] for row in rows} == {
        name: round(line[0] / 100, 4) for name, line in TABLE2.items()
    }


def test_one_unseen_subset_is_reported_alone(corpus, checkpoint, run, tmp_path):
    file = tmp_path / "rows.json"
    words = (checkpoint, "--protocol", "iclnet-unseen-bagel", "--data", corpus, "--json", file, "--resamples", 0)
    assert run(*words)[0] == 0
    assert {row["source"]: row["n"] for row in json.loads(file.read_text())} == {"bagel": 3}


def test_a_missing_subset_means_no_average(checkpoint, run, tmp_path):
    rows = [annotated_row(number, tmp_path / "c" / "test", source=ORDER[number % 2]) for number in range(2)]
    write_lines(tmp_path / "c" / "test" / "metadata.jsonl", rows)
    status, out, _ = run(checkpoint, "--protocol", "iclnet-localization", "--data", tmp_path / "c")
    assert status == 0
    assert "not measured, so that there is no average: kontext, step1x" in out


def test_a_subset_without_a_forged_pixel_means_no_average():
    protocol = find_protocol("iclnet-localization")

    def examples():
        for subset in SUBSETS:
            mask = np.zeros((8, 8), np.uint8)
            mask[:4] = subset != "step1x"
            yield Example(Image.new("RGB", (8, 8)), mask, subset, subset, label=1)

    def examine(photos):
        return [Examination(np.full((8, 8), 0.9, np.float32), score=0.9) for _ in photos]

    result = Evaluator(examine, preset("iclnet"), 1).run(examples(), total=4)
    values = {row.source: row.value for row in localization_rows(result, protocol, 0) if row.metric == "pixel_f1"}
    assert values == {**dict.fromkeys((*SUBSETS[:3], "all"), pytest.approx(2 / 3)), "step1x": None}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--protocol", "iclnet-localization", "--preset", "trufor"),
            "--preset cannot be used with iclnet-localization",
        ),
        (("--protocol", "iclnet-localization", "--split", "validation"), "needs the split validation"),
    ],
)
def test_wrong_usage_is_one_sentence(corpus, checkpoint, run, words, message):
    status, _, err = run(checkpoint, "--data", corpus, *words)
    assert status == 2
    assert message in err
