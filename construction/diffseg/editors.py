"""Editors: a diffusers inpainting pipeline, or a function, behind `editor(image, mask, prompt, seed) -> image`."""

import dataclasses
import importlib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from ..inpainters import PipelineInpainter, as_frame, import_diffusers, load_pipeline
from .editor_table import KNOWN_EDITORS

# Called with PIL RGB, PIL L (255 = edit), text, whole number; returns PIL RGB.
EditFunction = Callable[[Image.Image, Image.Image, str, int], Image.Image]


@dataclasses.dataclass(frozen=True)
class EditorSettings:
    """One entry of the editors in a configuration.

    Args:
        name: in masks and records; one of the paper's eight brings its class, id and size along.
        model: Hub id or folder of a pipeline.
        pipeline: class of diffusers, or `package.module:Class`; None for the table's, else whatever class diffusers
            has for inpainting with that model.
        custom_pipeline: community pipeline of diffusers. Its code is downloaded and run.
        function: `package.module:name` of a function `(image, mask, prompt, seed) -> image`, in place of a pipeline.
        size: side of the images that it edits in pixels; they are resized there and back. None for the table's.
        arguments: of every call of the pipeline, such as `num_inference_steps`, `strength`.
        device: `cpu`, `cuda`, ...; None for a GPU if there is one.
        dtype: `float32`, `float16` or `bfloat16`.
        offload: keeps the parts in main memory and moves them to the GPU one by one.
    """

    name: str
    model: str | None = None
    pipeline: str | None = None
    custom_pipeline: str | None = None
    function: str | None = None
    size: int | None = None
    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)
    device: str | None = None
    dtype: str = "float32"
    offload: bool = False

    def __post_init__(self):
        if self.function is not None and (self.model or self.pipeline or self.custom_pipeline or self.arguments):
            raise ValueError(f"editor {self.name}: a function takes no model, pipeline or arguments")
        if self.pipeline and self.custom_pipeline:
            raise ValueError(f"editor {self.name}: give pipeline or custom_pipeline, not both")
        if self.size is not None and self.size < 1:
            raise ValueError(f"editor {self.name}: size must be at least 1, got {self.size}")
        if not isinstance(self.arguments, dict):
            raise ValueError(f"editor {self.name}: arguments must hold `key: value` lines")

    def decisive(self) -> dict[str, Any]:
        """The settings that decide about images, for a record."""
        return {key: value for key, value in dataclasses.asdict(self).items() if key not in ("device", "offload")}


class Editor:
    """An editor of one name.

    Args:
        edit: a pipeline of diffusers that takes `image`, `mask_image` and `prompt`, or a function `(image, mask,
            prompt, seed) -> image`.
        size: side of the images that it edits in pixels; None for those of the corpus.
        **arguments: of every call of the pipeline.

    Raises:
        ValueError: the pipeline takes no prompt, or not one of the arguments.
    """

    def __init__(self, edit: Callable[..., Any], size: int | None = None, **arguments: Any):
        self.size, self.calls = size, 0
        self._edit: EditFunction = edit
        if "mask_image" in inspect.signature(edit).parameters:
            inpainter = PipelineInpainter(edit, **arguments)
            if not inpainter.takes_prompts:
                raise ValueError(f"{type(edit).__name__} takes no prompt")
            self._edit = _single(inpainter)
        elif arguments:
            raise ValueError(f"a function takes no {', '.join(sorted(arguments))}: leave it out")

    def __call__(self, image: Image.Image, mask: np.ndarray, prompt: str, seed: int) -> Image.Image:
        """Edit a region.

        Args:
            image: PIL RGB.
            mask: (H, W) bool, True where to edit.
            prompt: what the region shall show.
            seed: of the noise.

        Returns:
            PIL RGB of the size of `image`, which may differ from it outside the mask too.
        """
        self.calls += 1
        region = Image.fromarray(mask.astype(np.uint8) * 255)
        if self.size is None or image.size == (self.size, self.size):
            return as_frame(self._edit(image, region, prompt, seed), image.size)
        small = (self.size, self.size)
        # a small pixel is edited when the region touches it, so that all of the region is made by the editor
        touched = region.resize(small, Image.Resampling.BOX).point(lambda value: 255 if value else 0)
        edited = as_frame(self._edit(image.resize(small, Image.Resampling.LANCZOS), touched, prompt, seed), small)
        return edited.resize(image.size, Image.Resampling.BICUBIC)


def load_editor(settings: EditorSettings) -> Editor:
    """Load an editor.

    Raises:
        ValueError: nothing to load, no such model, class or function, a wrong dtype or argument.
        ImportError: diffusers is missing.
    """
    known = KNOWN_EDITORS.get(settings.name)
    size = settings.size or (known.size if known else None)
    if settings.function is not None:
        return Editor(_imported(settings.function), size)
    model = settings.model or (known.model if known else None)
    name = settings.pipeline or (known.pipeline if known else None)
    if known and name is None and settings.custom_pipeline is None and settings.model is None:
        raise ValueError(f"diffusers has no inpainting pipeline for {known.title}: {known.note}")
    if model is None:
        raise ValueError(f"editor {settings.name} needs a model, or a function")
    try:
        pipeline = _load_pipeline(settings, model, name)
        return Editor(pipeline, size, **settings.arguments)
    except (ValueError, OSError) as error:
        raise ValueError(f"editor {settings.name}: {error}") from error


def _load_pipeline(settings: EditorSettings, model: str, name: str | None) -> Any:
    diffusers = import_diffusers()
    options = {} if settings.custom_pipeline is None else {"custom_pipeline": settings.custom_pipeline}
    kind = None
    if options:
        kind = diffusers.DiffusionPipeline
    elif name is not None and ":" in name:
        kind = _imported(name)
    elif name is not None:
        if not hasattr(diffusers, name):
            raise ValueError(f"diffusers {diffusers.__version__} has no class {name}")
        kind = getattr(diffusers, name)
    return load_pipeline(model, settings.device, settings.dtype, kind, settings.offload, **options)


def _single(inpainter: PipelineInpainter) -> EditFunction:
    """A pipeline as a function of one image."""
    return lambda image, mask, prompt, seed: inpainter.fill([image], [mask], [prompt], [seed])[0]


def _imported(path: str) -> Any:
    """The object `package.module:name`.

    Raises:
        ValueError: no such module or name.
    """
    module, separator, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name if separator else "")
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"cannot import {path!r}: expected package.module:name ({error})") from error


__all__ = ["EditFunction", "Editor", "EditorSettings", "load_editor"]
