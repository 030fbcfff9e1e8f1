"""LEGION's checkpoints in the layout of their authors, converted to `LegionForGroundedExplanation`.

GLaMM's have the same layout. Kinds of folder:
  * a merged checkpoint: language model, projectors and SAM, without CLIP and without detection head;
  * what stage 2 saves: the same with CLIP and detection head;
  * a training run of stage 1, its weights brought together by DeepSpeed's `zero_to_fp32.py`: LoRA still beside the
    weights, no configuration and no tokenizer.

The region encoder that all of them carry takes boxes, which LEGION never gives: it is left out.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from forgescope.convert import ConversionReport, NewTensor, Source, initialised, plan_conversion, rename_weights
from forgescope.convert_folders import check_folders, write_checkpoint
from forgescope.convert_legion_head import HEAD, NEW_HEAD, head_width, legion_readme, read_head
from forgescope.convert_legion_source import LORA_ALPHA, legion_origin
from forgescope.convert_llava import llama_settings, read_llama_tokenizer
from forgescope.convert_sam import sam_rules, sam_settings
from forgescope.convert_towers import Tower, clip_rules, clip_settings, tower_sources, tower_weights
from forgescope.convert_weights import LazyTensor, lazy
from forgescope.modeling.configuration_legion import VICUNA_7B, LegionConfig
from forgescope.modeling.modeling_legion import LegionForGroundedExplanation
from forgescope.processing.grounded_text import PHRASE_END, PHRASE_START, SEG_TOKEN
from forgescope.processing.grounding_tokens import ADDED_TOKENS
from forgescope.processing.processing_legion import LegionProcessor


def convert_legion(
    source: Path,
    out: Path,
    clip: Path | None = None,
    head: Path | None = None,
    sam: Path | None = None,
    base: Path | None = None,
    lora_alpha: float = LORA_ALPHA,
    dtype: str | None = None,
) -> ConversionReport:
    """Convert a checkpoint of LEGION or GLaMM.

    Args:
        source: its folder; its kind is told by its tensors.
        out: folder to write, which must not exist; it appears when everything is written.
        clip: folder of CLIP, for a checkpoint without it. Where it is in the checkpoint, only its sizes are read here.
        head: file or folder of a stage-2 checkpoint, of which the detection head alone is taken. Without one the head
            is initialised.
        sam: file of SAM's authors, for a checkpoint without it, or a folder with it. A configuration of transformers
            in the folder gives its sizes, which otherwise are those of ViT-H.
        base: folder with configuration and tokenizer of the model that a training run started from.
        lora_alpha: that of a training run, whose weights do not tell it.
        dtype: float32, bfloat16 or float16; None: that of the language model, also for SAM, which authors keep in
            float32 and run in the other type.

    Returns:
        What became of every tensor; also in the folder, as `conversion_report.json`.

    Raises:
        ValueError: arguments that do not fit the kind of folder, a damaged file, or weights that do not fit the model.
    """
    check_folders(source, out, base, dtype)
    origin = legion_origin(source, base, lora_alpha)
    towers, notes = tower_sources(
        [origin.source],
        (
            Tower("CLIP", clip, "model.vision_tower.", clip_rules()),
            Tower("SAM", sam, "model.grounding_encoder.", sam_rules()),
        ),
    )
    sources = [origin.source, *towers, *([] if head is None else [read_head(head, origin.source)])]
    config = legion_config(origin.config, sources, clip, sam)
    processor = _processor([source] if base is None else [source, base], config)
    tensors, report = plan_conversion(sources, *conversion_target(config, sources))
    report.rows.extend(origin.rows)
    report.check()
    report.notes.extend([*notes, *origin.notes])
    config.detection_head_trained = not report.added
    if report.added:
        report.notes.append(f"{NEW_HEAD}; --head takes one from a stage-2 checkpoint")
    if processor is None:
        report.notes.append("no tokenizer was found, so no processor is written; put one into the source's folder")
    written = getattr(torch, dtype) if dtype else tensors["model.language_model.norm.weight"].load().dtype
    write_checkpoint(out, tensors, config, processor, report, written, legion_readme(bool(report.added)))
    return report


def legion_config(
    llava: Mapping[str, Any], sources: Sequence[Source], clip: Path | None, sam: Path | None
) -> LegionConfig:
    """Configuration of a checkpoint, for a tokenizer whose last tokens are the seven that GLaMM added.

    Args:
        llava: its configuration in the authors' layout.
        sources: all tensors.
        clip: folder of CLIP, or None.
        sam: file or folder of SAM, or None.

    Raises:
        ValueError: CLIP or SAM that is nowhere, or a CLIP whose sizes are not known.
    """
    weights: dict[str, LazyTensor] = {}
    for source in sources:
        weights |= rename_weights(source)
    tower_weights(weights, "grounding.", "SAM", "sam")
    vision = clip_settings(clip, tower_weights(weights, "model.vision_tower.", "CLIP", "clip"))
    vocabulary = llava["vocab_size"]
    first = vocabulary - len(ADDED_TOKENS)
    config = LegionConfig(
        vision_config=vision,
        text_config=llama_settings({"pad_token_id": VICUNA_7B["pad_token_id"], **llava}),
        grounding_config=sam_settings(sam),
        image_token_id=vocabulary,
        seg_token_id=first + ADDED_TOKENS.index(SEG_TOKEN),
        phrase_start_token_id=first + ADDED_TOKENS.index(PHRASE_START),
        phrase_end_token_id=first + ADDED_TOKENS.index(PHRASE_END),
        vision_feature_layer=llava.get("mm_vision_select_layer", -2),
        detection_hidden_size=head_width(weights, vision["hidden_size"]),
    )
    config.architectures = [LegionForGroundedExplanation.__name__]
    return config


def conversion_target(
    config: LegionConfig, sources: Sequence[Source]
) -> tuple[dict[str, torch.Size], dict[str, NewTensor]]:
    """Shapes of the model's tensors, and a new detection head where no source has one.

    Args:
        config: of the model.
        sources: all tensors.
    """
    with torch.device("meta"):
        model = LegionForGroundedExplanation(config)
    target = {name: tensor.shape for name, tensor in model.state_dict().items()}
    if any(name.startswith(HEAD) for source in sources for name in source.weights):
        return target, {}
    head = initialised(model.detection_head)
    return target, {f"detection_head.{name}": NewTensor(lazy(tensor), NEW_HEAD) for name, tensor in head.items()}


def _processor(folders: list[Path], config: Any) -> LegionProcessor | None:
    """Processor with the first tokenizer that is found, and its ids in the configuration; None where there is none."""
    tokenizer = read_llama_tokenizer(folders)
    if tokenizer is None:
        return None
    side, sam_side = config.vision_config.image_size, config.grounding_config.vision_config.image_size
    processor = LegionProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side}),
        SamImageProcessorPil(size={"longest_edge": sam_side}, pad_size={"height": sam_side, "width": sam_side}),
        tokenizer,
        patch_size=config.vision_config.patch_size,
    )
    rows = config.text_config.vocab_size
    outside = [token for token in ADDED_TOKENS if tokenizer.convert_tokens_to_ids(token) >= rows]
    if outside:
        raise ValueError(f"the tokenizer does not fit the model, whose vocabulary of {rows} ends before {outside[0]}")
    for name in ("image_token_id", "seg_token_id", "phrase_start_token_id", "phrase_end_token_id"):
        setattr(config, name, getattr(processor, name))
    return processor


__all__ = ["conversion_target", "convert_legion", "legion_config"]
