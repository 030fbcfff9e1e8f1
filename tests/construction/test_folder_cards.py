"""Cards of constructed folders."""

import ast
import json
import re

import pytest
from huggingface_hub import DatasetCard

from forgescope.construction.folder_card import (
    DIFFSEG,
    INPAINTING,
    MANIPULATIONS,
    MARK,
    MMFR,
    NO_TERMS,
    OWN,
    PROMPTFORGE,
    SYNTHSCARS,
    write_folder_card,
)

KINDS = [DIFFSEG, INPAINTING, MANIPULATIONS, MMFR, PROMPTFORGE, SYNTHSCARS]
ROWS = [{"label": "real"}, {"label": "fake"}, {"label": "fake"}]
SETTINGS = {"seed": 3, "config": {"max_side": 512}}


@pytest.fixture
def out(tmp_path):
    (tmp_path / "settings.json").write_text(json.dumps(SETTINGS))
    return tmp_path


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.verb)
def test_a_card_has_counts_settings_and_a_call(kind, out):
    write_folder_card(out, kind, ROWS, 4)
    card = DatasetCard.load(out / "README.md")
    assert (card.data.pretty_name, card.data.tags) == (kind.title, ["forgescope", "image-forensics"])
    assert "| all | 3 |\n| real | 1 |\n| fake | 2 |\n| rejected | 4 |\n" in card.text
    assert f"`forgescope {kind.verb}`" in card.text
    ast.parse(re.search(r"```python\n(.*?)```", card.text, re.DOTALL)[1])
    assert json.loads(re.search(r"```json\n(.*?)```", card.text, re.DOTALL)[1]) == SETTINGS
    assert kind.limits in card.text
    assert card.text.endswith(f"{OWN}\n{NO_TERMS}\n")


def test_labels_may_be_numbers_and_tasks_are_counted(out):
    rows = [{"label": 0, "task": "splicing"}, {"label": 1, "task": "inpainting"}, {"label": 0, "task": "authentic"}]
    write_folder_card(out, MANIPULATIONS, rows)
    card = (out / "README.md").read_text()
    tasks = "| authentic | 1 |\n| inpainting | 1 |\n| splicing | 1 |\n"
    assert f"| all | 3 |\n| real | 2 |\n| fake | 1 |\n{tasks}\n`label` is 1 = fake" in card
    assert "statistics.json" not in card


def test_rows_of_annotated_pairs_have_no_label(out):
    (out / "statistics.json").touch()
    write_folder_card(out, PROMPTFORGE, [{"task": "add"}, {"task": None}], 1, {"train": 2, "test": 0})
    card = (out / "README.md").read_text()
    assert "| all | 2 |\n| train | 2 |\n| test | 0 |\n| add | 1 |\n| no task stated | 1 |\n| rejected | 1 |\n" in card
    assert "In masks white is edited. More counts are in `statistics.json`.\n" in card


def test_the_next_run_replaces_its_own_card_only(out):
    write_folder_card(out, MMFR, ROWS, 0)
    write_folder_card(out, MMFR, ROWS[:1], 0)
    text = (out / "README.md").read_text()
    assert "| all | 1 |" in text
    own = text.replace(f"{MARK}\n", "") + "mine  \n"
    (out / "README.md").write_text(own)
    write_folder_card(out, MMFR, ROWS, 0)
    assert (out / "README.md").read_text() == own


def test_terms_and_header_of_the_user_stay(out):
    write_folder_card(out, MMFR, ROWS[:1], 0)
    text = (out / "README.md").read_text()
    mine = text.replace(NO_TERMS, "Photographs of mine.\n\nCC BY 4.0.").replace("tags:", "license: cc-by-4.0\ntags:")
    (out / "README.md").write_text(mine)
    write_folder_card(out, MMFR, ROWS, 0)
    again = (out / "README.md").read_text()
    body, of_three = (card[card.index(MARK) :] for card in (mine, again))
    assert of_three.replace("| 3 |", "| 1 |", 1).replace("| fake | 2 |", "| fake | 0 |") == body
    assert DatasetCard(again).data.license == "cc-by-4.0"
    broken = mine.replace("license: cc-by-4.0", "license: [")
    (out / "README.md").write_text(broken)
    write_folder_card(out, MMFR, ROWS, 0)
    assert (out / "README.md").read_text() == broken
