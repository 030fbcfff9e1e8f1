"""A tiny LEGION that gives known answers and verdicts about plain pictures; nothing is trained.

from answering_legion import ANSWERS, answering_model, save_answering_legion

The network is random. Its states while it reads the answers are linearly independent, so the language modelling head
that makes it write them is the solution of linear equations, and so is the detection head that gives the verdicts.
The masks are those of the random network, and mean nothing.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from answering_fakereasoning import plain_photo
from legion_processor import legion_processor
from PIL import Image
from tiny_models import TINY_CLIP, TINY_LLAMA, TINY_SAM

from forgescope.modeling.configuration_legion import LegionConfig
from forgescope.modeling.modeling_legion import LegionForGroundedExplanation
from forgescope.processing.processing_legion import LegionProcessor

# Wider than the answers have tokens, all together.
WIDTH = 192
# Random weights this large mix the states of all tokens before, so that the same token has another state elsewhere.
SPREAD = 0.15
# Logit of the token that is to come, where the others have 0.
LOGIT = 40.0
# Without it every pixel's probability is near 0.5.
MASK_GAIN = 100.0
# Colour of the picture -> answer.
ANSWERS = {
    "red": (
        "I found artifacts. <p> The left hand </p> [SEG]: The fingers are fused. <p> The sign </p> [SEG]: Its letters "
        "are wrong."
    ),
    "green": "I found nothing.",
    # not closed, and a phrase without mask
    "blue": "<p> The eye [SEG]: Too large. <p> The wall </p>: Blurred.",
}
# Colour -> logit of fake, where real has 0.
VERDICTS = {"red": 4.0, "green": -4.0, "blue": 1.0}


def answering_model(as_red: Sequence[Image.Image] = ()) -> tuple[LegionForGroundedExplanation, LegionProcessor]:
    """The model in evaluation mode, and its processor.

    Args:
        as_red: photographs that get the answer about the red picture.
    """
    processor = legion_processor()
    torch.manual_seed(0)
    text = TINY_LLAMA | {"vocab_size": 32007, "hidden_size": WIDTH, "num_key_value_heads": 4}
    config = LegionConfig(
        vision_config=TINY_CLIP,
        text_config=text,
        grounding_config=TINY_SAM,
        detection_hidden_size=24,
        detection_head_trained=True,
    )
    model = LegionForGroundedExplanation(config).eval()
    with torch.no_grad():
        for part in (model.model, model.prompt_projector, model.grounding.mask_decoder):
            for parameter in part.parameters():
                if parameter.dim() > 1:
                    parameter.normal_(std=SPREAD)
        model.grounding.mask_decoder.output_hypernetworks_mlps[0].proj_out.weight *= MASK_GAIN
        model.detection_head.linear_1.weight.normal_()
        cases = [(plain_photo(color), answer) for color, answer in ANSWERS.items()]
        _solve_answers(model, processor, [*cases, *((photo, ANSWERS["red"]) for photo in as_red)])
        _solve_verdicts(model, processor)
    return model, processor


def save_answering_legion(folder: Path, as_red: Sequence[Image.Image] = ()) -> Path:
    """Save what `answering_model` gives; returns the folder."""
    for part in answering_model(as_red):
        part.save_pretrained(folder)
    return folder


def _solve_answers(
    model: LegionForGroundedExplanation, processor: LegionProcessor, cases: Sequence[tuple[Image.Image, str]]
) -> None:
    states, tokens = [], []
    for photo, answer in cases:
        inputs = processor.inference_inputs(photo)
        ids = processor.tokenizer(answer, add_special_tokens=False)["input_ids"]
        tokens.append(torch.tensor([*ids, processor.tokenizer.eos_token_id]))
        whole = torch.cat([inputs["input_ids"], tokens[-1][None]], dim=1)
        read = model.model(input_ids=whole, pixel_values=inputs["pixel_values"]).last_hidden_state[0]
        states.append(read[-len(tokens[-1]) - 1 : -1])
    columns = torch.cat(tokens).unique()
    logits = LOGIT * (torch.cat(tokens)[:, None] == columns).double()
    model.lm_head.weight.zero_()
    model.lm_head.weight[columns] = (torch.linalg.pinv(torch.cat(states).double()) @ logits).T.float()


def _solve_verdicts(model: LegionForGroundedExplanation, processor: LegionProcessor) -> None:
    pixels = processor.detection_inputs([plain_photo(color) for color in VERDICTS])["pixel_values"]
    hidden = model.detection_head.linear_1(model.class_tokens(pixels)).relu()
    wanted = torch.tensor([[0.0, logit] for logit in VERDICTS.values()])
    model.detection_head.linear_2.weight.copy_((torch.linalg.pinv(hidden) @ wanted).T)
    model.detection_head.linear_2.bias.zero_()
