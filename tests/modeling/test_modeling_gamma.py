import itertools

import pytest
import torch
from tiny_models import drawn
from transformers import SegformerModel

from forgescope.modeling.configuration_gamma import GammaConfig
from forgescope.modeling.modeling_gamma import GammaForDetection, GammaModel

HEADS = {"both": {}, "ai": {"use_manipulation_head": False}, "manipulation": {"use_ai_head": False}}
NO_HEADS = {"use_manipulation_head": False, "use_ai_head": False}
ATTENTIONS = ("reverse", "none", "standard", "dual")
# Table 8, both readings of the key, and the rows of Table 4 that have a head
VARIANTS = list(itertools.product(ATTENTIONS, ("pooled", "spatial"), HEADS))
every_variant = pytest.mark.parametrize(("attention", "tokens", "heads"), VARIANTS)


def variant(attention, tokens, heads):
    return {"cross_attention": attention, "cross_attention_tokens": tokens} | HEADS[heads]


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_default_is_the_paper_scale():
    with torch.device("meta"):
        model = GammaForDetection(GammaConfig())
    assert count(model.gamma.encoder) == 24_196_288  # MiT-B2
    assert count(model.gamma.projection) == 512 * 768 + 768
    # per decoder: four projections, the fusing convolution, batch normalisation, the mask's convolution
    decoder = (64 + 128 + 320 + 512 + 4) * 768 + 4 * 768 * 768 + 2 * 768 + 768 + 1
    assert [count(one) for one in model.decoders.values()] == [decoder] * 2
    assert [count(one) for one in model.cross_attention.values()] == [4 * (768 * 768 + 768)] * 2
    assert count(model.classifier) == 769
    assert count(model) == 35_617_987


@pytest.mark.parametrize(
    ("settings", "parameters"),
    [
        ({"cross_attention": "none"}, 30_893_251),
        ({"cross_attention": "standard"}, 35_617_987),
        ({"cross_attention": "dual"}, 40_342_723),
        ({"use_ai_head": False}, 30_104_514),
        (NO_HEADS, 24_591_041),
    ],
)
def test_size_of_the_ablations(settings, parameters):
    with torch.device("meta"):
        assert count(GammaForDetection(GammaConfig(**settings))) == parameters


def test_keys():
    with torch.device("meta"):
        keys = set(GammaForDetection(GammaConfig()).state_dict())
        encoder = set(SegformerModel(GammaConfig().encoder_config).state_dict())
    assert {key.removeprefix("gamma.encoder.") for key in keys if key.startswith("gamma.encoder.")} == encoder
    names = ("manipulation", "ai")
    linear = ("weight", "bias")
    expected = {f"gamma.projection.{one}" for one in linear} | {f"classifier.{one}" for one in linear}
    expected |= {
        f"cross_attention.reverse_{name}.{letter}_proj.{one}" for name in names for letter in "qkvo" for one in linear
    }
    parts = [f"linear_projections.{stage}.proj.{one}" for stage in range(4) for one in linear]
    parts += [f"batch_norm.{one}" for one in (*linear, "running_mean", "running_var", "num_batches_tracked")]
    parts += ["linear_fuse.weight", *(f"classifier.{one}" for one in linear)]
    expected |= {f"decoders.{name}.{part}" for name in names for part in parts}
    assert {key for key in keys if not key.startswith("gamma.encoder.")} == expected


