"""LEGION beyond the authors' code: batches, cache, what runs when, loading."""

import pytest
import torch
from tiny_models import TINY_CLIP, TINY_LLAMA, TINY_SAM, drawn

from forgescope.modeling.configuration_legion import LegionConfig
from forgescope.modeling.modeling_legion import LegionForGroundedExplanation
from forgescope.modeling.phrase_masks import cell_centres

SEG, IMAGE = 60, 100
IMAGE_TOKENS = 4
TOKENS = {"image_token_id": IMAGE, "seg_token_id": SEG, "phrase_start_token_id": 61, "phrase_end_token_id": 62}


def model_of(**settings):
    given = {"vision_config": TINY_CLIP, "text_config": TINY_LLAMA | {"vocab_size": 100}, "grounding_config": TINY_SAM}
    given |= TOKENS | {"detection_hidden_size": 24}
    torch.manual_seed(0)
    return drawn(LegionForGroundedExplanation(LegionConfig(**given | settings)).eval())


@pytest.fixture
def batch():
    """Two explanations with two masks and one, the second padded."""
    image = [IMAGE] * IMAGE_TOKENS
    first = [1, 5, *image, 6, 61, 30, 62, SEG, 31, 61, 32, 62, SEG, 33, 2]
    second = [1, 5, *image, 6, 61, 40, 62, SEG, 41, 2]
    ids, labels = torch.zeros(2, len(first), dtype=torch.long), torch.full((2, len(first)), -100)
    attention = torch.zeros(2, len(first), dtype=torch.long)
    for row, tokens in enumerate((first, second)):
        ids[row, : len(tokens)], attention[row, : len(tokens)] = torch.tensor(tokens), 1
        labels[row, 7 : len(tokens)] = ids[row, 7 : len(tokens)]
    generator = torch.Generator().manual_seed(0)
    masks = [torch.zeros(2, 20, 30), torch.zeros(1, 40, 25)]
    masks[0][0, :10], masks[0][1, :, 20:], masks[1][0, 5:30, 3:9] = 1, 1, 1
    return {
        "input_ids": ids,
        "attention_mask": attention,
        "pixel_values": torch.randn(2, 3, 28, 28, generator=generator),
        "grounding_pixel_values": torch.randn(2, 3, 64, 64, generator=generator),
        "grounding_sizes": torch.tensor([[43, 64], [64, 40]]),
        "labels": labels,
        "masks": masks,
    }


PROMPT_NAMES = ("pixel_values", "grounding_pixel_values", "grounding_sizes")


def forced(steps, prompt_length):
    """Make generation say these tokens."""
    last = len(steps) - 1
    return lambda _row, ids: [steps[min(len(ids) - prompt_length, last)]]


def test_the_default_is_the_published_network():
    with torch.device("meta"):
        model = LegionForGroundedExplanation(LegionConfig())
    counts = {name: sum(one.numel() for one in part.parameters()) for name, part in model.named_children()}
    assert counts["detection_head"] == 2_103_298
    assert counts["prompt_projector"] == 4096 * 4096 + 4096 + 4096 * 256 + 256
    assert sum(one.numel() for one in model.model.language_model.parameters()) == 6_607_343_616 + 7 * 4096
    assert model.lm_head.weight.shape == (32007, 4096)
    frozen = {name.split(".")[0] for name, one in model.named_parameters() if not one.requires_grad}
    assert frozen == {"model", "grounding"}
    decoder = model.grounding.mask_decoder
    assert all(one.requires_grad for one in decoder.parameters())


def test_the_loss_is_the_sum_of_its_parts(batch):
    outputs = model_of(language_loss_weight=2.0, mask_bce_loss_weight=3.0, mask_dice_loss_weight=4.0)(**batch)
    expected = 2 * outputs.loss_lm + 3 * outputs.loss_mask_bce + 4 * outputs.loss_mask_dice
    torch.testing.assert_close(outputs.loss, expected)
    assert [tuple(one.shape) for one in outputs.mask_logits] == [(2, 20, 30), (1, 40, 25)]


def test_the_state_is_that_of_the_token_before_seg(batch):
    model = model_of()
    seen = []
    model.prompt_projector.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    outputs = model(**batch, output_hidden_states=True)
    hidden = outputs.hidden_states[-1]
    places = [[index for index, token in enumerate(row) if token == SEG] for row in batch["input_ids"].tolist()]
    for row, states in enumerate(seen):
        expected = torch.stack([hidden[row, place - 1] for place in places[row]])
        torch.testing.assert_close(states, expected)


