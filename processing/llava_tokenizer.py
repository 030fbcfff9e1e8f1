"""Settings with which a Llama tokenizer gives the ids that LLaVA-1.5 was trained with."""

from typing import Any

from tokenizers import AddedToken, pre_tokenizers

from .conversation_prompts import IMAGE_TOKEN


def prepare_tokenizer(tokenizer: Any, image_token: str = IMAGE_TOKEN) -> None:
    """Make a Llama tokenizer write what LLaVA-1.5 was trained with; it is changed in place.

    It begins every text with `<s>`, and the text after an added token with a blank ("legacy"), which transformers
    forgets when it saves a tokenizer. It has the token `<image>`, and pads with `<unk>`, on the left.

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
    metaspace = tokenizer.backend_tokenizer.pre_tokenizer
    if isinstance(metaspace, pre_tokenizers.Metaspace):
        metaspace.prepend_scheme = "always"


__all__ = ["prepare_tokenizer"]
