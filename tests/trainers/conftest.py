"""Small folders of forged images, tiny models and short recipes; helper modules beside the tests import by name."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from training_runs import EDITORS, SHORT, write_edit_folder, write_folder, write_gamma_folder

ENCODER = {
    "depths": [1, 1, 1, 1],
    "hidden_sizes": [8, 16, 24, 32],
    "num_attention_heads": [1, 2, 3, 4],
    "sr_ratios": [4, 2, 1, 1],
    "drop_path_rate": 0.0,
}
TINY = {"encoder_config": ENCODER, "head_hidden_sizes": [16, 16, 8, 8]}
TINY_GAMMA = {
    "encoder_config": ENCODER,
    "decoder_hidden_size": 16,
    "num_attention_heads": 2,
    "decoder_dropout": 0.0,
    "cross_attention_tokens": "spatial",
}
TINY_DIFFSEG = {
    "segformer": {"encoder_config": ENCODER, "decoder_hidden_size": 16, "decoder_dropout": 0.0},
    "deeplabv3plus": {
        "backbone": "test_resnet",
        "pyramid_hidden_size": 16,
        "low_level_hidden_size": 8,
        "decoder_dropout": 0.0,
    },
    "fcn8s": {"backbone": "vgg11", "fully_connected_size": 16, "fully_connected_dropout": 0.0},
}


@pytest.fixture(scope="session")
def forgery_folder(tmp_path_factory):
    """A folder with splits `train` (16 images) and `validation` (7 images) of 64 x 64 pixels."""
    folder = tmp_path_factory.mktemp("forgeries")
    write_folder(folder / "train", 16)
    write_folder(folder / "validation", 7)
    return folder


@pytest.fixture(scope="session")
def gamma_folder(tmp_path_factory):
    """The same with GAMMA's five kinds and both masks: 16 and 7 images of 80 x 80 pixels."""
    folder = tmp_path_factory.mktemp("gamma")
    write_gamma_folder(folder / "train", 16, size=80)
    write_gamma_folder(folder / "validation", 7, size=80)
    return folder


@pytest.fixture(scope="session")
def edit_folder(tmp_path_factory):
    """The same with masks of two editors: 16 and 7 images of 64 x 64 pixels."""
    folder = tmp_path_factory.mktemp("edits")
    write_edit_folder(folder / "train", 16)
    write_edit_folder(folder / "validation", 7)
    return folder


@pytest.fixture(scope="session")
def fakereasoning_tokenizer(tmp_path_factory):
    """Folder of a small Llama tokenizer for the answers of `answer_folder`."""
    from fakereasoning_runs import save_tokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def answer_folder(tmp_path_factory):
    """A folder with splits `train` (8 images) and `validation` (4 images) with answers in four stages."""
    from fakereasoning_runs import write_answer_folder

    folder = tmp_path_factory.mktemp("answers")
    write_answer_folder(folder / "train", 8)
    write_answer_folder(folder / "validation", 4)
    return folder


@pytest.fixture(scope="session")
def legion_tokenizer(tmp_path_factory):
    """Folder of a small Llama tokenizer for the captions of `legion_folder`."""
    from legion_runs import save_tokenizer

    folder = tmp_path_factory.mktemp("legion_tokenizer")
    save_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def legion_folder(tmp_path_factory):
    """SynthScars in small: 6 images of 64 x 64 pixels, in turn with two artifacts and with one."""
    from legion_runs import write_synthscars

    folder = tmp_path_factory.mktemp("synthscars")
    write_synthscars(folder, 6)
    return folder


@pytest.fixture(scope="session")
def legion_base(legion_tokenizer, tmp_path_factory):
    """Folder of a tiny LEGION checkpoint with its processor."""
    from legion_runs import save_base

    folder = tmp_path_factory.mktemp("legion")
    save_base(folder, legion_tokenizer)
    return folder


@pytest.fixture(scope="session")
def progan_folder(tmp_path_factory):
    """ProGAN's folders in small: 20 training images of one class and 6 of validation; fake ones are brighter."""
    from legion_runs import write_progan

    folder = tmp_path_factory.mktemp("progan")
    write_progan(folder)
    return folder


@pytest.fixture
def tiny_recipe():
    """A recipe for the tiny network at 64 x 64 pixels with random crops and JPEG."""
    from forgescope.trainers.augmentation import AugmentationConfig
    from forgescope.trainers.recipe import Recipe

    return Recipe(
        name="tiny",
        model=TINY,
        processor={"size": {"height": 64, "width": 64}},
        augmentation=AugmentationConfig(flip_probability=0.5),
        training=dict(SHORT),
    )


@pytest.fixture
def tiny_gamma_recipe():
    """A recipe for a tiny GAMMA on crops of 64 x 64 pixels with the paper's augmentation; all images are an epoch."""
    from forgescope.trainers.augmentation_cnndetection import CNNDetectionAugmentation
    from forgescope.trainers.high_pass_start import StartConfig
    from forgescope.trainers.recipe import Recipe
    from forgescope.trainers.rows_gamma import GammaDataConfig
    from forgescope.trainers.train_gamma import EarlyStopping

    return Recipe(
        name="tiny",
        model=TINY_GAMMA,
        augmentation=CNNDetectionAugmentation(),
        training=dict(SHORT),
        data=GammaDataConfig(crop_size=64, epoch_fraction=1.0),
        early_stopping=EarlyStopping(patience=None),
        start=StartConfig(),
    )


@pytest.fixture
def tiny_diffseg_recipe():
    """Makes recipes for a tiny baseline of DiffSeg30k at 64 x 64 pixels, without untouched photographs."""
    from forgescope.trainers.augmentation import AugmentationConfig
    from forgescope.trainers.high_pass_start import StartConfig
    from forgescope.trainers.recipe import Recipe
    from forgescope.trainers.rows_diffseg import DiffSegDataConfig
    from forgescope.trainers.trainer_diffseg import OptimizerConfig

    def make(architecture="segformer", **model):
        return Recipe(
            name="tiny",
            model={"architecture": architecture, "id2editor": list(EDITORS)} | TINY_DIFFSEG[architecture] | model,
            processor={"size": {"height": 64, "width": 64}},
            augmentation=AugmentationConfig(crop_probability=0.5, jpeg_probability=0.0, flip_probability=0.5),
            training=dict(SHORT),
            data=DiffSegDataConfig(negatives=0),
            optimizer=OptimizerConfig(),
            start=StartConfig(),
        )

    return make
