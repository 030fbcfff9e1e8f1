"""Processor of FakeReasoning: images and questions in, token ids and pixel values out, and answers back.

Paper: FakeReasoning, sections 3.2 and 4. Prompts, padding to a square and the masking of labels are not given in the
paper; they are those of LLaVA-1.5, which it starts from, as its published code uses them.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers.image_processing_utils import BatchFeature
from transformers.image_utils import ImageInput
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.processing_utils import ProcessorMixin

from .chain_of_thought import QUESTION, ChainOfThought, find_stages, parse_chain_of_thought
from .conversation_prompts import IMAGE_TOKEN, conversation, conversation_template, image_question, jinja_template
from .image_conversion import to_upright_rgb
from .llava_tokenizer import prepare_tokenizer
from .verdict_tokens import VerdictIds, verdict_ids_of

# input of CLIP ViT-L/14-336, pixels
IMAGE_SIZE = 336
# label of tokens that are not learnt
IGNORED = -100


class FakeReasoningProcessor(ProcessorMixin):
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
        if tokenizer is None:
            raise ValueError("expected the tokenizer of a Llama model, got None")
        conversation_template(training_template)
        if image_processor is None:
            crop = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
            image_processor = LlavaImageProcessorPil(size={"shortest_edge": IMAGE_SIZE}, crop_size=crop, do_pad=True)
        prepare_tokenizer(tokenizer, image_token)
        self.patch_size = patch_size
        self.template = template
        self.training_template = training_template
        self.max_length = max_length
        self.image_token = image_token
        self.image_token_id = tokenizer.convert_tokens_to_ids(image_token)
        super().__init__(image_processor, tokenizer, chat_template=chat_template or jinja_template(template))

    @classmethod
    def from_pretrained(cls, *args: Any, backend: str = "pil", **kwargs: Any) -> "FakeReasoningProcessor":
        """Load a processor; see `ProcessorMixin.from_pretrained`.

        Args:
            *args: folder or name on the Hub.
            backend: of the image processor. transformers takes "torchvision" for itself, which differs from what a
                checkpoint was trained with by up to 0.03.
            **kwargs: passed on.
        """
        return super().from_pretrained(*args, backend=backend, **kwargs)

    def prepare_inputs_layout(self, images: Any = None, text: Any = None, **kwargs: Any) -> tuple[Any, ...]:
        """Open paths and bring PIL images of any mode to RGB, before transformers looks at them."""
        return super().prepare_inputs_layout(images=_upright(images), text=text, **kwargs)

    def replace_image_token(self, image_inputs: dict, image_idx: int, **kwargs: Any) -> str:
        """Tokens that stand for an image: one for each of its patches."""
        return self.image_token * self._patches(image_inputs["pixel_values"][image_idx])

    def prompts(self, images: ImageInput, question: str | Sequence[str] = QUESTION) -> list[str]:
        """Text of the question about each image, in the conversation `template`, up to where the answer begins.

        Args:
            images: one image or a list.
            question: one for all images, or one each.

        Raises:
            ValueError: number of questions.
        """
        questions = _one_each(question, len(_listed(images)), "questions")
        return [conversation(self.template, image_question(text)) for text in questions]

    def inference_inputs(
        self, images: ImageInput, question: str | Sequence[str] = QUESTION, return_tensors: str | None = "pt"
    ) -> BatchFeature:
        """Inputs of `generate`: one question about each image, padded on the left.

        Args:
            images: one image or a list: PIL, array or tensor of values 0..255, path or URL.
            question: one for all images, or one each.
            return_tensors: framework of the values; None: lists.

        Returns:
            `input_ids` and `attention_mask` (B, L), `pixel_values` (B, 3, H, W) float32.

        Raises:
            ValueError: no image, number of questions, or a prompt of more than `max_length` tokens.
        """
        inputs = self(
            images=_listed(images),
            text=self.prompts(images, question),
            padding=True,
            padding_side="left",
            return_tensors=return_tensors,
        )
        length = len(inputs["input_ids"][0])
        if length > self.max_length:
            patches = self._patches(inputs["pixel_values"][0])
            raise ValueError(
                f"the prompt has {length} tokens, {patches} of them for the image, but max_length is "
                f"{self.max_length}: shorten the question or raise max_length"
            )
        return inputs

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
        images = _listed(images)
        answers = _one_each(answers, len(images), "answers")
        prompts = [
            conversation(self.training_template, image_question(text))
            for text in _one_each(QUESTION if questions is None else questions, len(images), "questions")
        ]
        template = conversation_template(self.training_template)
        pairs = zip(prompts, answers, strict=True)
        inputs = self(
            images=images,
            text=[f"{prompt}{template.separator}{answer}{template.end}" for prompt, answer in pairs],
            padding=True,
            padding_side="right",
            truncation=True,
            max_length=self.max_length,
            return_offsets_mapping=True,
            return_tensors="pt",
        )
        # offsets are places in the text whose one <image> has become many
        added = (self._patches(inputs["pixel_values"][0]) - 1) * len(self.image_token)
        starts, ends = inputs.pop("offset_mapping").unbind(dim=-1)
        prompt_ends = torch.tensor([len(prompt) + added for prompt in prompts])[:, None]
        answered = ends > prompt_ends
        if not answered.any(dim=1).all():
            row = int((~answered.any(dim=1)).nonzero()[0, 0])
            raise ValueError(
                f"max_length={self.max_length} leaves no token of answer {row}: shorten the question or raise it"
            )
        inputs["labels"] = inputs["input_ids"].masked_fill(~answered, IGNORED)
        answer_starts = prompt_ends + len(template.separator)
        for name in ("caption", "reasoning"):
            first, last = _stage_ends(answers, name.upper())
            overlaps = (ends > answer_starts + first) & (starts < answer_starts + last)
            inputs[f"{name}_mask"] = overlaps & (first < last)
        if forgery_labels is not None:
            labels = _one_each(forgery_labels, len(images), "forgery labels")
            inputs["forgery_labels"] = torch.tensor([int(label) for label in labels])
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

    def _patches(self, pixel_values: Any) -> int:
        height, width = pixel_values.shape[-2:]
        return (height // self.patch_size) * (width // self.patch_size)

    def _check_special_mm_tokens(self, text: list[str], text_inputs: Any, modalities: list[str]) -> None:
        """Say it in this processor's words where truncation has cut image tokens."""
        try:
            super()._check_special_mm_tokens(text, text_inputs, modalities)
        except ValueError as error:
            raise ValueError(
                f"max_length cuts off tokens of the image, which has {text[0].count(self.image_token)} of them: raise "
                "max_length or switch truncation off"
            ) from error


