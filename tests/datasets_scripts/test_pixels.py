import io

import numpy as np
import pytest
from archives_layout import encoded, image_bytes, mask_bytes, write_parts, write_tree, write_zip
from PIL import Image

from forgescope.datasets_scripts.files import CorpusFiles
from forgescope.datasets_scripts.notes import Notes
from forgescope.datasets_scripts.pixels import (
    binary_mask,
    checked_image,
    fit_mask,
    is_image_name,
    read_ids,
    stored_mask,
)

IDS = np.array([[0, 1, 2], [3, 8, 255]], dtype=np.uint8)


@pytest.fixture
def notes():
    return Notes()


def one_file(tmp_path, data: bytes, name: str = "mask.png") -> CorpusFiles:
    return CorpusFiles(write_tree(tmp_path, {name: data}))


@pytest.mark.parametrize("name", ["a.png", "a.JPG", "a.b.c.JPEG", "x/a.1.0.WebP", "a.tiff"])
def test_image_names(name):
    assert is_image_name(name)


@pytest.mark.parametrize("name", ["a.txt", "png", "a.png.txt", "a", "a.json"])
def test_other_names(name):
    assert not is_image_name(name)


class TestCheckedImage:
    def test_a_plain_file_is_kept_as_a_path_and_a_member_as_its_bytes(self, tmp_path, notes):
        data = image_bytes(size=(12, 8), kind="JPEG")
        plain = one_file(tmp_path / "tree", data, "d/a.jpg")
        assert checked_image(plain, "d/a.jpg", notes) == (
            {"path": str(tmp_path / "tree/d/a.jpg"), "bytes": None},
            (12, 8),
        )
        packed = CorpusFiles(write_zip(tmp_path / "a.zip", {"d/a.jpg": data}))
        assert checked_image(packed, "d/a.jpg", notes) == ({"path": None, "bytes": data}, (12, 8))
        assert not notes.counts

    @pytest.mark.parametrize("packed", [False, True])
    @pytest.mark.parametrize(
        ("data", "kind"), [(b"", "empty file"), (b"just text", "not an image"), (b"\x89PNG\r\n\x1a\n", "not an image")]
    )
    def test_what_is_no_image_is_counted(self, tmp_path, notes, data, kind, packed):
        root = write_zip(tmp_path / "a.zip", {"a.jpg": data}) if packed else write_tree(tmp_path, {"a.jpg": data})
        assert checked_image(CorpusFiles(root), "a.jpg", notes) is None
        assert notes.counts == {kind: 1}
        assert notes.examples[kind][0].startswith("a.jpg")

    def test_a_missing_file_is_counted(self, tmp_path, notes):
        assert checked_image(one_file(tmp_path, b"x"), "other.png", notes) is None
        assert notes.counts == {"missing file": 1}

    def test_a_dangling_link_is_counted(self, tmp_path, notes):
        (tmp_path / "a.png").symlink_to(tmp_path / "gone.png")
        assert checked_image(CorpusFiles(tmp_path), "a.png", notes) is None
        assert notes.counts == {"file that cannot be read": 1}

    def test_a_damaged_member_is_counted(self, tmp_path, notes):
        path = write_zip(tmp_path / "a.zip", {"a.png": image_bytes(size=(60, 60))})
        data = bytearray(path.read_bytes())
        data[60:200] = b"\xff" * 140
        path.write_bytes(bytes(data))
        assert checked_image(CorpusFiles(tmp_path), "a.png", notes) is None
        assert notes.counts == {"file that cannot be read": 1}

    def test_an_image_that_breaks_off_is_found_by_decoding_only(self, tmp_path, notes):
        files = one_file(tmp_path, image_bytes(size=(64, 64))[:3000], "a.png")
        assert checked_image(files, "a.png", notes, "header") is not None
        assert not notes.counts
        assert checked_image(files, "a.png", notes, "decode") is None
        assert notes.counts == {"damaged image": 1}

    def test_images_from_parts(self, tmp_path, notes):
        images = {f"d/{seed}.png": image_bytes(seed, (40, 30)) for seed in range(4)}
        write_parts(tmp_path, images, 5)
        files = CorpusFiles(tmp_path)
        for name, data in images.items():
            assert checked_image(files, name, notes, "decode") == ({"path": None, "bytes": data}, (40, 30))


