"""Which images a protocol draws, how they are read, and what is cut out of them."""

import io
import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from forgescope.datasets_scripts.genimage import GENERATORS
from forgescope.evaluation.protocols import PROTOCOLS
from forgescope.evaluation.results import Skipped
from forgescope.protocol_data import draw, draw_test_images, prepare

GENIMAGE = PROTOCOLS["gamma-genimage"]
TWO = replace(GENIMAGE, groups={name: (name,) for name in ("adm", "biggan")}, images_per_class=3)


def encoded(seed, kind="PNG", size=(40, 30)):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def write_genimage(root, generators=("adm", "biggan"), count=6, split="val"):
    for place, generator in enumerate(generators):
        for label, kind in (("ai", "png"), ("nature", "JPEG")):
            folder = root / generator / f"imagenet_ai_{generator}" / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                (folder / f"{number:03}.{kind}").write_bytes(encoded([place, number], kind.upper()))
    return root


def names_of(images):
    return [example.name for example in images.examples()]


class TestDraw:
    PAIRS = tuple((f"a/b/{number}.png", number) for number in range(200))

    def test_it_does_not_depend_on_the_order_or_the_folder(self):
        drawn = draw(self.PAIRS, 20, seed=1)
        shuffled = random.Random(0).sample(self.PAIRS, len(self.PAIRS))
        assert sorted(draw(shuffled, 20, seed=1)) == drawn
        assert draw([(name.replace("a/b/", "elsewhere/"), item) for name, item in self.PAIRS], 20, seed=1) == drawn

    def test_a_smaller_draw_is_a_part_of_a_larger_one(self):
        assert set(draw(self.PAIRS, 5, seed=1)) < set(draw(self.PAIRS, 20, seed=1)) < set(range(200))

    def test_other_seeds_draw_others(self):
        assert len(set(draw(self.PAIRS, 20, seed=1)) & set(draw(self.PAIRS, 20, seed=2))) < 10

    def test_the_draw_is_frozen(self):
        assert draw(self.PAIRS, 5, seed=0) == [15, 46, 72, 109, 131]

    def test_all_are_taken_where_there_are_not_more(self):
        everything = list(range(200))
        assert draw(self.PAIRS, None, 0) == draw(self.PAIRS, 200, 0) == draw(self.PAIRS, 999, 0) == everything

    def test_equal_names_are_told_apart_by_their_folders(self):
        pairs = [(f"{folder}/x.png", folder) for folder in "cab"]
        assert draw(pairs, 2, seed=0) == ["a", "b"]


def test_each_generator_gives_as_many_fake_as_real_images(tmp_path):
    images = draw_test_images(TWO, write_genimage(tmp_path, ("adm", "biggan", "vqdm")))
    assert images.counts == {(source, label): 3 for source in ("adm", "biggan") for label in ("fake", "real")}
    assert (images.total, images.shortfalls(TWO)) == (12, [])
    examples = list(images.examples())
    assert Counter((example.source, example.label) for example in examples) == {
        (source, label): 3 for source in ("adm", "biggan") for label in (0, 1)
    }
    assert [example.name for example in examples] == names_of(images)
    for example in examples:
        assert example.label == ("/ai/" in example.name)
        assert (example.mask, example.image.mode, example.image.size) == (None, "RGB", (40, 30))


def test_the_draw_follows_the_seed_and_the_number(tmp_path):
    root = write_genimage(tmp_path)
    first = names_of(draw_test_images(TWO, root))
    assert names_of(draw_test_images(TWO, root)) == first
    assert names_of(draw_test_images(TWO, root, seed=1)) != first
    assert set(names_of(draw_test_images(TWO, root, per_class=2))) < set(first)
    assert draw_test_images(TWO, root, per_class=2).total == 8


def test_png_stored_fakes_are_aligned_and_real_images_are_not_touched(tmp_path):
    root = write_genimage(tmp_path)
    aligned = draw_test_images(TWO, root)
    plain = draw_test_images(replace(TWO, options={}), root)
    changed = {}
    for one, other in zip(aligned.examples(), plain.examples(), strict=True):
        changed.setdefault(one.label, set()).add(one.image.tobytes() != other.image.tobytes())
        if one.label:
            stream = io.BytesIO()
            other.image.save(stream, "JPEG", quality=96)
            assert one.image.tobytes() == Image.open(stream).tobytes()
    assert changed == {0: {False}, 1: {True}}


