"""A model that explains itself in words: photograph in, verdict and the reasons for it out."""

import math
import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, TypeAlias

import torch
from PIL import Image
from transformers import LogitsProcessorList, PreTrainedModel
from transformers.generation.streamers import BaseStreamer

from forgescope.processing.processing_fakereasoning import FakeReasoningProcessor
from forgescope.processing.processing_legion import LegionProcessor

from .answer_stream import AnswerStream
from .artifact_explanation import ArtifactExplanation, ground_artifacts
from .examination import Failure, each_or_error, failure
from .explanation import Explanation
from .hub import load_checkpoint
from .localize import DTYPES, to_device
from .reading import DEFAULT_MAX_PIXELS, ImageReadError, ReadImage, as_read_image, read_image
from .reasoned_explanation import reason
from .token_choice import RefuseNotNumbers, SeededSampling, seed_of_image

ImageInput = str | os.PathLike | Image.Image
AnyExplanation: TypeAlias = Explanation | ArtifactExplanation
ExplainingProcessor: TypeAlias = FakeReasoningProcessor | LegionProcessor
# Model types that explain themselves, and the one that outlines what it explains.
EXPLAINING = ("fakereasoning", "legion")
OUTLINING = "legion"
# Answers of the authors' code end here.
MAX_NEW_TOKENS = 512
# The weights are read once for all images of a batch; more images need more memory.
BATCH_SIZE = 4


