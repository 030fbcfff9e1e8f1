"""Generation that keeps something of the step in which each new token was chosen."""

import threading
from collections.abc import Callable
from typing import Any

import torch

# Makes what is kept of a step: of the language modelling head's input (B, C) and output (B, V) at the last position.
Keep = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@torch.no_grad()
def generate_with_steps(
    model: Any, keep: Keep, input_ids: torch.Tensor, **kwargs: Any
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Generate as `generate` does. Several threads may ask one model at once.

    Args:
        model: has `generate` and `lm_head`.
        keep: of logits, so before temperature and sampling.
        input_ids: (B, L), padded on the left.
        **kwargs: as `generate`.

    Returns:
        Prompts and texts (B, L + T), texts alone (B, T), and what was kept (B, T, ...), all on one device.

    Raises:
        ValueError: If a step does not choose one token of each text: for beam search, several sequences a prompt, or
            an assistant that proposes tokens.
    """
    caller, kept = threading.get_ident(), []

    def note(_head: torch.nn.Module, inputs: tuple[torch.Tensor, ...], logits: torch.Tensor) -> None:
        if threading.get_ident() != caller:
            return
        rows, positions = logits.shape[:2]
        if rows != len(input_ids) or positions != 1:
            raise ValueError(
                f"expected steps of one token for each of {len(input_ids)} texts, got {rows} x {positions}: generate "
                "with num_beams=1 and num_return_sequences=1, and without an assistant or prompt lookup"
            )
        kept.append(keep(inputs[0][:, -1], logits[:, -1]))

    hook = model.lm_head.register_forward_hook(note)
    try:
        found = model.generate(input_ids=input_ids, **kwargs)
    finally:
        hook.remove()
    sequences = getattr(found, "sequences", found)  # with return_dict_in_generate there is more
    generated = sequences[:, input_ids.shape[1] :]
    # processes that share the weights go on until the last one has ended
    steps = torch.stack(kept, dim=1)[:, : generated.shape[1]]
    return sequences, generated, steps.to(generated.device)


__all__ = ["generate_with_steps"]
