"""`forgescope train`: what it says of a base that cannot be read, and of the numbers of a run."""

import shutil
import sys
from pathlib import Path

import pytest
from transformers.utils import is_torch_bf16_gpu_available

from forgescope.cli import main
from forgescope.cli.train import _report
from forgescope.hub import resolve_checkpoint
from forgescope.trainers.recipe import Recipe
from forgescope.trainers.training_run import training_arguments


@pytest.mark.parametrize("kept", [0, 1000])
def test_damaged_weights_of_a_base_are_one_sentence(kept, repository, tmp_path, monkeypatch, capsys):
    base = shutil.copytree(resolve_checkpoint("iclnet-mini"), tmp_path / "base")
    weights = base / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    words = ["iclnet", "--data", repository / "examples", "--base", base, "--out", tmp_path / "out"]
    monkeypatch.setattr(sys, "argv", ["forgescope", "train", *map(str, words)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"error: the weights of --base {base} are damaged (")
    assert last.endswith("): get them again")


@pytest.mark.skipif(is_torch_bf16_gpu_available(), reason="has such a GPU")
def test_bfloat16_without_a_gpu_names_what_to_set(tmp_path):
    recipe = Recipe("paper", training={"bf16": True})
    with pytest.raises(
        ValueError, match="recipe paper computes in bfloat16, and there is no GPU.*training.bf16=false"
    ):
        training_arguments(recipe, str(tmp_path), ["labels"])
    assert training_arguments(recipe, str(tmp_path), ["labels"], bf16=False).bf16 is False
    assert training_arguments(recipe, str(tmp_path), ["labels"], use_cpu=True).bf16


def test_speeds_are_no_result_of_a_validation(capsys):
    metrics = {
        "train_loss": 1.0,
        "eval_f1": 0.5,
        "eval_loss": 0.25,
        "eval_runtime": 3.0,
        "eval_samples_per_second": 7.0,
        "eval_steps_per_second": 2.0,
    }
    answer = _report(Path("runs/iclnet"), metrics, "pooled pixels")
    assert answer["validation"] == {"f1": 0.5, "loss": 0.25}
    assert capsys.readouterr().out == "saved runs/iclnet\nvalidation (pooled pixels): f1 0.5000, loss 0.2500\n"
