import numpy as np
import pytest

from forgescope.evaluation.counts import confusion_counts


def slow_counts(prediction: np.ndarray, target: np.ndarray, ignore_index: int = 255) -> list[int]:
    counts = [0, 0, 0, 0]
    for row in range(target.shape[0]):
        for column in range(target.shape[1]):
            wanted, called = int(target[row, column]), int(prediction[row, column])
            if wanted != ignore_index:
                counts[{(1, 1): 0, (1, 0): 1, (0, 1): 2, (0, 0): 3}[called, wanted]] += 1
    return counts


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.int8])
def test_equals_a_pixel_loop(dtype):
    random = np.random.default_rng(0)
    prediction, target = random.random((3, 17, 23)) > 0.6, random.random((3, 17, 23)) > 0.7
    counts = confusion_counts(prediction.astype(dtype), target.astype(dtype))
    assert counts.dtype == np.int64
    assert counts.tolist() == [slow_counts(*pair) for pair in zip(prediction, target, strict=True)]
    assert confusion_counts(prediction, target, validate=False).tolist() == counts.tolist()


def test_ignored_pixels_count_nowhere():
    random = np.random.default_rng(1)
    prediction = random.random((4, 9, 9)) > 0.5
    target = random.choice(np.array([0, 1, 255], dtype=np.uint8), (4, 9, 9))
    target[3] = 255
    counts = confusion_counts(prediction, target)
    assert counts.tolist() == [slow_counts(*pair) for pair in zip(prediction, target, strict=True)]
    assert counts[3].tolist() == [0, 0, 0, 0]
    assert counts[:3].sum(axis=1).tolist() == (target[:3] != 255).sum(axis=(1, 2)).tolist()


def test_one_mask_views_and_empty_batches():
    mask = np.eye(6, dtype=np.uint8)
    assert confusion_counts(mask, mask).tolist() == [[6, 0, 0, 30]]
    assert confusion_counts(mask[::2, ::-2], mask[::2, ::-2]).sum() == 9
    assert confusion_counts(np.zeros((0, 4, 4), bool), np.zeros((0, 4, 4), bool)).shape == (0, 4)
    assert confusion_counts(np.zeros((1, 0, 4), bool), np.zeros((1, 0, 4), bool)).tolist() == [[0, 0, 0, 0]]


def test_whole_image_of_ones_does_not_overflow():
    ones = np.ones((2048, 2049), dtype=np.uint8)
    assert confusion_counts(ones, ones).tolist() == [[2048 * 2049, 0, 0, 0]]


@pytest.mark.parametrize(
    ("prediction", "target", "message"),
    [
        (np.zeros((4, 4), bool), np.zeros((4, 5), bool), r"one shape, got \(1, 4, 4\) and \(1, 4, 5\)"),
        (np.zeros(4, bool), np.zeros(4, bool), r"must be \(H, W\) or \(N, H, W\), got 1 axes"),
        (
            np.zeros((4, 4)),
            np.zeros((4, 4), bool),
            "prediction must be bool or integer, got float64; apply a threshold",
        ),
        (
            np.zeros((4, 4), bool),
            np.full((4, 4), 7, np.uint8),
            r"target must hold 0, 1 and 255 \(ignored\), got \[7\]",
        ),
        (np.full((4, 4), 255, np.uint8), np.zeros((4, 4), bool), r"prediction must hold 0 and 1, got \[255\]"),
        (np.full((4, 4), -1), np.zeros((4, 4), bool), "got values -1 to -1"),
    ],
)
def test_other_input_is_refused(prediction, target, message):
    with pytest.raises(ValueError, match=message):
        confusion_counts(prediction, target)


def test_ignored_pixels_are_refused_when_there_may_be_none():
    with pytest.raises(ValueError, match=r"target must hold 0 and 1, got \[255\]; for 0/255 masks pass `mask > 127`"):
        confusion_counts(np.zeros((4, 4), bool), np.full((4, 4), 255, np.uint8), ignore_index=None)
