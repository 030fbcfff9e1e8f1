"""Each preset against a slow twin of the toolkit's own arithmetic, written from its description."""

import dataclasses

import numpy as np
import pytest
from scipy.ndimage import maximum_filter, minimum_filter
from sklearn.metrics import f1_score, roc_auc_score

from forgescope.evaluation.evaluator import Evaluator, Example
from forgescope.evaluation.rows import result_rows
from forgescope.evaluation.rules import PRESETS, preset

SIZE = (48, 56)
IMAGES = 9


def make_case(seed=0):
    """Probabilities on a grid of 1/64, masks with blocks; two authentic images, one of them called perfectly."""
    random = np.random.default_rng(seed)
    maps, masks = [], []
    for index in range(IMAGES):
        mask = np.zeros(SIZE, dtype=np.uint8)
        if index not in (2, 5):
            top, left = random.integers(0, 20, 2)
            mask[top : top + 26, left : left + 30] = 1
        values = np.clip(0.35 * random.random(SIZE) + 0.45 * mask * random.random(), 0, 0.98)
        if index == 5:
            values = values * 0
        if index == 7:
            values = 1 - values
        maps.append((np.round(values * 64) / 64).astype(np.float32))
        masks.append(mask)
    return maps, masks


@pytest.fixture(scope="module")
def case():
    return make_case()


def evaluate(name, maps, masks, **changes):
    from PIL import Image

    blank = Image.new("RGB", SIZE[::-1])
    rules = tuple(dataclasses.replace(rule, **changes) for rule in preset(name))
    queue = iter(maps)
    evaluator = Evaluator(lambda images: [next(queue) for _ in images], rules, batch_size=4)
    rows = result_rows(evaluator.run(Example(blank, mask) for mask in masks), name, resamples=0)
    return [(row.metric, row.threshold, row.reduction, row.value, row.n) for row in rows if "pixel" in row.metric]


def counts_of(called, truth):
    return (
        float((called * truth).sum()),
        float((called * (1 - truth)).sum()),
        float(((1 - called) * truth).sum()),
        float(((1 - called) * (1 - truth)).sum()),
    )


def benco_f1(tp, fp, fn):
    precision, recall = tp / (tp + fp + 1e-8), tp / (tp + fn + 1e-8)
    return 2 * precision * recall / (precision + recall + 1e-8)


@pytest.mark.parametrize(("polarity", "mode"), [("normal", "origin"), ("inverted", "reverse"), ("permute", "double")])
def test_imdlbenco(case, polarity, mode):
    maps, masks = case
    f1, iou, auc = [], [], []
    for values, truth in zip(maps, masks, strict=True):
        tp, fp, fn, tn = counts_of((values > 0.5).astype(float), truth)
        both = [(tp, fp, fn), (fn, tn, tp)]
        ranks = roc_auc_score(truth.ravel(), values.ravel()) if truth.any() else None
        areas = [0.0, 0.0] if ranks is None else [ranks, 1 - ranks]
        pick = {"origin": lambda pair: pair[0], "reverse": lambda pair: pair[1], "double": max}[mode]
        f1.append(pick([benco_f1(*each) for each in both]))
        iou.append(pick([each[0] / (sum(each) + 1e-8) for each in both]))
        auc.append(pick(areas))
    rows = evaluate("imdlbenco", maps, masks, polarity=polarity)
    assert rows[0] == ("pixel_f1", 0.5, "image", pytest.approx(np.mean(f1), abs=1e-12), IMAGES)
    assert rows[1] == ("pixel_iou", 0.5, "image", pytest.approx(np.mean(iou), abs=1e-12), IMAGES)
    # Ties are counted one half here; the toolkit breaks them by the order of a sort, which is an error.
    assert rows[2] == ("pixel_auc", None, "image", pytest.approx(np.mean(auc), abs=1e-12), IMAGES)


def test_imdlbenco_counts_a_perfect_authentic_image_as_zero():
    blank = np.zeros(SIZE, dtype=np.uint8)
    for polarity in ("normal", "permute"):
        rows = evaluate("imdlbenco", [blank.astype(np.float32)], [blank], polarity=polarity)
        assert [row[3] for row in rows] == [0, 0, 0]


def test_trufor(case):
    maps, masks = case
    best, fixed = [], []
    for values, truth in zip(maps, masks, strict=True):
        if not truth.any():
            continue
        inside, outside = minimum_filter(truth, 15) == 1, maximum_filter(truth, 11) == 0
        f1_of = lambda called, inside=inside, outside=outside: max(  # noqa: E731
            2 * tp / max(2 * tp + fp + fn, 1e-32)
            for tp, fp, fn in (
                ((called & inside).sum(), (called & outside).sum(), (~called & inside).sum()),
                ((~called & inside).sum(), (~called & outside).sum(), (called & inside).sum()),
            )
        )
        best.append(max(f1_of(values > level) for level in np.unique(values[inside | outside])))
        fixed.append(f1_of(values > 0.5))
    rows = evaluate("trufor", maps, masks)
    assert rows[0] == ("pixel_f1", "best", "image", pytest.approx(np.mean(best), abs=1e-12), len(best))
    assert rows[1] == ("pixel_f1", 0.5, "image", pytest.approx(np.mean(fixed), abs=1e-12), len(fixed))


