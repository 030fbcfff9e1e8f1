"""Checkpoints: find and load one, save one with its code, publish one on the Hub."""

import json
import os
import tempfile
from collections.abc import Collection
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeAlias

import huggingface_hub
from huggingface_hub import HfApi
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    StrictDataclassError,
)
from safetensors import SafetensorError
from transformers import PreTrainedModel, ProcessorMixin
from transformers.dynamic_module_utils import custom_object_save
from transformers.image_processing_utils import ImageProcessingMixin

from .auto import MODELS, register_auto_classes
from .cards import check_given, find_card, update_metadata

EMBEDDED_CHECKPOINTS = ("iclnet-mini",)
CHECKPOINT_FORMS = f"{', '.join(EMBEDDED_CHECKPOINTS)}, a folder, or a Hub id (organization/name)"
CONFIG_FILE = "config.json"
# Beside a network that `forgescope export` wrote.
EXPORT_FILE = "export_report.json"
# A folder with this file holds what was trained and names the checkpoint below it.
ADAPTER_FILE = "adapter_config.json"

Processor: TypeAlias = "ImageProcessingMixin | ProcessorMixin"


def resolve_checkpoint(name_or_path: str | os.PathLike | None = None, model_types: Collection[str] = ()) -> str:
    """Turn what a user calls a checkpoint into what `from_pretrained` takes.

    Args:
        name_or_path: name of an embedded checkpoint (None: the first of them), a folder written by `save_pretrained`,
            or the id of a Hub repository.
        model_types: model types that will do; empty: every one forgescope has.

    Returns:
        A folder, or the Hub id.

    Raises:
        ValueError: no such checkpoint, or one of another model type.
    """
    register_auto_classes()
    name = str(EMBEDDED_CHECKPOINTS[0] if name_or_path is None else name_or_path)
    checkpoint = _place(name)
    model_type = _model_type(checkpoint)
    if model_type not in (model_types or MODELS):
        raise ValueError(
            f"checkpoint '{name}' has model type '{model_type}', which cannot be used here; expected "
            f"{' or '.join(model_types or MODELS)}"
        )
    return checkpoint


def model_type_of(name_or_path: str | os.PathLike) -> str:
    """Read the model type of a checkpoint, also of one that is not forgescope's.

    Raises:
        ValueError: there is no such checkpoint.
    """
    return _model_type(_place(str(name_or_path)))


def load_checkpoint(
    name_or_path: str | os.PathLike | None = None, model_types: Collection[str] = (), **kwargs: Any
) -> tuple[PreTrainedModel, Processor]:
    """Load the task model and its processor, in evaluation mode.

    `from_pretrained` fills weights that a file lacks with random numbers and only warns; here that is an error, since
    a verdict of such a model means nothing.

    Args:
        name_or_path: as in `resolve_checkpoint`; adapters in a folder are merged into their checkpoint.
        model_types: as in `resolve_checkpoint`.
        **kwargs: passed to the model's `from_pretrained`, for instance `dtype`.

    Returns:
        The model and the processor.

    Raises:
        ValueError: no such checkpoint, another model type, or weights or processor missing or damaged.
    """
    checkpoint = resolve_checkpoint(name_or_path, model_types)
    if (Path(checkpoint) / EXPORT_FILE).is_file():
        raise ValueError(
            f"'{checkpoint}' holds an exported network, which serves `forgescope detect`, `evaluate` and `analyze` "
            "alone: here give the checkpoint that it was exported from"
        )
    model_type = _model_type(checkpoint)
    family = MODELS[model_type]
    if (Path(checkpoint) / ADAPTER_FILE).is_file():
        adapters = import_module("forgescope.trainers.adapters").adapters_of(model_type)
        model = adapters.load_adapters(checkpoint, **kwargs)
        model.name_or_path = checkpoint  # not the one below: its card is another model's
    else:
        model = _load_whole(checkpoint, family.task_model, **kwargs)
    try:
        processor = family.processor.from_pretrained(checkpoint)
    except OSError as error:
        raise ValueError(
            f"checkpoint '{checkpoint}' has no {family.processor_file}: save the processor to the same place, "
            f"{family.processor.__name__}().save_pretrained(...)"
        ) from error
    return model.eval(), processor


