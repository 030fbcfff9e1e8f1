import pytest
from transformers import SegformerConfig, SegformerModel, TrainingArguments

from forgescope.modeling.configuration_iclnet import ICLNetConfig
from forgescope.trainers.recipe import available_recipes
from forgescope.trainers.train_iclnet import build_model, iclnet_recipe


def test_the_recipe_is_the_paper(tmp_path):
    recipe = iclnet_recipe("iclnet")
    arguments = TrainingArguments(output_dir=str(tmp_path), **recipe.training)
    assert arguments.optim == "adamw_torch"
    assert arguments.learning_rate == 1e-4
    assert arguments.eval_steps == arguments.save_steps == 800
    assert arguments.lr_scheduler_type == "reduce_lr_on_plateau"
    assert arguments.lr_scheduler_kwargs == {"mode": "max", "factor": 0.5, "patience": 2, "min_lr": 1e-8}
    assert recipe.processor["size"] == {"height": 512, "width": 512}
    config = ICLNetConfig(**recipe.model)
    weights = (config.contrastive_loss_weight, config.dice_loss_weight, config.focal_loss_weight)
    assert weights == (1.0, 4.0, 20.0)


@pytest.mark.parametrize("name", ["iclnet", "iclnet-mini"])
def test_every_packaged_recipe_builds_its_configuration(name):
    assert name in available_recipes()
    assert ICLNetConfig(**iclnet_recipe(name).model).model_type == "iclnet"


def test_halving_happens_at_the_third_evaluation_without_progress():
    import torch

    kwargs = iclnet_recipe("iclnet").training["lr_scheduler_kwargs"]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-4)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **kwargs)
    rates = []
    for score in (0.5, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4):
        scheduler.step(score)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([1e-4, 1e-4, 1e-4, 5e-5, 5e-5, 5e-5, 2.5e-5])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modle: {}", "unknown key modle; did you mean model?"),
        ("model: {noise_filtre: srm}", "unknown key model.noise_filtre; did you mean model.noise_filter?"),
        ("processor: {do_rezise: true}", "unknown key processor.do_rezise; did you mean processor.do_resize?"),
        ("augmentation: {flips: 1}", "unknown key augmentation.flips"),
        ("training: {learnin_rate: 1.0}", "did you mean training.learning_rate?"),
        ("model: [", "is no YAML file"),
        ("model: 3", "must hold sections"),
        ("augmentation: {jpeg_probability: 7}", "augmentation.jpeg_probability must lie"),
        ("training: {max_steps: many}", "training.max_steps must be a number, got 'many'"),
        ("training: {bf16: ja}", "training.bf16 must be true or false, got 'ja'"),
    ],
)
def test_wrong_recipes_are_refused(tmp_path, text, message):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        iclnet_recipe(str(path))


def test_missing_recipe_names_the_ones_there_are():
    with pytest.raises(
        ValueError, match="no recipe 'iclnett': give a YAML file or one of diffseg-.*, iclnet, iclnet-mini"
    ):
        iclnet_recipe("iclnett")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.max_steps=many", "recipe iclnet: training.max_steps must be a number, got 'many'"),
        ("training.report_to=[", "the value of training.report_to is no YAML: "),
    ],
)
def test_wrong_overrides_are_refused(override, message):
    with pytest.raises(ValueError, match=message):
        iclnet_recipe("iclnet", [override])


def test_overrides_replace_single_values():
    recipe = iclnet_recipe("iclnet", ["training.learning_rate=3e-5", "model.use_noise_stream=false"])
    assert recipe.training["learning_rate"] == 3e-5
    assert recipe.model["use_noise_stream"] is False
    with pytest.raises(ValueError, match="expected section.key=value"):
        iclnet_recipe("iclnet", ["learning_rate=3"])


def test_the_strategy_no_is_no_boolean():
    training = iclnet_recipe("iclnet", ["training.eval_strategy=no", "training.bf16=no"]).training
    assert (training["eval_strategy"], training["save_strategy"], training["bf16"]) == ("no", "steps", False)


def test_base_decides_how_the_model_is_filled(tmp_path, tiny_recipe):
    SegformerModel(SegformerConfig(**tiny_recipe.model["encoder_config"])).save_pretrained(tmp_path / "segformer")
    model = build_model(tiny_recipe, str(tmp_path / "segformer"))
    main, noise = model.iclnet.main_encoder.state_dict(), model.iclnet.noise_encoder.state_dict()
    assert all((main[name] == noise[name]).all() for name in main)

    model.save_pretrained(tmp_path / "iclnet")
    again = build_model(tiny_recipe, str(tmp_path / "iclnet"))
    assert all((again.state_dict()[name] == weight).all() for name, weight in model.state_dict().items())


def test_base_of_another_kind_is_refused(tmp_path, tiny_recipe):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="is a checkpoint of type 'bert'; expected segformer or iclnet"):
        build_model(tiny_recipe, str(tmp_path))


def test_fine_tuning_keeps_the_checkpoints_network_and_takes_the_recipes_losses(tmp_path, tiny_recipe):
    from dataclasses import replace

    build_model(tiny_recipe).save_pretrained(tmp_path)
    model = build_model(replace(tiny_recipe, model={"focal_alpha": 0.75}), str(tmp_path))
    assert model.config.focal_alpha == 0.75
    assert model.config.head_hidden_sizes == tiny_recipe.model["head_hidden_sizes"]
    other = replace(tiny_recipe, model={"feature_stages": [2, 3]})
    with pytest.raises(
        ValueError, match="recipe tiny asks for another network than the checkpoint's: model.feature_s"
    ):
        build_model(other, str(tmp_path))
