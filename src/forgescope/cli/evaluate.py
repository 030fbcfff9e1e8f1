"""`forgescope evaluate`: measure a checkpoint on a folder of images with masks, or by the protocol of a paper."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from forgescope.evaluation.results import EvaluationResult
    from forgescope.evaluation.rows import Row
    from forgescope.evaluation.rules import SegmentationRule

UNPERTURBED = "none"
DEFAULT_GROUPS = "source"
# What is printed of a protocol; the files have every number.
PROTOCOL_METRICS = ("image_accuracy", "image_recall", "image_false_alarm_rate")
# Characters of a line where no terminal limits them.
PIPED_WIDTH = 160


def evaluate(
    model: Annotated[str, typer.Argument(help="iclnet-mini, a checkpoint folder or a Hub id.")],
    data: Annotated[
        Path,
        typer.Option(
            help="Folder with metadata.jsonl, or images/ and masks/, or Tp/, Gt/ and Au/; or the protocol's data."
        ),
    ],
    protocol: Annotated[
        str | None, typer.Option(help="A table of a paper, such as gamma-genimage (docs/evaluation.md has all).")
    ] = None,
    real: Annotated[
        Path | None, typer.Option(help="With --protocol: photographs, where its data are fake images only.")
    ] = None,
    per_class: Annotated[
        int | None, typer.Option(min=1, help="With --protocol: draw so many images, not as many as the paper.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="train, validation or test; default: all images.")] = None,
    by: Annotated[str | None, typer.Option(help="Rows for each source (default) or for each task.")] = None,
    preset: Annotated[
        str | None, typer.Option(help="iclnet, imdlbenco, trufor, photoholmes, focal, mvss or lisa.")
    ] = None,
    reduction: Annotated[str | None, typer.Option(help="image, batch or pooled.")] = None,
    average: Annotated[str | None, typer.Option(help="forged or macro.")] = None,
    authentic: Annotated[str | None, typer.Option(help="Images without forgery: skip, zero or one.")] = None,
    polarity: Annotated[str | None, typer.Option(help="normal, inverted or permute.")] = None,
    threshold: Annotated[str | None, typer.Option(help="Pixel probability, 0 to 1, or best.")] = None,
    border_ignore: Annotated[
        str | None, typer.Option(metavar="E,D", help="Ignore mask borders: erode and dilate, odd, in pixels.")
    ] = None,
    metric_batch_size: Annotated[int | None, typer.Option(help="Images of a batch for --reduction batch.")] = None,
    perturb: Annotated[
        str | None, typer.Option(help="table2, or jpeg:80, crop:20, jpeg:80+crop:20, with commas.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random crops, and of a protocol's draw.")] = 0,
    batch_size: Annotated[int | None, typer.Option(help="Images in one forward pass.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: a GPU if there is one.")] = None,
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16; default: float32.")] = "auto",
    resamples: Annotated[int, typer.Option(min=0, help="Bootstrap draws of the intervals; 0: none.")] = 1000,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the rows as JSON.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the tables as Markdown.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Write a chart (PNG, SVG or PDF); needs forgescope[plot].")] = None,
    calibrate: Annotated[
        float | None, typer.Option(metavar="RATE", help="Choose thresholds for this share of false alarms.")
    ] = None,
    save: Annotated[bool, typer.Option(help="With --calibrate: write the thresholds into the checkpoint.")] = False,
) -> None:
    """Measure how well a checkpoint finds forged images and forged pixels, under a stated rule."""
    from forgescope.analyze import Analyzer
    from forgescope.evaluation.perturbations import parse_perturbations
    from forgescope.evaluation.protocols import find_protocol
    from forgescope.evaluation_data import find_test_files
    from forgescope.evaluation_runs import evaluate_folder, evaluate_protocol
    from forgescope.protocol_data import draw_test_images

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
    draws = {"seed": seed, "resamples": resamples}
    if protocol is not None:
        table = find_protocol(protocol)
        others = {"split": split, "by": by, "preset": preset, "calibrate": calibrate, "save": save or None}
        _refuse({**others, **changes}, f"with {table.name}")
        perturbations = parse_perturbations(perturb or ",".join(table.perturbations))
        images = draw_test_images(table, data, real, per_class, seed)
        run = evaluate_protocol(Analyzer(model, **settings), table, images, perturbations, **draws)
    else:
        _refuse({"real": real, "per_class": per_class}, "without --protocol")
        name, rules = _choose_rules(preset, changes)
        perturbations = parse_perturbations(perturb or UNPERTURBED)
        _check_calibration(calibrate, save, [one.name for one in perturbations], model)
        files = find_test_files(data, split, by or DEFAULT_GROUPS)
        run = evaluate_folder(Analyzer(model, **settings), files, name, rules, perturbations, **draws)
    _report(run.rows, [f"model: {model}", f"data: {data}", *run.notes], json_file, markdown, plot, protocol)
    if calibrate is not None:
        _calibrate(next(one for one in run.results if one.perturbation.name == UNPERTURBED), calibrate, model, save)
    _name_skipped(run.results)


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


def _report(
    rows: "list[Row]",
    notes: list[str],
    json_file: Path | None,
    markdown: Path | None,
    plot: Path | None,
    protocol: str | None,
) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    from forgescope.evaluation.report import to_json, to_markdown, to_tables, write_text

    console = Console()
    if not console.is_terminal:
        console.width = PIPED_WIDTH
    console.print("\n".join(notes), highlight=False, markup=False)
    shown = rows if protocol is None else [row for row in rows if row.metric in PROTOCOL_METRICS]
    for content in to_tables(shown, intervals=False):
        table = Table(*(Column(name, overflow="fold") for name in content.header))
        table.columns[0].no_wrap = True
        for cells in content.lines:
            table.add_row(*cells)
        console.print(f"\n{content.title}", highlight=False, markup=False)
        console.print(table)
    if json_file:
        write_text(json_file, to_json(rows))
    if markdown:
        write_text(markdown, to_markdown(rows, notes))
    if plot:
        from forgescope.evaluation.plots import save_plot
        from forgescope.evaluation.protocol_plots import save_protocol_plot

        save = save_plot if protocol is None else save_protocol_plot
        save(rows, plot)


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


def _name_skipped(results: "list[EvaluationResult]") -> None:
    """Name every image that could not be scored; exit status 1 when there is one."""
    skipped = {(one.name, one.reason) for result in results for one in result.skipped}
    for name, reason in sorted(skipped):
        typer.echo(f"skipped {name}: {reason}" if name not in reason else f"skipped {reason}", err=True)
    if skipped:
        raise typer.Exit(1)
