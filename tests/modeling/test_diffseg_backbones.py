"""DiffSeg30k's baselines: filling backbones, and one clear error for everything that does not fit."""

import socket
import time

import pytest
import timm
import torch
from safetensors.torch import save_file
from tiny_models import TINY_ENCODER, drawn
from transformers import SegformerConfig, SegformerModel

from forgescope.modeling.configuration_diffseg import DiffSegConfig
from forgescope.modeling.modeling_diffseg import DiffSegForEditSegmentation

fill = DiffSegForEditSegmentation.from_pretrained_backbone
WANTED = "expected weights of resnet10t, as the name of a timm model or a file, got"


def deeplab(**settings):
    return DiffSegConfig(
        architecture="deeplabv3plus", backbone="resnet10t", pyramid_hidden_size=16, low_level_hidden_size=8, **settings
    )


@pytest.fixture(scope="module")
def resnet():
    return drawn(timm.create_model("resnet10t")).state_dict()


@pytest.fixture(scope="module")
def resnet_file(resnet, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "resnet10t.safetensors"
    save_file(resnet, path)
    return path


def test_a_file_fills_the_backbone_and_nothing_else(resnet, resnet_file):
    torch.manual_seed(0)
    model = fill(deeplab(), str(resnet_file))
    assert not model.training
    backbone = model.segmenter.backbone.state_dict()
    assert backbone.keys() == {name for name in resnet if not name.startswith("fc.")}
    for name, tensor in backbone.items():
        assert torch.equal(tensor, resnet[name]), name
    torch.manual_seed(0)
    fresh = DiffSegForEditSegmentation(deeplab()).segmenter.state_dict()
    for name, tensor in model.segmenter.state_dict().items():
        if not name.startswith("backbone."):
            assert torch.equal(tensor, fresh[name]), name


def test_torch_files_are_read_too(resnet, tmp_path):
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in resnet.items()}}, tmp_path / "resnet.pth")
    model = fill(deeplab(backbone_output_stride=8), str(tmp_path / "resnet.pth"))
    assert torch.equal(model.segmenter.backbone.conv1[0].weight, resnet["conv1.0.weight"])


def torchvision_vgg():
    """Weights of a VGG-11 under torchvision's names, each filled with its own number; 133 million share 38 values."""
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in timm.create_model("vgg11").state_dict().items()}
    weights = {}
    for number, (name, shape) in enumerate(shapes.items()):
        for ours, theirs in (
            ("pre_logits.fc1", "classifier.0"),
            ("pre_logits.fc2", "classifier.3"),
            ("head.fc", "classifier.6"),
        ):
            name = name.replace(ours, theirs)
        flat = (shape[0], shape[1:].numel()) if "classifier" in name and len(shape) == 4 else shape
        weights[name] = torch.tensor(float(number)).expand(flat)
    return weights


@pytest.mark.slow
def test_the_layers_of_vgg_behind_its_features_are_filled(tmp_path):
    weights = torchvision_vgg()
    torch.save(weights, tmp_path / "vgg.pth")
    model = fill(DiffSegConfig(architecture="fcn8s", backbone="vgg11"), str(tmp_path / "vgg.pth")).segmenter
    filled = {"features.0": model.backbone.features_0, "features.18": model.backbone.features_18}
    for name, layer in (filled | {"classifier.0": model.fc6, "classifier.3": model.fc7}).items():
        for kind, tensor in layer.named_parameters():
            assert (tensor == weights[f"{name}.{kind}"].flatten()[0]).all(), name
    model = fill(
        DiffSegConfig(architecture="fcn8s", backbone="vgg11", fully_connected_size=8), str(tmp_path / "vgg.pth")
    )
    assert (model.segmenter.fc6.bias == 0).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("resnet18", "Error.* in loading state_dict for ResNet: Missing key.*"),
        ("wider", "size mismatch for conv1"),
        ("no classifier", 'Missing key.* in state_dict: "fc.weight", "fc.bias"'),
        ("cut off", r"no weights could be read \("),
        ("text", "blocked loading this checkpoint"),
        ("list", r"no weights could be read \("),
    ],
)
def test_files_that_do_not_fit_are_refused(resnet, resnet_file, tmp_path, content, message):
    path = tmp_path / ("weights.safetensors" if content == "cut off" else "weights.pth")
    if content == "cut off":
        path.write_bytes(resnet_file.read_bytes()[:5000])
    elif content == "text":
        path.write_text("no weights")
    elif content == "list":
        torch.save([1, 2, 3], path)
    elif content == "resnet18":
        torch.save(timm.create_model("resnet18").state_dict(), path)
    elif content == "wider":
        torch.save(resnet | {"conv1.0.weight": torch.zeros(48, 3, 3, 3)}, path)
    else:
        torch.save({name: tensor for name, tensor in resnet.items() if not name.startswith("fc.")}, path)
    with pytest.raises(ValueError, match=f"^{WANTED} {path}: .*{message}") as caught:
        fill(deeplab(), str(path))
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet10t.no_such_tag", r"Invalid pretrained tag \(no_such_tag\) for resnet10t"),
        ("no_such_network", r"Unknown model \(no_such_network\)"),
        ("./absent.pth", r"(looks like .* a local path|Unknown model \(absent\))"),
        ("resnet10t.c3_in1k", "the Hub cannot be reached, nor is timm/resnet10t.c3_in1k in its cache"),
    ],
)
def test_names_without_weights_are_refused(name, message):
    with pytest.raises(ValueError, match=f"^{WANTED} {name}: .*{message}"):
        fill(deeplab(), name)


def test_a_network_that_nobody_published_weights_of():
    with pytest.raises(ValueError, match=r"expected weights of seresnet18, .* got seresnet18: No pretrained weights"):
        fill(DiffSegConfig(architecture="deeplabv3plus", backbone="seresnet18"))


def test_without_network_the_error_comes_at_once(monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    )
    started = time.monotonic()
    with pytest.raises(ValueError, match="the Hub cannot be reached, .* in its cache .*onnect"):
        fill(deeplab())
    assert time.monotonic() - started < 15, "the Hub client repeats its request for 23 seconds"


def test_segformer(tmp_path):
    encoder = drawn(SegformerModel(SegformerConfig(**TINY_ENCODER)))
    encoder.save_pretrained(tmp_path)
    model = fill(DiffSegConfig(decoder_hidden_size=16, task="binary"), str(tmp_path))
    assert not model.training
    assert model.config.num_labels == 2
    assert tuple(model.config.encoder_config.hidden_sizes) == TINY_ENCODER["hidden_sizes"]
    for name, tensor in model.segmenter.encoder.state_dict().items():
        assert torch.equal(tensor, encoder.state_dict()[name]), name
    assert model.config.decoder_hidden_size == 16
    with pytest.raises(ValueError, match="expected a folder or Hub id of a SegFormer checkpoint"):
        fill(DiffSegConfig(), str(tmp_path / "absent"))
