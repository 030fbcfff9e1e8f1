"""The card that a run of each family leaves beside its weights."""

import ast
import json
import os
import re
import shlex
from dataclasses import replace

import pytest
import yaml
from huggingface_hub import ModelCard

from forgescope.auto import MODELS
from forgescope.decision import DecisionRule
from forgescope.hub import load_checkpoint
from forgescope.trainers import train_diffseg, train_fakereasoning, train_gamma, train_iclnet, train_legion
from forgescope.trainers.answer_folder import load_answer_folder
from forgescope.trainers.card_families import FAMILIES
from forgescope.trainers.model_card import new_card
from forgescope.trainers.run_card import run_facts
from forgescope.trainers.train_legion_detection import detection_recipe
from forgescope.trainers.train_legion_detection import train as train_detection
from forgescope.trainers.training_run import load_splits

STEP = {"max_steps": 1}
# family -> metric that its table must have, and how it was made
EXPECTED = {
    "iclnet": ("pixel_f1", "pooled", "forged", "zero", 0.5),
    "gamma": ("ai_iou", "pooled", "forged", "zero", 0.5),
    "diffseg": ("pixel_iou", "pooled", "editors", "skip", None),
    "fakereasoning": ("image_accuracy", "pooled", "fake", "none", 0.5),
    "legion": ("pixel_iou", "image", "macro", "one", 0.5),
}


@pytest.fixture
def run(request, tmp_path):
    """Train a family for one step in `tmp_path / "run"`; the folder."""

    def of(model_type):
        folder, get = str(tmp_path / "run"), request.getfixturevalue
        if model_type == "iclnet":
            train_iclnet.train(str(get("forgery_folder")), get("tiny_recipe"), folder, **STEP)
        elif model_type == "gamma":
            train_gamma.train(load_splits(get("gamma_folder")), get("tiny_gamma_recipe"), folder, **STEP)
        elif model_type == "diffseg":
            recipe = get("tiny_diffseg_recipe")("segformer")
            train_diffseg.train(load_splits(get("edit_folder")), recipe, folder, **STEP)
        elif model_type == "fakereasoning":
            from fakereasoning_runs import tiny_recipe

            splits = load_answer_folder(get("answer_folder"))
            train_fakereasoning.train(splits, tiny_recipe(get("fakereasoning_tokenizer")), folder, **STEP)
        else:
            from legion_runs import load_synthscars, tiny_recipe

            splits = {"train": load_synthscars(get("legion_folder"))}
            train_legion.train(splits, tiny_recipe(get("legion_tokenizer")), folder, **STEP)
        return tmp_path / "run"

    return of


@pytest.mark.parametrize("model_type", MODELS)
def test_the_card_of_a_run(run, model_type):
    folder = run(model_type)
    card = ModelCard.load(folder / "README.md")
    data = card.data
    tag = MODELS[model_type].pipeline_tag
    assert (data.library_name, data.pipeline_tag, data.get("base_model"), data.license) == (
        "transformers",
        tag,
        None,
        None,
    )
    assert {"forgescope", model_type} <= set(data.tags)
    assert "Started from: random weights." in card.text
    assert "these derive from no others" in card.text
    check_numbers(card, folder, EXPECTED[model_type])
    check_snippets(card.text, tag)
    assert str(folder.parent) not in str(card)


def check_numbers(card, folder, expected):
    """Every number of the card is one of the run, and has its four definitions in the table and the model-index."""
    values = json.loads((folder / "eval_results.json").read_text()).values()
    made = set()
    for result in card.data.eval_results:
        arguments = result.metric_args
        assert {"reduction", "classes", "empty_rule", "n"} <= set(arguments)
        assert result.metric_value in values
        keys = ("reduction", "classes", "empty_rule")
        made.add((result.metric_type, *(arguments[key] for key in keys), arguments.get("threshold")))
        row = [result.dataset_name, result.metric_type, *map(str, (arguments[key] for key in keys))]
        assert re.search(r" \|.*".join(map(re.escape, row)), card.text)
    assert expected in made
    assert "loss" not in {name for name, *_ in made}


def check_snippets(text, tag):
    """Python parses, commands are known, BibTeX is balanced."""
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert [kind for kind, _ in blocks] == ["python", "bash", "python", "bibtex"]
    for kind, code in blocks:
        if kind == "python":
            ast.parse(code)
        elif kind == "bash":
            verbs = [shlex.split(line)[1] for line in code.splitlines()]
            assert verbs == (["detect", "explain"] if tag == "image-text-to-text" else ["detect"])
        else:
            assert code.count("{") == code.count("}")
            assert len(re.findall(r"^@\w+\{", code, re.MULTILINE)) == 2


