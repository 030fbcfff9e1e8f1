import pytest
import torch

from forgescope.modeling.modeling_iclnet import ICLNetForForgerySegmentation, ICLNetModel


def frozen_tensors(model):
    return {name: tensor.clone() for name, tensor in model.base_model.frozen_encoder.state_dict().items()}


def assert_frozen(model, expected):
    frozen = model.base_model.frozen_encoder
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    assert not any(module.training for module in frozen.modules())
    for name, tensor in frozen.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def optimise(model, pixel_values, labels, steps=3):
    """Train everything the optimizer may touch, with weight decay, which moves parameters even without gradients."""
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=0.01, weight_decay=0.1)
    model.train()
    for _ in range(steps):
        model(pixel_values, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("model_class", [ICLNetModel, ICLNetForForgerySegmentation])
def test_it_equals_the_main_stream_at_construction(tiny_config, model_class):
    model = model_class(tiny_config())
    assert_frozen(model, model.base_model.main_encoder.state_dict())
    noise = model.base_model.noise_encoder.state_dict()
    assert any(not torch.equal(tensor, noise[name]) for name, tensor in frozen_tensors(model).items())


def test_it_is_bit_identical_after_training(tiny_config, pixel_values, labels):
    model = ICLNetForForgerySegmentation(tiny_config())
    before = frozen_tensors(model)
    optimise(model, pixel_values, labels)
    assert_frozen(model, before)
    main = model.iclnet.main_encoder.state_dict()
    assert any(not torch.equal(tensor, main[name]) for name, tensor in before.items())


def test_it_survives_saving_loading_and_training_on(tiny_config, tmp_path, pixel_values, labels):
    model = ICLNetForForgerySegmentation(tiny_config())
    before = frozen_tensors(model)
    optimise(model, pixel_values, labels)
    model.save_pretrained(tmp_path)
    loaded = ICLNetForForgerySegmentation.from_pretrained(tmp_path)
    assert_frozen(loaded, before)
    optimise(loaded, pixel_values, labels)
    assert_frozen(loaded, before)


def test_train_and_eval_freeze_it_again(tiny_config):
    model = ICLNetForForgerySegmentation(tiny_config())
    before = frozen_tensors(model)
    for mode in (True, False):
        model.requires_grad_(True)
        model.train(mode)
        assert_frozen(model, before)
        assert all(one.training is mode for one in model.iclnet.main_encoder.modules())
        assert all(one.requires_grad for one in model.iclnet.main_encoder.parameters())


def saved_for_backward(model, pixel_values):
    """Number and bytes of the tensors that a forward pass keeps for the backward pass."""
    kept = []

    def pack(tensor):
        kept.append(tensor.numel() * tensor.element_size())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = model(pixel_values)
    assert outputs.fused_features.requires_grad
    return len(kept), sum(kept)


@pytest.mark.parametrize("stages", [(3,), (2, 3)])
def test_it_keeps_no_activations(tiny_config, pixel_values, stages):
    with_frozen = ICLNetModel(tiny_config(feature_stages=stages)).train()
    without = ICLNetModel(tiny_config(feature_stages=stages, use_frozen_stream=False)).train()
    assert saved_for_backward(with_frozen, pixel_values) == saved_for_backward(without, pixel_values)
    with_frozen.requires_grad_(True)
    assert saved_for_backward(with_frozen, pixel_values) == saved_for_backward(without, pixel_values)


def test_its_output_does_not_change_while_the_others_train(tiny_config, pixel_values, labels):
    model = ICLNetForForgerySegmentation(tiny_config())
    with torch.no_grad():
        before = model.iclnet(pixel_values).last_hidden_state[:, 64:]
    optimise(model, pixel_values, labels)
    with torch.no_grad():
        after = model.iclnet(pixel_values)
    assert torch.equal(after.last_hidden_state[:, 64:], before)
    assert not torch.equal(after.fused_features[:, :32], before)
