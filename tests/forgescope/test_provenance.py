"""Texts beside the pixels: every kind is read from a real file, and damaged or huge ones harm nothing."""

import io
import json
import struct
import sys
import zlib
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps, PngImagePlugin

from forgescope.processing.image_conversion import to_upright_rgb
from forgescope.provenance import Provenance, read_provenance
from forgescope.reading import ImageReadError, open_image, read_image

PARAMETERS = "a cat, masterpiece\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, Seed: 7, Size: 512x512"
XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:CreatorTool="Adobe Photoshop 26.0"
 xmlns:ext="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:dc="http://purl.org/dc/elements/1.1/">
<ext:DigitalSourceType>http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia</ext:DigitalSourceType>
<dc:creator><rdf:Seq><rdf:li>A. Maker</rdf:li><rdf:li>B. Maker</rdf:li></rdf:Seq></dc:creator>
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">A cat.</rdf:li></rdf:Alt></dc:description>
</rdf:Description></rdf:RDF></x:xmpmeta>"""
BOMB = """<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><a>&c;</a>"""
with_defusedxml = pytest.mark.skipif(find_spec("defusedxml") is None, reason="defusedxml is not installed")


@pytest.fixture(scope="module")
def picture():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))


@pytest.fixture
def saved(picture, tmp_path):
    """Save the picture and read what the file says."""

    def saved(name, **options):
        picture.save(tmp_path / name, **options)
        return read_provenance(tmp_path / name)

    return saved


def png_with(picture, before=(), after=()) -> bytes:
    """A PNG file with chunks before and after its pixels."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    content = file.getvalue()
    chunks = [
        b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in some
        )
        for some in (before, after)
    ]
    return content[:33] + chunks[0] + content[33:-12] + chunks[1] + content[-12:]


def jpeg_with(picture, marker: int, data: bytes) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG")
    content = file.getvalue()
    return content[:2] + b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data + content[2:]


def texts(**values) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    for name, value in values.items():
        info.add_itxt(name.replace("_", "-") if name == "sd_metadata" else name, value, zip=len(value) > 100)
    return info


@pytest.mark.parametrize(
    ("name", "text", "writer"),
    [
        ("parameters", PARAMETERS, "Stable Diffusion web UI"),
        ("prompt", json.dumps({"3": {"class_type": "KSampler", "inputs": {"seed": 7}}}), "ComfyUI"),
        ("workflow", json.dumps({"nodes": [], "links": []}), "ComfyUI"),
        ("invokeai_metadata", json.dumps({"positive_prompt": "猫"}), "InvokeAI"),
        ("sd_metadata", json.dumps({"model": "stable diffusion"}), "InvokeAI"),
    ],
)
def test_texts_of_known_generators(saved, name, text, writer):
    found = saved("picture.png", pnginfo=texts(**{name: text}))
    key = "PNG sd-metadata" if name == "sd_metadata" else f"PNG {name}"
    assert found.generator_metadata == {key: text}
    assert found.describe() == f"{key} (as {writer} writes)"


def test_texts_of_novelai(saved):
    comment = json.dumps({"prompt": "a cat", "steps": 28, "seed": 123, "uc": "blurry, lowres, and more that is long"})
    found = saved(
        "picture.png", pnginfo=texts(Software="NovelAI", Source="NovelAI Diffusion V4", Comment=comment, Title="x")
    )
    assert found.generator_metadata["PNG Comment"] == comment
    assert found.describe() == (
        'PNG Software "NovelAI", PNG Source "NovelAI Diffusion V4", PNG Comment, PNG Title "x"'
    )


def test_texts_after_the_pixels_are_found_too(picture, tmp_path):
    (tmp_path / "late.png").write_bytes(png_with(picture, after=[(b"tEXt", b"parameters\0late")]))
    assert read_provenance(tmp_path / "late.png").generator_metadata == {"PNG parameters": "late"}


def test_pixels_are_decoded_only_for_what_stands_behind_them(picture, tmp_path):
    content = png_with(picture, before=[(b"tEXt", b"parameters\0early")])
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    assert read_provenance(tmp_path / "cut.png").generator_metadata == {"PNG parameters": "early"}


@pytest.mark.parametrize("name", ["picture.jpg", "picture.webp", "picture.png", "picture.tif"])
def test_exif(saved, name):
    exif = Image.Exif()
    exif[ExifTags.Base.Software], exif[ExifTags.Base.Artist] = "Editor 1.2", "Jürgen".encode()
    exif[ExifTags.Base.ImageDescription], exif[ExifTags.Base.Make] = "Two\0\0", "Canon"
    found = saved(name, exif=exif).generator_metadata
    assert found == {"EXIF Software": "Editor 1.2", "EXIF Artist": "Jürgen", "EXIF ImageDescription": "Two"}


