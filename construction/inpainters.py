"""What fills a region: a diffusers inpainting pipeline, or any function `inpainter(image, mask) -> image`.

Images are PIL RGB, masks PIL L with 255 = fill. Every item has a seed of its own, whose noise is drawn on the CPU, so
that it does not depend on what was filled before it, and on the device by rounding only.
"""

import hashlib
import inspect
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from PIL import Image

# Pixels per latent of Stable Diffusion along each side: sides of a frame are multiples of it.
LATENT_SIZE = 8
STEPS_ARGUMENT = "num_inference_steps"
GUIDANCE_ARGUMENT = "guidance_scale"


class BatchInpainter(Protocol):
    """Fills regions of several images of one size.

    Attributes:
        multiple: sides of the frames should be multiples of this many pixels.
        takes_prompts: whether a text can guide it.
        arguments: what every call of the pipeline gets besides.
    """

    multiple: int
    takes_prompts: bool
    arguments: dict[str, Any]

    def fill(
        self, images: list[Image.Image], masks: list[Image.Image], prompts: list[str], seeds: list[int]
    ) -> list[Image.Image]:
        """Return an image of the same size for each."""


class CallableInpainter:
    """A function of image and mask; it sees neither prompts nor seeds."""

    def __init__(self, function: Callable[[Image.Image, Image.Image], Image.Image]):
        self.function = function
        self.multiple, self.takes_prompts = LATENT_SIZE, False
        self.arguments: dict[str, Any] = {}

    def fill(
        self, images: list[Image.Image], masks: list[Image.Image], prompts: list[str], seeds: list[int]
    ) -> list[Image.Image]:
        """Call the function for each image; a result of another size is resized."""
        results = [self.function(image, mask) for image, mask in zip(images, masks, strict=True)]
        return [as_frame(result, image.size) for result, image in zip(results, images, strict=True)]


class PipelineInpainter:
    """A diffusers inpainting pipeline, for batches (`fill`) or, for `manipulate`, as `inpainter(image, mask)`.

    Args:
        pipeline: loaded pipeline whose call takes `image` and `mask_image`.
        prompt: text for `inpainter(image, mask)`; "" fills without guidance by a text.
        seed: base of the seeds of `inpainter(image, mask)`, which follow from it and from the pixels.
        **arguments: further arguments of every call, such as `num_inference_steps`, `guidance_scale`, `strength`.

    Raises:
        ValueError: the pipeline does not take `image` and `mask_image`, the prompt, or one of the arguments.

    Example:
        >>> inpainter = PipelineInpainter(pipeline, prompt="a wooden table", num_inference_steps=30)
        >>> made = manipulate(photo, "inpainting", rng, inpainter=inpainter)
    """

    def __init__(self, pipeline: Callable[..., Any], prompt: str = "", seed: int = 0, **arguments: Any):
        if not is_pipeline(pipeline):
            raise ValueError(f"{type(pipeline).__name__} cannot inpaint: its call takes no image and mask_image")
        self.accepted = set(inspect.signature(pipeline).parameters)
        self.takes_prompts = "prompt" in self.accepted
        unknown = sorted(set(arguments) - self.accepted) + ["prompt"] * (bool(prompt) and not self.takes_prompts)
        if unknown:
            raise ValueError(f"{type(pipeline).__name__} does not take {', '.join(unknown)}: leave it out")
        self.pipeline, self.prompt, self.seed, self.arguments = pipeline, prompt, seed, arguments
        self.multiple = side_multiple(pipeline)

    def __call__(self, image: Image.Image, mask: Image.Image) -> Image.Image:
        """Fill one image from a seed that its pixels, those of the mask and the base seed decide."""
        digest = hashlib.sha256(f"{self.seed}".encode() + image.tobytes() + mask.tobytes()).digest()
        return self.fill([image], [mask], [self.prompt], [int.from_bytes(digest[:4], "big")])[0]

    def fill(
        self, images: list[Image.Image], masks: list[Image.Image], prompts: list[str], seeds: list[int]
    ) -> list[Image.Image]:
        """Fill images of one size in one call of the pipeline.

        Sides that are no multiples of `multiple` are mirrored up to the next one and cut again. A result of another
        size is resized.

        Args:
            images: PIL RGB.
            masks: PIL L, 255 = fill.
            prompts: one an image; "" fills without guidance by a text.
            seeds: one an image, 0 or more.

        Returns:
            RGB images of the size of `images`.

        Raises:
            ValueError: another number of images, or one that the pipeline's safety checker blanked.
        """
        size = images[0].size
        output = self.pipeline(**self._call(images, masks, prompts, seeds))
        results = list(output.images)
        if len(results) != len(images):
            raise ValueError(f"the pipeline returned {len(results)} images for {len(images)}")
        if any(getattr(output, "nsfw_content_detected", None) or ()):
            raise ValueError("the pipeline's safety checker blanked the image")
        padded = _next_multiples(size, self.multiple)
        return [as_frame(result, padded).crop((0, 0, *size)) for result in results]

    def _call(
        self, images: list[Image.Image], masks: list[Image.Image], prompts: list[str], seeds: list[int]
    ) -> dict[str, Any]:
        """Arguments of the pipeline's call; those that not every pipeline knows only where it takes them."""
        import torch

        width, height = _next_multiples(images[0].size, self.multiple)
        lists = {
            "prompt": prompts,
            "image": [_mirrored(image, (width, height)) for image in images],
            "mask_image": [_mirrored(mask, (width, height)) for mask in masks],
            "generator": [torch.Generator("cpu").manual_seed(seed) for seed in seeds],
        }
        optional = {"height": height, "width": width, "output_type": "pil", "return_dict": True}
        call: dict[str, Any] = {name: values for name, values in lists.items() if name in self.accepted}
        if len(images) == 1:  # not every pipeline takes lists
            call = {name: values[0] for name, values in call.items()}
        call.update({name: value for name, value in optional.items() if name in self.accepted})
        return {**call, **self.arguments}


