"""What `forgescope protocols` tells of one: the paper's numbers, its corpus, its models, whether it runs here."""

from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from forgescope.datasets_scripts.load import corpus_builder, corpus_builder_class
from forgescope.datasets_scripts.notes import Notes
from forgescope.evaluation.edit_protocol import EditProtocol
from forgescope.evaluation.family_rows import FamilyProtocol
from forgescope.evaluation.grounded_protocol import GroundedProtocol
from forgescope.evaluation.localization_protocol import LocalizationProtocol
from forgescope.evaluation.paper_tables import BEYOND_THE_PAPERS, PAPER_TABLES
from forgescope.evaluation.protocol import Protocol
from forgescope.evaluation.protocols import PROTOCOLS
from forgescope.evaluation.reasoning_protocol import ReasoningProtocol

from .protocol_data import ALL_SPLITS

# Model types that mark forged pixels, those that tell fake from real images, and those whose maps give a score.
MARKING = ("iclnet", "diffseg", "gamma")
JUDGING = ("gamma", "fakereasoning", "legion")
SCORING = ("iclnet", "diffseg")
ANY_ANSWERS = "any system, by its answers (--answers FILE)"
ANY_SCORES = "any system, by its scores (--answers FILE)"
ANY_CLASSIFIER = "any image classifier of transformers"
# Modules that scoring texts and pairing phrases need, with the extra that brings them.
TEXT_EXTRA = "text"
BLEU, ROUGE, PAIRING = "nltk", "rouge_score", "scipy"


def list_tables(data: Path | None = None) -> dict[str, list[dict[str, Any]]]:
    """Paper -> its tables, each with the protocols that run it, or the reason why none does.

    Args:
        data: as in `describe`.
    """
    papers: dict[str, list[dict[str, Any]]] = {}
    for paper, tables in PAPER_TABLES.items():
        papers[paper] = [
            {
                "table": table.place,
                "content": table.content,
                "protocols": [describe(PROTOCOLS[name], data) for name in table.protocols],
                "reason": table.reason or None,
            }
            for table in tables
        ]
    for name, why in BEYOND_THE_PAPERS.items():
        entry = {
            "table": "Beyond",
            "content": "what the paper has not",
            "protocols": [describe(PROTOCOLS[name], data)],
        }
        papers[PROTOCOLS[name].paper].append(entry | {"reason": why})
    return papers


def describe(protocol: Protocol, data: Path | None = None) -> dict[str, Any]:
    """Everything to know before a protocol is run.

    Args:
        protocol: the protocol.
        data: folder of its corpus, or one that holds folders or archives named after corpora; None: not given.

    Returns:
        Values as JSON has them. `data_found` is the folder that holds the corpus; `runs_here` is None where no folder
        was given, and `lacking` says what is missing.
    """
    card = corpus_builder_class(protocol.corpus).CARD
    found, problem = (None, None) if data is None else find_data(protocol, data)
    packages = missing_packages(protocol)
    lacking = [f'packages {", ".join(packages)}: pip install "forgescope[{TEXT_EXTRA}]"'] if packages else []
    if problem is not None:
        lacking.append(problem)
    return {
        "name": protocol.name,
        "paper": protocol.paper,
        "table": protocol.table,
        "metric": protocol.metric,
        "perturbations": list(protocol.perturbations),
        "subsets": list(protocol.groups),
        "paper_values": list(paper_values(protocol)),
        "models": list(models_of(protocol)),
        "corpus": protocol.corpus,
        "corpus_title": card.title,
        "homepage": card.homepage or None,
        "licence": card.licence,
        "terms": card.terms,
        "config": protocol.config,
        "split": protocol.split,
        "data": protocol.data,
        "also_needed": also_needed(protocol),
        "command": command_of(protocol),
        "note": protocol.note,
        "data_found": None if found is None else str(found),
        "lacking": lacking,
        "runs_here": None if data is None else not lacking,
    }


def paper_values(protocol: Protocol) -> Iterator[dict[str, Any]]:
    """The paper's numbers for its own method: metric, value (0 to 1), and what else tells them apart."""
    if isinstance(protocol, EditProtocol):
        for architecture, values in protocol.values.items():
            for (source, perturbation, metric), value in values.items():
                yield _number(metric, value, source, perturbation, architecture=architecture)
    elif isinstance(protocol, LocalizationProtocol):
        for (source, metric, perturbation), value in protocol.values.items():
            yield _number(metric, value, source, perturbation)
    elif isinstance(protocol, GroundedProtocol):
        for (metric, classes, perturbation), value in protocol.values.items():
            yield _number(metric, value, "", perturbation, classes=classes)
    elif isinstance(protocol, ReasoningProtocol):
        for (source, metric, setting), value in protocol.values.items():
            yield _number(metric, value, source, setting=setting or "")
    else:
        for source, value in protocol.paper_values.items():
            yield _number(protocol.metric, value, source)


