"""Runs in a process of its own, with HF_ENDPOINT set: export and push a corpus, then load it back from the Hub.

Usage: publish_corpus_child.py FOLDER, where first/ and second/ hold a GenImage tree each and results go.
"""

import json
import sys
from pathlib import Path

folder = Path(sys.argv[1])
sys.argv = ["forgescope", "data"]

from card_checks import check_cards_at_endpoint  # noqa: E402

from forgescope import cli  # noqa: E402 (the command line is what decides when to register)

check_cards_at_endpoint()


def run(*arguments):
    """One call of the command line; its exit status."""
    sys.argv = ["forgescope", "data", *map(str, arguments)]
    try:
        cli.main()
    except SystemExit as stop:
        return stop.code or 0
    return 0


import datasets  # noqa: E402


def load(name):
    """What plain `datasets` reads from the Hub: ids, labels and pixels of every row, by split."""
    corpus = datasets.load_dataset(name, cache_dir=str(folder / f"plain-{len(states)}"))
    return {
        split: [[row["id"], row["label"], row["image"].tobytes().hex()] for row in rows]
        for split, rows in corpus.items()
    }


statuses, states = {}, []
first, second = folder / "first", folder / "second"
statuses["new"] = run("export", "genimage", first, "--out", folder / "out", "--push", "org/photos", "--private")
states.append(load("org/photos"))
statuses["again"] = run("export", "genimage", first, "--out", folder / "out", "--push", "org/photos")
statuses["changed"] = run(
    "export", "genimage", second, "--out", folder / "out2", "--num-proc", 1, "--push", "org/photos"
)
states.append(load("org/photos"))
statuses["carded"] = run("export", "genimage", first, "--out", folder / "out", "--push", "org/carded")
(folder / "results.json").write_text(json.dumps({"statuses": statuses, "states": states}))
