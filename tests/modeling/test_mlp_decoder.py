import pytest
import torch
import torch.nn.functional as F
from tiny_models import drawn
from transformers import SegformerConfig
from transformers.models.segformer.modeling_segformer import SegformerDecodeHead

from forgescope.modeling import fast_decoder
from forgescope.modeling.fast_decoder import FastMLPDecoder
from forgescope.modeling.mlp_decoder import MLPDecoder

TOLERANCES = {torch.float32: {"rtol": 1e-4, "atol": 1e-5}, torch.float64: {"rtol": 1e-9, "atol": 1e-11}}
# pixels of the image: square, ragged, and the smallest there is
SIZES = [(64, 64), (96, 160), (32, 32)]
HIDDEN = 20


@pytest.fixture
def encoder_config(tiny_encoder):
    return SegformerConfig(**tiny_encoder)


@pytest.fixture
def pair(encoder_config):
    """Make our decoder and transformers' with the same weights, in evaluation mode."""

    def make(dtype=torch.float64, dropout=0.0, num_labels=1):
        torch.manual_seed(0)
        ours = drawn(MLPDecoder(encoder_config, HIDDEN, dropout, num_labels)).to(dtype).eval()
        theirs = SegformerDecodeHead(ours.config).to(dtype).eval()
        theirs.load_state_dict(ours.state_dict(), strict=True)
        return ours, theirs

    return make


def stages(encoder_config, height, width, dtype=torch.float64, batch=2):
    generator = torch.Generator().manual_seed(1)
    return tuple(
        torch.randn(batch, channels, height >> shift, width >> shift, generator=generator).to(dtype)
        for shift, channels in zip((2, 3, 4, 5), encoder_config.hidden_sizes, strict=True)
    )


def features_of(head, maps):
    """What transformers' head holds behind its dropout."""
    caught = []
    hook = head.dropout.register_forward_hook(lambda _, __, output: caught.append(output))
    logits = head(maps)
    hook.remove()
    return caught[0], logits


