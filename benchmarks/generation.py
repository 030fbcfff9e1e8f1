"""LEGION's explanations as forgescope generates them against the published way, side by side in one run on a CPU.

    python benchmarks/generation.py [--tokens 64] [--rounds 3] [--threads 2] [--clock wall] [--size middle]
    python benchmarks/generation.py --size tiny --rounds 2        # a quick look

Naive: as the published code does it, CLIP and the whole text run again for every token. With a cache: keys and values
are kept, CLIP runs once. forgescope: `generate_grounded`, alone and in a batch, with masks. All have the same
random weights, 576 image tokens and the same number of new tokens; the ids must be equal in the same run. Times are
without SAM in the first two ways and with it in ours. The full network does not fit this machine, so the sizes are
given with the numbers: the ratio grows with CLIP's share and with the number of tokens.
"""

import argparse
import platform

import torch
from inference import CLOCKS, NAIVE, print_rows, take_turns

from forgescope.modeling.configuration_legion import LegionConfig
from forgescope.modeling.modeling_legion import LegionForGroundedExplanation

# side 336 and patches of 14 pixels everywhere: 576 image tokens, as published
SIZES = {
    "tiny": {"vision": (64, 3), "text": (128, 2)},
    "middle": {"vision": (256, 6), "text": (512, 6)},
    "large": {"vision": (512, 12), "text": (1024, 12)},
}
PROMPT_TOKENS = 120  # text tokens of the published question
VOCABULARY = 32007
BATCH = 4


def build(size: str) -> LegionForGroundedExplanation:
    """A network with random weights and LEGION's shapes."""
    (vision, vision_layers), (text, text_layers) = SIZES[size]["vision"], SIZES[size]["text"]
    config = LegionConfig(
        vision_config={
            "model_type": "clip_vision_model",
            "hidden_size": vision,
            "intermediate_size": 4 * vision,
            "num_hidden_layers": vision_layers,
            "num_attention_heads": vision // 32,
            "image_size": 336,
            "patch_size": 14,
        },
        text_config={
            "model_type": "llama",
            "vocab_size": VOCABULARY,
            "hidden_size": text,
            "intermediate_size": 3 * text,
            "num_hidden_layers": text_layers,
            "num_attention_heads": text // 64,
        },
        grounding_config={"vision_config": {"image_size": 256}, "prompt_encoder_config": {"image_size": 256}},
    )
    torch.manual_seed(0)
    return LegionForGroundedExplanation(config).eval()


def make_inputs(config: LegionConfig, batch: int) -> dict[str, torch.Tensor]:
    """A prompt with an image; every row of a batch is the same."""
    generator = torch.Generator().manual_seed(0)
    text = torch.randint(3, 30000, (PROMPT_TOKENS,), generator=generator)
    image = torch.full((config.image_seq_length,), config.image_token_id)
    ids = torch.cat([text[:40], image, text[40:]])
    side = config.grounding_config.vision_config.image_size
    rows = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "pixel_values": torch.randn(3, 336, 336, generator=generator),
        "grounding_pixel_values": torch.randn(3, side, side, generator=generator),
    }
    return {name: row[None].repeat(batch, *[1] * row.ndim) for name, row in rows.items()}


@torch.no_grad()
def published(model: LegionForGroundedExplanation, inputs: dict[str, torch.Tensor], tokens: int) -> list[int]:
    """Greedy search that runs everything again for every token."""
    ids = inputs["input_ids"]
    for _ in range(tokens):
        logits = model(ids, pixel_values=inputs["pixel_values"], use_cache=False).logits
        ids = torch.cat([ids, logits[:, -1:].argmax(-1)], dim=1)
    return ids[0, -tokens:].tolist()


@torch.no_grad()
def cached(model: LegionForGroundedExplanation, inputs: dict[str, torch.Tensor], tokens: int) -> list[int]:
    """Greedy search that keeps keys and values."""
    ids, given, past, chosen = inputs["input_ids"], {"pixel_values": inputs["pixel_values"]}, None, []
    for _ in range(tokens):
        outputs = model(ids, past_key_values=past, use_cache=True, logits_to_keep=1, **given)
        ids, given, past = outputs.logits[:, -1:].argmax(-1), {}, outputs.past_key_values
        chosen.append(int(ids))
    return chosen


def ours(model: LegionForGroundedExplanation, inputs: dict[str, torch.Tensor], tokens: int) -> list[int]:
    """`generate_grounded`."""
    settings = {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": False}
    return model.generate_grounded(**inputs, **settings).generated_ids[0].tolist()


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--size", choices=SIZES, default="middle")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = build(arguments.size)
    # no end of text before the last token
    model.generation_config.eos_token_id = None
    single, batch = make_inputs(model.config, 1), make_inputs(model.config, BATCH)
    millions = sum(one.numel() for one in model.parameters()) / 1e6
    print(
        f"torch {torch.__version__}, {platform.machine()}, {arguments.threads} thread(s), {arguments.clock} time, "
        f"{SIZES[arguments.size]}, {millions:.0f} M parameters, {arguments.tokens} tokens, {arguments.rounds} rounds"
    )
    ids = {
        NAIVE: published(model, single, arguments.tokens),
        "with a cache": cached(model, single, arguments.tokens),
        "forgescope": ours(model, single, arguments.tokens),
        f"forgescope, batch {BATCH}": ours(model, batch, arguments.tokens),
    }
    notes = {name: "same ids" if found == ids[NAIVE] else "OTHER IDS" for name, found in ids.items()}
    ways = {
        NAIVE: lambda: published(model, single, arguments.tokens),
        "with a cache": lambda: cached(model, single, arguments.tokens),
        "forgescope": lambda: ours(model, single, arguments.tokens),
    }
    clock = CLOCKS[arguments.clock]
    seconds = take_turns(ways, arguments.rounds, clock, "single")
    print_rows("one image", seconds, notes, per=1)
    name = f"forgescope, batch {BATCH}"
    times = take_turns({name: lambda: ours(model, batch, arguments.tokens)}, arguments.rounds, clock, "batch")
    per_image = {NAIVE: seconds[NAIVE], name: [one / BATCH for one in times[name]]}
    print_rows("in a batch", per_image, notes, per=1)


if __name__ == "__main__":
    main()
