"""LegionProcessor: equal to the published code, before and after it is saved; images, masks, prompts, explanations."""

import copy
import logging
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fixture_tokenizer import IMAGE_SENTINEL, fixture_tokenizer, words_between_tags
from legion_processor import legion_processor
from llama_tokenizer import llama_tokenizer
from parity import expanded, legion_config, legion_from_parity, parity_image_tokens
from PIL import Image
from tiny_models import tiny_model
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoTokenizer, pipeline
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from forgescope.processing.grounded_explanation import ground
from forgescope.processing.grounded_text import QUESTION, plain_text, write_grounded_text
from forgescope.processing.grounding_tokens import ADDED_TOKENS
from forgescope.processing.processing_legion import OVERVIEW, LegionProcessor

SIZE, GROUNDING_SIZE = 28, 64
PATCHES = (SIZE // 14) ** 2
ANSWER = "<p> The hand </p> [SEG]: six fingers. <p> The eyes </p> [SEG]: they differ."


@pytest.fixture(scope="module")
def built():
    return legion_processor(SIZE, GROUNDING_SIZE)


def loaded_twice(processor, folder):
    """Saved and loaded twice: what is forgotten may be forgotten at the second time only."""
    processor.save_pretrained(folder / "first")
    LegionProcessor.from_pretrained(folder / "first").save_pretrained(folder / "second")
    return LegionProcessor.from_pretrained(folder / "second")


@pytest.fixture(scope="module")
def loaded(built, tmp_path_factory):
    return loaded_twice(built, tmp_path_factory.mktemp("processor"))


@pytest.fixture(params=["built", "loaded"])
def processor(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def published(legion_parity):
    """A processor of the fixture's sizes, with a tokenizer of its pieces and ids."""
    clip = legion_parity["meta"]["clip"]
    crop = {"height": clip["image_size"], "width": clip["image_size"]}
    return LegionProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": clip["image_size"]}, crop_size=crop),
        tokenizer=fixture_tokenizer(legion_parity),
        patch_size=clip["patch_size"],
    )


@pytest.fixture(params=["built", "loaded"])
def either(request, published, tmp_path_factory):
    """The fixture's processor, also saved and loaded."""
    return published if request.param == "built" else loaded_twice(published, tmp_path_factory.mktemp("published"))


@pytest.fixture
def photo():
    return noise(75, 100)


def noise(height, width, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def asked(conversation):
    """Question and answer of a conversation of the fixture."""
    prompt, answer = conversation.split(" ASSISTANT: ")
    return prompt.split(f"USER: {OVERVIEW}\n")[1], answer.removesuffix("</s>")


def test_ids_of_the_probes_are_those_of_the_published_code(either, legion_parity):
    for probe in legion_parity["tokens"]:
        ids = either.tokenizer(probe["text"])["input_ids"]
        assert ids == probe["ids"]
        assert either.tokenizer.convert_ids_to_tokens(ids) == probe["tokens"]
    expected = legion_parity["meta"]["token_ids"]
    assert either.tokenizer.convert_tokens_to_ids(list(ADDED_TOKENS)) == [expected[token] for token in ADDED_TOKENS]
    either.check_token_ids(legion_config(legion_parity))


def test_texts_of_the_probes_are_those_of_the_published_code(either, legion_parity):
    skipped = ("<s>", "</s>")
    for probe, text in zip(
        legion_parity["tokens"], either.decode_grounded([one["ids"] for one in legion_parity["tokens"]]), strict=True
    ):
        expected = probe["decoded"]
        for token in skipped:
            expected = expected.replace(token, " ")
        # blanks apart, of which the published code writes two where a special token ends the text
        assert text.split() == expected.split()


def test_blanks_are_those_of_the_published_code_with_the_vocabulary_of_llama(processor, legion_parity):
    tokenizer = processor.tokenizer
    for probe in legion_parity["tokens"]:
        pieces = tokenizer.convert_ids_to_tokens(tokenizer(probe["text"])["input_ids"])
        assert words_between_tags(pieces) == words_between_tags(probe["tokens"])


def test_training_inputs_are_those_of_the_published_code(either, legion_parity):
    batch, sizes = legion_parity["train"]["batch"], legion_parity["train"]["orig_sizes"]
    questions, answers = zip(*map(asked, batch["conversation_list"]), strict=True)
    images = [noise(height, width) for height, width in sizes]
    inputs = either.training_inputs(images, answers, batch["masks_list"], questions=questions)
    ids, features = batch["input_ids"], parity_image_tokens(legion_parity)
    assert torch.equal(inputs["input_ids"], expanded(ids, features, IMAGE_SENTINEL, either.image_token_id))
    places = batch["labels"].where(ids != IMAGE_SENTINEL, IMAGE_SENTINEL)
    assert torch.equal(inputs["labels"], expanded(places, features, IMAGE_SENTINEL, -100))
    assert torch.equal(inputs["attention_mask"].sum(dim=1), batch["attention_masks"].sum(dim=1) + features - 1)
    for mask, expected in zip(inputs["masks"], batch["masks_list"], strict=True):
        assert torch.equal(mask.float(), expected)


def test_prompts_are_those_of_the_published_code(either, legion_parity):
    expected = legion_parity["generate"]
    image = noise(*legion_parity["train"]["orig_sizes"][0])
    assert either.prompts(image) == [expected["prompt"]]
    ids = either.inference_inputs(image)["input_ids"]
    features = parity_image_tokens(legion_parity)
    assert torch.equal(ids, expanded(expected["prompt_ids"], features, IMAGE_SENTINEL, either.image_token_id))


def test_pixels_are_those_of_the_published_code(legion_parity, tmp_path):
    expected = legion_parity["preprocess"]
    rgb = expected["rgb"].numpy()
    large = LegionProcessor(tokenizer=llama_tokenizer())
    large.save_pretrained(tmp_path)
    for processor in (large, LegionProcessor.from_pretrained(tmp_path)):
        for image in (rgb, Image.fromarray(rgb), expected["rgb"].permute(2, 0, 1)):
            assert torch.equal(processor.detection_inputs(image)["pixel_values"][0], expected["clip336"])
        sam = processor.grounding_image_processor
        mean, std = (torch.tensor(values)[:, None, None] for values in (sam.image_mean, sam.image_std))
        for edge, resized in expected["sam"].items():
            seen = processor.grounding_inputs(Image.fromarray(rgb), longest_edge=int(edge))
            height, width = resized.shape[:2]
            assert seen["grounding_sizes"].tolist() == [[height, width]]
            pixels = seen["grounding_pixel_values"][0]
            assert pixels.shape == (3, 1024, 1024)
            assert pixels[:, height:].abs().sum() == pixels[:, :, width:].abs().sum() == 0
            pixels = pixels[:, :height, :width]
            wanted = (resized.permute(2, 0, 1) / 255 - mean) / std
            torch.testing.assert_close(pixels, wanted, rtol=0, atol=1e-6)
            assert torch.equal(((pixels * std + mean) * 255).round().byte(), resized.permute(2, 0, 1))
    rougher = LegionProcessor.from_pretrained(tmp_path, backend="torchvision")
    assert 0 < (rougher.detection_inputs(rgb)["pixel_values"][0] - expected["clip336"]).abs().max() < 0.05


def test_what_a_model_generates_becomes_masks_of_the_image(published, legion_parity):
    expected, train = legion_parity["generate"], legion_parity["train"]
    model = legion_from_parity(legion_parity)
    model.lm_head.weight.data.copy_(expected["lm_head_weight"])
    size = train["orig_sizes"][0]
    inputs = published.inference_inputs(noise(*size))
    assert inputs["original_sizes"].tolist() == [list(size)]
    # the fixture's pixels are drawn at random; its SAM is smaller than the processor's
    inputs["pixel_values"] = train["batch"]["global_enc_images"][:1]
    inputs["grounding_pixel_values"] = train["batch"]["grounding_enc_images"][:1]
    inputs["grounding_sizes"] = torch.tensor(train["batch"]["resize_list"][:1])
    count = expected["sequences"].shape[1] - expected["prompt_ids"].shape[1]
    generated = model.generate_grounded(**inputs, max_new_tokens=count, do_sample=False)
    (found,) = published.post_process_grounded(generated)
    masks = expected["pred_masks"][0]
    assert len(found.phrases) == len(masks)
    # pixels whose logit is within rounding of the threshold may fall on either side
    for one, logits in zip(found.phrases, masks, strict=True):
        assert one.mask.dtype == np.uint8
        certain = logits.abs() > 1e-4
        assert torch.equal(torch.from_numpy(one.mask)[certain], (logits > 0).to(torch.uint8)[certain])
        inside = logits.sigmoid()[logits > 0]
        assert one.score == pytest.approx(inside.mean().item() if len(inside) else 0.0, abs=1e-3)
    assert np.array_equal(found.mask, np.stack([one.mask for one in found.phrases]).max(axis=0))
    assert 0 < found.fake_probability < 1
    for problem in ("[SEG] 1 has no phrase", "the answer does not end: raise max_new_tokens"):
        assert problem in found.problems


def test_each_answer_of_a_batch_gets_its_own_masks(built):
    model = tiny_model("legion")
    answers = [f"{ANSWER}</s>", f"{ANSWER} <p> A wall </p> [SEG] no end [SEG]", "No artifacts.</s>"]
    scripts = [built.tokenizer(text, add_special_tokens=False)["input_ids"] for text in answers]
    images = [noise(75, 100), noise(40, 30, 1), noise(64, 64, 2)]
    inputs = built.inference_inputs(images, ["What is odd?", QUESTION, "What?"])
    start, count = inputs["input_ids"].shape[1], len(scripts[1])

    def follow(row, ids):
        """The model may only say what is in its script."""
        script = scripts[row] + [built.tokenizer.pad_token_id] * count
        return [script[len(ids) - start]]

    generated = model.generate_grounded(**inputs, prefix_allowed_tokens_fn=follow, max_new_tokens=count)
    threshold = generated.mask_logits[0].sigmoid().median().item()
    both, wall, none = built.post_process_grounded(generated, threshold)
    phrases = [("The hand", "six fingers."), ("The eyes", "they differ.")]
    assert [(one.phrase, one.explanation) for one in both.phrases] == phrases
    assert [(one.phrase, one.explanation) for one in wall.phrases] == [*phrases, ("A wall", "no end"), ("", "")]
    assert both.problems == []
    assert wall.problems == ["[SEG] 4 has no phrase", "the answer does not end: raise max_new_tokens"]
    assert (none.text, none.phrases, none.problems, none.mask.sum()) == ("No artifacts.", [], [], 0)
    assert 0 < both.mask.mean() < 1
    for row, (found, image) in enumerate(zip((both, wall, none), images, strict=True)):
        assert found.mask.shape == (image.height, image.width)
        assert found.fake_probability == pytest.approx(generated.fake_probability[row].item())
        for one, logits in zip(found.phrases, generated.mask_logits[row], strict=True):
            probability = logits.sigmoid().numpy()
            certain = abs(probability - threshold) > 1e-5
            assert np.array_equal(one.mask[certain], (probability > threshold)[certain])
            assert one.score == pytest.approx(probability[one.mask > 0].mean() if one.mask.any() else 0)
    with pytest.raises(ValueError, match="expected a threshold between 0 and 1, got 1"):
        built.post_process_grounded(generated, threshold=1)
    sizes = inputs.pop("original_sizes")
    smaller = model.generate_grounded(**inputs, prefix_allowed_tokens_fn=follow, max_new_tokens=count)
    for found, later in zip((both, wall, none), built.post_process_grounded(smaller, threshold, sizes), strict=True):
        assert np.array_equal(later.probability_map, found.probability_map)
        for one, same in zip(found.phrases, later.phrases, strict=True):
            assert np.array_equal(one.mask, same.mask)
            assert one.score == same.score


class LargestTensor(TorchDispatchMode):
    """Remembers how many values the largest tensor has that is made."""

    values = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **kwargs or {})
        if isinstance(made, torch.Tensor):
            self.values = max(self.values, made.numel())
        return made


@pytest.mark.parametrize("size", [(40, 30), (300, 410)])
def test_masks_are_made_one_at_a_time_and_equal_those_made_at_once(size):
    low = torch.randn(5, 60, 48, generator=torch.Generator().manual_seed(0))
    text = " ".join(f"<p> {number} </p> [SEG]" for number in range(5))
    with LargestTensor() as largest:
        found = ground(text, low, 0.7, size=torch.tensor(size))
    assert largest.values == max(low.numel(), size[0] * size[1])
    logits = F.interpolate(low[:, None], size, mode="bilinear", align_corners=False)[:, 0]
    masks = logits > math.log(0.7 / 0.3)
    scores = (logits.sigmoid() * masks).sum(dim=(1, 2)) / masks.sum(dim=(1, 2)).clamp(min=1)
    assert [one.score for one in found.phrases] == scores.tolist()
    assert np.array_equal(np.stack([one.mask for one in found.phrases]), masks.numpy())
    assert found.phrases[0].mask.dtype == found.mask.dtype == np.uint8
    assert np.array_equal(found.mask, masks.any(dim=0).numpy())
    assert np.array_equal(found.probability_map, logits.amax(dim=0).sigmoid().numpy())
    whole = ground(text, logits, 0.7)
    assert [one.score for one in whole.phrases] == scores.tolist()
    assert np.array_equal(whole.probability_map, found.probability_map)
    none = ground("Nothing.", low[:0], size=size)
    assert (none.mask.shape, none.mask.any(), none.probability_map.any()) == (size, False, False)


def test_a_phrase_without_a_mask_has_an_empty_one():
    logits = torch.full((1, 2, 3), -1.0)
    logits[0, 0] = 1.0
    found = ground("<p> A </p>: x <p> B </p> [SEG]: y", logits)
    first, second = found.phrases
    assert (first.phrase, first.score, first.mask.tolist()) == ("A", None, [[0, 0, 0]] * 2)
    assert (second.phrase, second.mask.tolist()) == ("B", [[1, 1, 1], [0, 0, 0]])
    assert second.score == pytest.approx(torch.tensor(1.0).sigmoid().item())
    assert found.mask.tolist() == second.mask.tolist()
    assert ground("[SEG]", -logits.abs()).phrases[0].score == 0
    with pytest.raises(ValueError, match=r"expected a mask for each of the 1 \[SEG\] of the answer, got 2"):
        ground("[SEG]", torch.zeros(2, 3, 3))


def test_the_tokenizer_of_a_checkpoint_is_the_same_without_the_processor(built, tmp_path):
    built.save_pretrained(tmp_path)
    text = f"{built.prompts(noise(9, 9))[0]} {ANSWER}"
    assert AutoTokenizer.from_pretrained(tmp_path)(text)["input_ids"] == built.tokenizer(text)["input_ids"]


def test_added_tokens_that_keep_blanks_are_mended(built):
    text = f"USER: Where? ASSISTANT: {ANSWER}"
    expected = built.tokenizer(text)["input_ids"]
    tokenizer = llama_tokenizer()
    tokenizer.add_tokens(list(ADDED_TOKENS), special_tokens=True)
    assert tokenizer(text)["input_ids"] != expected
    mended = LegionProcessor(tokenizer=tokenizer)
    assert mended.tokenizer(text)["input_ids"] == expected
    assert (mended.seg_token_id, mended.image_token_id) == (32004, 32007)


def test_only_the_answer_and_its_end_are_learnt(built, photo):
    inputs = built.training_inputs([photo, photo], [ANSWER, "No artifacts."], forgery_labels=[1, 0])
    for row, answer in enumerate((ANSWER, "No artifacts.")):
        labels = inputs["labels"][row]
        assert built.decode_grounded([labels[labels != -100]]) == [answer.replace("[SEG]:", "[SEG] :")]
        assert labels[labels != -100][-1] == built.tokenizer.eos_token_id
        assert (inputs["input_ids"][row] == built.image_token_id).sum() == PATCHES
    assert inputs["attention_mask"][1].tolist() == sorted(inputs["attention_mask"][1].tolist(), reverse=True)
    assert inputs["forgery_labels"].tolist() == [1, 0]
    assert "masks" not in inputs


def test_masks_follow_their_phrases(built, photo):
    masks = np.zeros((3, 75, 100), np.uint8)
    for number, mask in enumerate(masks):
        mask[number] = 255
    text, order = write_grounded_text("Odd. eye: dim. hand: fused.", ["hand", "foot", "eye"])
    assert order == [2, 0]
    inputs = built.training_inputs([photo, photo], [text, "Fine."], [masks[order], None])
    assert [one.shape for one in inputs["masks"]] == [(2, 75, 100), (0, 75, 100)]
    assert [one.dtype for one in inputs["masks"]] == [torch.uint8] * 2
    assert inputs["masks"][0][:, :3].sum(dim=2).tolist() == [[0, 0, 100], [100, 0, 0]]
    alike = [Image.fromarray(masks[2]), torch.from_numpy(masks[0] > 0)]
    again = built.training_inputs([photo], [text], [alike])
    assert torch.equal(again["masks"][0], inputs["masks"][0])


def test_a_long_answer_is_cut_and_so_are_its_masks(photo, caplog):
    masks = torch.zeros(2, 75, 100)
    masks[1] = 1
    processor = legion_processor(SIZE)

    def cut_at(length):
        processor.max_length = length
        return processor.training_inputs([photo], [ANSWER], [masks])

    whole = cut_at(1536)
    ids = whole["input_ids"][0].tolist()
    second = len(ids) - ids[::-1].index(32004) - 1
    with caplog.at_level(logging.WARNING):
        cut, kept = cut_at(second), cut_at(second + 1)
    assert caplog.messages == [
        f"max_length={second} cuts the end off 1 of 1 answers",
        f"max_length={second} cuts 1 [SEG] off the answers, and their masks",
        f"max_length={second + 1} cuts the end off 1 of 1 answers",
    ]
    for name in ("input_ids", "labels", "attention_mask"):
        assert torch.equal(cut[name], whole[name][:, :second])
    assert torch.equal(cut["masks"][0], whole["masks"][0][:1])
    assert torch.equal(kept["masks"][0], whole["masks"][0])
    prompt = int((whole["labels"] == -100).sum())
    with pytest.raises(ValueError, match=f"max_length={prompt} leaves no token of answer 0: shorten the question"):
        cut_at(prompt)
    with pytest.raises(ValueError, match=f"max_length cuts off tokens of the image, which has {PATCHES} of them"):
        cut_at(30)
    with pytest.raises(ValueError, match=f"tokens, {PATCHES} of them for the image, but max_length is 30: shorten"):
        processor.inference_inputs([photo])


def test_a_batch_is_padded_on_the_left(processor, photo):
    questions, images = ["What is odd?", QUESTION], [photo, noise(40, 30)]
    batch = processor.inference_inputs(images, questions)
    assert batch["pixel_values"].shape == (2, 3, SIZE, SIZE)
    assert batch["grounding_pixel_values"].shape == (2, 3, GROUNDING_SIZE, GROUNDING_SIZE)
    assert batch["grounding_sizes"].tolist() == [[48, 64], [64, 48]]
    assert batch["original_sizes"].tolist() == [[75, 100], [40, 30]]
    for row, (image, question) in enumerate(zip(images, questions, strict=True)):
        alone = processor.inference_inputs(image, question)
        ids = alone.pop("input_ids")[0]
        padding = batch["input_ids"].shape[1] - len(ids)
        assert torch.equal(batch["input_ids"][row, padding:], ids)
        assert batch["attention_mask"][row].tolist() == [0] * padding + [1] * len(ids)
        assert (batch["input_ids"][row, :padding] == processor.tokenizer.pad_token_id).all()
        del alone["attention_mask"]
        for name, value in alone.items():
            assert torch.equal(batch[name][row], value[0])


def pixel(processor, image):
    """RGB values of the middle, as CLIP and as SAM sees them."""
    inputs = processor.inference_inputs(image)
    height, width = (side // 2 for side in inputs["grounding_sizes"][0].tolist())
    seen = []
    for part, values in (
        (processor.image_processor, inputs["pixel_values"][0, :, SIZE // 2, SIZE // 2]),
        (processor.grounding_image_processor, inputs["grounding_pixel_values"][0, :, height, width]),
    ):
        mean, std = torch.tensor(part.image_mean), torch.tensor(part.image_std)
        seen.append(((values * std + mean) * 255).round().tolist())
    return seen


def test_images_of_any_mode_are_seen_as_displayed(built):
    def seen(image):
        by_clip, by_sam = pixel(built, image)
        assert by_clip == by_sam
        return by_sam

    assert seen(Image.new("RGB", (30, 20), (1, 2, 3))) == [1, 2, 3]
    assert seen(Image.new("1", (30, 20), 1)) == [255, 255, 255]
    assert seen(Image.new("L", (30, 20), 77)) == [77, 77, 77]
    assert seen(Image.new("LA", (30, 20), (77, 0))) == [255, 255, 255]
    assert seen(Image.new("RGB", (30, 20), (0, 0, 255)).convert("P")) == [0, 0, 255]
    assert seen(Image.new("RGBA", (30, 20), (0, 0, 0, 0))) == [255, 255, 255]
    assert seen(Image.new("CMYK", (30, 20), (0, 255, 255, 0))) == [255, 0, 0]
    assert seen(Image.new("I;16", (30, 20), 32896)) == [128, 128, 128]
    assert seen(np.full((20, 30), 9, np.uint8)) == [9, 9, 9]
    assert seen(np.full((20, 30, 3), 9, np.uint8)) == [9, 9, 9]
    assert seen(torch.full((3, 20, 30), 9, dtype=torch.uint8)) == [9, 9, 9]
    with pytest.raises(ValueError, match=r"floating-point ones \(mode F\)"):
        built.inference_inputs(Image.new("F", (30, 20)))


@pytest.mark.parametrize("size", [(1, 3000), (3000, 1), (1, 1), (2, 1)])
def test_images_of_extreme_shapes(built, size):
    width, height = size
    inputs = built.inference_inputs(Image.new("RGB", size, (255, 0, 0)))
    assert inputs["pixel_values"].shape == (1, 3, SIZE, SIZE)
    assert inputs["original_sizes"].tolist() == [[height, width]]
    scale = GROUNDING_SIZE / max(size)
    expected = [[max(1, round(side * scale)) for side in (height, width)]]
    assert inputs["grounding_sizes"].tolist() == expected
    assert pixel(built, Image.new("RGB", size, (255, 0, 0))) == [[255, 0, 0]] * 2
    inputs = built.training_inputs(Image.new("RGB", size), "<p> A </p> [SEG]", [np.zeros((1, height, width))])
    assert inputs["masks"][0].shape == (1, height, width)


def test_long_images_are_cut_only_where_clip_sees_nothing(built):
    narrow = noise(10, 200)
    longer = Image.new("RGB", (300, 10))
    longer.paste(narrow, (50, 0))
    values = [built.detection_inputs(image)["pixel_values"] for image in (narrow, longer)]
    assert torch.equal(*values)


def test_a_path_is_read_like_its_image(built, photo, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save(tmp_path / "lying.png", exif=exif)
    upright = photo.transpose(Image.Transpose.ROTATE_270)
    files = [str(tmp_path / "lying.png"), tmp_path / "lying.png"]
    from_path, from_image = (built.inference_inputs(images) for images in (files, [upright] * 2))
    for name, value in from_image.items():
        assert torch.equal(from_path[name], value)
    # masks are those of the image as displayed
    inputs = built.training_inputs(files[:1], ["<p> A </p> [SEG]"], [np.ones((1, 100, 75), bool)])
    assert inputs["masks"][0].shape == (1, 100, 75)


def test_sam_may_see_images_smaller_than_its_input(built, photo):
    inputs = built.inference_inputs(photo, longest_edge=32)
    assert inputs["grounding_sizes"].tolist() == [[24, 32]]
    assert inputs["grounding_pixel_values"].shape == (1, 3, GROUNDING_SIZE, GROUNDING_SIZE)
    assert built.training_inputs([photo], [ANSWER], longest_edge=16)["grounding_sizes"].tolist() == [[12, 16]]
    with pytest.raises(ValueError, match="expected a longest_edge of 1 to 64 pixels, the input of SAM, got 65"):
        built.grounding_inputs(photo, longest_edge=65)


def test_what_does_not_fit_together_is_refused(built, photo):
    mask = np.zeros((75, 100))
    with pytest.raises(ValueError, match=r"answer 1 has 2 \[SEG\] and 1 masks: expected one mask each"):
        built.training_inputs([photo] * 2, ["Fine.", ANSWER], [None, [mask]])
    with pytest.raises(ValueError, match=r"answer 0 has 0 \[SEG\] and 1 masks: expected one mask each"):
        built.training_inputs([photo], ["Fine."], [[mask]])
    with pytest.raises(ValueError, match=r"\(height, width\) = \(75, 100\), got \(100, 75\)"):
        built.training_inputs([photo], [ANSWER], [[mask, mask.T]])
    with pytest.raises(ValueError, match=r"expected mask values 0 and 1, or 0 and 255 \(forged\), got \[2"):
        built.training_inputs([photo], [ANSWER], [[mask, mask + 2]])
    with pytest.raises(ValueError, match="expected one of the lists of masks an image, got 1 for 2 images"):
        built.training_inputs([photo] * 2, ["Fine."] * 2, [None])
    with pytest.raises(ValueError, match="expected one of the answers an image, got 3 for 2 images"):
        built.training_inputs([photo] * 2, ["Fine."] * 3)
    with pytest.raises(ValueError, match="expected one of the questions an image, got 1 for 2 images"):
        built.inference_inputs([photo] * 2, ["What?"])
    with pytest.raises(ValueError, match="expected an image, got an empty list"):
        built.inference_inputs([])
    with pytest.raises(ValueError, match="expected the tokenizer of a Llama model, got None"):
        LegionProcessor()
    with pytest.raises(ValueError, match="unknown conversation template 'v9': expected vicuna_v1 or llava_v1"):
        legion_processor(template="v9")


def message(role, *parts):
    return {
        "role": role,
        "content": [{"type": "image"} if part is None else {"type": "text", "text": part} for part in parts],
    }


def test_a_chat_of_one_turn_is_the_prompt(processor, photo):
    chat = [message("user", None, QUESTION)]
    assert processor.apply_chat_template(chat, add_generation_prompt=True) == processor.prompts(photo)[0]
    chat = [message("user", QUESTION, None), message("assistant", ANSWER)]
    assert processor.apply_chat_template(chat) == f"{processor.prompts(photo)[0]} {ANSWER}</s>"
    chat[0]["content"][1]["image"] = photo
    inputs = processor.apply_chat_template(
        chat[:1], add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    expected = processor.inference_inputs(photo)
    assert set(expected) - set(inputs) == {"original_sizes"}
    for name, value in inputs.items():
        assert torch.equal(expected[name], value)


def test_the_stock_pipeline_takes_the_processor(built, photo):
    ask = pipeline("image-text-to-text", model=tiny_model("legion"), processor=built)
    chat = [{"role": "user", "content": [{"type": "image", "image": photo}, {"type": "text", "text": QUESTION}]}]
    (reply,) = ask(text=chat, max_new_tokens=3, do_sample=False)
    assert [turn["role"] for turn in reply["generated_text"]] == ["user", "assistant"]
    assert isinstance(reply["generated_text"][1]["content"], str)


def test_a_text_without_an_image_needs_none(built):
    assert set(built(text="What?")) == {"input_ids", "attention_mask"}
    assert set(built.detection_inputs([noise(9, 9)])) == {"pixel_values"}


def test_answers_are_decoded_up_to_their_end(built, photo):
    prompt = built.inference_inputs(photo)["input_ids"][0].tolist()
    ids = built.tokenizer(f"{ANSWER}</s> more", add_special_tokens=False)["input_ids"]
    answer = ANSWER.replace("[SEG]:", "[SEG] :")
    assert built.decode_grounded(torch.tensor([[*ids, 0, 0]])) == [answer]
    assert built.decode_grounded([prompt + ids])[0].endswith(f"ASSISTANT: {answer}")
    # written out in ordinary tokens it has no mask
    spelled = built.tokenizer.convert_tokens_to_ids(["▁[", "SE", "G", "]"])
    if built.tokenizer.unk_token_id not in spelled:
        assert built.decode_grounded([[*spelled, 32004]]) == ["SEG [SEG]"]
    assert plain_text(answer) == "The hand: six fingers. The eyes: they differ."


def test_a_configuration_must_have_the_ids_of_the_tokenizer(built, legion_parity):
    config = copy.deepcopy(legion_config(legion_parity))
    with pytest.raises(ValueError, match=f"it has image_token_id {config.image_token_id} instead of 32007, seg_token"):
        built.check_token_ids(config)


def test_settings_are_kept(tmp_path):
    processor = legion_processor(SIZE, GROUNDING_SIZE, max_length=100, template="vicuna_v1", patch_size=7)
    processor.save_pretrained(tmp_path)
    loaded = LegionProcessor.from_pretrained(tmp_path)
    assert (loaded.max_length, loaded.template, loaded.patch_size) == (100, "vicuna_v1", 7)
    assert loaded.chat_template == processor.chat_template
    for name in ("image_processor", "grounding_image_processor"):
        assert type(getattr(loaded, name)) is type(getattr(processor, name))
        assert getattr(loaded, name).to_dict() == getattr(processor, name).to_dict()


def test_the_chat_template_follows_the_conversation(photo):
    processor = legion_processor(SIZE)
    chat = [message("user", None, QUESTION)]
    processor.configure(template="vicuna_v1", max_length=900)
    assert processor.max_length == 900
    assert "curious user" in processor.prompts(photo)[0]
    assert processor.apply_chat_template(chat, add_generation_prompt=True) == processor.prompts(photo)[0]
    processor.chat_template = "{{ 'mine' }}"
    processor.configure(template="llava_v1")
    assert processor.chat_template == "{{ 'mine' }}"
    with pytest.raises(ValueError, match="unknown conversation template 'nope': expected vicuna_v1 or llava_v1"):
        processor.configure(template="nope")
