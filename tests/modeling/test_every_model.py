"""What every model of the table must do: save, load, resume, and not depend on how it is called."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_models import TEXT_MODELS, TINY_SETTINGS, tiny_config, tiny_inputs, tiny_model, tiny_targets
from torch import nn
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments
from transformers.models.clip.modeling_clip import CLIPVisionEmbeddings
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.sam.modeling_sam import SamPositionalEmbedding, SamVisionAttention, SamVisionEncoder

from forgescope.auto import MODELS
from forgescope.modeling.full_precision import FullPrecisionModule
from forgescope.modeling.high_pass import HighPassFilter

BASE_MODELS = [name for name, family in MODELS.items() if family.base_model is not None]
# settings with which a model has other layers than by default
OTHER_LAYERS = [("iclnet", {"noise_filter": kind}) for kind in ("residual", "fft", "energy")]
# layers whose start their own tests know
OWN_START = (
    CLIPVisionEmbeddings,
    FullPrecisionModule,
    SamPositionalEmbedding,
    SamVisionAttention,
    SamVisionEncoder,
    nn.ConvTranspose2d,
    nn.Embedding,
)
every_model = pytest.mark.parametrize("model_type", MODELS)
every_segformer_model = pytest.mark.parametrize("model_type", [name for name in MODELS if name not in TEXT_MODELS])
every_base_model = pytest.mark.parametrize("model_type", BASE_MODELS)


@pytest.fixture
def inputs(model_type):
    """Two images, with a prompt where the model reads one; no cache, which no test can compare."""
    return tiny_inputs(model_type) | ({"use_cache": False} if model_type in TEXT_MODELS else {})


def one_image(inputs, row):
    """Inputs of one of the images."""
    return {name: one[row : row + 1] if isinstance(one, torch.Tensor) else one for name, one in inputs.items()}


def stored_names(folder):
    with safe_open(folder / "model.safetensors", "pt") as stream:
        return set(stream.keys())


def shared_names(model):
    """Names of tensors that stand in a checkpoint under another name."""
    first = {}
    for name, tensor in sorted(model.state_dict().items(), reverse=True):
        first.setdefault(tensor.data_ptr(), name)
    return set(model.state_dict()) - set(first.values())


def tensors_of(outputs):
    return {name: value for name, value in outputs.items() if isinstance(value, torch.Tensor)}


def flat(outputs):
    """Tensors by name, those of a tuple (masks of each image) one by one."""
    parts = {name: value if isinstance(value, tuple) else (value,) for name, value in outputs.items()}
    return {f"{name} {place}": one for name, values in parts.items() for place, one in enumerate(values)}


def assert_same_tensors(one, other):
    one, other = flat(one), flat(other)
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def assert_same_outputs(one, other):
    """Equal but for the last bit: a loaded weight starts where the file puts it, and BLAS sums by alignment."""
    one, other = flat(one), flat(other)
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], rtol=1e-5, atol=1e-7, msg=name)


def load(folder, model_type):
    return MODELS[model_type].task_model.from_pretrained(folder)


def test_every_model_has_a_tiny_one():
    assert set(TINY_SETTINGS) == set(MODELS)


@pytest.mark.parametrize("legacy_names", [False, True])
@every_model
def test_both_file_formats_load_exactly(model_type, tmp_path, inputs, legacy_names):
    model = tiny_model(model_type)
    model.save_pretrained(tmp_path, save_original_format=legacy_names)
    loaded, report = MODELS[model_type].task_model.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert_same_tensors(loaded.state_dict(), model.state_dict())
    with torch.no_grad():
        expected = model(**inputs)
        assert_same_outputs(loaded(**inputs), expected)
        for parameter in loaded.parameters():
            parameter.data = parameter.data.clone()
        assert_same_tensors(loaded(**inputs), expected)


@every_model
def test_stored_names_are_those_of_the_state_dict(model_type, tmp_path):
    # the Trainer reads a checkpoint back with load_state_dict, which converts nothing
    model = tiny_model(model_type)
    model.save_pretrained(tmp_path / "own")
    shared = shared_names(model)
    assert stored_names(tmp_path / "own") == set(model.state_dict()) - shared
    model.save_pretrained(tmp_path / "legacy", save_original_format=True)
    assert stored_names(tmp_path / "legacy") != set(model.state_dict())
    missing, unexpected = model.load_state_dict(load_file(tmp_path / "own" / "model.safetensors"), strict=False)
    assert (set(missing), unexpected) == (shared, [])


@pytest.mark.parametrize(("model_type", "settings"), [(name, {}) for name in MODELS] + OTHER_LAYERS)
def test_an_empty_checkpoint_leaves_nothing_uninitialised(model_type, settings, tmp_path):
    tiny_config(model_type, **settings).save_pretrained(tmp_path)
    save_file({}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    torch.manual_seed(0)
    model, report = MODELS[model_type].task_model.from_pretrained(tmp_path, output_loading_info=True)
    assert set(report["missing_keys"]) == set(model.state_dict())
    assert_initialised(model)


def assert_initialised(model):
    """Every parameter and buffer holds what its kind of layer starts with."""
    for name, module in model.named_modules():
        if isinstance(module, nn.LayerNorm | nn.GroupNorm | nn.BatchNorm2d | LlamaRMSNorm):
            assert (module.weight == 1).all(), name
            assert getattr(module, "bias", None) is None or (module.bias == 0).all(), name
        elif isinstance(module, nn.Linear | nn.Conv2d):
            assert 0.002 < module.weight.std() < 0.3, name
            assert module.bias is None or (module.bias == 0).all(), name
        elif isinstance(module, HighPassFilter):
            assert module.kind == "fft" or torch.equal(module.weight, module.initial_weight())
        elif isinstance(module, OWN_START):
            for parameter in module.parameters(recurse=False):
                assert torch.isfinite(parameter).all(), name
                assert parameter.abs().max() < 100, name
        else:
            assert not list(module.parameters(recurse=False)), f"{name} is not covered by this test"
        if isinstance(module, nn.BatchNorm2d):
            assert (module.running_mean == 0).all(), name
            assert (module.running_var == 1).all(), name
            assert module.num_batches_tracked == 0, name


@every_base_model
def test_base_model_reads_a_full_checkpoint_and_the_reverse(model_type, tmp_path, inputs):
    model = tiny_model(model_type)
    model.save_pretrained(tmp_path / "full")
    base = MODELS[model_type].base_model.from_pretrained(tmp_path / "full")
    with torch.no_grad():
        expected = model.base_model(**inputs).last_hidden_state
        torch.testing.assert_close(base(**inputs).last_hidden_state, expected, rtol=1e-5, atol=1e-6)
    base.save_pretrained(tmp_path / "base")
    full, report = MODELS[model_type].task_model.from_pretrained(tmp_path / "base", output_loading_info=True)
    assert report["missing_keys"]
    assert not any(name.startswith(f"{model.base_model_prefix}.") for name in report["missing_keys"])
    assert_same_tensors(full.base_model.state_dict(), model.base_model.state_dict())


@every_base_model
def test_no_part_is_named_like_the_prefix(model_type):
    # transformers cannot convert legacy keys when a child's name starts with the prefix
    base = MODELS[model_type].base_model(tiny_config(model_type))
    assert not any(name.startswith(base.base_model_prefix) for name, _ in base.named_children())


@every_model
def test_bfloat16_checkpoint(model_type, tmp_path):
    tiny_model(model_type).to(torch.bfloat16).save_pretrained(tmp_path)
    assert load(tmp_path, model_type).dtype == torch.bfloat16
    assert MODELS[model_type].task_model.from_pretrained(tmp_path, dtype=torch.float32).dtype == torch.float32


@every_model
def test_loss_is_a_batch_mean_for_the_trainer(model_type):
    # with accepts_loss_kwargs the Trainer would not divide by the accumulation steps
    assert tiny_model(model_type).accepts_loss_kwargs is False


@every_model
def test_tuple_output(model_type, inputs):
    model, targets = tiny_model(model_type), tiny_targets(model_type)
    outputs = model(**inputs, **targets)
    as_tuple = model(**inputs, **targets, return_dict=False)
    assert isinstance(as_tuple, tuple)
    named, expected = dict(enumerate(as_tuple)), dict(enumerate(outputs.to_tuple()))
    for name, one in flat(named).items():
        torch.testing.assert_close(one, flat(expected)[name], rtol=0, atol=0, equal_nan=True)
    assert len(flat(named)) == len(flat(expected))
    assert torch.equal(model(**inputs, return_dict=False)[0], outputs.logits)


@every_model
def test_without_labels_there_is_no_loss(model_type, inputs):
    assert not any(name.startswith("loss") for name in tiny_model(model_type)(**inputs))


@pytest.mark.parametrize(("height", "width", "padded"), [(60, 64, "64 x 64"), (33, 65, "64 x 96")])
@every_segformer_model
def test_other_sizes_are_refused_with_the_padded_size(model_type, height, width, padded):
    with pytest.raises(ValueError, match=f"multiples of 32, got {height} x {width}.*pads to {padded}"):
        tiny_model(model_type)(torch.zeros(1, 3, height, width))


@every_model
def test_an_image_does_not_depend_on_its_batch(model_type, inputs):
    model = tiny_model(model_type)
    with torch.no_grad():
        together = tensors_of(model(**inputs))
        alone = [model(**one_image(inputs, row)) for row in range(2)]
    for name, value in together.items():
        separate = torch.cat([outputs[name] for outputs in alone])
        torch.testing.assert_close(value, separate, rtol=1e-4, atol=1e-5, msg=name)


@every_model
def test_attention_implementations_agree(model_type, inputs):
    model = tiny_model(model_type)
    with torch.no_grad():
        sdpa = tensors_of(model(**inputs))
        model.set_attn_implementation("eager")
        encoders = [one for one in model.modules() if type(one).__name__ in ("SegformerModel", "LlamaModel")]
        assert encoders
        assert all(encoder.config._attn_implementation == "eager" for encoder in encoders)
        eager = model(**inputs)
    for name, value in sdpa.items():
        torch.testing.assert_close(eager[name], value, rtol=1e-4, atol=1e-5, msg=name)


@every_model
def test_bfloat16(model_type, inputs):
    targets = tiny_targets(model_type)
    with torch.no_grad():
        expected = tensors_of(tiny_model(model_type)(**inputs))
    model = tiny_model(model_type).to(torch.bfloat16)
    outputs = model(**inputs | {"pixel_values": inputs["pixel_values"].to(torch.bfloat16)}, **targets)
    outputs.loss.backward()
    assert outputs.loss.dtype == torch.float32
    for name, value in expected.items():
        assert outputs[name].dtype == torch.bfloat16
        assert (outputs[name].float() - value).norm() / value.norm() < 0.05, name


@every_model
def test_activation_checkpointing_keeps_the_gradients(model_type, inputs):
    if not tiny_model(model_type).supports_gradient_checkpointing:
        pytest.skip("this model has no activation checkpointing")
    gradients = []
    for checkpointing in (False, True):
        model = tiny_model(model_type).train()
        if checkpointing:
            enable = getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)
            enable()
        torch.manual_seed(0)  # dropout
        model(**inputs, **tiny_targets(model_type)).loss.backward()
        gradients.append({name: one.grad for name, one in model.named_parameters() if one.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-4, atol=1e-6, msg=name)


class RandomImages(Dataset):
    """Eight random images, with prompts where the model reads them, and the model's targets."""

    def __init__(self, model_type):
        self.inputs, self.targets = tiny_inputs(model_type), tiny_targets(model_type)
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randn(8, *self.inputs["pixel_values"].shape[1:], generator=generator)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        given = {name: values[index % 2] for name, values in (self.inputs | self.targets).items()}
        return given | {"pixel_values": self.images[index]}


