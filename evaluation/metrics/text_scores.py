"""BLEU-1, BLEU-2, ROUGE-L and CSS of texts as an `evaluate` module."""

from forgescope.evaluation import metric_base


class TextScores(metric_base.TextMetric):
    """BLEU-1, BLEU-2 and ROUGE-L, and with an embedder CSS: means over the texts."""
