import os
import subprocess
import sys

import evaluate
import numpy as np
import pytest
from sklearn import metrics as sk

from forgescope.evaluation.boundary import Tolerance, boundary_counts, boundary_f1
from forgescope.evaluation.metrics import METRIC_MODULES, metric_path


@pytest.fixture
def load(tmp_path):
    """Load a module into caches of its own."""
    return lambda name, **kwargs: evaluate.load(metric_path(name), cache_dir=str(tmp_path), **kwargs)


@pytest.fixture
def maps():
    """Probability maps and masks of three sizes; the last image is authentic."""
    random = np.random.default_rng(0)
    masks = [(random.random(size) > 0.7).astype(np.uint8) for size in ((9, 12), (20, 5))] + [
        np.zeros((7, 7), np.uint8)
    ]
    return [np.clip(random.random(mask.shape) * 0.8 + 0.2 * mask, 0, 1) for mask in masks], masks


PIXEL_FUNCTIONS = {
    "pixel_f1": sk.f1_score,
    "pixel_iou": sk.jaccard_score,
    "pixel_precision": sk.precision_score,
    "pixel_recall": sk.recall_score,
    "pixel_accuracy": sk.accuracy_score,
    "pixel_mcc": sk.matthews_corrcoef,
}


@pytest.mark.parametrize("name", PIXEL_FUNCTIONS)
def test_pixel_modules_equal_scikit_learn(load, maps, name):
    probabilities, masks = maps
    metric = load(name)
    expected = [
        PIXEL_FUNCTIONS[name](mask.ravel(), values.ravel() > 0.5)
        for values, mask in zip(probabilities[:2], masks[:2], strict=True)
    ]
    assert metric.compute(predictions=probabilities, references=masks) == {name: pytest.approx(np.mean(expected))}
    # One at a time, as masks, with another rule.
    for values, mask in zip(probabilities, masks, strict=True):
        metric.add(prediction=values > 0.5, reference=mask)
    pooled = PIXEL_FUNCTIONS[name](
        np.concatenate([mask.ravel() for mask in masks]), np.concatenate([v.ravel() > 0.5 for v in probabilities])
    )
    assert metric.compute(reduction="pooled", authentic="zero") == {name: pytest.approx(pooled)}


def test_threshold_belongs_to_the_module(load, maps):
    probabilities, masks = maps
    value = load("pixel_f1", threshold=0.3).compute(predictions=probabilities, references=masks, reduction="pooled")
    flat = np.concatenate([values.ravel() for values in probabilities[:2]])
    truth = np.concatenate([mask.ravel() for mask in masks[:2]])
    assert value == {"pixel_f1": pytest.approx(sk.f1_score(truth, flat > 0.3))}


def test_pixel_auc_module(load, maps):
    probabilities, masks = maps
    metric = load("pixel_auc")
    areas = [sk.roc_auc_score(m.ravel(), v.ravel()) for v, m in zip(probabilities[:2], masks[:2], strict=True)]
    assert metric.compute(predictions=probabilities, references=masks)["pixel_auc"] == pytest.approx(
        np.mean(areas), abs=1e-3
    )
    with_zero = metric.compute(predictions=probabilities, references=masks, authentic="zero")["pixel_auc"]
    assert with_zero == pytest.approx(sum(areas) / 3, abs=1e-3)


def test_image_modules_equal_scikit_learn(load):
    scores, labels = [0.1, 0.4, 0.4, 0.8, 0.6, 0.7], [0, 0, 1, 1, 1, 0]
    called = np.array(scores) >= 0.5
    expected = {
        "image_auc": sk.roc_auc_score(labels, scores),
        "image_average_precision": sk.average_precision_score(labels, scores),
        "image_accuracy": sk.accuracy_score(labels, called),
        "image_f1": sk.f1_score(labels, called),
    }
    for name, value in expected.items():
        assert load(name).compute(predictions=scores, references=labels) == {name: pytest.approx(value)}


def test_boundary_module_equals_the_counts_image_by_image(load):
    random = np.random.default_rng(0)
    masks = [random.integers(0, 3, (4, 5)).repeat(6, 0).repeat(6, 1) for _ in range(3)] + [np.zeros((9, 9), int)]
    called = [np.roll(mask, 1, axis=1) for mask in masks]
    metric = load("pixel_boundary_f1", num_classes=3, tolerance="1px")
    counts = [
        boundary_counts(one.astype(np.uint8), mask.astype(np.uint8), 3, Tolerance(1))
        for one, mask in zip(called, masks, strict=True)
    ]
    own = [np.nanmean(boundary_f1(one)[1:]) for one in counts[:3]]
    assert metric.compute(predictions=called, references=masks) == {"pixel_boundary_f1": pytest.approx(np.mean(own))}
    for one, mask in zip(called, masks, strict=True):
        metric.add(prediction=one, reference=mask)
    pooled = np.nanmean(boundary_f1(sum(counts))[1:])
    assert metric.compute(reduction="pooled")["pixel_boundary_f1"] == pytest.approx(pooled)
    for authentic, value in (("zero", 0), ("one", 1)):
        found = metric.compute(predictions=called, references=masks, authentic=authentic)
        assert found["pixel_boundary_f1"] == pytest.approx((sum(own) + value) / 4)
    with pytest.raises(ValueError, match="reduction must be image or pooled, got 'batch'"):
        metric.compute(predictions=called, references=masks, reduction="batch")
    with pytest.raises(ValueError, match="expected true classes 0 to 1, got"):
        load("pixel_boundary_f1").add(prediction=masks[0] > 0, reference=masks[0])


def test_wrong_input_is_refused(load, maps):
    probabilities, masks = maps
    metric = load("pixel_f1")
    with pytest.raises(ValueError, match="expected as many predictions as references, got 3 and 2"):
        metric.add_batch(predictions=probabilities, references=masks[:2])
    with pytest.raises(ValueError, match="must have one shape"):
        metric.add(prediction=probabilities[0], reference=masks[1])
    with pytest.raises(ValueError, match="expected one of pixel_f1, pixel_iou"):
        metric_path("pixel_dice")


def test_every_module_loads_in_a_fresh_process_without_a_network(tmp_path):
    code = "import evaluate, sys\nfor path in sys.argv[1:]:\n    print(evaluate.load(path).name)\n"
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path),
        "HF_MODULES_CACHE": str(tmp_path / "m"),
    }
    paths = [metric_path(name) for name in METRIC_MODULES]
    done = subprocess.run(
        [sys.executable, "-c", code, *paths], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == list(METRIC_MODULES)
