"""Confusion matrices, IoU and accuracy of class maps against scikit-learn and against loops over images."""

import numpy as np
import pytest
from sklearn import metrics as sk

from forgescope.evaluation.boundary import Tolerance, boundary_counts, boundary_f1
from forgescope.evaluation.class_confusion import PIXELS_AT_ONCE, class_confusion, row_shares
from forgescope.evaluation.class_maps import ClassRule, edited_pixels, edited_share, id_mask, measure_class_map
from forgescope.evaluation.class_metrics import ClassTable, class_iou, pixel_accuracy

CLASSES = ("authentic", "sd2", "kolors", "glide")


def maps(seed, classes=4, size=(14, 17)):
    random = np.random.default_rng(seed)
    target = random.integers(0, classes, (3, 4)).repeat(5, 0).repeat(5, 1)[: size[0], : size[1]].astype(np.uint8)
    prediction = np.where(random.random(size) < 0.3, random.integers(0, classes, size), target).astype(np.uint8)
    return prediction, target


def pairs():
    """Six images: some lack classes, one is authentic and called so, one is authentic and called edited."""
    found = [maps(seed) for seed in range(4)]
    for prediction, target in found[2:]:
        prediction[prediction == 3] = 1
        target[target == 3] = 0
    quiet = np.zeros((14, 17), np.uint8)
    loud = quiet.copy()
    loud[:2] = 2
    return [*found, (quiet, quiet), (loud, quiet)]


def table(rule):
    return ClassTable([measure_class_map(*pair, rule) for pair in pairs()], rule)


def test_confusion_equals_scikit_learn_and_adds_up():
    total = np.zeros((4, 4), np.int64)
    for prediction, target in pairs():
        confusion = class_confusion(prediction, target, 4)
        expected = sk.confusion_matrix(target.ravel(), prediction.ravel(), labels=range(4))
        np.testing.assert_array_equal(confusion, expected)
        assert confusion.dtype == np.int64
        total += confusion
    both = [np.concatenate([pair[side].ravel() for pair in pairs()]) for side in (1, 0)]
    np.testing.assert_array_equal(total, sk.confusion_matrix(*both, labels=range(4)))
    np.testing.assert_allclose(row_shares(total), sk.confusion_matrix(*both, normalize="true"))


def test_large_maps_are_counted_whole():
    prediction, target = (np.kron(map_, np.ones((25, 40), np.uint8)) for map_ in maps(3))
    assert target.size > 3 * PIXELS_AT_ONCE
    expected = sk.confusion_matrix(target.ravel(), prediction.ravel(), labels=range(4))
    np.testing.assert_array_equal(class_confusion(prediction, target, 4), expected)


def test_ignored_pixels_are_counted_nowhere():
    prediction, target = maps(0)
    target[3:6] = 255
    confusion = class_confusion(prediction, target, 4)
    assert confusion.sum() == (target != 255).sum()
    kept = target != 255
    np.testing.assert_array_equal(confusion, sk.confusion_matrix(target[kept], prediction[kept], labels=range(4)))


def test_a_class_without_a_pixel_has_no_shares():
    shares = row_shares(np.array([[4, 0], [0, 0]]))
    assert shares[0].tolist() == [1, 0]
    assert np.isnan(shares[1]).all()


def test_iou_and_accuracy_equal_scikit_learn():
    for prediction, target in pairs():
        confusion = class_confusion(prediction, target, 4)
        values = class_iou(confusion)
        for one in range(4):
            if one in prediction or one in target:
                assert values[one] == pytest.approx(sk.jaccard_score(target.ravel() == one, prediction.ravel() == one))
            else:
                assert np.isnan(values[one])
        assert pixel_accuracy(confusion) == pytest.approx(sk.accuracy_score(target.ravel(), prediction.ravel()))
        edited = target > 0
        accuracy = pixel_accuracy(confusion, edited_only=True)
        assert np.isnan(accuracy) if not edited.any() else accuracy == (prediction == target)[edited].mean()


def by_hand(authentic, metric):
    """Value of each image, as a loop over its classes."""
    values = []
    for prediction, target in pairs():
        if not target.any():
            if authentic != "skip":
                values.append(float(authentic == "one" and not prediction.any()))
            continue
        present = [one for one in range(1, 4) if one in prediction or one in target]
        if metric == "iou":
            own = [
                ((prediction == i) & (target == i)).sum() / ((prediction == i) | (target == i)).sum() for i in present
            ]
        else:
            own = boundary_f1(boundary_counts(prediction, target, 4, Tolerance(1)))[present]
        values.append(np.mean(own))
    return values


@pytest.mark.parametrize("authentic", ["skip", "zero", "one"])
@pytest.mark.parametrize("metric", ["iou", "boundary_f1"])
def test_values_of_images_equal_loops(authentic, metric):
    found = table(ClassRule(CLASSES, Tolerance(1), authentic))
    np.testing.assert_allclose(found.image_values(metric), by_hand(authentic, metric))
    assert len(found) == (4 if authentic == "skip" else 6)


