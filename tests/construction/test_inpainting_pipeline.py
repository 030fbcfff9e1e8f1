import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from forgescope.construction.image_folder import find_photos
from forgescope.construction.inpainters import PipelineInpainter, as_inpainter, load_pipeline, side_multiple
from forgescope.construction.inpainting import open_photo
from forgescope.construction.manipulation import ManipulationConfig, manipulate
from forgescope.construction.manipulation_folder import FolderJob, write_manipulations

STEPS = {"num_inference_steps": 2}


def frame(photo, size=(64, 48)) -> tuple[Image.Image, Image.Image]:
    mask = np.zeros(size[::-1], np.uint8)
    mask[10:30, 20:40] = 255
    return photo.resize(size), Image.fromarray(mask)


def difference(first: Image.Image, second: Image.Image) -> int:
    return int(np.abs(np.asarray(first).astype(int) - np.asarray(second)).max())


class TestPipelineInpainter:
    def test_one_image(self, tiny_pipeline, photo):
        image, mask = frame(photo)
        inpainter = PipelineInpainter(tiny_pipeline, **STEPS)
        state = torch.get_rng_state()
        first, second = inpainter(image, mask), inpainter(image, mask)
        assert (first.mode, first.size) == ("RGB", image.size)
        assert difference(first, second) == 0
        assert difference(first, image) > 50
        assert torch.equal(torch.get_rng_state(), state)

    def test_seed_prompt_image_and_mask_decide(self, tiny_pipeline, photo):
        image, mask = frame(photo)
        plain = PipelineInpainter(tiny_pipeline, **STEPS)(image, mask)
        assert difference(PipelineInpainter(tiny_pipeline, seed=1, **STEPS)(image, mask), plain) > 50
        assert difference(PipelineInpainter(tiny_pipeline, prompt="a red car", **STEPS)(image, mask), plain) > 5
        other = Image.fromarray(np.asarray(mask)[::-1].copy())
        assert difference(PipelineInpainter(tiny_pipeline, **STEPS)(image, other), plain) > 50

    def test_a_batch_gives_what_each_alone_gives(self, tiny_pipeline, photo):
        image, mask = frame(photo)
        inpainter = PipelineInpainter(tiny_pipeline, **STEPS)
        mirrored = Image.fromarray(np.asarray(image)[:, ::-1].copy())
        batch = inpainter.fill([image, mirrored], [mask, mask], ["", "a cat"], [1, 2])
        alone = [inpainter.fill([image], [mask], [""], [1])[0], inpainter.fill([mirrored], [mask], ["a cat"], [2])[0]]
        assert max(map(difference, batch, alone)) <= 2

    def test_any_size_is_mirrored_up_and_cut_again(self, tiny_pipeline, photo):
        image, mask = frame(photo, (61, 43))
        inpainter = PipelineInpainter(tiny_pipeline, **STEPS)
        pixels, region = np.asarray(image), np.asarray(mask)
        padded = [
            np.concatenate([pixels, pixels[:, :-4:-1]], axis=1),
            np.concatenate([region, region[:, :-4:-1]], axis=1),
        ]
        padded = [np.concatenate([one, one[:-6:-1]]) for one in padded]
        whole = inpainter.fill([Image.fromarray(padded[0])], [Image.fromarray(padded[1])], [""], [7])[0]
        part = inpainter.fill([image], [mask], [""], [7])[0]
        assert (whole.size, part.size) == ((64, 48), (61, 43))
        assert difference(whole.crop((0, 0, 61, 43)), part) == 0

    def test_unknown_arguments_and_other_objects_are_refused(self, tiny_pipeline):
        with pytest.raises(ValueError, match="InpaintPipeline does not take colour, tempo: leave it out"):
            PipelineInpainter(tiny_pipeline, tempo=1, colour=2)
        with pytest.raises(ValueError, match="cannot inpaint: its call takes no image and mask_image"):
            PipelineInpainter(lambda image: image)
        with pytest.raises(ValueError, match="expected a pipeline or a function of image and mask, got str"):
            as_inpainter("org/model")
        with pytest.raises(ValueError, match="a function of image and mask does not take strength"):
            as_inpainter(lambda image, mask: image, strength=1.0)

    def test_a_pipeline_without_prompt(self):
        def unguided(image, mask_image, generator):
            assert generator.initial_seed() == 5
            return SimpleNamespace(images=[image])

        image, mask = Image.new("RGB", (16, 16), (9, 9, 9)), Image.new("L", (16, 16))
        inpainter = PipelineInpainter(unguided)
        assert not inpainter.takes_prompts
        assert difference(inpainter.fill([image], [mask], [""], [5])[0], image) == 0
        with pytest.raises(ValueError, match="does not take prompt"):
            PipelineInpainter(unguided, prompt="a cat")

    @pytest.mark.parametrize(
        ("output", "message"),
        [
            ({"images": []}, "the pipeline returned 0 images for 1"),
            (
                {"images": [Image.new("RGB", (16, 16))], "nsfw_content_detected": [True]},
                "the pipeline's safety checker blanked the image",
            ),
            ({"images": [np.zeros((16, 16, 3), np.float32)]}, "must return a PIL image, got ndarray"),
        ],
    )
    def test_unusable_results(self, output, message):
        inpainter = PipelineInpainter(lambda image, mask_image: SimpleNamespace(**output))
        with pytest.raises(ValueError, match=message):
            inpainter(Image.new("RGB", (16, 16)), Image.new("L", (16, 16)))

    def test_multiples_of_the_image_processor_come_first(self, tiny_pipeline):
        assert side_multiple(tiny_pipeline) == 8
        packed = SimpleNamespace(vae_scale_factor=8, image_processor=SimpleNamespace(config={"vae_scale_factor": 16}))
        assert side_multiple(packed) == 16
        assert side_multiple(SimpleNamespace(vae_scale_factor=32)) == 32
        assert side_multiple(object()) == 8


