"""A tiny FakeReasoning that gives known answers about plain pictures; nothing is trained.

from answering_fakereasoning import ANSWERS, answering_model, plain_photo

The network is random. Its states while it reads the answers are linearly independent, so the language modelling head
that makes it write them is the solution of linear equations.
"""

from pathlib import Path

import torch
from llama_tokenizer import VOCABULARY_SIZE, fakereasoning_processor
from PIL import Image

from forgescope.modeling.configuration_fakereasoning import FakeReasoningConfig
from forgescope.modeling.modeling_fakereasoning import FakeReasoningForConditionalGeneration
from forgescope.processing.chain_of_thought import QUESTION
from forgescope.processing.processing_fakereasoning import FakeReasoningProcessor

IMAGE_SIZE, PATCH_SIZE = 28, 14
# Wider than the answers have tokens, all together.
WIDTH = 256
# Random weights this large mix the states of all tokens before, so that the same token has another state elsewhere.
SPREAD = 0.15
# Logit of the token that is to come, where the others have 0: at the verdict, a probability of sigmoid(40 / 10).
LOGIT = 40.0
FORM = (
    "<SUMMARY> I look. </SUMMARY>\n\n<CAPTION> A {color} wall. </CAPTION>\n\n<REASONING> {reason}. </REASONING>\n\n"
    "<CONCLUSION> This image is {verdict}. </CONCLUSION>"
)
# Colour of the picture -> answer.
ANSWERS = {
    "red": FORM.format(color="red", reason="No grain", verdict="fake"),
    "green": FORM.format(color="green", reason="Fine grain", verdict="real"),
    # no conclusion
    "blue": "I cannot say.",
    # "not" stands where the probability is read, and the logits there are for real
    "black": FORM.format(color="black", reason="No light", verdict="not real"),
    # a conclusion from which no probability can be read
    "white": "<CONCLUSION> It is artificial. </CONCLUSION>",
}
OTHER_QUESTION, OTHER_ANSWER = "What color is the wall?", "Red."


def plain_photo(color: str, size: tuple[int, int] = (48, 40)) -> Image.Image:
    """A picture of one colour."""
    return Image.new("RGB", size, color)


def answering_model() -> tuple[FakeReasoningForConditionalGeneration, FakeReasoningProcessor]:
    """The model in evaluation mode, and its processor."""
    processor = fakereasoning_processor(IMAGE_SIZE)
    torch.manual_seed(0)
    model = FakeReasoningForConditionalGeneration(_config(processor)).eval()
    with torch.no_grad():
        for parameter in model.model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=SPREAD)
        states, tokens = _states_and_tokens(model, processor)
        columns = tokens.unique()
        logits = LOGIT * (tokens[:, None] == columns).double()
        negation = processor.tokenizer("is not real", add_special_tokens=False)["input_ids"][-2]
        logits[tokens == negation] += LOGIT / 2 * (columns == model.config.real_token_id)
        model.lm_head.weight.zero_()
        model.lm_head.weight[columns] = (torch.linalg.pinv(states.double()) @ logits).T.float()
    return model, processor


def save_answering_checkpoint(folder: Path) -> Path:
    """Save model and processor; returns the folder."""
    for part in answering_model():
        part.save_pretrained(folder)
    return folder


def _config(processor: FakeReasoningProcessor) -> FakeReasoningConfig:
    sizes = {"intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    vision = {"model_type": "clip_vision_model", "hidden_size": 32, "image_size": IMAGE_SIZE, "patch_size": PATCH_SIZE}
    text = {"model_type": "llama", "hidden_size": WIDTH, "vocab_size": VOCABULARY_SIZE, "num_key_value_heads": 4}
    return FakeReasoningConfig(
        vision_config=sizes | vision,
        text_config=sizes | text | {"max_position_embeddings": 512, "pad_token_id": 0},
        image_token_id=processor.image_token_id,
        contrastive_loss_weight=0.0,
        **processor.verdict_ids()._asdict(),
    )


def _states_and_tokens(
    model: FakeReasoningForConditionalGeneration, processor: FakeReasoningProcessor
) -> tuple[torch.Tensor, torch.Tensor]:
    """States (N, WIDTH) from which the tokens (N,) of all answers are to follow."""
    cases = [(color, QUESTION, answer) for color, answer in ANSWERS.items()]
    cases.append(("red", OTHER_QUESTION, OTHER_ANSWER))
    states, tokens = [], []
    for color, question, answer in cases:
        inputs = processor.inference_inputs(plain_photo(color), question)
        ids = processor.tokenizer(answer, add_special_tokens=False)["input_ids"]
        tokens.append(torch.tensor([*ids, processor.tokenizer.eos_token_id]))
        whole = torch.cat([inputs["input_ids"], tokens[-1][None]], dim=1)
        read = model.model(input_ids=whole, pixel_values=inputs["pixel_values"]).last_hidden_state[0]
        states.append(read[-len(tokens[-1]) - 1 : -1])
    return torch.cat(states), torch.cat(tokens)
