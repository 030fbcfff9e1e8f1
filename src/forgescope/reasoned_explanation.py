"""What FakeReasoning says of photographs, asked together."""

import math
from collections.abc import Mapping
from typing import Any

from transformers import BatchFeature, PreTrainedModel

from forgescope.processing.chain_of_thought import ChainOfThought
from forgescope.processing.processing_fakereasoning import FakeReasoningProcessor

from .explanation import Explanation


def reason(
    model: PreTrainedModel,
    processor: FakeReasoningProcessor,
    inputs: BatchFeature,
    generation: Mapping[str, Any],
) -> list[Explanation]:
    """Ask FakeReasoning about photographs together.

    Args:
        model: `FakeReasoningForConditionalGeneration`.
        processor: its processor.
        inputs: the processor's for the photographs, on the model's device.
        generation: arguments of `generate`, among them `max_new_tokens`.
    """
    tokenizer = processor.tokenizer
    found = model.generate_verdict(**inputs, **generation)
    texts = tokenizer.batch_decode(found.generated_ids, skip_special_tokens=True)
    answers = processor.decode_answers(found.generated_ids)
    ended = (found.generated_ids == tokenizer.eos_token_id).any(dim=1).tolist()
    probabilities = [None if math.isnan(one) else one for one in found.fake_probability.tolist()]
    limits = [None if one else generation["max_new_tokens"] for one in ended]
    rows = zip(texts, answers, probabilities, limits, strict=True)
    return [_explanation(text.strip(), answer, probability, limit) for text, answer, probability, limit in rows]


def _explanation(text: str, answer: ChainOfThought, probability: float | None, limit: int | None) -> Explanation:
    """`limit`: tokens after which the answer was cut off; None where it ends."""
    found = Explanation(
        verdict=answer.label,
        fake_probability=probability,
        text=text,
        summary=answer.summary,
        caption=answer.caption,
        reasoning=answer.reasoning,
        conclusion=answer.conclusion,
        problems=list(answer.problems),
    )
    if limit is not None:
        found.problems.append(f"the answer was cut off after {limit} tokens")
    if answer.label is not None and probability is None:
        found.problems.append("the conclusion is in words that have no probability")
    if found.contradictory:
        found.problems.append(
            f"the conclusion says {answer.label}, but the probability to be fake is {probability:.3f}"
        )
    return found
