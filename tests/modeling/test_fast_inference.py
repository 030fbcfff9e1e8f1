import copy
import os
import platform

import pytest
import torch
from transformers import SegformerConfig, SegformerModel
from transformers.models.segformer.modeling_segformer import SegformerDepthWiseConv

from forgescope.modeling import fast_inference
from forgescope.modeling.fast_inference import (
    FastDepthWiseConv,
    FastHighPassFilter,
    FastLayer,
    FastLinear,
    FastMixMLP,
    keep_freed_memory,
    onednn_is_usable,
    optimize_for_inference,
)
from forgescope.modeling.high_pass import HighPassFilter
from forgescope.modeling.modeling_iclnet import ICLNetForForgerySegmentation

needs_onednn = pytest.mark.skipif(
    platform.machine() != "x86_64" or not torch.backends.mkldnn.is_available(), reason="needs oneDNN on x86"
)


def relative_error(result, expected):
    return ((result.float() - expected.float()).norm() / expected.float().norm()).item()


@pytest.fixture
def pair(tiny_model):
    """Make an untouched model and its optimised twin."""

    def make(dtype=torch.float32, **settings):
        model = tiny_model(**settings)
        return model, optimize_for_inference(copy.deepcopy(model), dtype)

    return make


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 64), (96, 160), (256, 128)])
def test_float32_equals_the_untouched_model(pair, batch, height, width):
    model, fast = pair()
    pixel_values = torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = model(pixel_values).logits
        assert relative_error(fast(pixel_values).logits, expected) <= 1e-5
    with torch.inference_mode():
        assert relative_error(fast(pixel_values).logits, expected) <= 1e-5
        channels_last = pixel_values.to(memory_format=torch.channels_last)
        assert relative_error(fast(channels_last).logits, expected) <= 1e-5


@pytest.mark.parametrize(
    "settings",
    [
        {"noise_filter": "fft"},
        {"noise_filter": "residual"},
        {"noise_filter": "energy"},
        {"feature_stages": (0, 1, 2, 3)},
        {"use_noise_stream": False, "use_frozen_stream": False},
    ],
)
def test_float32_equals_for_every_architecture(pair, pixel_values, settings):
    model, fast = pair(**settings)
    with torch.no_grad():
        assert relative_error(fast(pixel_values).logits, model(pixel_values).logits) <= 1e-5


def test_paper_sized_layers_are_equal():
    torch.manual_seed(0)
    one_layer_a_stage = SegformerConfig(
        depths=(1, 1, 1, 1), hidden_sizes=(64, 128, 320, 512), num_attention_heads=(1, 2, 5, 8)
    )
    model = SegformerModel(one_layer_a_stage).eval()
    fast = optimize_for_inference(copy.deepcopy(model))
    pixel_values = torch.randn(1, 3, 128, 128)
    with torch.no_grad():
        expected = model(pixel_values, output_hidden_states=True)
        result = fast(pixel_values, output_hidden_states=True)
    for one, other in zip(result.hidden_states, expected.hidden_states, strict=True):
        assert relative_error(one, other) <= 1e-5


@needs_onednn
def test_modules_are_replaced(pair):
    assert onednn_is_usable()
    _, fast = pair()
    kinds = [type(module) for module in fast.modules()]
    assert kinds.count(FastLayer) == kinds.count(FastMixMLP) == kinds.count(FastDepthWiseConv) == 12
    assert kinds.count(FastLinear) == 12 * 6
    assert torch.nn.Linear not in kinds