@pytest.mark.parametrize("order", ["be", "le"])
@pytest.mark.parametrize("text", [PARAMETERS, "一只猫, Steps: 20"])
def test_user_comments_of_either_byte_order(saved, text, order):
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = b"UNICODE\0" + text.encode(f"utf-16-{order}")
    assert saved("picture.webp", exif=exif).generator_metadata == {"EXIF UserComment": text}


@pytest.mark.parametrize("charset", [b"ASCII\0\0\0", bytes(8), b"ASCII   "])
def test_user_comments_of_one_byte_a_character(saved, charset):
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = charset + b"made by hand"
    assert saved("picture.jpg", exif=exif).generator_metadata == {"EXIF UserComment": "made by hand"}


def test_workflows_in_webp_stand_where_cameras_write_their_names(saved):
    exif = Image.Exif()
    exif[ExifTags.Base.Model], exif[ExifTags.Base.Make] = 'prompt:{"3": 1}', 'workflow:{"nodes": []}'
    found = saved("picture.webp", exif=exif).generator_metadata
    assert found == {"EXIF Make": 'workflow:{"nodes": []}', "EXIF Model": 'prompt:{"3": 1}'}


@with_defusedxml
@pytest.mark.parametrize("name", ["picture.jpg", "picture.webp", "picture.png"])
def test_xmp(saved, name):
    options = {"pnginfo": texts(**{"XML:com.adobe.xmp": XMP})} if name.endswith("png") else {"xmp": XMP.encode()}
    found = saved(name, **options)
    assert found.generator_metadata == {
        "XMP CreatorTool": "Adobe Photoshop 26.0",
        "XMP DigitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
        "XMP creator": "A. Maker; B. Maker",
        "XMP description": "A cat.",
    }
    assert found.describe().startswith('XMP CreatorTool "Adobe Photoshop 26.0", XMP DigitalSourceType, XMP creator')


def test_xmp_without_its_library_names_the_command(saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "defusedxml", None)
    monkeypatch.setattr("forgescope.image_metadata.find_spec", lambda name: None)
    found = saved("picture.jpg", xmp=XMP.encode())
    assert 'XMP data cannot be read (pip install "forgescope[provenance]").' in found.notes


def test_iptc_and_comments(picture, tmp_path):
    datasets = [(110, b"Made with Google AI"), (80, "Müller".encode()), (105, b"One")]
    records = b"".join(b"\x1c\x02" + struct.pack(">BH", kind, len(text)) + text for kind, text in datasets)
    block = (
        b"Photoshop 3.0\0"
        + b"8BIM\x04\x04\0\0"
        + struct.pack(">I", len(records))
        + records
        + b"\0" * (len(records) % 2)
    )
    (tmp_path / "iptc.jpg").write_bytes(jpeg_with(picture, 0xED, block))
    assert read_provenance(tmp_path / "iptc.jpg").generator_metadata == {
        "IPTC By-line": "Müller",
        "IPTC Headline": "One",
        "IPTC Credit": "Made with Google AI",
    }
    picture.convert("P").save(tmp_path / "comment.gif", comment="Steps: 20")
    assert read_provenance(tmp_path / "comment.gif").generator_metadata == {"Comment (GIF)": "Steps: 20"}


def test_a_plain_picture_says_nothing(saved):
    found = saved("picture.png")
    assert (found.generator_metadata, found.describe()) == ({}, "")


def test_long_and_many_texts_are_cut_with_a_note(saved, tmp_path):
    found = saved("picture.png", pnginfo=texts(parameters="ä" * 5_000_000))
    assert found.generator_metadata["PNG parameters"] == "ä" * 2000
    assert "PNG parameters: 5000000 characters, of which the first 2000 are kept." in found.notes
    assert read_image(tmp_path / "picture.png").image.size == (60, 40)
    many = saved("picture.png", pnginfo=texts(**{f"key{number}": "x" for number in range(500)}))
    assert len(many.generator_metadata) == 40
    assert "500 texts beside the pixels, of which the first 40 are kept." in many.notes
    assert many.describe().endswith(', PNG key3 "x", 36 more')


def test_the_summary_is_one_printable_line():
    text = "red\x1b[31m\nnext\u202eturned"
    assert Provenance([], {"PNG Software": text}).describe() == 'PNG Software "red [31m next turned"'


