"""What LEGION's training starts from: a LEGION checkpoint, which may be a converted GLaMM, or random weights."""

import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoTokenizer, CLIPImageProcessorPil, SamImageProcessorPil

from forgescope.modeling.configuration_legion import LegionConfig
from forgescope.modeling.modeling_legion import LegionForGroundedExplanation
from forgescope.processing.processing_legion import LegionProcessor

from .adapters import checkpoint_type
from .recipe import Recipe
from .training_run import change_losses, recipe_config

logger = logging.getLogger(__name__)

# What a recipe may change in a checkpoint that is fine-tuned; everything else is its architecture.
LOSS_FIELDS = (
    "language_loss_weight",
    "mask_bce_loss_weight",
    "mask_dice_loss_weight",
    "dice_scale",
    "dice_eps",
)
PROCESSOR_SETTINGS = ("template", "max_length")
TOKEN_IDS = ("image_token_id", "seg_token_id", "phrase_start_token_id", "phrase_end_token_id")


@dataclass(frozen=True)
class LegionStartConfig:
    """What training starts from, where `--base` does not bring it.

    Args:
        tokenizer: Folder or Hub id of a Llama tokenizer, for random weights.
    """

    tokenizer: str | None = None


def build_processor(recipe: Recipe, base: str | None = None) -> LegionProcessor:
    """The processor of the model that `build_model` makes.

    Args:
        recipe: Its `processor` section changes prompts and their length; without a base its `start.tokenizer` and
            image encoders count.
        base: See `build_model`.

    Returns:
        That of the checkpoint, else one with a Llama tokenizer.

    Raises:
        ValueError: If there is no tokenizer, or the base is no LEGION.
        OSError: If a folder or Hub id cannot be read.
    """
    if base is None:
        processor = _random_processor(recipe)
    else:
        checkpoint_type(base, ("legion",))
        processor = LegionProcessor.from_pretrained(base)
    processor.configure(**recipe.processor)
    return processor


def _random_processor(recipe: Recipe) -> LegionProcessor:
    """A processor for a network with random weights."""
    if recipe.start.tokenizer is None:
        raise ValueError(
            "random weights need a tokenizer: --set start.tokenizer=DIR, a folder or Hub id with that of Llama, such "
            "as lmsys/vicuna-7b-v1.5"
        )
    # the vocabulary comes with the tokenizer
    views_alone = {name: value for name, value in recipe.model.items() if name != "text_config"}
    config = recipe_config(LegionConfig, dataclasses.replace(recipe, model=views_alone))
    side, sam_side = config.vision_config.image_size, config.grounding_config.vision_config.image_size
    views = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    grounding = SamImageProcessorPil(size={"longest_edge": sam_side}, pad_size={"height": sam_side, "width": sam_side})
    tokenizer = AutoTokenizer.from_pretrained(recipe.start.tokenizer)
    return LegionProcessor(views, grounding, tokenizer, patch_size=config.vision_config.patch_size)


def build_model(
    recipe: Recipe, processor: LegionProcessor, base: str | None = None, dtype: torch.dtype = torch.float32
) -> LegionForGroundedExplanation:
    """Make the model to train, without adapters.

    Args:
        recipe: Its `model` section configures the network.
        processor: Its token ids must be the model's.
        base: Where the weights come from: a LEGION checkpoint (section 5.1 starts from GLaMM, of which `forgescope
            convert legion` makes one; the recipe's model section changes losses only), or None (random).
        dtype: Of the weights.

    Returns:
        The model.

    Raises:
        ValueError: If `base` is a checkpoint of another kind, the recipe asks for another network, or the tokenizer
            has other ids.
        OSError: If `base` is neither a folder nor a reachable Hub id.
    """
    if base is None:
        logger.warning("training from random weights; --base DIR with a converted GLaMM starts where the paper starts")
        return LegionForGroundedExplanation(random_config(recipe, processor)).to(dtype)
    base = str(Path(base).resolve()) if Path(base).is_dir() else base  # adapters will name it
    config = LegionConfig.from_pretrained(base)
    change_losses(config, recipe, LOSS_FIELDS)
    processor.check_token_ids(config)
    return LegionForGroundedExplanation.from_pretrained(base, config=config, dtype=dtype)


def random_config(recipe: Recipe, processor: LegionProcessor) -> LegionConfig:
    """Configuration of a network with random weights: its vocabulary is that of the tokenizer without the image."""
    ids = {name: getattr(processor, name) for name in TOKEN_IDS}
    config = recipe_config(LegionConfig, dataclasses.replace(recipe, model=_with_vocabulary(recipe, processor) | ids))
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(config.text_config, name, getattr(processor.tokenizer, name))
    return config


def _with_vocabulary(recipe: Recipe, processor: LegionProcessor) -> dict:
    """The model section with as many tokens as the tokenizer has."""
    words = {
        token: number for token, number in processor.tokenizer.get_vocab().items() if token != processor.image_token
    }
    text = dict(recipe.model.get("text_config") or {}) | {"vocab_size": max(words.values()) + 1}
    return recipe.model | {"text_config": text}
