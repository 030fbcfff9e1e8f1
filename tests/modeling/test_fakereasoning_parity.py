"""FakeReasoning against the authors' code on tiny weights: every expected value comes from the fixture."""

import pytest
import torch
from parity import expanded, fakereasoning_from_parity, fakereasoning_name

from forgescope.modeling.attention_fusion import dino_features

DESIGNS = pytest.mark.parametrize(("design", "tolerance"), [("clip_only", 1e-6), ("dual", 1e-5)])


@pytest.fixture(scope="module")
def inputs(fakereasoning_parity):
    """The training batch, its sentinels replaced by image tokens."""
    given, config = fakereasoning_parity["inputs"], fakereasoning_parity["config"]
    sentinel = fakereasoning_parity["data"]["image_sentinel"]
    expected = fakereasoning_parity["dual"]
    return {
        "input_ids": expanded(given["input_ids"], config["tiny"]["clip_grid"] ** 2, sentinel, config["vocab_size"]),
        "attention_mask": expected["merged_attention_mask"].long(),
        "pixel_values": given["images"],
        "labels": expected["merged_labels"],
        "forgery_labels": given["forgery_labels"],
    }


@pytest.fixture(scope="module")
def prompt(fakereasoning_parity, inputs):
    """The question about the first image."""
    config, data = fakereasoning_parity["config"], fakereasoning_parity["data"]
    features = config["tiny"]["clip_grid"] ** 2
    ids = expanded(data["infer_ids_llava_v1"][None], features, data["image_sentinel"], config["vocab_size"])
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "pixel_values": inputs["pixel_values"][:1],
        "do_sample": False,
    }


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@DESIGNS
def test_logits_and_losses(fakereasoning_parity, inputs, design, tolerance, attention):
    expected, model = fakereasoning_parity[design], fakereasoning_from_parity(fakereasoning_parity, design)
    model.set_attn_implementation(attention)
    tolerance = max(tolerance, 1e-5 if attention == "sdpa" else 0)  # the fixture was made with eager attention
    outputs = model(**inputs)
    real = inputs["attention_mask"].bool()
    close = {"rtol": 0, "atol": tolerance}
    torch.testing.assert_close(outputs.image_hidden_states, expected["fused"], **close)
    logits = outputs.logits[:, :, expected["logits_columns"]][real]
    torch.testing.assert_close(logits, expected["logits_at_columns"][real], **close)
    torch.testing.assert_close(outputs.logits.logsumexp(-1)[real], expected["logits_logsumexp"][real], **close)
    assert torch.equal(outputs.logits.argmax(-1)[real], expected["logits_argmax"][real])
    for name, value in (("loss_lm", "loss_lm"), ("loss_cpm", "loss_cpm"), ("loss", "loss_total")):
        torch.testing.assert_close(outputs[name], expected[value], **close)
    assert outputs.classification_index.tolist() == expected["classification_index"]
    probabilities = torch.tensor(expected["prob_fake"])
    torch.testing.assert_close(outputs.fake_probability, probabilities, equal_nan=True, **close)


@DESIGNS
def test_gradients(fakereasoning_parity, inputs, design, tolerance):
    expected, model = fakereasoning_parity[design], fakereasoning_from_parity(fakereasoning_parity, design)
    model(**inputs).loss.backward()
    parameters = dict(model.named_parameters())
    for name, norm in expected["grad_norms"].items():
        gradient = parameters[fakereasoning_name(name)].grad
        assert gradient.norm().item() == pytest.approx(norm, rel=1e-4, abs=1e-7), name
    frozen = [name for name in parameters if name.startswith(("model.vision_tower.", "model.dino_tower."))]
    assert frozen
    assert all(parameters[name].grad is None and not parameters[name].requires_grad for name in frozen)


@DESIGNS
def test_greedy_answer(fakereasoning_parity, prompt, design, tolerance):
    expected, model = fakereasoning_parity[design]["greedy"], fakereasoning_from_parity(fakereasoning_parity, design)
    expected = expected[0, 1:]  # the authors' version of transformers puts a beginning-of-text token before the answer
    with_cache = model.generate(**prompt, max_new_tokens=len(expected))
    without = model.generate(**prompt, max_new_tokens=len(expected), use_cache=False)
    assert with_cache[0, prompt["input_ids"].shape[1] :].tolist() == expected.tolist()
    assert torch.equal(with_cache, without)


def test_features_and_attention_of_dinov2(fakereasoning_parity, inputs):
    expected, model = fakereasoning_parity["dual"], fakereasoning_from_parity(fakereasoning_parity, "dual")
    with torch.no_grad():
        features, attention = dino_features(model.model.dino_tower, inputs["pixel_values"])
        encoded = model.get_image_features(inputs["pixel_values"])
    close = {"rtol": 0, "atol": 1e-5}
    torch.testing.assert_close(features, expected["dino_features"], **close)
    torch.testing.assert_close(attention, expected["dino_attention"][:, :, 1:, 1:], **close)
    clip = encoded.last_hidden_state[:, 1:]
    torch.testing.assert_close(clip, expected["clip_features"], **close)
    projected = model.model.multi_modal_projector(clip)
    torch.testing.assert_close(projected, expected["clip_projected"], **close)
    torch.testing.assert_close(model.model.dino_projector(features), expected["dino_projected"], **close)


def test_the_library_interpolates_dinov2_otherwise(fakereasoning_parity, inputs):
    # without the original interpolation the features are wrong by far more than the tolerance
    expected, model = fakereasoning_parity["dual"], fakereasoning_from_parity(fakereasoning_parity, "dual")
    embeddings = model.model.dino_tower.embeddings
    embeddings.interpolate_pos_encoding = super(type(embeddings), embeddings).interpolate_pos_encoding
    with torch.no_grad():
        features, _ = dino_features(model.model.dino_tower, inputs["pixel_values"])
    assert (features - expected["dino_features"]).abs().max() > 1e-3