DAMAGED = {
    "EXIF in PNG": ("png", b"eXIf", b"no TIFF header"),
    "EXIF as text": ("png", b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n   8\nzzzz")),
    "EXIF that points nowhere": ("jpeg", 0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff"),
    "compressed text": ("png", b"zTXt", b"prompt\0\0garbage"),
    "text that is not UTF-8": ("png", b"iTXt", b"prompt\0\0\0\0\0\xff\xfe\xfd"),
    "XMP cut off": ("png", b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x:xmpmeta"),
    "XMP with entities": ("jpeg", 0xE1, b"http://ns.adobe.com/xap/1.0/\0" + BOMB.encode()),
    "XMP nested deeply": ("png", b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b"<a>" * 5000 + b"</a>" * 5000),
    "XMP of 2 MB": ("png", b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<a>" + b"x" * 2_000_000 + b"</a>"),
    "IPTC": ("jpeg", 0xED, b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0\0\0\xff\xff" + b"\x1c\x02\x05\x80\xff"),
}


@pytest.mark.parametrize(("kind", "place", "data"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_metadata_leaves_the_pixels_readable(picture, tmp_path, kind, place, data):
    content = png_with(picture, before=[(place, data)]) if kind == "png" else jpeg_with(picture, place, data)
    (tmp_path / "picture").write_bytes(content)
    found = read_provenance(tmp_path / "picture")
    assert found.generator_metadata == {}
    assert read_image(tmp_path / "picture").image.size == picture.size


@with_defusedxml
def test_damage_is_noted(picture, tmp_path):
    notes = {}
    for name in ("EXIF in PNG", "XMP cut off", "XMP with entities", "XMP of 2 MB"):
        kind, place, data = DAMAGED[name]
        content = png_with(picture, before=[(place, data)]) if kind == "png" else jpeg_with(picture, place, data)
        (tmp_path / "picture").write_bytes(content)
        notes[name] = read_provenance(tmp_path / "picture").notes[0]
    assert notes["EXIF in PNG"].startswith("EXIF data cannot be read (not a TIFF file")
    assert notes["XMP cut off"] == "XMP data cannot be read (unclosed token: line 1, column 0)."
    assert notes["XMP with entities"].startswith("XMP data cannot be read (EntitiesForbidden")
    assert notes["XMP of 2 MB"] == "XMP data cannot be read (2000007 bytes, more than 1000000)."


def test_damaged_exif_does_not_keep_a_picture_from_being_turned(picture, tmp_path):
    """EXIF with an orientation and a text whose type says fraction."""
    entries = struct.pack("<HHII", 0x0112, 3, 1, 6) + struct.pack("<HHII", 0x010E, 5, 1, 8)
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + entries + bytes(400)
    (tmp_path / "turned.jpg").write_bytes(jpeg_with(picture, 0xE1, exif))
    read = read_image(tmp_path / "turned.jpg")
    assert read.image.size == (40, 60)
    assert read.notes == ("Turned upright as its EXIF orientation (6) says.",)


@pytest.mark.parametrize("kind", ["png", "jpeg", "tiff", "webp"])
@pytest.mark.parametrize("orientation", range(10))
def test_pictures_are_turned_as_pillow_turns_them(picture, kind, orientation):
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    picture.save(file, kind, exif=exif)
    upright, expected = to_upright_rgb(Image.open(file)), ImageOps.exif_transpose(Image.open(file))
    np.testing.assert_array_equal(np.asarray(upright), np.asarray(expected.convert("RGB")))
    assert to_upright_rgb(upright) is upright


@pytest.mark.parametrize(("content", "message"), [(b"", "is empty"), (b"no image at all", "not an image")])
def test_what_is_no_image_is_refused_in_one_sentence(tmp_path, content, message):
    (tmp_path / "file.png").write_bytes(content)
    with pytest.raises(ImageReadError, match=message):
        read_provenance(tmp_path / "file.png")
    with pytest.raises(ImageReadError, match="no such file"):
        read_provenance(tmp_path / "missing.png")


def test_limits_of_pillow_are_restored(picture, tmp_path):
    picture.save(tmp_path / "picture.png")
    limits = Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK
    with open_image(tmp_path / "picture.png", max_pixels=10_000):
        assert limits != (Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK)
    assert limits == (Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK)
    with pytest.raises(ImageReadError, match="exceeds the limit of 100 pixels"):
        read_provenance(tmp_path / "picture.png", max_pixels=100)


def test_the_dictionary_is_json(saved):
    values = json.loads(json.dumps(saved("picture.png", pnginfo=texts(parameters=PARAMETERS)).to_dict()))
    assert set(values) == {"summary", "c2pa", "generator_metadata", "notes", "c2pa_error"}
    assert values["summary"] == "PNG parameters (as Stable Diffusion web UI writes)"
    assert values["generator_metadata"] == {"PNG parameters": PARAMETERS}
