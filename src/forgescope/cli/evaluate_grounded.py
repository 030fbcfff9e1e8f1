"""`forgescope evaluate --protocol legion-...`: artifacts of a model or of another system, and verdicts by family."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgescope.cli.evaluate_answers import answers_file, load_embedder

if TYPE_CHECKING:
    from forgescope.evaluation.family_rows import FamilyProtocol
    from forgescope.evaluation.grounded_protocol import GroundedProtocol
    from forgescope.evaluation_runs import EvaluationRun

CHART = "chart.png"


def run_grounded(
    protocol: "GroundedProtocol",
    data: Path,
    model: str | None,
    settings: dict[str, Any],
    *,
    page: Path | None,
    answers: Path | None,
    json_file: Path | None,
    plot: Path | None,
    per_class: int | None,
    split: str | None,
    perturb: str | None,
    reduction: str | None,
    targets: str | None,
    matching: str | None,
    rasterizer: str | None,
    cleaning: str | None,
    longest_edge: int | None,
    authentic: str | None,
    embedder: str | None,
    seed: int,
    resamples: int,
) -> "tuple[EvaluationRun, str]":
    """Run a table of LEGION about artifacts.

    Args:
        protocol: the table.
        data: its corpus.
        model: checkpoint that is asked; None: `answers` holds every answer.
        settings: `device`, `dtype` and `batch_size` of the model.
        page: file of the page; None: none is wanted.
        answers: JSON lines that keep the answers; None: beside `json_file`.
        json_file: where the rows will be written.
        plot: folder of the chart and of some images; with an ending, the chart alone.
        per_class: images; None: all.
        split: of the corpus; None: the protocol's.
        perturb: what is done to the images; None: what the paper did.
        reduction: `image` or `dataset`; None: both.
        targets: `union` or `per_phrase`; None: both.
        matching: `best` or `order`; None: `best`.
        rasterizer: `fillpoly` or `coco`; None: `fillpoly`.
        cleaning: `plain` or `authors`; None: `plain`.
        longest_edge: long side of an image as the model's SAM sees it, pixels; None: that of the checkpoint.
        authentic: images without an annotated pixel: `skip`, `zero` or `one`; None: `skip`.
        embedder: text encoder of CSS; None: no CSS.
        seed: of the draw, of noise and of crops.
        resamples: draws of the bootstrap intervals; 0 for none.

    Raises:
        ValueError: arguments that do not go together, or data or answers that cannot be used.
        OSError: a file cannot be read or written.
        ImportError: a package that scores texts, pairs phrases or draws is missing.
    """
    from forgescope.answered_pictures import grounded_section
    from forgescope.evaluation.grounded_scores import check_matching
    from forgescope.evaluation.perturbations import parse_perturbations
    from forgescope.evaluation.text_scores import rouge_l
    from forgescope.grounded_data import draw_grounded_images, with_rasterizer
    from forgescope.grounded_evaluation import GroundedRule, evaluate_grounded
    from forgescope.grounded_model import load_grounded_model
    from forgescope.grounded_pictures import save_pictures

    rule = GroundedRule.chosen(targets, reduction, matching=matching, empty=authentic, cleaning=cleaning)
    file = answers_file(answers, json_file, model)
    if longest_edge is not None and model is None:
        raise ValueError("--longest-edge is of a model that is asked: leave it out with --answers alone")
    if embedder is not None and not protocol.texts:
        raise ValueError(f"--embedder cannot be used with {protocol.name}: it compares no explanations")
    if targets == "per_phrase" and not protocol.phrases:
        raise ValueError(f"--targets per_phrase cannot be used with {protocol.name}: its artifacts are not told apart")
    # missing packages are told before the long run
    if protocol.texts:
        rouge_l("", "")
    if protocol.phrases and "per_phrase" in rule.targets:
        check_matching(rule.matching)
    perturbations = parse_perturbations(perturb or ",".join(protocol.perturbations))
    images = draw_grounded_images(with_rasterizer(protocol, rasterizer), data, per_class, seed, split)
    grounder = None if model is None else load_grounded_model(model, **settings, longest_edge=longest_edge)
    run = evaluate_grounded(
        images,
        file,
        perturbations,
        grounder,
        model=model or "",
        rule=rule,
        settings={} if grounder is None else grounder.settings,
        embedder=load_embedder(embedder, settings["device"]),
        seed=seed,
        resamples=resamples,
    )
    if plot is not None:
        save_pictures(run.rows, images, file, plot, CHART)
    return run, "" if page is None else grounded_section(images, file, page)


def run_families(
    protocol: "FamilyProtocol",
    data: Path,
    model: str | None,
    settings: dict[str, Any],
    *,
    page: Path | None,
    answers: Path | None,
    json_file: Path | None,
    plot: Path | None,
    per_class: int | None,
    seed: int,
    resamples: int,
) -> "tuple[EvaluationRun, str]":
    """Run LEGION's table of detection by families of generators; arguments and errors as in `run_grounded`."""
    from forgescope.answered_pictures import scored_section
    from forgescope.evaluation.protocol_plots import save_protocol_plot
    from forgescope.grounded_model import load_scorer
    from forgescope.image_scores import evaluate_families
    from forgescope.protocol_data import draw_test_images

    file = answers_file(answers, json_file, model)
    images = draw_test_images(protocol, data, None, per_class, seed)
    scorer = None if model is None else load_scorer(model, **settings)
    run = evaluate_families(images, protocol, file, scorer, model=model or "", resamples=resamples)
    if plot is not None:
        chart = plot if plot.suffix else plot / CHART
        chart.parent.mkdir(parents=True, exist_ok=True)
        save_protocol_plot([row for row in run.rows if row.source in protocol.families], chart)
    return run, "" if page is None else scored_section(images, protocol, file, page)
