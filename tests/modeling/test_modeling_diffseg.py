"""DiffSeg30k's three baselines; what they share with every model is in test_every_model.py, for SegFormer."""

import copy
import math

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import safe_open
from tiny_models import tiny_model
from torch import nn
from torch.utils.data import Dataset
from transformers import (
    AutoModel,
    AutoModelForSemanticSegmentation,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    Trainer,
    TrainingArguments,
    pipeline,
)

from forgescope.modeling.configuration_diffseg import DiffSegConfig
from forgescope.modeling.modeling_diffseg import DiffSegForEditSegmentation, segmentation_cross_entropy
from forgescope.modeling.segmentation_cnn import BilinearUpsampling, ScoreLayer
from forgescope.processing.image_processing_forgery import ForgeryImageProcessor

TINY = {
    "segformer": {},
    "deeplabv3plus": {"backbone": "resnet10t", "pyramid_hidden_size": 16, "low_level_hidden_size": 8},
    "fcn8s": {"backbone": "vgg11", "fully_connected_size": 16},
}
CNNS = ("deeplabv3plus", "fcn8s")
PAPER_PARAMETERS = {"segformer": 27_353_545, "deeplabv3plus": 40_348_841, "fcn8s": 134_327_675}
STRIDES = {"segformer": 4, "deeplabv3plus": 4, "fcn8s": 1}


@pytest.fixture(scope="session")
def built():
    """The tiny models, made once; tests must not change them."""
    return {name: tiny_model("diffseg", architecture=name, **settings) for name, settings in TINY.items()}


@pytest.fixture(params=TINY)
def model(request, built):
    return built[request.param]


@pytest.fixture(params=CNNS)
def cnn(request, built):
    return built[request.param]


@pytest.fixture
def own(cnn):
    """A copy that a test may train."""
    return copy.deepcopy(cnn)


@pytest.fixture
def ids():
    """(2, 16, 16) ids of nine classes and pixels that do not count."""
    masks = torch.randint(0, 9, (2, 16, 16), generator=torch.Generator().manual_seed(2))
    masks[0, :3] = 255
    return masks


def on_meta(architecture, **settings):
    with torch.device("meta"):
        return DiffSegForEditSegmentation(DiffSegConfig(architecture=architecture, **settings))


def sizes(tensors):
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def segformer_of_transformers(model):
    """transformers' own SegFormer of the same size, with random weights."""
    settings = model.config.encoder_config.to_dict()
    settings |= {"decoder_hidden_size": model.config.decoder_hidden_size, "id2label": dict.fromkeys(range(9))}
    settings.pop("label2id")
    return SegformerForSemanticSegmentation(SegformerConfig.from_dict(settings))


@pytest.mark.parametrize("architecture", TINY)
def test_default_is_the_paper_scale(architecture):
    model = on_meta(architecture)
    assert sum(parameter.numel() for parameter in model.parameters()) == PAPER_PARAMETERS[architecture]
    output = model(torch.empty(1, 3, 512, 512, device="meta")).logits
    edge = 512 // STRIDES[architecture]
    assert output.shape == (1, 9, edge, edge)
    assert model.config.mask_stride == STRIDES[architecture]


def test_segformer_has_the_weights_of_segformer_b2():
    model = on_meta("segformer")
    with torch.device("meta"):
        twin = segformer_of_transformers(model)
    ours = sizes(model.segmenter.encoder.state_dict()) | sizes(model.segmenter.decoder.state_dict())
    assert ours == sizes(twin.segformer.state_dict()) | sizes(twin.decode_head.state_dict())
    assert len(model.state_dict()) == len(ours) == 380


