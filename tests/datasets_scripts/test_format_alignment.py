import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from archives_layout import encoded, image_bytes, write_tree
from damaged_exif import NO_EXIF, TURNED_AND_DAMAGED
from gamma_layout import everything
from PIL import Image
from three_ways import assert_three_ways_equal

from forgescope.datasets_scripts.format_alignment import GAMMA_JPEG_QUALITY, align_format
from forgescope.datasets_scripts.load import CORPORA, corpus_builder, corpus_builder_class
from forgescope.datasets_scripts.notes import Notes

# Luminance table of ITU T.81, Annex K, row by row.
LUMINANCE = [
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51,
    87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
]  # fmt: skip


def decoded(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def rows_of(name, root, split=None, **options):
    builder = corpus_builder(name, root, hash_files=False, **options)
    notes = Notes()
    splits = builder.splits(notes)
    pieces = [piece for names in ([split] if split else splits) for piece in splits[names]]
    return [row for piece in pieces for row in builder.rows(piece, notes)], notes


def stem(row) -> str:
    return Path(row["id"]).stem


def content(row) -> bytes:
    image = row["image"]
    if image["bytes"] is not None:
        return image["bytes"]
    with open(image["path"], "rb") as file:
        return file.read()


class TestOneFile:
    def test_png_becomes_jpeg_of_quality_96(self):
        aligned = align_format(image_bytes(1, (64, 48)))
        with Image.open(io.BytesIO(aligned)) as image:
            assert (image.format, image.size, image.mode) == ("JPEG", (64, 48), "RGB")
            # the reference encoder scales by 200 - 2 * quality per cent above quality 50
            assert image.quantization[0] == [max(1, (value * 8 + 50) // 100) for value in LUMINANCE]
            assert [layer[1:3] for layer in image.layer] == [(2, 2), (1, 1), (1, 1)]
        assert GAMMA_JPEG_QUALITY == 96

    def test_bytes_are_those_of_the_plain_encoder(self):
        data = image_bytes(2, (40, 30))
        buffer = io.BytesIO()
        Image.open(io.BytesIO(data)).save(buffer, "JPEG", quality=80, subsampling=2)
        assert align_format(data, 80) == buffer.getvalue()

    @pytest.mark.parametrize("kind", ["JPEG", "WEBP", "BMP", "GIF", "TIFF"])
    def test_other_formats_keep_their_bytes(self, kind):
        data = image_bytes(3, kind=kind)
        assert align_format(data) is data

    @pytest.mark.parametrize(
        ("image", "expected"),
        [
            (Image.new("L", (8, 8), 90), 90),
            (Image.new("1", (8, 8), 1), 255),
            (Image.new("RGBA", (8, 8), (10, 200, 10, 0)), (255, 255, 255)),
            (Image.new("RGBA", (8, 8), (100, 100, 100, 255)), (100, 100, 100)),
            (Image.new("LA", (8, 8), (0, 0)), (255, 255, 255)),
            (Image.new("RGB", (8, 8), (60, 60, 60)).quantize(4), (60, 60, 60)),
            (Image.fromarray(np.full((8, 8), 40 * 256 + 7, np.uint16)), 40),
        ],
        ids=["grey", "one bit", "transparent", "opaque", "grey transparent", "palette", "16 bits"],
    )
    def test_modes(self, image, expected):
        pixels = decoded(align_format(encoded(image)))
        assert pixels.ndim == (2 if isinstance(expected, int) else 3)
        assert (np.abs(pixels.astype(int) - expected) <= 1).all()

    def test_a_transparent_palette_colour_is_white(self):
        image = Image.new("P", (8, 8), 1)
        image.putpalette([255, 0, 0, 0, 0, 255])
        buffer = io.BytesIO()
        image.save(buffer, "PNG", transparency=1)
        assert (decoded(align_format(buffer.getvalue())) == 255).all()

    def test_the_orientation_is_applied_once(self):
        image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8))
        exif = Image.Exif()
        exif[0x0112] = 6
        buffer = io.BytesIO()
        image.save(buffer, "PNG", exif=exif)
        with Image.open(io.BytesIO(align_format(buffer.getvalue()))) as turned:
            assert turned.size == (20, 30)
            assert 0x0112 not in turned.getexif()

    @pytest.mark.parametrize(("exif", "size"), [(TURNED_AND_DAMAGED, (20, 30)), (NO_EXIF, (30, 20))])
    def test_images_with_damaged_exif_are_aligned(self, exif, size):
        buffer = io.BytesIO()
        Image.new("RGB", (30, 20)).save(buffer, "PNG", exif=exif)
        with Image.open(io.BytesIO(align_format(buffer.getvalue()))) as aligned:
            assert (aligned.format, aligned.size) == ("JPEG", size)

    @pytest.mark.parametrize("quality", [0, 101, 96.0, True, "96"])
    def test_wrong_qualities_are_refused(self, quality):
        with pytest.raises(ValueError, match="expected a JPEG quality, a whole number of 1 to 100"):
            align_format(image_bytes(), quality)


GENIMAGE = "ADM/imagenet_ai_0508_adm/train"


def genimage_files() -> dict[str, bytes]:
    return {
        f"{GENIMAGE}/ai/a.png": image_bytes(1),
        f"{GENIMAGE}/ai/b.jpg": image_bytes(2, kind="JPEG"),
        f"{GENIMAGE}/ai/c.jpg": image_bytes(3),
        f"{GENIMAGE}/nature/d.JPEG": image_bytes(4, kind="JPEG"),
        f"{GENIMAGE}/nature/e.png": image_bytes(5),
    }


class TestGenImage:
    def test_only_fakes_that_are_png_by_content_change(self, tmp_path):
        files = genimage_files()
        rows, notes = rows_of("genimage", write_tree(tmp_path, files), align_format=96)
        assert not notes.counts
        for row in rows:
            name = stem(row)
            expected = align_format(files[row["id"]]) if name in "ac" else files[row["id"]]
            assert content(row) == expected, name
        assert {stem(row): row["label"] for row in rows} == dict.fromkeys("abc", "fake") | dict.fromkeys("de", "real")

    def test_without_the_option_nothing_changes(self, tmp_path):
        files = genimage_files()
        rows, _ = rows_of("genimage", write_tree(tmp_path, files))
        assert all(content(row) == files[row["id"]] for row in rows)

    def test_in_three_ways(self, tmp_path):
        root = write_tree(tmp_path / "data", genimage_files())
        train = assert_three_ways_equal("genimage", root, tmp_path, align_format=96)["train"]
        formats = {stem(row): row["image"].format for row in train}
        assert formats == {"a": "JPEG", "b": "JPEG", "c": "JPEG", "d": "JPEG", "e": "PNG"}

    def test_a_damaged_png_is_noted_and_left_out(self, tmp_path):
        files = genimage_files()
        files[f"{GENIMAGE}/ai/a.png"] = image_bytes(1, (64, 64))[:-4000]
        rows, notes = rows_of("genimage", write_tree(tmp_path, files), align_format=96)
        assert [stem(row) for row in rows] == ["b", "c", "d", "e"]
        assert notes.counts == {"damaged image": 1}

    def test_a_wrong_quality_is_no_damaged_image(self, tmp_path):
        with pytest.raises(ValueError, match="align_format is 200"):
            rows_of("genimage", write_tree(tmp_path, genimage_files()), align_format=200)


class TestGammaMix:
    def test_generated_images_and_the_whole_engine_folder(self, tmp_path):
        files = everything()
        # the engine's folder holds real and fake images in both formats
        for number in (1, 3):
            files[f"manipulations/images/{number:06d}.jpg"] = image_bytes(400 + number)
        files["coco/train2017/odd.jpg"] = image_bytes(7)
        rows, _ = rows_of("gamma_mix", write_tree(tmp_path, files), "train", align_format=96)
        formats: dict[str, set] = {}
        for row in rows:
            with Image.open(io.BytesIO(content(row))) as image:
                formats.setdefault(row["source"], set()).add((row["label"], image.format))
        assert formats.pop("coco") == {("real", "JPEG"), ("real", "PNG")}
        assert formats.pop("own") == {("real", "JPEG"), ("fake", "JPEG")}
        assert formats.pop("coco-inpaint") == formats.pop("coco-blended") == {("fake", "JPEG")}
        assert set(formats) == {"tampcoco-cm", "tampcoco-sp", "tampcoco-bcm", "tampcoco-bcmc"}
        assert set.union(*formats.values()) == {("real", "JPEG")}

    def test_undecoded_files_are_aligned_too(self, tmp_path):
        root = write_tree(tmp_path / "data", everything())
        train = assert_three_ways_equal("gamma_mix", root, tmp_path, align_format=96, decode_images=False)["train"]
        starts = {row["image"]["bytes"][:2] for row in train if row["label"] and row["image"]["bytes"]}
        assert starts == {b"\xff\xd8"}


def test_synthwildx(tmp_path):
    root = write_tree(tmp_path, {f"{kind}/{kind}.png": image_bytes() for kind in ("dalle3", "real")})
    rows, _ = rows_of("synthwildx", root, align_format=90)
    starts = {row["label"]: content(row)[:2] for row in rows}
    assert starts == {"fake": b"\xff\xd8", "real": b"\x89P"}


def test_who_has_the_option():
    having = [
        name
        for name in CORPORA
        if "align_format"
        in {field.name for field in dataclasses.fields(corpus_builder_class(name).BUILDER_CONFIG_CLASS)}
    ]
    assert sorted(having) == ["gamma_mix", "genimage", "gptimgeval", "openai4o", "sharegpt4o", "synthwildx"]
