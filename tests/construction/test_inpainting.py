import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from damaged_exif import CUT_OFF, NO_EXIF, TURNED_AND_DAMAGED
from PIL import Image

from forgescope.construction.image_folder import find_photos
from forgescope.construction.inpainting import (
    VARIANTS,
    inpainting_config,
    name_of,
    open_photo,
    unchanged_outside,
    write_inpainting,
)
from forgescope.datasets_scripts.features import load_forgery_folder
from forgescope.datasets_scripts.load import load_corpus

PNG = inpainting_config(max_side=96, image_format="png")


def blur(image: Image.Image, mask: Image.Image) -> Image.Image:
    """An inpainter that changes the frame everywhere."""
    filled = cv2.inpaint(np.asarray(image), np.asarray(mask), 3, cv2.INPAINT_TELEA)
    return Image.fromarray(255 - cv2.GaussianBlur(filled, (0, 0), 1.0))


class Wrapped:
    """A real pipeline whose call is watched, and changed by subclasses."""

    def __init__(self, pipeline):
        self.pipeline, self.sizes, self.seeds = pipeline, [], []

    def __call__(self, prompt=None, image=None, mask_image=None, height=None, width=None, generator=None):
        images = image if isinstance(image, list) else [image]
        self.sizes.append([one.size for one in images])
        generators = generator if isinstance(generator, list) else [generator]
        self.seeds += [one.initial_seed() for one in generators]
        return self.answer(
            prompt=prompt, image=image, mask_image=mask_image, height=height, width=width, generator=generator
        )

    def answer(self, **call):
        return self.pipeline(**call, num_inference_steps=1)


class FailsOnWhite(Wrapped):
    def answer(self, image, **call):
        if any(np.asarray(one).mean() > 250 for one in (image if isinstance(image, list) else [image])):
            raise RuntimeError("no latents for a white image")
        return super().answer(image=image, **call)


class GivesItsOwnSize(Wrapped):
    def answer(self, **call):
        output = super().answer(**call)
        output.images = [image.resize((64, 64)) for image in output.images]
        return output


def pixels(out: Path, row: dict, field: str = "file_name") -> np.ndarray:
    return np.asarray(Image.open(out / row[field]))


