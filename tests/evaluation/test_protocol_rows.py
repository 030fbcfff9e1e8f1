from dataclasses import dataclass, replace

import numpy as np
import pytest
from PIL import Image

from forgescope.evaluation.evaluator import Evaluator, Example
from forgescope.evaluation.perturbations import Perturbation
from forgescope.evaluation.protocol_rows import missing_groups, protocol_rows
from forgescope.evaluation.protocols import PROTOCOLS

GENIMAGE, SYNTHWILDX = PROTOCOLS["gamma-genimage"], PROTOCOLS["gamma-synthwildx"]
THREE = replace(GENIMAGE, groups={name: (name,) for name in ("biggan", "adm", "wukong")})


@dataclass
class Verdict:
    """What a classifier without mask heads returns."""

    score: float | None
    probability_map: np.ndarray | None = None


def by_red(images):
    """A classifier that finds the score in the first pixel."""
    return [Verdict(image.getpixel((0, 0))[0] / 255) for image in images]


def example(source, label, score, number=0):
    return Example(
        Image.new("RGB", (8, 6), (round(score * 255), 0, 0)), None, source, f"{source}{number}", label=label
    )


def noisy(sources, count=20, seed=0):
    random = np.random.default_rng(seed)
    for source in sources:
        for number in range(count):
            label = number % 2
            yield example(source, label, float(np.clip(random.normal(0.4 + 0.2 * label, 0.2), 0, 1)), number)


def run(examples, perturbation=None):
    return Evaluator(by_red, (), perturbation=perturbation or Perturbation()).run(examples)


def values_of(rows, metric):
    return {row.source: row for row in rows if row.metric == metric}


def test_accuracies_equal_those_counted_by_hand():
    examples = list(noisy(THREE.groups))
    correct = {source: [] for source in THREE.groups}
    for one in examples:
        correct[one.source].append((one.image.getpixel((0, 0))[0] / 255 >= 0.5) == bool(one.label))
    rows = values_of(protocol_rows(run(examples), THREE), "image_accuracy")
    for source, right in correct.items():
        assert rows[source].value == pytest.approx(np.mean(right))
        assert rows[source].low < rows[source].value < rows[source].high
        assert (rows[source].n, rows[source].classes, rows[source].threshold) == (20, "fake", 0.5)
        assert (rows[source].protocol, rows[source].empty_rule) == ("gamma-genimage", "none")
    assert rows["average"].value == pytest.approx(np.mean([np.mean(right) for right in correct.values()]))
    assert rows["all"].n == rows["average"].n == 60


def test_the_papers_numbers_stand_at_the_accuracies_of_their_generators():
    rows = protocol_rows(run(noisy(THREE.groups)), THREE, resamples=0)
    found = {(row.source, row.metric): row.paper_value for row in rows if row.paper_value is not None}
    assert found == {
        ("biggan", "image_accuracy"): 0.964,
        ("adm", "image_accuracy"): 0.925,
        ("wukong", "image_accuracy"): 0.971,
        ("average", "image_accuracy"): 0.951,
    }
    perturbed = protocol_rows(run(noisy(THREE.groups), Perturbation(jpeg_quality=80)), THREE, resamples=0)
    assert {row.paper_value for row in perturbed} == {None}


def test_a_missing_generator_takes_the_average_with_it():
    result = run(noisy(("biggan", "adm")))
    rows = protocol_rows(result, THREE, resamples=0)
    assert {row.source for row in rows} == {"biggan", "adm", "all"}
    assert missing_groups([result], THREE) == ["wukong"]
    assert missing_groups([run(noisy(THREE.groups)), result], THREE) == ["wukong"]


def test_a_generator_without_real_images_has_no_accuracy():
    examples = [one for one in noisy(THREE.groups) if one.source != "adm" or one.label]
    result = run(examples)
    rows = protocol_rows(result, THREE, resamples=0)
    assert {row.source for row in rows} == {"biggan", "wukong", "all"}
    assert values_of(rows, "image_accuracy")["all"].n == 40
    assert missing_groups([result], THREE) == ["adm"]


def test_nothing_with_both_classes_is_an_error():
    with pytest.raises(ValueError, match="gamma-genimage needs fake and real images: none of biggan, adm, wukong has"):
        protocol_rows(run([one for one in noisy(THREE.groups) if one.label]), THREE)


def test_real_images_may_belong_to_several_subsets():
    """Three generators share 6 real images; the mean over them is the balanced accuracy, since 6 fakes each."""
    scores = {"dalle3": 0.9, "firefly": 0.1, "midjourney_v5": 0.9, "real": 0.2}
    examples = [example(source, source != "real", score, n) for source, score in scores.items() for n in range(6)]
    examples[-1] = example("real", 0, 0.8, 9)
    rows = values_of(protocol_rows(run(examples), SYNTHWILDX, resamples=0), "image_accuracy")
    assert {source: row.value for source, row in rows.items()} == pytest.approx(
        {
            "dalle3": 11 / 12,
            "firefly": 5 / 12,
            "midjourney_v5": 11 / 12,
            "all": (12 + 5) / 24,
            "average": (11 / 12 + 5 / 12 + 11 / 12) / 3,
        }
    )
    assert rows["all"].n == 24
    assert (rows["average"].paper_value, rows["all"].paper_value) == (0.991, None)


def test_a_subset_may_be_every_image():
    protocol = PROTOCOLS["gamma-openai4o"]
    examples = [example("openai4o", number % 2, 0.9 * (number % 2), number) for number in range(10)]
    rows = protocol_rows(run(examples), protocol, resamples=0)
    assert {(row.source, row.value, row.paper_value) for row in rows if row.metric == "image_accuracy"} == {
        ("openai4o", 1.0, 0.794)
    }
