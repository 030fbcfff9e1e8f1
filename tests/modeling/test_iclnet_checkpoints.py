import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from forgescope.modeling.high_pass import HighPassFilter
from forgescope.modeling.modeling_iclnet import ICLNetForForgerySegmentation, ICLNetModel

KINDS = ["srm", "residual", "fft", "energy"]


def stored_names(folder):
    with safe_open(folder / "model.safetensors", "pt") as stream:
        return set(stream.keys())


def assert_same_tensors(one, other):
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


@pytest.mark.parametrize("legacy_names", [False, True])
def test_both_file_formats_load_exactly(tiny_model, tmp_path, pixel_values, legacy_names):
    model = tiny_model()
    model.save_pretrained(tmp_path, save_original_format=legacy_names)
    loaded, report = ICLNetForForgerySegmentation.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert_same_tensors(loaded.state_dict(), model.state_dict())
    with torch.no_grad():
        assert torch.equal(loaded(pixel_values).logits, model(pixel_values).logits)


def test_stored_names_are_those_of_the_state_dict(tiny_model, tmp_path):
    # the Trainer reads a checkpoint back with load_state_dict, which converts nothing
    model = tiny_model()
    model.save_pretrained(tmp_path / "own")
    assert stored_names(tmp_path / "own") == set(model.state_dict())
    assert "iclnet.high_pass.weight" in stored_names(tmp_path / "own")
    model.save_pretrained(tmp_path / "legacy", save_original_format=True)
    assert stored_names(tmp_path / "legacy") != set(model.state_dict())
    model.load_state_dict(load_file(tmp_path / "own" / "model.safetensors"), strict=True)


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_checkpoint_leaves_nothing_uninitialised(tiny_config, tmp_path, kind):
    config = tiny_config(noise_filter=kind)
    config.save_pretrained(tmp_path)
    save_file({}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    torch.manual_seed(0)
    model, report = ICLNetForForgerySegmentation.from_pretrained(tmp_path, output_loading_info=True)
    assert set(report["missing_keys"]) == set(model.state_dict())
    for name, module in model.named_modules():
        if isinstance(module, nn.LayerNorm | nn.GroupNorm):
            assert (module.weight == 1).all(), name
            assert (module.bias == 0).all(), name
        elif isinstance(module, nn.Linear | nn.Conv2d):
            assert 0.002 < module.weight.std() < 0.2, name
            assert module.bias is None or (module.bias == 0).all(), name
        elif isinstance(module, HighPassFilter) and kind != "fft":
            assert torch.equal(module.weight, module.initial_weight())
        else:
            assert not list(module.parameters(recurse=False)), f"{name} is not covered by this test"


@pytest.mark.parametrize("kind", ["srm", "residual", "energy"])
def test_fixed_kernels_survive_loading(tiny_model, tmp_path, kind):
    model = tiny_model(noise_filter=kind)
    model.save_pretrained(tmp_path)
    loaded = ICLNetForForgerySegmentation.from_pretrained(tmp_path)
    assert torch.equal(loaded.iclnet.high_pass.weight, model.iclnet.high_pass.weight)
    assert torch.equal(loaded.iclnet.high_pass.weight, model.iclnet.high_pass.initial_weight())
    assert not loaded.iclnet.high_pass.weight.requires_grad


def test_base_model_reads_a_full_checkpoint_and_the_reverse(tiny_model, tmp_path, pixel_values):
    model = tiny_model()
    model.save_pretrained(tmp_path / "full")
    base = ICLNetModel.from_pretrained(tmp_path / "full")
    with torch.no_grad():
        expected = model.iclnet(pixel_values).last_hidden_state
        assert torch.equal(base(pixel_values).last_hidden_state, expected)
    base.save_pretrained(tmp_path / "base")
    full, report = ICLNetForForgerySegmentation.from_pretrained(tmp_path / "base", output_loading_info=True)
    assert {name.split(".")[0] for name in report["missing_keys"]} == {"head"}
    with torch.no_grad():
        assert torch.equal(full.iclnet(pixel_values).last_hidden_state, expected)


def test_bfloat16_checkpoint(tiny_model, tmp_path):
    tiny_model().to(torch.bfloat16).save_pretrained(tmp_path)
    assert ICLNetForForgerySegmentation.from_pretrained(tmp_path).dtype == torch.bfloat16
    restored = ICLNetForForgerySegmentation.from_pretrained(tmp_path, dtype=torch.float32)
    assert restored.dtype == torch.float32


def test_ablated_checkpoint_keeps_its_switches(tiny_model, tmp_path, pixel_values):
    model = tiny_model(use_noise_stream=False, use_frozen_stream=False)
    model.save_pretrained(tmp_path)
    loaded = ICLNetForForgerySegmentation.from_pretrained(tmp_path)
    assert len(loaded.iclnet.streams()) == 1
    with torch.no_grad():
        assert torch.equal(loaded(pixel_values).logits, model(pixel_values).logits)


def test_loss_is_a_batch_mean_for_the_trainer(tiny_model):
    # with accepts_loss_kwargs the Trainer would not divide by the accumulation steps
    assert tiny_model().accepts_loss_kwargs is False
