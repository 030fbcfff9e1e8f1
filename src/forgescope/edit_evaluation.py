"""A checkpoint, or two beside each other, measured by a table of DiffSeg30k."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from forgescope.evaluation.boundary import Tolerance
from forgescope.evaluation.class_map_evaluator import ClassMapEvaluator
from forgescope.evaluation.class_maps import ClassRule
from forgescope.evaluation.class_report import edit_tables
from forgescope.evaluation.class_rows import area_rows, class_rows, pooled_confusions
from forgescope.evaluation.edit_protocol import EditProtocol, with_paper_values
from forgescope.evaluation.evaluator import Watch
from forgescope.evaluation.perturbations import Perturbation
from forgescope.evaluation.results import EvaluationResult
from forgescope.evaluation.rows import Row

from .analyze import Analyzer
from .auto import MODELS
from .evaluation_runs import EvaluationRun, load_verdicts
from .examination import Examination
from .hub import model_type_of
from .image_classifier import ImageClassifier
from .protocol_data import TestImages

BINARY_CLASSES = ("authentic", "edited")
Judge = Analyzer | ImageClassifier


@dataclass(frozen=True)
class EditPrediction:
    """What a checkpoint says of an image.

    Args:
        class_map: (H, W) uint8, 0 = authentic; None: it marks no pixels.
        score: a classifier's, 0 to 1; None: it has no classifier.
        examination: of which these are made; None: of a foreign classifier.
    """

    class_map: NDArray[np.uint8] | None
    score: float | None
    examination: Examination | None = None


def load_judge(checkpoint: str, protocol: EditProtocol, fake_class: str | None = None, **settings: Any) -> Judge:
    """Load a checkpoint that can be measured by a protocol.

    Args:
        checkpoint: embedded name, folder or Hub id; for images as a whole also any classifier of transformers.
        protocol: the protocol.
        fake_class: name of a foreign classifier's class of fake images; None: the one with a usual name.
        **settings: `device`, `dtype` and `batch_size`.

    Raises:
        ValueError: no such checkpoint, or one that cannot do what the protocol asks for.
    """
    if protocol.level == "images" and model_type_of(checkpoint) not in MODELS:
        return ImageClassifier(checkpoint, fake_class=fake_class, **settings)
    if protocol.level == "images":
        return load_verdicts(checkpoint, **settings)
    analyzer = Analyzer(checkpoint, **settings)
    config = analyzer.localizer.model.config
    if protocol.task == "semantic" and getattr(config, "task", None) != "semantic":
        raise ValueError(
            f"{protocol.name} needs a checkpoint that tells editors apart, '{checkpoint}' does not: use "
            "diffseg-binary, or train one with --task semantic"
        )
    if analyzer.rule.score_reduction is not None and not analyzer.localizer.heads:
        raise ValueError(f"{protocol.name} needs a checkpoint that marks pixels: '{checkpoint}' has no mask head")
    return analyzer


def classes_of(judge: Judge, protocol: EditProtocol) -> tuple[str, ...]:
    """Names of the classes by id: authentic and edited, or authentic and the editors of the checkpoint."""
    if protocol.task == "binary" or isinstance(judge, ImageClassifier):
        return BINARY_CLASSES
    id2label = judge.localizer.model.config.id2label
    return tuple(id2label[index] for index in sorted(id2label))


def editors_of(judge: Judge) -> tuple[str, ...] | None:
    """Names of the editors with the ids 1, 2, ... in the masks that a checkpoint was trained on; None: not said."""
    if isinstance(judge, ImageClassifier):
        return None
    names = getattr(judge.localizer.model.config, "id2editor", None)
    return None if names is None else tuple(names)


def evaluate_edits(
    judges: Sequence[Judge],
    protocol: EditProtocol,
    images: TestImages,
    perturbations: Sequence[Perturbation],
    *,
    tolerance: Tolerance | None = None,
    seed: int = 0,
    resamples: int,
    watch: Watch | None = None,
) -> EvaluationRun:
    """Measure checkpoints as a table of the paper does; rows hold the paper's numbers too.

    Args:
        judges: the checkpoint, and others to compare with on the same images.
        protocol: the table.
        images: those drawn for it.
        perturbations: each is a run of its own.
        tolerance: of the boundary F1; None: 2 pixels.
        seed: of random crops.
        resamples: draws of the bootstrap intervals; 0 for none.
        watch: looks on in the first run of the first checkpoint, see `Evaluator`.

    Raises:
        ValueError: not a single image could be scored.
    """
    classes = _common_classes(judges, protocol)
    rule = ClassRule(classes, tolerance or Tolerance()) if protocol.level == "pixels" else None
    results, rows, confusions = [], [], {}
    for judge in judges:
        for perturbation in perturbations:
            evaluator = ClassMapEvaluator(
                _Predictor(judge, protocol),
                batch_size=judge_batch_size(judge),
                perturbation=perturbation,
                seed=seed,
                class_rule=rule,
                watch=watch,
            )
            watch = None
            result = evaluator.run(images.examples(), total=images.total)
            results.append(result)
            own = _rows(result, protocol, rule, resamples)
            own = with_paper_values(own, protocol, _architecture(judge))
            rows += [replace(row, model=judge.name) for row in own] if len(judges) > 1 else own
            if rule is not None:
                for source, confusion in pooled_confusions(result, rule, protocol.groups).items():
                    parts = {
                        judge.name: len(judges),
                        source: len(protocol.groups),
                        perturbation.name: len(perturbations),
                    }
                    told_apart = [part for part, count in parts.items() if count > 1]
                    confusions[", ".join(told_apart) or protocol.name] = confusion
    tables = edit_tables(rows, protocol)
    return EvaluationRun(results, rows, _notes(judges, protocol, images), tables, confusions, classes)


def _common_classes(judges: Sequence[Judge], protocol: EditProtocol) -> tuple[str, ...]:
    """The classes of the first checkpoint; the others must have the same where pixels are compared."""
    classes = classes_of(judges[0], protocol)
    for judge in judges[1:]:
        other = classes_of(judge, protocol)
        if protocol.level == "pixels" and other != classes:
            raise ValueError(
                f"{judge.name} has other classes than {judges[0].name}: {', '.join(other)} and {', '.join(classes)}"
            )
    return classes


def judge_batch_size(judge: Judge) -> int:
    """Images that a checkpoint examines together."""
    return judge.batch_size if isinstance(judge, ImageClassifier) else judge.localizer.batch_size


@dataclass(frozen=True)
class _Predictor:
    """A checkpoint as a function from photographs to class maps and scores."""

    judge: Judge
    protocol: EditProtocol

    def __call__(self, photos: list[Image.Image]) -> list[EditPrediction]:
        if isinstance(self.judge, ImageClassifier):
            return [EditPrediction(None, one.score) for one in self.judge.examine(photos)]
        threshold = self.judge.rule.mask_threshold
        found = self.judge.localizer.examine(photos, classes=True)
        return [EditPrediction(_class_map(one, threshold), one.score, one) for one in found]


def _class_map(examination: Examination, threshold: float) -> NDArray[np.uint8] | None:
    """Likeliest classes; of a model with one map, the pixels whose probability reaches the threshold."""
    if examination.class_map is not None:
        return examination.class_map
    probabilities = examination.probability_map
    return None if probabilities is None else (probabilities >= threshold).astype(np.uint8)


def _rows(result: EvaluationResult, protocol: EditProtocol, rule: ClassRule | None, resamples: int) -> list[Row]:
    if rule is not None:
        return class_rows(result, rule, protocol.name, protocol.groups, resamples)
    return area_rows(
        result,
        protocol.name,
        protocol.groups,
        area_threshold=protocol.area_threshold,
        score_threshold=protocol.threshold,
        resamples=resamples,
    )


def _architecture(judge: Judge) -> str | None:
    """The paper's baseline that a checkpoint is of; None: another model."""
    return None if isinstance(judge, ImageClassifier) else getattr(judge.localizer.model.config, "architecture", None)


def _notes(judges: Sequence[Judge], protocol: EditProtocol, images: TestImages) -> list[str]:
    counts = [
        f"{images.counts[source, label]} {word} ({source})"
        for source in protocol.groups
        for label, word in (("fake", "edited"), ("real", "unedited"))
        if (source, label) in images.counts
    ]
    notes = [f"images: {', '.join(counts)}", f"{protocol.paper}, {protocol.table}"]
    notes += [f"precision of {judge.name}: {judge.precision}" for judge in judges]
    config = None if isinstance(judges[0], ImageClassifier) else judges[0].localizer.model.config
    if protocol.level == "pixels" and protocol.task == "binary" and getattr(config, "task", None) == "semantic":
        notes.append(
            "the checkpoint tells editors apart; all of them count as edited, where the paper trains binary models"
        )
    return [*notes, protocol.note]
