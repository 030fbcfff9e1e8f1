"""The eight editors of DiffSeg30k (Table 1) and what diffusers has for them.

The paper names models and, for Flux.1 alone (its reference 5), a checkpoint; which inpainting method each of them was
used with is not given. Classes are those of diffusers 0.42. The ids are where their users or makers publish them; none
was loaded when this table was made, so all count as unverified.
"""

import dataclasses

# Sides of the images that Glide edits, in pixels (section 4.1).
GLIDE_SIZE = 256


@dataclasses.dataclass(frozen=True)
class KnownEditor:
    """One editor of the paper.

    Args:
        name: as in masks, records and settings.
        title: as in the paper.
        colour: in the paper's Figure 6, as matplotlib knows it.
        pipeline: inpainting class of diffusers; None where it has none.
        model: id that is loaded when no other is given; None where there is nothing to load.
        size: side of the images that it edits in pixels; None for the corpus's own.
        note: what to do where there is no class, and where the id is from.
    """

    name: str
    title: str
    colour: str
    pipeline: str | None
    model: str | None
    note: str
    size: int | None = None


# In the order of the legend of Figure 6, which is the default order of the ids; the paper's own is not published.
EDITORS = (
    KnownEditor(
        "sd2",
        "Stable Diffusion 2",
        "crimson",
        "StableDiffusionInpaintPipeline",
        "sd2-community/stable-diffusion-2-inpainting",
        "a copy by others: stabilityai withdrew its own in November 2025",
    ),
    KnownEditor(
        "kolors",
        "Kolors",
        "forestgreen",
        None,
        "Kwai-Kolors/Kolors-diffusers",
        "text and image-to-image only; `custom_pipeline: pipeline_kolors_inpainting` is a community pipeline, and "
        "Kwai-Kolors/Kolors-Inpainting needs the class of its makers' own repository",
    ),
    KnownEditor(
        "sd3.5-medium",
        "Stable Diffusion 3.5 Medium",
        "yellow",
        "StableDiffusion3InpaintPipeline",
        "stabilityai/stable-diffusion-3.5-medium",
        "a text-to-image checkpoint; the pipeline's strength of 0.6 keeps much of what was there. Access on request",
    ),
    KnownEditor(
        "flux.1",
        "Flux.1",
        "royalblue",
        "FluxInpaintPipeline",
        "black-forest-labs/FLUX.1-dev",
        "the paper's reference 5; strength 0.6 as above. Made for inpainting is black-forest-labs/FLUX.1-Fill-dev "
        "with `pipeline: FluxFillPipeline`. Access on request",
    ),
    KnownEditor(
        "sdxl",
        "Stable Diffusion XL 1.0",
        "mediumpurple",
        "StableDiffusionXLInpaintPipeline",
        "diffusers/stable-diffusion-xl-1.0-inpainting-0.1",
        "the inpainting checkpoint of diffusers' makers",
    ),
    KnownEditor(
        "glide",
        "Glide",
        "teal",
        None,
        None,
        "not in diffusers; wrap OpenAI's glide-text2im (its inpaint notebook) as a `function`",
        GLIDE_SIZE,
    ),
    KnownEditor(
        "hunyuandit",
        "HunyuanDiT 1.1",
        "gray",
        None,
        "Tencent-Hunyuan/HunyuanDiT-v1.1-Diffusers",
        "text-to-image only; the community pipeline pipeline_hunyuandit_differential_img2img takes a map in place "
        "of a mask, so wrap it as a `function`",
    ),
    KnownEditor(
        "kandinsky2.2",
        "Kandinsky 2.2",
        "red",
        "KandinskyV22InpaintCombinedPipeline",
        "kandinsky-community/kandinsky-2-2-decoder-inpaint",
        "the id of diffusers' own example",
    ),
)
FIGURE_6_EDITORS = tuple(editor.name for editor in EDITORS)
KNOWN_EDITORS = {editor.name: editor for editor in EDITORS}

__all__ = ["EDITORS", "FIGURE_6_EDITORS", "KNOWN_EDITORS", "KnownEditor"]
