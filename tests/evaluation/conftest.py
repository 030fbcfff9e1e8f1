"""A checkpoint of a few thousand weights, for tests that run a whole evaluation."""

import sys
from pathlib import Path

import pytest
import torch

from forgescope.cli import main
from forgescope.modeling.configuration_iclnet import ICLNetConfig
from forgescope.modeling.modeling_iclnet import ICLNetForForgerySegmentation
from forgescope.processing.image_processing_forgery import ForgeryImageProcessor

# small corpora are laid out there: `from mmfr_layout import mmfr_files`
sys.path.append(str(Path(__file__).parents[1] / "datasets_scripts"))

TINY = {
    "depths": (1, 1, 1, 1),
    "hidden_sizes": (8, 16, 24, 32),
    "num_attention_heads": (1, 2, 3, 4),
    "sr_ratios": (4, 2, 1, 1),
    "drop_path_rate": 0.0,
}


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    torch.manual_seed(0)
    model = ICLNetForForgerySegmentation(ICLNetConfig(encoder_config=TINY, head_hidden_sizes=(16, 16, 8, 8)))
    model.save_pretrained(folder)
    ForgeryImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command line in this process: exit status, standard output, standard error."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["forgescope", "evaluate", *(str(word) for word in words)])
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        return exit_.value.code, " ".join(captured.out.split()), captured.err

    return call