def test_deeplabv3plus_has_the_weights_of_resnet50_and_a_decoder():
    weights = sizes(on_meta("deeplabv3plus").segmenter.state_dict())
    with torch.device("meta"):
        resnet = sizes(timm.create_model("resnet50", num_classes=0).state_dict())
    assert {name: weights[f"backbone.{name}"] for name in resnet} == resnet
    rest = {name: shape for name, shape in weights.items() if not name.startswith("backbone.")}
    convolutions = {name: shape for name, shape in rest.items() if len(shape) == 4}
    assert convolutions == {
        "pyramid.branches.0.0.weight": (256, 2048, 1, 1),
        "pyramid.branches.1.0.weight": (256, 2048, 3, 3),
        "pyramid.branches.2.0.weight": (256, 2048, 3, 3),
        "pyramid.branches.3.0.weight": (256, 2048, 3, 3),
        "pyramid.pooled.0.weight": (256, 2048, 1, 1),
        "pyramid.project.0.weight": (256, 5 * 256, 1, 1),
        "low_level.0.weight": (48, 256, 1, 1),
        "decoder.0.0.weight": (256, 256 + 48, 3, 3),
        "decoder.1.0.weight": (256, 256, 3, 3),
        "classifier.weight": (9, 256, 1, 1),
    }
    assert len(weights) == 370


def test_fcn8s_has_the_weights_of_vgg16_and_its_scores():
    weights = sizes(on_meta("fcn8s").segmenter.state_dict())
    with torch.device("meta"):
        vgg = sizes(timm.create_model("vgg16").state_dict())
    features = {name: shape for name, shape in vgg.items() if name.startswith("features.")}
    assert {name: weights[f"backbone.{name.replace('features.', 'features_')}"] for name in features} == features
    rest = {name: shape for name, shape in weights.items() if not name.startswith("backbone.")}
    assert rest == {
        "fc6.weight": vgg["pre_logits.fc1.weight"],
        "fc6.bias": (4096,),
        "fc7.weight": vgg["pre_logits.fc2.weight"],
        "fc7.bias": (4096,),
        "score_fc7.weight": (9, 4096, 1, 1),
        "score_fc7.bias": (9,),
        "score_pool4.weight": (9, 512, 1, 1),
        "score_pool4.bias": (9,),
        "score_pool3.weight": (9, 256, 1, 1),
        "score_pool3.bias": (9,),
        "upsample_fc7.weight": (9, 9, 4, 4),
        "upsample_pool4.weight": (9, 9, 4, 4),
        "upsample_pool3.weight": (9, 9, 16, 16),
    }


def test_segformer_gives_the_logits_of_transformers(built, pixel_values):
    model = built["segformer"]
    twin = segformer_of_transformers(model).eval()
    twin.segformer.load_state_dict(model.segmenter.encoder.state_dict())
    twin.decode_head.load_state_dict(model.segmenter.decoder.state_dict())
    with torch.no_grad():
        expected, found = twin(pixel_values).logits, model(pixel_values).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())


@pytest.mark.parametrize(("height", "width"), [(64, 64), (32, 96)])
def test_shapes(model, height, width):
    stride = model.config.mask_stride
    with torch.no_grad():
        logits = model(torch.randn(2, 3, height, width)).logits
    assert logits.shape == (2, 9, height // stride, width // stride)


def test_binary_has_two_classes(pixel_values):
    model = tiny_model("diffseg", task="binary")
    assert model.config.id2label == {0: "authentic", 1: "edited"}
    outputs = model(pixel_values, labels=torch.randint(0, 2, (2, 16, 16)))
    assert outputs.logits.shape == (2, 2, 16, 16)
    outputs.loss.backward()


def slow_cross_entropy(logits, labels, ignore_index):
    """Pixel by pixel."""
    images = []
    for scores, mask in zip(logits, labels, strict=True):
        losses = []
        for row, line in enumerate(mask.tolist()):
            for column, label in enumerate(line):
                values = scores[:, row, column].tolist()
                if label != ignore_index:
                    losses.append(math.log(sum(map(math.exp, values))) - values[label])
        images.append(sum(losses) / len(losses) if losses else 0.0)
    return sum(images) / len(images)


def test_loss_is_a_mean_over_pixels_that_count_then_over_images():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, 5, 7, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 4, (3, 5, 7), generator=generator)
    labels[0, :, 3:], labels[2] = 255, 255
    found = segmentation_cross_entropy(logits, labels, 255)
    assert found.item() == pytest.approx(slow_cross_entropy(logits, labels, 255), rel=1e-12)
    assert segmentation_cross_entropy(logits[2:], labels[2:], 255).item() == 0
    # equal to the usual mean over a batch where every image has as many pixels
    whole = labels.clamp(max=3)
    torch.testing.assert_close(segmentation_cross_entropy(logits, whole, 255), F.cross_entropy(logits, whole))


