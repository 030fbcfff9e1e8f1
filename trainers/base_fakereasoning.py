"""What FakeReasoning's training starts from: a LLaVA checkpoint, its own, or random weights (section 5.1)."""

import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, Dinov2Model
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

from forgescope.modeling.configuration_fakereasoning import FakeReasoningConfig
from forgescope.modeling.modeling_fakereasoning import FakeReasoningForConditionalGeneration
from forgescope.processing.processing_fakereasoning import FakeReasoningProcessor

from .adapters import checkpoint_type
from .adapters_fakereasoning import BASES
from .recipe import Recipe
from .training_run import change_losses, recipe_config

logger = logging.getLogger(__name__)

# What a recipe may change in a checkpoint that is fine-tuned; everything else is its architecture.
LOSS_FIELDS = (
    "language_loss_weight",
    "classification_loss_weight",
    "contrastive_loss_weight",
    "classification_search",
    "contrastive_temperature",
    "contrastive_normalize",
    "contrastive_pool",
    "contrastive_text_source",
    "save_contrastive_queue",
)
# Parts of the network that come with a LLaVA checkpoint.
LLAVA_PARTS = ("vision_config", "text_config", "image_token_id", "vision_feature_layer", "projector_hidden_act")


@dataclass(frozen=True)
class StartConfig:
    """What training starts from, where `--base` does not bring it.

    Args:
        tokenizer: Folder or Hub id of a Llama tokenizer, for random weights.
        dino: Folder or Hub id of DINOv2, for a LLaVA that becomes the later design.
    """

    tokenizer: str | None = None
    dino: str | None = None


def base_kind(base: str | None) -> str:
    """Kind of a base: `random`, `llava` or `fakereasoning`.

    Raises:
        ValueError: If it is a checkpoint of another kind, or a folder of adapters.
        OSError: If it is neither a folder nor a reachable Hub id.
    """
    return "random" if base is None else checkpoint_type(base, BASES)


def build_processor(recipe: Recipe, base: str | None = None) -> FakeReasoningProcessor:
    """The processor of the model that `build_model` makes.

    Args:
        recipe: Its `processor` section changes prompts and their length; without a base its `start.tokenizer` and
            image encoder count.
        base: See `build_model`.

    Returns:
        That of a FakeReasoning checkpoint, else one with the tokenizer of the base.

    Raises:
        ValueError: If there is no tokenizer, or it has another vocabulary than FakeReasoning's.
        OSError: If a folder or Hub id cannot be read.
    """
    kind = base_kind(base)
    if kind == "fakereasoning":
        processor = FakeReasoningProcessor.from_pretrained(base)
        processor.configure(**recipe.processor)
        return processor
    source = recipe.start.tokenizer if base is None else base
    if source is None:
        raise ValueError(
            "random weights need a tokenizer: --set start.tokenizer=DIR, a folder or Hub id with that of Llama, such "
            "as llava-hf/llava-1.5-7b-hf"
        )
    config = recipe_config(FakeReasoningConfig, recipe) if base is None else AutoConfig.from_pretrained(base)
    side = config.vision_config.image_size
    images = LlavaImageProcessorPil(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}, do_pad=True
    )
    tokenizer = AutoTokenizer.from_pretrained(source)
    return FakeReasoningProcessor(images, tokenizer, patch_size=config.vision_config.patch_size, **recipe.processor)


def build_model(
    recipe: Recipe, processor: FakeReasoningProcessor, base: str | None = None, dtype: torch.dtype = torch.float32
) -> FakeReasoningForConditionalGeneration:
    """Make the model to train, without adapters.

    Args:
        recipe: Its `model` section configures the network.
        processor: Its token ids must be the model's.
        base: Where the weights come from: a LLaVA-1.5 checkpoint of transformers (section 5.1; with `start.dino`
            also DINOv2's, everything else is random), a FakeReasoning checkpoint (fine-tuned as it is; the recipe's
            model section changes losses only), or None (random).
        dtype: Of the weights.

    Returns:
        The model.

    Raises:
        ValueError: If `base` is a checkpoint of another kind, the recipe asks for another network, or the tokenizer
            has other ids.
        OSError: If `base` is neither a folder nor a reachable Hub id.
    """
    kind = base_kind(base)
    if base is None:
        logger.warning("training from random weights; --base llava-hf/llava-1.5-13b-hf starts where the paper starts")
        return FakeReasoningForConditionalGeneration(random_config(recipe, processor)).to(dtype)
    base = str(Path(base).resolve()) if Path(base).is_dir() else base  # adapters will name it
    if kind == "llava":
        model = _from_llava(recipe, processor, base, dtype)
    else:
        config = FakeReasoningConfig.from_pretrained(base)
        change_losses(config, recipe, LOSS_FIELDS)
        model = FakeReasoningForConditionalGeneration.from_pretrained(base, config=config, dtype=dtype)
    processor.check_verdict_ids(model.config)
    return model


def fitted_config(recipe: Recipe, processor: FakeReasoningProcessor) -> FakeReasoningConfig:
    """The recipe's configuration with the tokenizer's ids of the image, and of the conclusion and its words."""
    ids = {"image_token_id": processor.image_token_id, **processor.verdict_ids()._asdict()}
    return recipe_config(FakeReasoningConfig, dataclasses.replace(recipe, model=recipe.model | ids))


def random_config(recipe: Recipe, processor: FakeReasoningProcessor) -> FakeReasoningConfig:
    """Configuration of a network with random weights: its vocabulary is that of the tokenizer."""
    config = fitted_config(recipe, processor)
    text: Any = config.text_config
    text.vocab_size = len(processor.tokenizer)
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(text, name, getattr(processor.tokenizer, name))
    return config


def _from_llava(
    recipe: Recipe, processor: FakeReasoningProcessor, base: str, dtype: torch.dtype
) -> FakeReasoningForConditionalGeneration:
    """A LLaVA checkpoint with what the recipe adds to it."""
    given = sorted(set(recipe.model) & set(LLAVA_PARTS))
    if given:
        raise ValueError(f"recipe {recipe.name}: model.{given[0]} comes with {base}, leave it out")
    config = fitted_config(recipe, processor)
    if (config.dino_config is None) != (recipe.start.dino is None):
        raise ValueError(
            f"recipe {recipe.name}: model.dino_config and start.dino go together when training starts from a LLaVA: "
            "the image encoder is frozen and needs trained weights"
        )
    model = FakeReasoningForConditionalGeneration.from_llava(base, config, dtype=dtype)
    if recipe.start.dino is not None:
        weights = Dinov2Model.from_pretrained(recipe.start.dino, dtype=dtype).state_dict()
        model.model.dino_tower.load_state_dict(weights)
    return model
