"""docs/papers.md against the code: tables are those of the configurations and recipes, and nothing is missing."""

import importlib.util
import re
from pathlib import Path

import pytest

from forgescope.auto import MODELS
from forgescope.trainers.recipe import available_recipes, load_recipe

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "papers.md"


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("paper_tables", ROOT / "tools" / "paper_tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_code_says(tool):
    page = PAGE.read_text()
    assert tool.filled(page) == page, "run `python tools/paper_tables.py`"


def test_a_wrong_value_is_noticed(tool):
    page = PAGE.read_text()
    wrong = page.replace("| `dice_smooth` | 1 |", "| `dice_smooth` | 2 |")
    assert wrong != page
    assert tool.filled(wrong) == page


def test_every_model_and_every_recipe_of_a_paper_has_a_table(tool):
    sources = [source for _, source, *_ in tool.TABLE.findall(PAGE.read_text())]
    configs = {f"{family.config.__module__}.{family.config.__name__}" for family in MODELS.values()}
    recipes = {f"recipe {name}" for name in available_recipes() if "-mini" not in name}
    assert configs | recipes <= set(sources)
    assert len(sources) == len(set(sources))


def test_every_line_says_where_it_is_from():
    rows = [line.split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| `") and "` | " in line]
    assert len(rows) > 200
    assert [row[0] for row in rows if not row[-1].strip(" |")] == []


def test_values_are_those_that_training_reads(tool):
    """The tool reads lines of text; the trainers read YAML."""
    lines = {line.setting: line for line in tool.recipe_lines((tool.RECIPES / "iclnet.yaml").read_text())}
    recipe = load_recipe("iclnet", ["use_contrastive_loss"], ["do_resize", "size"])
    assert float(lines["training.learning_rate"].value) == recipe.training["learning_rate"] == 1e-4
    assert lines["training.learning_rate"].source == '"initial learning rate of 1e-4"'
    assert lines["training.lr_scheduler_kwargs"].source.startswith('"halved if the validation performance plateaus')
    assert "training.logging_steps" not in lines


def test_docstrings_of_both_styles_are_read(tool):
    one = tool.entries(
        "Text.\n\nArgs:\n    a, b (`float`, *optional*, defaults to 1 and 2):\n        Some\n        text.\n"
    )
    other = tool.entries("Text.\n\nArgs:\n    c: begins here,\n        goes on.\n\nRaises:\n    ValueError: never.\n")
    assert one == [(["a", "b"], "`float`, *optional*, defaults to 1 and 2", "Some text.")]
    assert other == [(["c"], "", "begins here, goes on.")]


def test_page_names_the_paper_of_every_table():
    headings = re.findall(r"^## (.+)$", PAGE.read_text(), re.MULTILINE)
    assert headings == [
        "PromptForge-350k and ICL-Net",
        "DiffSeg30k",
        "LEGION and SynthScars",
        "FakeReasoning and MMFR",
        "GAMMA",
        "Ablations",
    ]
