"""`forgescope construct synthscars`: a balanced, filtered collection of generated images."""

from pathlib import Path
from typing import Annotated

import typer

from forgescope.cli.output import Json, json_output


def synthscars(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGES", help="Generated images, or folders of them, one a source.")
    ],
    settings: Annotated[
        Path, typer.Option(help="YAML file of models and settings, see docs/construct_synthscars.md.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write; an interrupted run goes on where it stopped.")],
    features: Annotated[
        Path | None, typer.Option(help="Folder of features that several collections share; default: OUT/features.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Images asked about at the same time; default: 8 with a server, else 1.")
    ] = None,
    plots: Annotated[bool, typer.Option("--plots", help="Also draw pictures of the clusters.")] = False,
    as_json: Json = False,
) -> None:
    """Cluster generated images, draw the same share of each cluster, and keep what is clear, safe and realistic.

    Exit status: 0 all images were looked at, 1 some failed (they are named), 2 wrong usage.

    Example: forgescope construct synthscars generated --settings curate.yaml --out curated
    """
    from forgescope.cli.construct import read_photo
    from forgescope.construction.synthscars import CurationJob, write_curation
    from forgescope.construction.synthscars_clusters import load_kmeans
    from forgescope.construction.synthscars_configuration import read_configuration
    from forgescope.construction.synthscars_features import load_features
    from forgescope.construction.vision_language import load_vision_language

    load_kmeans()  # a missing extra is said before models are loaded
    configuration = read_configuration(settings)
    threads = configuration.vlm.workers(workers)
    sources = _sources(images)
    with json_output(as_json) as answer:
        job = CurationJob(
            photos=list(sources),
            sources=list(sources.values()),
            out=out,
            extract=load_features(configuration.features),
            vision_language=load_vision_language(configuration.vlm),
            settings=configuration.settings,
            batch_size=configuration.features.batch_size,
            workers=threads,
            description=configuration.describe(),
            features_folder=features,
            read_photo=read_photo,
            plots=plots,
        )
        result = write_curation(job)
        counts = result.statistics
        typer.echo(f"{counts['kept']} images in {out}, of {counts['drawn']} drawn and {counts['images']} given")
        typer.echo(f"{len(counts['clusters'])} clusters, {result.made} images judged now")
        for label, count in (counts["labels"] | counts["without_label"]).items():
            typer.echo(f"{label}: {count}")
        used = counts["vision_language"]
        typer.echo(
            f"vision-language model: {used['calls']} calls, {used['prompt_tokens']} tokens asked, "
            f"{used['completion_tokens']} answered"
        )
        failed = result.unreadable | result.failed
        for path, reason in failed.items():
            typer.echo(f"failed: {reason if path in reason else f'{path}: {reason}'}", err=True)
        if result.stopped:
            typer.echo(f"stopped: {result.stopped}; the same command goes on from here", err=True)
        answer |= {"out": out, "images": counts["kept"], "made": result.made, "statistics": counts}
        answer |= {"failed": {str(path): reason for path, reason in failed.items()}, "stopped": result.stopped or None}
        if failed or result.stopped:
            raise typer.Exit(1)


def _sources(paths: list[Path]) -> dict[Path, str]:
    """Images in their order, with the name of the folder that was given, or that holds the file that was."""
    from forgescope.construction.image_folder import find_photos

    found: dict[Path, str] = {}
    for path in paths:
        name = (path if path.is_dir() else path.parent).resolve().name
        for photo in find_photos([path]):
            found.setdefault(photo, name)
    return dict(sorted(found.items()))
