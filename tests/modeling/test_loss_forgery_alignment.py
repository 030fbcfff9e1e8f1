import doctest
import math

import pytest
import torch
from torch import nn

from forgescope.modeling import loss_forgery_alignment
from forgescope.modeling.loss_forgery_alignment import ForgeryAlignedContrast, forgery_alignment_terms

TERMS = ("v2a", "a2v", "v2v", "a2a")
SETTINGS = [(normalize, pool) for normalize in (True, False) for pool in ("batch_and_queue", "queue")]


def setting_name(normalize, pool):
    return f"normalize={normalize},pool={'batch+queue' if pool == 'batch_and_queue' else 'queue'}"


def loop_twin(images, texts, labels, temperature, queue, normalize, pool):
    """Eq. 1-4 word for word, anchor by anchor, in Python floats."""
    batch = len(labels)
    images, texts = torch.cat([images, queue[0]]).tolist(), torch.cat([texts, queue[1]]).tolist()
    labels = torch.cat([labels, queue[2]]).tolist()

    def similarity(first, second):
        dot = sum(a * b for a, b in zip(first, second, strict=True))
        return dot / (math.hypot(*first) * math.hypot(*second)) if normalize else dot

    def log_share(anchor, positive, others):
        total = sum(math.exp(similarity(anchor, other) / temperature) for other in others)
        return math.log(math.exp(similarity(anchor, positive) / temperature) / total)

    def across(anchors, others):
        return [-log_share(anchors[i], others[i], others) for i in range(batch)]

    def within(vectors):
        losses = []
        for i in range(batch):
            others = [j for j in range(len(labels)) if j != i and (pool != "queue" or j >= batch)]
            positives = [j for j in others if labels[j] == labels[i]]
            shares = [log_share(vectors[i], vectors[j], [vectors[n] for n in others]) for j in positives]
            if positives:
                losses.append(-sum(shares) / len(positives))
        return losses

    terms = [across(images, texts), across(texts, images), within(images), within(texts)]
    return [sum(term) / max(len(term), 1) for term in terms]


def samples(count, size=5, seed=0, dtype=torch.float64, labels=None):
    generator = torch.Generator().manual_seed(seed)
    images, texts = torch.randn(2, count, size, generator=generator, dtype=torch.float64).to(dtype)
    drawn = torch.randint(0, 2, (count,), generator=generator)
    return images, texts, drawn if labels is None else torch.tensor(labels)


@pytest.mark.parametrize(("normalize", "pool"), SETTINGS)
def test_equals_the_oracle_of_the_papers_equations(fakereasoning_parity, normalize, pool):
    oracle = fakereasoning_parity["facl_paper_oracle"]
    size = oracle["steps"][0]["v"].shape[1]
    contrast = ForgeryAlignedContrast(size, oracle["queue_size"], oracle["tau"], normalize, pool).double()
    contrast.reset_parameters()  # tau in float64
    for step in oracle["steps"]:
        expected = step["out"][setting_name(normalize, pool)]
        for mine, theirs in zip(contrast.queue(), (step["queue_v"], step["queue_a"], step["queue_y"]), strict=True):
            assert torch.equal(mine, theirs)
        images, texts = step["v"].clone().requires_grad_(), step["a"].clone().requires_grad_()
        contrast.zero_grad()
        losses = contrast(images, texts, step["y"])
        losses.loss.backward()
        temperature_gradient = contrast.log_temperature.grad[0] / oracle["tau"]  # d log tau = d tau / tau
        results = [*losses, images.grad, texts.grad, temperature_gradient]
        for mine, name in zip(results, ("facl", *TERMS, "grad_v", "grad_a", "grad_tau"), strict=True):
            torch.testing.assert_close(mine, expected[name], rtol=0, atol=1e-10)


