import doctest
import math

import pytest
import torch
from peft.utils import ModulesToSaveWrapper

from forgescope.modeling import classification_probability
from forgescope.modeling.classification_probability import (
    ClassificationProbabilityMapper,
    classification_loss,
    find_pattern,
)

# a small vocabulary: "CONCLUSION >" (2 tokens), "This image is" (3 tokens), real, fake
TAG, PATTERN, REAL, FAKE, PAD, VOCABULARY = (2, 3), (2, 3, 4, 5, 6), 7, 8, 0, 20
FILLER = 11


def mapper(**settings):
    return ClassificationProbabilityMapper(PATTERN, REAL, FAKE, **settings)


def random_logits(ids, seed=0, dtype=torch.float64):
    """(B, L, V) logits whose largest entry at each position is the given id."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(*ids.shape, VOCABULARY, generator=generator, dtype=torch.float64)
    return logits.scatter(2, ids.unsqueeze(-1), 6.0).to(dtype)


def row(*parts, length=14):
    """A row of ids: tuples and ids one after the other, the rest filled."""
    ids = [token for part in parts for token in (part if isinstance(part, tuple) else (part,))]
    return ids + [FILLER] * (length - len(ids))


def loop_twin(logits, ids, forgery_labels, temperature):
    """Eq. 6-9 and the authors' mean over rows, with Python loops; index, probability and loss."""
    indices, probabilities, total, found = [], [], 0.0, 0
    for scores, tokens, label in zip(logits.tolist(), ids.tolist(), forgery_labels.tolist(), strict=True):
        starts = [m for m in range(len(tokens)) if tuple(tokens[m : m + len(PATTERN)]) == PATTERN]
        k = starts[0] + len(PATTERN) if starts else len(tokens)
        if k >= len(tokens):
            indices.append(-1)
            probabilities.append(math.nan)
            continue
        probability = 1 / (1 + math.exp(-(scores[k][FAKE] - scores[k][REAL]) / temperature))
        indices.append(k)
        probabilities.append(probability)
        total -= math.log(probability if label else 1 - probability)
        found += 1
    return indices, probabilities, total / (found + 1e-6)


@pytest.fixture
def ids():
    """Rows with a match, without, with two, with one whose k is behind the end, with one at the start."""
    return torch.tensor(
        [
            row(FILLER, FILLER, PATTERN, FAKE),
            row(TAG, 4, 5, FAKE),
            row(FILLER, PATTERN, REAL, PATTERN, FAKE),
            [FILLER] * 9 + [*PATTERN],
            row(PATTERN, REAL),
        ]
    )


@pytest.fixture
def reference_mapper(fakereasoning_parity):
    """The mapper of the authors' code: constant temperature of 10, ids of the real vocabulary."""
    tokens = fakereasoning_parity["tokens"]
    (real,), (fake,) = (tokens["word_ids"][f"{word}|legacy=True"] for word in ("real", "fake"))
    return ClassificationProbabilityMapper(tokens["pattern"], real, fake, learn_temperature=False)


def full_logits(case):
    """Logits of the whole vocabulary with the stored columns and the stored argmax."""
    stored, argmax = case["logits_columns"], case["argmax"].unsqueeze(-1)
    logits = torch.full((*stored.shape[:2], case["vocab"]), stored.min().item() - 1)
    elsewhere = ~torch.isin(argmax, torch.tensor(case["columns"]))
    winner = torch.where(elsewhere, stored.max() + 1, logits.min())
    logits.scatter_(2, argmax, winner)
    logits[:, :, case["columns"]] = stored
    assert torch.equal(logits.argmax(dim=-1), case["argmax"])
    return logits


def test_equals_the_authors_code(fakereasoning_parity, reference_mapper):
    length = len(reference_mapper.pattern_ids)
    for name, case in fakereasoning_parity["cpm_cases"].items():
        logits = full_logits(case)
        verdict = reference_mapper(logits)
        expected = [starts[0] + length if starts else -1 for starts in case["spec"]]
        expected = [k if k < logits.shape[1] else -1 for k in expected]
        assert verdict.index.tolist() == expected, name
        loss = classification_loss(verdict.fake_logit, verdict.index, torch.tensor(case["forgery_labels"]))
        if "loss" in case:
            torch.testing.assert_close(loss, case["loss"], rtol=0, atol=1e-6)


