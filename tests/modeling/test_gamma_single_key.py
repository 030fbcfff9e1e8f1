"""Eq. 5 to 8 as printed have one key and one value: then the decoders cannot influence the verdict."""

import pytest
import torch
from torch import nn

from forgescope.modeling.cross_attention import PooledCrossAttention


def literal_attention(attention: PooledCrossAttention, query: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    """Eq. 7 with Q and K really computed, for every query: (B, N, C) and (B, M, C) to (B, N, C)."""
    heads = attention.num_attention_heads

    def split(tokens):
        return tokens.unflatten(-1, (heads, -1)).transpose(1, 2)

    q, k, v = (
        split(layer(tokens))
        for layer, tokens in (
            (attention.q_proj, query),
            (attention.k_proj, context),
            (attention.v_proj, context),
        )
    )
    weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(dim=-1)
    return attention.o_proj((weights @ v).transpose(1, 2).flatten(2))


@pytest.fixture
def attention():
    torch.manual_seed(0)
    module = PooledCrossAttention(24, 3).double()
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module


def test_with_one_key_the_attention_is_constant_in_the_query(attention):
    generator = torch.Generator().manual_seed(0)
    context = torch.randn(2, 1, 24, generator=generator, dtype=torch.float64)
    expected = attention.o_proj(attention.v_proj(context))
    for scale in (0, 1, 1e3):
        query = scale * torch.randn(2, 50, 24, generator=generator, dtype=torch.float64)
        result = literal_attention(attention, query, context)
        torch.testing.assert_close(result, expected.expand_as(result), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(attention(query, context), expected[:, 0], rtol=1e-12, atol=1e-12)


def test_with_several_keys_it_is_not(attention):
    generator = torch.Generator().manual_seed(0)
    context = torch.randn(2, 4, 24, generator=generator, dtype=torch.float64)
    query = torch.randn(2, 50, 24, generator=generator, dtype=torch.float64)
    result = literal_attention(attention, query, context)
    assert result.std(dim=1).mean() > 0.1
    torch.testing.assert_close(attention(query, context), result.mean(dim=1), rtol=1e-10, atol=1e-10)


def test_literal_queries_and_keys_get_zero_gradients(attention):
    context = torch.randn(2, 1, 24, dtype=torch.float64)
    query = torch.randn(2, 6, 24, dtype=torch.float64, requires_grad=True)
    literal_attention(attention, query, context).square().sum().backward()
    unused = [query, *attention.q_proj.parameters(), *attention.k_proj.parameters()]
    assert all(one.grad.abs().max() < 1e-9 for one in unused)
    assert attention.v_proj.weight.grad.abs().max() > 0.1


@pytest.mark.parametrize(
    ("cross_attention", "tokens", "reaches"),
    [
        ("none", "pooled", False),
        ("reverse", "pooled", False),
        ("reverse", "spatial", True),
        ("standard", "pooled", True),
        ("dual", "pooled", True),
    ],
)
def test_whether_the_verdict_reaches_the_decoders(tiny_gamma, pixel_values, cross_attention, tokens, reaches):
    model = tiny_gamma(cross_attention=cross_attention, cross_attention_tokens=tokens)
    outputs = model(pixel_values, labels=torch.tensor([1, 0]))
    assert outputs.loss_ai is None
    outputs.loss.backward()
    for name, parameter in model.decoders.named_parameters():
        if ".classifier." in name:  # behind the features
            assert parameter.grad is None, name
        elif reaches:
            assert parameter.grad.abs().max() > 0, name
        else:
            assert parameter.grad is None, name
    weights = [one for name, one in model.gamma.named_parameters() if name.endswith("proj.weight")]
    assert all(one.grad.abs().max() > 0 for one in weights)


@pytest.mark.parametrize(("tokens", "moves"), [("pooled", False), ("spatial", True)])
def test_whether_other_decoders_change_the_verdict(tiny_gamma, pixel_values, tokens, moves):
    model = tiny_gamma(cross_attention_tokens=tokens)
    with torch.no_grad():
        before = model(pixel_values)
        for parameter in model.decoders.parameters():
            parameter.add_(torch.randn_like(parameter))
        after = model(pixel_values)
    assert not torch.allclose(before.ai_logits, after.ai_logits)
    assert torch.equal(before.logits, after.logits) != moves
