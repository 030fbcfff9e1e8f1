import csv
import dataclasses
import itertools
from functools import partial

import numpy as np
import pytest
from bright_regions import bright_regions, noisy_photo
from PIL import Image

from forgescope.refine import inpaint_function, native_side
from forgescope.refinement.artifacts import Artifact, union_of
from forgescope.refinement.inpaint import (
    PUBLISHED_ARGUMENTS,
    InpaintingSettings,
    box_around,
    dilate,
    fill_regions,
    inpaint_steps,
    region_prompt,
    region_seed,
)
from forgescope.refinement.records import Edit
from forgescope.refinement.stopping import StopRule

PLAIN = InpaintingSettings(dilations=0)


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def brighten(image, mask, prompt, seed):
    """An inpainting function that changes the whole image, as an autoencoder does: 10 brighter everywhere."""
    return Image.fromarray(np.clip(pixels(image) + 10, 0, 255).astype(np.uint8))


def edits_for(*artifacts) -> list[Edit]:
    return [Edit(place, "", place) for place, _ in enumerate(artifacts)]


def grown(mask: np.ndarray, side: int) -> np.ndarray:
    """Slow twin of the dilation."""
    out = np.zeros_like(mask)
    for row, column in zip(*np.nonzero(mask), strict=True):
        out[max(0, row - side) : row + side + 1, max(0, column - side) : column + side + 1] = 1
    return out