def test_data_recipe_and_start_are_stated(forgery_folder, tiny_recipe, tmp_path):
    base, out = tmp_path / "base", tmp_path / "out"
    train_iclnet.train(str(forgery_folder), tiny_recipe, str(base), **STEP)
    recipe = replace(tiny_recipe, model={}, changes={"augmentation.flip_probability": 0.5})
    (base / "README.md").write_text(
        "---\nlicense: other\nlicense_name: mine\nbase_model: nvidia/mit-b4\n---\n# base\n"
    )
    train_iclnet.train(str(forgery_folder), recipe, str(out), base=str(base), **STEP)
    card = ModelCard.load(out / "README.md")
    assert (card.data.base_model, card.data.license, card.data.license_name) == ("nvidia/mit-b4", "other", "mine")
    assert "Started from: weights in a local folder or file, `base`." in card.text
    assert f"Data: folder {forgery_folder.name}. 16 images of training, 7 of validation." in card.text
    assert f"Recipe: `{recipe.name}`, 1 steps, seed 3." in card.text
    assert "| `augmentation.flip_probability` | 0.5 |\n| `training.max_steps` | 1 |" in card.text
    assert "| weights in a local folder or file, `base` | those on its card" in card.text


def test_training_ends_what_a_calibration_promised(forgery_folder, tiny_recipe, tmp_path):
    base, out = tmp_path / "base", tmp_path / "out"
    train_iclnet.train(str(forgery_folder), tiny_recipe, str(base), **STEP)
    calibrated = {"forged_threshold": 0.8886402482070875, "authentic_threshold": 0.75}
    promise = {"false_alarm_rate": 0.05, "calibration_images": 200}
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | calibrated | promise))
    model, _ = load_checkpoint(base)
    assert "An image is called forged at a score of 0.8886 or more, chosen on 200" in new_card(model, "base").text
    train_iclnet.train(str(forgery_folder), replace(tiny_recipe, model={}), str(out), base=str(base), **STEP)
    model, _ = load_checkpoint(out)
    found = {name: getattr(model.config, name) for name in (*calibrated, *promise)}
    assert found == calibrated | {"false_alarm_rate": None, "calibration_images": 0}
    assert "not calibrated to a false-alarm rate" in DecisionRule.from_config(model.config).describe()
    text = (out / "README.md").read_text()
    assert "has not been chosen on authentic images: treat verdicts as a ranking. It stands at 0.8886;" in text
    assert "200" not in text


def test_weights_of_nvidia_and_llama_keep_their_terms(tiny_recipe):
    from forgescope.trainers.run_card import _base_metadata

    nvidia = _base_metadata("iclnet", "nvidia/mit-b4")
    assert (nvidia["base_model"], nvidia["license"]) == ("nvidia/mit-b4", "other")
    llama = _base_metadata("fakereasoning", "llava-hf/llava-1.5-13b-hf")
    assert llama == {"license": "llama2", "base_model": "llava-hf/llava-1.5-13b-hf"}
    assert _base_metadata("diffseg", "resnet50.a1_in1k") == {"base_model": "timm/resnet50.a1_in1k"}
    assert _base_metadata("gamma", None) == {}


def test_a_corpus_of_the_hub_is_named(progan_folder, legion_folder, tiny_recipe):
    from legion_runs import load_synthscars

    facts = run_facts(tiny_recipe, None, {"train": load_synthscars(legion_folder)}, {})
    assert (facts.data, facts.hub_dataset) == ("corpus synthscars", "khr0516/SynthScars")


def test_stage_2_of_legion_has_verdicts(progan_folder, legion_base, tmp_path):
    from forgescope.datasets_scripts.load import load_corpus

    splits = load_corpus("cnnspot", progan_folder, config="progan_train")
    quick = ("training.use_cpu=true", "training.dataloader_num_workers=0")
    train_detection(splits, detection_recipe(overrides=quick), str(tmp_path), str(legion_base), max_steps=1)
    card = ModelCard.load(tmp_path / "README.md")
    assert {"image_accuracy", "image_auc"} <= set(card.data.metrics)
    assert card.data.license == "llama2"
    assert "Recipe: `legion-detection`" in card.text
    assert "Values that differ from it:\n\n| setting | value |" in card.text
    assert "| `training.dataloader_num_workers` | 0 |\n" in card.text


@pytest.mark.parametrize("save", ["adapters", "merged"])
def test_a_card_that_is_there_is_not_touched(legion_folder, legion_base, legion_tokenizer, tmp_path, save):
    from legion_runs import load_synthscars, tiny_recipe

    splits = {"train": load_synthscars(legion_folder)}
    recipe = tiny_recipe(legion_tokenizer, tuning={"save": save}, network=False)
    text = "---\nlicense: mit\n---\nMine,  with blanks  \n"
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "README.md").write_text(text)
    train_legion.train(splits, recipe, str(tmp_path / "kept"), str(legion_base), **STEP)
    assert (tmp_path / "kept" / "README.md").read_text() == text
    train_legion.train(splits, recipe, str(tmp_path / "new"), str(legion_base), **STEP)
    card = ModelCard.load(tmp_path / "new" / "README.md")
    assert (card.data.library_name, card.data.license) == ("transformers", "llama2")
    assert "Vicuna" in card.text


def test_the_families_are_those_of_the_table():
    assert {name: family.pipeline_tag for name, family in FAMILIES.items()} == {
        name: family.pipeline_tag for name, family in MODELS.items()
    }


def test_front_matter_is_yaml(run):
    text = (run("iclnet") / "README.md").read_text()
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["model-index"][0]["name"] == "run"
    assert os.linesep not in front["pipeline_tag"]
