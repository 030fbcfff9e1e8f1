import pytest
import torch

from forgescope.modeling.modeling_iclnet import ICLNetForForgerySegmentation


@pytest.mark.parametrize("kind", ["srm", "residual", "energy"])
def test_fixed_kernels_survive_loading(tiny_model, tmp_path, kind):
    model = tiny_model(noise_filter=kind)
    model.save_pretrained(tmp_path)
    loaded = ICLNetForForgerySegmentation.from_pretrained(tmp_path)
    assert torch.equal(loaded.iclnet.high_pass.weight, model.iclnet.high_pass.weight)
    assert torch.equal(loaded.iclnet.high_pass.weight, model.iclnet.high_pass.initial_weight())
    assert not loaded.iclnet.high_pass.weight.requires_grad


def test_ablated_checkpoint_keeps_its_switches(tiny_model, tmp_path, pixel_values):
    model = tiny_model(use_noise_stream=False, use_frozen_stream=False)
    model.save_pretrained(tmp_path)
    loaded = ICLNetForForgerySegmentation.from_pretrained(tmp_path)
    assert len(loaded.iclnet.streams()) == 1
    with torch.no_grad():
        torch.testing.assert_close(loaded(pixel_values).logits, model(pixel_values).logits, rtol=1e-5, atol=1e-7)