def triples(result) -> list[list[dict]]:
    assert [row["task"] for row in result.rows] == [*VARIANTS] * (len(result.rows) // 3)
    return [result.rows[start : start + 3] for start in range(0, len(result.rows), 3)]


@pytest.fixture(scope="module")
def photos(photo_folder) -> list[Path]:
    return find_photos([photo_folder])


@pytest.fixture(scope="module")
def made(photos, tiny_pipeline, tmp_path_factory):
    out = tmp_path_factory.mktemp("made")
    return out, write_inpainting(photos, tiny_pipeline, out, seed=3, config=PNG, batch_size=2, num_inference_steps=1)


class TestImages:
    def test_rows_and_files(self, made, digest):
        out, result = made
        assert (result.made, result.failed_photos, result.missing) == (15, {}, [])
        assert [json.loads(line) for line in (out / "metadata.jsonl").read_text().splitlines()] == result.rows
        for number, rows in enumerate(triples(result)):
            assert [row["label"] for row in rows] == [0, 1, 1]
            assert [row["id"] for row in rows] == [f"s3-{number:06d}-{task}" for task in VARIANTS]
            assert {row["photo"] for row in rows} == {f"photo{number}.jpg"}
            assert [row["model"] for row in rows] == [None, *["StableDiffusionInpaintPipeline"] * 2]
            assert rows[0]["mask_type"] is None
            assert rows[1]["mask_type"] in ("object", "polygon", "brush", "blob", "ellipse")
            assert json.loads(rows[1]["parameters"])["changed_outside"] > 0.9
            assert "fill_seed" not in json.loads(rows[0]["parameters"])
        named = {path for row in result.rows for key, path in row.items() if key.endswith("file_name")}
        assert named | {"metadata.jsonl", "settings.json", "README.md"} == set(digest(out))

    def test_blended_is_the_photograph_outside_and_the_inpainted_image_inside(self, made):
        out, result = made
        for authentic, inpainted, blended in triples(result):
            region = pixels(out, blended, "mask_file_name") > 0
            np.testing.assert_array_equal(region, pixels(out, inpainted, "mask_file_name") > 0)
            np.testing.assert_array_equal(pixels(out, blended)[~region], pixels(out, authentic)[~region])
            np.testing.assert_array_equal(pixels(out, blended)[region], pixels(out, inpainted)[region])
            assert 0.005 < region.mean() < 0.3

    def test_sides_are_multiples_of_eight(self, made):
        out, result = made
        for row in result.rows:
            height, width = pixels(out, row).shape[:2]
            assert (height % 8, width % 8, max(height, width)) == (0, 0, 96)

    def test_size_and_compression_give_nothing_away(self, photos, tmp_path):
        result = write_inpainting(photos, blur, tmp_path, count=15, config=inpainting_config(max_side=96))
        suffixes = set()
        for rows in triples(result):
            images = [Image.open(tmp_path / row["file_name"]) for row in rows]
            facts = [
                (image.format, image.size, getattr(image, "quantization", 0), getattr(image, "layer", 0))
                for image in images
            ]
            assert facts[0] == facts[1] == facts[2]
            suffixes.add(images[0].format)
        assert suffixes == {"PNG", "JPEG"}

    def test_a_soft_border_is_drawn_on_request(self, photos, tmp_path):
        config = inpainting_config(max_side=96, image_format="png", feather_probability=1.0, feather=(2.0, 2.0))
        result = write_inpainting(photos, blur, tmp_path, config=config)
        mixed = 0
        for authentic, inpainted, blended in triples(result):
            region = pixels(tmp_path, blended, "mask_file_name") > 0
            changed = (pixels(tmp_path, blended) != pixels(tmp_path, authentic)).any(-1)
            near = cv2.dilate(region.astype(np.uint8), np.ones((21, 21), np.uint8)) == 1
            assert not (changed & ~near).any()
            own = (pixels(tmp_path, blended) != pixels(tmp_path, inpainted)).any(-1)
            mixed += int((changed & own).sum())
        assert mixed > 100

    def test_the_photographs_can_be_left_out(self, photos, tmp_path, made):
        result = write_inpainting(photos, blur, tmp_path, seed=3, config=PNG, authentic=False)
        assert [row["task"] for row in result.rows[:3]] == ["inpainting", "inpainting_blended", "inpainting"]
        assert [row["id"] for row in result.rows[:2]] == [row["id"] for row in made[1].rows[1:3]]

    def test_an_image_of_another_size_is_resized(self, photos, tiny_pipeline, tmp_path):
        result = write_inpainting(photos[:1], GivesItsOwnSize(tiny_pipeline), tmp_path, config=PNG)
        authentic, inpainted, blended = (pixels(tmp_path, row) for row in result.rows)
        assert authentic.shape == inpainted.shape == blended.shape == (72, 96, 3)
        region = pixels(tmp_path, result.rows[2], "mask_file_name") > 0
        np.testing.assert_array_equal(blended[~region], authentic[~region])

    def test_a_pipeline_that_pastes_back_itself_is_noticed(self, photos, tmp_path):
        def fill_only(image, mask):
            return Image.composite(Image.new("RGB", image.size, (255, 0, 0)), image, mask)

        result = write_inpainting(photos[:2], fill_only, tmp_path, config=PNG)
        assert unchanged_outside(result.rows) == ["s0-000000-inpainting", "s0-000001-inpainting"]

    def test_frames_of_one_size_go_together(self, photos, tiny_pipeline, tmp_path):
        tall = tmp_path / "tall.png"
        Image.open(photos[0]).rotate(90, expand=True).save(tall)
        pipeline = Wrapped(tiny_pipeline)
        write_inpainting([photos[0], tall, photos[1], photos[2]], pipeline, tmp_path / "out", config=PNG, batch_size=3)
        assert pipeline.sizes == [[(96, 72), (96, 72)], [(72, 96)], [(96, 72)]]
        assert len(set(pipeline.seeds)) == 4


class TestPrompts:
    def drawn(self, photos, pipeline, out, **options) -> list[str]:
        result = write_inpainting(photos, pipeline, out, config=PNG, num_inference_steps=1, **options)
        return [json.loads(rows[1]["parameters"])["prompt"] for rows in triples(result)]

    def test_guided_and_unguided(self, photos, tiny_pipeline, tmp_path):
        texts = self.drawn(photos, tiny_pipeline, tmp_path, prompts=["a", "b"], unguided_fraction=0.4, count=12)
        assert set(texts) == {"", "a", "b"}

    def test_by_photograph(self, photos, tiny_pipeline, tmp_path):
        names = {photo.name: f"a picture of {photo.stem}" for photo in photos}
        assert self.drawn(photos, tiny_pipeline, tmp_path, prompts=names) == list(names.values())

    def test_the_text_changes_the_image(self, photos, tiny_pipeline, tmp_path, made):
        self.drawn(photos[:1], tiny_pipeline, tmp_path, prompts="a red car", seed=3)
        ours, without = (pixels(out, made[1].rows[1]).astype(int) for out in (tmp_path, made[0]))
        assert 0 < np.abs(ours - without).mean() < 60

    def test_functions_take_none(self, photos, tmp_path):
        with pytest.raises(ValueError, match="blur takes no prompt: leave out prompts"):
            write_inpainting(photos, blur, tmp_path, prompts="a cat")


class TestSameBytes:
    def test_same_seed_same_bytes(self, photos, tiny_pipeline, tmp_path, made, digest):
        for seed, same in ((3, True), (4, False)):
            out = tmp_path / str(seed)
            write_inpainting(photos, tiny_pipeline, out, seed=seed, config=PNG, batch_size=2, num_inference_steps=1)
            assert (digest(out) == digest(made[0])) == same

    @pytest.mark.parametrize("calls", [0, 1, 2])
    def test_an_interrupted_run_goes_on(self, photos, tiny_pipeline, tmp_path, made, digest, calls):
        class Interrupted(Wrapped):
            def answer(self, **call):
                if len(self.sizes) > calls:
                    raise KeyboardInterrupt
                return super().answer(**call)

        options = {"seed": 3, "config": PNG, "batch_size": 2, "model": "StableDiffusionInpaintPipeline"}
        with pytest.raises(KeyboardInterrupt):
            write_inpainting(photos, Interrupted(tiny_pipeline), tmp_path, **options)
        assert not (tmp_path / "metadata.jsonl").exists()
        again = write_inpainting(photos, Wrapped(tiny_pipeline), tmp_path, **options)
        assert again.made == 15 - 6 * calls
        expected, written = digest(made[0]), digest(tmp_path)
        # the steps are the wrapper's own, no argument of the call
        for file in ("settings.json", "README.md"):
            assert expected.pop(file) != written.pop(file)
        assert written == expected

    def test_a_killed_run_goes_on(self, photos, tmp_path, digest):
        script = tmp_path / "run.py"
        # named so, the program does not wait for torch
        script.write_text(
            "import sys, time; sys.argv = ['forgescope']\n"
            "from pathlib import Path\n"
            "from forgescope.construction.image_folder import find_photos\n"
            "from forgescope.construction.inpainting import write_inpainting, inpainting_config\n"
            "def slow(image, mask):\n    time.sleep(0.1)\n    return image.rotate(180)\n"
            f"photos = find_photos([Path({str(photos[0].parent)!r})])\n"
            f"write_inpainting(photos, slow, {str(tmp_path / 'killed')!r}, count=1000, model='m',\n"
            "                 config=inpainting_config(max_side=96, image_format='png'))\n"
        )
        child = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.DEVNULL)
        log = tmp_path / "killed" / ".metadata.partial.jsonl"
        deadline = time.monotonic() + 120
        while not (log.exists() and log.read_text().count("\n") >= 4):
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()

        def turn(image, mask):
            return image.rotate(180)

        kept = log.read_text().count("\n")
        result = write_inpainting(photos, turn, tmp_path / "killed", count=20, model="m", config=PNG)
        assert result.made <= 60 - min(kept, 60) + 1
        write_inpainting(photos, turn, tmp_path / "whole", count=20, model="m", config=PNG)
        expected = digest(tmp_path / "whole")
        assert expected.items() <= digest(tmp_path / "killed").items() or kept > 60

    def test_lost_files_are_made_again(self, photos, tmp_path, digest):
        result = write_inpainting(photos, blur, tmp_path, config=PNG)
        before = digest(tmp_path)
        for row in (result.rows[4], result.rows[8]):
            (tmp_path / row["file_name"]).unlink()
        assert write_inpainting(photos, blur, tmp_path, config=PNG).made == 2
        assert digest(tmp_path) == before
        assert write_inpainting(photos, blur, tmp_path, config=PNG).made == 0

    def test_a_folder_grows(self, photos, tmp_path, digest):
        for count in (2, 7):
            result = write_inpainting(photos, blur, tmp_path / "grown", count=count, config=PNG)
        write_inpainting(photos, blur, tmp_path / "whole", count=7, config=PNG)
        assert digest(tmp_path / "grown") == digest(tmp_path / "whole")
        assert (result.made, len(result.rows)) == (15, 21)
        # a photograph that is used again has another frame or region
        first, again = (json.loads(result.rows[3 * number + 1]["parameters"]) for number in (0, 5))
        assert result.rows[0]["photo"] == result.rows[15]["photo"]
        assert first["fill_seed"] != again["fill_seed"]

    def test_other_settings_are_refused(self, photos, tmp_path):
        write_inpainting(photos, blur, tmp_path, config=PNG, model="one")
        with pytest.raises(ValueError, match="was begun with other config, model, seed"):
            write_inpainting(photos, blur, tmp_path, seed=1, model="two")
        with pytest.raises(ValueError, match="was begun with other batch_size, variants"):
            write_inpainting(photos, blur, tmp_path, config=PNG, model="one", authentic=False, batch_size=2)


