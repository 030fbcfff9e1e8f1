import cv2
import numpy as np
import pytest

from forgescope.construction.filling import FILL_METHODS, fill_region, regenerate_frame


@pytest.fixture
def hole() -> np.ndarray:
    mask = np.zeros((240, 320), np.uint8)
    cv2.circle(mask, (150, 120), 25, 1, -1)
    return mask


@pytest.mark.parametrize("method", FILL_METHODS)
def test_only_the_hole_changes(photo, hole, method):
    image = np.asarray(photo)
    filled = fill_region(image, hole, method, 3, np.random.default_rng(0))
    assert (filled[hole == 0] == image[hole == 0]).all()
    assert (filled[hole == 1] != image[hole == 1]).any(-1).mean() > 0.9


@pytest.mark.parametrize("method", FILL_METHODS)
def test_a_ramp_is_continued(hole, method):
    ramp = np.repeat(np.linspace(20, 230, 320)[None, :, None], 240, 0).repeat(3, 2).round().astype(np.uint8)
    spoiled = np.where(hole[..., None] == 1, 0, ramp).astype(np.uint8)
    filled = fill_region(spoiled, hole, method, 3, np.random.default_rng(0))
    assert np.abs(filled.astype(int) - ramp)[hole == 1].mean() < 8


@pytest.mark.parametrize(("method", "flag"), [("telea", cv2.INPAINT_TELEA), ("navier_stokes", cv2.INPAINT_NS)])
def test_opencv_methods_equal_opencv_on_the_whole_image(photo, hole, method, flag):
    image = np.asarray(photo)
    expected = cv2.inpaint(image, hole, 3, flag)
    assert (fill_region(image, hole, method, 3, np.random.default_rng(0)) == expected).all()


def test_exemplar_keeps_the_grain_that_opencv_smooths_away(photo, hole):
    image = np.asarray(photo)
    grain = {
        method: cv2.Laplacian(
            cv2.cvtColor(fill_region(image, hole, method, 3, np.random.default_rng(0)), cv2.COLOR_RGB2GRAY), cv2.CV_64F
        )[hole == 1].std()
        for method in ("telea", "exemplar")
    }
    assert grain["exemplar"] > 2 * grain["telea"]


def test_regenerated_frame_changes_every_part(photo):
    image = np.asarray(photo)
    frame = regenerate_frame(image, 0.7, 0.4)
    assert frame.shape == image.shape
    assert (frame != image).any(-1).mean() > 0.9


def test_unknown_method_is_refused(photo, hole):
    with pytest.raises(ValueError, match="unknown fill method 'magic'"):
        fill_region(np.asarray(photo), hole, "magic", 3, np.random.default_rng(0))
