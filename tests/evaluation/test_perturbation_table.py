import io
import zlib

import numpy as np
import pytest
from PIL import Image

from forgescope.evaluation import protocols_iclnet as protocols
from forgescope.evaluation.perturbations import NONE, TABLE2, Perturbation, parse_perturbations


@pytest.fixture
def photo():
    values = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    return Image.fromarray(values), (np.arange(60 * 80).reshape(60, 80) % 2).astype(np.uint8)


def test_jpeg_is_one_compression_of_the_stated_quality(photo):
    image, mask = photo
    perturbed, kept = Perturbation(jpeg_quality=70).apply(image, mask)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=70, subsampling="4:2:0")
    assert np.array_equal(np.asarray(perturbed), np.asarray(Image.open(stream)))
    assert kept is mask


@pytest.mark.parametrize(("percent", "size"), [(10, (72, 54)), (20, (64, 48)), (40, (48, 36))])
def test_a_crop_cuts_image_and_mask_at_the_same_place(photo, percent, size):
    image, _ = photo
    mask = np.asarray(image)[:, :, 0].copy()
    perturbed, kept = Perturbation(crop_percent=percent).apply(image, mask, seed=3, name="a.png")
    assert perturbed.size == size
    assert np.array_equal(np.asarray(perturbed)[:, :, 0], kept)


def test_the_place_of_a_crop_depends_on_seed_and_name_alone(photo):
    image, mask = photo
    crop = Perturbation(crop_percent=30)
    first = np.asarray(crop.apply(image, mask, seed=1, name="a.png")[0])
    assert np.array_equal(first, np.asarray(crop.apply(image, None, seed=1, name="a.png")[0]))
    assert not np.array_equal(first, np.asarray(crop.apply(image, mask, seed=2, name="a.png")[0]))
    assert not np.array_equal(first, np.asarray(crop.apply(image, mask, seed=1, name="b.png")[0]))


