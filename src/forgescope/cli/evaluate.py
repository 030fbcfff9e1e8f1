"""`forgescope evaluate`: measure a checkpoint on a folder of images with masks, or by the protocol of a paper."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from forgescope.cli import evaluate_options as options
from forgescope.cli.output import STANDARD_OUTPUT, json_writer

if TYPE_CHECKING:
    from forgescope.evaluation.edit_protocol import EditProtocol
    from forgescope.evaluation.localization_protocol import LocalizationProtocol
    from forgescope.evaluation.results import EvaluationResult
    from forgescope.evaluation.rules import SegmentationRule
    from forgescope.evaluation_runs import EvaluationRun

UNPERTURBED = "none"
DEFAULT_GROUPS = "source"


def evaluate(
    data: options.Data,
    model: options.Model = None,
    protocol: options.Protocol = None,
    real: options.Real = None,
    per_class: options.PerClass = None,
    against: options.Against = None,
    fake_class: options.FakeClass = None,
    variant: options.Variant = None,
    bases: options.Bases = None,
    tolerance: options.Tolerance = None,
    answers: options.Answers = None,
    unparsed: options.Unparsed = None,
    embedder: options.Embedder = None,
    targets: options.Targets = None,
    matching: options.Matching = None,
    rasterizer: options.Rasterizer = None,
    cleaning: options.Cleaning = None,
    longest_edge: options.LongestEdge = None,
    split: options.Split = None,
    by: options.By = None,
    preset: options.Preset = None,
    reduction: options.Reduction = None,
    average: options.Average = None,
    authentic: options.Authentic = None,
    polarity: options.Polarity = None,
    threshold: options.Threshold = None,
    border_ignore: options.BorderIgnore = None,
    metric_batch_size: options.MetricBatchSize = None,
    perturb: options.Perturb = None,
    seed: options.Seed = 0,
    batch_size: options.BatchSize = None,
    device: options.Device = None,
    dtype: options.Dtype = "auto",
    resamples: options.Resamples = 1000,
    json_file: options.JsonFile = None,
    markdown: options.Markdown = None,
    html: options.Html = None,
    plot: options.Plot = None,
    calibrate: options.Calibrate = None,
    save: options.Save = False,
) -> None:
    """Measure how well a checkpoint finds forged images and forged pixels, under a stated rule.

    Exit status: 0 all images were scored, 1 some were not (they are named), 2 wrong usage.

    Example: forgescope evaluate iclnet-mini --data examples --preset iclnet --json rows.json
    """
    from forgescope.analyze import Analyzer
    from forgescope.cli.evaluate_grounded import run_families, run_grounded
    from forgescope.cli.evaluate_reasoning import run_reasoning
    from forgescope.cli.evaluate_report import name_skipped, show_and_write
    from forgescope.evaluation.edit_protocol import EditProtocol
    from forgescope.evaluation.family_rows import FamilyProtocol
    from forgescope.evaluation.grounded_protocol import GroundedProtocol
    from forgescope.evaluation.localization_protocol import LocalizationProtocol
    from forgescope.evaluation.perturbations import parse_perturbations
    from forgescope.evaluation.protocols import find_protocol
    from forgescope.evaluation.reasoning_protocol import ReasoningProtocol
    from forgescope.evaluation_data import find_test_files
    from forgescope.evaluation_runs import evaluate_folder, evaluate_protocol
    from forgescope.protocol_data import draw_test_images

    # answers are kept beside the rows, if these have a file
    rows_file = None if json_file == STANDARD_OUTPUT else json_file
    with json_writer(json_file) as write:
        given = {
            "reduction": reduction,
            "average": average,
            "authentic": authentic,
            "polarity": polarity,
            "threshold": threshold and _parse_threshold(threshold),
            "border_ignore": border_ignore and _parse_border(border_ignore),
            "metric_batch_size": metric_batch_size,
        }
        changes = {name: value for name, value in given.items() if value is not None}
        settings: dict[str, Any] = {"device": device, "dtype": dtype, "batch_size": batch_size}
        draws: dict[str, Any] = {"seed": seed, "resamples": resamples}
        folders: dict[str, Any] = {"split": split, "real": real, "variant": variant, "bases": bases}
        of_edits: dict[str, Any] = {"against": against, "fake_class": fake_class, "tolerance": tolerance}
        of_answers: dict[str, Any] = {"answers": answers, "unparsed": unparsed, "embedder": embedder}
        of_masks: dict[str, Any] = {
            "targets": targets,
            "matching": matching,
            "rasterizer": rasterizer,
            "cleaning": cleaning,
            "longest_edge": longest_edge,
        }
        of_folders = {"by": by, "preset": preset, "calibrate": calibrate, "save": save or None, **changes}
        table = None if protocol is None else find_protocol(protocol)
        if isinstance(table, ReasoningProtocol | GroundedProtocol | FamilyProtocol):
            keeping: dict[str, Any] = {
                "answers": answers,
                "json_file": rows_file,
                "plot": plot,
                "per_class": per_class,
            }
            where = f"with {table.name}"
            if isinstance(table, GroundedProtocol):
                own = {name: of_folders.pop(name, None) for name in ("reduction", "authentic")} | of_masks
                own |= {"split": folders.pop("split"), "embedder": embedder, "perturb": perturb}
                _refuse({**folders, **of_edits, **of_folders, "unparsed": unparsed}, where)
                run = run_grounded(table, data, model, settings, **own, **keeping, **draws)
            elif isinstance(table, ReasoningProtocol):
                _refuse({**folders, **of_edits, **of_folders, **of_masks, "perturb": perturb}, where)
                own = {"unparsed": unparsed, "embedder": embedder}
                run = run_reasoning(table, data, model, settings, **own, **keeping, **draws)
            else:
                own = {"unparsed": unparsed, "embedder": embedder, "perturb": perturb}
                _refuse({**folders, **of_edits, **of_folders, **of_masks, **own}, where)
                run = run_families(table, data, model, settings, **keeping, **draws)
            asked = f"answers: {answers}" if model is None else f"model: {model}"
            chart = plot if isinstance(table, ReasoningProtocol) else None
            show_and_write(run, [asked, f"data: {data}", *run.notes], write, markdown, chart, protocol, html)
            return name_skipped(run.results)
        if model is None:
            raise ValueError(
                "MODEL is missing: name a checkpoint; only the mmfr and legion protocols can do without, "
                "with --answers"
            )
        if isinstance(table, EditProtocol):
            _refuse({**of_folders, **of_answers, **of_masks}, f"with {table.name}")
            folders |= {"corpus": data}
            run = _run_edits(
                table, model, folders, settings, per_class=per_class, perturb=perturb, **of_edits, **draws
            )
        elif isinstance(table, LocalizationProtocol):
            _refuse(
                {**folders, "split": None, **of_edits, **of_folders, **of_answers, **of_masks}, f"with {table.name}"
            )
            run = _run_localization(
                table, model, data, settings, split=split, per_class=per_class, perturb=perturb, **draws
            )
        elif table is not None:
            unused: dict[str, Any] = {"split": split, "variant": variant, "bases": bases, **of_edits, **of_answers}
            _refuse({**unused, **of_folders, **of_masks}, f"with {table.name}")
            perturbations = parse_perturbations(perturb or ",".join(table.perturbations))
            images = draw_test_images(table, data, real, per_class, seed)
            run = evaluate_protocol(Analyzer(model, **settings), table, images, perturbations, **draws)
        else:
            unused = {"real": real, "per_class": per_class, "variant": variant, "bases": bases}
            unused |= {**of_edits, **of_answers, **of_masks}
            _refuse(unused, "without --protocol")
            name, rules = _choose_rules(preset, changes)
            perturbations = parse_perturbations(perturb or UNPERTURBED)
            _check_calibration(calibrate, save, [one.name for one in perturbations], model)
            files = find_test_files(data, split, by or DEFAULT_GROUPS)
            run = evaluate_folder(Analyzer(model, **settings), files, name, rules, perturbations, **draws)
        # tables of pixels are shown and drawn as those of a folder are
        shown_as = None if isinstance(table, LocalizationProtocol) else protocol
        show_and_write(run, [f"model: {model}", f"data: {data}", *run.notes], write, markdown, plot, shown_as, html)
        if calibrate is not None:
            _calibrate(
                next(one for one in run.results if one.perturbation.name == UNPERTURBED), calibrate, model, save
            )
        name_skipped(run.results)


def _run_edits(
    table: "EditProtocol",
    model: str,
    folders: dict[str, Any],
    settings: dict[str, Any],
    *,
    against: str | None,
    fake_class: str | None,
    tolerance: str | None,
    perturb: str | None,
    per_class: int | None,
    seed: int,
    resamples: int,
) -> "EvaluationRun":
    """Run a table of DiffSeg30k."""
    from forgescope.edit_evaluation import editors_of, evaluate_edits, load_judge
    from forgescope.edit_protocol_data import EditData, draw_edited_images
    from forgescope.evaluation.boundary import parse_tolerance
    from forgescope.evaluation.perturbations import parse_perturbations

    allowed = parse_tolerance(tolerance) if tolerance else None
    perturbations = parse_perturbations(perturb or ",".join(table.perturbations))
    checkpoints = [model] if against is None else [model, against]
    judges = [load_judge(one, table, fake_class, **settings) for one in checkpoints]
    data = EditData(**folders, editors=editors_of(judges[0]))
    images = draw_edited_images(table, data, per_class, seed)
    draws: dict[str, Any] = {"seed": seed, "resamples": resamples}
    return evaluate_edits(judges, table, images, perturbations, tolerance=allowed, **draws)


def _run_localization(
    table: "LocalizationProtocol",
    model: str,
    data: Path,
    settings: dict[str, Any],
    *,
    split: str | None,
    per_class: int | None,
    perturb: str | None,
    seed: int,
    resamples: int,
) -> "EvaluationRun":
    """Run a table of ICL-Net."""
    from forgescope.evaluation.perturbations import parse_perturbations
    from forgescope.localization_evaluation import draw_masked_images, evaluate_localization, load_localizer

    perturbations = parse_perturbations(perturb or ",".join(table.perturbations))
    analyzer = load_localizer(model, table, **settings)
    images = draw_masked_images(table, data, per_class, seed, split)
    return evaluate_localization(analyzer, table, images, perturbations, seed=seed, resamples=resamples)


def _refuse(options: dict[str, Any], where: str) -> None:
    """Refuse arguments that mean nothing beside the others."""
    given = [f"--{name}".replace("_", "-") for name, value in options.items() if value is not None]
    if given:
        raise ValueError(f"{', '.join(given)} cannot be used {where}: leave it out")


def _parse_threshold(text: str) -> float | str:
    try:
        return text if text == "best" else float(text)
    except ValueError:
        raise ValueError(f"--threshold must be a number from 0 to 1, or best, got {text!r}") from None


def _parse_border(text: str) -> tuple[int, int]:
    try:
        erode, dilate = (int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"--border-ignore must be two odd widths such as 15,11, got {text!r}") from None
    return erode, dilate


def _choose_rules(preset: str | None, changes: dict[str, Any]) -> "tuple[str, list[SegmentationRule]]":
    """Take the rules of a preset and change what was asked for; a changed preset is no longer called by its name."""
    from forgescope.evaluation.rules import Metric, SegmentationRule
    from forgescope.evaluation.rules import preset as preset_rules

    changes = {"batch_size" if name == "metric_batch_size" else name: value for name, value in changes.items()}
    if preset is None:
        metrics: tuple[Metric, ...]
        metrics = ("f1", "iou") if changes.get("threshold") == "best" else ("precision", "recall", "f1", "iou", "auc")
        return "custom", [SegmentationRule(metrics=metrics, **changes)]
    rules = [replace(rule, **changes) for rule in preset_rules(preset)]
    return "custom" if changes else preset, list(dict.fromkeys(rules))


def _check_calibration(rate: float | None, save: bool, perturbations: list[str], model: str) -> None:
    """Refuse, before the long run, what cannot be done after it."""
    from forgescope.hub import resolve_checkpoint

    if save and rate is None:
        raise ValueError("--save needs --calibrate RATE: it writes the thresholds that were chosen")
    if rate is not None and UNPERTURBED not in perturbations:
        raise ValueError(f"--calibrate needs untouched images, got --perturb {','.join(perturbations)}: add none")
    if save and not Path(resolve_checkpoint(model)).is_dir():
        raise ValueError(f"--save needs a checkpoint folder, got {model}: download it first, then give its folder")


def _calibrate(result: "EvaluationResult", rate: float, model: str, save: bool) -> None:
    from forgescope.evaluation.calibration import calibrate
    from forgescope.evaluation_data import save_calibration

    chosen = calibrate(result.authentic_scores(), rate)
    typer.echo(
        f"forged from a score of {chosen.forged_threshold:.4f} (at most {rate:.3g} of {chosen.calibration_images} "
        f"authentic images reach it), authentic below {chosen.authentic_threshold:.4f}"
    )
    if save:
        typer.echo(f"written to {save_calibration(chosen, model)}")