class TestRegions:
    def test_published_dilation_grows_by_ten_pixels(self, box_artifact):
        mask = box_artifact((97, 61), (40, 25, 43, 30)).mask
        assert np.array_equal(dilate(mask, InpaintingSettings()), grown(mask, 10))
        assert np.array_equal(dilate(mask, InpaintingSettings(kernel=3, dilations=2)), grown(mask, 2))
        assert np.array_equal(dilate(mask, PLAIN), mask)
        assert list(PUBLISHED_ARGUMENTS.items()) == [
            ("strength", 0.84),
            ("guidance_scale", 8.0),
            ("num_inference_steps", 25),
        ]

    def test_box(self, box_artifact):
        mask = box_artifact((97, 61), (40, 25, 60, 30)).mask
        assert box_around(mask, None) == (0, 0, 97, 61)
        assert box_around(mask, 0.0) == (40, 25, 60, 30)
        assert box_around(mask, 0.5) == (30, 15, 70, 40)
        assert box_around(mask, 10.0) == (0, 0, 97, 61)

    def test_everything_outside_the_dilated_masks_stays_bit_identical(self, photo, box_artifact):
        artifacts = [box_artifact(photo.size, (5, 5, 20, 20)), box_artifact(photo.size, (60, 40, 70, 50))]
        for settings in (InpaintingSettings(), InpaintingSettings(size=64), InpaintingSettings(size=200, context=0.5)):
            done, _ = fill_regions(photo, artifacts, edits_for(*artifacts), brighten, settings)
            outside = dilate(union_of(artifacts, (61, 97)), settings) == 0
            assert np.array_equal(pixels(done)[outside], pixels(photo)[outside])
            assert (pixels(done)[~outside] != pixels(photo)[~outside]).any()

    def test_overlapping_regions_one_after_the_other(self, photo, box_artifact):
        first, second = box_artifact(photo.size, (10, 10, 30, 30)), box_artifact(photo.size, (20, 20, 40, 40))
        done, _ = fill_regions(photo, [first, second], edits_for(1, 2), brighten, PLAIN)
        expected = pixels(photo)
        for artifact in (first, second):
            bright = np.clip(expected + 10, 0, 255)
            expected = np.where(artifact.mask[..., None] == 1, bright, expected)
        assert np.array_equal(pixels(done), expected)

    def test_overlapping_regions_by_the_equation(self, photo, box_artifact):
        """Eq. 6 literally, written out pixel by pixel; what leaves 0..255 is cut off."""
        artifacts = [box_artifact(photo.size, (10, 10, 30, 30)), box_artifact(photo.size, (20, 20, 40, 40))]
        settings = dataclasses.replace(PLAIN, parallel=True)
        seen = []

        def inpaint(image, mask, prompt, seed):
            seen.append(image)
            return Image.fromarray(255 - np.asarray(image) // (seed + 2))

        done, _ = fill_regions(photo, artifacts, edits_for(1, 2), inpaint, settings)
        before, made = pixels(photo), [255 - pixels(photo) // 2, 255 - pixels(photo) // 3]
        expected = before + sum(
            one.mask[..., None].astype(int) * (filled - before) for one, filled in zip(artifacts, made, strict=True)
        )
        assert (expected > 255).any()
        assert np.array_equal(pixels(done), np.clip(expected, 0, 255))
        assert [np.array_equal(pixels(image), before) for image in seen] == [True, True]

    def test_the_model_is_given_its_size_and_the_region_alone(self, photo, box_artifact):
        artifact, given = box_artifact(photo.size, (40, 25, 60, 30)), []

        def inpaint(image, mask, prompt, seed):
            given.append((image.size, mask.size, mask.mode, set(np.unique(np.asarray(mask)))))
            return image

        for settings in (
            dataclasses.replace(PLAIN, size=48),
            dataclasses.replace(PLAIN, size=80, context=0.5),
            dataclasses.replace(PLAIN, context=0.0),
        ):
            fill_regions(photo, [artifact], edits_for(1), inpaint, settings)
        assert [sizes[0] for sizes in given] == [(48, 30), (80, 50), (20, 5)]
        assert all(image == mask for image, mask, _, _ in given)
        assert [values for _, _, _, values in given] == [{0, 255}, {0, 255}, {255}]
        assert {mode for _, _, mode, _ in given} == {"L"}

    def test_a_thin_region_survives_the_small_size(self, photo, box_artifact):
        artifact, touched = box_artifact(photo.size, (50, 30, 51, 31)), []

        def inpaint(image, mask, prompt, seed):
            touched.append(int((np.asarray(mask) == 255).sum()))
            return image

        fill_regions(photo, [artifact], edits_for(1), inpaint, dataclasses.replace(PLAIN, size=16))
        assert touched[0] >= 1

    def test_a_region_that_fails_stays_and_is_named(self, photo, box_artifact):
        artifacts = [box_artifact(photo.size, (5, 5, 9, 9)), box_artifact(photo.size, (50, 5, 59, 9))]

        def inpaint(image, mask, prompt, seed):
            if seed == 0:
                raise RuntimeError("out of memory")
            return brighten(image, mask, prompt, seed)

        done, edits = fill_regions(photo, artifacts, edits_for(1, 2), inpaint, PLAIN)
        assert [edit.error for edit in edits] == ["RuntimeError: out of memory", None]
        changed = (pixels(done) != pixels(photo)).any(axis=-1)
        assert not changed[artifacts[0].mask == 1].any()
        assert changed[artifacts[1].mask == 1].any()
        with pytest.raises(ValueError, match="no region could be inpainted; the first: RuntimeError: out of memory"):
            fill_regions(photo, artifacts[:1], edits_for(1), inpaint, PLAIN)
        with pytest.raises(ValueError, match="must return a PIL image, got NoneType"):
            fill_regions(photo, artifacts[:1], edits_for(1), lambda *given: None, PLAIN)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"kernel": 4}, "kernel must be odd and at least 1, got 4"),
            ({"dilations": -1}, "dilations must be at least 0"),
            ({"size": 0}, "size must be at least 1"),
            ({"context": -0.1}, "context must be at least 0"),
        ],
    )
    def test_bad_settings(self, change, message):
        with pytest.raises(ValueError, match=message):
            InpaintingSettings(**change)


