"""Which token ids FakeReasoning's verdict consists of, asked of the tokenizer (paper: section 4.3, Eq. 6 to 8)."""

from typing import Any, NamedTuple

# what is said of both kinds of images, alike up to the last word
CONCLUSION = "<CONCLUSION> This image is {label}"
CONCLUSION_TAG = "<CONCLUSION>"


class VerdictIds(NamedTuple):
    """Token ids with which the probability mapper finds the conclusion and reads it (Eq. 6 to 8).

    Attributes:
        conclusion_pattern_ids: `CONCLUSION> This image is`; without `<`, which merges with what stands before it.
        conclusion_tag_ids: `CONCLUSION>`.
        real_token_id: `real` after the pattern.
        fake_token_id: `fake` after the pattern.
    """

    conclusion_pattern_ids: tuple[int, ...]
    conclusion_tag_ids: tuple[int, ...]
    real_token_id: int
    fake_token_id: int


def verdict_ids_of(tokenizer: Any) -> VerdictIds:
    """Ids of the conclusion as a tokenizer writes it.

    Args:
        tokenizer: one that `prepare_tokenizer` has seen.

    Raises:
        ValueError: a tokenizer that does not write "real" and "fake" as one token each.
    """
    texts = [CONCLUSION.format(label="real"), CONCLUSION.format(label="fake"), CONCLUSION_TAG]
    real, fake, tag = tokenizer(texts, add_special_tokens=False)["input_ids"]
    if real[:-1] != fake[:-1] or real == fake:
        raise ValueError(f"expected a tokenizer with one token for real and one for fake, got {real} and {fake}")
    return VerdictIds(tuple(real[1:-1]), tuple(tag[1:]), real[-1], fake[-1])


__all__ = ["VerdictIds", "verdict_ids_of"]
