import pytest
from transformers import TrainingArguments

from forgescope.datasets_scripts.diffseg30k import FIGURE_6_EDITORS
from forgescope.modeling.configuration_diffseg import DiffSegConfig
from forgescope.trainers.recipe import available_ablations, available_recipes
from forgescope.trainers.train_diffseg import ARCHITECTURES, diffseg_recipe, edit_processor

FAMILIES = ("diffseg", "diffseg-mini")


def processor_of(recipe):
    return edit_processor(recipe, DiffSegConfig(**recipe.model))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_recipes_are_the_paper_where_it_says_something(architecture, tmp_path):
    recipe = diffseg_recipe(architecture=architecture)
    config = DiffSegConfig(**recipe.model)
    assert config.to_dict() == DiffSegConfig(architecture=architecture).to_dict()
    assert recipe.data.negatives == 5000
    assert recipe.data.held_out_editors == ()
    processor = processor_of(recipe)
    assert (processor.do_resize, dict(processor.size)) == (True, {"height": 512, "width": 512})
    assert processor.mask_stride == config.mask_stride
    assert (processor.mask_values, list(processor.id2editor)) == ("ids", list(FIGURE_6_EDITORS))
    arguments = TrainingArguments(output_dir=str(tmp_path), **recipe.training)
    assert arguments.metric_for_best_model == "mean_iou"


def test_each_architecture_has_the_values_of_public_implementations(tmp_path):
    runs = {name: diffseg_recipe(architecture=name) for name in ARCHITECTURES}
    arguments = {name: TrainingArguments(output_dir=str(tmp_path), **run.training) for name, run in runs.items()}
    assert {name: a.learning_rate for name, a in arguments.items()} == {
        "segformer": 6e-5,
        "deeplabv3plus": 1e-2,
        "fcn8s": 1e-4,
    }
    assert {name: a.optim.value for name, a in arguments.items()} == {
        "segformer": "adamw_torch",
        "deeplabv3plus": "sgd",
        "fcn8s": "sgd",
    }
    assert arguments["segformer"].lr_scheduler_kwargs == {"power": 1.0, "lr_end": 0.0}
    assert arguments["deeplabv3plus"].lr_scheduler_kwargs == {"power": 0.9, "lr_end": 1e-4}
    assert {name: a.warmup_steps for name, a in arguments.items()} == {
        "segformer": 1500,
        "deeplabv3plus": 0,
        "fcn8s": 0,
    }
    factors = {name: run.optimizer.head_learning_rate_factor for name, run in runs.items()}
    assert factors == {"segformer": 10.0, "deeplabv3plus": 1.0, "fcn8s": 1.0}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_has_a_recipe_for_each_architecture(family):
    assert diffseg_recipe(family).model["architecture"] == "segformer"
    for architecture in ARCHITECTURES:
        recipe = diffseg_recipe(family, architecture=architecture)
        assert recipe.name == f"{family}-{architecture}"
        assert recipe.name in available_recipes()
        assert DiffSegConfig(**recipe.model).architecture == architecture
        processor_of(recipe)


def test_architecture_and_task_of_one_recipe_can_be_changed():
    recipe = diffseg_recipe("diffseg-segformer", architecture="deeplabv3plus", task="binary")
    config = DiffSegConfig(**recipe.model)
    assert (config.architecture, config.task, config.num_labels) == ("deeplabv3plus", "binary", 2)
    assert processor_of(recipe).mask_values == "any"
    assert diffseg_recipe("diffseg", ["model.task=semantic"], task="binary").model["task"] == "semantic"


def test_small_recipes_learn_from_crops_and_read_the_fill_of_the_engine():
    for architecture in ARCHITECTURES:
        recipe = diffseg_recipe("diffseg-mini", architecture=architecture)
        processor = processor_of(recipe)
        assert (processor.do_resize, recipe.augmentation.crop_size) == (False, 128)
        assert (recipe.data.editor_field, recipe.data.negatives) == ("fill", 0)
        assert list(processor.id2editor) == ["telea", "navier_stokes"]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("ablation", available_ablations("diffseg"))
def test_ablations_are_the_rows_of_table_4(family, ablation):
    assert list(available_ablations("diffseg")) == ["table4-flux-hunyuan", "table4-sd2-sd3.5", "table4-glide-kolors"]
    recipe = diffseg_recipe(family, ablation=ablation)
    assert recipe.model["task"] == "binary"
    assert len(recipe.data.held_out_editors) == 2
    for held_out, word in zip(recipe.data.held_out_editors, ablation.split("-")[1:], strict=True):
        assert held_out.startswith(word)
        assert held_out in FIGURE_6_EDITORS
    assert recipe.training == diffseg_recipe(family).training


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"architecture": "unet"}, "no architecture 'unet': expected one of fcn8s, deeplabv3plus, segformer"),
        ({"ablation": "table5"}, "no ablation 'table5': expected one of table4-flux-hunyuan, table4-sd2"),
        ({"name_or_path": "diffsegg"}, "no recipe 'diffsegg': give a YAML file or one of"),
        ({"overrides": ["data.negative=3"]}, "unknown key data.negative; did you mean data.negatives?"),
        ({"overrides": ["data.negatives=-1"]}, "data.negatives must be at least 0 photographs, got -1"),
        ({"overrides": ["data.negative_edge=0"]}, "data.negative_edge must be at least 1 pixel"),
        ({"overrides": ["data.held_out_editors=glide"]}, "data.held_out_editors must be a list of names, got 'glide'"),
        ({"overrides": ["optimizer.head_learning_rate_factor=0"]}, "head_learning_rate_factor must be above 0, got 0"),
    ],
)
def test_wrong_recipes_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        diffseg_recipe(**arguments)


def test_what_follows_from_the_model_cannot_be_set():
    recipe = diffseg_recipe(overrides=["processor.mask_stride=8"])
    with pytest.raises(ValueError, match="processor.mask_stride follows from the model, leave it out"):
        processor_of(recipe)
