"""Every kind of file a user may give: what it becomes, what is said of it, or the one sentence it is refused with."""

import os
import re

import numpy as np
import pytest
from PIL import Image, ImageFile

from forgescope.reading import DEFAULT_MAX_PIXELS, ImageReadError, as_read_image, read_image

RED, BLUE = (255, 0, 0), (0, 0, 255)


@pytest.fixture
def photo():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))


def sixteen_bit_png(path, values):
    Image.fromarray(values.astype(np.uint16)).save(path)
    return path


def test_a_plain_photograph_comes_unchanged_and_without_notes(photo, tmp_path):
    photo.save(tmp_path / "a.png")
    read = read_image(tmp_path / "a.png")
    assert read.notes == ()
    assert read.image.mode == "RGB"
    np.testing.assert_array_equal(read.image, photo)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.jpg", None, "no such file"),
        ("empty.jpg", b"", r"the file is empty \(0 bytes\)"),
        ("text.jpg", b"hello, this is no image\n", r"not an image: the content is of no known format \(JPEG, PNG"),
        ("photo.heic", b"\0\0\0\x18ftypheic" + bytes(50), "HEIC images cannot be read: convert it to JPEG or PNG"),
        ("cut.avif", b"\0\0\0\x18ftypavif" + bytes(50), "the AVIF image is truncated or damaged"),
        ("script.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image: the content is of no"),
    ],
)
def test_what_is_no_image_is_refused_in_one_sentence(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageReadError, match=f"^{re.escape(str(path))}: {message}") as error:
        read_image(path)
    assert "\n" not in str(error.value)


def test_folders_links_and_pipes_are_refused(tmp_path):
    with pytest.raises(ImageReadError, match="expected an image file, got a folder$"):
        read_image(tmp_path)
    (tmp_path / "link.jpg").symlink_to(tmp_path / "nowhere.jpg")
    with pytest.raises(ImageReadError, match=r"no such file \(a broken link\)$"):
        read_image(tmp_path / "link.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageReadError, match="got a device, pipe or socket$"):
        read_image(tmp_path / "pipe.jpg")
    with pytest.raises(ImageReadError, match="File name too long"):
        read_image(tmp_path / ("a" * 300))


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "webp", "tif", "bmp", "jp2", "ppm"])
@pytest.mark.parametrize("share", [0.5, 0.97])
def test_a_truncated_file_is_called_truncated(photo, tmp_path, suffix, share):
    path = tmp_path / f"cut.{suffix}"
    photo.save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ImageReadError, match="cut.*: the image is truncated: the file ends before its data do$"):
        read_image(path)