def test_masks_do_not_depend_on_the_batch(batch):
    model = model_of()
    with torch.no_grad():
        together = model(**batch)
        for row in range(2):
            one = {name: value[row : row + 1] for name, value in batch.items()}
            alone = model(**one)
            torch.testing.assert_close(alone.mask_logits[0], together.mask_logits[row], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(alone.detection_logits[0], together.detection_logits[row])


def test_left_padding_and_cache(batch):
    model, steps = model_of(), [61, 30, 62, SEG, 31, SEG, 2]
    prompts = [[1, 5, *[IMAGE] * IMAGE_TOKENS, 6, 7, 8], [1, 5, *[IMAGE] * IMAGE_TOKENS, 6]]
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(one)) + one for one in prompts])
    given = {name: batch[name] for name in PROMPT_NAMES}
    sizes = torch.tensor([[20, 30], [40, 25]])
    settings = {"max_new_tokens": len(steps), "do_sample": False}
    together = model.generate_grounded(
        ids,
        **given,
        original_sizes=sizes,
        attention_mask=(ids != 0).long(),
        prefix_allowed_tokens_fn=forced(steps, width),
        **settings,
    )
    assert [tuple(one.shape) for one in together.mask_logits] == [(2, 20, 30), (2, 40, 25)]
    for row, prompt in enumerate(prompts):
        for use_cache in (True, False):
            alone = model.generate_grounded(
                torch.tensor([prompt]),
                **{name: value[row : row + 1] for name, value in given.items()},
                original_sizes=sizes[row : row + 1],
                attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                prefix_allowed_tokens_fn=forced(steps, len(prompt)),
                use_cache=use_cache,
                **settings,
            )
            assert alone.generated_ids[0].tolist() == steps
            torch.testing.assert_close(alone.mask_logits[0], together.mask_logits[row], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(alone.fake_probability[0], together.fake_probability[row])


def test_generated_masks_equal_those_of_the_forward_pass(batch):
    model, prompt = model_of(), batch["input_ids"][:1, :7]
    steps = batch["input_ids"][0, 7:].tolist()
    one = {name: batch[name][:1] for name in PROMPT_NAMES}
    found = model.generate_grounded(
        prompt,
        **one,
        original_sizes=torch.tensor([[20, 30]]),
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=len(steps),
        do_sample=False,
        prefix_allowed_tokens_fn=forced(steps, 7),
    )
    with torch.no_grad():
        expected = model(**{name: value[:1] for name, value in batch.items()})
    torch.testing.assert_close(found.mask_logits[0], expected.mask_logits[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.detection_logits, expected.detection_logits)


def test_each_encoder_runs_once_an_image_and_sam_only_for_masks(batch):
    model = model_of()
    calls = {"clip": [], "sam": []}
    model.model.vision_tower.register_forward_hook(lambda _m, _i, out: calls["clip"].append(len(out[0])))
    model.grounding.vision_encoder.register_forward_hook(lambda _m, _i, out: calls["sam"].append(len(out[0])))
    prompt = batch["input_ids"][:, :7]
    plans = {0: [30, SEG, 31, SEG, 2], 1: [30, 31, 32, 33, 2]}
    found = model.generate_grounded(
        prompt,
        **{name: batch[name] for name in PROMPT_NAMES},
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=5,
        do_sample=False,
        prefix_allowed_tokens_fn=lambda row, ids: [plans[row][min(len(ids) - 7, 4)]],
    )
    assert calls == {"clip": [2], "sam": [1]}
    assert [len(one) for one in found.mask_logits] == [2, 0]
    assert [tuple(one.shape[1:]) for one in found.mask_logits] == [(43, 64), (64, 40)]


def test_a_text_without_phrases_needs_no_sam(batch):
    model = model_of()
    model.grounding.vision_encoder.register_forward_hook(lambda *_: pytest.fail("SAM was asked"))
    batch["input_ids"][batch["input_ids"] == SEG] = 50
    empty = [torch.zeros(0, 20, 30), torch.zeros(0, 40, 25)]
    outputs = model(**batch | {"masks": empty})
    assert [tuple(one.shape) for one in outputs.mask_logits] == [(0, 20, 30), (0, 40, 25)]
    assert outputs.loss_mask_bce == outputs.loss_mask_dice == 0
    outputs.loss.backward()


@pytest.mark.parametrize(("given", "message"), [(3, "has 3 masks and 2"), (1, "has 1 masks and 2")])
def test_another_number_of_masks_is_refused(batch, given, message):
    masks = [torch.zeros(given, 20, 30), batch["masks"][1]]
    with pytest.raises(ValueError, match=rf"image 0 of the batch {message} \[SEG\] tokens"):
        model_of()(**batch | {"masks": masks})


def test_stage_two_runs_the_head_alone(batch):
    model = model_of()
    model.model.language_model.register_forward_hook(lambda *_: pytest.fail("the language model was asked"))
    labels = torch.tensor([1, 0])
    outputs = model(pixel_values=batch["pixel_values"], forgery_labels=labels)
    expected = torch.nn.functional.cross_entropy(outputs.detection_logits, labels)
    torch.testing.assert_close(outputs.loss, expected)
    outputs.loss.backward()
    trained = {name for name, one in model.named_parameters() if one.grad is not None}
    assert trained == {f"detection_head.linear_{layer}.{kind}" for layer in (1, 2) for kind in ("weight", "bias")}
    features = model.class_tokens(batch["pixel_values"])
    assert features.shape == (2, 32)
    again = model(image_features=features, forgery_labels=labels)
    assert torch.equal(again.detection_logits, outputs.detection_logits)


def test_flash_attention_is_not_asked_of_sam(batch):
    given = {"vision_config": TINY_CLIP, "text_config": TINY_LLAMA | {"vocab_size": 100}, "grounding_config": TINY_SAM}
    config = LegionConfig(**given | TOKENS)
    config.grounding_config._attn_implementation = "flash_attention_2"  # as from_pretrained sets it in every part
    model = LegionForGroundedExplanation(config)
    assert model.grounding.vision_encoder.config._attn_implementation == "sdpa"
    assert len(model(**batch).mask_logits) == 2
    config = LegionConfig(**given | TOKENS)
    config._attn_implementation = "eager"
    assert LegionForGroundedExplanation(config).grounding.config._attn_implementation == "eager"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_cells_are_where_sam_has_them(dtype):
    sam = model_of().to(dtype).grounding
    side = sam.config.prompt_encoder_config.image_embedding_size
    found = sam.shared_image_embedding(cell_centres(side, torch.device("cpu"))).permute(2, 0, 1)[None]
    assert torch.equal(found, sam.get_image_wide_positional_embeddings())


def test_parts_may_lie_on_the_disk(batch, tmp_path):
    model = model_of()
    model.save_pretrained(tmp_path / "model")
    parts = dict.fromkeys(("model", "lm_head", "prompt_projector", "detection_head"), "cpu")
    loaded = LegionForGroundedExplanation.from_pretrained(
        tmp_path / "model", device_map=parts | {"grounding": "disk"}, offload_folder=tmp_path / "disk"
    )
    assert loaded.grounding.shared_image_embedding.positional_embedding.is_meta
    with torch.no_grad():
        expected, found = model(**batch), loaded(**batch)
    for one, other in zip(expected.mask_logits, found.mask_logits, strict=True):
        torch.testing.assert_close(one, other)


def test_save_and_load(batch, tmp_path):
    model = model_of()
    model.save_pretrained(tmp_path)
    loaded, report = LegionForGroundedExplanation.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert loaded.config.grounding_config.mask_decoder_config.layer_norm_eps == 1e-5
    with torch.no_grad():
        expected, found = model(**batch), loaded(**batch)
    torch.testing.assert_close(found.loss, expected.loss)
    loaded.train()
    frozen = {name for name, one in loaded.named_parameters() if not one.requires_grad}
    assert any(name.startswith("model.vision_tower.") for name in frozen)
    assert any(name.startswith("grounding.vision_encoder.") for name in frozen)
    assert not any(name.startswith(("grounding.mask_decoder.", "prompt_projector.")) for name in frozen)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seg_token_id": 100}, "seg_token_id must lie in the vocabulary of 100 tokens, got 100"),
        ({"mask_dice_loss_weight": -1.0}, "mask_dice_loss_weight must be at least 0, got -1.0"),
        ({"dice_scale": 0.0}, "dice_scale and dice_eps must be above 0, got 0.0"),
        ({"authentic_threshold": 0.9}, "must not exceed forged_threshold"),
    ],
)
def test_impossible_settings(settings, message):
    with pytest.raises(Exception, match=message):
        model_of(**settings)
