"""A tokenizer with the pieces and ids of LEGION's fixture; its own SentencePiece model is not in the fixture.

from fixture_tokenizer import fixture_tokenizer, words_between_tags

Pieces are those of the fixture's probes; ids that occur only in its conversations get what the texts leave for them.
Scores are learnt until every text of the fixture is cut as it is there: equal ids say that blanks, added tokens and
the texts are right, not how other texts would be cut.
"""

import re
from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from forgescope.processing.grounding_tokens import ADDED_TOKENS

BLANK = "▁"
SPECIAL_TOKENS = ("<unk>", "<s>", "</s>")
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
ROUNDS = 300
IMAGE_SENTINEL = -200


def characters(pieces: Sequence[str]) -> str:
    """The text of pieces, blanks as in the vocabulary."""
    return "".join(chr(BYTES.index(piece)) if piece in BYTES else piece for piece in pieces)


def words_between_tags(pieces: Sequence[str]) -> list[str]:
    """Tags, and the texts between them: what does not depend on the vocabulary."""
    found = [""]
    for piece in pieces:
        if piece in (*ADDED_TOKENS, *SPECIAL_TOKENS):
            found += [piece, ""]
        else:
            found[-1] += characters([piece])
    return [one for one in found if one]


def segments(values: Sequence[Any], tags: Sequence[Any]) -> list[list[Any]]:
    """What stands between tags."""
    found: list[list[Any]] = [[]]
    for value in values:
        if value in tags:
            found.append([])
        else:
            found[-1].append(value)
    return [one for one in found if one]


def texts_between_tags(text: str) -> list[str]:
    """As `segments`, of a text, with the blank that Llama adds before each."""
    tags = "|".join(map(re.escape, (*ADDED_TOKENS, *SPECIAL_TOKENS, "<image>")))
    return [BLANK + one.replace(" ", BLANK) for one in re.split(rf"\s*(?:{tags})\s*", text) if one]


def spelled(ids: Sequence[int], text: str, names: dict[int, str]) -> dict[int, str] | None:
    """Names and those of further ids with which the ids spell the text; no two ids have the same."""
    for place, number in enumerate(ids):
        if number in names:
            known = characters([names[number]])
            if not text.startswith(known):
                return None
            text = text[len(known) :]
            continue
        for length in range(1, len(text) + 1):
            piece = text[:length]
            if BLANK in piece[1:]:
                break
            if piece not in names.values():
                found = spelled(ids[place:], text, names | {number: piece})
                if found is not None:
                    return found
        return None
    return None if text else names


def named_ids(fixture: dict[str, Any]) -> tuple[dict[int, str], list[list[int]]]:
    """Pieces of ids, and the ids of every text between tags.

    Raises:
        ValueError: ids that do not spell the text of a conversation.
    """
    tags = {*fixture["meta"]["token_ids"].values(), *range(len(SPECIAL_TOKENS)), IMAGE_SENTINEL}
    names = {
        number: piece for one in fixture["tokens"] for number, piece in zip(one["ids"], one["tokens"], strict=True)
    }
    names |= dict(enumerate(BYTES, start=len(SPECIAL_TOKENS)))
    texts = [part for one in fixture["tokens"] for part in segments(one["ids"], tags)]
    batch = fixture["train"]["batch"]
    for ids, text in zip(batch["input_ids"].tolist(), batch["conversation_list"], strict=True):
        for part, words in zip(segments(ids, tags), texts_between_tags(text), strict=True):
            found = spelled(part, words, names)
            if found is None:
                raise ValueError(f"the fixture's ids {part} do not spell {words!r}")
            names = found
            texts.append(part)
    return names, texts


def fitted(pieces: list[str], texts: list[list[str]]) -> models.Unigram:
    """A unigram model that cuts the texts into these pieces.

    Raises:
        ValueError: if no scores are found with which it does.
    """
    scores = dict.fromkeys(pieces, -10.0)
    for _ in range(ROUNDS):
        model = models.Unigram(list(scores.items()), unk_id=0, byte_fallback=True)
        tokenizer, wrong = Tokenizer(model), 0
        for expected in texts:
            found = tokenizer.encode(characters(expected)).tokens
            if found != expected:
                wrong += 1
                for piece in expected:
                    scores[piece] += 0.01
                for piece in found:
                    scores[piece] -= 0.01
        if not wrong:
            return model
    raise ValueError(f"no unigram model cuts the texts of the fixture as they are there: {wrong} differ")


def fixture_tokenizer(fixture: dict[str, Any]) -> PreTrainedTokenizerFast:
    """A tokenizer as a checkpoint of the fixture's size would have it, without added tokens.

    Raises:
        ValueError: if the texts of the fixture do not tell how to cut them.
    """
    names, texts = named_ids(fixture)
    count = fixture["meta"]["vocab"] - len(ADDED_TOKENS)
    pieces = [*SPECIAL_TOKENS] + [names.get(number, f"<unused_{number}>") for number in range(3, count)]
    tokenizer = Tokenizer(fitted(pieces, [[names[number] for number in ids] for ids in texts]))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    strip = decoders.Strip(content=" ", left=1)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(BLANK, " "), decoders.ByteFallback(), decoders.Fuse(), strip]
    )
    unknown, start, end = SPECIAL_TOKENS
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=unknown, bos_token=start, eos_token=end)


__all__ = ["IMAGE_SENTINEL", "fixture_tokenizer", "words_between_tags"]