@pytest.mark.parametrize(("normalize", "pool"), SETTINGS)
@pytest.mark.parametrize("labels", [None, [1, 0, 0, 0], [1, 0, 2, 3]])
def test_equals_loops_over_samples(normalize, pool, labels):
    images, texts, labels = samples(4, labels=labels)
    queue = samples(6, seed=1, labels=[0, 0, 0, 0, 0, 0])
    terms = forgery_alignment_terms(images, texts, labels, torch.tensor(0.7), queue, normalize, pool)
    expected = loop_twin(images, texts, labels, torch.tensor(0.7).item(), queue, normalize, pool)
    assert [term.item() for term in terms] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("pool", ["batch_and_queue", "queue"])
def test_empty_queue(pool):
    images, texts, labels = samples(4, labels=[1, 0, 1, 1])
    terms = forgery_alignment_terms(images, texts, labels, torch.tensor(0.7), pool=pool)
    empty = tuple(part[:0] for part in (images, texts, labels))
    expected = loop_twin(images, texts, labels, torch.tensor(0.7).item(), empty, True, pool)
    assert [term.item() for term in terms] == pytest.approx(expected, rel=1e-9)
    assert (terms.image_to_image == 0) == (pool == "queue")


def test_hand_values():
    # unit vectors at right angles, tau 1: own partner e against one other 1; the only other sample has the same label
    vectors = torch.eye(2)
    terms = forgery_alignment_terms(vectors, vectors, torch.tensor([1, 1]), torch.tensor(1.0))
    across = math.log(1 + 1 / math.e)
    assert [term.item() for term in terms] == pytest.approx([across, across, 0, 0], abs=1e-6)


@pytest.mark.parametrize(("normalize", "pool"), SETTINGS)
def test_gradient(normalize, pool):
    images, texts, labels = samples(4, labels=[1, 0, 1, 2])  # the last one has no positive
    queue = samples(3, seed=1)
    temperature = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    inputs = (images.requires_grad_(), texts.requires_grad_(), temperature)
    assert torch.autograd.gradcheck(
        lambda image, text, tau: forgery_alignment_terms(image, text, labels, tau, queue, normalize, pool), inputs
    )


def test_scale_matters_only_without_normalisation():
    images, texts, labels = samples(4)
    for normalize in (True, False):
        small, large = (
            forgery_alignment_terms(scale * images, texts, labels, torch.tensor(1.0), normalize=normalize)
            for scale in (1, 3)
        )
        assert torch.isclose(small.image_to_text, large.image_to_text) == normalize


def test_the_oldest_samples_leave_the_queue():
    contrast = ForgeryAlignedContrast(5, 7).double()
    given = [samples(3, seed=seed) for seed in range(5)]
    for count, batch in enumerate(given, start=1):
        contrast(*batch)
        for queue, parts in zip(contrast.queue(), zip(*given[:count], strict=True), strict=True):
            assert torch.equal(queue, torch.cat(parts)[-7:])
    assert contrast.queue_filled == 7
    contrast.reset_queue()
    assert len(contrast.queue().labels) == 0


def test_a_batch_larger_than_the_queue_leaves_its_end():
    contrast = ForgeryAlignedContrast(5, 2).double()
    images, texts, labels = samples(5)
    contrast(images, texts, labels)
    assert torch.equal(contrast.queue().image, images[-2:])


def test_without_a_queue():
    contrast = ForgeryAlignedContrast(5, 0)
    first, second = (contrast(*samples(4, dtype=torch.float32)).loss for _ in range(2))
    assert first == second
    assert contrast.queue().image.shape == (0, 5)


def test_invalid_rows_take_no_part():
    images, texts, labels = samples(5)
    valid = torch.tensor([True, False, True, True, False])
    expected, contrast = ForgeryAlignedContrast(5, 8).double(), ForgeryAlignedContrast(5, 8).double()
    images[1], texts[4] = math.nan, math.nan
    images.requires_grad_()
    for _ in range(2):
        losses = contrast(images, texts, labels, valid)
        for mine, theirs in zip(losses, expected(images[valid], texts[valid], labels[valid]), strict=True):
            assert torch.equal(mine, theirs)
    assert torch.equal(contrast.queue().image, images.detach()[valid].repeat(2, 1))
    losses.loss.backward()
    assert (images.grad[~valid] == 0).all()
    assert (images.grad[valid] != 0).any(dim=1).all()