@pytest.mark.parametrize(("edge", "size"), [(30, (40, 30)), (120, (160, 120)), (60, (80, 60))])
def test_resizing_gives_the_shorter_edge_its_length_and_keeps_mask_values(photo, edge, size):
    image, _ = photo
    mask = np.where(np.arange(80) < 40, 0, 7)[None].repeat(60, 0).astype(np.uint8)
    resized, kept = Perturbation(shorter_edge=edge).apply(image, mask)
    assert resized.tobytes() == image.resize(size, Image.Resampling.BILINEAR).tobytes()
    assert kept.shape == size[::-1]
    assert (kept == np.where(np.arange(size[0]) < size[0] // 2, 0, 7)).all()
    small, cut = Perturbation(50, 50, edge).apply(image, mask)
    assert small.size == cut.shape[::-1] == (size[0] // 2, size[1] // 2)


def test_none_changes_nothing_and_one_pixel_survives_a_crop(photo):
    image, mask = photo
    assert NONE.apply(image, mask) == (image, mask)
    dot, cut = Perturbation(crop_percent=40).apply(Image.new("RGB", (1, 1)), np.ones((1, 1), np.uint8))
    assert dot.size == (1, 1)
    assert cut.shape == (1, 1)


# half of the small kernels that OpenCV keeps in tables, in 256ths
SMALL_KERNELS = {5: (16, 64, 96), 9: (4, 13, 30, 51, 60)}


@pytest.mark.parametrize("kernel", [5, 9, 15])
def test_blur_is_that_of_a_gaussian_made_from_its_kernel(photo, kernel):
    image, mask = photo
    blurred, kept = Perturbation(blur_kernel=kernel).apply(image, mask)
    assert kept is mask
    sigma = 0.3 * ((kernel - 1) / 2 - 1) + 0.8
    weights = np.exp(-((np.arange(kernel) - kernel // 2) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    if kernel in SMALL_KERNELS:
        half = np.array(SMALL_KERNELS[kernel]) / 256
        assert np.concatenate([half, half[-2::-1]]) == pytest.approx(weights, abs=0.012)
        weights = np.concatenate([half, half[-2::-1]])
    values = np.asarray(image).astype(float)
    padded = np.pad(values, [(kernel // 2, kernel // 2)] * 2 + [(0, 0)], mode="reflect")
    slow = sum(
        weights[row] * weights[column] * padded[row : row + 60, column : column + 80]
        for row in range(kernel)
        for column in range(kernel)
    )
    assert np.abs(np.asarray(blurred) - slow).max() < 1.5  # OpenCV weighs in 256ths


@pytest.mark.parametrize("std", [0.1, 0.2, 0.3])
def test_noise_has_its_standard_deviation_and_depends_on_seed_and_name_alone(photo, std):
    grey = Image.new("RGB", (200, 150), (128, 128, 128))
    noise = Perturbation(noise_std=std)
    noisy = np.asarray(noise.apply(grey, None, seed=1, name="a")[0]) / 255
    inside = np.clip(np.random.default_rng(0).normal(128 / 255, std, 100_000), 0, 1)
    assert noisy.std() == pytest.approx(inside.std(), rel=0.02)
    assert noisy.mean() == pytest.approx(128 / 255, abs=0.005)
    assert np.abs(noisy[..., 0] - noisy[..., 1]).mean() > std / 2
    for changed, equal in (((1, "a"), True), ((2, "a"), False), ((1, "b"), False)):
        again = np.asarray(noise.apply(grey, None, seed=changed[0], name=changed[1])[0]) / 255
        assert np.array_equal(noisy, again) == equal


def test_a_crop_stays_where_it_was_before_there_was_noise(photo):
    """Places of crops are those of earlier versions."""
    image, mask = photo
    cut, _ = Perturbation(crop_percent=30).apply(image, mask, seed=1, name="a.png")
    random = np.random.default_rng([1, zlib.crc32(b"a.png")])
    left, top = int(random.integers(80 - 56 + 1)), int(random.integers(60 - 42 + 1))
    assert cut.tobytes() == image.crop((left, top, left + 56, top + 42)).tobytes()


def test_table2_has_the_rows_of_the_paper():
    assert [one.name for one in TABLE2] == list(protocols.TABLE2)
    assert parse_perturbations("table2") == TABLE2


def test_names_are_read_back():
    text = "none,jpeg:80,crop:20,resize:256,noise:0.1,blur:5,jpeg:80+noise:0.25+blur:15+resize:64+crop:20"
    assert ",".join(one.name for one in parse_perturbations(text)) == text


@pytest.mark.parametrize(
    "text", ["", "blur", "blur:2.5", "noise:", "jpeg:x", "jpeg:80.5", "resize:9.5", "crop:", "table3", "jpeg:80+hue:1"]
)
def test_other_names_are_refused(text):
    with pytest.raises(ValueError, match="expected table2, none, jpeg:80, crop:20"):
        parse_perturbations(text)


OUT_OF_RANGE = [
    {"jpeg_quality": 0},
    {"crop_percent": 100},
    {"shorter_edge": 0},
    {"noise_std": 1.5},
    {"noise_std": -0.1},
    {"blur_kernel": 4},
    {"blur_kernel": -1},
]


@pytest.mark.parametrize("values", OUT_OF_RANGE)
def test_values_out_of_range_are_refused(values):
    expected = "must (be 1 to 100|remove at least 0|leave at least 1|have a standard deviation|have an odd kernel)"
    with pytest.raises(ValueError, match=expected):
        Perturbation(**values)


def test_the_averages_of_the_paper_are_means_over_its_subsets():
    wrong = [
        (metric, method)
        for metric, methods in protocols.TABLE1.items()
        for method, values in methods.items()
        if abs(sum(values[:4]) / 4 - values[4]) > 0.0061
    ]
    assert wrong == [("f1", "TruFor")]
    for setting in ("in", "out"):
        rows = [protocols.TABLE3[subset][setting] for subset in protocols.SUBSETS]
        assert np.mean(rows, axis=0) == pytest.approx(protocols.TABLE3[protocols.AVERAGE][setting], abs=0.0101)


def test_the_tables_agree_but_for_the_recall_on_bagel():
    differing = []
    for column, subset in enumerate((*protocols.SUBSETS, protocols.AVERAGE)):
        for index, metric in enumerate(protocols.METRICS):
            first = protocols.TABLE1[metric][protocols.METHOD][column]
            if first != protocols.TABLE3[subset]["in"][index]:
                differing.append((subset, metric, first, protocols.TABLE3[subset]["in"][index]))
    assert differing == [("bagel", "recall", 69.30, 67.30), ("average", "recall", 74.63, 74.13)]
    assert protocols.TABLE2["none"] == protocols.TABLE4["nothing"] == protocols.TABLE3["average"]["in"]


def test_paper_values_are_fractions_of_one_where_the_paper_has_them():
    assert protocols.paper_value("Kontext", "pixel_f1") == 0.8426
    assert protocols.paper_value("bagel", "recall") == 0.673
    assert protocols.paper_value("average", "iou", "jpeg:80+crop:20") == 0.6156
    assert protocols.paper_value("kontext", "iou", "jpeg:80") is None
    assert protocols.paper_value("coco", "f1") is None
    assert protocols.paper_value("kontext", "image_auc") is None
