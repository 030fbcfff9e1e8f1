"""FakeReasoning beyond the authors' code: batches, cache, loading, losses that are switched on and off."""

import pytest
import torch
from tiny_models import TINY_CLIP, TINY_LLAMA, drawn
from transformers import LlavaConfig, LlavaForConditionalGeneration

from forgescope.modeling.configuration_fakereasoning import FakeReasoningConfig
from forgescope.modeling.image_language_model import mean_token_loss
from forgescope.modeling.modeling_fakereasoning import FakeReasoningForConditionalGeneration

PATTERN, TAG, REAL, FAKE = (11, 12, 13, 14), (11, 12), 21, 22
DINO = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 42, "patch_size": 14}
IMAGE_TOKENS = 4


def model_of(**settings):
    given = {
        "conclusion_pattern_ids": PATTERN,
        "conclusion_tag_ids": TAG,
        "real_token_id": REAL,
        "fake_token_id": FAKE,
    }
    given |= {"vision_config": TINY_CLIP, "text_config": TINY_LLAMA | {"vocab_size": 100}, "image_token_id": 100}
    config = FakeReasoningConfig(**given | settings)
    torch.manual_seed(0)
    return drawn(FakeReasoningForConditionalGeneration(config).eval())


@pytest.fixture
def batch():
    """Two answers: a fake one with a conclusion, and a shorter real one, padded, with a conclusion too."""
    image = [100] * IMAGE_TOKENS
    first = [1, 5, *image, 6, 7, 30, 31, 32, *PATTERN, FAKE, 2]
    second = [1, 5, *image, 6, 33, 34, *PATTERN, REAL, 2]
    width = len(first)
    ids = torch.zeros(2, width, dtype=torch.long)
    labels, attention = torch.full((2, width), -100), torch.zeros(2, width, dtype=torch.long)
    for row, tokens in enumerate((first, second)):
        ids[row, : len(tokens)], attention[row, : len(tokens)] = torch.tensor(tokens), 1
        labels[row, 7 : len(tokens)] = ids[row, 7 : len(tokens)]
    caption, reasoning = torch.zeros(2, width, dtype=torch.bool), torch.zeros(2, width, dtype=torch.bool)
    caption[:, 8], reasoning[:, 9] = True, True
    generator = torch.Generator().manual_seed(0)
    return {
        "input_ids": ids,
        "attention_mask": attention,
        "pixel_values": torch.randn(2, 3, 28, 28, generator=generator),
        "labels": labels,
        "forgery_labels": torch.tensor([1, 0]),
        "caption_mask": caption,
        "reasoning_mask": reasoning,
    }


def without_targets(batch):
    return {name: batch[name] for name in ("input_ids", "attention_mask", "pixel_values")}


def test_the_default_is_llava_13b():
    with torch.device("meta"):
        model = FakeReasoningForConditionalGeneration(FakeReasoningConfig())
    counts = {name: sum(one.numel() for one in part.parameters()) for name, part in model.model.named_children()}
    assert counts["multi_modal_projector"] == 31_467_520
    assert counts["language_model"] + model.lm_head.weight.numel() == 13_015_864_320  # Vicuna-13B
    assert counts["vision_tower"] == 303_507_456  # CLIP ViT-L/14 at 336 pixels, vision part without projection
    trained = sum(one.numel() for one in model.model.multi_modal_projector.parameters() if one.requires_grad)
    assert trained == 31_467_520
    assert not any(one.requires_grad for one in model.model.vision_tower.parameters())


def test_the_loss_is_the_sum_of_its_parts(batch):
    model = model_of(language_loss_weight=0.5, classification_loss_weight=2.0, contrastive_loss_weight=3.0)
    model.probability_mapper.search = "labels"
    outputs = model(**batch)
    expected = 0.5 * outputs.loss_lm + 2 * outputs.loss_cpm + 3 * outputs.loss_facl
    torch.testing.assert_close(outputs.loss, expected)
    terms = (outputs.loss_image_to_text, outputs.loss_text_to_image)
    terms += (outputs.loss_image_to_image, outputs.loss_text_to_text)
    torch.testing.assert_close(outputs.loss_facl, sum(terms) / 4)
    assert outputs.classification_index.tolist() == [batch["input_ids"][0].tolist().index(FAKE) - 1, 12]
    assert ((outputs.fake_probability > 0) & (outputs.fake_probability < 1)).all()


def test_language_loss_is_the_mean_over_all_taught_tokens(batch):
    logits = model_of()(**without_targets(batch)).logits
    losses = []
    for row, labels in enumerate(batch["labels"].tolist()):
        for place, label in enumerate(labels):
            if label != -100:
                losses.append(-logits[row, place - 1].log_softmax(-1)[label])
    torch.testing.assert_close(mean_token_loss(logits, batch["labels"]), torch.stack(losses).mean())
    assert mean_token_loss(logits, torch.full_like(batch["labels"], -100)) == 0


