"""BLEU, ROUGE-L and CSS beside their definitions written out, and the encoders beside the plain models."""

import math
import re
import sys
from collections import Counter

import evaluate
import numpy as np
import pytest
import torch
from nltk.stem.porter import PorterStemmer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, CLIPConfig, CLIPModel, PreTrainedTokenizerFast

from forgescope.evaluation.metrics import metric_path
from forgescope.evaluation.text_encoders import clip_text_encoder, load_text_encoder, mean_pooled_encoder
from forgescope.evaluation.text_scores import bleu, rouge_l, semantic_similarity, text_scores

WORDS = ["the", "light", "on", "face", "does", "not", "match", "its", "edges", "and", "shadows", "fall", "naturally"]
STEMMED = PorterStemmer()


def sentences(count, seed=0):
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, random.integers(3, 15))) for _ in range(count)]


def slow_bleu(prediction, reference, order):
    """Geometric mean of clipped n-gram precisions, times the brevity penalty."""
    predicted, wanted = prediction.split(), reference.split()
    if not predicted:
        return 0.0
    logs = []
    for n in range(1, order + 1):
        grams, known = (
            Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1)) for words in (predicted, wanted)
        )
        clipped = sum(min(count, known[gram]) for gram, count in grams.items())
        if not clipped:
            return 0.0
        logs.append(math.log(clipped / sum(grams.values())))
    brevity = min(0.0, 1 - len(wanted) / len(predicted))
    return math.exp(sum(logs) / order + brevity)


def slow_rouge_l(prediction, reference):
    """F1 of the longest common subsequence, by recursion over prefixes."""
    first, second = (
        [STEMMED.stem(word) if len(word) > 3 else word for word in re.findall("[a-z0-9]+", text.lower())]
        for text in (prediction, reference)
    )
    longest = {}
    for i in range(len(first) + 1):
        for j in range(len(second) + 1):
            if not i or not j:
                longest[i, j] = 0
            elif first[i - 1] == second[j - 1]:
                longest[i, j] = longest[i - 1, j - 1] + 1
            else:
                longest[i, j] = max(longest[i - 1, j], longest[i, j - 1])
    common = longest[len(first), len(second)]
    return 2 * common / (len(first) + len(second)) if common else 0.0


@pytest.mark.parametrize(("metric", "order"), [("bleu1", 1), ("bleu2", 2)])
def test_bleu_equals_its_definition(metric, order):
    values = []
    for prediction, reference in zip(sentences(40), sentences(40, seed=1), strict=True):
        value = bleu(prediction, reference, metric)
        assert value == pytest.approx(slow_bleu(prediction, reference, order), abs=1e-12)
        values.append(value)
    assert len(set(values)) > 20


def test_bleu_by_hand():
    # 3 of 4 words, 1 of 3 pairs; as long as the reference
    assert bleu("the light does match", "the light on match") == pytest.approx(3 / 4)
    assert bleu("the light does match", "the light on match", "bleu2") == pytest.approx(math.sqrt(3 / 4 / 3))
    # one word of one, but the reference has four
    assert bleu("the", "the light on match") == pytest.approx(math.exp(-3))
    # case and full stops are part of the words; no smoothing where no pair is common
    assert bleu("The light.", "the light") == 0
    assert bleu("b a", "a b", "bleu2") == pytest.approx(0, abs=1e-100)
    with pytest.raises(ValueError, match="expected bleu1 or bleu2, got 'bleu4'"):
        bleu("a", "a", "bleu4")


def test_rouge_l_equals_its_definition():
    for prediction, reference in zip(sentences(40), sentences(40, seed=1), strict=True):
        assert rouge_l(prediction, reference) == pytest.approx(slow_rouge_l(prediction, reference), abs=1e-12)
    assert rouge_l("The SHADOWS, matching!", "the shadow matches") == 1
    assert rouge_l("", "the light") == 0


def test_similarity_is_the_cosine_of_each_pair():
    table = {"a": [3.0, 4.0], "b": [4.0, 3.0], "c": [-3.0, -4.0], "d": [0.0, 0.0]}
    asked = []

    def embedder(texts):
        asked.append(texts)
        return np.array([table[text] for text in texts])

    found = semantic_similarity(["a", "a", "a", "d"], ["a", "b", "c", "a"], embedder)
    assert found == pytest.approx([1, 24 / 25, -1, 0])
    assert asked == [["a", "d", "b", "c"]]  # each text once
    assert semantic_similarity([], [], embedder).shape == (0,)
    with pytest.raises(ValueError, match=re.escape("the embedder must return (2, D) numbers, got (2,)")):
        semantic_similarity(["a"], ["b"], lambda texts: np.zeros(2))