def _upright(images: Any) -> Any:
    """Images as they are displayed; arrays with channels, tensors and URLs stay what they are."""
    if isinstance(images, list | tuple):
        return [_upright(image) for image in images]
    if isinstance(images, str | os.PathLike) and os.path.isfile(images):
        with Image.open(images) as opened:
            return to_upright_rgb(opened)
    if isinstance(images, np.ndarray) and images.ndim == 2:
        images = Image.fromarray(images)
    return to_upright_rgb(images) if isinstance(images, Image.Image) else images


def _listed(images: Any) -> list[Any]:
    """One image or several as a list."""
    is_batch = isinstance(images, list | tuple) or getattr(images, "ndim", 0) == 4
    listed = list(images) if is_batch else [images]
    if not listed:
        raise ValueError("expected an image, got an empty list")
    return listed


def _one_each(values: Any, count: int, name: str) -> list[Any]:
    """A value for each image; a single text is that of all."""
    listed = [values] * count if isinstance(values, str) else list(values)
    if len(listed) != count:
        raise ValueError(f"expected one of the {name} an image, got {len(listed)} for {count} images")
    return listed


def _stage_ends(answers: list[str], stage: str) -> tuple[torch.Tensor, torch.Tensor]:
    """First and last place of a stage's text in every answer, each (B, 1); 0 and 0 where it is missing."""
    found = [next((span for span in find_stages(answer) if span.stage == stage), None) for answer in answers]
    places = torch.tensor([(span.start, span.end) if span else (0, 0) for span in found])
    return places[:, :1], places[:, 1:]


__all__ = ["FakeReasoningProcessor"]