def test_fewer_images_than_the_paper_draws_are_named(tmp_path):
    root = write_genimage(tmp_path, ("adm", "vqdm"), count=2)
    for file in (root / "vqdm").rglob("*.JPEG"):
        file.unlink()
    images = draw_test_images(GENIMAGE, root)
    assert images.total == 6
    assert images.shortfalls(replace(GENIMAGE, groups={"adm": ("adm",), "vqdm": ("vqdm",), "glide": ("glide",)})) == [
        "adm: 2 real and 2 fake images of 1000",
        "vqdm: 0 real and 2 fake images of 1000",
        "glide: 0 real and 0 fake images of 1000",
    ]


def test_damaged_files_are_named_with_the_reason(tmp_path):
    root = write_genimage(tmp_path)
    good = list((root / "adm").rglob("*.png"))
    good[0].write_bytes(b"")
    good[1].write_bytes(good[1].read_bytes()[:500])
    real = sorted((root / "adm").rglob("*.JPEG"))
    real[0].write_bytes(real[0].read_bytes()[:-200])
    real[1].write_bytes(b"no image")
    images = draw_test_images(replace(TWO, images_per_class=None), root)
    skipped = {one.name: one.reason for one in images.examples() if isinstance(one, Skipped)}
    assert len(skipped) == 4
    assert images.total == 24
    assert skipped[str(good[0].relative_to(root))] == "empty file"
    assert skipped[str(good[1].relative_to(root))].startswith("damaged image: ")
    assert "truncated" in skipped[str(real[0].relative_to(root))]
    assert skipped[str(real[1].relative_to(root))].startswith("not an image")


def write_comparisons(folder, count=5):
    rows = [{"prompt": f"p{n}", "model1": "other", "model2": "4o-26-3-25"} for n in range(count)]
    for number, row in enumerate(rows):
        row["image1"], row["image2"] = ({"bytes": encoded([number, side]), "path": None} for side in (1, 2))
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows), folder / "train.parquet", row_group_size=2)
    return folder


def write_photographs(folder, count):
    folder.mkdir()
    for number in range(count):
        (folder / f"ILSVRC2012_val_{number:08}.JPEG").write_bytes(encoded([9, number], "JPEG"))
    return folder


@pytest.mark.parametrize(("photographs", "per_class", "each"), [(9, None, 5), (3, None, 3), (9, 2, 2)])
def test_as_many_photographs_as_fakes(tmp_path, photographs, per_class, each):
    protocol = PROTOCOLS["gamma-openai4o"]
    data, real = write_comparisons(tmp_path / "data"), write_photographs(tmp_path / "real", photographs)
    images = draw_test_images(protocol, data, real, per_class)
    assert images.counts == {("openai4o", "fake"): each, ("openai4o", "real"): each}
    examples = list(images.examples())
    assert [example.label for example in examples] == [1] * each + [0] * each
    assert {example.source for example in examples} == {"openai4o"}


def test_photographs_may_lie_in_an_archive_and_bad_ones_are_named(tmp_path):
    import tarfile

    folder = write_photographs(tmp_path / "real", 3)
    (folder / "zero.JPEG").write_bytes(b"")
    with tarfile.open(tmp_path / "val.tar", "w") as archive:
        archive.add(folder, "val")
    images = draw_test_images(PROTOCOLS["gamma-openai4o"], write_comparisons(tmp_path / "data"), tmp_path / "val.tar")
    assert images.counts["openai4o", "real"] == 4
    skipped = [one for one in images.examples() if isinstance(one, Skipped)]
    assert [(one.name, one.reason) for one in skipped] == [("val/zero.JPEG", "empty file")]


