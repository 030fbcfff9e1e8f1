"""What the processors of FakeReasoning and LEGION share: questions about images in the manner of LLaVA-1.5."""

import logging
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from transformers.image_processing_utils import BatchFeature
from transformers.image_utils import ImageInput
from transformers.processing_utils import ProcessorMixin

from .conversation_prompts import conversation, conversation_template, image_question, jinja_template
from .image_conversion import to_upright_rgb
from .llava_tokenizer import prepare_tokenizer

logger = logging.getLogger(__name__)

# label of tokens that are not learnt
IGNORED = -100


class TaughtAnswers(NamedTuple):
    """Inputs of training, and where in the texts their tokens stand.

    Attributes:
        inputs: `input_ids`, `attention_mask`, `labels` (B, L), and what belongs to the images.
        starts: (B, L) characters of the answer before a token; negative in the prompt.
        ends: (B, L) characters of the answer up to the end of a token.
    """

    inputs: BatchFeature
    starts: torch.Tensor
    ends: torch.Tensor


class ImageLanguageProcessor(ProcessorMixin):
    """Base of processors that ask a language model about images.

    Images of other modes than RGB are converted as a viewer shows them: EXIF orientation applied, transparency on
    white, 16 bits scaled to 8. In token ids, `<image>` stands once for every patch of the image.

    A subclass sets `question`, and names its parts (image processors and tokenizer) in its own `__init__`, from which
    transformers reads them.

    Args:
        tokenizer: tokenizer of a Llama model. It is changed in place, see `prepare_tokenizer`.
        chat_template: Jinja text for `apply_chat_template`; None is that of `template`.
        patch_size: pixels of a patch of the image encoder.
        template: conversation of questions.
        max_length: tokens that a prompt or a training example may have, those of the image included.
        image_token: what stands for the image in texts.
        **parts: image processors.

    Raises:
        ValueError: no tokenizer, or an unknown template.
    """

    question = ""
    chat_template: str | dict[str, str] | None

    def __init__(
        self,
        tokenizer: Any,
        chat_template: str | None,
        patch_size: int,
        template: str,
        max_length: int,
        image_token: str,
        **parts: Any,
    ):
        if tokenizer is None:
            raise ValueError("expected the tokenizer of a Llama model, got None")
        if chat_template is None:
            chat_template = self._chat_template(template)
        prepare_tokenizer(tokenizer, image_token)
        self.patch_size = patch_size
        self.template = template
        self.max_length = max_length
        self.image_token = image_token
        self.image_token_id = tokenizer.convert_tokens_to_ids(image_token)
        super().__init__(tokenizer=tokenizer, chat_template=chat_template, **parts)

    @classmethod
    def from_pretrained(cls, *args: Any, backend: str = "pil", **kwargs: Any) -> "ImageLanguageProcessor":
        """Load a processor; see `ProcessorMixin.from_pretrained`.

        Args:
            *args: folder or name on the Hub.
            backend: of the image processor. transformers takes "torchvision" for itself, which differs from what a
                checkpoint was trained with by up to 0.03.
            **kwargs: passed on.
        """
        return super().from_pretrained(*args, backend=backend, **kwargs)

    def configure(self, **settings: Any) -> None:
        """Change conversations or `max_length`; a chat template that is that of `template` follows it.

        Raises:
            ValueError: an unknown conversation.
        """
        for name, value in settings.items():
            if name.endswith("template"):
                conversation_template(value)
        follows = self.chat_template == self._chat_template(self.template)
        for name, value in settings.items():
            setattr(self, name, value)
        if follows:
            self.chat_template = self._chat_template(self.template)

    def _chat_template(self, template: str) -> str:
        return jinja_template(template, self.image_question("").strip())

    def image_question(self, question: str) -> str:
        """What the user says: the image and the question."""
        return image_question(question)

    def prepare_inputs_layout(self, images: Any = None, text: Any = None, **kwargs: Any) -> tuple[Any, ...]:
        """Open paths and bring PIL images of any mode to RGB, before transformers looks at them."""
        return super().prepare_inputs_layout(images=_upright(images), text=text, **kwargs)

    def replace_image_token(self, image_inputs: dict, image_idx: int, **kwargs: Any) -> str:
        """Tokens that stand for an image: one for each of its patches."""
        return self.image_token * self._patches(image_inputs["pixel_values"][image_idx])

    def prompts(self, images: ImageInput, question: str | Sequence[str] | None = None) -> list[str]:
        """Text of the question about each image, in the conversation `template`, up to where the answer begins.

        Args:
            images: one image or a list.
            question: one for all images, or one each; None is the published one. `<image>` may stand in it anywhere.

        Raises:
            ValueError: number of questions.
        """
        return self._prompts(self.template, question, len(listed(images)))

    def inference_inputs(
        self,
        images: ImageInput,
        question: str | Sequence[str] | None = None,
        return_tensors: str | None = "pt",
        **settings: Any,
    ) -> BatchFeature:
        """Inputs of `generate`: one question about each image, padded on the left.

        Args:
            images: one image or a list: PIL, array or tensor of values 0..255, path or URL.
            question: one for all images, or one each; None is the published one.
            return_tensors: framework of the values; None: lists.
            **settings: as in the call of the processor.

        Returns:
            `input_ids` and `attention_mask` (B, L), and what the call of the processor gives of images.

        Raises:
            ValueError: no image, number of questions, or a prompt of more than `max_length` tokens.
        """
        inputs = self(
            images=listed(images),
            text=self.prompts(images, question),
            padding=True,
            padding_side="left",
            max_length=None,  # checked below; transformers would take the attribute of that name and warn
            return_tensors=return_tensors,
            **settings,
        )
        length = len(inputs["input_ids"][0])
        if length > self.max_length:
            patches = self._patches(inputs["pixel_values"][0])
            raise ValueError(
                f"the prompt has {length} tokens, {patches} of them for the image, but max_length is "
                f"{self.max_length}: shorten the question or raise max_length"
            )
        return inputs

    def _prompts(self, template: str, question: str | Sequence[str] | None, count: int) -> list[str]:
        questions = one_each(self.question if question is None else question, count, "questions")
        return [conversation(template, self.image_question(text)) for text in questions]

    def _taught_answers(
        self,
        template: str,
        images: ImageInput,
        answers: str | Sequence[str],
        questions: str | Sequence[str] | None,
        forgery_labels: Sequence[int] | torch.Tensor | None,
        **settings: Any,
    ) -> TaughtAnswers:
        """Each image with its question and answer, padded on the right, cut at `max_length`; answers are learnt.

        Raises:
            ValueError: no image, number of answers, questions or labels, or `max_length` that cuts off the image or
                the whole answer.
        """
        images = listed(images)
        answers = one_each(answers, len(images), "answers")
        prompts = self._prompts(template, questions, len(images))
        words = conversation_template(template)
        pairs = zip(prompts, answers, strict=True)
        texts = [f"{prompt}{words.separator}{answer}{words.end}" for prompt, answer in pairs]
        inputs = self(
            images=images,
            text=texts,
            padding=True,
            padding_side="right",
            truncation=True,
            max_length=self.max_length,
            return_offsets_mapping=True,
            return_tensors="pt",
            **settings,
        )
        # offsets are places in the text whose one <image> has become many
        added = (self._patches(inputs["pixel_values"][0]) - 1) * len(self.image_token)
        starts, ends = inputs.pop("offset_mapping").unbind(dim=-1)
        prompt_ends = torch.tensor([len(prompt) + added for prompt in prompts])[:, None]
        answered = ends > prompt_ends
        self._check_cut(answered, ends - added, texts)
        inputs["labels"] = inputs["input_ids"].masked_fill(~answered, IGNORED)
        if forgery_labels is not None:
            labels = one_each(forgery_labels, len(images), "forgery labels")
            inputs["forgery_labels"] = torch.tensor([int(label) for label in labels])
        answer_starts = prompt_ends + len(words.separator)
        return TaughtAnswers(inputs, starts - answer_starts, ends - answer_starts)

    def _check_cut(self, answered: torch.Tensor, ends: torch.Tensor, texts: list[str]) -> None:
        """Refuse an answer of which `max_length` leaves nothing, and say in the log how many lose their end.

        Args:
            answered: (B, L) bool, tokens of the answers.
            ends: (B, L) characters of the texts up to the end of a token.
            texts: Prompts with answers.
        """
        if not answered.any(dim=1).all():
            row = int((~answered.any(dim=1)).nonzero()[0, 0])
            raise ValueError(
                f"max_length={self.max_length} leaves no token of answer {row}: shorten the question or raise it"
            )
        if cut := sum(last < len(text) for last, text in zip(ends.amax(dim=1).tolist(), texts, strict=True)):
            logger.warning("max_length=%d cuts the end off %d of %d answers", self.max_length, cut, len(texts))

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


def listed(images: Any) -> list[Any]:
    """One image or several as a list.

    Raises:
        ValueError: an empty list.
    """
    is_batch = isinstance(images, list | tuple) or getattr(images, "ndim", 0) == 4
    several = list(images) if is_batch else [images]
    if not several:
        raise ValueError("expected an image, got an empty list")
    return several


def one_each(values: Any, count: int, name: str) -> list[Any]:
    """A value for each image; a single text is that of all.

    Raises:
        ValueError: another number of values.
    """
    several = [values] * count if isinstance(values, str) else list(values)
    if len(several) != count:
        raise ValueError(f"expected one of the {name} an image, got {len(several)} for {count} images")
    return several


__all__ = ["IGNORED", "ImageLanguageProcessor", "TaughtAnswers", "listed", "one_each"]