@pytest.mark.parametrize(("authentic", "kept"), [("skip", 4), ("zero", 6), ("one", 6)])
def test_pooled_values_equal_those_of_one_large_image(authentic, kept):
    found = table(ClassRule(CLASSES, authentic=authentic))
    prediction, target = (np.concatenate([pair[side] for pair in pairs()[:kept]]) for side in (0, 1))
    expected = sk.jaccard_score(target.ravel(), prediction.ravel(), labels=[1, 2, 3], average=None)
    np.testing.assert_allclose(found.pooled_values("iou"), [expected.mean()])
    for one in (1, 2, 3):
        np.testing.assert_allclose(found.pooled_values("iou", one), [expected[one - 1]])
    np.testing.assert_allclose(found.pooled_values("accuracy"), [(prediction == target).mean()])
    np.testing.assert_allclose(found.pooled_values("edited_accuracy"), [(prediction == target)[target > 0].mean()])
    counts = sum(boundary_counts(*pair, 4) for pair in pairs()[:kept])
    np.testing.assert_allclose(found.pooled_values("boundary_f1"), [boundary_f1(counts)[1:].mean()])


def test_weights_repeat_images():
    rule = ClassRule(CLASSES)
    found = table(rule)
    repeated = ClassTable([measure_class_map(*pairs()[index], rule) for index in (0, 0, 2)], rule)
    weights = np.array([[2, 0, 1, 0], [0, 0, 0, 1]], dtype=float)
    for metric in ("accuracy", "edited_accuracy", "iou", "boundary_f1"):
        values = found.pooled_values(metric, weights=weights)
        assert values[0] == pytest.approx(repeated.pooled_values(metric).item())
        assert values[1] == pytest.approx(found.image_values(metric)[3])


def test_nothing_edited_at_all_follows_the_rule():
    quiet = np.zeros((5, 5), np.uint8)
    values = {}
    for authentic in ("skip", "zero", "one"):
        rule = ClassRule(CLASSES, authentic=authentic)
        empty = ClassTable([measure_class_map(quiet, quiet, rule)] * 2, rule)
        values[authentic] = empty.pooled_values("iou").item()
        assert empty.image_values("iou").tolist() == [] if authentic == "skip" else [values[authentic]] * 2
    assert np.isnan(values["skip"])
    assert (values["zero"], values["one"]) == (0, 1)


def test_binary_segmentation_makes_every_editor_one_class():
    prediction, target = maps(1)
    target[0, :3] = 255
    measures = measure_class_map(prediction, target, ClassRule(("authentic", "edited")))
    kept = target != 255
    expected = sk.confusion_matrix(target[kept] > 0, prediction[kept] > 0)
    np.testing.assert_array_equal(measures.confusion, expected)
    assert edited_pixels(np.array([[0, 1, 8, 255]], np.uint8)).tolist() == [[0, 1, 1, 255]]


def test_the_score_of_an_image_is_its_edited_share():
    class_map = np.zeros((10, 20), np.uint8)
    class_map[0, :3], class_map[1, :2] = 4, 1
    assert edited_share(class_map) == 5 / 200


class TestErrors:
    def test_ids_without_a_class(self):
        ids = np.full((4, 4), 9, np.uint8)
        with pytest.raises(
            ValueError, match=r"expected true classes 0 to 3, got \[9\]; the mask and the checkpoint must"
        ):
            class_confusion(np.zeros((4, 4), np.uint8), ids, 4)
        with pytest.raises(ValueError, match="expected predicted classes 0 to 3, got"):
            class_confusion(ids, np.zeros((4, 4), np.uint8), 4)

    def test_sizes(self):
        with pytest.raises(ValueError, match="must have the size of the mask, got .4, 4. and .4, 5.; resize it"):
            class_confusion(np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.uint8), 4)
        with pytest.raises(ValueError, match="the mask must be .height, width. = .3, 5. like its image, got .5, 3."):
            id_mask(np.zeros((5, 3), np.uint8), (5, 3))

    def test_masks_that_hold_no_ids(self):
        with pytest.raises(ValueError, match="the mask must hold ids from 0 to 255, got float64 up to 0.5"):
            id_mask(np.full((3, 5), 0.5), (5, 3))
        with pytest.raises(ValueError, match="the mask must hold ids from 0 to 255, got int64 up to 300"):
            id_mask(np.full((3, 5), 300), (5, 3))
        assert id_mask(None, (5, 3)).tolist() == [[0] * 5] * 3

    def test_rules(self):
        with pytest.raises(ValueError, match="expected the names of at least two classes, authentic first"):
            ClassRule(("authentic",))
        with pytest.raises(ValueError, match="authentic must be one of skip, zero, one, got 'two'"):
            ClassRule(CLASSES, authentic="two")
        with pytest.raises(ValueError, match="expected accuracy, edited_accuracy, iou or boundary_f1, got 'dice'"):
            table(ClassRule(CLASSES)).image_values("dice")
