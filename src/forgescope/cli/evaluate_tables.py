"""`forgescope evaluate --protocol ...`: tables of images, of edited pixels, and of forged pixels."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forgescope.evaluation.edit_protocol import EditProtocol
    from forgescope.evaluation.localization_protocol import LocalizationProtocol
    from forgescope.evaluation.protocol import Protocol
    from forgescope.evaluation_runs import EvaluationRun


def run_images(
    table: "Protocol",
    data: Path,
    model: str,
    settings: dict[str, Any],
    *,
    page: Path | None,
    real: Path | None,
    per_class: int | None,
    perturb: str | None,
    seed: int,
    resamples: int,
) -> "tuple[EvaluationRun, str]":
    """Run a table of whole images, such as those of GAMMA.

    Args:
        table: the table.
        data: its corpus.
        model: checkpoint.
        settings: `device`, `dtype` and `batch_size` of the model.
        page: file of the page; None: none is wanted.
        real: photographs, where the corpus has none.
        per_class: images of each class and subset; None: as many as the paper.
        perturb: what is done to the images; None: what the paper did.
        seed: of the draw and of random crops.
        resamples: draws of the bootstrap intervals.

    Returns:
        The run, and its images as markup for the page, empty where none is wanted.

    Raises:
        ValueError: arguments, data or a checkpoint that cannot be used.
        OSError: a file cannot be read.
    """
    from forgescope.evaluation.perturbations import parse_perturbations
    from forgescope.evaluation_pictures import WatchedImages, section_of
    from forgescope.evaluation_runs import evaluate_protocol, load_verdicts
    from forgescope.protocol_data import draw_test_images, prepare

    perturbations = parse_perturbations(perturb or ",".join(table.perturbations))
    drawn = draw_test_images(table, data, real, per_class, seed)
    analyzer = load_verdicts(model, **settings)
    images = None
    if page is not None:
        images = WatchedImages(
            analyzer,
            page,
            drawn.total,
            lambda photo: prepare(photo, table),
            lambda record: record.score >= table.threshold,
        )
    watch = None if images is None else images.watch
    run = evaluate_protocol(analyzer, table, drawn, perturbations, seed=seed, resamples=resamples, watch=watch)
    return run, section_of(images, run)


def run_edits(
    table: "EditProtocol",
    data: Path,
    model: str,
    settings: dict[str, Any],
    *,
    page: Path | None,
    against: str | None,
    fake_class: str | None,
    tolerance: str | None,
    perturb: str | None,
    per_class: int | None,
    seed: int,
    resamples: int,
    **folders: Any,
) -> "tuple[EvaluationRun, str]":
    """Run a table of DiffSeg30k; arguments as in `run_images` and, for `folders`, in `EditData`.

    `against` is a second checkpoint, measured on the same images; `fake_class` that of a foreign classifier;
    `tolerance` that of the boundary F1.
    """
    from forgescope.analyze import Analyzer
    from forgescope.edit_evaluation import editors_of, evaluate_edits, load_judge
    from forgescope.edit_protocol_data import EditData, draw_edited_images
    from forgescope.evaluation.boundary import parse_tolerance
    from forgescope.evaluation.perturbations import parse_perturbations
    from forgescope.evaluation_pictures import WatchedImages, section_of

    allowed = parse_tolerance(tolerance) if tolerance else None
    perturbations = parse_perturbations(perturb or ",".join(table.perturbations))
    checkpoints = [model] if against is None else [model, against]
    judges = [load_judge(one, table, fake_class, **settings) for one in checkpoints]
    drawn = draw_edited_images(table, EditData(data, **folders, editors=editors_of(judges[0])), per_class, seed)
    # a foreign classifier makes no report
    first = judges[0] if isinstance(judges[0], Analyzer) else None
    called = table.calls_edited if table.level == "images" else None
    images = None if page is None or first is None else WatchedImages(first, page, drawn.total, called=called)
    watch = None if images is None else images.watch
    draws: dict[str, Any] = {"seed": seed, "resamples": resamples}
    run = evaluate_edits(judges, table, drawn, perturbations, tolerance=allowed, watch=watch, **draws)
    return run, section_of(images, run)


def run_localization(
    table: "LocalizationProtocol",
    data: Path,
    model: str,
    settings: dict[str, Any],
    *,
    page: Path | None,
    split: str | None,
    per_class: int | None,
    perturb: str | None,
    seed: int,
    resamples: int,
) -> "tuple[EvaluationRun, str]":
    """Run a table of ICL-Net; arguments as in `run_images`, and `split` of the corpus."""
    from forgescope.evaluation.perturbations import parse_perturbations
    from forgescope.evaluation_pictures import WatchedImages, section_of
    from forgescope.localization_evaluation import draw_masked_images, evaluate_localization, load_localizer

    perturbations = parse_perturbations(perturb or ",".join(table.perturbations))
    analyzer = load_localizer(model, table, **settings)
    drawn = draw_masked_images(table, data, per_class, seed, split)
    images = None if page is None else WatchedImages(analyzer, page, drawn.total)
    watch = None if images is None else images.watch
    draws: dict[str, Any] = {"seed": seed, "resamples": resamples}
    run = evaluate_localization(analyzer, table, drawn, perturbations, watch=watch, **draws)
    return run, section_of(images, run)
