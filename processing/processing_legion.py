"""Processor of LEGION: images in, token ids and pixels for CLIP and SAM out; phrases, explanations and masks back.

Paper: LEGION, section 4.1. The prompt is that of the published code and weights; the paper words it with "overview of
the image", prints no question, and says nothing of tokens, labels or cutting.
"""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from transformers.image_processing_utils import BatchFeature
from transformers.image_utils import ImageInput
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from .conversation_prompts import IMAGE_TOKEN
from .grounded_explanation import GroundedExplanation, ground
from .grounded_text import PHRASE_END, PHRASE_START, QUESTION, SEG_TOKEN
from .grounding_tokens import IMAGE_END, IMAGE_START, add_grounding_tokens, decode_grounded
from .image_views import clip_view, flat_images, sam_view, size_of
from .mask_conversion import read_phrase_masks
from .processing_image_language import ImageLanguageProcessor, listed, one_each

# input of CLIP ViT-L/14-336, and of SAM ViT-H, pixels
IMAGE_SIZE = 336
GROUNDING_SIZE = 1024
OVERVIEW = f"The {IMAGE_START}{IMAGE_TOKEN}{IMAGE_END} provides an overview of the picture."

logger = logging.getLogger(__name__)


class LegionProcessor(ImageLanguageProcessor):
    """Turn images and questions into inputs of LEGION, and what it generates into explanations with masks.

    An image is seen twice: by CLIP, scaled to a short side of 336 pixels and cut to its centre, and by SAM whole, with
    a long side of 1024 pixels and zeros below or right of it.

    Args:
        image_processor: for CLIP; None is `CLIPImageProcessorPil` at 336 pixels, which equals the published code bit
            for bit.
        grounding_image_processor: for SAM; None is `SamImageProcessorPil` at 1024 pixels.
        tokenizer: tokenizer of a Llama model. It is changed in place, see `prepare_tokenizer` and
            `add_grounding_tokens`.
        chat_template: Jinja text for `apply_chat_template`; None is that of `template`.
        patch_size: pixels of a patch of CLIP.
        template: conversation of questions and of training; the published code has `llava_v1`.
        max_length: tokens that a prompt or a training example may have, those of the image included; published code.
        image_token: what stands for the image in texts.

    Raises:
        ValueError: no tokenizer, or an unknown template.

    Example:
        >>> inputs = processor.inference_inputs(images)  # doctest: +SKIP
        >>> generated = model.generate_grounded(**inputs, max_new_tokens=512)  # doctest: +SKIP
        >>> [one.phrase for one in processor.post_process_grounded(generated)[0].phrases]  # doctest: +SKIP
        ['The left hand', 'The window frame']
    """

    question = QUESTION

    def __init__(
        self,
        image_processor: Any = None,
        grounding_image_processor: Any = None,
        tokenizer: Any = None,
        chat_template: str | None = None,
        patch_size: int = 14,
        template: str = "llava_v1",
        max_length: int = 1536,
        image_token: str = IMAGE_TOKEN,
    ):
        if image_processor is None:
            crop = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
            image_processor = CLIPImageProcessorPil(size={"shortest_edge": IMAGE_SIZE}, crop_size=crop)
        if grounding_image_processor is None:
            square = {"height": GROUNDING_SIZE, "width": GROUNDING_SIZE}
            grounding_image_processor = SamImageProcessorPil(size={"longest_edge": GROUNDING_SIZE}, pad_size=square)
        if tokenizer is not None:
            add_grounding_tokens(tokenizer)
        super().__init__(
            tokenizer,
            chat_template,
            patch_size,
            template,
            max_length,
            image_token,
            image_processor=image_processor,
            grounding_image_processor=grounding_image_processor,
        )
        self.seg_token_id, self.phrase_start_token_id, self.phrase_end_token_id = tokenizer.convert_tokens_to_ids(
            [SEG_TOKEN, PHRASE_START, PHRASE_END]
        )

    def image_question(self, question: str) -> str:
        """What the user says: where the image is, and the question."""
        return f"{OVERVIEW}\n{question.replace(IMAGE_TOKEN, '').strip()}"

    def __call__(
        self, images: ImageInput | None = None, text: Any = None, longest_edge: int | None = None, **kwargs: Any
    ) -> BatchFeature:
        """As every processor of transformers; `<image>` stands in `text` once for each image.

        Args:
            images: one image or a list: PIL, array or tensor of values 0..255, path or URL; may be nested.
            text: one text or a list.
            longest_edge: long side of the image as SAM sees it, see `grounding_inputs`.
            **kwargs: as in `ProcessorMixin`.

        Returns:
            `input_ids` and `attention_mask` (B, L); `pixel_values` (B, 3, H, W), `grounding_pixel_values` and
            `grounding_sizes`.
        """
        images, text, *_ = self.prepare_inputs_layout(images, text)
        inputs = super().__call__(images=images, text=text, **kwargs)
        if images is not None:
            inputs.update(self.grounding_inputs(images, longest_edge, kwargs.get("return_tensors")))
        return inputs

    def inference_inputs(
        self,
        images: ImageInput,
        question: str | Sequence[str] | None = None,
        return_tensors: str | None = "pt",
        **settings: Any,
    ) -> BatchFeature:
        """Inputs of `generate_grounded`: one question about each image, padded on the left.

        Args:
            images: one image or a list: PIL, array or tensor of values 0..255, path or URL.
            question: one for all images, or one each; None is the published one.
            return_tensors: framework of the values; None: lists.
            **settings: as in the call, such as `longest_edge`.

        Returns:
            What the call returns, and `original_sizes` (B, 2) height and width of the images, which their masks get.

        Raises:
            ValueError: no image, number of questions, or a prompt of more than `max_length` tokens.
        """
        images = self.prepare_inputs_layout(listed(images))[0]
        inputs = super().inference_inputs(images, question, return_tensors, **settings)
        sizes = BatchFeature({"original_sizes": [size_of(one) for one in images]}, tensor_type=return_tensors)
        inputs.update(sizes)
        return inputs

    def grounding_inputs(
        self, images: ImageInput, longest_edge: int | None = None, return_tensors: str | None = "pt"
    ) -> BatchFeature:
        """What SAM sees.

        Args:
            images: as in the call.
            longest_edge: long side of the image within SAM's input, pixels; None is that of the image processor, 1024.
                The published code trains with 512, so that the image fills a quarter of the input, and asks with 1024.
            return_tensors: framework of the values; None: lists.

        Returns:
            `grounding_pixel_values` (B, 3, S, S) float32, and `grounding_sizes` (B, 2) height and width of the image
            within them.

        Raises:
            ValueError: `longest_edge` above the size of SAM's input.
        """
        side = self.grounding_image_processor.pad_size["height"]
        edge = self.grounding_image_processor.size["longest_edge"] if longest_edge is None else longest_edge
        if not 1 <= edge <= side:
            raise ValueError(f"expected a longest_edge of 1 to {side} pixels, the input of SAM, got {edge}")
        views = [sam_view(one, edge) for one in flat_images(self.prepare_inputs_layout(images)[0])]
        seen = self.grounding_image_processor(views, size={"longest_edge": edge}, return_tensors=return_tensors)
        return BatchFeature(
            {"grounding_pixel_values": seen["pixel_values"], "grounding_sizes": seen["reshaped_input_sizes"]}
        )

    def detection_inputs(self, images: ImageInput) -> BatchFeature:
        """Inputs of the detection head alone (stage 2): `pixel_values` (B, 3, H, W) float32."""
        pictures, *_ = self.prepare_inputs_layout(listed(images))
        return BatchFeature({"pixel_values": self._process_images(pictures, return_tensors="pt")[0]["pixel_values"]})

    def training_inputs(
        self,
        images: ImageInput,
        texts: str | Sequence[str],
        masks: Sequence[Any] | None = None,
        forgery_labels: Sequence[int] | torch.Tensor | None = None,
        questions: str | Sequence[str] | None = None,
        longest_edge: int | None = None,
    ) -> BatchFeature:
        """Inputs of training: each image with its question and answer, padded on the right, cut at `max_length`.

        Only the answer and its end are learnt. Where `[SEG]` tokens are cut off, so are their masks.

        Args:
            images: one image or a list: PIL, array or tensor of values 0..255, path or URL.
            texts: answers, one an image, see `write_grounded_text`.
            masks: for each image its masks in the order of the `[SEG]`: a list of (H, W), or one (n, H, W), at the
                image's size, as 0/1, 0/255 or bool; None for an image without. None leaves them all out.
            forgery_labels: 1 = fake, 0 = real; None leaves them out.
            questions: one for all images or one each; None is the published one.
            longest_edge: long side of the image as SAM sees it, see `grounding_inputs`.

        Returns:
            What the call returns, `labels` (B, L) int64, -100 where nothing is learnt, `masks`: one (n_i, H_i, W_i)
            uint8 tensor an image, and `forgery_labels` (B,) int64.

        Raises:
            ValueError: no image, number of texts, masks, questions or labels, or `max_length` that cuts off the image
                or the whole answer.
        """
        images = self.prepare_inputs_layout(listed(images))[0]
        inputs, *_ = self._taught_answers(
            self.template, images, texts, questions, forgery_labels, longest_edge=longest_edge
        )
        if masks is not None:
            sizes = [size_of(one) for one in images]
            segs = [text.count(SEG_TOKEN) for text in one_each(texts, len(images), "answers")]
            whole = read_phrase_masks(one_each(masks, len(images), "lists of masks"), segs, sizes)
            kept = (inputs["input_ids"] == self.seg_token_id).sum(dim=1).tolist()
            inputs["masks"] = [one[:count] for one, count in zip(whole, kept, strict=True)]
            if lost := sum(map(len, whole)) - sum(kept):
                logger.warning("max_length=%d cuts %d [SEG] off the answers, and their masks", self.max_length, lost)
        return inputs

    def decode_grounded(self, generated_ids: Any) -> list[str]:
        """Texts with tags, of ids with or without the prompt; padding, images, `<s>` and `</s>` are left out.

        Args:
            generated_ids: (B, T) token ids; what follows `</s>` is left out.
        """
        skipped = {self.tokenizer.bos_token_id, self.tokenizer.pad_token_id, self.image_token_id}
        return [decode_grounded(self.tokenizer, [int(one) for one in row], skipped) for row in generated_ids]

    def post_process_grounded(
        self, generation: Any, threshold: float = 0.5, original_sizes: Any = None
    ) -> list[GroundedExplanation]:
        """Read what `generate_grounded` returned.

        Args:
            generation: a `LegionGeneration`.
            threshold: probability above which a pixel is an artifact.
            original_sizes: (B, 2) height and width of the images, where `generate_grounded` was not given them: masks
                are then resized here, one phrase at a time, which takes less memory with large images.

        Returns:
            One `GroundedExplanation` an image; whatever is wrong with an answer is listed in its `problems`.
        """
        texts = self.decode_grounded(generation.generated_ids)
        verdicts = generation.fake_probability
        found = []
        for row, (text, ids) in enumerate(zip(texts, generation.generated_ids, strict=True)):
            verdict = None if verdicts is None else float(verdicts[row])
            size = None if original_sizes is None else original_sizes[row]
            found.append(ground(text, generation.mask_logits[row], threshold, verdict, size))
            if self.tokenizer.eos_token_id not in ids.tolist():
                found[-1].problems.append("the answer does not end: raise max_new_tokens")
        return found

    def check_token_ids(self, config: Any) -> None:
        """Check that a model knows images, phrases and `[SEG]` by the ids of this tokenizer.

        Args:
            config: a `LegionConfig`.

        Raises:
            ValueError: the ids that differ.
        """
        names = ("image_token_id", "seg_token_id", "phrase_start_token_id", "phrase_end_token_id")
        pairs = {name: (getattr(config, name), getattr(self, name)) for name in names}
        wrong = [
            f"{name} {given} instead of {expected}" for name, (given, expected) in pairs.items() if given != expected
        ]
        if wrong:
            raise ValueError(
                f"the configuration does not fit the tokenizer: it has {', '.join(wrong)}; build it with the ids of "
                "the processor"
            )

    @classmethod
    def _get_arguments_from_pretrained(cls, *args: Any, backend: str = "pil", **kwargs: Any) -> list[Any]:
        """Load the parts; transformers heeds `backend` in the first image processor only."""
        parts = super()._get_arguments_from_pretrained(*args, backend=backend, **kwargs)
        place = cls.get_attributes().index("grounding_image_processor")
        if backend == "pil":
            settings = parts[place].to_dict()
            settings.pop("image_processor_type")
            parts[place] = SamImageProcessorPil(**settings)
        return parts

    def _process_images(self, images: ImageInput, **kwargs: Any) -> Any:
        return super()._process_images([clip_view(one) for one in flat_images(images)], **kwargs)


__all__ = ["OVERVIEW", "LegionProcessor"]
