"""The four-stage answer of FakeReasoning: written from its parts, and read back from what a model wrote.

Paper: FakeReasoning, section 3.2 and Figure 8. An answer is

    <SUMMARY> ... </SUMMARY> <CAPTION> ... </CAPTION> <REASONING> ... </REASONING> <CONCLUSION> ... </CONCLUSION>

with an empty line between the stages. The tags are ordinary text, no tokens of their own. The paper words the
conclusion "Based on the analysis above, this image is fake.", the published code looks for "This image is fake.".
"""

import re
from dataclasses import dataclass, field
from typing import Literal

ImageLabel = Literal["fake", "real"]

STAGES = ("SUMMARY", "CAPTION", "REASONING", "CONCLUSION")
LABELS: tuple[ImageLabel, ...] = ("real", "fake")
# the texts that published checkpoints were trained with (Figure 8)
QUESTION = (
    "Is this image real or fake? Please describe the image, reasoning step-by-step and conclude with "
    "'this image is real' or 'this image is fake'."
)
SUMMARY = (
    "I will determine if the image is real or fake by analyzing its content and identifying forgery attributes from "
    "both low-level and high-level perspectives. I will then conclude by stating either 'this image is real' or "
    "'this image is fake' based on my analysis."
)
CONCLUSIONS = {
    "this_image": "This image is {label}.",
    "based_on_analysis": "Based on the analysis above, this image is {label}.",
}

TAG = re.compile(rf"<\s*(/?)\s*({'|'.join(STAGES)})\s*>", re.IGNORECASE)
# what is left of a tag where the answer was cut off
CUT_TAG = re.compile(r"<\s*/?\s*([A-Za-z]*)$")
FAKE_WORDS = (
    r"(?:deep[-\s]?)?fake|(?:ai|computer|artificially)[-\s]+(?:generated|made|created|synthesi[sz]ed)"
    r"|(?:generated|made|created|synthesi[sz]ed)\s+by\s+(?:an?\s+)?ai|synthetic|artificial|forged|inauthentic"
)
REAL_WORDS = r"real(?!-|\s+(?:world|life))|authentic|genuine"
# "not", "isn't", "unlikely", and words that may stand between them and the word they negate
NEGATION = (
    r"\b(?:not|cannot|neither|nor|never|hardly|unlikely|without|far\s+from|\w+n['\u2019]t"
    r"|no\s+(?:evidence|indications?|signs?|traces?))\s+"
    r"(?:(?:an?|the|be|being|to|of|that|this|it|is|image|picture|photo|photograph|appear|seem|look|(?!only\b)\w+ly)\s+)"
    r"{0,5}"
)
CLAIM = re.compile(rf"(?P<negation>{NEGATION})?\b(?:(?P<fake>{FAKE_WORDS})|(?P<real>{REAL_WORDS}))\b", re.IGNORECASE)
UNDECIDED = re.compile(
    rf"\b(?:(?:{FAKE_WORDS})\s+or\s+(?:{REAL_WORDS})|(?:{REAL_WORDS})\s+or\s+(?:{FAKE_WORDS}))\b", re.IGNORECASE
)
# the rule of the authors' evaluation: these characters, in closed stages
STRICT_STAGE = r"<{stage}>(.*?)</{stage}>"
STRICT_CONCLUSION = "This image is {label}"


@dataclass
class ChainOfThought:
    """What an answer says.

    Args:
        summary: text of the stage without its tags, or None where the stage is missing; so the next three.
        caption: what the image shows.
        reasoning: why it is held to be fake or real.
        conclusion: the last sentence.
        label: what the conclusion says; None where it says nothing or both.
        problems: what is not as it should be, one sentence each; empty for an answer in the form of the paper.
    """

    summary: str | None = None
    caption: str | None = None
    reasoning: str | None = None
    conclusion: str | None = None
    label: ImageLabel | None = None
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class StageSpan:
    """Where a stage's text stands in an answer: characters `start` to `end`, blanks around it left out."""

    stage: str
    start: int
    end: int
    closed: bool


def reasoning_text(low_level: str, high_level: str, label: ImageLabel) -> str:
    """Reasoning of both perspectives (section 3.2), ended by what follows from it.

    Args:
        low_level: sentences on light, edges, texture and quality; may be empty.
        high_level: sentences on what the image shows; may be empty.
        label: `fake` or `real`.

    Raises:
        ValueError: another label, or both texts empty.
    """
    _check_label(label)
    low_level, high_level = low_level.strip(), high_level.strip()
    if not low_level and not high_level:
        raise ValueError("expected a reasoning of one perspective at least, got two empty texts")
    parts = [f"From low-level perspective: {low_level}"] if low_level else []
    parts += [f"From high-level perspective: {high_level}"] if high_level else []
    return " ".join([*parts, f"Therefore, this image is {label}."])