class TestReadIds:
    @pytest.mark.parametrize("mode", ["L", "I", "I;16", "RGB", "RGBA", "LA"])
    def test_ids_are_kept_in_every_mode(self, tmp_path, mode):
        image = Image.fromarray(IDS)
        if mode == "I;16":
            image = Image.fromarray(IDS.astype(np.uint16))
        elif mode == "I":
            image = Image.fromarray(IDS.astype(np.int32))
        elif mode != "L":
            image = image.convert(mode)
        data = encoded(image, "TIFF" if mode == "I" else "PNG")
        ids = read_ids(one_file(tmp_path, data), "mask.png")
        assert ids.dtype == np.uint8
        np.testing.assert_array_equal(ids, IDS)

    def test_palette_masks_give_indices_and_not_grey(self, tmp_path):
        values = np.array([[0, 1], [2, 3]], dtype=np.uint8)
        palette = [0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255]
        files = one_file(tmp_path, mask_bytes(values, palette))
        with Image.open(io.BytesIO(files.read("mask.png"))) as image:
            assert image.mode == "P"
        np.testing.assert_array_equal(read_ids(files, "mask.png"), values)

    def test_one_bit_masks_are_zero_and_one(self, tmp_path):
        files = one_file(tmp_path, encoded(Image.fromarray(IDS > 1)))
        np.testing.assert_array_equal(read_ids(files, "mask.png"), (IDS > 1).astype(np.uint8))

    def test_colour_masks_are_refused_with_their_colours(self, tmp_path):
        files = one_file(tmp_path, encoded(Image.new("RGB", (3, 2), (255, 0, 7))))
        with pytest.raises(ValueError, match=r"mask\.png is a colour mask \(RGB, first colours \[\[255, 0, 7\]\]\)"):
            read_ids(files, "mask.png")

    def test_values_above_a_byte_are_refused(self, tmp_path):
        files = one_file(tmp_path, encoded(Image.fromarray(np.array([[0, 300]], dtype=np.uint16))))
        with pytest.raises(ValueError, match=r"mask\.png has values 0 to 300: expected 0 to 255"):
            read_ids(files, "mask.png")

    def test_fractions_are_refused(self, tmp_path):
        image = Image.fromarray(np.full((4, 5), 0.5, dtype=np.float32))
        with pytest.raises(ValueError, match=r"mask\.tiff has pixels of mode F: expected grey or palette ids"):
            read_ids(one_file(tmp_path, encoded(image, "TIFF"), "mask.tiff"), "mask.tiff")

    @pytest.mark.parametrize("data", [b"", b"text", mask_bytes(np.zeros((50, 50)))[:60]])
    def test_broken_masks_are_os_errors(self, tmp_path, data):
        with pytest.raises(OSError, match=r"mask\.png|identify|truncated|broken"):
            read_ids(one_file(tmp_path, data), "mask.png")

    def test_a_decompression_bomb_is_an_os_error(self, tmp_path, monkeypatch):
        files = one_file(tmp_path, mask_bytes(np.zeros((50, 50))))
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
        with pytest.raises(OSError, match=r"mask\.png is damaged"):
            read_ids(files, "mask.png")


def test_binary_mask_has_a_threshold():
    np.testing.assert_array_equal(binary_mask(IDS), [[0, 1, 1], [1, 1, 1]])
    np.testing.assert_array_equal(binary_mask(IDS, above=1), [[0, 0, 1], [1, 1, 1]])
    assert binary_mask(IDS).dtype == np.uint8


def test_fit_mask_takes_nearest_pixels_and_counts(notes):
    assert fit_mask(IDS, (3, 2), "m", notes) is IDS
    assert not notes.counts
    large = fit_mask(IDS, (6, 4), "m", notes)
    np.testing.assert_array_equal(large, IDS.repeat(2, 0).repeat(2, 1))
    assert notes.examples == {"mask resized to its image": ["m: 3 x 2 to 6 x 4"]}


@pytest.mark.filterwarnings("error")
def test_stored_masks_are_exact():
    stored = stored_mask(IDS)
    assert stored["path"] is None
    with Image.open(io.BytesIO(stored["bytes"])) as image:
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image), IDS)


@pytest.mark.parametrize("shape", [(1, 1), (3, 257), (64, 64)])
def test_stored_masks_keep_all_256_values(shape):
    for mask in (np.resize(np.arange(256, dtype=np.uint8), shape), np.full(shape, 255, np.uint8)[:, ::-1]):
        with Image.open(io.BytesIO(stored_mask(mask)["bytes"])) as read:
            assert (read.format, read.mode) == ("PNG", "L")
            np.testing.assert_array_equal(np.asarray(read), mask)


@pytest.mark.parametrize("mask", [np.zeros((4, 4), bool), np.zeros((4, 4, 1), np.uint8), np.zeros((4, 4), np.uint16)])
def test_masks_of_another_form_are_not_stored(mask):
    with pytest.raises(ValueError, match=r"a mask must be \(H, W\) uint8, got \(4, 4"):
        stored_mask(mask)
