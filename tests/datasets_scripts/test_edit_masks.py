import io

import numpy as np
import pytest
from archives_layout import encoded, mask_bytes
from PIL import Image

from forgescope.datasets_scripts.edit_masks import checked_ids, probe_masks, stored_ids, values_in
from forgescope.datasets_scripts.pixels import ids_of

EDITORS = ("a", "b", "c")
PALETTE = [0, 0, 0, 255, 0, 0, 0, 255, 0, 9, 9, 9]


def test_probe_reports_values_and_modes():
    probe = probe_masks(
        [("1", mask_bytes([[0, 1]])), ("2", mask_bytes([[0, 3]], PALETTE)), ("3", b"text"), ("4", b"")], EDITORS
    )
    assert (dict(probe.values), dict(probe.modes), probe.unreadable) == ({0: 2, 1: 1, 3: 1}, {"L": 1, "P": 1}, 2)
    assert not probe.is_binary
    assert probe.masks == 2


def test_masks_of_0_and_255_are_binary_unless_others_are_there():
    assert probe_masks([("1", mask_bytes([[0, 255]])), ("2", mask_bytes([[0, 0]]))], EDITORS).is_binary
    assert not probe_masks([("2", mask_bytes([[0, 0]]))], EDITORS).is_binary
    assert not probe_masks([], EDITORS).is_binary
    with pytest.raises(ValueError, match="2 probed masks: values 0, 1, 255 where the map has ids 1 to 3 .a, b, c."):
        probe_masks([("1", mask_bytes([[0, 255]])), ("2", mask_bytes([[0, 1]]))], EDITORS)


def test_values_outside_the_map_and_colours_are_errors():
    with pytest.raises(ValueError, match="1 probed masks: values 0, 4 where .* give id2editor the names"):
        probe_masks([("1", mask_bytes([[0, 4]]))], EDITORS)
    colour = Image.fromarray(np.array([[[220, 20, 60], [0, 0, 0]]], np.uint8))
    with pytest.raises(
        ValueError, match=r"one\.png is a colour mask .RGB, first colours \[\[0, 0, 0\], \[220, 20, 60"
    ):
        probe_masks([("one.png", encoded(colour))], EDITORS)
    with pytest.raises(ValueError, match=r"values 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, \.\.\. where"):
        probe_masks([("1", mask_bytes([range(4, 40)]))], EDITORS)


def test_checked_ids():
    ids = np.array([[0, 1, 3]], np.uint8)
    assert checked_ids(ids, False, EDITORS, "m") is ids
    assert checked_ids(np.array([[0, 255]], np.uint8), True, EDITORS, "m").tolist() == [[0, 1]]
    with pytest.raises(ValueError, match=r'm: values 0, 255 where .*set mask_values="binary"'):
        checked_ids(np.array([[0, 255]], np.uint8), False, EDITORS, "m")
    with pytest.raises(ValueError, match=r'm: values 0, 1, 3, but the masks count as binary.*set mask_values="ids"'):
        checked_ids(ids, True, EDITORS, "m")


def test_a_grey_png_is_stored_as_it_is_and_everything_else_is_written_anew():
    values = np.array([[0, 1, 3], [3, 0, 1]], np.uint8)
    assert values_in(values) == [0, 1, 3]
    grey = mask_bytes(values)
    pixels = ids_of(grey, "m")
    assert stored_ids(pixels, grey, pixels)["bytes"] is grey
    bits = encoded(Image.fromarray(values > 1))
    for data in (mask_bytes(values, PALETTE), encoded(Image.fromarray(values), "BMP"), bits):
        pixels = ids_of(data, "m")
        stored = stored_ids(pixels, data, pixels)["bytes"]
        assert stored != data
        with Image.open(io.BytesIO(stored)) as image:
            assert image.mode == "L"
            assert (np.asarray(image) == pixels).all()
    other = 1 - (values > 0).astype(np.uint8)
    assert (ids_of(stored_ids(other, grey, ids_of(grey, "m"))["bytes"], "m") == other).all()