def test_contrast_averages_caption_and_reasoning(batch):
    model = model_of()
    seen = {}
    model.forgery_contrast.register_forward_hook(lambda _module, inputs, _output: seen.update(inputs=inputs))
    outputs = model(**batch)
    images, texts, labels, valid = seen["inputs"]
    table = model.get_input_embeddings().weight
    torch.testing.assert_close(images, outputs.image_hidden_states.mean(dim=1))
    torch.testing.assert_close(texts[0], (table[batch["input_ids"][0, 8]] + table[batch["input_ids"][0, 9]]) / 2)
    assert labels.tolist() == [1, 0]
    assert valid.tolist() == [True, True]


def test_contrast_of_hidden_states(batch):
    embeddings, hidden = model_of(), model_of(contrastive_text_source="hidden")
    assert embeddings(**batch).loss_text_to_text == hidden(**batch).loss_text_to_text == 0  # no two of one class
    assert embeddings(**batch).loss_image_to_text != hidden(**batch).loss_image_to_text


def test_an_answer_without_caption_and_reasoning_takes_no_part(batch):
    batch["caption_mask"][1] = batch["reasoning_mask"][1] = False
    outputs = model_of()(**batch)
    assert outputs.loss_image_to_text == 0  # one pair is left, with nothing to tell it from
    assert torch.isfinite(outputs.loss)


def test_terms_that_are_switched_off(batch):
    model = model_of(contrastive_loss_weight=0.0)
    assert not hasattr(model, "forgery_contrast")
    assert "loss_facl" not in model(**batch)
    no_labels = {name: value for name, value in batch.items() if name != "forgery_labels"}
    outputs = model_of()(**no_labels)
    assert "loss_cpm" not in outputs
    assert "loss_facl" not in outputs
    torch.testing.assert_close(outputs.loss, outputs.loss_lm)


@pytest.mark.parametrize("dino", [None, DINO])
def test_a_batch_with_left_padding_equals_single_prompts(batch, dino):
    model = model_of(dino_config=dino, fusion_num_attention_heads=4)
    prompts = [[1, 5, *[100] * IMAGE_TOKENS, 6, 7, 8], [1, 5, *[100] * IMAGE_TOKENS, 6]]
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(one)) + one for one in prompts])
    together = model.generate_verdict(
        ids,
        attention_mask=(ids != 0).long(),
        pixel_values=batch["pixel_values"],
        max_new_tokens=8,
        do_sample=False,
        eos_token_id=None,
    )
    for row, prompt in enumerate(prompts):
        alone = model.generate_verdict(
            torch.tensor([prompt]),
            pixel_values=batch["pixel_values"][row : row + 1],
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=8,
            do_sample=False,
            eos_token_id=None,
        )
        assert alone.generated_ids[0].tolist() == together.generated_ids[row].tolist()


def test_generation_equals_the_forward_pass(batch):
    # the probability of a generated conclusion is that of the teacher-forced forward pass on the same text
    model = model_of()
    prompt = batch["input_ids"][:1, :8]
    image, steps = batch["pixel_values"][:1], [*PATTERN, FAKE, 2]
    with torch.no_grad():
        forced = model.generate_verdict(
            prompt,
            pixel_values=image,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=len(steps),
            do_sample=False,
            prefix_allowed_tokens_fn=lambda _row, ids: [steps[min(len(ids) - 8, len(steps) - 1)]],
        )
        ids = torch.cat([prompt, torch.tensor([steps])], dim=1)
        labels = ids.clone()
        labels[:, :8] = -100
        model.probability_mapper.search = "labels"
        outputs = model(ids, pixel_values=image, labels=labels)
    assert forced.generated_ids[0].tolist() == steps
    assert forced.classification_index.tolist() == [len(PATTERN)]
    torch.testing.assert_close(forced.fake_probability, outputs.fake_probability)


@pytest.mark.parametrize("change", [-1, 1])
def test_another_number_of_image_tokens_is_refused(batch, change):
    ids = batch["input_ids"].clone()
    ids[0, 2 if change < 0 else 10] = 9 if change < 0 else 100
    message = f"expected 2 x {IMAGE_TOKENS} image tokens for 2 images, got {2 * IMAGE_TOKENS + change}"
    with pytest.raises(ValueError, match=message):
        model_of()(ids, pixel_values=batch["pixel_values"])


def test_parts_may_lie_on_the_disk(batch, tmp_path):
    model, prompt = model_of(), {name: value[:, :8] for name, value in without_targets(batch).items()}
    prompt["pixel_values"] = batch["pixel_values"]
    model.save_pretrained(tmp_path / "model")
    loaded = FakeReasoningForConditionalGeneration.from_pretrained(
        tmp_path / "model",
        device_map={"model": "cpu", "lm_head": "disk", "probability_mapper": "disk", "forgery_contrast": "cpu"},
        offload_folder=tmp_path / "disk",
    )
    steps = [*PATTERN, FAKE]
    settings = {"max_new_tokens": len(steps), "do_sample": False}
    settings["prefix_allowed_tokens_fn"] = lambda _row, ids: [steps[min(len(ids) - 8, len(steps) - 1)]]
    expected, found = (one.generate_verdict(**prompt, **settings) for one in (model, loaded))
    torch.testing.assert_close(found.fake_probability, expected.fake_probability)
    assert loaded.probability_mapper.log_temperature.is_meta