def train(model_type, folder, resume=False, **settings):
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=4,
        save_steps=2,
        save_strategy="steps",
        learning_rate=1e-3,
        per_device_train_batch_size=2,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        dataloader_pin_memory=False,
        **settings,
    )
    trainer = Trainer(model=tiny_model(model_type), args=arguments, train_dataset=RandomImages(model_type))
    trainer.train(resume_from_checkpoint=str(folder / "checkpoint-2") if resume else None)
    return trainer.model.state_dict()


@every_model
def test_a_plain_trainer_resumes_exactly(model_type, tmp_path):
    whole = train(model_type, tmp_path)
    initial = tiny_model(model_type).state_dict()
    assert any(not torch.equal(tensor, initial[name]) for name, tensor in whole.items())
    assert_same_tensors(train(model_type, tmp_path, resume=True), whole)
    assert_same_tensors(load(tmp_path / "checkpoint-4", model_type).state_dict(), whole)


@every_model
def test_a_plain_trainer_evaluates(model_type, tmp_path):
    arguments = TrainingArguments(output_dir=str(tmp_path), report_to="none", use_cpu=True, disable_tqdm=True)
    images = RandomImages(model_type)
    trainer = Trainer(model=tiny_model(model_type), args=arguments, eval_dataset=images)
    result = trainer.predict(images)
    with torch.no_grad():
        outputs = trainer.model(**torch.utils.data.default_collate(list(images)))
    logits = result.predictions[0] if isinstance(result.predictions, tuple) else result.predictions
    assert result.metrics["test_loss"] == pytest.approx(outputs.loss.item(), rel=1e-4)
    torch.testing.assert_close(torch.from_numpy(logits), outputs.logits, rtol=1e-4, atol=1e-5)
