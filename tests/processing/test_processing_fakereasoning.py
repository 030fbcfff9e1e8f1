"""FakeReasoningProcessor: equal to the published code, before and after it is saved; images, prompts, answers."""

import copy
import logging
import string

import numpy as np
import pytest
import torch
from llama_tokenizer import fakereasoning_processor, llama_tokenizer
from PIL import Image
from transformers import (
    AutoProcessor,
    AutoTokenizer,
    LlamaTokenizer,
    LlavaConfig,
    LlavaForConditionalGeneration,
    pipeline,
)

from forgescope.modeling.configuration_fakereasoning import FakeReasoningConfig
from forgescope.processing.chain_of_thought import QUESTION, build_chain_of_thought
from forgescope.processing.conversation_prompts import conversation, image_question
from forgescope.processing.processing_fakereasoning import FakeReasoningProcessor

SIZE = 56
PATCHES = (SIZE // 14) ** 2
ANSWER = build_chain_of_thought("A dog on a lawn.", "The shadows fall apart.", "It has five legs.", "fake")


@pytest.fixture(scope="module")
def built():
    return fakereasoning_processor(SIZE)


@pytest.fixture(scope="module")
def loaded(built, tmp_path_factory):
    """Saved and loaded twice: what is forgotten may be forgotten at the second time only."""
    folder = tmp_path_factory.mktemp("processor")
    built.save_pretrained(folder / "first")
    FakeReasoningProcessor.from_pretrained(folder / "first").save_pretrained(folder / "second")
    return FakeReasoningProcessor.from_pretrained(folder / "second")


@pytest.fixture(params=["built", "loaded"])
def processor(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def photo():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8))


def published(data):
    """Images, questions, answers of the fixture."""
    images = [Image.fromarray(image.numpy()) for image in data["images_uint8"]]
    turns = [record["conversations"] for record in data["records"]]
    return images, [human["value"] for human, _ in turns], [gpt["value"] for _, gpt in turns]


def expanded(ids, sentinel, value, count=PATCHES):
    """Ids with the place of the image repeated for every patch."""
    return [new for old in ids.tolist() for new in ([value] * count if old == sentinel else [old])]


def test_tokens_are_those_of_llama(processor, fakereasoning_parity):
    tokens = fakereasoning_parity["tokens"]
    for variant in tokens["variants"]:
        ids = processor.tokenizer(variant["text"])["input_ids"]
        assert ids == variant["ids"]
        assert processor.tokenizer.convert_ids_to_tokens(ids) == variant["pieces"]
    verdict = processor.verdict_ids()
    assert list(verdict.conclusion_pattern_ids) == tokens["pattern"]
    assert [verdict.fake_token_id] == tokens["word_ids"]["fake|legacy=True"]
    assert [verdict.real_token_id] == tokens["word_ids"]["real|legacy=True"]
    assert processor.tokenizer.convert_ids_to_tokens(verdict.conclusion_tag_ids)[-1] == ">"
    assert verdict.conclusion_pattern_ids[: len(verdict.conclusion_tag_ids)] == verdict.conclusion_tag_ids


def test_training_inputs_are_those_of_the_published_code(processor, fakereasoning_parity):
    data = fakereasoning_parity["data"]
    images, questions, answers = published(data)
    inputs = processor.training_inputs(images, answers, questions, data["forgery_labels"])
    for row, (ids, labels, attention) in enumerate(
        zip(data["input_ids"], data["labels"], data["attention_mask"], strict=True)
    ):
        assert inputs["input_ids"][row].tolist() == expanded(ids, data["image_sentinel"], processor.image_token_id)
        places = torch.where(ids == data["image_sentinel"], data["image_sentinel"], labels)
        assert inputs["labels"][row].tolist() == expanded(places, data["image_sentinel"], -100)
        assert inputs["attention_mask"][row].sum() == attention.sum() + PATCHES - 1
    assert torch.equal(inputs["forgery_labels"], data["forgery_labels"])
    assert processor.tokenizer.pad_token_id == data["pad_token_id"]