def test_a_match_at_the_end_stops_the_authors_code_and_counts_as_not_found_here(
    fakereasoning_parity, reference_mapper
):
    cases = [case for case in fakereasoning_parity["cpm_cases"].values() if "error" in case]
    assert cases
    for case in cases:
        assert case["error"].startswith("IndexError")
        logits, labels = full_logits(case), torch.tensor(case["forgery_labels"])
        verdict = reference_mapper(logits)
        found = verdict.index >= 0
        assert not found.all()
        at_index = logits[found, verdict.index[found]][:, list(reference_mapper.verdict_token_ids)] / 10.0
        expected = torch.nn.functional.cross_entropy(at_index, labels[found], reduction="sum") / (found.sum() + 1e-6)
        loss = classification_loss(verdict.fake_logit, verdict.index, labels)
        torch.testing.assert_close(loss, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("temperature", [10.0, 0.5])
@pytest.mark.parametrize("learn", [True, False])
def test_equals_loops(ids, temperature, learn):
    logits, labels = random_logits(ids), torch.tensor([1, 0, 0, 1, 1])
    indices, probabilities, loss = loop_twin(logits, ids, labels, temperature)
    verdict = mapper(temperature=temperature, learn_temperature=learn)(logits)
    assert verdict.index.tolist() == indices == [7, -1, 6, -1, 5]
    assert verdict.fake_probability.tolist() == pytest.approx(probabilities, rel=1e-6, nan_ok=True)
    assert verdict.fake_logit[[1, 3]].tolist() == [0, 0]
    assert classification_loss(verdict.fake_logit, verdict.index, labels).item() == pytest.approx(loss, rel=1e-6)


def test_pattern_positions(ids):
    assert find_pattern(ids, PATTERN).tolist() == [2, -1, 1, 9, 0]
    assert find_pattern(ids, [FAKE]).tolist() == [7, 4, 12, -1, -1]
    assert find_pattern(ids[:, :3], PATTERN).tolist() == [-1] * 5
    assert find_pattern(ids[:, :0], PATTERN).tolist() == [-1] * 5


def test_labels_and_predictions_give_the_same_index(ids):
    """Teacher-forced logits at k predict the label at k + 1."""
    predicted = random_logits(ids[:, 1:])
    logits = torch.cat([predicted, predicted[:, -1:]], dim=1)
    labels = ids.clone()
    labels[:, 0] = -100
    by_label, by_argmax = mapper(search="labels")(logits, labels), mapper()(logits, labels)
    kept = [0, 2]
    assert by_label.index[kept].tolist() == by_argmax.index[kept].tolist() == [6, 5]
    assert [labels[row, by_label.index[row] + 1].item() for row in kept] == [FAKE, REAL]
    assert torch.equal(by_label.fake_logit[kept], by_argmax.fake_logit[kept])


def test_label_search_does_not_need_the_pattern_in_the_predictions(ids):
    logits = random_logits(torch.full_like(ids, FILLER))
    assert mapper()(logits, ids).index.tolist() == [-1] * 5
    assert mapper(search="labels")(logits, ids).index.tolist() == [6, -1, 5, 13, 4]
    assert mapper(search="labels")(logits).index.tolist() == [-1] * 5  # without labels: the predictions


@pytest.mark.parametrize("learn", [True, False])
def test_gradient(ids, learn):
    labels = torch.tensor([1, 0, 0, 1, 1])
    network = mapper(temperature=2.0, learn_temperature=learn).double()

    def loss(logits):
        verdict = network(logits)
        return classification_loss(verdict.fake_logit, verdict.index, labels)

    logits = random_logits(ids).requires_grad_()
    loss(logits).backward()
    expected = torch.zeros_like(logits)
    by_temperature = 0.0
    tau = network.log_temperature.exp().item() if learn else 2.0
    for index in (0, 2, 4):
        k = {0: 7, 2: 6, 4: 5}[index]
        difference = (logits[index, k, FAKE] - logits[index, k, REAL]).item()
        error = 1 / (1 + math.exp(-difference / tau)) - labels[index].item()
        expected[index, k, FAKE], expected[index, k, REAL] = error / tau / (3 + 1e-6), -error / tau / (3 + 1e-6)
        by_temperature -= error * difference / tau / (3 + 1e-6)
    torch.testing.assert_close(logits.grad, expected, rtol=1e-6, atol=1e-12)
    if learn:
        assert network.log_temperature.grad.item() == pytest.approx(by_temperature, rel=1e-6)
        assert torch.autograd.gradcheck(lambda _: loss(logits.detach()), network.log_temperature)


def test_constant_temperature_is_no_parameter():
    assert [*mapper(learn_temperature=False).state_dict()] == []
    learned = mapper(temperature=4.0)
    assert learned.log_temperature.exp().item() == pytest.approx(4.0)
    assert learned.log_temperature.shape == (1,)


def test_no_match_is_exactly_zero_with_zero_gradients(ids):
    network = mapper()
    logits = random_logits(ids[[1, 3]], dtype=torch.float32).requires_grad_()
    verdict = network(logits)
    loss = classification_loss(verdict.fake_logit, verdict.index, torch.tensor([0, 1]))
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()
    assert network.log_temperature.grad == 0
    assert verdict.fake_probability.isnan().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sixteen_bit_logits_are_divided_in_32(ids, dtype):
    network = torch.nn.ModuleList([mapper()]).to(dtype)[0]
    assert network.log_temperature.dtype == torch.float32
    logits = random_logits(ids, dtype=dtype).requires_grad_()
    verdict = network(logits)
    labels = torch.tensor([1, 0, 0, 1, 1])
    _, probabilities, expected = loop_twin(logits.detach().double(), ids, labels, 10.0)
    loss = classification_loss(verdict.fake_logit, verdict.index, labels)
    loss.backward()
    assert verdict.fake_logit.dtype == verdict.fake_probability.dtype == loss.dtype == torch.float32
    assert verdict.fake_probability.tolist() == pytest.approx(probabilities, rel=1e-5, nan_ok=True)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert logits.grad.dtype == dtype


# new tokens of generate -> position of the verdict
GENERATED = {
    "both tags and the pattern": (row(1, PATTERN, FAKE, 12, TAG, PAD), 6),
    "the wording of Fig. 8": (row(1, TAG, 12, 13, 5, 6, FAKE, 12, TAG, PAD), 7),
    "Fig. 8, real or fake before the tag": (row(FAKE, REAL, TAG, 13, 6, REAL, TAG, PAD), 6),
    "Fig. 8, both words": (row(TAG, REAL, 13, FAKE, TAG, PAD), 4),
    "the pattern first, other words behind": (row(PATTERN, REAL, TAG, FAKE), 5),
    "the pattern and neither word": (row(PATTERN, 12, TAG), 5),
    "no tag": (row(4, 5, 6, FAKE), -1),
    "no verdict behind the tag": (row(FAKE, TAG, 12, TAG), -1),
    "cut off behind the pattern": ([FILLER] * 9 + [*PATTERN], -1),
    "cut off within the tag": ([FAKE] * 13 + [TAG[0]], -1),
}


@pytest.mark.parametrize("name", GENERATED)
def test_verdict_of_generated_tokens(name):
    ids, expected = torch.tensor([GENERATED[name][0]]), GENERATED[name][1]
    scores = torch.randn(1, 14, 2, generator=torch.Generator().manual_seed(0))
    verdict = mapper().from_generation(ids, scores, TAG)
    assert verdict.index.tolist() == [expected]
    if expected < 0:
        assert verdict.fake_probability.isnan().all()
    else:
        difference = scores[0, expected, 1] - scores[0, expected, 0]
        assert verdict.fake_probability.item() == pytest.approx((difference / 10).sigmoid().item(), rel=1e-6)


def test_rows_of_a_generated_batch_do_not_depend_on_each_other():
    ids = torch.tensor([ids for ids, _ in GENERATED.values()])
    scores = torch.randn(len(ids), 14, 2, generator=torch.Generator().manual_seed(0))
    verdict = mapper().from_generation(ids, scores, TAG)
    assert verdict.index.tolist() == [index for _, index in GENERATED.values()]


def test_both_wordings_of_the_conclusion_in_the_real_vocabulary(fakereasoning_parity, reference_mapper):
    """The index is behind the pattern or, where a text has another wording, at its last token real or fake."""
    tokens = fakereasoning_parity["tokens"]
    pattern = tokens["pattern"]
    tag = pattern[: tokens["pattern_pieces"].index(">") + 1]
    assert {variant["pattern_found"] for variant in tokens["variants"]} == {True, False}
    for variant in tokens["variants"]:
        ids = torch.tensor([variant["ids"]])
        start = find_pattern(ids, pattern).item()
        assert (start >= 0) == variant["pattern_found"]
        verdicts = [k for k, token in enumerate(variant["ids"]) if token in reference_mapper.verdict_token_ids]
        expected = start + len(pattern) if start >= 0 else max(verdicts, default=-1)
        verdict = reference_mapper.from_generation(ids, torch.zeros(*ids.shape, 2), tag)
        assert verdict.index.tolist() == [expected], variant["text"]


def test_works_where_an_adapter_saves_it(ids):
    wrapped = ModulesToSaveWrapper(mapper(), "default")
    logits = random_logits(ids)
    assert torch.equal(wrapped(logits).fake_logit, mapper()(logits).fake_logit)
    scores = logits[:, :, [REAL, FAKE]]
    assert wrapped.from_generation(ids, scores, TAG).index.tolist() == [7, 4, 6, -1, 5]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"search": "beam"}, "search must be one of argmax, labels, got 'beam'"),
        ({"temperature": -1.0}, "expected pattern ids and a temperature > 0"),
        ({"pattern_ids": ()}, r"expected pattern ids and a temperature > 0, got \(\) and 10.0"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        ClassificationProbabilityMapper(
            **{"pattern_ids": PATTERN, "real_token_id": REAL, "fake_token_id": FAKE} | settings
        )


def test_docstring_examples():
    results = doctest.testmod(classification_probability, extraglobs={"torch": torch})
    assert results.attempted >= 1
    assert results.failed == 0