@every_variant
def test_shapes(tiny_gamma, attention, tokens, heads):
    model = tiny_gamma(**variant(attention, tokens, heads))
    for height, width in ((64, 64), (96, 160), (32, 32)):
        with torch.no_grad():
            outputs = model(torch.randn(2, 3, height, width))
        assert outputs.logits.shape == (2, 2)
        assert (outputs.logits[:, 0] == 0).all()
        for name in ("ai", "manipulation"):
            logits = outputs[f"{name}_logits"] if heads in ("both", name) else outputs.get(f"{name}_logits")
            assert (logits is None) == (heads not in ("both", name))
            assert logits is None or logits.shape == (2, 1, height // 4, width // 4)
    directions = {"none": [], "dual": ["standard", "reverse"]}.get(attention, [attention])
    present = ["manipulation", "ai"] if heads == "both" else [heads]
    assert set(model.cross_attention) == {f"{one}_{name}" for one in directions for name in present}


@pytest.mark.parametrize("tokens", ["pooled", "spatial"])
def test_classification_only(tiny_gamma, pixel_values, gamma_targets, tokens):
    # first row of Table 4
    model = tiny_gamma(cross_attention_tokens=tokens, **NO_HEADS).train()
    outputs = model(pixel_values, **gamma_targets)
    assert list(outputs) == ["loss", "logits", "loss_classification"]
    torch.testing.assert_close(outputs.loss, 2 * outputs.loss_classification)
    outputs.loss.backward()
    assert all(one.grad is not None for one in model.parameters())
    feature = model.gamma(pixel_values).pooler_output
    torch.testing.assert_close(outputs.logits[:, 1:], model.classifier(feature))


@every_variant
def test_gradients(tiny_gamma, pixel_values, gamma_targets, attention, tokens, heads):
    model = tiny_gamma(**variant(attention, tokens, heads)).train()
    model(pixel_values, **gamma_targets).loss.backward()
    without = {name for name, one in model.named_parameters() if one.grad is None}
    # a softmax over one key is 1 whatever query and key are; a constant added to all scores cannot matter
    reverse = {name for name in without if ".reverse_" in name}
    assert all(".q_proj." in name or ".k_proj." in name for name in reverse)
    assert bool(reverse) == (attention in ("reverse", "dual") and tokens == "pooled")
    assert all(name.endswith("k_proj.bias") for name in without - reverse)
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            assert torch.isfinite(parameter.grad).all(), name
            # the means that batch normalisation takes away, and what is added to all scores, move nothing
            if not (name.endswith(("k_proj.bias", "proj.bias")) or parameter.grad.numel() == 1):
                assert parameter.grad.abs().max() > 0, name


def test_features_of_the_base_model(tiny_gamma, pixel_values):
    model = tiny_gamma()
    with torch.no_grad():
        outputs = model.gamma(pixel_values)
        encoder = model.gamma.encoder(pixel_values, output_hidden_states=True)
    assert [tuple(one.shape) for one in outputs.hidden_states] == [
        (2, 8, 16, 16),
        (2, 16, 8, 8),
        (2, 24, 4, 4),
        (2, 32, 2, 2),
    ]
    for one, other in zip(outputs.hidden_states, encoder.hidden_states, strict=True):
        assert torch.equal(one, other)
    assert outputs.last_hidden_state.shape == (2, 4, 24)
    # Eq. 5 as printed pools first
    pooled = model.gamma.projection(encoder.last_hidden_state.mean(dim=(2, 3)))
    torch.testing.assert_close(outputs.pooler_output, pooled, rtol=1e-5, atol=1e-6)


def test_equation_8(tiny_gamma, pixel_values):
    """The sum over both decoders, from the model's own parts."""
    for attention, tokens in itertools.product(ATTENTIONS, ("pooled", "spatial")):
        model = tiny_gamma(cross_attention=attention, cross_attention_tokens=tokens)
        with torch.no_grad():
            features = model.gamma(pixel_values)
            pooled = features.pooler_output
            context = features.last_hidden_state if tokens == "spatial" else pooled[:, None]
            expected = pooled
            for name, decoder in model.decoders.items():
                queries = decoder(features.hidden_states)[0].flatten(2).transpose(1, 2)
                if attention in ("reverse", "dual"):
                    expected = expected + model.cross_attention[f"reverse_{name}"](queries, context)
                if attention in ("standard", "dual"):
                    expected = expected + model.cross_attention[f"standard_{name}"](pooled[:, None], queries)
            logits = model(pixel_values).logits
        torch.testing.assert_close(logits[:, 1:], model.classifier(expected), rtol=1e-5, atol=1e-6)


def test_softmax_of_the_logits_is_the_sigmoid(tiny_gamma, pixel_values):
    with torch.no_grad():
        logits = tiny_gamma()(pixel_values).logits
    probabilities = logits.softmax(dim=-1)
    torch.testing.assert_close(probabilities[:, 1], logits[:, 1].sigmoid())
    assert torch.equal(logits.argmax(dim=-1), (logits[:, 1] > 0).long())


def test_heads_are_two_networks(tiny_gamma, pixel_values):
    with torch.no_grad():
        outputs = tiny_gamma()(pixel_values)
    assert not torch.allclose(outputs.ai_logits, outputs.manipulation_logits)


def test_ablated_checkpoint_keeps_its_switches(tiny_gamma, tmp_path, pixel_values):
    settings = {"cross_attention": "dual", "cross_attention_tokens": "spatial", "use_manipulation_head": False}
    model = tiny_gamma(**settings)
    model.save_pretrained(tmp_path)
    loaded = GammaForDetection.from_pretrained(tmp_path)
    assert set(loaded.cross_attention) == {"standard_ai", "reverse_ai"}
    with torch.no_grad():
        torch.testing.assert_close(loaded(pixel_values).logits, model(pixel_values).logits, rtol=1e-5, atol=1e-7)


def test_base_model_alone(tiny_gamma_config, pixel_values):
    model = drawn(GammaModel(tiny_gamma_config())).eval()
    assert count(model) == count(model.encoder) + 32 * 24 + 24
    assert model(pixel_values).pooler_output.shape == (2, 24)
