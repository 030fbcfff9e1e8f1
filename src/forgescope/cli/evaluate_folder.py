"""`forgescope evaluate` without a protocol: a folder of images and masks, measured by a rule that is named.

Of images without masks, verdicts alone are measured.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from forgescope.evaluation.rules import SegmentationRule
    from forgescope.evaluation_runs import EvaluationRun

UNPERTURBED = "none"
DEFAULT_GROUPS = "source"
NO_MASKS = "the images have no masks: numbers of whole images alone"


def run_folder(
    table: None,
    data: Path,
    model: str,
    settings: dict[str, Any],
    *,
    page: Path | None,
    plot: Path | None,
    split: str | None,
    by: str | None,
    preset: str | None,
    perturb: str | None,
    calibrate: float | None,
    save: bool,
    threshold: str | None,
    border_ignore: str | None,
    seed: int,
    resamples: int,
    **changes: Any,
) -> "tuple[EvaluationRun, str]":
    """Measure a checkpoint on a folder.

    Args:
        table: None.
        data: folder.
        model: checkpoint.
        settings: `device`, `dtype` and `batch_size` of the model.
        page: file of the page; None: none is wanted.
        plot: file of the chart; checked only.
        split: of the folder; None: all.
        by: column that names the subsets.
        preset: name of published rules.
        perturb: what is done to the images.
        calibrate: share of false alarms; checked only.
        save: checked only.
        threshold: of pixels, a number or `best`; None: the preset's.
        border_ignore: two widths, likewise.
        seed: of random crops.
        resamples: draws of the bootstrap intervals.
        changes: other fields of `SegmentationRule`; None: the preset's.

    Returns:
        The run, and its images as markup for the page, empty where none is wanted.

    Raises:
        ValueError: arguments, data or a checkpoint that cannot be used.
        OSError: a file cannot be read.
    """
    from forgescope.analyze import Analyzer
    from forgescope.evaluation.perturbations import parse_perturbations
    from forgescope.evaluation_data import find_test_files, have_masks
    from forgescope.evaluation_pictures import WatchedImages, section_of
    from forgescope.evaluation_runs import evaluate_folder

    changes["threshold"] = None if threshold is None else _parse_threshold(threshold)
    changes["border_ignore"] = None if border_ignore is None else _parse_border(border_ignore)
    name, rules = _choose_rules(preset, {key: value for key, value in changes.items() if value is not None})
    perturbations = parse_perturbations(perturb or UNPERTURBED)
    _check_calibration(calibrate, save, [one.name for one in perturbations], model)
    files = find_test_files(data, split, by or DEFAULT_GROUPS)
    masked = have_masks(files)
    if not masked:
        _refuse_pixels(data, {"preset": preset, **changes, "plot": plot})
        rules = []
    analyzer = Analyzer(model, **settings)
    images = None if page is None else WatchedImages(analyzer, page, len(files))
    watch = None if images is None else images.watch
    run = evaluate_folder(analyzer, files, name, rules, perturbations, seed=seed, resamples=resamples, watch=watch)
    if not masked:
        run.notes.append(NO_MASKS)
    return run, section_of(images, run)


def _refuse_pixels(data: Path, options: dict[str, Any]) -> None:
    """Refuse options of forged pixels where these are not known."""
    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value is not None]
    if given:
        raise ValueError(f"{', '.join(given)} cannot be used without masks, and {data} names none: leave it out")


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

    if rate is not None and not 0 <= rate < 1:
        raise ValueError(f"--calibrate must be at least 0 and below 1, a share of false alarms, got {rate:g}")
    if save and rate is None:
        raise ValueError("--save needs --calibrate RATE: it writes the thresholds that were chosen")
    if rate is not None and UNPERTURBED not in perturbations:
        raise ValueError(f"--calibrate needs untouched images, got --perturb {','.join(perturbations)}: add none")
    if save and not Path(resolve_checkpoint(model)).is_dir():
        raise ValueError(f"--save needs a checkpoint folder, got {model}: download it first, then give its folder")


def calibrate_and_tell(run: "EvaluationRun", rate: float, model: str, save: bool) -> None:
    """Choose thresholds from the untouched images of a run, print them, and write them into the checkpoint.

    Args:
        run: the run.
        rate: share of false alarms, 0 to 1.
        model: checkpoint.
        save: whether they are written.

    Raises:
        ValueError: too few authentic images.
        OSError: the checkpoint cannot be written.
    """
    from forgescope.evaluation.calibration import calibrate
    from forgescope.evaluation_data import save_calibration

    result = next(one for one in run.results if one.perturbation.name == UNPERTURBED)
    chosen = calibrate(result.authentic_scores(), rate)
    typer.echo(
        f"forged from a score of {chosen.forged_threshold:.4f} (at most {rate:.3g} of {chosen.calibration_images} "
        f"authentic images reach it), authentic below {chosen.authentic_threshold:.4f}"
    )
    if save:
        typer.echo(f"written to {save_calibration(chosen, model)}")
