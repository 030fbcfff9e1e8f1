"""A model that explains itself in words: photograph in, verdict and the reasons for it out."""

import math
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import torch
from PIL import Image
from transformers import LogitsProcessorList, PreTrainedModel
from transformers.generation.streamers import BaseStreamer

from forgescope.processing.chain_of_thought import QUESTION, ChainOfThought
from forgescope.processing.processing_fakereasoning import FakeReasoningProcessor

from .examination import Failure, each_or_error, failure
from .explanation import Explanation
from .hub import load_checkpoint
from .localize import DTYPES, to_device
from .reading import DEFAULT_MAX_PIXELS, ImageReadError, ReadImage, as_read_image, read_image
from .token_choice import RefuseNotNumbers, SeededSampling, seed_of_image

ImageInput = str | os.PathLike | Image.Image
# Model types that explain themselves.
EXPLAINING = ("fakereasoning",)
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

    Raises:
        ValueError: unknown or unsuitable checkpoint or settings, or a tokenizer that does not fit the model.
    """

    def __init__(
        self,
        model: str | os.PathLike | PreTrainedModel,
        processor: FakeReasoningProcessor | None = None,
        *,
        device: str | torch.device | None = None,
        dtype: str = "auto",
        batch_size: int | None = None,
        max_new_tokens: int = MAX_NEW_TOKENS,
        temperature: float = 0.0,
        seed: int = 0,
        question: str | None = None,
        max_pixels: int = DEFAULT_MAX_PIXELS,
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
            self.model, self.processor = _load(self.name, device, dtype)
        self.processor.check_verdict_ids(self.model.config)
        self.max_new_tokens = max_new_tokens
        self.temperature = temperature
        self.seed = seed
        self.question = QUESTION if question is None else question
        self.max_pixels = max_pixels

    @property
    def precision(self) -> str:
        """Arithmetic of the forward pass, such as `float32`."""
        return str(self.model.dtype).removeprefix("torch.")

    def explain(self, image: ImageInput, streamer: BaseStreamer | None = None) -> Explanation:
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
    ) -> Iterator[Explanation]:
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
    ) -> Iterator[Explanation | Failure]:
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
    ) -> list[Explanation]:
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
        settings = self._sampling(photos, temperature, self.seed if seed is None else seed)
        inputs = self.processor.inference_inputs(list(photos), self.question).to(self.model.device)
        tokenizer = self.processor.tokenizer
        found = self.model.generate_verdict(
            **inputs,
            **settings,
            max_new_tokens=self.max_new_tokens,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            streamer=streamer,
        )
        texts = tokenizer.batch_decode(found.generated_ids, skip_special_tokens=True)
        answers = self.processor.decode_answers(found.generated_ids)
        ended = (found.generated_ids == tokenizer.eos_token_id).any(dim=1).tolist()
        probabilities = [None if math.isnan(one) else one for one in found.fake_probability.tolist()]
        rows = zip(texts, answers, probabilities, ended, strict=True)
        return [self._explanation(text.strip(), *rest) for text, *rest in rows]

    def _sampling(self, photos: Sequence[Image.Image], temperature: float, seed: int) -> dict[str, Any]:
        """Arguments of `generate`, in place of those that a checkpoint's generation_config.json may have."""
        _check_temperature(temperature)
        steps = LogitsProcessorList([RefuseNotNumbers()])
        if temperature > 0:
            steps.append(SeededSampling(temperature, [seed_of_image(seed, photo) for photo in photos]))
        others = dict.fromkeys(("temperature", "top_k", "top_p"))
        return others | {"do_sample": False, "num_beams": 1, "use_cache": True, "logits_processor": steps}

    def _explanation(self, text: str, answer: ChainOfThought, probability: float | None, ended: bool) -> Explanation:
        found = Explanation(
            verdict=answer.label,
            fake_probability=probability,
            text=text,
            summary=answer.summary,
            caption=answer.caption,
            reasoning=answer.reasoning,
            conclusion=answer.conclusion,
            problems=list(answer.problems),
            model=self.name,
        )
        if not ended:
            found.problems.append(f"the answer was cut off after {self.max_new_tokens} tokens")
        if answer.label is not None and probability is None:
            found.problems.append("the conclusion is in words that have no probability")
        if found.contradictory:
            found.problems.append(
                f"the conclusion says {answer.label}, but the probability to be fake is {probability:.3f}"
            )
        return found


def _load(model: str, device: str | torch.device | None, dtype: str) -> tuple[PreTrainedModel, FakeReasoningProcessor]:
    if dtype not in DTYPES:
        raise ValueError(f"expected dtype {', '.join(DTYPES)}, got {dtype!r}")
    loaded, processor = load_checkpoint(model, EXPLAINING, dtype="auto" if dtype == "auto" else DTYPES[dtype])
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
