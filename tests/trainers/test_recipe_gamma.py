import json
from dataclasses import asdict

import pytest
from transformers import TrainingArguments

from forgescope.modeling.configuration_gamma import GammaConfig
from forgescope.trainers.augmentation_cnndetection import CNNDetectionAugmentation
from forgescope.trainers.recipe import available_ablations, available_recipes
from forgescope.trainers.rows_gamma import GammaDataConfig
from forgescope.trainers.train_gamma import EarlyStopping, crop_processor, gamma_recipe

# Rows of the paper's tables 4 to 8, and readings of ours behind those of table 8.
ROWS = {"table4": 4, "table5": 5, "table6": 4, "table7": 4, "table8": 7}


def test_the_recipe_is_the_paper(tmp_path):
    recipe = gamma_recipe()
    arguments = TrainingArguments(output_dir=str(tmp_path), **recipe.training)
    assert arguments.learning_rate == 1e-4
    assert arguments.per_device_train_batch_size == 16
    assert arguments.metric_for_best_model == "accuracy"
    assert recipe.early_stopping == EarlyStopping(patience=5, delta=0.01)
    assert recipe.data == GammaDataConfig(crop_size=512, crop_padding=1, epoch_fraction=0.1)
    assert recipe.augmentation == CNNDetectionAugmentation()
    config = GammaConfig(**recipe.model)
    weights = (config.classification_loss_weight, config.ai_loss_weight, config.manipulation_loss_weight)
    assert weights == (2.0, 2.0, 1.0)
    processor = crop_processor(recipe)
    assert (processor.do_resize, processor.smallest_edge, dict(processor.size)["height"]) == (False, 512, 512)


@pytest.mark.parametrize("recipe", ["gamma", "gamma-mini"])
@pytest.mark.parametrize("ablation", [None, *available_ablations("gamma")])
def test_every_recipe_takes_every_ablation(recipe, ablation):
    run = gamma_recipe(recipe, ablation=ablation)
    assert GammaConfig(**run.model).model_type == "gamma"
    assert run.training == gamma_recipe(recipe).training


def test_ablations_are_the_rows_of_the_tables():
    names = list(available_ablations("gamma"))
    assert {table: sum(name.startswith(table) for name in names) for table in ROWS} == ROWS
    assert len(names) == sum(ROWS.values())
    assert "gamma_ablations" not in available_recipes()
    models = {name: GammaConfig(**gamma_recipe(ablation=name).model) for name in names}
    heads = [(models[name].use_manipulation_head, models[name].use_ai_head) for name in names if "table4" in name]
    assert heads == [(False, False), (True, False), (False, True), (True, True)]
    for name in (name for name in names if name.startswith("table7")):
        config = models[name]
        weights = (config.classification_loss_weight, config.ai_loss_weight, config.manipulation_loss_weight)
        assert [float(weight) for weight in name.split("-")[1:]] == list(weights)
    for name in (name for name in names if name.startswith("table8")):
        assert models[name].cross_attention == name.split("-")[1]


def test_kinds_and_labels_of_tables_5_and_6():
    settings = {name: gamma_recipe(ablation=name).data for name in available_ablations("gamma")}
    for name in ("fake-fake", "real-fake", "fake-real", "real-real"):
        data = settings[f"table5-{name}"]
        assert [data.labels["copy_move"], data.labels["splicing"]] == name.split("-")
        assert "inpainting_blended" not in data.tasks
    assert settings["table5-none-none"].tasks == ("authentic", "inpainting")
    assert len(settings["table6-all"].tasks) == 5
    assert asdict(settings["table8-none"]) == asdict(gamma_recipe().data)


def test_overrides_win_over_ablations_and_ablations_over_recipes():
    recipe = gamma_recipe("gamma-mini", ["model.ai_loss_weight=7", "data.crop_size=64"], "table7-2-3-1")
    assert recipe.model["ai_loss_weight"] == 7
    assert recipe.model["classification_loss_weight"] == 2.0
    assert recipe.model["decoder_hidden_size"] == 64
    assert recipe.data.crop_size == 64
    labels = gamma_recipe("gamma", ["data.labels={copy_move: fake}", "data.tasks=[authentic, copy_move]"]).data
    assert (labels.labels, labels.tasks) == ({"copy_move": "fake"}, ("authentic", "copy_move"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: {crop: 64}", "unknown key data.crop; did you mean data.crop_size?"),
        ("early_stoping: {patience: 2}", "unknown key early_stoping; did you mean early_stopping?"),
        ("early_stopping: {patience: 0}", "early_stopping needs a patience of at least 1"),
        ("augmentation: {crop_size: 64}", "unknown key augmentation.crop_size"),
        ("data: {crop_size: 100}", "data.crop_size must be a multiple of 32 pixels, got 100"),
        ("data: {crop_size: large}", "a value of section data has the wrong type"),
        ("data: {labels: fake}", "data.labels must call kinds of images real or fake, got fake"),
    ],
)
def test_wrong_recipes_are_refused(tmp_path, text, message):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        gamma_recipe(str(path))


def test_unknown_ablations_are_refused_and_the_known_ones_named():
    with pytest.raises(ValueError, match="no ablation 'table9': expected one of table4-classification, table4-manip"):
        gamma_recipe(ablation="table9")


def test_ablations_are_plain_data():
    assert json.loads(json.dumps(available_ablations("gamma")))["table8-none"] == {
        "model": {"cross_attention": "none"}
    }
