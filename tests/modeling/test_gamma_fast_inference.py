import copy
import itertools

import pytest
import torch

from forgescope.modeling.fast_attention import FastPooledCrossAttention
from forgescope.modeling.fast_decoder import FastMLPDecoder
from forgescope.modeling.fast_inference import FastLinear, onednn_is_usable, optimize_for_inference
from forgescope.modeling.mlp_decoder import MLPDecoder
from forgescope.modeling.modeling_gamma import GammaForDetection

VARIANTS = list(itertools.product(("reverse", "none", "standard", "dual"), ("pooled", "spatial")))
OUTPUTS = ("logits", "ai_logits", "manipulation_logits")


def relative_errors(result, expected):
    return [((result[name].float() - expected[name]).norm() / expected[name].norm()).item() for name in OUTPUTS]


def assert_close(result, expected):
    for name, value in expected.items():
        torch.testing.assert_close(result[name], value, rtol=1e-4, atol=1e-6, msg=name)


@pytest.fixture
def pair(tiny_gamma):
    """Make an untouched model and its optimised twin."""

    def make(dtype=torch.float32, **settings):
        model = tiny_gamma(**settings)
        return model, optimize_for_inference(copy.deepcopy(model), dtype)

    return make


@pytest.mark.parametrize(("attention", "tokens"), VARIANTS)
@pytest.mark.parametrize("batch", [1, 3])
def test_float32_equals_the_untouched_model(pair, attention, tokens, batch):
    model, fast = pair(cross_attention=attention, cross_attention_tokens=tokens)
    for height, width in ((32, 32), (96, 160)):
        pixel_values = torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(2))
        with torch.no_grad():
            expected = model(pixel_values)
            assert_close(fast(pixel_values), expected)
        with torch.inference_mode():
            assert_close(fast(pixel_values), expected)


@pytest.mark.parametrize(
    "settings",
    [{"use_ai_head": False}, {"use_manipulation_head": False, "use_ai_head": False}],
)
def test_float32_equals_with_fewer_heads(pair, pixel_values, settings):
    model, fast = pair(**settings)
    with torch.no_grad():
        assert_close(fast(pixel_values), model(pixel_values))


def test_modules_are_replaced(pair):
    model, fast = pair()
    assert {type(one) for one in fast.decoders.values()} == {FastMLPDecoder}
    assert {type(one) for one in model.decoders.values()} == {MLPDecoder}
    assert {type(one) for one in fast.cross_attention.values()} == {FastPooledCrossAttention}
    assert type(fast.gamma.projection) is (FastLinear if onednn_is_usable() else torch.nn.Linear)


def test_parameters_and_names_stay(pair, tmp_path, pixel_values):
    model, fast = pair()
    assert list(fast.state_dict()) == list(model.state_dict())
    fast.save_pretrained(tmp_path)
    loaded = GammaForDetection.from_pretrained(tmp_path)
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_other_weights_are_followed(pair, tiny_gamma, pixel_values):
    _, fast = pair()
    other = tiny_gamma()
    with torch.no_grad():
        fast(pixel_values)
        for parameter in other.parameters():
            parameter.mul_(1.1)
        fast.load_state_dict(other.state_dict())
        assert_close(fast(pixel_values), other(pixel_values))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_second_call_changes_nothing(pair, pixel_values, dtype):
    _, fast = pair(dtype)
    kinds = [type(module) for module in fast.modules()]
    with torch.no_grad():
        first = fast(pixel_values)
        assert optimize_for_inference(fast, dtype) is fast
        assert [type(module) for module in fast.modules()] == kinds
        assert torch.equal(fast(pixel_values).logits, first.logits)


@pytest.mark.parametrize("tokens", ["pooled", "spatial"])
def test_bfloat16(pair, pixel_values, tokens):
    # float32 pixels on purpose: that is what the image processor gives
    model, fast = pair(torch.bfloat16, cross_attention_tokens=tokens)
    with torch.no_grad():
        result = fast(pixel_values)
        assert {result[name].dtype for name in OUTPUTS} == {torch.bfloat16}
        assert max(relative_errors(result, model(pixel_values))) < 0.05


def test_autocast_gives_what_it_gives_an_untouched_model(pair, pixel_values):
    model, fast = pair(cross_attention_tokens="spatial")
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        expected = {name: value.float() for name, value in model(pixel_values).items()}
        assert max(relative_errors(fast(pixel_values), expected)) < 0.03


def test_training_goes_on_as_before(pair, pixel_values, gamma_targets):
    model, fast = pair(cross_attention="dual", cross_attention_tokens="spatial", decoder_dropout=0.0)
    for one in (model.train(), fast.train()):
        one(pixel_values, **gamma_targets).loss.backward()
    for (name, parameter), twin in zip(model.named_parameters(), fast.parameters(), strict=True):
        assert (parameter.grad is None) == (twin.grad is None), name
        if parameter.grad is not None:
            torch.testing.assert_close(twin.grad, parameter.grad, rtol=1e-3, atol=1e-6, msg=name)
    for name, buffer in model.named_buffers():
        torch.testing.assert_close(dict(fast.named_buffers())[name], buffer, rtol=1e-4, atol=1e-6, msg=name)