def test_parameters_and_names_stay(pair, tmp_path, pixel_values):
    model, fast = pair()
    assert list(fast.state_dict()) == list(model.state_dict())
    fast.save_pretrained(tmp_path)
    loaded = ICLNetForForgerySegmentation.from_pretrained(tmp_path)
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    fast.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(loaded(pixel_values).logits, model(pixel_values).logits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_second_call_changes_nothing(pair, pixel_values, dtype):
    _, fast = pair(dtype)
    kinds = [type(module) for module in fast.modules()]
    with torch.no_grad():
        first = fast(pixel_values).logits
        assert optimize_for_inference(fast, dtype) is fast
        assert [type(module) for module in fast.modules()] == kinds
        assert torch.equal(fast(pixel_values).logits, first)


def test_gradients_still_flow(pair, pixel_values, labels):
    model, fast = pair()
    for one in (model.train(), fast.train()):
        one(pixel_values, labels=labels).loss.backward()
    for (name, parameter), twin in zip(model.named_parameters(), fast.parameters(), strict=True):
        assert (parameter.grad is None) == (twin.grad is None), name
        if parameter.grad is not None:
            torch.testing.assert_close(twin.grad, parameter.grad, rtol=1e-3, atol=1e-6, msg=name)


def test_bfloat16_keeps_the_filter_exact(pair, pixel_values):
    model, fast = pair(torch.bfloat16)
    assert fast.dtype == torch.bfloat16
    with torch.no_grad():
        assert torch.equal(fast.iclnet.high_pass(pixel_values), model.iclnet.high_pass(pixel_values))
        logits = fast(pixel_values).logits
        assert logits.dtype == torch.bfloat16
        assert relative_error(logits, model(pixel_values).logits) < 0.05


def test_rows_then_columns_average_the_same_windows():
    energy = 1e4 * torch.rand(2, 4, 40, 31, generator=torch.Generator().manual_seed(0)) ** 4
    means = FastHighPassFilter._window_means(energy)
    torch.testing.assert_close(means, HighPassFilter._window_means(energy), rtol=1e-5, atol=0)


def test_bfloat16_checkpoint_gets_exact_kernels(tiny_model):
    model = optimize_for_inference(tiny_model().to(torch.bfloat16), torch.bfloat16)
    assert model.iclnet.high_pass.weight.dtype == torch.float32
    assert torch.equal(model.iclnet.high_pass.weight, model.iclnet.high_pass.initial_weight())


def test_dropout_of_a_training_model_is_kept(tiny_model, tiny_encoder):
    model = optimize_for_inference(tiny_model(encoder_config=tiny_encoder | {"hidden_dropout_prob": 0.5}))
    mlp = model.iclnet.main_encoder.stages[0].blocks[0].mlp
    tokens = torch.randn(1, 16, 8)
    with torch.no_grad():
        assert torch.equal(mlp(tokens, 4, 4), mlp(tokens, 4, 4))
        mlp.train()
        assert not torch.equal(mlp(tokens, 4, 4), mlp(tokens, 4, 4))


def test_autocast_gives_what_it_gives_an_untouched_model(pair, pixel_values):
    model, fast = pair()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert relative_error(fast(pixel_values).logits, model(pixel_values).logits) < 0.03


@pytest.mark.parametrize("activation", ["relu", "gelu_new"])
def test_other_activations_are_left_alone(tiny_model, tiny_encoder, pixel_values, activation):
    model = tiny_model(encoder_config=tiny_encoder | {"hidden_act": activation})
    fast = optimize_for_inference(copy.deepcopy(model))
    assert not any(isinstance(module, FastMixMLP) for module in fast.modules())
    with torch.no_grad():
        assert relative_error(fast(pixel_values).logits, model(pixel_values).logits) <= 1e-5


def test_without_onednn_the_strides_are_still_cured(tiny_model, pixel_values, monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    model = tiny_model()
    fast = optimize_for_inference(copy.deepcopy(model))
    kinds = {type(module) for module in fast.modules()}
    assert FastDepthWiseConv in kinds
    assert FastLinear not in kinds
    with torch.no_grad():
        assert relative_error(fast(pixel_values).logits, model(pixel_values).logits) <= 1e-5


def test_a_model_elsewhere_than_on_the_cpu_passes_through(tiny_config):
    with torch.device("meta"):
        model = ICLNetForForgerySegmentation(tiny_config())
    assert optimize_for_inference(model) is model
    assert type(model.iclnet.high_pass) is HighPassFilter
    assert any(type(module) is SegformerDepthWiseConv for module in model.modules())


def test_own_subclasses_keep_their_forward(tiny_model):
    class Louder(torch.nn.Linear):
        def forward(self, input):
            return 2 * super().forward(input)

    model = tiny_model()
    model.iclnet.main_encoder.stages[0].blocks[0].mlp.fc1.__class__ = Louder
    optimize_for_inference(model)
    assert type(model.iclnet.main_encoder.stages[0].blocks[0].mlp.fc1) is Louder


def test_other_dtypes_are_refused(tiny_model):
    with pytest.raises(ValueError, match=r"must be torch.float32 or torch.bfloat16, got torch.float16"):
        optimize_for_inference(tiny_model(), torch.float16)


def test_keep_freed_memory_says_whether_it_works(monkeypatch):
    monkeypatch.setattr(platform, "system", lambda: "Windows")
    assert keep_freed_memory() is False


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_keep_freed_memory_takes_effect():
    # in a child, because it cannot be undone
    child = os.fork()
    if child == 0:
        os._exit(0 if keep_freed_memory() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_public_names():
    assert fast_inference.__all__ == ["keep_freed_memory", "optimize_for_inference"]