def test_prompts_are_those_of_the_published_code(processor, fakereasoning_parity):
    data = fakereasoning_parity["data"]
    images, _, _ = published(data)
    prompt = data["infer_prompt_llava_v1"]
    question = prompt[prompt.index("<image>") : prompt.index(" ASSISTANT:")]
    assert processor.prompts(images[:1], [question]) == [prompt]
    ids = processor.inference_inputs(images[0], question)["input_ids"][0].tolist()
    assert ids == expanded(data["infer_ids_llava_v1"], data["image_sentinel"], processor.image_token_id)


def test_pixels_are_those_of_the_published_code_to_the_bit(fakereasoning_parity, tmp_path):
    data = fakereasoning_parity["data"]
    large = FakeReasoningProcessor(tokenizer=llama_tokenizer())
    large.save_pretrained(tmp_path)
    images, _, _ = published(data)
    for processor in (large, FakeReasoningProcessor.from_pretrained(tmp_path)):
        values = processor.inference_inputs(images)["pixel_values"]
        assert torch.equal(values, data["pixel_values_336"])
    rougher = FakeReasoningProcessor.from_pretrained(tmp_path, backend="torchvision")
    values = rougher.inference_inputs(images)["pixel_values"]
    assert 0 < (values - data["pixel_values_336"]).abs().max() < 0.05


def test_the_tokenizer_of_a_checkpoint_is_the_same_without_the_processor(built, tmp_path):
    built.save_pretrained(tmp_path)
    alone = AutoTokenizer.from_pretrained(tmp_path)
    text = conversation("llava_v1", image_question(QUESTION), ANSWER)
    assert alone(text)["input_ids"] == built.tokenizer(text)["input_ids"]


def test_a_tokenizer_that_lost_its_settings_is_mended(built, tmp_path):
    lost = llama_tokenizer()
    lost.add_bos_token = False
    lost.save_pretrained(tmp_path)
    lost = AutoTokenizer.from_pretrained(tmp_path)
    lost.add_tokens(["<image>"], special_tokens=True)
    text = conversation("llava_v1", image_question(QUESTION))
    expected = built.tokenizer(text)["input_ids"]
    assert lost(text)["input_ids"] != expected
    assert FakeReasoningProcessor(tokenizer=lost).tokenizer(text)["input_ids"] == expected


def test_every_call_has_a_tokenizer_of_its_own():
    assert "<image>" in fakereasoning_processor().tokenizer.get_vocab()
    assert "<image>" not in llama_tokenizer().get_vocab()
    assert len(llama_tokenizer()) == 32_000


def test_caption_and_reasoning_are_marked_without_their_tags(built, photo):
    answers = [ANSWER, ANSWER.replace("> ", ">\n").replace(" <", "\n<"), "<CAPTION> A dog", "This image is fake."]
    inputs = built.training_inputs([photo] * 4, answers)

    def marked(row, name):
        return built.tokenizer.decode(inputs["input_ids"][row][inputs[f"{name}_mask"][row]]).strip()

    for row in (0, 1):
        assert marked(row, "caption") == "A dog on a lawn."
        assert marked(row, "reasoning").startswith("From low-level perspective: The shadows")
        assert marked(row, "reasoning").endswith("Therefore, this image is fake.")
    assert (marked(2, "caption"), marked(2, "reasoning")) == ("A dog", "")
    assert not inputs["caption_mask"][3].any()
    for name in ("caption", "reasoning"):
        assert inputs[f"{name}_mask"].dtype == torch.bool
        assert (inputs["labels"][inputs[f"{name}_mask"]] != -100).all()
    assert "forgery_labels" not in inputs


