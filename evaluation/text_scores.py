"""How close a text is to a reference: BLEU-1, BLEU-2, ROUGE-L, and the cosine of sentence embeddings (CSS).

The numbers of FakeReasoning (section 5.1) and, ROUGE-L and CSS, of LEGION. BLEU and ROUGE are those of nltk and
rouge-score; which embeddings CSS compares is the caller's choice.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
# Takes N texts, returns (N, D) numbers.
TextEmbedder = Callable[[list[str]], ArrayLike]

# Weights of the n-gram precisions; no smoothing, as in FakeReasoning's evaluation script.
BLEU_WEIGHTS = {"bleu1": (1.0,), "bleu2": (0.5, 0.5)}
ROUGE_L, CSS = "rouge_l", "css"
TEXT_METRICS = (*BLEU_WEIGHTS, ROUGE_L, CSS)
INSTALL = 'BLEU and ROUGE need nltk and rouge-score: pip install "forgescope[text]"'


def bleu(prediction: str, reference: str, metric: str = "bleu1") -> float:
    """Compute the BLEU of one text, split at white space, case and punctuation kept, without smoothing.

    Args:
        prediction: the text.
        reference: what it is compared with.
        metric: `bleu1`, precision of words, or `bleu2`, geometric mean of the precisions of words and pairs; both
            times the brevity penalty.

    Returns:
        0 to 1; 0 where one of the precisions is.

    Raises:
        ValueError: another metric.
        ImportError: nltk is missing.
    """
    if metric not in BLEU_WEIGHTS:
        raise ValueError(f"expected {' or '.join(BLEU_WEIGHTS)}, got {metric!r}")
    try:
        from nltk.translate.bleu_score import sentence_bleu
    except ImportError as error:
        raise ImportError(INSTALL) from error
    with warnings.catch_warnings():
        # nltk warns of every text without a common pair, whose score is 0 without smoothing
        warnings.simplefilter("ignore", UserWarning)
        return float(sentence_bleu([reference.split()], prediction.split(), weights=BLEU_WEIGHTS[metric]))


def rouge_l(prediction: str, reference: str) -> float:
    """Compute the F1 of the longest common subsequence of lower-case, stemmed words.

    Returns:
        0 to 1.

    Raises:
        ImportError: rouge-score is missing.
    """
    return float(_rouge_scorer().score(reference, prediction)["rougeL"].fmeasure)


def semantic_similarity(predictions: Sequence[str], references: Sequence[str], embedder: TextEmbedder) -> FloatArray:
    """Compute the cosine of the embeddings of each text and its reference (CSS).

    Args:
        predictions: N texts.
        references: N texts.
        embedder: takes a list of texts, returns (N, D) numbers; each different text is embedded once.

    Returns:
        (N,) -1 to 1; 0 where an embedding is all zeros.

    Raises:
        ValueError: other numbers of texts, or embeddings of another form.
    """
    _check_pairs(predictions, references)
    if not len(predictions):
        return np.zeros(0)
    texts = list(dict.fromkeys([*predictions, *references]))
    vectors = np.asarray(embedder(texts), dtype=np.float64)
    if vectors.ndim != 2 or len(vectors) != len(texts):
        raise ValueError(f"the embedder must return ({len(texts)}, D) numbers, got {vectors.shape}")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    place = {text: number for number, text in enumerate(texts)}
    first, second = (unit[[place[text] for text in side]] for side in (predictions, references))
    return (first * second).sum(axis=1)


def text_scores(
    predictions: Sequence[str | None], references: Sequence[str], embedder: TextEmbedder | None = None
) -> dict[str, FloatArray]:
    """Compute every score of pairs of texts.

    Args:
        predictions: N texts; one that is missing (None) or blank counts 0 in every score.
        references: N texts.
        embedder: of CSS; None: no CSS.

    Returns:
        `bleu1`, `bleu2`, `rouge_l` and, with an embedder, `css`, each (N,).

    Raises:
        ValueError: other numbers of texts, or embeddings of another form.
        ImportError: nltk or rouge-score is missing.
    """
    _check_pairs(predictions, references)
    pairs = [(text or "", reference) for text, reference in zip(predictions, references, strict=True)]
    written = np.array([bool(text.strip()) for text, _ in pairs], dtype=bool)
    scores: dict[str, FloatArray] = {name: np.array([bleu(*pair, name) for pair in pairs]) for name in BLEU_WEIGHTS}
    scores[ROUGE_L] = np.array([rouge_l(*pair) for pair in pairs])
    if embedder is not None:
        kept = [pair for pair, has_text in zip(pairs, written, strict=True) if has_text]
        scores[CSS] = np.zeros(len(pairs))
        scores[CSS][written] = semantic_similarity([one for one, _ in kept], [two for _, two in kept], embedder)
    return scores


def _check_pairs(predictions: Sequence[Any], references: Sequence[str]) -> None:
    if isinstance(predictions, str) or isinstance(references, str):
        raise ValueError("expected lists of texts, got one text")
    if len(predictions) != len(references):
        raise ValueError(f"expected as many texts as references, got {len(predictions)} and {len(references)}")


@lru_cache(maxsize=1)
def _rouge_scorer() -> Any:
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise ImportError(INSTALL) from error
    return RougeScorer(["rougeL"], use_stemmer=True)