class TestFailures:
    def test_bad_photographs_are_left_out_and_named(self, photos, tmp_path):
        folder = tmp_path / "photos"
        folder.mkdir()
        (folder / "a.jpg").write_bytes(photos[0].read_bytes())
        (folder / "empty.jpg").write_bytes(b"")
        (folder / "cut.jpg").write_bytes(photos[0].read_bytes()[:2000])
        Image.new("RGB", (20, 20)).save(folder / "small.png")
        result = write_inpainting(find_photos([folder]), blur, tmp_path / "out", config=PNG, batch_size=4)
        assert [row["photo"] for row in result.rows] == ["a.jpg"] * 3
        assert [Path(name).name for name in result.failed_photos] == ["cut.jpg", "empty.jpg", "small.png"]
        assert result.missing == list(range(3, 12))
        for name, reason in result.failed_photos.items():
            assert reason.startswith(name)
            assert reason.count(name) == 1
        assert "20x20 pixels is too small" in result.failed_photos[str(folder / "small.png")]

    def test_a_failing_item_does_not_stop_its_batch(self, photos, tiny_pipeline, tmp_path):
        white = tmp_path / "white.png"
        Image.new("RGB", (320, 240), (255, 255, 255)).save(white)
        pipeline = FailsOnWhite(tiny_pipeline)
        result = write_inpainting([photos[0], white, photos[1]], pipeline, tmp_path / "out", config=PNG, batch_size=3)
        assert [row["photo"] for row in result.rows] == ["photo0.jpg"] * 3 + ["photo1.jpg"] * 3
        assert result.missing == [3, 4, 5]
        assert result.failed_photos == {
            str(white): f"{white}: the inpainter failed (RuntimeError: no latents for a white image)"
        }
        assert [len(sizes) for sizes in pipeline.sizes] == [3, 1, 1, 1]

    def test_a_repaired_photograph_is_made_by_the_next_run(self, photos, tiny_pipeline, tmp_path):
        works = False

        def sometimes(image, mask):
            if not works and np.asarray(image).mean() > 0:
                raise OSError("out of order")
            return blur(image, mask)

        assert write_inpainting(photos, sometimes, tmp_path, config=PNG).rows == []
        works = True
        assert write_inpainting(photos, sometimes, tmp_path, config=PNG).made == 15

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"count": 0}, "a count and a batch_size of at least 1"),
            ({"batch_size": 0}, "a count and a batch_size of at least 1"),
            ({"seed": -1}, "a seed of at least 0"),
            ({"unguided_fraction": 1.5}, "unguided_fraction must be between 0 and 1"),
            ({"prompts": []}, "prompts is empty"),
            ({"strength": 0.5}, "does not take strength"),
        ],
    )
    def test_wrong_calls(self, photos, tmp_path, options, message):
        with pytest.raises(ValueError, match=message):
            write_inpainting(photos, blur, tmp_path / "out", **options)
        assert not (tmp_path / "out").exists()

    def test_no_photographs(self, tmp_path):
        with pytest.raises(ValueError, match="expected photographs"):
            write_inpainting([], blur, tmp_path)