class TestLoop:
    def test_equal_phrases_stay_with_their_own_mask_and_explanation(self, photo, box_artifact):
        boxes = {"six fingers": (5, 5, 9, 9), "no nails": (50, 5, 59, 9), "too long": (30, 40, 39, 49)}
        artifacts = [box_artifact(photo.size, box, "hand", text) for text, box in boxes.items()]
        seen = {}

        def inpaint(image, mask, prompt, seed):
            seen[prompt] = mask.getbbox()
            return image

        steps = inpaint_steps(photo, lambda image: artifacts, inpaint, settings=PLAIN, rule=StopRule(1))
        last = list(steps)[-1]
        assert seen == {region_prompt(one): boxes[one.explanation] for one in artifacts}
        assert [edit.artifact for edit in last.edits] == [0, 1, 2]

    def test_an_empty_list_stops(self, photo):
        steps = list(inpaint_steps(photo, lambda image: [], brighten))
        assert len(steps) == 1
        assert np.array_equal(pixels(steps[0].image), pixels(photo))

    def test_empty_masks_stop_too_whatever_the_rule(self, photo):
        nothing = Artifact("hand", "six fingers", np.zeros((61, 97), np.uint8))
        assert len(list(inpaint_steps(photo, lambda image: [nothing], brighten, rule=StopRule(4)))) == 1

    def test_an_empty_mask_beside_others_is_left_out(self, photo, box_artifact):
        nothing = Artifact("hand", "six fingers", np.zeros((61, 97), np.uint8))
        found = [nothing, box_artifact(photo.size, (5, 5, 9, 9))]
        last = list(inpaint_steps(photo, lambda image: found, brighten, rule=StopRule(1)))[-1]
        assert [edit.artifact for edit in last.edits] == [1]

    def test_rounds_end_when_the_detector_is_content(self):
        """Pixels above 200 count as artifacts; each round halves them."""
        photo = Image.new("RGB", (40, 40), (60, 60, 60))
        photo.paste((255, 255, 255), (10, 10, 20, 20))

        def explain(image):
            mask = (np.asarray(image.convert("L")) > 50).astype(np.uint8)
            return [Artifact("spot", "too bright", mask)] if mask.any() else []

        def halve(image, mask, prompt, seed):
            return image.point(lambda value: value // 2)

        steps = list(inpaint_steps(photo, explain, halve, settings=PLAIN, rule=StopRule(9)))
        assert [len(step.artifacts) for step in steps] == [1, 1, 1, 0]
        assert [int(np.asarray(step.image).max()) for step in steps] == [255, 127, 63, 31]

    def test_three_rounds_by_default(self, photo):
        examined = []

        def explain(image):
            examined.append(image)
            return bright_regions(image)

        steps = list(inpaint_steps(photo, explain, brighten, explain_last=False))
        assert [step.number for step in steps] == [0, 1, 2, 3]
        assert len(examined) == 3
        assert steps[-1].artifacts is None

    def test_preference_scores_every_step(self, photo):
        steps = list(
            inpaint_steps(photo, bright_regions, brighten, prompt="a wall", rule=StopRule(5, patience=1),
                          preference=lambda image, prompt: -float(pixels(image).mean()) * (prompt == "a wall"))
        )  # fmt: skip
        assert len(steps) == 2
        assert steps[0].preference > steps[1].preference
        with pytest.raises(ValueError, match="the preference score must be a finite number, got nan"):
            next(inpaint_steps(photo, bright_regions, brighten, preference=lambda image, prompt: float("nan")))

    def test_prompts_and_seeds_of_regions(self, photo, box_artifact):
        artifact = box_artifact(photo.size, (5, 5, 9, 9))
        assert region_prompt(artifact) == "hand, natural and realistic, without this flaw: six fingers"
        assert region_prompt(artifact, "a street").startswith("hand in a street, ")
        seeds = {region_seed(42, number, place) for number in range(5) for place in range(5)}
        assert len(seeds) == 25
        assert region_seed(42, 1, 2) == region_seed(42, 1, 2) != region_seed(43, 1, 2)

    def test_tools_that_change_what_they_are_given_do_no_harm(self, photo, box_artifact):
        artifact = box_artifact(photo.size, (5, 5, 9, 9))

        def explain(image):
            image.paste(0, (0, 0, *image.size))
            return [artifact]

        first, last = inpaint_steps(photo, explain, brighten, settings=PLAIN, rule=StopRule(1))
        assert np.array_equal(pixels(first.image), pixels(photo))
        assert (pixels(last.image) != pixels(photo)).any(axis=-1).sum() <= artifact.mask.sum()

    def test_bad_arguments_are_refused_at_once(self, photo):
        with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
            inpaint_steps(photo, bright_regions, brighten, seed=-1)


class TestPipeline:
    def run(self, pipeline, image, seed=42, rounds=1, **settings):
        inpaint = inpaint_function(pipeline, num_inference_steps=2)
        settings = InpaintingSettings(size=native_side(pipeline), dilations=1, **settings)
        return list(inpaint_steps(image, bright_regions, inpaint, settings=settings, seed=seed, rule=StopRule(rounds)))

    @pytest.mark.parametrize("size", [(97, 61), (33, 150), (64, 64), (9, 7)])
    def test_any_size_stays_bit_identical_outside(self, inpainting_pipeline, size):
        image = noisy_photo(*size)
        first, last = self.run(inpainting_pipeline, image)
        outside = grown(union_of(first.artifacts, size[::-1]), 2) == 0
        assert last.image.size == size
        assert np.array_equal(pixels(last.image)[outside], pixels(image)[outside])
        assert np.abs(pixels(last.image) - pixels(image))[~outside].mean() > 5

    def test_seeds_reproduce(self, inpainting_pipeline, photo):
        first, again, other = (self.run(inpainting_pipeline, photo, seed, rounds=2) for seed in (1, 1, 2))
        assert all(np.array_equal(pixels(a.image), pixels(b.image)) for a, b in zip(first, again, strict=True))
        assert not np.array_equal(pixels(first[1].image), pixels(other[1].image))

    def test_a_crop_gives_other_pixels_than_the_whole(self, inpainting_pipeline, photo):
        whole, crop = self.run(inpainting_pipeline, photo), self.run(inpainting_pipeline, photo, context=0.5)
        assert not np.array_equal(pixels(whole[-1].image), pixels(crop[-1].image))

    def test_real_images(self, inpainting_pipeline, data_dir):
        with (data_dir / "generated" / "manifest.csv").open() as file:
            rows = [row for row in csv.DictReader(file) if row["source_repo"]]
        chosen = [next(row for row in rows if (row["width"] != row["height"]) is oblong) for oblong in (True, False)]
        for row in chosen:
            image = Image.open(data_dir / "generated" / row["file"]).convert("RGB")
            steps = self.run(inpainting_pipeline, image, rounds=2)
            assert len(steps) == 3
            for before, after in itertools.pairwise(steps):
                union = union_of(before.artifacts, (image.height, image.width))
                outside = dilate(union, InpaintingSettings(dilations=1)) == 0
                assert 0.5 < outside.mean() < 1
                assert np.array_equal(pixels(after.image)[outside], pixels(before.image)[outside])
                assert (pixels(after.image) != pixels(before.image)).any()

    def test_published_arguments_are_sent(self, photo):
        given = {}

        class Kandinsky:
            def __call__(self, prompt, image, mask_image, strength=1.0, guidance_scale=1.0, generator=None):
                given.update(strength=strength, guidance_scale=guidance_scale)
                return type("Output", (), {"images": [image]})

        mask = Image.new("L", photo.size, 255)
        inpaint_function(Kandinsky())(photo, mask, "a", 1)
        assert given == {"strength": 0.84, "guidance_scale": 8.0}
        inpaint_function(Kandinsky(), strength=0.5)(photo, mask, "a", 1)
        assert given["strength"] == 0.5

    def test_a_pipeline_for_something_else(self, inpainting_pipeline, text_to_image_pipeline):
        with pytest.raises(ValueError, match="StableDiffusionPipeline cannot inpaint: its call takes no image"):
            inpaint_function(text_to_image_pipeline)
        with pytest.raises(ValueError, match="does not take size: leave it out"):
            inpaint_function(inpainting_pipeline, size=3)

        def silent(image, mask_image):
            return image

        with pytest.raises(ValueError, match="takes no prompt, so explanations cannot guide it"):
            inpaint_function(silent)

    def test_native_side(self, inpainting_pipeline):
        assert native_side(inpainting_pipeline) == 64
        assert native_side(partial(brighten)) is None