def test_missing_texts_count_zero():
    scores = text_scores(["the light", None, "  "], ["the light"] * 3, lambda texts: np.ones((len(texts), 2)))
    assert {name: values.tolist() for name, values in scores.items()} == {
        name: [pytest.approx(1), 0, 0] for name in ("bleu1", "bleu2", "rouge_l", "css")
    }
    assert "css" not in text_scores(["a"], ["a"])
    assert [values.shape for values in text_scores([], []).values()] == [(0,)] * 3
    with pytest.raises(ValueError, match="expected as many texts as references, got 1 and 2"):
        text_scores(["a"], ["a", "b"])
    with pytest.raises(ValueError, match="expected lists of texts, got one text"):
        text_scores("a", "a")


@pytest.mark.parametrize(
    ("package", "score"), [("nltk.translate.bleu_score", bleu), ("rouge_score.rouge_scorer", rouge_l)]
)
def test_a_missing_package_is_named(monkeypatch, package, score):
    from forgescope.evaluation import text_scores as module

    module._rouge_scorer.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=re.escape('pip install "forgescope[text]"')):
        score("a", "a")


def test_evaluate_module(tmp_path):
    metric = evaluate.load(metric_path("text_scores"), cache_dir=str(tmp_path))
    pairs = list(zip(sentences(5), sentences(5, seed=1), strict=True))
    metric.add(prediction=pairs[0][0], reference=pairs[0][1])
    metric.add_batch(predictions=[one for one, _ in pairs[1:]], references=[two for _, two in pairs[1:]])
    assert metric.compute() == {
        "text_bleu1": pytest.approx(np.mean([slow_bleu(*pair, 1) for pair in pairs])),
        "text_bleu2": pytest.approx(np.mean([slow_bleu(*pair, 2) for pair in pairs])),
        "text_rouge_l": pytest.approx(np.mean([slow_rouge_l(*pair) for pair in pairs])),
    }
    with_css = metric.compute(predictions=["a"], references=["b"], embedder=lambda texts: np.eye(len(texts)))
    assert with_css["text_css"] == 0


@pytest.fixture(scope="module")
def tokenizer():
    """Words as tokens, `<s>` and `</s>` around a text."""
    tokens = {token: number for number, token in enumerate(["<pad>", "<s>", "</s>", "<unk>", *WORDS])}
    backend = Tokenizer(models.WordLevel(tokens, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **names)


SIZES = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


def test_mean_pooling_equals_one_text_at_a_time(tokenizer, tmp_path):
    torch.manual_seed(0)
    model = BertModel(BertConfig(**SIZES, vocab_size=len(tokenizer), max_position_embeddings=10)).eval()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    encoder = mean_pooled_encoder(str(tmp_path), "cpu")
    texts = [*sentences(4), " ".join(WORDS * 2)]
    with torch.no_grad():
        alone = [
            model(**tokenizer(text, truncation=True, max_length=10, return_tensors="pt")).last_hidden_state.mean(dim=1)
            for text in texts
        ]
    assert encoder(texts) == pytest.approx(torch.cat(alone).numpy(), abs=1e-5)
    assert encoder.description == f"{tmp_path}, mean of the last hidden states, 10 tokens at most"
    assert text_scores(texts, texts, encoder)["css"] == pytest.approx(np.ones(5))

    half = BertModel(BertConfig(**SIZES, vocab_size=len(tokenizer)))
    del half.encoder.layer[0].output.dense
    half.save_pretrained(tmp_path / "half")
    with pytest.raises(ValueError, match="2 weights of the text encoder '.*half' are missing, among them encoder"):
        mean_pooled_encoder(str(tmp_path / "half"), "cpu")


def test_clip_gives_its_own_text_embedding(tokenizer, tmp_path):
    torch.manual_seed(0)
    text = {**SIZES, "vocab_size": len(tokenizer), "max_position_embeddings": 8, "eos_token_id": 3, "pad_token_id": 0}
    vision = {**SIZES, "image_size": 8, "patch_size": 4}
    model = CLIPModel(
        CLIPConfig(text_config=text | {"eos_token_id": 2}, vision_config=vision, projection_dim=6)
    ).eval()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    encoder = load_text_encoder(str(tmp_path), "cpu")
    texts = [*sentences(3), " ".join(WORDS * 2)]
    tokens = tokenizer(texts, padding=True, truncation=True, max_length=8, return_tensors="pt")
    with torch.no_grad():
        hidden = model.text_model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
        expected = model.text_projection(hidden.pooler_output)
    assert encoder(texts) == pytest.approx(expected.numpy(), abs=1e-5)
    assert encoder.description == f"{tmp_path}, CLIP's text embedding, 8 tokens at most"
    # texts are cut, and a text alone has the vector that it has in a batch
    assert clip_text_encoder(str(tmp_path), "cpu")(texts[:1]) == pytest.approx(expected[:1].numpy(), abs=1e-5)
