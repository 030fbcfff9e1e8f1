"""Cards of constructed folders."""

import ast
import re

import pytest
from huggingface_hub import DatasetCard

from forgescope.construction.folder_card import DIFFSEG, MARK, MMFR, SYNTHSCARS, write_folder_card

ROWS = [{"label": "real"}, {"label": "fake"}, {"label": "fake"}]


@pytest.mark.parametrize("kind", [DIFFSEG, MMFR, SYNTHSCARS], ids=lambda kind: kind.verb)
def test_a_card_has_counts_and_a_call(kind, tmp_path):
    write_folder_card(tmp_path, kind, ROWS, 4)
    card = DatasetCard.load(tmp_path / "README.md")
    assert (card.data.pretty_name, card.data.tags) == (kind.title, ["forgescope", "image-forensics"])
    assert "| all | 3 |\n| real | 1 |\n| fake | 2 |\n| rejected | 4 |\n" in card.text
    assert f"`forgescope construct {kind.verb}`" in card.text
    ast.parse(re.search(r"```python\n(.*?)```", card.text, re.DOTALL)[1])


def test_labels_may_be_numbers(tmp_path):
    write_folder_card(tmp_path, DIFFSEG, [{"label": 0}, {"label": 1}, {"label": 1}], 0)
    assert "| real | 1 |\n| fake | 2 |\n" in (tmp_path / "README.md").read_text()


def test_the_next_run_replaces_its_own_card_only(tmp_path):
    write_folder_card(tmp_path, MMFR, ROWS, 0)
    write_folder_card(tmp_path, MMFR, ROWS[:1], 0)
    text = (tmp_path / "README.md").read_text()
    assert "| all | 1 |" in text
    own = text.replace(f"{MARK}\n", "") + "mine  \n"
    (tmp_path / "README.md").write_text(own)
    write_folder_card(tmp_path, MMFR, ROWS, 0)
    assert (tmp_path / "README.md").read_text() == own
