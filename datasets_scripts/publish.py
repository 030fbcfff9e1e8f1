"""An exported corpus on the Hub."""

import re
from fnmatch import fnmatch
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, DatasetCard, HfApi
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HTTPError
from huggingface_hub.utils import validate_repo_id

from .corpus import CorpusCard
from .dataset_card import CARD_FILE, SHARD_FOLDER, merge_card

# Licences that let everybody share copies, at least for non-commercial ends. All others, "unknown" among them, do not
# or not clearly: no derivatives (masks and crops are some), research only, images of third parties.
SHAREABLE = (
    "apache-2.0",
    "cc-by-4.0",
    "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0",
    "cc-by-sa-4.0",
    "cc0-1.0",
    "cdla-permissive-2.0",
    "mit",
)
SNIPPET = re.compile(r'load_dataset\("[^"\n]*"\)')


def check_may_publish(card: CorpusCard, repo_id: str, have_rights: bool) -> None:
    """Refuse to upload images whose licence does not clearly allow it.

    Raises:
        ValueError: such a licence without `have_rights`, or no possible name of a repository.
    """
    validate_repo_id(repo_id)
    if repo_id.count("/") != 1:
        raise ValueError(f"{repo_id!r} is no repository: expected organization/name")
    if card.licence not in SHAREABLE and not have_rights:
        raise ValueError(
            f"the licence of {card.title} is {card.licence!r}, which does not clearly allow sharing its images: "
            f"{card.terms} If you have the right to, say so (--i-have-rights, have_rights=True)"
        )


def publish_export(folder: Path, repo_id: str, private: bool | None = None, token: str | None = None) -> str:
    """Upload an export as one commit; shards of an earlier one are removed in it.

    Text and metadata of a card that is already there stay; the metadata of the shards and the section between
    forgescope's marks are replaced.

    Args:
        folder: what `export_corpus` wrote.
        repo_id: "organization/name"; made when missing.
        private: whether a new repository is private; None: the organization's default.
        token: access token; None: the one stored by `hf auth login`.

    Returns:
        Address of the repository.

    Raises:
        ValueError: metadata that the Hub refuses.
        OSError: the Hub cannot be reached or refuses the request.
    """
    api = HfApi(token=token)
    try:
        repo = api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
    except HTTPError as error:
        if isinstance(error, HfHubHTTPError):
            raise
        raise ConnectionError(f"the Hub at {api.endpoint} cannot be reached: {error}") from error
    card = DatasetCard.load(folder / CARD_FILE)
    card.text = SNIPPET.sub(f'load_dataset("{repo.repo_id}")', card.text)
    try:
        existing = DatasetCard.load(repo.repo_id, token=token)
    except EntryNotFoundError:
        existing = None
    merged = merge_card(card, existing)
    merged.validate(repo_type="dataset")
    shards = {f"{SHARD_FOLDER}/{path.name}": path for path in sorted((folder / SHARD_FOLDER).glob("*.parquet"))}
    there = api.list_repo_files(repo.repo_id, repo_type="dataset")
    stale = [name for name in there if fnmatch(name, f"{SHARD_FOLDER}/*.parquet") and name not in shards]
    api.create_commit(
        repo.repo_id,
        repo_type="dataset",
        operations=[
            *(CommitOperationAdd(name, path) for name, path in shards.items()),
            *(CommitOperationDelete(name) for name in stale),
            CommitOperationAdd(CARD_FILE, str(merged).encode("utf-8")),
        ],
        commit_message="Upload corpus with forgescope",
    )
    return str(repo)


__all__ = ["SHAREABLE", "check_may_publish", "publish_export"]