def test_loss_has_the_right_gradient():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 3, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    labels = torch.randint(0, 3, (2, 3, 4), generator=generator)
    labels[0, 0] = 255
    assert torch.autograd.gradcheck(lambda values: segmentation_cross_entropy(values, labels, 255), logits)
    torch.autograd.backward(segmentation_cross_entropy(logits, labels, 255))
    assert (logits.grad[0, :, 0] == 0).all()


@pytest.mark.parametrize("size", [(16, 16), (64, 64), (23, 7)])
def test_logits_are_upsampled_to_the_labels(model, pixel_values, size):
    labels = torch.randint(0, 9, (2, *size), generator=torch.Generator().manual_seed(3))
    labels[1, : size[0] // 2] = 255
    with torch.no_grad():
        outputs = model(pixel_values, labels=labels)
        logits = F.interpolate(outputs.logits, size=size, mode="bilinear", align_corners=False)
    assert outputs.loss.item() == pytest.approx(slow_cross_entropy(logits, labels, 255), rel=1e-4)


def test_every_parameter_gets_a_gradient(own, pixel_values, ids):
    own.train()(pixel_values, labels=ids).loss.backward()
    for name, parameter in own.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_initialisation(cnn, pixel_values):
    model = DiffSegForEditSegmentation(cnn.config)
    for name, module in model.named_modules():
        if isinstance(module, BilinearUpsampling):
            assert torch.equal(module.weight, module.initial_weight()), name
        elif isinstance(module, ScoreLayer):
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.3), name
        elif isinstance(module, nn.Conv2d):
            fan_out = module.weight.numel() / module.in_channels * module.groups
            assert module.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.2), name
            assert module.bias is None or (module.bias == 0).all(), name
        elif isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all(), name
            assert (module.running_mean == 0).all(), name
            assert (module.running_var == 1).all(), name
            assert module.num_batches_tracked == 0, name
        else:
            assert not list(module.parameters(recurse=False)), f"{name} is not covered by this test"
    loss = model.train()(pixel_values, labels=torch.randint(0, 9, (2, 64, 64))).loss
    assert loss.item() == pytest.approx(math.log(9), abs=0.5)


def test_weights_that_a_file_lacks_are_initialised(cnn, tmp_path):
    cnn.config.save_pretrained(tmp_path)
    torch.save({}, tmp_path / "pytorch_model.bin")
    loaded, report = DiffSegForEditSegmentation.from_pretrained(tmp_path, output_loading_info=True)
    assert set(report["missing_keys"]) == set(cnn.state_dict())
    assert all(tensor.isfinite().all() for tensor in loaded.state_dict().values())


def test_save_and_load(cnn, tmp_path, pixel_values):
    cnn.save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert set(file.keys()) == set(cnn.state_dict())
    for auto_class in (AutoModel, AutoModelForSemanticSegmentation):
        loaded, report = auto_class.from_pretrained(tmp_path, output_loading_info=True)
        assert type(loaded) is DiffSegForEditSegmentation
        assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
        for name, tensor in cnn.state_dict().items():
            assert torch.equal(loaded.state_dict()[name], tensor), name
    with torch.no_grad():
        torch.testing.assert_close(loaded(pixel_values).logits, cnn(pixel_values).logits, rtol=1e-3, atol=1e-3)


