"""FakeReasoning's checkpoints in the layout of their authors, converted to `FakeReasoningForConditionalGeneration`.

Three kinds of folder:
  * LLaVA-1.5 or MoF (two projectors), with or without image encoders in it, from which training starts;
  * what a LoRA run leaves: adapter, configuration and the other trained weights, beside the base model;
  * the published, merged checkpoint: CLIP, DINOv2 and the fusion of both.

Without fusion the result is the paper's network, with it the published one; see `FakeReasoningConfig`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

from forgescope.convert import (
    CONFIG_FILE,
    ConversionReport,
    KeyRow,
    NewTensor,
    Rule,
    Source,
    initialised,
    plan_conversion,
    rename_weights,
)
from forgescope.convert_folders import check_adapter, check_folders, write_checkpoint
from forgescope.convert_llava import (
    LLAMA_RULES,
    llama_settings,
    projector_rules,
    read_llama_tokenizer,
    read_llava_config,
)
from forgescope.convert_lora import PEFT_PREFIX, merge_adapter, read_adapter
from forgescope.convert_towers import (
    Tower,
    clip_rules,
    clip_settings,
    dino_rules,
    dino_settings,
    dino_transformers_rules,
    tower_sources,
    tower_weights,
)
from forgescope.convert_weights import LazyTensor, lazy, read_weights
from forgescope.modeling.configuration_fakereasoning import FakeReasoningConfig
from forgescope.modeling.modeling_fakereasoning import FakeReasoningForConditionalGeneration
from forgescope.processing.processing_fakereasoning import FakeReasoningProcessor

MAX_LENGTH = 2048  # tokens of a conversation, in LLaVA-1.5's training
OTHER_TRAINED = "non_lora_trainables.bin"
OF_LOSSES = "temperature or queue of a loss, as training starts"
# parts of the published network that a base model lacks
NEW_FUSION_HINT = "a base model has no fusion yet: --new-fusion initialises it, for training"
NEW_PARTS = ("model.fusion.", "model.dino_projector.")


def fusion_rules() -> tuple[Rule, ...]:
    """Table of the fusion."""
    table = {
        r"attention_mlp\.mlp\.0\.(\w+)": r"bias_1.\1",
        r"attention_mlp\.mlp\.2\.(\w+)": r"bias_2.\1",
        r"mhatt\.0\.linear_q\.(\w+)": r"query.\1",
        r"mhatt\.0\.linear_k\.(\w+)": r"key.\1",
        r"mhatt\.0\.linear_v\.(\w+)": r"value.\1",
        r"mhatt\.0\.linear_merge\.(\w+)": r"output.\1",
        r"ffn\.0\.mlp\.fc\.linear\.(\w+)": r"feed_forward_1.\1",
        r"ffn\.0\.mlp\.linear\.(\w+)": r"feed_forward_2.\1",
        r"norm\.0\.a_2": "norm_1.weight",
        r"norm\.0\.b_2": "norm_1.bias",
        r"norm\.1\.a_2": "norm_2.weight",
        r"norm\.1\.b_2": "norm_2.bias",
    }
    return tuple(
        Rule(rf"model\.crossattention\.{old}", (f"model.fusion.{new}",), "fusion") for old, new in table.items()
    )


FAKEREASONING_RULES: tuple[Rule, ...] = (
    *LLAMA_RULES,
    *projector_rules("mm_projector", "multi_modal_projector", "projector"),
    *projector_rules("dino_mm_projector", "dino_projector", "projector of DINOv2"),
    *clip_rules(r"model\.vision_tower\.vision_tower\."),
    Rule(r"model\.dino_tower\.clip_vision_tower\..+", (), "second CLIP, whose features the authors' code never uses"),
    *dino_rules(r"model\.dino_tower\.vision_tower\."),
    *fusion_rules(),
)


@dataclass(frozen=True)
class Origin:
    """A checkpoint in the authors' layout.

    Args:
        config: LLaVA's configuration.
        sources: its tensors.
        rows: the report's rows of tensors that were merged into those.
        folders: where a tokenizer may lie, best place first.
    """

    config: dict[str, Any]
    sources: list[Source]
    rows: list[KeyRow]
    folders: list[Path]


def convert_fakereasoning(
    source: Path,
    out: Path,
    clip: Path | None = None,
    dino: Path | None = None,
    base: Path | None = None,
    tokenizer: Path | None = None,
    new_fusion: bool = False,
    dtype: str | None = None,
) -> ConversionReport:
    """Convert a checkpoint of the authors' layout.

    Args:
        source: its folder; its kind is told by its files.
        out: folder to write, which must not exist; it appears when everything is written.
        clip: folder of CLIP, for a checkpoint without it. Where it is in the checkpoint, only its sizes are read here.
        dino: file or folder of DINOv2, likewise.
        base: folder of the model that a LoRA run started from.
        tokenizer: folder of the tokenizer; None: it lies in `source`, or in `base`.
        new_fusion: initialise what a base model lacks of the published network, as its authors do before training.
        dtype: float32, bfloat16 or float16; None: that of the checkpoint.

    Returns:
        What became of every tensor; also in the folder, as `conversion_report.json`.

    Raises:
        ValueError: arguments that do not fit the kind of folder, a damaged file, or weights that do not fit the model.
    """
    check_folders(source, out, base, dtype)
    check_adapter(source, base)
    origin = _origin(source, base)
    towers, notes = tower_sources(
        origin.sources,
        (
            Tower("CLIP", clip, "model.vision_tower.", clip_rules()),
            Tower("DINOv2", dino, "model.dino_tower.vision_tower.", (*dino_rules(), *dino_transformers_rules())),
        ),
    )
    sources = [*origin.sources, *towers]
    config = fakereasoning_config(origin.config, sources, clip, dino)
    length = origin.config.get("tokenizer_model_max_length") or MAX_LENGTH
    processor = _processor([tokenizer] if tokenizer else origin.folders, config, length)
    target, new = conversion_target(config, new_fusion)
    tensors, report = plan_conversion(sources, target, new)
    report.rows.extend(origin.rows)
    report.notes.extend(notes)
    report.check(NEW_FUSION_HINT if any(name.startswith(NEW_PARTS) for name in report.missing) else "")
    if processor is None:
        report.notes.append("no tokenizer was found, so no processor is written; give --tokenizer")
    written = getattr(torch, dtype) if dtype else tensors["model.language_model.norm.weight"].load().dtype
    write_checkpoint(out, tensors, config, processor, report, written)
    return report


def fakereasoning_config(
    llava: Mapping[str, Any], sources: list[Source], clip: Path | None, dino: Path | None
) -> FakeReasoningConfig:
    """Configuration of a checkpoint: the published network where there is a second encoder, else the paper's.

    Args:
        llava: LLaVA's configuration.
        sources: all tensors.
        clip: folder of CLIP, or None.
        dino: file or folder of DINOv2, or None.

    Raises:
        ValueError: an image encoder that is nowhere, or whose sizes are not known.
    """
    weights: dict[str, LazyTensor] = {}
    for source in sources:
        weights |= rename_weights(source)
    settings: dict[str, Any] = {
        "vision_config": clip_settings(clip, tower_weights(weights, "model.vision_tower.", "CLIP", "clip")),
        "text_config": llama_settings(llava),
        "image_token_id": llava["vocab_size"],
        "vision_feature_layer": llava.get("mm_vision_select_layer", -2),
    }
    if any(name.startswith(("model.dino_", "model.fusion.")) for name in weights):
        bias = weights.get("model.fusion.bias_1.weight")
        tower = tower_weights(weights, "model.dino_tower.", "DINOv2", "dino")
        settings |= {
            "dino_config": dino_settings(dino, tower, None if bias is None else bias.shape[1]),
            "contrastive_loss_weight": 0.0,
            "learn_classification_temperature": False,
        }
        if bias is not None:
            settings |= {
                "fusion_bias_channels": bias.shape[0],
                "fusion_num_attention_heads": weights["model.fusion.bias_2.weight"].shape[0],
                "fusion_intermediate_size": weights["model.fusion.feed_forward_1.weight"].shape[0],
            }
    config = FakeReasoningConfig(**settings)
    config.architectures = [FakeReasoningForConditionalGeneration.__name__]
    return config


def _origin(source: Path, base: Path | None) -> Origin:
    """Find the tensors of a checkpoint, with an adapter merged into its base model."""
    if base is None:
        config = read_llava_config(source)
        return Origin(config, [Source("SRC", read_weights(source), FAKEREASONING_RULES)], [], [source])
    has_config = (source / CONFIG_FILE).is_file()
    config = read_llava_config(source if has_config else base)
    adapter, scaling = read_adapter(source)
    weights, rows = merge_adapter(read_weights(base), adapter, scaling, "adapter")
    if not (source / OTHER_TRAINED).is_file():
        raise ValueError(f"no {OTHER_TRAINED} in {source}: it holds the projector, which is trained without LoRA")
    others = read_weights(source / OTHER_TRAINED)
    replaced = "|".join(re.escape(key.removeprefix(PEFT_PREFIX)) for key in others)
    rules = (Rule(replaced, (), f"replaced by {OTHER_TRAINED}"), *FAKEREASONING_RULES)
    return Origin(
        config,
        [Source("base", weights, rules), Source(OTHER_TRAINED, others, FAKEREASONING_RULES, PEFT_PREFIX)],
        rows,
        [source, base],
    )


def conversion_target(
    config: FakeReasoningConfig, new_fusion: bool
) -> tuple[dict[str, torch.Size], dict[str, NewTensor]]:
    """Shapes of the model's tensors, and those that a checkpoint of the authors may lack.

    Args:
        config: of the model.
        new_fusion: whether it may lack the fusion and DINOv2's projector.
    """
    with torch.device("meta"):
        model = FakeReasoningForConditionalGeneration(config)
    target = {name: tensor.shape for name, tensor in model.state_dict().items()}
    parts = {f"{name}.": OF_LOSSES for name in ("forgery_contrast", "probability_mapper")}
    parts |= dict.fromkeys(NEW_PARTS, "initialised afresh: train it") if new_fusion else {}
    new = {}
    for name, module in model.named_modules():
        if f"{name}." in parts:
            for key, tensor in initialised(module).items():
                kept = tensor.dtype if parts[f"{name}."] == OF_LOSSES else None
                new[f"{name}.{key}"] = NewTensor(lazy(tensor, kept), parts[f"{name}."])
    return target, new


def _processor(folders: list[Path], config: FakeReasoningConfig, max_length: int) -> FakeReasoningProcessor | None:
    """Processor with the first tokenizer that is found, and its ids in the configuration; None where there is none."""
    tokenizer = read_llama_tokenizer(folders)
    if tokenizer is None:
        return None
    vision: Any = config.vision_config
    side = vision.image_size
    image_processor = LlavaImageProcessorPil(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}, do_pad=True
    )
    processor = FakeReasoningProcessor(image_processor, tokenizer, patch_size=vision.patch_size, max_length=max_length)
    for name, value in processor.verdict_ids()._asdict().items():
        setattr(config, name, value)
    config.image_token_id = processor.image_token_id
    processor.check_verdict_ids(config)
    return processor


__all__ = ["FAKEREASONING_RULES", "convert_fakereasoning", "fakereasoning_config", "fusion_rules"]