class TestReadingBack:
    def test_as_a_forgery_folder(self, made):
        dataset = load_forgery_folder(made[0])
        assert dataset["label"] == [row["label"] for row in made[1].rows]
        for row in dataset:
            region, generated = np.asarray(row["mask"]) > 0, np.asarray(row["ai_mask"]) > 0
            assert region.any() == (row["task"] != "authentic")
            expected = {"authentic": region, "inpainting": np.ones_like(region), "inpainting_blended": region}
            np.testing.assert_array_equal(generated, expected[row["task"]])

    def test_images_of_a_photograph_stay_on_one_side(self, made):
        sides = [set(load_forgery_folder(made[0], split)["photo"]) for split in ("train", "validation")]
        assert all(sides)
        assert not sides[0] & sides[1]

    @pytest.mark.parametrize("place", ["", "manipulations"])
    def test_as_a_part_of_the_training_mix(self, made, tmp_path, place):
        root = made[0]
        if place:
            root = tmp_path / "mix"
            root.mkdir()
            (root / place).symlink_to(made[0])
        mix = load_corpus("gamma_mix", root, cache_dir=tmp_path / "cache", split="train")
        assert list(mix["id"]) == [row["id"] for row in made[1].rows]
        assert list(mix["task"]) == [row["task"] for row in made[1].rows]
        assert list(mix["model"]) == [row["model"] for row in made[1].rows]
        assert list(mix["mask_type"]) == [row["mask_type"] for row in made[1].rows]
        assert set(mix["source"]) == {"inpainting"}
        for row, written in zip(mix, made[1].rows, strict=True):
            for column, field in (("manipulation_mask", "mask"), ("ai_mask", "ai_mask")):
                expected = pixels(made[0], written, f"{field}_file_name") > 0
                np.testing.assert_array_equal(np.asarray(row[column]) == 1, expected)