def test_photoholmes(case):
    maps, masks = case
    called = np.concatenate([(values > 0.5).ravel() for values in maps])
    truth = np.concatenate([mask.ravel() for mask in masks])
    scores = np.concatenate([values.ravel() for values in maps])
    soft = [counts_of(values.astype(float), mask) for values, mask in zip(maps, masks, strict=True)]
    total = np.sum(soft, axis=0)
    v1 = [2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0 for tp, fp, fn, _ in soft]
    mean_auc = [
        roc_auc_score(mask.ravel(), values.ravel()) if mask.any() else 0
        for values, mask in zip(maps, masks, strict=True)
    ]
    found = {row[:3]: row[3] for row in evaluate("photoholmes", maps, masks)}
    assert found["pixel_f1", 0.5, "pooled"] == pytest.approx(f1_score(truth, called), abs=1e-12)
    assert found["pixel_auc", None, "pooled"] == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    assert found["pixel_f1", "soft", "pooled"] == pytest.approx(
        2 * total[0] / (2 * total[0] + total[1] + total[2]), abs=1e-9
    )
    assert found["pixel_f1", "soft", "image"] == pytest.approx(np.mean(v1), abs=1e-9)
    assert found["pixel_auc", None, "image"] == pytest.approx(np.mean(mean_auc), abs=1e-12)


def test_focal(case):
    maps, masks = case
    macro, iou = [], []
    for values, truth in zip(maps, masks, strict=True):
        called = values > 0.5
        macro.append(f1_score(truth.ravel(), called.ravel(), average="macro"))
        union = (called | (truth == 1)).sum()
        iou.append((called & (truth == 1)).sum() / (union + 1e-6) if union else 1.0)
    rows = evaluate("focal", maps, masks)
    assert rows[0][:4] == ("pixel_f1", 0.5, "image", pytest.approx(np.mean(macro), abs=1e-12))
    assert rows[1][:4] == ("pixel_iou", 0.5, "image", pytest.approx(np.mean(iou), abs=1e-12))


def test_mvss(case):
    maps, masks = case
    values = []
    for scores, truth in zip(maps, masks, strict=True):
        tp, fp, fn, _ = counts_of((scores > 0.5).astype(float), truth)
        if tp + fp + fn == 0:
            values.append((1.0, 0.0, 0.0))
        else:
            values.append((2 * tp / (2 * tp + fp + fn + 1e-6), tp / (tp + fp + 1e-6), tp / (tp + fn + 1e-6)))
    rows = evaluate("mvss", maps, masks)
    assert [row[0] for row in rows] == ["pixel_f1", "pixel_precision", "pixel_recall"]
    assert [row[3] for row in rows] == pytest.approx(np.mean(values, axis=0).tolist(), abs=1e-12)


def test_lisa(case):
    maps, masks = case
    counts = [
        counts_of((values > 0.5).astype(float), mask)[:3]
        for values, mask in zip(maps, masks, strict=True)
        if mask.any()
    ]
    generalised = np.mean([tp / (tp + fp + fn + 1e-5) for tp, fp, fn in counts])
    tp, fp, fn = np.sum(counts, axis=0)
    rows = evaluate("lisa", maps, masks)
    assert rows[0][2:4] == ("image", pytest.approx(generalised, abs=1e-12))
    assert rows[1][2:4] == ("pooled", pytest.approx(tp / (tp + fp + fn), abs=1e-12))


def test_iclnet_pools_the_counts_of_forged_images(case):
    maps, masks = case
    counts = [counts_of((v > 0.5).astype(float), m)[:3] for v, m in zip(maps, masks, strict=True) if m.any()]
    tp, fp, fn = np.sum(counts, axis=0)
    found = {row[0]: row[3] for row in evaluate("iclnet", maps, masks)}
    assert found["pixel_f1"] == pytest.approx(2 * tp / (2 * tp + fp + fn), abs=1e-12)
    assert found["pixel_iou"] == pytest.approx(found["pixel_f1"] / (2 - found["pixel_f1"]), abs=1e-12)


def test_an_unknown_preset_is_named():
    with pytest.raises(ValueError, match="preset must be one of iclnet, imdlbenco, trufor, photoholmes, focal"):
        preset("benco")
    assert set(PRESETS) == {"iclnet", "imdlbenco", "trufor", "photoholmes", "focal", "mvss", "lisa"}
