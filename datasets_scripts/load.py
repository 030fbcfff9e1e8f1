"""`load_corpus`: one call for every corpus."""

import importlib
from pathlib import Path
from typing import Any, TypeAlias

import datasets
from datasets.exceptions import DatasetGenerationError

from .corpus import CorpusBuilder, files_hash
from .names import CORPORA

AnyDataset: TypeAlias = (
    datasets.Dataset | datasets.DatasetDict | datasets.IterableDataset | datasets.IterableDatasetDict
)


def corpus_builder_class(name: str) -> type[CorpusBuilder]:
    """Builder class of a corpus.

    Raises:
        ValueError: no corpus of this name.
    """
    if name not in CORPORA:
        raise ValueError(f"unknown corpus {name!r}: expected one of {', '.join(CORPORA)}")
    return getattr(importlib.import_module(f"{__package__}.{name}"), CORPORA[name])


def corpus_builder(
    name: str,
    data_dir: str | Path,
    config: str | None = None,
    cache_dir: str | Path | None = None,
    hash_files: bool = True,
    **options: Any,
) -> CorpusBuilder:
    """A builder, not yet prepared.

    Args:
        name: see `load_corpus`.
        data_dir: see `load_corpus`.
        config: see `load_corpus`.
        cache_dir: see `load_corpus`.
        hash_files: whether the cache is named after the files' sizes and times; streaming needs no cache.
        **options: see `load_corpus`.

    Raises:
        ValueError: unknown corpus, configuration or option.
        FileNotFoundError: `data_dir` does not exist.
    """
    builder_class = corpus_builder_class(name)
    names = [entry.name for entry in builder_class.BUILDER_CONFIGS]
    if config is not None and config not in names:
        raise ValueError(f"{name} has no configuration {config!r}: expected one of {', '.join(names) or 'none'}")
    known = _option_names(builder_class)
    unknown = sorted(set(options) - known)
    if unknown:
        raise ValueError(f"{name} has no option {', '.join(unknown)}: expected {', '.join(sorted(known))}")
    root = Path(data_dir).expanduser().absolute()
    if not root.exists():
        raise FileNotFoundError(f"{data_dir} does not exist: expected {builder_class.EXPECTED}")
    return builder_class(
        dataset_name=name,
        config_name=config,
        data_dir=str(root),
        cache_dir=None if cache_dir is None else str(cache_dir),
        hash=files_hash(root, options) if hash_files else None,
        **options,
    )


def load_corpus(
    name: str,
    data_dir: str | Path,
    config: str | None = None,
    split: str | None = None,
    streaming: bool = False,
    num_proc: int | None = None,
    cache_dir: str | Path | None = None,
    **options: Any,
) -> AnyDataset:
    """Load a corpus from what its publisher offers, as it lies on disk.

    Every corpus has the columns `image`, `label` (`real` 0, `fake` 1), `mask` (0 = untouched), `id` and `source`, and
    its own after them. Files are never changed; what was skipped is logged, and `forgescope data inspect` lists it.

    Args:
        name: `promptforge`, `diffseg30k`, `synthscars`, `mmfr`, `gamma_mix`, `genimage`, `cnnspot`, `loki`,
            `richhf18k`, `synthwildx`, `gptimgeval`, `openai4o`, `sharegpt4o` or `folder`.
        data_dir: folder or archive; what each corpus expects there is in docs/corpora.md.
        config: variant of the corpus, such as `per_ref` of `synthscars`; None for its first.
        split: `train`, `validation`, `test`, ..., also slices as `train[:10%]`; None for all as a dictionary.
        streaming: rows one by one, without preparing anything on disk.
        num_proc: processes that prepare; not used for streaming.
        cache_dir: where `datasets` keeps prepared rows; None for its default.
        **options: options of this corpus, such as `dedupe="stem"`.

    Returns:
        `Dataset`, or `DatasetDict` without `split`; the iterable kinds with `streaming`.

    Raises:
        ValueError: unknown corpus, configuration, option or split; a value that the corpus must not have.
        FileNotFoundError: `data_dir` does not exist, or holds nothing of this corpus.
    """
    builder = corpus_builder(name, data_dir, config, cache_dir, hash_files=not streaming, **options)
    if streaming:
        return _checked_split(builder, builder.as_streaming_dataset(), split)
    prepare(builder, num_proc)
    splits = drop_empty_splits(builder)
    if split is None:
        return datasets.DatasetDict({name: builder.as_dataset(split=name) for name in splits})
    for part in split.split("+"):
        _checked_split(builder, splits, part.split("[")[0].strip())
    return builder.as_dataset(split=split)


def prepare(builder: CorpusBuilder, num_proc: int | None = None, *args: Any, **kwargs: Any) -> None:
    """`download_and_prepare`, without checks of counts; an error of the builder's own comes out as it is."""
    try:
        builder.download_and_prepare(*args, num_proc=num_proc, verification_mode="no_checks", **kwargs)
    except DatasetGenerationError as error:
        cause = error.__cause__
        if isinstance(cause, (ValueError, OSError)):
            raise cause from None
        raise


def drop_empty_splits(builder: CorpusBuilder) -> dict[str, int]:
    """Take splits without a row out of a prepared builder's info, for `datasets` cannot read those back.

    Returns:
        Split -> rows.

    Raises:
        ValueError: no split has a row.
    """
    splits = builder.info.splits or {}
    for split in [name for name, info in splits.items() if not info.num_examples]:
        del splits[split]
    if not splits:
        raise ValueError(
            f"no file of {builder.config.data_dir} can be used as {builder.CARD.title}: "
            f"`forgescope data inspect {builder.dataset_name}` says why"
        )
    return {split: info.num_examples for split, info in splits.items()}


def _checked_split(builder: CorpusBuilder, splits: Any, split: str | None) -> Any:
    if split is None:
        return splits
    if split not in splits:
        raise ValueError(
            f"{builder.dataset_name} has no split {split!r} in {builder.config.data_dir}: it has {', '.join(splits)}"
        )
    return splits[split]


def _option_names(builder_class: type[CorpusBuilder]) -> set[str]:
    common = set(datasets.BuilderConfig.__dataclass_fields__)
    config_class: Any = builder_class.BUILDER_CONFIG_CLASS
    return set(config_class.__dataclass_fields__) - common


__all__ = ["CORPORA", "corpus_builder", "corpus_builder_class", "drop_empty_splits", "load_corpus", "prepare"]
