"""`forgescope protocols`: the tables of the five papers as things to run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from .output import Json, print_json

# Words of long texts are broken at this width.
WIDTH = 100
UNTOUCHED, AVERAGE = "none", "average"
# With more subsets and no mean over them, numbers are left to the full view.
MOST_SUBSETS = 8


def complete_protocol(incomplete: str) -> list[str]:
    """Names that begin as the word does, for shells."""
    from forgescope.evaluation.protocols import PROTOCOLS

    return [name for name in PROTOCOLS if name.startswith(incomplete)]


def protocols(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Show this protocol in full.", autocompletion=complete_protocol),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="A corpus, or a folder of corpora: say what can be run on them here.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the tables of the papers: numbers, corpora, models, and how each is run.

    Example: forgescope protocols diffseg-semantic
    """
    from forgescope.evaluation.protocols import find_protocol
    from forgescope.protocol_catalogue import describe, list_tables

    found: dict[str, Any] = list_tables(data) if name is None else describe(find_protocol(name), data)
    if as_json:
        print_json(found)
        return
    for line in _all(found) if name is None else _one(found):
        typer.echo(line)


def _all(papers: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    """Every paper with its tables, and the corpora that they need."""
    corpora: dict[str, dict[str, Any]] = {}
    for paper, tables in papers.items():
        yield paper
        for table in tables:
            yield f"  {table['table']:<9} {table['content']}".rstrip()
            for protocol in table["protocols"]:
                corpora.setdefault(protocol["corpus"], protocol)
                yield f"    {protocol['name']:<36} {_key_numbers(protocol)}"
                models = ", ".join(protocol["models"])
                yield from _wrapped(f"on {protocol['corpus']}; takes {models}{_here(protocol)}", 8)
            if table["reason"]:
                yield from _wrapped(table["reason"], 4)
        yield ""
    yield "Corpora (docs/corpora.md)"
    for corpus, protocol in sorted(corpora.items()):
        yield f"  {corpus}: {protocol['corpus_title']}, licence {protocol['licence']}, {_origin(protocol)}"
        yield from _wrapped(protocol["terms"], 4)
    yield ""
    yield "forgescope protocols NAME shows one in full; --data DIR says what can be run on the corpora there."


def _one(protocol: dict[str, Any]) -> Iterator[str]:
    yield f"{protocol['name']}: {protocol['paper']}, {protocol['table']}"
    facts = {
        "metric": protocol["metric"],
        "models": ", ".join(protocol["models"]),
        "corpus": f"{protocol['corpus_title']} ({protocol['corpus']}), {_origin(protocol)}",
        "licence": f"{protocol['licence']}. {protocol['terms']}",
        "data": f"{protocol['data']}; split {protocol['split']}",
        "subsets": ", ".join(protocol["subsets"]),
        "images are": ", ".join("as read" if one == UNTOUCHED else one for one in protocol["perturbations"]),
        **protocol["also_needed"],
        "note": protocol["note"],
        "here": _here(protocol).removeprefix("; ") or "not looked: give --data DIR",
    }
    for title, text in facts.items():
        first, *rest = _wrapped(text, 14)
        yield f"  {title:<11} {first.strip()}"
        yield from rest
    yield f"  run         {protocol['command']}"
    yield "  the paper's numbers" if protocol["paper_values"] else "  the paper has no numbers"
    for number in protocol["paper_values"]:
        told = [str(text) for key, text in number.items() if key not in ("metric", "value") and text != "none"]
        yield f"    {number['value']:.4f}  {number['metric']}  {' '.join(told)}".rstrip()


def _key_numbers(protocol: dict[str, Any]) -> str:
    """The metric with the paper's numbers on untouched images: of whole sets, or of subsets where there are few."""
    numbers = [
        one
        for one in protocol["paper_values"]
        if one["metric"] == protocol["metric"] and one["perturbation"] == UNTOUCHED
    ]
    whole = [one for one in numbers if one.get("source", "") in (AVERAGE, "", protocol["corpus"])]
    if not whole and len(numbers) > MOST_SUBSETS:
        return str(protocol["metric"])
    names = ("architecture", "setting") if whole else ("architecture", "source")
    said = [
        " ".join([*(one[name] for name in names if name in one), f"{one['value']:.3f}"]) for one in whole or numbers
    ]
    return f"{protocol['metric']} {', '.join(said)}".strip()


def _here(protocol: dict[str, Any]) -> str:
    if protocol["runs_here"] is None:
        return f"; lacks {'; '.join(protocol['lacking'])}" if protocol["lacking"] else ""
    if protocol["runs_here"]:
        return f"; can run on {protocol['data_found']}"
    return f"; cannot run here: {'; '.join(protocol['lacking'])}"


def _origin(protocol: dict[str, Any]) -> str:
    return protocol["homepage"] or "not offered by anybody: make your own"


def _wrapped(text: str, indent: int) -> list[str]:
    import textwrap

    blanks = " " * indent
    wrapped = textwrap.wrap(text, WIDTH, initial_indent=blanks, subsequent_indent=blanks, break_on_hyphens=False)
    return wrapped or [""]
