import math

import pytest
import torch
import torch.nn.functional as F

from forgescope.modeling import fast_attention
from forgescope.modeling.cross_attention import PooledCrossAttention
from forgescope.modeling.fast_attention import FastPooledCrossAttention

CHANNELS, HEADS = 12, 3
# queries, context tokens: the usual case, one query, one context token, both
SIZES = [(5, 7), (1, 7), (5, 1), (1, 1), (9, 2)]


def drawn_attention(heads=HEADS):
    torch.manual_seed(0)
    attention = PooledCrossAttention(CHANNELS, heads).double()
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter += 0.5 * torch.randn_like(parameter)
    return attention


def drawn_tokens(queries, tokens, batch=2):
    generator = torch.Generator().manual_seed(1)
    shapes = (batch, queries, CHANNELS), (batch, tokens, CHANNELS)
    return tuple(torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in shapes)


def loop_twin(attention, query, context):
    """Eq. 7 head by head and query by query, then the mean over the queries, Eq. 8."""
    width = CHANNELS // attention.num_attention_heads
    images = []
    for queries, tokens in zip(query, context, strict=True):
        pooled = torch.zeros(CHANNELS, dtype=torch.float64)
        for one in queries:
            q, keys, values = attention.q_proj(one), attention.k_proj(tokens), attention.v_proj(tokens)
            answer = []
            for start in range(0, CHANNELS, width):
                scores = [sum(q[c] * key[c] for c in range(start, start + width)) / math.sqrt(width) for key in keys]
                exponentials = [math.exp(score) for score in scores]
                shares = [value / sum(exponentials) for value in exponentials]
                answer.append(
                    sum(share * row[start : start + width] for share, row in zip(shares, values, strict=True))
                )
            pooled += attention.o_proj(torch.cat(answer)) / len(queries)
        images.append(pooled)
    return torch.stack(images)


def torch_twin(attention, query, context):
    """PyTorch's own multi-head attention with every query, key and value, then the mean over the queries."""
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    result, _ = F.multi_head_attention_forward(
        query.transpose(0, 1),
        context.transpose(0, 1),
        context.transpose(0, 1),
        CHANNELS,
        attention.num_attention_heads,
        torch.cat([layer.weight for layer in projections]),
        torch.cat([layer.bias for layer in projections]),
        None,
        None,
        False,
        0.0,
        attention.o_proj.weight,
        attention.o_proj.bias,
    )
    return result.mean(dim=0)


@pytest.mark.parametrize(("queries", "tokens"), SIZES)
@pytest.mark.parametrize("heads", [1, 3, 12])
def test_it_equals_a_loop(queries, tokens, heads):
    attention = drawn_attention(heads)
    inputs = drawn_tokens(queries, tokens)
    with torch.no_grad():
        expected = loop_twin(attention, *inputs)
        torch.testing.assert_close(attention(*inputs), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("queries", "tokens"), SIZES)
def test_it_equals_torchs_own_and_so_do_its_gradients(queries, tokens):
    attention, inputs = drawn_attention(), drawn_tokens(queries, tokens)
    weights = torch.randn(2, CHANNELS, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    results, gradients = [], []
    for function in (attention, lambda *inputs: torch_twin(attention, *inputs)):
        results.append(function(*inputs))
        leaves = [*inputs, *attention.parameters()]
        gradients.append(torch.autograd.grad((weights * results[-1]).sum(), leaves, allow_unused=True))
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-10)
    for ours, theirs in zip(*gradients, strict=True):
        ours = torch.zeros_like(theirs) if ours is None else ours
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(("queries", "tokens"), SIZES)
def test_gradient(queries, tokens):
    attention = drawn_attention()
    assert torch.autograd.gradcheck(attention, drawn_tokens(queries, tokens))


def test_extreme_scores_stay_finite():
    attention, (query, context) = drawn_attention().float(), drawn_tokens(1, 6)
    assert torch.isfinite(attention(1e4 * query.float(), 1e4 * context.float())).all()


def test_one_context_token_needs_no_queries():
    attention, (query, context) = drawn_attention(), drawn_tokens(5, 1)
    assert torch.equal(attention(None, context), attention(query, context))


def test_several_context_tokens_need_queries():
    with pytest.raises(ValueError, match=r"7 context tokens need queries of shape \(B, N, C\), got None"):
        drawn_attention()(None, drawn_tokens(5, 7)[1])


def test_bfloat16():
    attention, inputs = drawn_attention(), drawn_tokens(5, 7)
    with torch.no_grad():
        expected = attention(*inputs)
        rounded = attention.to(torch.bfloat16)(*[one.to(torch.bfloat16) for one in inputs])
    assert rounded.dtype == torch.bfloat16
    assert (rounded.double() - expected).norm() / expected.norm() < 0.03


# The form for inference


@pytest.mark.parametrize(("queries", "tokens"), SIZES)
@pytest.mark.parametrize("block", [1, 4, 1024])
def test_fast_equals_plain(monkeypatch, queries, tokens, block):
    monkeypatch.setattr(fast_attention, "QUERY_BLOCK", block)
    attention, inputs = drawn_attention(), drawn_tokens(queries, tokens)
    with torch.no_grad():
        expected = attention(*inputs)
        attention.__class__ = FastPooledCrossAttention
        torch.testing.assert_close(attention(*inputs), expected, rtol=1e-10, atol=1e-10)
    assert attention(*inputs).requires_grad


def test_fast_in_bfloat16_sums_the_weights_precisely():
    attention, inputs = drawn_attention(), drawn_tokens(3000, 7)
    with torch.no_grad():
        expected = attention(*inputs)
        attention.__class__ = FastPooledCrossAttention
        rounded = attention.to(torch.bfloat16)(*[one.to(torch.bfloat16) for one in inputs])
    assert rounded.dtype == torch.bfloat16
    assert (rounded.double() - expected).norm() / expected.norm() < 0.01
