"""The answer of LEGION: phrases tagged in a caption for training, and read back with their explanations and masks.

Paper: LEGION, sections 4.1 and 5; GLaMM has the form from "grounded conversation generation". An answer is

    ... <p> The left hand </p> [SEG]: the fingers are fused. <p> The eyes </p> [SEG]: their shapes differ.

and every `[SEG]` has a mask, in the same order. The paper writes `<SEG>`, the published code and weights `[SEG]`. An
explanation is the text from its `[SEG]` to the next phrase; the paper gives no rule for it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

PHRASE_START = "<p>"
PHRASE_END = "</p>"
SEG_TOKEN = "[SEG]"
# the question that published checkpoints were trained with: the artifact prior of appendix B.1
QUESTION = (
    "Please provide a detailed analysis of artifacts in this photo, considering physical artifacts (e.g., optical "
    "display issues, violations of physical laws, and spatial/perspective errors), structural artifacts (e.g., "
    "deformed objects, asymmetry, or distorted text), and distortion artifacts (e.g., color/texture distortion, "
    "noise/blur, artistic style errors, and material misrepresentation). Output with interleaved segmentation masks "
    "for the corresponding parts of the answer."
)

TAG = re.compile(r"(<p>|</p>|\[SEG\])")
# whatever a tokenizer may leave in a text besides words, with the blanks around it
TAGS_AND_BLANKS = r"(?:\s*(?:</?p>|\[SEG\]|</?s>|<unk>|<im_start>|<im_end>|<image>|<bbox>|<point>))+\s*"
PUNCTUATION = r"(?=[.,:;!?)]|$)"
# stands for each character of a caption that a phrase has taken
TAKEN = "\0"
# the rest of a phrase, from its first to its last letter
FREE_PART = re.compile(r"\w(?:[^\0]*\w)?")
# characters of a phrase that a message shows
SHOWN_CHARACTERS = 40


@dataclass
class GroundedPhrase:
    """One artifact of an answer.

    Args:
        phrase: where it is, such as `The left hand`; empty for a `[SEG]` that follows no phrase.
        explanation: what is wrong there, without the colon before it; may be empty.
        seg_index: its `[SEG]`, and so its mask, among those of the answer, from 0; None where it has none.
    """

    phrase: str
    explanation: str = ""
    seg_index: int | None = None


@dataclass
class GroundedText:
    """What an answer says.

    Args:
        text: the answer without tags.
        phrases: the artifacts, in their order.
        problems: what is not as it should be, one sentence each; empty for an answer in the form above.
    """

    text: str
    phrases: list[GroundedPhrase] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def write_grounded_text(caption: str, sentences: Sequence[str], authors_way: bool = False) -> tuple[str, list[int]]:
    """Tag phrases in a caption, as an answer to be learnt.

    Every phrase gets a place of its own, longer ones first: one before a colon if there is any, in the same case, as
    whole words, and then the first. Where all its places overlap longer ones, it is cut to what they leave.

    Args:
        caption: the whole answer without tags; quotation marks and blanks around it are dropped.
        sentences: its phrases, in any order; the same may come several times.
        authors_way: tag the first place of each phrase whatever else is there, as the published code does: repeated
            and nested phrases then break each other's tags, and a phrase may be tagged in the general description.

    Returns:
        The text with `<p> phrase </p> [SEG]`, and for each `[SEG]` the number of its phrase, by which masks are to be
        put in order. Phrases that have no place are missing there, and their masks must be left out.

    Raises:
        ValueError: a text that contains tags already.

    Example:
        >>> write_grounded_text("I see: eye: odd. hand: fused.", ["hand", "eye"])
        ('I see: <p> eye </p> [SEG]: odd. <p> hand </p> [SEG]: fused.', [1, 0])
    """
    for text in (caption, *sentences):
        if tag := TAG.search(text):
            raise ValueError(f"expected texts without tags, got {tag[0]} in {text[:SHOWN_CHARACTERS]!r}")
    text = caption.strip('"').strip()
    if authors_way:
        found = {number: text.find(one) for number, one in enumerate(sentences) if one in text}
        spans = {number: (start, start + len(sentences[number])) for number, start in found.items()}
    else:
        spans = _own_spans(text, sentences)
    order = sorted(spans, key=lambda number: spans[number][0])
    # from the end, so that places before it stay valid; of equal places the first is tagged first
    for number in sorted(spans, key=lambda number: spans[number][0], reverse=True):
        start, end = spans[number]
        text = f"{text[:start]}{PHRASE_START} {text[start:end]} {PHRASE_END} {SEG_TOKEN}{text[end:]}"
    return text, order


def parse_grounded_text(text: str) -> GroundedText:
    """Read an answer; whatever is wrong with it is listed in `problems`, never raised.

    Args:
        text: what a model wrote, or a text of the data set, with its tags.

    Returns:
        Every phrase and every `[SEG]`. A `[SEG]` without a phrase has an empty one; a phrase without `[SEG]` is kept.
    """
    pieces = TAG.split(text)
    phrases: list[GroundedPhrase] = []
    problems: list[str] = []
    segs, is_open = 0, False
    for tag, following in zip(pieces[1::2], pieces[2::2], strict=True):
        if tag == PHRASE_START:
            if is_open:
                problems.append(f"{_named(phrases)} has no {PHRASE_END}")
            phrases.append(GroundedPhrase(following))
            is_open = True
            continue
        if tag == PHRASE_END and not is_open:
            problems.append(f"a {PHRASE_END} has no {PHRASE_START}")
        if tag == SEG_TOKEN:
            if is_open:
                problems.append(f"{_named(phrases)} has no {PHRASE_END}")
            if not phrases or phrases[-1].seg_index is not None:
                phrases.append(GroundedPhrase(""))
                problems.append(f"{SEG_TOKEN} {segs + 1} has no phrase")
            phrases[-1].seg_index = segs
            segs += 1
        is_open = False
        if phrases:
            phrases[-1].explanation += following
    if is_open:
        problems.append(f"{_named(phrases)} has no {PHRASE_END}: the answer ends in it")
    read = []
    for number, one in enumerate(phrases, start=1):
        phrase = GroundedPhrase(plain_text(one.phrase), plain_text(one.explanation).lstrip(": "), one.seg_index)
        if phrase.seg_index is not None or phrase.phrase:
            read.append(phrase)
        if phrase.seg_index is None:
            problems.append(f"phrase {number} ({phrase.phrase[:SHOWN_CHARACTERS]!r}) has no {SEG_TOKEN}")
    return GroundedText(plain_text(text), read, problems)


def plain_text(text: str, authors_way: bool = False) -> str:
    """A text without tags, on one line.

    Args:
        text: with tags or without.
        authors_way: clean up as the published code does before it scores: lines are joined without a blank, and
            everything between `<` and `>` goes, and so does what stands before the last `ASSISTANT: `.
    """
    if authors_way:
        text = text.replace("\n", "").replace("  ", " ").split("ASSISTANT: ")[-1]
        text = re.sub(r"<.*?>", "", text).replace(SEG_TOKEN, "")
        return " ".join(text.split()).strip("'").strip()
    text = re.sub(TAGS_AND_BLANKS + PUNCTUATION, "", text)
    return " ".join(re.sub(TAGS_AND_BLANKS, " ", text).split())


def _own_spans(caption: str, sentences: Sequence[str]) -> dict[int, tuple[int, int]]:
    """Number of a phrase -> its place; no two overlap."""
    spans: dict[int, tuple[int, int]] = {}
    free = caption  # with what is taken blacked out
    for number in sorted(range(len(sentences)), key=lambda number: len(sentences[number].strip()), reverse=True):
        span = _best_span(caption, free, sentences[number].strip())
        if span is not None:
            spans[number] = span
            free = free[: span[0]] + TAKEN * (span[1] - span[0]) + free[span[1] :]
    return spans


def _best_span(caption: str, free: str, phrase: str) -> tuple[int, int] | None:
    """The best place of a phrase, see `write_grounded_text`."""
    ranked = []
    for match in re.finditer(re.escape(phrase), caption, re.IGNORECASE) if phrase else ():
        start, end = match.span()
        left = [(start, end)]
        if TAKEN in free[start:end]:
            left = [(start + part.start(), start + part.end()) for part in FREE_PART.finditer(free[start:end])]
        if left:
            is_explained = re.match(r"\s*:", caption[end:]) is not None
            is_whole = not re.match(r"\w\w", caption[start - 1 : start + 1]) and not re.match(
                r"\w\w", caption[end - 1 : end + 1]
            )
            span = max(left, key=lambda part: part[1] - part[0])
            ranked.append((span != (start, end), not is_explained, match[0] != phrase, not is_whole, span))
    return min(ranked)[-1] if ranked else None


def _named(phrases: Sequence[GroundedPhrase]) -> str:
    """The last phrase, for a message."""
    return f"phrase {len(phrases)} ({plain_text(phrases[-1].phrase)[:SHOWN_CHARACTERS]!r})"


__all__ = [
    "PHRASE_END",
    "PHRASE_START",
    "QUESTION",
    "SEG_TOKEN",
    "GroundedPhrase",
    "GroundedText",
    "parse_grounded_text",
    "plain_text",
    "write_grounded_text",
]