def as_inpainter(pipeline: Callable[..., Any], **arguments: Any) -> BatchInpainter:
    """Make an inpainter for batches of a loaded pipeline, or of a function of image and mask.

    Raises:
        ValueError: neither, or arguments that it does not take.
    """
    if not callable(pipeline):
        raise ValueError(f"expected a pipeline or a function of image and mask, got {type(pipeline).__name__}")
    if is_pipeline(pipeline):
        return PipelineInpainter(pipeline, **arguments)
    if arguments:
        raise ValueError(f"a function of image and mask does not take {', '.join(sorted(arguments))}: leave it out")
    return CallableInpainter(pipeline)


def is_pipeline(pipeline: Callable[..., Any]) -> bool:
    """Whether a call takes `image` and `mask_image`, as those of diffusers' inpainting pipelines do."""
    return {"image", "mask_image"} <= set(inspect.signature(pipeline).parameters)


def side_multiple(pipeline: Any) -> int:
    """Pixels that the sides of a pipeline's images are multiples of.

    Its image processor knows best: Flux packs two latents into one token.
    """
    config = getattr(getattr(pipeline, "image_processor", None), "config", {})
    return int(config.get("vae_scale_factor") or getattr(pipeline, "vae_scale_factor", None) or LATENT_SIZE)


def load_pipeline(
    model: str,
    device: str | None = None,
    dtype: str = "float32",
    kind: Any = None,
    offload: bool = False,
    **options: Any,
) -> Any:
    """Load an inpainting pipeline.

    Args:
        model: Hub id or folder.
        device: `cpu`, `cuda`, ...; None for a GPU if there is one.
        dtype: `float32`, `float16` or `bfloat16`.
        kind: class of the pipeline; None for the one that diffusers has for inpainting with this model.
        offload: keeps the parts in main memory and moves each to the device while it is used.
        **options: further arguments of the class's `from_pretrained`.

    Raises:
        ImportError: diffusers is missing or broken.
        ValueError: unknown dtype, or a pipeline that cannot inpaint.
        OSError: no such pipeline.
    """
    diffusers = import_diffusers()
    import torch

    dtypes = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    if dtype not in dtypes:
        raise ValueError(f"unknown dtype {dtype!r}: expected one of {', '.join(dtypes)}")
    kind = kind or diffusers.AutoPipelineForInpainting
    try:
        pipeline = kind.from_pretrained(model, dtype=dtypes[dtype], **options)
    except OSError as error:
        raise OSError(
            f"no pipeline '{model}' can be loaded: expected a folder with model_index.json, or a Hub id that can be "
            f"reached ({error})"
        ) from error
    pipeline.set_progress_bar_config(disable=True)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if not offload:
        return pipeline.to(device)
    pipeline.enable_model_cpu_offload(device=device)
    return pipeline


def import_diffusers() -> Any:
    """The library diffusers.

    Raises:
        ImportError: it is missing or broken.
    """
    try:
        import diffusers
        from diffusers import AutoPipelineForInpainting  # noqa: F401 (loaded lazily: fails here, not later)
    except (ImportError, RuntimeError) as error:  # RuntimeError: something that diffusers needs is missing
        raise ImportError('inpainting needs diffusers: pip install "forgescope[refine]"') from error
    return diffusers


def as_frame(result: Any, size: tuple[int, int]) -> Image.Image:
    """Bring what an inpainter returned to RGB and to (width, height).

    Raises:
        ValueError: neither a PIL image nor a (H, W, 3) uint8 array.
    """
    if isinstance(result, np.ndarray) and result.dtype == np.uint8 and result.ndim == 3:
        result = Image.fromarray(result)
    if not isinstance(result, Image.Image):
        raise ValueError(f"the inpainter must return a PIL image, got {type(result).__name__}")
    image = result.convert("RGB")
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


def _next_multiples(size: tuple[int, int], multiple: int) -> tuple[int, int]:
    width, height = (-(-side // multiple) * multiple for side in size)
    return width, height


def _mirrored(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Continue an image to the right and below by its mirror image up to (width, height)."""
    missing = (size[1] - image.height, size[0] - image.width)
    if not any(missing):
        return image
    pixels = np.asarray(image)
    margins = [(0, missing[0]), (0, missing[1]), (0, 0)][: pixels.ndim]
    return Image.fromarray(np.pad(pixels, margins, mode="symmetric"))


__all__ = [
    "GUIDANCE_ARGUMENT",
    "LATENT_SIZE",
    "STEPS_ARGUMENT",
    "BatchInpainter",
    "CallableInpainter",
    "PipelineInpainter",
    "as_frame",
    "as_inpainter",
    "import_diffusers",
    "is_pipeline",
    "load_pipeline",
    "side_multiple",
]