def test_an_image_does_not_depend_on_its_batch(cnn, pixel_values):
    with torch.no_grad():
        together = cnn(pixel_values).logits
        alone = torch.cat([cnn(one[None]).logits for one in pixel_values])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_bfloat16(own, cnn, pixel_values, ids):
    with torch.no_grad():
        expected = cnn(pixel_values).logits
    outputs = own.to(torch.bfloat16)(pixel_values.to(torch.bfloat16), labels=ids)
    assert (outputs.logits.dtype, outputs.loss.dtype) == (torch.bfloat16, torch.float32)
    assert (outputs.logits.float() - expected).norm() / expected.norm() < 0.05


def test_only_segformer_has_activation_checkpointing(own):
    enable = getattr(own, "activation_checkpointing_enable", own.gradient_checkpointing_enable)
    with pytest.raises(ValueError, match="is not compatible with gradient checkpointing"):
        enable()


@pytest.mark.parametrize("architecture", TINY)
def test_other_sizes_are_refused(built, architecture):
    with pytest.raises(ValueError, match="multiples of 32, got 60 x 64"):
        built[architecture](torch.zeros(1, 3, 60, 64))


class RandomImages(Dataset):
    """Eight random images of 64 x 64 pixels with ids."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.pixel_values = torch.randn(8, 3, 64, 64, generator=generator)
        self.labels = torch.randint(0, 9, (8, 16, 16), generator=generator)

    def __len__(self):
        return len(self.pixel_values)

    def __getitem__(self, index):
        return {"pixel_values": self.pixel_values[index], "labels": self.labels[index]}


def test_a_plain_trainer_resumes_exactly(built, tmp_path):
    model = built["deeplabv3plus"]

    def train(resume):
        arguments = TrainingArguments(
            output_dir=str(tmp_path),
            max_steps=3,
            save_steps=2,
            save_strategy="steps",
            optim="sgd",
            learning_rate=1e-3,
            per_device_train_batch_size=2,
            report_to="none",
            use_cpu=True,
            disable_tqdm=True,
            dataloader_pin_memory=False,
        )
        trainer = Trainer(model=copy.deepcopy(model), args=arguments, train_dataset=RandomImages())
        trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2") if resume else None)
        return trainer.model.state_dict()

    whole = train(resume=False)
    assert any(not torch.equal(tensor, model.state_dict()[name]) for name, tensor in whole.items())
    resumed = train(resume=True)
    assert resumed.keys() == whole.keys()
    for name, tensor in whole.items():
        assert torch.equal(resumed[name], tensor), name


@pytest.mark.parametrize(("architecture", "task"), [*((name, "semantic") for name in TINY), ("segformer", "binary")])
def test_the_stock_pipeline_gives_a_segment_an_editor(architecture, task, tmp_path):
    model = tiny_model("diffseg", architecture=architecture, task=task, **TINY[architecture])
    processor = ForgeryImageProcessor(size={"height": 64, "width": 64}, **model.config.processor_settings)
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))
    inputs = processor(photo, return_tensors="pt")
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    score = [one for one in convolutions if one.out_channels == model.config.num_labels][-1]
    with torch.no_grad():
        # untrained, one class would be ahead of the others everywhere
        score.bias -= model(**inputs).logits.mean(dim=(0, 2, 3))
        classes = processor.post_process_semantic_segmentation(model(**inputs), target_sizes=[(40, 60)])[0].numpy()
    present = np.unique(classes)
    assert len(present) > (1 if task == "binary" else 3)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    segments = pipeline("image-segmentation", model=str(tmp_path))(photo)
    assert [segment["label"] for segment in segments] == [model.config.id2label[index] for index in present]
    for index, segment in zip(present, segments, strict=True):
        # weights that are read lie elsewhere in memory, which may change the last bit of a logit
        assert ((np.array(segment["mask"]) > 0) != (classes == index)).mean() < 0.01
