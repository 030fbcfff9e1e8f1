"""The tokens that LEGION adds to Llama's vocabulary, and texts of ids that contain them."""

from typing import Any

from tokenizers import AddedToken

from .grounded_text import PHRASE_END, PHRASE_START, SEG_TOKEN

IMAGE_START, IMAGE_END = "<im_start>", "<im_end>"
# in the order of their ids, from 32000 on; the third and fourth are never used
ADDED_TOKENS = (IMAGE_START, IMAGE_END, "<bbox>", "<point>", SEG_TOKEN, PHRASE_START, PHRASE_END)


def add_grounding_tokens(tokenizer: Any) -> None:
    """Give a Llama tokenizer the seven tokens of LEGION, or mend those that it has; it is changed in place.

    Blanks on both sides of such a token belong to it, as in the tokenizer that published checkpoints were trained
    with. Otherwise a blank would come before each `[SEG]`, and masks be asked for with the state of that blank.
    """
    tokens = [AddedToken(one, lstrip=True, rstrip=True, normalized=False, special=True) for one in ADDED_TOKENS]
    tokenizer.add_tokens(tokens, special_tokens=True)


def decode_grounded(tokenizer: Any, ids: list[int], skipped: set[int]) -> str:
    """Text of ids up to `</s>`, with one blank around each added token.

    Args:
        tokenizer: with the tokens of `add_grounding_tokens`.
        ids: what a model generated, with or without the prompt.
        skipped: ids to leave out, such as those of `<s>`, padding and images.
    """
    if tokenizer.eos_token_id in ids:
        ids = ids[: ids.index(tokenizer.eos_token_id)]
    tags = dict(zip(tokenizer.convert_tokens_to_ids(list(ADDED_TOKENS)), ADDED_TOKENS, strict=True))
    parts: list[str] = []
    words: list[int] = []
    for one in [*ids, None]:
        if one is not None and one not in tags:
            words += [one] if one not in skipped else []
            continue
        # a [SEG] that is spelled out in ordinary tokens has no mask
        parts.append(tokenizer.decode(words).replace(SEG_TOKEN, "SEG").strip())
        parts.append(tags[one] if one is not None else "")
        words = []
    return " ".join(part for part in parts if part)


__all__ = ["ADDED_TOKENS", "IMAGE_END", "IMAGE_START", "add_grounding_tokens", "decode_grounded"]
