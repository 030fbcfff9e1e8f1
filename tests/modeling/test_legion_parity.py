"""LEGION against the authors' code on tiny weights: every expected value comes from the fixture."""

import pytest
import torch
from parity import expanded, legion_from_parity, legion_name, parity_image_tokens

CLOSE = {"rtol": 0, "atol": 2e-5}


@pytest.fixture(scope="module")
def model(legion_parity):
    return legion_from_parity(legion_parity)


@pytest.fixture(scope="module")
def inputs(legion_parity):
    """The training batch, its sentinels replaced by image tokens."""
    batch, vocabulary = legion_parity["train"]["batch"], legion_parity["meta"]["vocab"]
    features = parity_image_tokens(legion_parity)
    ids = batch["input_ids"]
    longer = ids.shape[1] - 1 + features
    attention = torch.ones(len(ids), longer, dtype=torch.long)
    attention[:, features - 1 :] = batch["attention_masks"]
    return {
        "input_ids": expanded(ids, features, -200, vocabulary),
        # a sentinel's label is ignored, and so are those of the image tokens in its place
        "labels": expanded(batch["labels"].where(ids != -200, -200), features, -200, -100),
        "attention_mask": attention,
        "pixel_values": batch["global_enc_images"],
        "grounding_pixel_values": batch["grounding_enc_images"],
        "grounding_sizes": torch.tensor(batch["resize_list"]),
        "masks": batch["masks_list"],
    }


@pytest.fixture(scope="module")
def outputs(model, inputs):
    return model(**inputs)


def test_states_and_logits(legion_parity, inputs, outputs, model):
    expected, real = legion_parity["train"], inputs["attention_mask"].bool()
    torch.testing.assert_close(outputs.logits[real], expected["logits"][real], **CLOSE)
    torch.testing.assert_close(outputs.image_hidden_states, expected["image_tokens"], **CLOSE)
    torch.testing.assert_close(model.model.image_states(inputs["pixel_values"]), expected["clip_hidden_m2"], **CLOSE)


def test_prompts_of_masks(legion_parity, inputs, model):
    expected = legion_parity["train"]
    with torch.no_grad():
        names = ("input_ids", "pixel_values", "attention_mask")
        hidden = model.model(**{name: inputs[name] for name in names}).last_hidden_state
        states = model.seg_states(inputs["input_ids"], hidden)
        prompts = model.prompt_projector(torch.cat(states))
    torch.testing.assert_close(prompts, expected["text_fc"][expected["seg_mask"]], **CLOSE)


def test_masks(legion_parity, inputs, model):
    expected = legion_parity["train"]
    with torch.no_grad():
        embeddings = model.grounding.vision_encoder(inputs["grounding_pixel_values"]).last_hidden_state
        positions = model.grounding.get_image_wide_positional_embeddings()
        states = model.model(
            input_ids=inputs["input_ids"], pixel_values=inputs["pixel_values"], attention_mask=inputs["attention_mask"]
        ).last_hidden_state
        low = [
            model.low_resolution_masks(*pair)
            for pair in zip(model.seg_states(inputs["input_ids"], states), embeddings, strict=True)
        ]
    torch.testing.assert_close(embeddings, expected["sam_image_embeddings"], **CLOSE)
    torch.testing.assert_close(positions, expected["dense_pe"], **CLOSE)
    for one, other in zip(low, expected["low_res_masks"], strict=True):
        torch.testing.assert_close(one, other[:, 0], **CLOSE)


def test_masks_at_the_size_of_the_image(legion_parity, inputs, outputs):
    (expected,) = legion_parity["infer"]["pred_masks"]
    torch.testing.assert_close(outputs.mask_logits[0], expected, **CLOSE)
    assert [tuple(one.shape[1:]) for one in outputs.mask_logits] == [
        tuple(size) for size in legion_parity["train"]["orig_sizes"]
    ]


def test_losses(legion_parity, outputs, model):
    expected, config, close = legion_parity["train"]["losses"], model.config, {"rtol": 0, "atol": 1e-6}
    torch.testing.assert_close(outputs.loss, expected["loss"], **close)
    torch.testing.assert_close(outputs.loss_lm, expected["ce_loss"], **close)
    weighted = config.mask_bce_loss_weight * outputs.loss_mask_bce
    torch.testing.assert_close(weighted, expected["mask_bce_loss"], **close)
    weighted = config.mask_dice_loss_weight * outputs.loss_mask_dice
    torch.testing.assert_close(weighted, expected["mask_dice_loss"], **close)


def test_gradients(legion_parity, inputs):
    model = legion_from_parity(legion_parity)
    model(**inputs).loss.backward()
    parameters, compared = dict(model.named_parameters()), 0
    for name, gradient in legion_parity["train"]["grads"].items():
        ours = parameters.get(legion_name(name) or "")
        if gradient is None:
            assert ours is None or ours.grad is None, name
        else:
            torch.testing.assert_close(ours.grad, gradient, rtol=0, atol=1e-6, msg=name)
            compared += 1
    assert compared > 30


def test_another_epsilon_of_the_mask_decoder_is_another_network(legion_parity, inputs):
    # the default of transformers; masks then differ by more than fifty times what rounding does
    model = legion_from_parity(legion_parity, layer_norm_eps=1e-6)
    with torch.no_grad():
        difference = model(**inputs).mask_logits[0] - legion_parity["infer"]["pred_masks"][0]
    assert difference.abs().max() > 5e-5


@pytest.mark.parametrize("use_cache", [True, False])
def test_generated_explanation_and_masks(legion_parity, inputs, use_cache):
    expected, model = legion_parity["generate"], legion_from_parity(legion_parity)
    with torch.no_grad():
        model.lm_head.weight.copy_(expected["lm_head_weight"])
    features = parity_image_tokens(legion_parity)
    ids = expanded(expected["prompt_ids"], features, -200, legion_parity["meta"]["vocab"])
    prompt_length = expected["prompt_ids"].shape[1]
    found = model.generate_grounded(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        pixel_values=inputs["pixel_values"][:1],
        grounding_pixel_values=inputs["grounding_pixel_values"][:1],
        grounding_sizes=inputs["grounding_sizes"][:1],
        original_sizes=torch.tensor(legion_parity["train"]["orig_sizes"][:1]),
        max_new_tokens=expected["sequences"].shape[1] - prompt_length,
        do_sample=False,
        use_cache=use_cache,
    )
    assert found.generated_ids.tolist() == expected["sequences"][:, prompt_length:].tolist()
    torch.testing.assert_close(found.mask_logits[0], expected["pred_masks"][0], **CLOSE)


def test_detection(legion_parity, inputs, model):
    expected = legion_parity["cls"]
    with torch.no_grad():
        outputs = model(pixel_values=inputs["pixel_values"], forgery_labels=1 - expected["labels"])
        features = model.class_tokens(inputs["pixel_values"])
        from_features = model(image_features=features, forgery_labels=1 - expected["labels"])
    # the authors' order of classes is (fake, real)
    torch.testing.assert_close(outputs.detection_logits.flip(1), expected["logits"], rtol=0, atol=1e-6)
    torch.testing.assert_close(outputs.loss, expected["loss"], rtol=0, atol=1e-6)
    assert torch.equal(from_features.detection_logits, outputs.detection_logits)