def test_only_the_answer_and_its_end_are_learnt(built, photo):
    inputs = built.training_inputs([photo, photo], [ANSWER, "Short."], "What is it?")
    for row, answer in enumerate((ANSWER, "Short.")):
        labels = inputs["labels"][row]
        assert built.tokenizer.decode(labels[labels != -100]) == f"{answer}</s>"
        assert (inputs["input_ids"][row] == built.image_token_id).sum() == PATCHES
    assert inputs["attention_mask"][1].tolist() == sorted(inputs["attention_mask"][1].tolist(), reverse=True)


def test_a_long_answer_is_cut_and_the_image_never(photo, caplog):
    whole = fakereasoning_processor(SIZE).training_inputs([photo], [ANSWER])
    length = whole["input_ids"].shape[1]
    short = fakereasoning_processor(SIZE, max_length=length - 30)
    inputs = short.training_inputs([photo], [ANSWER])
    for name in ("input_ids", "labels", "caption_mask", "reasoning_mask", "attention_mask"):
        assert torch.equal(inputs[name], whole[name][:, :-30])
    prompt = int((whole["labels"] == -100).sum())
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        fakereasoning_processor(SIZE, max_length=length).training_inputs([photo] * 2, [ANSWER, "This image is fake."])
        assert not caplog.messages
        short.training_inputs([photo] * 2, [ANSWER, "This image is fake."])
    assert caplog.messages == [f"max_length={length - 30} cuts the end off 1 of 2 answers"]
    with pytest.raises(ValueError, match=f"max_length={prompt} leaves no token of answer 0: shorten the question"):
        fakereasoning_processor(SIZE, max_length=prompt).training_inputs([photo], [ANSWER])
    cut = fakereasoning_processor(SIZE, max_length=45)
    with pytest.raises(ValueError, match=f"max_length cuts off tokens of the image, which has {PATCHES} of them"):
        cut.training_inputs([photo], [ANSWER])
    with pytest.raises(ValueError, match=f"tokens, {PATCHES} of them for the image, but max_length is 45: shorten"):
        cut.inference_inputs([photo])
    with pytest.raises(ValueError, match="max_length cuts off tokens of the image"):
        cut(images=photo, text="<image>\nWhat?", truncation=True, max_length=9)


def test_a_batch_is_padded_on_the_left(processor, photo):
    questions = ["What is it?", QUESTION]
    batch = processor.inference_inputs([photo, photo], questions)
    assert batch["pixel_values"].shape == (2, 3, SIZE, SIZE)
    for row, question in enumerate(questions):
        alone = processor.inference_inputs(photo, question)["input_ids"][0]
        padding = batch["input_ids"].shape[1] - len(alone)
        assert torch.equal(batch["input_ids"][row, padding:], alone)
        assert batch["attention_mask"][row].tolist() == [0] * padding + [1] * len(alone)
        assert (batch["input_ids"][row, :padding] == processor.tokenizer.pad_token_id).all()