class Explainer:
    """A checkpoint ready to explain photographs.

    Args:
        model: folder or Hub id; or a loaded model, which is used as it is, with `processor`.
        processor: processor of a loaded model.
        device: torch device; None: a GPU when there is one.
        dtype: "auto" (as the checkpoint was saved), "float32" or "bfloat16".
        batch_size: images that are answered together.
        max_new_tokens: length at which an answer is cut off.
        temperature: 0, the default, always takes the likeliest token; the paper samples with 0.2.
        seed: of the sampling. Same seed, image and question, same answer, up to rounding also in another batch.
        question: in place of the one the model was trained with, to which alone it knows the answer's form.
        max_pixels: larger files count as decompression bombs.
        mask_threshold: of LEGION: probability above which a pixel belongs to an artifact; None: the configuration's.
        longest_edge: of LEGION: long side of a photograph as SAM sees it, pixels; None: the processor's, 1024 as
            published.
        model_types: model types that will do.

    Raises:
        ValueError: unknown or unsuitable checkpoint or settings, or a tokenizer that does not fit the model.
    """

    def __init__(
        self,
        model: str | os.PathLike | PreTrainedModel,
        processor: ExplainingProcessor | None = None,
        *,
        device: str | torch.device | None = None,
        dtype: str = "auto",
        batch_size: int | None = None,
        max_new_tokens: int = MAX_NEW_TOKENS,
        temperature: float = 0.0,
        seed: int = 0,
        question: str | None = None,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        mask_threshold: float | None = None,
        longest_edge: int | None = None,
        model_types: Collection[str] = EXPLAINING,
    ):
        self.batch_size = BATCH_SIZE if batch_size is None else batch_size
        for name, value in (("batch_size", self.batch_size), ("max_new_tokens", max_new_tokens)):
            if value < 1:
                raise ValueError(f"expected {name} of at least 1, got {value}")
        _check_temperature(temperature)
        if isinstance(model, PreTrainedModel):
            if processor is None:
                raise ValueError("expected a processor with a loaded model: Explainer(model, processor)")
            self.name = model.name_or_path or type(model).__name__
            self.model, self.processor = model.eval(), processor
        else:
            self.name = os.fspath(model)
            self.model, self.processor = _load(self.name, device, dtype, model_types)
        self.outlines = self.model.config.model_type == OUTLINING
        self.max_new_tokens = max_new_tokens
        self.temperature = temperature
        self.seed = seed
        self.question = self.processor.question if question is None else question
        self.max_pixels = max_pixels
        self.mask_threshold, self.longest_edge = mask_threshold, longest_edge
        self._check_model()

    @property
    def precision(self) -> str:
        """Arithmetic of the forward pass, such as `float32`."""
        return str(self.model.dtype).removeprefix("torch.")

    @property
    def settings(self) -> dict[str, Any]:
        """What answers depend on beside the weights."""
        names = ["precision", "question", "max_new_tokens", "temperature", "seed"]
        names += ["mask_threshold", "longest_edge"] if self.outlines else []
        return {name: getattr(self, name) for name in names}

    def stream(self, write: Callable[[str], object]) -> AnswerStream:
        """Make a streamer for `explain`: `write` gets the answer word by word, that of LEGION with its tags."""
        decode = (lambda ids: self.processor.decode_grounded([ids])[0]) if self.outlines else None
        return AnswerStream(self.processor.tokenizer, write, decode)

    def explain(self, image: ImageInput, streamer: BaseStreamer | None = None) -> AnyExplanation:
        """Explain one photograph.

        Args:
            image: path or PIL image of any mode.
            streamer: is given the tokens while they are generated, such as transformers' `TextStreamer`.

        Raises:
            ImageReadError: a file or image that cannot be examined.
        """
        return next(self.explain_many([image], streamer))

    def explain_many(
        self, images: Iterable[ImageInput], streamer: BaseStreamer | None = None
    ) -> Iterator[AnyExplanation]:
        """Explain photographs in batches, lazily and in their order.

        Args:
            images: paths or PIL images.
            streamer: see `explain`; with it, images are explained one by one.

        Yields:
            One explanation an image, equal to `explain` on it.

        Raises:
            ImageReadError: at the first image that cannot be examined; `results` goes on.
        """
        for result in self.results(images, streamer):
            if isinstance(result, Failure):
                raise ImageReadError(result.error)
            yield result

    def results(
        self, images: Iterable[ImageInput], streamer: BaseStreamer | None = None
    ) -> Iterator[AnyExplanation | Failure]:
        """Explain photographs as `explain_many` does; one that fails becomes a `Failure` and the rest go on."""
        waiting, together = iter(images), self.batch_size if streamer is None else 1
        explain = partial(self.explain_photos, streamer=streamer)
        while batch := list(islice(waiting, together)):
            read = [_read_or_error(image, self.max_pixels) for image in batch]
            photos = [one.image for one in read if isinstance(one, ReadImage)]
            found = deque(each_or_error(explain, photos))
            for image, one in zip(batch, read, strict=True):
                path = _path(image)
                if isinstance(one, ImageReadError):
                    yield Failure(path, str(one))
                    continue
                explained = found.popleft()
                if isinstance(explained, Exception):
                    yield failure(path, one.image, explained)
                else:
                    yield replace(explained, path=path)

    def answers(self, images: Sequence[Image.Image], temperature: float = 0.0, seed: int = 0) -> list[str]:
        """Answer about images in batches, in words alone.

        Args:
            images: PIL images of any mode.
            temperature: in place of the explainer's.
            seed: likewise.

        Raises:
            ImageReadError: an image that cannot be converted to RGB.
            ValueError: a temperature below 0.
        """
        photos = [as_read_image(image).image for image in images]
        batches = [photos[start : start + self.batch_size] for start in range(0, len(photos), self.batch_size)]
        return [one.text for batch in batches for one in self.explain_photos(batch, temperature, seed)]

    def explain_photos(
        self,
        photos: Sequence[Image.Image],
        temperature: float | None = None,
        seed: int | None = None,
        streamer: BaseStreamer | None = None,
    ) -> list[AnyExplanation]:
        """Explain photographs together, in one batch.

        Args:
            photos: PIL images of mode RGB.
            temperature: None: the explainer's.
            seed: likewise.
            streamer: see `explain`; for one photograph.

        Raises:
            ValueError: a temperature below 0, a question too long, or a model whose values are not numbers.
        """
        if not photos:
            return []
        temperature = self.temperature if temperature is None else temperature
        tokenizer = self.processor.tokenizer
        generation = self._sampling(photos, temperature, self.seed if seed is None else seed) | {
            "max_new_tokens": self.max_new_tokens,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            "streamer": streamer,
        }
        view: dict[str, Any] = {"longest_edge": self.longest_edge} if self.outlines else {}
        inputs = self.processor.inference_inputs(list(photos), self.question, **view).to(self.model.device)
        found: Sequence[AnyExplanation]
        if self.outlines:
            found = ground_artifacts(self.model, self.processor, photos, inputs, generation, self.mask_threshold)
        else:
            found = reason(self.model, self.processor, inputs, generation)
        return [replace(one, model=self.name) for one in found]

    def _check_model(self) -> None:
        """Check that the tokenizer fits the model, and that the settings do."""
        config = self.model.config
        if not self.outlines:
            self.processor.check_verdict_ids(config)
            given = [name for name in ("mask_threshold", "longest_edge") if getattr(self, name) is not None]
            if given:
                raise ValueError(f"this model outlines nothing: leave {' and '.join(given)} out")
            return
        self.processor.check_token_ids(config)
        if self.mask_threshold is None:
            self.mask_threshold = config.mask_threshold
        if not 0 < self.mask_threshold < 1:
            raise ValueError(f"expected a mask_threshold between 0 and 1, got {self.mask_threshold}")
        side = self.processor.grounding_image_processor.pad_size["height"]
        if self.longest_edge is not None and not 1 <= self.longest_edge <= side:
            raise ValueError(
                f"expected a longest_edge of 1 to {side} pixels, the input of SAM, got {self.longest_edge}"
            )

    def _sampling(self, photos: Sequence[Image.Image], temperature: float, seed: int) -> dict[str, Any]:
        """Arguments of `generate`, in place of those that a checkpoint's generation_config.json may have."""
        _check_temperature(temperature)
        steps = LogitsProcessorList([RefuseNotNumbers()])
        if temperature > 0:
            steps.append(SeededSampling(temperature, [seed_of_image(seed, photo) for photo in photos]))
        others = dict.fromkeys(("temperature", "top_k", "top_p"))
        return others | {"do_sample": False, "num_beams": 1, "use_cache": True, "logits_processor": steps}


def _load(
    model: str, device: str | torch.device | None, dtype: str, model_types: Collection[str]
) -> tuple[PreTrainedModel, ExplainingProcessor]:
    if dtype not in DTYPES:
        raise ValueError(f"expected dtype {', '.join(DTYPES)}, got {dtype!r}")
    loaded, processor = load_checkpoint(model, model_types, dtype="auto" if dtype == "auto" else DTYPES[dtype])
    return to_device(loaded, device), processor


def _check_temperature(temperature: float) -> None:
    if not 0 <= temperature < math.inf:
        raise ValueError(f"expected a temperature of 0 or more, got {temperature}")


def _path(image: ImageInput) -> str | None:
    return None if isinstance(image, Image.Image) else os.fspath(image)


def _read_or_error(image: ImageInput, max_pixels: int) -> ReadImage | ImageReadError:
    try:
        return as_read_image(image) if isinstance(image, Image.Image) else read_image(image, max_pixels)
    except ImageReadError as error:
        return error
