"""Processor of FakeReasoning: images and questions in, token ids and pixel values out, and answers back.

Paper: FakeReasoning, sections 3.2 and 4. Prompts, padding to a square and the masking of labels are not given in the
paper; they are those of LLaVA-1.5, which it starts from, as its published code uses them.
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers.image_processing_utils import BatchFeature
from transformers.image_utils import ImageInput
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

from .chain_of_thought import QUESTION, ChainOfThought, find_stages, parse_chain_of_thought
from .conversation_prompts import IMAGE_TOKEN, conversation_template
from .processing_image_language import ImageLanguageProcessor, listed, one_each
from .verdict_tokens import VerdictIds, verdict_ids_of

# input of CLIP ViT-L/14-336, pixels
IMAGE_SIZE = 336


class FakeReasoningProcessor(ImageLanguageProcessor):
    """Turn images and questions into inputs of FakeReasoning, and what it generates into chains of thought.

    Images are padded to a square with the mean colour, scaled to 336 pixels and normalized as for CLIP. Those of other
    modes than RGB are converted as a viewer shows them: EXIF orientation applied, transparency on white, 16 bits
    scaled to 8. In token ids, `<image>` stands once for every patch of the image.

    Args:
        image_processor: None is `LlavaImageProcessorPil` at 336 pixels, which equals the published code bit for bit;
            the torchvision variant does not.
        tokenizer: tokenizer of a Llama model. It is changed in place, see `prepare_tokenizer`.
        chat_template: Jinja text for `apply_chat_template`; None is that of `template`.
        patch_size: pixels of a patch of the image encoder.
        template: conversation of questions; the published code asks with `llava_v1`.
        training_template: conversation of training; the published code trains with `vicuna_v1`.
        max_length: tokens that a prompt or a training example may have, those of the image included.
        image_token: what stands for the image in texts.

    Raises:
        ValueError: no tokenizer, or an unknown template.

    Example:
        >>> inputs = processor.inference_inputs(images)  # doctest: +SKIP
        >>> generated = model.generate_verdict(**inputs, max_new_tokens=512)  # doctest: +SKIP
        >>> [answer.label for answer in processor.decode_answers(generated.generated_ids)]  # doctest: +SKIP
        ['fake']
    """

    question = QUESTION

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        chat_template: str | None = None,
        patch_size: int = 14,
        template: str = "llava_v1",
        training_template: str = "vicuna_v1",
        max_length: int = 2048,
        image_token: str = IMAGE_TOKEN,
    ):
        conversation_template(training_template)
        if image_processor is None:
            crop = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
            image_processor = LlavaImageProcessorPil(size={"shortest_edge": IMAGE_SIZE}, crop_size=crop, do_pad=True)
        self.training_template = training_template
        super().__init__(
            tokenizer, chat_template, patch_size, template, max_length, image_token, image_processor=image_processor
        )

    def training_inputs(
        self,
        images: ImageInput,
        answers: str | Sequence[str],
        questions: str | Sequence[str] | None = None,
        forgery_labels: Sequence[int] | torch.Tensor | None = None,
    ) -> BatchFeature:
        """Inputs of training: each image with its question and answer, padded on the right, cut at `max_length`.

        Only the answer and its end are learnt. The tokens of caption and reasoning are marked for the contrastive loss
        (section 4.2); their tags are not, and neither is a stage that the answer has not.

        Args:
            images: one image or a list: PIL, array or tensor of values 0..255, path or URL.
            answers: chains of thought, one an image.
            questions: one for all images or one each; None is `QUESTION`. `<image>` may stand in them anywhere.
            forgery_labels: 1 = fake, 0 = real; None leaves them out.

        Returns:
            `input_ids`, `attention_mask`, `labels` (B, L) int64, -100 where nothing is learnt, `pixel_values`
            (B, 3, H, W) float32, `caption_mask`, `reasoning_mask` (B, L) bool, and `forgery_labels` (B,) int64.

        Raises:
            ValueError: no image, number of answers, questions or labels, or `max_length` that cuts off the image or
                the whole answer.
        """
        answers = one_each(answers, len(listed(images)), "answers")
        inputs, starts, ends = self._taught_answers(self.training_template, images, answers, questions, forgery_labels)
        for name in ("caption", "reasoning"):
            first, last = _stage_ends(answers, name.upper())
            inputs[f"{name}_mask"] = (ends > first) & (starts < last) & (first < last)
        return inputs

    def decode_answers(self, generated_ids: Any, strict: bool = False) -> list[ChainOfThought]:
        """Read what a model generated.

        Args:
            generated_ids: (B, T) token ids, with or without the prompt; padding and image tokens are left out.
            strict: read the label as the authors' evaluation does, see `parse_chain_of_thought`.
        """
        texts = self.tokenizer.batch_decode(generated_ids, skip_special_tokens=True)
        return [parse_chain_of_thought(text, strict) for text in texts]

    def verdict_ids(self) -> VerdictIds:
        """Ids of the conclusion as this tokenizer writes it (Eq. 6 to 8), see `verdict_ids_of`."""
        return verdict_ids_of(self.tokenizer)

    def check_verdict_ids(self, config: Any) -> None:
        """Check that a model looks for the conclusion, and for images, by the ids of this tokenizer.

        Args:
            config: a `FakeReasoningConfig`.

        Raises:
            ValueError: the ids that differ.
        """
        expected = {**self.verdict_ids()._asdict(), "image_token_id": self.image_token_id}
        given = {name: getattr(config, name) for name in expected}
        given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
        wrong = [f"{name} {given[name]} instead of {ids}" for name, ids in expected.items() if given[name] != ids]
        if wrong:
            raise ValueError(
                f"the configuration does not fit the tokenizer: it has {', '.join(wrong)}; build it with the ids of "
                "processor.verdict_ids() and processor.image_token_id"
            )


def _stage_ends(answers: list[str], stage: str) -> tuple[torch.Tensor, torch.Tensor]:
    """First and last place of a stage's text in every answer, each (B, 1); 0 and 0 where it is missing."""
    found = [next((span for span in find_stages(answer) if span.stage == stage), None) for answer in answers]
    places = torch.tensor([(span.start, span.end) if span else (0, 0) for span in found])
    return places[:, :1], places[:, 1:]


__all__ = ["FakeReasoningProcessor"]