def build_chain_of_thought(
    caption: str, low_level: str, high_level: str, label: ImageLabel, conclusion: str = "this_image"
) -> str:
    """Write the four stages.

    Args:
        caption: what the image shows.
        low_level: sentences on light, edges, texture and quality; may be empty.
        high_level: sentences on what the image shows; may be empty.
        label: `fake` or `real`.
        conclusion: wording, a key of `CONCLUSIONS`. Only with `this_image` the probability mapper of the published
            code finds the conclusion.

    Raises:
        ValueError: unknown label or wording, an empty caption or reasoning, or a text that contains a tag.
    """
    if conclusion not in CONCLUSIONS:
        raise ValueError(f"unknown wording of the conclusion {conclusion!r}: expected {' or '.join(CONCLUSIONS)}")
    if not caption.strip():
        raise ValueError("expected a caption, got an empty text")
    reasoning = reasoning_text(low_level, high_level, label)
    texts = (SUMMARY, caption.strip(), reasoning, CONCLUSIONS[conclusion].format(label=label))
    for text in texts:
        if tag := TAG.search(text):
            raise ValueError(f"expected a text without tags, got {tag[0]} in {text!r}")
    return "\n\n".join(f"<{stage}> {text} </{stage}>" for stage, text in zip(STAGES, texts, strict=True))


def find_stages(text: str) -> list[StageSpan]:
    """Find the stages of an answer, in the order in which they stand; one that comes twice is there twice.

    A stage ends at its closing tag, at the next tag where that is missing, or at the end of the text. Case and blanks
    in the tags do not matter.
    """
    tags = list(TAG.finditer(text))
    spans = []
    for number, tag in enumerate(tags):
        if tag[1]:
            continue
        following = tags[number + 1] if number + 1 < len(tags) else None
        stage = tag[2].upper()
        closed = following is not None and bool(following[1]) and following[2].upper() == stage
        content = text[tag.end() : following.start() if following else len(text)]
        if following is None:
            content = _without_cut_tag(content)
        start = tag.end() + len(content) - len(content.lstrip())
        spans.append(StageSpan(stage, start, max(start, tag.end() + len(content.rstrip())), closed))
    return spans


def parse_chain_of_thought(text: str, strict: bool = False) -> ChainOfThought:
    """Read an answer; whatever is wrong with it is listed in `problems`, never raised.

    Args:
        text: what a model wrote, or a text of the data set.
        strict: take the label as the authors' evaluation does: only from "This image is fake" or "This image is
            real", letter for letter, and only where reasoning and conclusion both have their tags.

    Returns:
        The stages. Of a stage that comes twice the first is kept, but all conclusions must agree on the label.
    """
    spans = find_stages(text)
    by_stage: dict[str, list[StageSpan]] = {stage: [] for stage in STAGES}
    for span in spans:
        by_stage[span.stage].append(span)
    texts = {stage: text[found[0].start : found[0].end] for stage, found in by_stage.items() if found}
    problems = _problems(spans, by_stage)
    conclusions = " ".join(text[span.start : span.end] for span in by_stage["CONCLUSION"])
    said = _strict_labels(text) if strict else concluded_labels(conclusions)
    if len(said) > 1:
        problems.append("the conclusion says both real and fake")
    elif not said and (texts.get("CONCLUSION") or strict):
        problems.append("the conclusion says neither real nor fake" + (", letter for letter" if strict else ""))
    label = said.pop() if len(said) == 1 else None
    return ChainOfThought(
        texts.get("SUMMARY"), texts.get("CAPTION"), texts.get("REASONING"), texts.get("CONCLUSION"), label, problems
    )


def concluded_labels(conclusion: str) -> set[ImageLabel]:
    """What a conclusion calls the image: "is not real" and "AI-generated" are fake, "isn't fake" is real.

    Returns:
        One label, none, or both: a contradiction or "real or fake".
    """
    if UNDECIDED.search(conclusion):
        return {"fake", "real"}
    said: set[ImageLabel] = set()
    for claim in CLAIM.finditer(conclusion):
        said.add("fake" if bool(claim["fake"]) != bool(claim["negation"]) else "real")
    return said


def _without_cut_tag(text: str) -> str:
    cut = CUT_TAG.search(text)
    if cut and any(stage.startswith(cut[1].upper()) for stage in STAGES):
        return text[: cut.start()]
    return text


def _strict_labels(text: str) -> set[ImageLabel]:
    reasoning, conclusion = (
        re.search(STRICT_STAGE.format(stage=stage), text, re.DOTALL) for stage in ("REASONING", "CONCLUSION")
    )
    if reasoning is None or conclusion is None:
        return set()
    return {label for label in LABELS if STRICT_CONCLUSION.format(label=label) in conclusion[1]}


def _problems(spans: list[StageSpan], by_stage: dict[str, list[StageSpan]]) -> list[str]:
    problems = [f"{stage} is missing" for stage, found in by_stage.items() if not found]
    problems += [f"{stage} comes {len(found)} times" for stage, found in by_stage.items() if len(found) > 1]
    order = list(dict.fromkeys(span.stage for span in spans))
    if order != sorted(order, key=STAGES.index):
        problems.append(f"the stages are out of order: {', '.join(order)}")
    for number, span in enumerate(spans):
        if span.start == span.end:
            problems.append(f"{span.stage} is empty")
        if not span.closed:
            cut = ": the answer ends in it" if number == len(spans) - 1 else ""
            problems.append(f"{span.stage} is not closed{cut}")
    return problems


def _check_label(label: str) -> None:
    if label not in LABELS:
        raise ValueError(f"expected the label fake or real, got {label!r}")


__all__ = [
    "CONCLUSIONS",
    "LABELS",
    "QUESTION",
    "STAGES",
    "SUMMARY",
    "ChainOfThought",
    "StageSpan",
    "build_chain_of_thought",
    "concluded_labels",
    "find_stages",
    "parse_chain_of_thought",
    "reasoning_text",
]
