"""What a model card says of each family: its paper, what its weights derive from, and what it cannot do."""

from dataclasses import dataclass
from typing import Any

from .card_citations import DIFFSEG, FAKEREASONING, GAMMA, ICLNET, LEGION

NVIDIA = "NVIDIA's own licence for SegFormer: research and evaluation only, no commercial use"
LLAMA_2 = "Meta's Llama 2 Community License, with its acceptable use policy"
SEGFORMER = ("SegFormer's encoder (`nvidia/mit-*`), trained on ImageNet", NVIDIA)
TIMM = ("an encoder of timm, trained on ImageNet", "those on the card of that model")
VICUNA = ("Vicuna, a fine-tuned Llama 2", LLAMA_2)
CLIP = ("CLIP ViT-L/14-336", "MIT")


@dataclass(frozen=True)
class CardFamily:
    """One family's part of the card.

    Args:
        summary: what a checkpoint does, as the end of a sentence.
        paper: title and place of the paper.
        pipeline_tag: task name on the Hub.
        made_for: "forged" pixels or "fake" images: the word of the verdict.
        origins: (what, its terms): weights that a checkpoint derives from, where training starts as the paper's does.
        limits: sentences.
        citation: BibTeX of the paper.
    """

    summary: str
    paper: str
    pipeline_tag: str
    made_for: str
    origins: tuple[tuple[str, str], ...]
    limits: tuple[str, ...]
    citation: str

    @property
    def untouched(self) -> str:
        """The word for an image that is neither: "authentic" or "real"."""
        return "authentic" if self.made_for == "forged" else "real"


FAMILIES = {
    "iclnet": CardFamily(
        summary="it marks the forged pixels of a photograph",
        paper="PromptForge-350k, arXiv 2603.29386, section 5 (ICL-Net)",
        pipeline_tag="image-segmentation",
        made_for="forged",
        origins=(SEGFORMER,),
        limits=(
            "It knows the editors of its training images. Edits by others, and edits of the whole image, may leave no "
            "mark.",
        ),
        citation=ICLNET,
    ),
    "gamma": CardFamily(
        summary="it tells whether an image is AI-made and marks the pixels",
        paper="GAMMA: Generalizable Alignment via Multi-task and Manipulation-Augmented Training, section 3.3",
        pipeline_tag="image-classification",
        made_for="fake",
        origins=(SEGFORMER,),
        limits=(
            "Copy-move and splicing are real to it: no network made their pixels. Its manipulation mask marks them.",
            "It knows the generators of its training images.",
        ),
        citation=GAMMA,
    ),
    "diffseg": CardFamily(
        summary="it marks the forged pixels of a photograph and may name the editor",
        paper="DiffSeg30k, arXiv 2511.19111, section 4.1 (baselines)",
        pipeline_tag="image-segmentation",
        made_for="forged",
        origins=(SEGFORMER,),
        limits=(
            "Attribution names the most similar of the editors that were trained on; it has no word for another one.",
            "Which mask value means which editor is not published; the order of DiffSeg30k's names is unverified.",
        ),
        citation=DIFFSEG,
    ),
    "fakereasoning": CardFamily(
        summary="it tells whether an image is AI-made and gives reasons in words",
        paper="FakeReasoning, arXiv 2503.21210, section 4",
        pipeline_tag="image-text-to-text",
        made_for="fake",
        origins=(("LLaVA-1.5", LLAMA_2), VICUNA, CLIP, ("DINOv2, where the network has it", "Apache-2.0")),
        limits=(
            "Reasons persuade more than a number and are no more certain: they are what such answers look like, not a "
            "record of how the verdict came about.",
            "It knows one question, and marks no pixels.",
        ),
        citation=FAKEREASONING,
    ),
    "legion": CardFamily(
        summary="it outlines and explains the artifacts of a generated image, and tells whether an image is AI-made",
        paper="LEGION, arXiv 2503.15264, section 4.1",
        pipeline_tag="image-text-to-text",
        made_for="fake",
        origins=(("GLaMM", "Apache-2.0"), VICUNA, CLIP, ("SAM", "Apache-2.0")),
        limits=(
            "It was taught to find artifacts in every image, and names some in real photographs too. The verdict is "
            "the detection head's alone, and means nothing before that head is trained.",
            "An artifact that is named and outlined persuades, and is no proof.",
        ),
        citation=LEGION,
    ),
}
# True of every family.
COMMON_LIMITS = (
    "Compression, rescaling, messengers and screenshots remove what it looks for.",
    "A threshold holds for images like those it was chosen on.",
    "Nothing found does not make an image genuine. Do not use a verdict as evidence, or as the only ground for a "
    "decision about a person.",
)


def family_origins(config: Any) -> tuple[tuple[str, str], ...]:
    """Weights that a network of this configuration derives from, where it starts as the paper's does."""
    if config.model_type == "diffseg" and config.architecture != "segformer":
        return (TIMM,)
    return FAMILIES[config.model_type].origins


__all__ = ["COMMON_LIMITS", "FAMILIES", "CardFamily", "family_origins"]
