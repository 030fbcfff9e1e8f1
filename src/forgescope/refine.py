"""What refinement needs from elsewhere: diffusers pipelines, language models and detectors as plain functions."""

import inspect
from collections.abc import Sequence
from typing import Any

from PIL import Image

from forgescope.construction.inpainters import PipelineInpainter, import_diffusers, load_pipeline
from forgescope.construction.vision_language import VisionLanguageSettings, load_vision_language
from forgescope.refinement.artifacts import Artifact, Explain
from forgescope.refinement.inpaint import PUBLISHED_ARGUMENTS, Inpaint
from forgescope.refinement.regenerate import Generate
from forgescope.refinement.revisers import Ask

# The paper's, section 5.5.2.
INPAINTING_MODEL = "diffusers/stable-diffusion-xl-1.0-inpainting-0.1"
# The paper says Stable Diffusion 3.5; which size is not given.
REGENERATION_MODEL = "stabilityai/stable-diffusion-3.5-medium"


def inpaint_function(pipeline: Any, **arguments: Any) -> Inpaint:
    """A loaded inpainting pipeline of diffusers as `inpaint(image, mask, prompt, seed) -> image`.

    Args:
        pipeline: its call takes `image`, `mask_image` and `prompt`.
        **arguments: of every call, in place of the published ones (`PUBLISHED_ARGUMENTS`).

    Raises:
        ValueError: a pipeline that cannot inpaint, takes no prompt, or does not take one of the arguments.
    """
    accepted = inspect.signature(pipeline).parameters
    published = {name: value for name, value in PUBLISHED_ARGUMENTS.items() if name in accepted}
    inpainter = PipelineInpainter(pipeline, **{**published, **arguments})
    if not inpainter.takes_prompts:
        raise ValueError(f"{type(pipeline).__name__} takes no prompt, so explanations cannot guide it")
    return lambda image, mask, prompt, seed: inpainter.fill([image], [mask], [prompt], [seed])[0]


def generate_function(pipeline: Any, **arguments: Any) -> Generate:
    """A loaded text-to-image pipeline of diffusers as `generate(prompt, seed) -> image`, in the pipeline's own size.

    Args:
        pipeline: its call takes `prompt`.
        **arguments: of every call; the pipeline's own by default, for the published ones are not given.

    Raises:
        ValueError: a pipeline or checkpoint for something else, or an argument that it does not take.
    """
    name, accepted = type(pipeline).__name__, set(inspect.signature(pipeline).parameters)
    if "prompt" not in accepted or ("image" in accepted and accepted & {"mask_image", "strength"}):
        raise ValueError(f"{name} makes no image of a text alone: give a text-to-image pipeline")
    network, autoencoder = getattr(pipeline, "unet", None), getattr(pipeline, "vae", None)
    if network is not None and autoencoder is not None:
        channels, latents = network.config.in_channels, autoencoder.config.latent_channels
        if channels != latents:
            raise ValueError(
                f"the network takes {channels} channels and latents have {latents}: this is a checkpoint for "
                "inpainting or editing, give one for text-to-image"
            )
    unknown = sorted(set(arguments) - accepted)
    if unknown:
        raise ValueError(f"{name} does not take {', '.join(unknown)}: leave it out")

    def generate(prompt: str, seed: int) -> Image.Image:
        import torch

        output = pipeline(prompt=prompt, generator=torch.Generator("cpu").manual_seed(seed), **arguments)
        if any(getattr(output, "nsfw_content_detected", None) or ()):
            raise ValueError("the pipeline's safety checker blanked the image")
        return output.images[0]

    return generate


def load_diffusion(model: str, inpainting: bool, **options: Any) -> Any:
    """Load a pipeline for inpainting or for text-to-image; the options are those of `load_pipeline`.

    Raises:
        ImportError: diffusers is missing or broken.
        ValueError: a model that diffusers has no such pipeline for.
        OSError: no such model.
    """
    try:
        diffusers = import_diffusers()
    except ImportError as error:
        raise ImportError('refinement needs diffusers: pip install "forgescope[refine]"') from error
    kind = diffusers.AutoPipelineForInpainting if inpainting else diffusers.AutoPipelineForText2Image
    return load_pipeline(model, kind=kind, **options)


def native_side(pipeline: Any) -> int | None:
    """Pixels of the side that a diffusers pipeline was trained at; None where it does not say."""
    sample = getattr(pipeline, "default_sample_size", None)
    for part in ("unet", "transformer"):
        config = getattr(getattr(pipeline, part, None), "config", None)
        sample = sample or getattr(config, "sample_size", None)
    factor = getattr(pipeline, "vae_scale_factor", None)
    if not sample or not factor:
        return None
    return int(max(sample) if isinstance(sample, list | tuple) else sample) * int(factor)


def load_language_model(
    model: str, base_url: str | None = None, api_key_env: str | None = None, device: str | None = None
) -> Ask:
    """Load a language model with or without eyes, or make the client of a chat server: `ask(images, text) -> text`.

    Args:
        model: Hub id or folder; with `base_url` the name that the server knows.
        base_url: address of a server with OpenAI's chat interface.
        api_key_env: environment variable that holds the server's key.
        device: `cpu`, `cuda`, ...; None for a GPU if there is one.

    Raises:
        ValueError: a wrong address, or an environment variable without a key.
        OSError: no such model.
    """
    if base_url is None:
        from transformers import AutoConfig
        from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

        if type(AutoConfig.from_pretrained(model)) not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
            return _load_text_model(model, device)
    return load_vision_language(VisionLanguageSettings(model, base_url, api_key_env, device))


def _load_text_model(model: str, device: str | None) -> Ask:
    from transformers import pipeline

    generator = pipeline("text-generation", model=model, device=device, dtype="auto")
    length = VisionLanguageSettings.max_new_tokens

    def ask(images: Sequence[Image.Image], text: str) -> str:
        if images:
            raise ValueError(f"{model} sees no images: give a vision-language model, or ask without images")
        chat = [{"role": "user", "content": text}]
        return generator(chat, max_new_tokens=length, do_sample=False, return_full_text=False)[0]["generated_text"]

    return ask


def load_explainer(model: str, device: str | None = None) -> Explain:
    """Load a LEGION checkpoint as a function of an image that returns its artifacts.

    Raises:
        ValueError: no such checkpoint or device, or a checkpoint of another type.
    """
    from forgescope.explain import OUTLINING, Explainer

    explainer = Explainer(model, device=device, model_types=(OUTLINING,))
    return lambda image: artifacts_of(explainer.explain(image))


def artifacts_of(explanation: Any) -> list[Artifact]:
    """The artifacts of a LEGION explanation: texts and mask of each stay together."""
    return [Artifact(one.phrase, one.explanation, one.mask, one.score) for one in explanation.phrases]


__all__ = [
    "INPAINTING_MODEL",
    "REGENERATION_MODEL",
    "artifacts_of",
    "generate_function",
    "inpaint_function",
    "load_diffusion",
    "load_explainer",
    "load_language_model",
    "native_side",
]
