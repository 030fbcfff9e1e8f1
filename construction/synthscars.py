"""A curated collection of generated images: clusters, the same share from each, and a filter (LEGION, 3.2 and A.3).

    OUT/images/00000000.png  OUT/metadata.jsonl  OUT/rejects.jsonl  OUT/statistics.json  OUT/settings.json
    OUT/README.md  OUT/clusters.jsonl  OUT/features/  [OUT/plots/clusters-1.png]

Images keep the bytes of their files. Masks and explanations are drawn by people afterwards; nothing here makes them.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm.auto import tqdm

from .asking import Asking
from .folder_card import SYNTHSCARS, write_folder_card
from .image_folder import begin_folder, describe_photos, write_atomically
from .inpainting import open_photo
from .line_log import whole_lines, write_json, write_lines
from .row_log import RowLog
from .synthscars_clusters import cluster_features, draw_samples, load_kmeans
from .synthscars_feature_folder import write_features
from .synthscars_features import ExtractFeatures
from .synthscars_filter import Judgement, Label, NoLabel, judge_image
from .synthscars_plots import save_sheets
from .synthscars_settings import CurationSettings
from .synthscars_statistics import curation_statistics
from .vision_language import VisionLanguageModel, usage_of
from .vision_language_usage import Usage, counting_alone


@dataclasses.dataclass(frozen=True)
class CurationJob:
    """What one run makes.

    Args:
        photos: generated images in a fixed order.
        sources: where each of them comes from, such as the name of a corpus.
        out: folder, absent, or begun with the same settings.
        extract: gives features, such as `load_features`.
        vision_language: answers `model(images, prompt)`.
        settings: settings.
        batch_size: images whose features are computed at once.
        workers: images asked about at the same time; more than 1 needs a model that threads may share, as a server's
            client is.
        description: of both models, ready for JSON: `features` and `vlm`; a folder is not continued with other ones.
        features_folder: where features are kept; None for OUT/features. Several collections may share one.
        read_photo: returns a PIL RGB image, or raises ValueError or OSError.
        plots: also draw pictures of the clusters.
    """

    photos: list[Path]
    sources: list[str]
    out: Path
    extract: ExtractFeatures
    vision_language: VisionLanguageModel
    settings: CurationSettings
    batch_size: int = 32
    workers: int = 1
    description: dict[str, Any] = dataclasses.field(default_factory=dict)
    features_folder: Path | None = None
    read_photo: Callable[[Path], Image.Image] = open_photo
    plots: bool = False

    def __post_init__(self):
        if self.workers < 1:
            raise ValueError(f"workers must be at least 1, got {self.workers}")
        if len(self.sources) != len(self.photos):
            raise ValueError(f"expected a source for each of {len(self.photos)} images, got {len(self.sources)}")
        if self.settings.clusters > len(self.photos):
            raise ValueError(f"clusters must be at most the {len(self.photos)} images, got {self.settings.clusters}")

    def record(self) -> dict[str, Any]:
        """What decides about the folder, ready for JSON."""
        return {
            "kind": "synthscars",
            **describe_photos(self.photos),
            "sources": dict(sorted(Counter(self.sources).items())),
            "settings": self.settings.to_dict(),
            "models": self.description,
        }


@dataclasses.dataclass
class CurationResult:
    """What a folder holds after a run.

    Args:
        rows: of metadata.jsonl.
        rejects: of rejects.jsonl.
        made: images that this run asked the model about.
        unreadable: images that cannot be read, with the reason; they stand among the rejects.
        failed: drawn images that could not be judged, with the reason; the next run tries them again.
        stopped: why the run ended early; None when it did not.
        statistics: see `curation_statistics`.
    """

    rows: list[dict[str, Any]]
    rejects: list[dict[str, Any]]
    made: int
    unreadable: dict[str, str]
    failed: dict[str, str]
    stopped: str | None
    statistics: dict[str, Any]


def write_curation(job: CurationJob) -> CurationResult:
    """Go on with a collection to its end: features, clusters, draw, filter.

    Raises:
        ValueError: the folder was begun with other settings, images or models, or the feature network fails.
        ImportError: scikit-learn is missing.
        OSError: the folder cannot be written.
    """
    load_kmeans()  # before hours are spent on features
    begin_folder(job.out, job.record())
    clusters, unreadable = _clusters(job)
    log = RowLog(job.out)
    for row in log.rows.values():
        _copy_image(job, row)
    for index, detail in unreadable.items():
        judgement = Judgement(NoLabel.UNREADABLE, detail=detail)
        log.rejects[index] = _row(job, index, None, judgement, Usage())
    wanted = [row for row in clusters if row["drawn"] and row["index"] not in log.done()]
    run = Asking(partial(_judge, job), lambda place: job.photos[place["index"]], job.workers)
    for row in tqdm(run.rows(wanted), total=len(wanted), desc="filter", unit="image", disable=None):
        # after its row, so that a stopped run never leaves an image that may be rejected the next time
        if row is not None and log.add(row):
            _copy_image(job, row)
    kept, refused = log.finish()
    statistics = curation_statistics(clusters, kept, refused, len(run.failed))
    write_json(job.out / "statistics.json", statistics)
    write_folder_card(job.out, SYNTHSCARS, kept, len(refused))
    if job.plots:
        save_sheets(job.out / "plots", clusters, kept, refused, lambda index: job.read_photo(job.photos[index]))
    named = {str(job.photos[index]): detail for index, detail in sorted(unreadable.items())}
    return CurationResult(kept, refused, run.made, named, run.failed, run.stopped, statistics)


def _clusters(job: CurationJob) -> tuple[list[dict[str, Any]], dict[int, str]]:
    """Rows of clusters.jsonl, one for each image that can be read, and the reasons of the others."""
    features = write_features(
        job.features_folder or job.out / "features",
        job.photos,
        job.extract,
        job.read_photo,
        job.batch_size,
        job.description.get("features", {}),
    )
    file = job.out / "clusters.jsonl"
    if not file.exists():
        settings = job.settings
        labels = cluster_features(
            features.values, settings.clusters, settings.seed, settings.restarts, settings.normalize
        )
        drawn = draw_samples(labels, settings.samples, settings.seed)
        columns = zip(features.indices.tolist(), labels.tolist(), drawn.tolist(), strict=True)
        write_lines(file, [{**_about(job, index, cluster), "drawn": chosen} for index, cluster, chosen in columns])
    return whole_lines(file), features.unreadable


def _judge(job: CurationJob, place: dict[str, Any]) -> dict[str, Any]:
    """Row of metadata.jsonl of an image of clusters.jsonl, or, with `reason`, of rejects.jsonl; called in threads."""
    index, model = place["index"], counting_alone(job.vision_language)
    judgement = judge_image(job.read_photo(job.photos[index]), model, job.settings)
    return _row(job, index, place["cluster"], judgement, usage_of(model))


def _row(job: CurationJob, index: int, cluster: int | None, judgement: Judgement, usage: Usage) -> dict[str, Any]:
    """Row of metadata.jsonl, or, with `reason`, of rejects.jsonl."""
    about, used = _about(job, index, cluster), {"vision_language": dataclasses.asdict(usage)}
    if judgement.outcome is not Label.ACCEPTABLE:
        outcome = {"reason": judgement.outcome.value, "detail": judgement.detail, "criteria": judgement.criteria}
        return {**about, **outcome, **used}
    # `file_name` comes first, as `load_dataset("imagefolder")` wants it
    name = f"images/{about['id']}{job.photos[index].suffix.lower()}"
    return {"file_name": name, "label": "fake", **about, "curation": judgement.outcome.value, **used}


def _copy_image(job: CurationJob, row: dict[str, Any]) -> None:
    """Copy the image of a row, byte for byte, where it is not there yet."""
    target = job.out / row["file_name"]
    if not target.exists():
        write_atomically(target, job.photos[row["index"]].read_bytes())


def _about(job: CurationJob, index: int, cluster: int | None) -> dict[str, Any]:
    source, photo = job.sources[index], job.photos[index].name
    return {"id": f"{index:08d}", "index": index, "source": source, "photo": photo, "cluster": cluster}


__all__ = ["CurationJob", "CurationResult", "write_curation"]