def save_with_code(model: PreTrainedModel, processor: Processor, directory: str | os.PathLike) -> list[Path]:
    """Save a checkpoint that loads without forgescope, through `trust_remote_code=True`.

    Beside weights and settings the folder gets the source files of model and processor, and an `auto_map` that names
    the classes for AutoConfig, AutoModel, and the Auto classes of the task and the processor. The objects themselves
    stay as they are, so later plain saves carry no code.

    Args:
        model: a model of `forgescope.modeling`; a model without head is entered for AutoModel only.
        processor: its processor.
        directory: folder to write to; made when missing.

    Returns:
        The copied source files.

    Raises:
        ValueError: a model that is not in forgescope's table.
    """
    model_type = model.config.model_type
    if model_type not in MODELS:
        raise ValueError(f"expected a model of type {', '.join(MODELS)}, got '{model_type}' ({type(model).__name__})")
    family = MODELS[model_type]
    folder = Path(directory)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    sources = {Path(file) for item in (model, processor) for file in custom_object_save(item, folder)}
    auto_map = {"AutoConfig": _reference(type(model.config)), "AutoModel": _reference(type(model))}
    if type(model).__name__ == family.task_model.__name__:
        auto_map[family.task_auto_class.__name__] = _reference(type(model))
    _write_auto_map(folder / CONFIG_FILE, auto_map)
    _write_auto_map(folder / family.processor_file, {family.processor_auto_class: _reference(type(processor))})
    return sorted(sources)


def push_to_hub_with_code(
    model: PreTrainedModel,
    processor: Processor,
    repo_id: str,
    *,
    card: str | os.PathLike | None = None,
    metrics: list[dict[str, Any]] | None = None,
    metadata: dict[str, Any] | None = None,
    private: bool | None = None,
    token: str | None = None,
    commit_message: str | None = None,
) -> str:
    """Publish weights, processor, code and model card as one commit.

    The text of the card is taken from the first of: `card`, the README.md already in the repository, the README.md of
    the folder that the model was loaded from, forgescope's template. It is not changed; metadata that it lacks is
    added, and `metrics` replace its model-index.

    Args:
        model: as in `save_with_code`.
        processor: as in `save_with_code`.
        repo_id: "organization/name"; made when missing.
        card: Markdown file with or without metadata.
        metrics: rows as `forgescope evaluate --json` writes them.
        metadata: entries that take the place of the card's own, for instance `{"license": "apache-2.0"}`.
        private: whether a new repository is private; None: the organization's default.
        token: access token; None: the one stored by `hf auth login`.
        commit_message: None: "Upload <class> with forgescope".

    Returns:
        Address of the repository.

    Raises:
        ValueError: an unknown model, an unreadable card or metrics row, or metadata that the Hub refuses.
        OSError: the Hub cannot be reached or refuses the request.
    """
    check_given(card, metrics)  # before a repository is made
    api = HfApi(token=token)
    try:
        repo = api.create_repo(repo_id, private=private, exist_ok=True)
    except HTTPError as error:
        if isinstance(error, HfHubHTTPError):
            raise
        raise ConnectionError(f"the Hub at {api.endpoint} cannot be reached: {error}") from error
    with tempfile.TemporaryDirectory() as folder:
        save_with_code(model, processor, folder)
        model_card = find_card(model, repo.repo_id, card, token, metrics)
        model_type = model.config.model_type
        update_metadata(model_card, repo.repo_id, model_type, MODELS[model_type].pipeline_tag, metrics, metadata)
        model_card.validate(repo_type="model")
        model_card.save(Path(folder) / "README.md")
        api.upload_folder(
            repo_id=repo.repo_id,
            folder_path=folder,
            commit_message=commit_message or f"Upload {type(model).__name__} with forgescope",
        )
    return str(repo)