def test_keys_are_those_of_transformers(encoder_config):
    ours = MLPDecoder(encoder_config, HIDDEN, 0.1)
    theirs = SegformerDecodeHead(ours.config)
    assert {name: tensor.shape for name, tensor in ours.state_dict().items()} == {
        name: tensor.shape for name, tensor in theirs.state_dict().items()
    }
    assert ours.config.decoder_hidden_size == HIDDEN
    assert ours.dropout.p == theirs.dropout.p == 0.1
    assert encoder_config.decoder_hidden_size != HIDDEN  # the encoder's own configuration is left alone


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("training", [False, True])
def test_outputs_and_running_statistics_equal_transformers(pair, encoder_config, size, dtype, training):
    ours, theirs = (one.train(training) for one in pair(dtype))
    maps = stages(encoder_config, *size, dtype)
    with torch.no_grad():
        features, logits = ours(maps)
        expected_features, expected = features_of(theirs, maps)
    assert features.shape == (2, HIDDEN, size[0] // 4, size[1] // 4)
    assert logits.shape == (2, 1, size[0] // 4, size[1] // 4)
    torch.testing.assert_close(features, expected_features, **TOLERANCES[dtype])
    torch.testing.assert_close(logits, expected, **TOLERANCES[dtype])
    for name, tensor in ours.state_dict().items():
        torch.testing.assert_close(tensor, theirs.state_dict()[name], **TOLERANCES[dtype], msg=name)
    assert ours.batch_norm.num_batches_tracked == int(training)


@pytest.mark.parametrize("size", [(64, 64), (96, 160)])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("num_labels", [1, 3])
def test_gradients_equal_transformers(pair, encoder_config, size, training, num_labels):
    gradients = []
    for decoder in pair(num_labels=num_labels):
        decoder.train(training)
        maps = [one.requires_grad_() for one in stages(encoder_config, *size)]
        logits = decoder(tuple(maps))
        logits = logits[1] if isinstance(logits, tuple) else logits
        weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        named = dict(decoder.named_parameters()) | {f"stage {index}": one for index, one in enumerate(maps)}
        found = torch.autograd.grad((weights * logits).sum(), list(named.values()))
        gradients.append(dict(zip(named, found, strict=True)))
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-8, atol=1e-10, msg=name)


def test_features_carry_gradients_too(pair, encoder_config):
    ours, theirs = pair()
    maps = stages(encoder_config, 64, 64)
    results = [ours(maps)[0].square().sum(), features_of(theirs, maps)[0].square().sum()]
    parameters = [
        [one for name, one in model.named_parameters() if "classifier" not in name] for model in (ours, theirs)
    ]
    for one, other in zip(
        *(torch.autograd.grad(*pair) for pair in zip(results, parameters, strict=True)), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


def test_dropout_acts_on_the_features_while_training(pair, encoder_config):
    ours, _ = pair(dropout=0.5)
    maps = stages(encoder_config, 64, 64)
    with torch.no_grad():
        certain, _ = ours(maps)
        features, logits = ours.train()(maps)
        torch.testing.assert_close(logits, ours.classifier(features))
        kept = features != 0
    assert (certain != 0).double().mean() > kept.double().mean() > 0.1
    with torch.no_grad():
        assert torch.equal(ours.eval()(maps)[0], ours(maps)[0])


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_features_are_left_out_on_demand(pair, encoder_config, memory_format):
    ours, _ = pair()
    maps = tuple(one.contiguous(memory_format=memory_format) for one in stages(encoder_config, 64, 64))
    features, logits = ours(maps, return_features=False)
    assert features is None
    assert torch.equal(logits, ours(maps)[1])


def test_a_1x1_convolution_commutes_with_bilinear_upsampling():
    # what the composition stands on; cascaded doublings would not
    maps, weight = torch.randn(1, 5, 4, 6, dtype=torch.float64), torch.randn(3, 5, 1, 1, dtype=torch.float64)

    def upsample(one, factor):
        return F.interpolate(one, scale_factor=factor, mode="bilinear", align_corners=False)

    torch.testing.assert_close(F.conv2d(upsample(maps, 4), weight), upsample(F.conv2d(maps, weight), 4))
    assert (upsample(upsample(maps, 2), 2) - upsample(maps, 4)).abs().max() > 0.01


# The form for inference


@pytest.fixture
def fast(pair):
    """Make our decoder and its fast twin."""

    def make(dtype=torch.float32, **settings):
        ours, _ = pair(dtype, **settings)
        twin = pair(dtype, **settings)[0]
        twin.__class__ = FastMLPDecoder
        return ours, twin

    return make


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("return_features", [True, False])
@pytest.mark.parametrize("block_bytes", [1, 2**14, 2**30])
def test_fast_equals_plain(fast, encoder_config, monkeypatch, size, return_features, block_bytes):
    monkeypatch.setattr(fast_decoder, "BLOCK_BYTES", block_bytes)
    plain, twin = fast(torch.float64, num_labels=2)
    maps = stages(encoder_config, *size, batch=3)
    with torch.no_grad():
        expected_features, expected = plain(maps)
        features, logits = twin(maps, return_features=return_features)
    torch.testing.assert_close(logits, expected, rtol=1e-9, atol=1e-11)
    if return_features:
        torch.testing.assert_close(features, expected_features, rtol=1e-9, atol=1e-11)
    else:
        assert features is None


def test_fast_forms_blocks_of_whole_registers(monkeypatch):
    finest = torch.zeros(1, 8, 128, 128)
    assert fast_decoder._block_channels(finest) == 64
    assert fast_decoder._block_channels(finest.bfloat16()) == 128
    assert fast_decoder._block_channels(finest.repeat(1, 1, 4, 4)) == 16
    monkeypatch.setattr(fast_decoder, "BLOCK_BYTES", 1)
    assert fast_decoder._block_channels(finest) == 16


@pytest.mark.parametrize("change", ["load", "in place", "data", "statistics", "replace"])
def test_fast_follows_every_change_of_its_parameters(fast, encoder_config, change):
    plain, twin = fast()
    maps = stages(encoder_config, 64, 64, torch.float32)
    with torch.no_grad():
        before = twin(maps)[1]
        for decoder in (plain, twin):
            if change == "load":
                decoder.load_state_dict({name: 1.1 * tensor for name, tensor in decoder.state_dict().items()})
            elif change == "in place":
                decoder.linear_fuse.weight.mul_(1.5)
            elif change == "data":
                decoder.linear_projections[2].proj.weight.data.mul_(1.5)
            elif change == "statistics":
                decoder.batch_norm.running_var.mul_(4)
            else:
                decoder.linear_projections[0].proj.bias = torch.nn.Parameter(torch.ones(HIDDEN))
        after = twin(maps)[1]
        torch.testing.assert_close(after, plain(maps)[1], rtol=1e-4, atol=1e-5)
    assert (after - before).abs().max() > 1e-3


def test_fast_trains_as_plain(fast, encoder_config):
    maps = stages(encoder_config, 64, 64, torch.float32)
    gradients, statistics = [], []
    for decoder in (one.train() for one in fast()):
        decoder(maps)[1].square().sum().backward()
        gradients.append([parameter.grad for parameter in decoder.parameters()])
        statistics.append(decoder.batch_norm.running_mean)
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)
    assert torch.equal(*statistics)


def test_fast_in_bfloat16(fast, encoder_config):
    plain, twin = fast()
    maps = stages(encoder_config, 96, 160, torch.float32)
    with torch.no_grad():
        expected = plain(maps)[1]
        logits = twin.to(torch.bfloat16)(tuple(one.to(torch.bfloat16) for one in maps), return_features=False)[1]
    assert logits.dtype == torch.bfloat16
    assert (logits.float() - expected).norm() / expected.norm() < 0.02