def _number(metric: str, value: float, source: str, perturbation: str = "none", **more: str) -> dict[str, Any]:
    kept = {name: text for name, text in ({"source": source} | more).items() if text}
    return {"metric": metric, **kept, "perturbation": perturbation, "value": value}


def models_of(protocol: Protocol) -> tuple[str, ...]:
    """Model types that can be measured, and what else can."""
    if isinstance(protocol, EditProtocol):
        if protocol.level == "images":
            return (*JUDGING, *SCORING, ANY_CLASSIFIER)
        return ("diffseg",) if protocol.task == "semantic" else MARKING
    if isinstance(protocol, LocalizationProtocol):
        return MARKING
    if isinstance(protocol, ReasoningProtocol):
        return ("fakereasoning", ANY_ANSWERS)
    if isinstance(protocol, GroundedProtocol):
        return ("legion", ANY_ANSWERS)
    return (*JUDGING, ANY_SCORES) if isinstance(protocol, FamilyProtocol) else (*JUDGING, *SCORING)


def also_needed(protocol: Protocol) -> dict[str, str]:
    """Option -> what must be given with it beside the corpus."""
    needed = {"--real": protocol.real_images} if protocol.real_images else {}
    if isinstance(protocol, EditProtocol):
        if protocol.subsets == "variant":
            needed["--variant"] = "the same images edited by SDXL with a LoRA"
        if protocol.subsets == "base":
            needed["--bases"] = "CSV with the columns id and base, where the corpus does not say it"
    if getattr(protocol, "texts", False):
        needed["--embedder"] = "text encoder, for CSS alone"
    return needed


def command_of(protocol: Protocol) -> str:
    """The command that runs a protocol, with placeholders."""
    needed = [
        f"{option} {option[2:].upper()}" for option in also_needed(protocol) if option in ("--real", "--variant")
    ]
    return " ".join(["forgescope evaluate MODEL --protocol", protocol.name, "--data DIR", *needed, "--json rows.json"])


def missing_packages(protocol: Protocol) -> list[str]:
    """Modules that a protocol needs and that are not installed."""
    needed = []
    if getattr(protocol, "texts", False):
        needed += [ROUGE, BLEU] if isinstance(protocol, ReasoningProtocol) else [ROUGE]
    if isinstance(protocol, GroundedProtocol) and protocol.phrases:
        needed.append(PAIRING)
    return [name for name in needed if find_spec(name) is None]


def find_data(protocol: Protocol, data: Path) -> tuple[Path | None, str | None]:
    """Look for a protocol's corpus.

    Args:
        protocol: the protocol.
        data: the corpus, or a folder with folders or archives that are named after corpora.

    Returns:
        Where it is, and None; or None, and why it is not.

    Raises:
        FileNotFoundError: `data` does not exist.
    """
    if not data.exists():
        raise FileNotFoundError(f"{data} does not exist: expected a corpus, or a folder of corpora")
    builder = corpus_builder_class(protocol.corpus)
    names = {_plain(name) for name in (protocol.corpus, builder.CARD.title, protocol.config or "")}
    inner = [one for one in sorted(data.iterdir()) if _plain(one.name.split(".")[0]) in names] if data.is_dir() else []
    wanted = [source for sources in protocol.groups.values() for source in sources]
    whole = not all(protocol.groups.values())
    options = tuple(sorted(protocol.options.items()))
    problem = None
    for place in (*inner, data):
        splits = _splits(protocol.corpus, place, protocol.config, options)
        if protocol.split in splits or (splits and protocol.split == ALL_SPLITS):
            sources = _sources(protocol.corpus, place, protocol.config, options, protocol.split)
            if whole or sources is None or sources.intersection(wanted):
                return place, None
            problem = problem or f"{place} has no image of {', '.join(wanted)}"
        elif splits and problem is None:
            problem = f"{place} has no split {protocol.split}, only {', '.join(splits)}"
    return None, problem or f"{data} holds no {builder.CARD.title}: expected {builder.EXPECTED}"


@cache
def _sources(
    corpus: str, place: Path, config: str | None, options: tuple[tuple[str, Any], ...], split: str
) -> frozenset[str] | None:
    """Sources of the images of a split, where they are known without reading images."""
    builder = corpus_builder(corpus, place, config, hash_files=False, **dict(options))
    splits = builder.splits(Notes())
    pieces = [one for some in (splits.values() if split == ALL_SPLITS else [splits[split]]) for one in some]
    found = [builder.sources(piece) for piece in pieces]
    return frozenset(source for one in found if one is not None for source in one) if None not in found else None


@cache
def _splits(corpus: str, place: Path, config: str | None, options: tuple[tuple[str, Any], ...]) -> tuple[str, ...]:
    """Splits of a corpus that are in a folder; none where it is something else."""
    try:
        builder = corpus_builder(corpus, place, config, hash_files=False, **dict(options))
        return tuple(name for name, pieces in builder.splits(Notes()).items() if pieces)
    except (ValueError, OSError):
        return ()


def _plain(name: str) -> str:
    """Letters and digits of a name, in lower case."""
    return "".join(filter(str.isalnum, name.lower()))
