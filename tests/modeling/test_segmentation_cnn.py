"""FCN-8s and DeepLabv3+ against the same networks put together layer by layer."""

import pytest
import timm
import torch
import torch.nn.functional as F

from forgescope.modeling.segmentation_cnn import BilinearUpsampling, DeepLabV3Plus, FCN8s, timm_features

NUM_LABELS = 5


def drawn(network):
    """Fill a network with small random values, statistics of batch normalisation included; evaluation mode."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                values = 0.1 * torch.randn(tensor.shape, generator=generator)
                tensor.copy_(values.abs() + 0.5 if name.endswith("running_var") else values)
    return network.eval()


@pytest.fixture(scope="module")
def fcn8s():
    return drawn(FCN8s("vgg11", NUM_LABELS, hidden_size=16, dropout=0.5))


@pytest.fixture
def pixels():
    return torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("factor", [2, 8])
def test_upsampling_starts_as_bilinear_interpolation(factor):
    layer = BilinearUpsampling(3, factor)
    with torch.no_grad():
        layer.weight.copy_(layer.initial_weight())
        maps = torch.randn(2, 3, 6, 7)
        found = layer(maps)
    expected = F.interpolate(maps, scale_factor=factor, mode="bilinear", align_corners=False)
    assert found.shape == expected.shape
    # at the border interpolation repeats the last value, a convolution meets zeros
    inside = (..., slice(factor // 2, -(factor // 2)), slice(factor // 2, -(factor // 2)))
    torch.testing.assert_close(found[inside], expected[inside], rtol=1e-5, atol=1e-6)


def test_fcn8s_is_its_layers(fcn8s, pixels):
    vgg = timm.create_model("vgg11")
    weights = {name.replace("features_", "features."): tensor for name, tensor in fcn8s.backbone.state_dict().items()}
    missing, unexpected = vgg.load_state_dict(weights, strict=False)
    assert not unexpected
    assert all(name.startswith(("pre_logits.", "head.")) for name in missing)
    pools, maps = [], pixels
    with torch.no_grad():
        for layer in vgg.features:
            maps = layer(maps)
            if isinstance(layer, torch.nn.MaxPool2d):
                pools.append(maps)
        w = fcn8s.state_dict()
        hidden = F.conv2d(pools[4], w["fc6.weight"], w["fc6.bias"], padding=3).clamp(min=0)
        hidden = F.conv2d(hidden, w["fc7.weight"], w["fc7.bias"]).clamp(min=0)
        scores = F.conv2d(hidden, w["score_fc7.weight"], w["score_fc7.bias"])
        for name, other, maps in (("fc7", "pool4", pools[3]), ("pool4", "pool3", pools[2])):
            scores = F.conv_transpose2d(scores, w[f"upsample_{name}.weight"], stride=2, padding=1)
            scores += F.conv2d(maps, w[f"score_{other}.weight"], w[f"score_{other}.bias"])
        expected = F.conv_transpose2d(scores, w["upsample_pool3.weight"], stride=8, padding=4)
        found = fcn8s(pixels)
    assert [tuple(one.shape[-2:]) for one in pools[2:]] == [(8, 12), (4, 6), (2, 3)]
    assert found.shape == (2, NUM_LABELS, 64, 96)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())


def block(maps, weights, name, padding=0, dilation=1):
    """Convolution, batch normalisation in evaluation mode, ReLU."""
    maps = F.conv2d(maps, weights[f"{name}.0.weight"], padding=padding, dilation=dilation)
    statistics = weights[f"{name}.1.running_mean"], weights[f"{name}.1.running_var"]
    return F.batch_norm(maps, *statistics, weights[f"{name}.1.weight"], weights[f"{name}.1.bias"]).clamp(min=0)


@pytest.mark.parametrize(("output_stride", "rates"), [(16, (6, 12, 18)), (8, (2,)), (32, (1, 2))])
def test_deeplabv3plus_is_its_layers(pixels, output_stride, rates):
    network = drawn(DeepLabV3Plus("resnet10t", NUM_LABELS, output_stride, rates, 16, 8, dropout=0.1))
    resnet = timm.create_model("resnet10t", output_stride=output_stride)
    missing, unexpected = resnet.load_state_dict(network.backbone.state_dict(), strict=False)
    assert (missing, unexpected) == (["fc.weight", "fc.bias"], [])
    with torch.no_grad():
        maps = resnet.eval().maxpool(resnet.act1(resnet.bn1(resnet.conv1(pixels))))
        low_level = resnet.layer1(maps)
        last = resnet.layer4(resnet.layer3(resnet.layer2(low_level)))
        w = network.state_dict()
        branches = [block(last, w, "pyramid.branches.0")]
        for index, rate in enumerate(rates, start=1):
            branches.append(block(last, w, f"pyramid.branches.{index}", padding=rate, dilation=rate))
        mean = last.mean(dim=(2, 3), keepdim=True)
        mean = F.conv2d(mean, w["pyramid.pooled.0.weight"], w["pyramid.pooled.0.bias"]).clamp(min=0)
        branches.append(mean.repeat(1, 1, *last.shape[-2:]))
        pyramid = block(torch.cat(branches, dim=1), w, "pyramid.project")
        pyramid = F.interpolate(pyramid, size=(16, 24), mode="bilinear", align_corners=False)
        maps = torch.cat([pyramid, block(low_level, w, "low_level")], dim=1)
        maps = block(block(maps, w, "decoder.0", padding=1), w, "decoder.1", padding=1)
        expected = F.conv2d(maps, w["classifier.weight"], w["classifier.bias"])
        found = network(pixels)
    assert last.shape[-2:] == (64 // output_stride, 96 // output_stride)
    assert found.shape == (2, NUM_LABELS, 16, 24)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())


def test_a_batch_of_one_trains():
    network = DeepLabV3Plus("resnet10t", NUM_LABELS, 16, (1,), 16, 8, dropout=0.1).train()
    assert network(torch.randn(1, 3, 64, 64)).shape == (1, NUM_LABELS, 16, 16)


@pytest.mark.parametrize(
    ("name", "strides", "output_stride", "message"),
    [
        ("no_such_network", (4,), 32, "expected a timm model with features, .*, got 'no_such_network': Unknown model"),
        ("vgg11", (4, 16), 16, "that can have the stride 16, got 'vgg11'"),
        ("resnet10t", (1, 4), 32, r"resnet10t has maps of the strides \[2, 4, 8, 16, 32\], needed are \(1, 4\)"),
    ],
)
def test_networks_without_the_maps_are_refused(name, strides, output_stride, message):
    with pytest.raises(ValueError, match=message):
        timm_features(name, strides, output_stride)