def test_a_lenient_pillow_setting_does_not_fill_truncated_files(photo, tmp_path, monkeypatch):
    photo.save(tmp_path / "cut.jpg")
    content = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(content[: len(content) // 2])
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(ImageReadError, match="truncated"):
        read_image(tmp_path / "cut.jpg")
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_a_png_named_jpg_is_read_by_its_content(photo, tmp_path):
    photo.save(tmp_path / "a.jpg", format="PNG")
    read = read_image(tmp_path / "a.jpg")
    np.testing.assert_array_equal(read.image, photo)
    assert read.notes == ("The file is PNG although its name ends in .jpg.",)


def test_a_photograph_without_suffix_needs_no_note(photo, tmp_path):
    photo.save(tmp_path / "upload", format="PNG")
    assert read_image(tmp_path / "upload").notes == ()


def test_cmyk_becomes_rgb(tmp_path):
    Image.new("CMYK", (40, 40), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    read = read_image(tmp_path / "a.jpg")
    assert read.notes == ("CMYK colours were converted to RGB.",)
    np.testing.assert_allclose(np.asarray(read.image)[20, 20], RED, atol=2)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    ramp = np.tile(np.linspace(0, 65535, 64), (40, 1)).round()
    read = read_image(sixteen_bit_png(tmp_path / "a.png", ramp))
    assert read.notes == ("16 bits a channel were scaled to 8.",)
    np.testing.assert_array_equal(np.asarray(read.image)[0, :, 1], np.round(ramp[0] / 257))


def test_palette_and_alpha_are_said(tmp_path):
    Image.new("RGB", (40, 40), RED).quantize(4).save(tmp_path / "palette.png")
    read = read_image(tmp_path / "palette.png")
    assert read.notes == ("Palette colours were converted to RGB.",)
    assert read.image.getpixel((3, 3)) == RED
    half = Image.new("RGBA", (40, 40), (*BLUE, 255))
    half.paste((0, 0, 0, 0), (0, 0, 20, 40))
    half.save(tmp_path / "alpha.png")
    read = read_image(tmp_path / "alpha.png")
    assert read.notes == ("Transparency was composited on white.",)
    assert (read.image.getpixel((3, 3)), read.image.getpixel((30, 3))) == ((255, 255, 255), BLUE)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_the_first_frame_of_an_animation_is_read(tmp_path, suffix):
    frames = [Image.new("RGB", (40, 40), color) for color in (RED, BLUE, BLUE)]
    frames[1].putpixel((0, 0), RED)
    options = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], **options)
    read = read_image(tmp_path / f"a.{suffix}")
    assert read.notes[0] == "Animation of 3 frames: only the first frame was examined."
    assert read.image.getpixel((20, 20)) == RED


def test_the_first_picture_of_a_file_with_several_is_read(tmp_path):
    pages = [Image.new("RGB", (40, 40), color) for color in (RED, BLUE)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    read = read_image(tmp_path / "a.tif")
    assert read.notes == ("The file holds 2 pictures: only the first was examined.",)
    assert read.image.getpixel((20, 20)) == RED


@pytest.mark.parametrize("orientation", range(2, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    picture = Image.new("RGB", (80, 40))
    picture.paste(RED, (0, 0, 40, 20))
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(tmp_path / "a.png", exif=exif)
    read = read_image(tmp_path / "a.png")
    assert read.notes == (f"Turned upright as its EXIF orientation ({orientation}) says.",)
    assert read.image.size == ((80, 40) if orientation < 5 else (40, 80))
    # corner in which the upper left of the stored picture is displayed (EXIF 2.3, table of tag 0x0112)
    right, bottom = {2: (1, 0), 3: (1, 1), 4: (0, 1), 5: (0, 0), 6: (1, 0), 7: (1, 1), 8: (0, 1)}[orientation]
    corner = (right * (read.image.width - 1), bottom * (read.image.height - 1))
    assert read.image.getpixel(corner) == RED
    assert np.all(np.asarray(read.image) == RED, axis=-1).mean() == 0.25


def test_a_single_pixel_is_read_and_called_inconclusive(tmp_path):
    Image.new("RGB", (1, 1), RED).save(tmp_path / "a.png")
    read = read_image(tmp_path / "a.png")
    assert read.image.size == (1, 1)
    assert read.notes == ("Only 1 x 1 pixels: with an edge below 32 the verdict is inconclusive.",)


def test_decompression_bombs_are_refused_before_decoding(tmp_path, monkeypatch):
    Image.new("1", (2000, 1000)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 12345)
    message = (
        r"bomb.png: 2000 x 1000 pixels exceeds the limit of 1999999 pixels \(decompression bomb\?\): raise max_pix"
    )
    with pytest.raises(ImageReadError, match=message):
        read_image(tmp_path / "bomb.png", max_pixels=1_999_999)
    with pytest.raises(ImageReadError, match="the image exceeds the limit of 99 pixels"):
        read_image(tmp_path / "bomb.png", max_pixels=99)
    # the argument decides, also where it is above what the process allows; that setting stays
    assert read_image(tmp_path / "bomb.png", max_pixels=2_000_000).image.size == (2000, 1000)
    assert Image.MAX_IMAGE_PIXELS == 12345
    assert DEFAULT_MAX_PIXELS == 178_956_970


def test_no_warning_leaves_the_reader(photo, tmp_path, recwarn):
    exif = Image.Exif()
    exif[0x0112] = 1
    photo.save(tmp_path / "a.jpg", exif=exif.tobytes()[:-3])
    read_image(tmp_path / "a.jpg")
    assert not recwarn.list


def test_images_in_memory_take_the_same_way(photo):
    assert as_read_image(photo).image is photo
    turned = photo.convert("L")
    turned.getexif()[0x0112] = 8
    read = as_read_image(turned)
    assert read.image.size == (48, 64)
    assert read.notes == ("Turned upright as its EXIF orientation (8) says.",)
    with pytest.raises(ImageReadError, match=r"expected a path or a PIL image, got ndarray: use PIL.Image.fromarray"):
        as_read_image(np.asarray(photo))
    with pytest.raises(ImageReadError, match="at least one pixel, got an image of 0 x 5"):
        as_read_image(Image.new("RGB", (0, 5)))
    with pytest.raises(ImageReadError, match="image of mode F cannot be converted to RGB: expected integer pixels"):
        as_read_image(Image.new("F", (50, 50)))