class TestInTheManipulationEngine:
    def test_the_same_item_every_time(self, tiny_pipeline, photo):
        config = ManipulationConfig(max_side=90)
        made = [
            manipulate(
                photo,
                "inpainting_blended",
                np.random.default_rng(2),
                config,
                inpainter=PipelineInpainter(tiny_pipeline, **STEPS),
            )
            for _ in range(2)
        ]
        assert made[0].encoded == made[1].encoded
        assert made[0].parameters["fill"] == "callable"

    def test_a_folder_goes_on_with_the_same_bytes(self, tiny_pipeline, photo_folder, tmp_path, digest):
        config = ManipulationConfig(max_side=64).with_tasks(["inpainting", "inpainting_blended"])
        inpainter = PipelineInpainter(tiny_pipeline, **STEPS)

        def job(out):
            return FolderJob(find_photos([photo_folder]), out, 1, config, open_photo, inpainter)

        write_manipulations(job(tmp_path / "whole"), 4)
        for count in (1, 4):
            write_manipulations(job(tmp_path / "parts"), count)
        assert digest(tmp_path / "parts") == digest(tmp_path / "whole")

    def test_a_failing_inpainter_is_reported(self, photo_folder, tmp_path):
        def fail(image, mask):
            raise IndexError("no such token")

        config = ManipulationConfig(max_side=64).with_tasks(["inpainting"])
        job = FolderJob(find_photos([photo_folder]), tmp_path, 1, config, open_photo, fail)
        result = write_manipulations(job, 1)
        assert result.missing == [0]
        assert all(
            "the inpainter failed (IndexError: no such token)" in text for text in result.failed_photos.values()
        )


class TestLoading:
    def test_a_saved_pipeline(self, tiny_pipeline, tiny_pipeline_folder, photo):
        loaded = load_pipeline(str(tiny_pipeline_folder), "cpu")
        image, mask = frame(photo)
        assert type(loaded) is type(tiny_pipeline)
        expected = PipelineInpainter(tiny_pipeline, **STEPS)(image, mask)
        assert difference(PipelineInpainter(loaded, **STEPS)(image, mask), expected) == 0

    def test_dtype(self, tiny_pipeline_folder, photo):
        loaded = load_pipeline(str(tiny_pipeline_folder), "cpu", "bfloat16")
        assert loaded.unet.dtype == loaded.vae.dtype == torch.bfloat16
        assert PipelineInpainter(loaded, num_inference_steps=1)(*frame(photo)).size == (64, 48)
        with pytest.raises(ValueError, match="unknown dtype 'float8': expected one of float32, float16, bfloat16"):
            load_pipeline(str(tiny_pipeline_folder), "cpu", "float8")

    def test_no_such_pipeline(self, tmp_path):
        with pytest.raises(
            OSError, match="no pipeline '.*nowhere' can be loaded: expected a folder with model_index.json"
        ):
            load_pipeline(str(tmp_path / "nowhere"), "cpu")

    def test_missing_diffusers_names_the_command(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "diffusers", None)
        with pytest.raises(ImportError, match=r'inpainting needs diffusers: pip install "forgescope\[refine\]"'):
            load_pipeline("org/model")