def test_images_of_any_mode_are_seen_as_displayed(built):
    def first_pixel(image):
        values = built.inference_inputs(image)["pixel_values"][0, :, SIZE // 2, SIZE // 2]
        mean, std = (torch.tensor(x) for x in (built.image_processor.image_mean, built.image_processor.image_std))
        return ((values * std + mean) * 255).round().tolist()

    assert first_pixel(Image.new("RGB", (30, 20), (1, 2, 3))) == [1, 2, 3]
    assert first_pixel(Image.new("1", (30, 20), 1)) == [255, 255, 255]
    assert first_pixel(Image.new("L", (30, 20), 77)) == [77, 77, 77]
    assert first_pixel(Image.new("LA", (30, 20), (77, 0))) == [255, 255, 255]
    assert first_pixel(Image.new("RGB", (30, 20), (0, 0, 255)).convert("P")) == [0, 0, 255]
    assert first_pixel(Image.new("RGBA", (30, 20), (0, 0, 0, 0))) == [255, 255, 255]
    assert first_pixel(Image.new("CMYK", (30, 20), (0, 255, 255, 0))) == [255, 0, 0]
    assert first_pixel(Image.new("I;16", (30, 20), 32896)) == [128, 128, 128]
    assert first_pixel(np.full((20, 30), 9, np.uint8)) == [9, 9, 9]
    assert first_pixel(np.full((20, 30, 3), 9, np.uint8)) == [9, 9, 9]
    assert first_pixel(torch.full((3, 20, 30), 9, dtype=torch.uint8)) == [9, 9, 9]
    with pytest.raises(ValueError, match=r"floating-point ones \(mode F\)"):
        built.inference_inputs(Image.new("F", (30, 20)))


@pytest.mark.parametrize("size", [(1, 1000), (1000, 1), (1, 1)])
def test_thin_images_are_padded_to_a_square(built, size):
    values = built.inference_inputs(Image.new("RGB", size, (255, 0, 0)))["pixel_values"]
    assert values.shape == (1, 3, SIZE, SIZE)
    # the colour of the padding is the mean, cut to whole numbers
    if size != (1, 1):
        assert values[0, :, 0, 0].abs().max() < 1 / 255 / min(built.image_processor.image_std)


def test_a_path_is_read_like_its_image(built, photo, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save(tmp_path / "lying.png", exif=exif)
    from_path = built.inference_inputs([str(tmp_path / "lying.png"), tmp_path / "lying.png"])["pixel_values"]
    upright = built.inference_inputs(photo.transpose(Image.Transpose.ROTATE_270))["pixel_values"]
    assert torch.equal(from_path, upright.repeat(2, 1, 1, 1))


def test_what_does_not_fit_together_is_refused(built, photo):
    with pytest.raises(ValueError, match="expected one of the questions an image, got 1 for 2 images"):
        built.inference_inputs([photo] * 2, ["What?"])
    with pytest.raises(ValueError, match="expected one of the answers an image, got 3 for 2 images"):
        built.training_inputs([photo] * 2, [ANSWER] * 3)
    with pytest.raises(ValueError, match="expected one of the forgery labels an image, got 1 for 2 images"):
        built.training_inputs([photo] * 2, [ANSWER] * 2, forgery_labels=[1])
    with pytest.raises(ValueError, match="expected an image, got an empty list"):
        built.inference_inputs([])
    with pytest.raises(ValueError, match="expected the tokenizer of a Llama model, got None"):
        FakeReasoningProcessor()
    for argument in ("template", "training_template"):
        with pytest.raises(ValueError, match="unknown conversation template 'v9': expected vicuna_v1 or llava_v1"):
            FakeReasoningProcessor(tokenizer=llama_tokenizer(), **{argument: "v9"})


def message(role, *parts):
    return {
        "role": role,
        "content": [{"type": "image"} if part is None else {"type": "text", "text": part} for part in parts],
    }


def test_a_chat_of_one_turn_is_the_prompt(processor, photo):
    chat = [message("user", None, QUESTION)]
    text = processor.apply_chat_template(chat, add_generation_prompt=True)
    assert text == processor.prompts(photo)[0]
    chat = [message("user", QUESTION, None), message("assistant", ANSWER)]
    assert processor.apply_chat_template(chat) == conversation("llava_v1", image_question(QUESTION), ANSWER)
    chat[0]["content"][1]["image"] = photo
    inputs = processor.apply_chat_template(
        chat[:1], add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    for name, value in processor.inference_inputs(photo).items():
        assert torch.equal(inputs[name], value)


def test_a_chat_may_have_more_turns_and_its_own_start(built):
    chat = [
        {"role": "system", "content": "Be brief."},
        message("user", None, "What?"),
        {"role": "assistant", "content": "A dog."},
        {"role": "user", "content": "Real?"},
    ]
    text = built.apply_chat_template(chat, add_generation_prompt=True)
    assert text == "Be brief. USER: <image>\nWhat? ASSISTANT: A dog.</s>USER: Real? ASSISTANT:"
    other = fakereasoning_processor(template="vicuna_v1")
    assert other.apply_chat_template([message("user", "Hi.")]).startswith(conversation("vicuna_v1", "Hi.")[:40])


def test_the_stock_pipeline_takes_the_processor(built, photo):
    layers = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlavaConfig(
        vision_config={"model_type": "clip_vision_model", "image_size": SIZE, "patch_size": 14, **layers},
        text_config={"model_type": "llama", "vocab_size": 32_001, "num_key_value_heads": 2, **layers},
        image_token_index=built.image_token_id,
    )
    ask = pipeline("image-text-to-text", model=LlavaForConditionalGeneration(config).eval(), processor=built)
    chat = [{"role": "user", "content": [{"type": "image", "image": photo}, {"type": "text", "text": QUESTION}]}]
    (reply,) = ask(text=chat, max_new_tokens=3, do_sample=False)
    assert [turn["role"] for turn in reply["generated_text"]] == ["user", "assistant"]
    assert isinstance(reply["generated_text"][1]["content"], str)


def test_answers_are_read_from_generated_ids(built, photo):
    prompt = built.inference_inputs(photo)["input_ids"][0].tolist()
    ids = [built.tokenizer(text, add_special_tokens=False)["input_ids"] for text in (f"{ANSWER}</s>", ANSWER[:300])]
    length = max(map(len, ids))
    padded = torch.tensor([row + [built.tokenizer.pad_token_id] * (length - len(row)) for row in ids])
    for rows in (padded, torch.cat([torch.tensor([prompt, prompt]), padded], dim=1)):
        whole, cut = built.decode_answers(rows)
        assert (whole.caption, whole.label, whole.problems) == ("A dog on a lawn.", "fake", [])
        assert cut.label is None
        assert "CONCLUSION is missing" in cut.problems
    other = ANSWER.replace("This image is fake.", "It is AI-generated.")
    rows = [built.tokenizer(other)["input_ids"]]
    assert [built.decode_answers(rows, strict)[0].label for strict in (False, True)] == ["fake", None]


def test_a_configuration_must_have_the_ids_of_the_tokenizer(built):
    config = FakeReasoningConfig()
    built.check_verdict_ids(config)
    other = copy.deepcopy(config)
    other.fake_token_id = 7
    other.conclusion_tag_ids = [1, 2]
    with pytest.raises(ValueError, match=r"it has conclusion_tag_ids \(1, 2\) instead of \(.*\), fake_token_id 7"):
        built.check_verdict_ids(other)


def test_words_of_several_tokens_are_refused():
    tokens = {token: number for number, token in enumerate(("<unk>", "<s>", "</s>", "▁", *string.printable))}
    letters = LlamaTokenizer(vocab=tokens, merges=[], legacy=True, add_bos_token=True)
    with pytest.raises(ValueError, match="expected a tokenizer with one token for real and one for fake, got"):
        FakeReasoningProcessor(tokenizer=letters).verdict_ids()


def test_auto_processor_knows_it(built, photo, tmp_path):
    built.save_pretrained(tmp_path)
    auto = AutoProcessor.from_pretrained(tmp_path)
    assert isinstance(auto, FakeReasoningProcessor)
    for name, value in built.training_inputs(photo, ANSWER, forgery_labels=[1]).items():
        assert torch.equal(auto.training_inputs(photo, ANSWER, forgery_labels=[1])[name], value)


def test_settings_are_kept(tmp_path):
    processor = fakereasoning_processor(SIZE, max_length=100, template="vicuna_v1", training_template="llava_v1")
    processor.save_pretrained(tmp_path)
    loaded = FakeReasoningProcessor.from_pretrained(tmp_path)
    assert (loaded.max_length, loaded.template, loaded.training_template) == (100, "vicuna_v1", "llava_v1")
    assert loaded.chat_template == processor.chat_template
    assert loaded.image_processor.to_dict() == processor.image_processor.to_dict()
