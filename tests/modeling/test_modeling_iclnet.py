import pytest
import torch

from forgescope.modeling.configuration_iclnet import ICLNetConfig
from forgescope.modeling.loss_contrastive import intra_image_contrastive_loss
from forgescope.modeling.loss_segmentation import binary_dice_loss, binary_focal_loss
from forgescope.modeling.modeling_iclnet import ICLNetForForgerySegmentation, ICLNetModel

STREAMS = ("main_encoder", "noise_encoder", "frozen_encoder")
# Table 4: the switch, what it removes, streams that stay, channels of the fused features
ABLATIONS = [
    ({"use_noise_stream": False}, "noise_encoder", 2, 32),
    ({"use_frozen_stream": False}, "frozen_encoder", 2, 64),
    ({"use_contrastive_loss": False}, None, 3, 64),
]


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_default_is_the_paper_scale():
    with torch.device("meta"):
        model = ICLNetForForgerySegmentation(ICLNetConfig())
    encoders = [count(stream) for stream in model.iclnet.streams()]
    assert len(encoders) == 3
    # 60.84 million, MiT-B4
    assert encoders == [60_842_688] * 3
    assert sum(encoders) == 182_528_064
    # 3x3 convolutions 1536-512-256-128-64, their group norms, and the 1x1 convolution with its bias
    convolutions = 9 * (1536 * 512 + 512 * 256 + 256 * 128 + 128 * 64)
    assert count(model.head) == convolutions + 2 * (512 + 256 + 128 + 64) + 64 + 1
    assert count(model) == 191_156_225


@pytest.mark.parametrize(("height", "width"), [(64, 64), (32, 96), (128, 64)])
def test_shapes(tiny_model, height, width):
    model = tiny_model()
    outputs = model.iclnet(torch.randn(2, 3, height, width))
    assert outputs.last_hidden_state.shape == (2, 96, height // 32, width // 32)
    assert outputs.fused_features.shape == (2, 64, height // 32, width // 32)
    assert model(torch.randn(2, 3, height, width)).logits.shape == (2, 1, height // 4, width // 4)


@pytest.mark.parametrize("stages", [(3,), (2, 3), (0, 1, 2, 3)])
def test_any_stages_reach_the_mask_size(tiny_model, pixel_values, stages):
    model = tiny_model(feature_stages=stages)
    stride = 4 * 2 ** min(stages)
    assert model.iclnet(pixel_values).fused_features.shape[-1] == 64 // stride
    assert model(pixel_values).logits.shape == (2, 1, 16, 16)


@pytest.mark.parametrize(("switch", "absent", "streams", "fused"), ABLATIONS)
def test_ablations_of_table_4(tiny_model, pixel_values, labels, switch, absent, streams, fused):
    model = tiny_model(**switch)
    outputs = model(pixel_values, labels=labels)
    assert len(model.iclnet.streams()) == streams
    assert model.iclnet(pixel_values).fused_features.shape[1] == fused
    assert model.head.layers[0].in_channels == 32 * streams
    if absent is None:
        assert outputs.loss_contrastive is None
    else:
        assert outputs.loss_contrastive is not None
        assert not any(absent in name for name in model.state_dict())
    if absent == "noise_encoder":
        assert not any("high_pass" in name for name in model.state_dict())
    outputs.loss.backward()


def test_loss_is_equation_3(tiny_model, pixel_values, labels):
    model = tiny_model()
    outputs = model(pixel_values, labels=labels)
    fused = model.iclnet(pixel_values).fused_features
    torch.testing.assert_close(outputs.loss_contrastive, intra_image_contrastive_loss(fused, labels, 0.1))
    torch.testing.assert_close(outputs.loss_dice, binary_dice_loss(outputs.logits, labels))
    torch.testing.assert_close(outputs.loss_focal, binary_focal_loss(outputs.logits, labels))
    expected = 1 * outputs.loss_contrastive + 4 * outputs.loss_dice + 20 * outputs.loss_focal
    torch.testing.assert_close(outputs.loss, expected)


def test_labels_of_another_size_are_resized(tiny_model, pixel_values, labels):
    model = tiny_model()
    expected = model(pixel_values, labels=labels).loss
    enlarged = labels.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)
    torch.testing.assert_close(model(pixel_values, labels=enlarged).loss, expected)

    other = torch.tensor([0, 1, 255])[torch.randint(0, 3, (2, 23, 7), generator=torch.Generator().manual_seed(0))]
    # the label under the centre of each of the 16 x 16 cells
    rows, columns = ((torch.arange(16) + 0.5) * 23 / 16).long(), ((torch.arange(16) + 0.5) * 7 / 16).long()
    expected = model(pixel_values, labels=other[:, rows[:, None], columns[None, :]]).loss
    torch.testing.assert_close(model(pixel_values, labels=other).loss, expected)


def test_ignored_labels_do_not_count(tiny_model, pixel_values, labels):
    model = tiny_model()
    ignored = labels.clone()
    ignored[0] = 255
    both, second = model(pixel_values, labels=ignored), model(pixel_values[1:], labels=labels[1:])
    for part in ("loss_contrastive", "loss_focal", "loss_dice"):
        torch.testing.assert_close(both[part], second[part] / 2)
    everything = model(pixel_values, labels=torch.full_like(labels, 255))
    assert everything.loss.item() == 0


def test_an_authentic_image_trains(tiny_model, pixel_values):
    outputs = tiny_model()(pixel_values, labels=torch.zeros(2, 16, 16, dtype=torch.long))
    outputs.loss.backward()
    assert outputs.loss_contrastive.item() == 0
    assert torch.isfinite(outputs.loss)


def test_tuple_output(tiny_model, pixel_values, labels):
    model = tiny_model()
    outputs = model(pixel_values, labels=labels)
    as_tuple = model(pixel_values, labels=labels, return_dict=False)
    assert isinstance(as_tuple, tuple)
    assert len(as_tuple) == 5
    for one, other in zip(as_tuple, outputs.to_tuple(), strict=True):
        assert torch.equal(one, other)
    assert model(pixel_values, return_dict=False)[0].shape == (2, 1, 16, 16)


@pytest.mark.parametrize("stages", [(3,), (1, 2, 3)])
def test_an_image_does_not_depend_on_its_batch(tiny_model, pixel_values, stages):
    model = tiny_model(feature_stages=stages)
    with torch.no_grad():
        together = model(pixel_values).logits
        alone = torch.cat([model(one[None]).logits for one in pixel_values])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_every_trained_parameter_gets_a_gradient(tiny_model, pixel_values, labels):
    model = tiny_model().train()
    model(pixel_values, labels=labels).loss.backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == ("frozen_encoder" in name), name


def test_base_model_keeps_the_stream_layout(tiny_config):
    model = ICLNetModel(tiny_config())
    children = [name for name, _ in model.named_children()]
    assert [name for name in STREAMS if name in children] == list(STREAMS)
    # transformers cannot convert legacy keys when a child's name starts with the prefix
    assert not any(name.startswith(model.base_model_prefix) for name in children)
