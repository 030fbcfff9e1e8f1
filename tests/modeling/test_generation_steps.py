"""What is kept of each step of generation belongs to the token that the step chose."""

from threading import Thread

import pytest
import torch
from tiny_models import TEXT_MODELS, tiny_inputs, tiny_model
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import GenerationConfig

from forgescope.modeling.generation_steps import generate_with_steps

NEW = 4


def ask(model, row=slice(None), **settings):
    """Ask the model's own way about one image or both."""
    model_type = model.config.model_type
    given = {name: value[row] for name, value in tiny_inputs(model_type).items()}
    method = model.generate_grounded if model_type == "legion" else model.generate_verdict
    return method(**given | {"max_new_tokens": NEW, "do_sample": False, "eos_token_id": None} | settings)


def by_hand(model, sequences, prompt_length):
    """Logits (B, T, V) from which each new token was chosen, by one pass over the whole text."""
    with torch.no_grad():
        logits = model(input_ids=sequences, pixel_values=tiny_inputs(model.config.model_type)["pixel_values"]).logits
    return logits[:, prompt_length - 1 : -1]


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("with_dict", [True, False])
def test_steps_equal_one_pass_over_the_text(use_cache, with_dict):
    model, given = tiny_model("fakereasoning"), tiny_inputs("fakereasoning")
    settings = {"max_new_tokens": NEW, "do_sample": False, "eos_token_id": None}
    settings |= {"use_cache": use_cache, "return_dict_in_generate": with_dict}
    sequences, generated, kept = generate_with_steps(model, lambda _state, logits: logits, **given, **settings)
    length = given["input_ids"].shape[1]
    assert torch.equal(sequences[:, length:], generated)
    assert generated.shape == (2, NEW)
    torch.testing.assert_close(kept, by_hand(model, sequences, length), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model_type", TEXT_MODELS)
@pytest.mark.parametrize("settings", [{"num_beams": 2}, {"num_return_sequences": 2, "do_sample": True}])
def test_more_rows_than_texts_are_refused(model_type, settings):
    with pytest.raises(ValueError, match="one token for each of 2 texts, got 4 x 1: generate with num_beams=1"):
        ask(tiny_model(model_type), **settings)


@pytest.mark.parametrize("model_type", TEXT_MODELS)
def test_beams_that_a_checkpoint_asks_for_are_refused_too(model_type):
    model = tiny_model(model_type)
    model.generation_config = GenerationConfig(num_beams=2)
    with pytest.raises(ValueError, match="one token for each of 2 texts, got 4 x 1"):
        ask(model)


@pytest.mark.parametrize("model_type", TEXT_MODELS)
def test_steps_of_several_tokens_are_refused(model_type):
    ids = tiny_inputs(model_type)["input_ids"][:1]
    ids[0, -1] = ids[0, 7]  # the lookup proposes what followed the same token before
    model = tiny_model(model_type)
    with pytest.raises(ValueError, match=r"one token for each of 1 texts, got 1 x \d: .* without an assistant or pro"):
        ask(model, slice(0, 1), input_ids=ids, prompt_lookup_num_tokens=2)


def test_a_verdict_needs_no_gradient():
    found = ask(tiny_model("fakereasoning"))
    assert not found.fake_probability.requires_grad
    assert found.fake_probability.numpy().shape == (2,)


def test_two_threads_may_ask_one_model():
    model, found = tiny_model("legion"), {}
    expected = [ask(model, slice(row, row + 1), **forced(row)) for row in range(2)]

    def work(row):
        found[row] = [ask(model, slice(row, row + 1), **forced(row)) for _ in range(8)]

    threads = [Thread(target=work, args=(row,)) for row in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for row, one in enumerate(expected):
        assert one.mask_logits[0].shape == (1, 64, 64)
        for again in found[row]:
            assert torch.equal(again.generated_ids, one.generated_ids)
            torch.testing.assert_close(again.mask_logits[0], one.mask_logits[0])


def forced(row):
    """Make generation say other tokens, among them one [SEG], and another number of them, for each image."""
    length = tiny_inputs("legion")["input_ids"].shape[1]
    steps = ([700, 32004, 800], [900, 901, 902, 903, 904, 32004])[row]
    said = {"max_new_tokens": len(steps)}
    return said | {"prefix_allowed_tokens_fn": lambda _row, ids: [steps[min(len(ids) - length, len(steps) - 1)]]}


def test_a_head_in_32_bits_fits_a_model_in_16():
    model = tiny_model("legion").to(torch.bfloat16)
    expected = ask(model).fake_probability
    model.detection_head.float()  # as stage 2 trains it
    torch.testing.assert_close(ask(model).fake_probability, expected, rtol=0, atol=0.01)


class Spread(nn.Module):
    """A model whose head lies on another device than its prompts and texts."""

    def __init__(self):
        super().__init__()
        self.lm_head = nn.Linear(8, 16, device="cuda:1")

    def generate(self, input_ids):
        for _ in range(NEW):
            logits = self.lm_head(torch.empty(len(input_ids), 1, 8, device="cuda:1"))
            chosen = logits[:, -1].argmax(dim=-1, keepdim=True).to(input_ids.device)
            input_ids = torch.cat([input_ids, chosen], dim=1)
        return input_ids


def knows_absent_gpus():
    """Whether fake tensors may lie on GPUs that this machine has not: torch 2.8 and 2.9 ask the driver for them."""
    try:
        with FakeTensorMode():
            Spread().generate(torch.empty(1, 1, dtype=torch.long, device="cuda:0"))
    except RuntimeError:
        return False
    return True


@pytest.mark.skipif(not knows_absent_gpus(), reason="this torch has no fake tensors on GPUs that are not there")
def test_what_is_kept_lies_beside_the_text():
    with FakeTensorMode():  # knows devices that this machine has not, and computes nothing
        ids = torch.empty(2, 3, dtype=torch.long, device="cuda:0")
        sequences, generated, kept = generate_with_steps(Spread(), lambda state, _logits: state, ids)
        assert (sequences.shape, generated.shape, kept.shape) == ((2, 3 + NEW), (2, NEW), (2, NEW, 8))
        assert kept.device == generated.device == torch.device("cuda:0")
