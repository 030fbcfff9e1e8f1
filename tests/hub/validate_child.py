"""Runs in a process of its own, with HF_ENDPOINT set: have every card of a folder checked by the Hub.

Usage: validate_child.py FOLDER, with one NAME.md a card; prints the names that are valid.
"""

import sys
from pathlib import Path

from card_checks import check_cards_at_endpoint
from huggingface_hub import ModelCard

check_cards_at_endpoint()
for file in sorted(Path(sys.argv[1]).glob("*.md")):
    ModelCard.load(file).validate(repo_type="model")
    sys.stdout.write(f"{file.stem}\n")
