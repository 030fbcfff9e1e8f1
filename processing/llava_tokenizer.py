"""Settings with which a Llama tokenizer gives the ids that LLaVA-1.5 was trained with."""

from typing import Any

from tokenizers import AddedToken, normalizers, pre_tokenizers

from .conversation_prompts import IMAGE_TOKEN

# what stands for a blank in Llama's vocabulary
BLANK = "▁"


def prepare_tokenizer(tokenizer: Any, image_token: str = IMAGE_TOKEN) -> None:
    """Make a Llama tokenizer write what LLaVA-1.5 was trained with; it is changed in place.

    It begins every text with `<s>`, and adds a blank before every text and after every added token ("legacy"), which
    transformers forgets when it saves a tokenizer. It has the token `<image>`, and pads with `<unk>`, on the left.

    Args:
        tokenizer: tokenizer of a Llama model, however it was loaded.
        image_token: added where the vocabulary lacks it.
    """
    if image_token not in tokenizer.get_vocab():
        tokenizer.add_tokens([AddedToken(image_token, special=True, normalized=False)], special_tokens=True)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.unk_token
    tokenizer.padding_side = "left"
    if tokenizer("a")["input_ids"][0] != tokenizer.bos_token_id:
        tokenizer.add_bos_token = True
    tokenizer.legacy = True
    tokenizer.init_kwargs["legacy"] = True
    backend = tokenizer.backend_tokenizer
    if isinstance(backend.pre_tokenizer, pre_tokenizers.Metaspace):
        # Metaspace adds no blank to a text that begins with one
        backend.normalizer = normalizers.Sequence([normalizers.Prepend(BLANK), normalizers.Replace(" ", BLANK)])
        backend.pre_tokenizer = None


__all__ = ["prepare_tokenizer"]