def test_synthwildx_shares_its_real_images(tmp_path):
    for kind in ("dalle3", "firefly", "midjourney_v5", "real"):
        (tmp_path / kind).mkdir()
        for number in range(2):
            (tmp_path / kind / f"{number}.jpg").write_bytes(encoded(number, "JPEG"))
    images = draw_test_images(PROTOCOLS["gamma-synthwildx"], tmp_path)
    assert dict(images.counts.keys()) == {
        "dalle3": "fake",
        "firefly": "fake",
        "midjourney_v5": "fake",
        "real": "real",
    }
    assert (images.total, images.shortfalls(PROTOCOLS["gamma-synthwildx"])) == (8, [])


class TestErrors:
    def test_photographs_are_asked_for(self, tmp_path):
        data = write_comparisons(tmp_path / "data")
        with pytest.raises(ValueError, match="gamma-openai4o compares with photographs of ImageNet, which are not in"):
            draw_test_images(PROTOCOLS["gamma-openai4o"], data)
        with pytest.raises(FileNotFoundError, match="does not exist: expected a folder or an archive"):
            draw_test_images(PROTOCOLS["gamma-openai4o"], data, tmp_path / "nowhere")
        (tmp_path / "empty").mkdir()
        with pytest.raises(FileNotFoundError, match="empty holds no image: expected photographs of ImageNet"):
            draw_test_images(PROTOCOLS["gamma-openai4o"], data, tmp_path / "empty")

    def test_photographs_that_are_not_needed_are_refused(self, tmp_path):
        with pytest.raises(ValueError, match="gamma-genimage has real images in its own corpus: leave out --real"):
            draw_test_images(GENIMAGE, write_genimage(tmp_path / "data"), tmp_path)

    def test_data_of_another_kind(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="holds no GenImage: expected folders <generator>/imagenet"):
            draw_test_images(GENIMAGE, write_photographs(tmp_path / "data", 1))
        with pytest.raises(ValueError, match="gamma-genimage needs the split validation: .* has train"):
            draw_test_images(GENIMAGE, write_genimage(tmp_path / "train", split="train"))
        with pytest.raises(ValueError, match="has no image of biggan, .*, wukong, which gamma-genimage is made of"):
            draw_test_images(GENIMAGE, write_genimage(tmp_path / "other", ("flux",)))


def test_every_generator_of_the_corpus_is_in_the_protocol():
    assert set(GENIMAGE.groups) == set(GENERATORS.values())


class TestPrepare:
    def test_the_middle_of_a_large_image(self):
        pixels = np.arange(700 * 900, dtype=np.uint32).reshape(700, 900)
        image = Image.fromarray(np.stack([pixels >> 16, pixels >> 8, pixels], axis=2).astype(np.uint8))
        window = np.asarray(prepare(image, GENIMAGE)).astype(np.uint32)
        found = (window[..., 0] << 16) + (window[..., 1] << 8) + window[..., 2]
        np.testing.assert_array_equal(found, pixels[94 : 94 + 512, 194 : 194 + 512])

    def test_the_border_of_one_pixel_lies_outside_the_window(self):
        image = Image.effect_noise((512, 512), 50).convert("RGB")
        assert prepare(image, GENIMAGE).tobytes() == image.tobytes()

    @pytest.mark.parametrize("size", [(128, 128), (300, 200), (511, 900), (900, 511)])
    def test_a_small_image_is_enlarged_until_its_shorter_edge_is_512(self, size):
        image = Image.effect_noise(size, 50).convert("RGB")
        scale = 512 / min(size)
        larger = image.resize((round(size[0] * scale), round(size[1] * scale)), Image.Resampling.BILINEAR)
        left, top = ((edge - 512) // 2 for edge in larger.size)
        window = prepare(image, GENIMAGE)
        assert window.size == (512, 512)
        near = [larger.crop((left + dx, top + dy, left + dx + 512, top + dy + 512)) for dx in (0, 1) for dy in (0, 1)]
        assert window.tobytes() in [one.tobytes() for one in near]

    def test_without_a_crop_the_image_stays_whole(self):
        image = Image.new("RGB", (30, 20))
        assert prepare(image, replace(GENIMAGE, crop_size=None)) is image