def _load_whole(checkpoint: str, task_model: type[PreTrainedModel], **kwargs: Any) -> PreTrainedModel:
    """Load a model; ValueError where a weight is missing or the file is damaged."""
    try:
        model, info = task_model.from_pretrained(
            checkpoint, output_loading_info=True, ignore_mismatched_sizes=True, **kwargs
        )
    except SafetensorError as error:
        raise ValueError(f"the weights of checkpoint '{checkpoint}' are damaged ({error}): get them again") from error
    except StrictDataclassError as error:
        raise ValueError(f"{CONFIG_FILE} of checkpoint '{checkpoint}' is wrong: {error}") from error
    unfit = sorted({*info["missing_keys"], *(entry[0] for entry in info["mismatched_keys"])})
    if unfit:
        raise ValueError(
            f"{len(unfit)} weights of {task_model.__name__} are missing in checkpoint '{checkpoint}' or have "
            f"another shape, among them {unfit[0]}: expected a checkpoint that save_pretrained of that class wrote"
        )
    return model


def _place(name: str) -> str:
    """Folder of an embedded checkpoint; else the folder or Hub id that was given; ValueError for an empty name."""
    if not name:
        raise ValueError(f"the name of the checkpoint is empty: expected {CHECKPOINT_FORMS}")
    embedded = name in EMBEDDED_CHECKPOINTS
    return str(files("forgescope.checkpoints") / name) if embedded else os.path.expanduser(name)


def _model_type(checkpoint: str) -> str:
    """Read the model type of a folder or Hub repository; ValueError where there is none."""
    is_path = os.path.exists(checkpoint) or checkpoint.startswith((".", os.sep)) or checkpoint.count("/") != 1
    config_file = _local_config(checkpoint) if is_path else _hub_config(checkpoint)
    try:
        return str(json.loads(Path(config_file).read_text(encoding="utf-8"))["model_type"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"'{config_file}' is no model configuration: expected JSON with a model_type") from error


def _local_config(checkpoint: str) -> str:
    """Path of the config.json of a folder."""
    folder = Path(checkpoint)
    if not folder.exists():
        raise ValueError(f"unknown checkpoint '{checkpoint}': no such folder; expected {CHECKPOINT_FORMS}")
    if not folder.is_dir():
        raise ValueError(f"'{checkpoint}' is a file: give the folder that holds {CONFIG_FILE} and the weights")
    if not (folder / CONFIG_FILE).is_file():
        inner = sorted(path.parent for path in folder.glob(f"*/{CONFIG_FILE}"))
        advice = (
            f"give one of its sub-folders, such as '{inner[-1]}'" if inner else "give one that save_pretrained wrote"
        )
        raise ValueError(f"folder '{checkpoint}' has no {CONFIG_FILE}: {advice}")
    return str(folder / CONFIG_FILE)


def _hub_config(repo_id: str) -> str:
    """Path of the downloaded config.json of a Hub repository."""
    try:
        return huggingface_hub.hf_hub_download(repo_id, CONFIG_FILE)
    except (RepositoryNotFoundError, EntryNotFoundError, HFValidationError) as error:
        raise ValueError(
            f"unknown checkpoint '{repo_id}': no such folder here, and {_hub_reason(error)}; expected "
            f"{CHECKPOINT_FORMS}"
        ) from error


def _hub_reason(error: Exception) -> str:
    """Say in words why the Hub gave no config.json; the specific errors are subclasses of the general ones."""
    endpoint = huggingface_hub.constants.ENDPOINT
    if isinstance(error, GatedRepoError):
        return f"access to the repository on {endpoint} has to be asked for on its page (then `hf auth login`)"
    if isinstance(error, RepositoryNotFoundError):
        return f"no such repository on {endpoint} (a private one needs `hf auth login`)"
    if isinstance(error, LocalEntryNotFoundError):
        return f"the Hub at {endpoint} cannot be reached, nor is it in the cache"
    if isinstance(error, EntryNotFoundError):
        return f"the repository on {endpoint} has no {CONFIG_FILE}"
    return "not a possible name of a repository"


def _reference(source: type) -> str:
    """Name of a class in an auto_map: `file.Class`."""
    return f"{source.__module__.rsplit('.', 1)[-1]}.{source.__name__}"


def _write_auto_map(file: Path, auto_map: dict[str, str]) -> None:
    settings = json.loads(file.read_text(encoding="utf-8"))
    settings["auto_map"] = auto_map
    file.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