def test_names_of_models(tmp_path, tiny_pipeline):
    assert [name_of(model) for model in ("org/model", str(tmp_path), blur)] == ["org/model", tmp_path.name, "blur"]
    assert name_of(tiny_pipeline) == "StableDiffusionInpaintPipeline"
    assert name_of(SimpleNamespace(name_or_path=str(tmp_path))) == tmp_path.name


def test_open_photo_turns_upright_and_names_the_file(photo, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save(tmp_path / "turned.jpg", exif=exif)
    assert open_photo(tmp_path / "turned.jpg").size == photo.size[::-1]
    with pytest.raises(ValueError, match=r"nothing\.jpg cannot be read"):
        open_photo(tmp_path / "nothing.jpg")


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, on what is cut off
@pytest.mark.parametrize("exif", [TURNED_AND_DAMAGED, CUT_OFF], ids=["damaged", "cut off"])
def test_open_photo_turns_a_photograph_whose_exif_is_damaged(photo, tmp_path, exif):
    photo.save(tmp_path / "turned.jpg", exif=exif)
    assert open_photo(tmp_path / "turned.jpg").size == photo.size[::-1]
    photo.save(tmp_path / "upright.jpg", exif=NO_EXIF)
    assert open_photo(tmp_path / "upright.jpg").size == photo.size


def test_real_photographs(data_dir, tmp_path):
    folder = data_dir / "photo_pool"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}")
    photos = find_photos([folder])[::40]
    result = write_inpainting(photos, blur, tmp_path, config=inpainting_config(max_side=256, image_format="png"))
    assert len(result.rows) == 3 * len(photos)
    for authentic, inpainted, blended in triples(result):
        region = pixels(tmp_path, blended, "mask_file_name") > 0
        same = (pixels(tmp_path, blended) == pixels(tmp_path, authentic)).all(-1)
        assert same[~region].all()
        assert same[region].mean() < 0.5
        assert json.loads(inpainted["parameters"])["changed_outside"] > 0.5