def test_images_beside_embeddings_are_refused(batch):
    model, given = model_of(), without_targets(batch)
    ids = given.pop("input_ids")
    embeddings = model.get_input_embeddings()(ids.masked_fill(ids == 100, 0))
    with pytest.raises(ValueError, match="expected no images beside inputs_embeds, which hold their features already"):
        model(inputs_embeds=embeddings, **given)
    del given["pixel_values"]
    assert model(inputs_embeds=embeddings, **given).logits.shape == (*ids.shape, 100)


@pytest.mark.parametrize("legacy_names", [False, True])
def test_from_llava(batch, tmp_path, legacy_names):
    torch.manual_seed(0)
    config = LlavaConfig(
        vision_config=TINY_CLIP,
        text_config=TINY_LLAMA | {"vocab_size": 110},  # as llava-hf: the image token is in the table
        image_token_index=100,
        vision_feature_layer=-2,
    )
    llava = drawn(LlavaForConditionalGeneration(config).eval())
    llava.save_pretrained(tmp_path, save_original_format=legacy_names)
    model = FakeReasoningForConditionalGeneration.from_llava(str(tmp_path), dtype="float32")
    with torch.no_grad():
        expected = llava(**without_targets(batch)).logits
        torch.testing.assert_close(model(**without_targets(batch)).logits, expected)
    assert torch.equal(model.lm_head.weight, llava.lm_head.weight)
    assert not any(one.requires_grad for one in model.model.vision_tower.parameters())


def test_from_llava_reads_the_configuration_where_it_reads_the_weights(tmp_path):
    config = LlavaConfig(vision_config=TINY_CLIP, text_config=TINY_LLAMA | {"vocab_size": 110}, image_token_index=100)
    LlavaForConditionalGeneration(config).save_pretrained(tmp_path / "llava")
    model = FakeReasoningForConditionalGeneration.from_llava(str(tmp_path), subfolder="llava")
    assert model.lm_head.weight.shape == (110, TINY_LLAMA["hidden_size"])


def test_from_llava_refuses_other_models(tmp_path):
    model_of().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="expected a LLaVA checkpoint, got .* of type 'fakereasoning'"):
        FakeReasoningForConditionalGeneration.from_llava(str(tmp_path))


def test_image_encoders_stay_frozen(batch, tmp_path):
    model_of(dino_config=DINO, fusion_num_attention_heads=4).save_pretrained(tmp_path)
    model = FakeReasoningForConditionalGeneration.from_pretrained(tmp_path).train()
    model(**batch).loss.backward()
    towers = ("model.vision_tower.", "model.dino_tower.")
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad != name.startswith(towers), name
        assert parameter.grad is None or not name.startswith(towers)
    assert model.model.fusion.query.weight.grad.abs().sum() > 0
    assert model.model.dino_projector.linear_1.weight.grad.abs().sum() > 0
    assert not model.model.vision_tower.training


@pytest.mark.parametrize("setting", ["classification_temperature", "contrastive_temperature"])
def test_temperatures_start_where_the_config_says(setting, tmp_path):
    model = model_of(**{setting: 3.0})
    part = model.probability_mapper if setting.startswith("class") else model.forgery_contrast
    part.reset_parameters()
    assert part.log_temperature.exp().item() == pytest.approx(3.0)
    with torch.no_grad():
        part.log_temperature.fill_(0.5)
    model.save_pretrained(tmp_path)
    loaded = FakeReasoningForConditionalGeneration.from_pretrained(tmp_path)
    part = loaded.probability_mapper if setting.startswith("class") else loaded.forgery_contrast
    assert part.log_temperature.item() == 0.5


def test_a_fixed_temperature_is_no_parameter():
    names = dict(model_of(learn_classification_temperature=False).named_parameters())
    assert "probability_mapper.log_temperature" not in names
    assert "probability_mapper.log_temperature" in dict(model_of().named_parameters())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classification_temperature": 0.0}, "classification_temperature must be above 0, got 0.0"),
        ({"contrastive_loss_weight": -1.0}, "contrastive_loss_weight must be at least 0, got -1.0"),
        ({"dino_config": DINO, "fusion_num_attention_heads": 7}, "must be a multiple of fusion_num_attention_heads"),
        ({"dino_config": DINO | {"patch_size": 7}}, "one patch_size, got 14 and 7"),
        ({"authentic_threshold": 0.9}, "must not exceed forged_threshold"),
    ],
)
def test_impossible_settings(settings, message):
    with pytest.raises(Exception, match=message):
        model_of(**settings)
