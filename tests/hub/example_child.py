"""A script in a process of its own, cards checked at HF_ENDPOINT: `python example_child.py SCRIPT ARGUMENT ...`."""

import runpy
import sys

from card_checks import check_cards_at_endpoint

check_cards_at_endpoint()
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
