"""Sentence embeddings for CSS: CLIP's text tower, any text encoder of transformers, or sentence-transformers.

FakeReasoning's paper does not name its embeddings; its script takes CLIP ViT-L/14-336, LEGION takes
paraphrase-MiniLM-L6-v2. Numbers of different encoders cannot be compared: a CLIP gives unrelated sentences 0.5 and
more, so reports name the encoder.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoConfig, AutoModel, AutoTokenizer, CLIPModel

CLIP = "clip"
BATCH_SIZE = 32
# Tokens a text is cut to where neither tokenizer nor configuration says how many the encoder takes.
DEFAULT_MAX_TOKENS = 512


@dataclass(frozen=True)
class TextEncoder:
    """Texts to vectors; may be given as `embedder` of `text_scores`.

    Args:
        description: model and how its tokens become one vector, for reports.
        encode: takes a batch of texts, returns (B, D).
        batch_size: texts encoded together.
    """

    description: str
    encode: Callable[[list[str]], NDArray[np.float32]]
    batch_size: int = BATCH_SIZE

    def __call__(self, texts: list[str]) -> NDArray[np.float32]:
        """Encode texts, (N, D)."""
        starts = range(0, len(texts), self.batch_size)
        return np.concatenate([self.encode(texts[start : start + self.batch_size]) for start in starts])


def load_text_encoder(name: str, device: str | None = None) -> TextEncoder:
    """Load an encoder by its kind: CLIP, sentence-transformers if that is installed, else mean pooling.

    Args:
        name: folder or Hub id.
        device: `cpu`, `cuda`, ...; None: a GPU if there is one.

    Raises:
        OSError: there is no such model.
        ValueError: weights are missing.
    """
    if AutoConfig.from_pretrained(name).model_type == CLIP:
        return clip_text_encoder(name, device)
    if find_spec("sentence_transformers"):
        return sentence_transformer(name, device)
    return mean_pooled_encoder(name, device)


def clip_text_encoder(name: str, device: str | None = None) -> TextEncoder:
    """Load the text tower of a CLIP: its projected text embedding, texts cut to 77 tokens."""
    device = device or _default_device()
    clip = _loaded(CLIPModel, name)
    model, projection = clip.text_model.to(device), clip.text_projection.to(device)
    tokenizer = AutoTokenizer.from_pretrained(name)
    longest = model.config.max_position_embeddings

    @torch.no_grad()
    def encode(texts: list[str]) -> NDArray[np.float32]:
        pooled = model(**_tokens(tokenizer, texts, longest, device)).pooler_output
        return projection(pooled).float().cpu().numpy()

    return TextEncoder(f"{name}, CLIP's text embedding, {longest} tokens at most", encode)


def mean_pooled_encoder(name: str, device: str | None = None) -> TextEncoder:
    """Load a text encoder of transformers; a text's vector is the mean of its tokens' last hidden states."""
    device = device or _default_device()
    model = _loaded(AutoModel, name).to(device)
    tokenizer = AutoTokenizer.from_pretrained(name)
    known = getattr(model.config, "max_position_embeddings", DEFAULT_MAX_TOKENS)
    longest = min(tokenizer.model_max_length, known)

    @torch.no_grad()
    def encode(texts: list[str]) -> NDArray[np.float32]:
        tokens = _tokens(tokenizer, texts, longest, device)
        states = model(**tokens).last_hidden_state.float()
        weights = tokens["attention_mask"].unsqueeze(-1).to(states.dtype)
        return ((states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)).cpu().numpy()

    return TextEncoder(f"{name}, mean of the last hidden states, {longest} tokens at most", encode)


def sentence_transformer(name: str, device: str | None = None) -> TextEncoder:
    """Load a model of sentence-transformers.

    Raises:
        ImportError: sentence-transformers is missing.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise ImportError("this encoder needs sentence-transformers: pip install sentence-transformers") from error
    model = SentenceTransformer(name, device=device)
    return TextEncoder(
        f"{name}, by sentence-transformers, {model.max_seq_length} tokens at most",
        lambda texts: np.asarray(model.encode(texts, show_progress_bar=False)),
    )


def _loaded(model_class: Any, name: str) -> Any:
    """Load a model in evaluation mode; weights that are missing would be random, which is an error here."""
    model, info = model_class.from_pretrained(name, output_loading_info=True)
    # BERT's pooler is not asked
    missing = sorted(key for key in info["missing_keys"] if not key.startswith("pooler."))
    if missing:
        raise ValueError(f"{len(missing)} weights of the text encoder '{name}' are missing, among them {missing[0]}")
    return model.eval()


def _tokens(tokenizer: Any, texts: list[str], longest: int, device: str) -> Any:
    return tokenizer(texts, padding=True, truncation=True, max_length=longest, return_tensors="pt").to(device)


def _default_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