def test_no_valid_row_is_zero_with_a_graph():
    contrast = ForgeryAlignedContrast(5, 8)
    contrast(*samples(3, dtype=torch.float32))
    images, texts, labels = samples(3, dtype=torch.float32)
    losses = contrast(images.requires_grad_(), texts, labels, torch.zeros(3, dtype=torch.bool))
    losses.loss.backward()
    assert [loss.item() for loss in losses] == [0] * 5
    assert (images.grad == 0).all()
    assert contrast.log_temperature.grad == 0
    assert contrast.queue_filled == 3


def test_evaluation_reads_the_queue_and_leaves_it_alone():
    contrast = ForgeryAlignedContrast(5, 8, normalize=False).double()
    contrast(*samples(6))
    before = contrast.queue()
    contrast.eval()
    batch = samples(4, seed=3)
    losses = [contrast(*batch).loss for _ in range(2)]
    expected = loop_twin(*batch, contrast.log_temperature.exp().item(), before, False, "batch_and_queue")
    assert losses[0] == losses[1]
    assert losses[0].item() == pytest.approx(sum(expected) / 4, rel=1e-9)
    for mine, theirs in zip(contrast.queue(), before, strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sixteen_bit_models_keep_queues_and_temperature_in_32(dtype):
    contrast = ForgeryAlignedContrast(5, 8)
    contrast(*samples(3, dtype=torch.float32))
    before, temperature = contrast.queue().image, contrast.log_temperature.item()
    model = nn.Sequential(nn.Linear(5, 5), contrast).to(dtype)
    assert model[0].weight.dtype == dtype
    assert contrast.log_temperature.dtype == contrast.image_queue.dtype == contrast.text_queue.dtype == torch.float32
    assert contrast.log_temperature.item() == temperature
    assert torch.equal(contrast.queue().image, before)

    images, texts, labels = samples(4, seed=1, dtype=dtype)
    queue = tuple(part.double() if part.is_floating_point() else part for part in contrast.queue())
    losses = contrast(images.requires_grad_(), texts, labels)
    losses.loss.backward()
    tau = math.exp(temperature)
    expected = loop_twin(images.detach().double(), texts.double(), labels, tau, queue, True, "batch_and_queue")
    assert losses.loss.dtype == torch.float32
    assert losses.loss.item() == pytest.approx(sum(expected) / 4, rel=1e-5)
    assert images.grad.dtype == dtype
    assert torch.isfinite(images.grad).all()


def test_autocast_does_not_reach_the_similarities():
    contrast = ForgeryAlignedContrast(5, 8).eval()
    batch = samples(4, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = contrast(*batch).loss
    assert loss == contrast(*batch).loss


def test_finite_where_exponentials_overflow():
    images, texts, labels = samples(4, dtype=torch.float32)
    contrast = ForgeryAlignedContrast(5, 8, temperature=1e-3, normalize=False)
    images.requires_grad_()
    loss = contrast(images * 100, texts * 100, labels).loss
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(images.grad).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pool": "batch"}, "pool must be one of batch_and_queue, queue, got 'batch'"),
        ({"queue_size": -1}, "expected queue_size >= 0 and temperature > 0, got -1 and 0.07"),
        ({"temperature": 0.0}, "expected queue_size >= 0 and temperature > 0, got 8 and 0.0"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        ForgeryAlignedContrast(**{"feature_size": 5, "queue_size": 8} | settings)


def test_bad_features():
    images, texts, labels = samples(4)
    with pytest.raises(ValueError, match=r"expected .* shape \(4, 5\), got \(4, 5\) and \(3, 5\)"):
        ForgeryAlignedContrast(5, 8)(images, texts[:3], labels)


def test_docstring_examples():
    results = doctest.testmod(loss_forgery_alignment, extraglobs={"torch": torch})
    assert results.attempted >= 3
    assert results.failed == 0
