"""What the tests of every trainer need: folders of forged images, runs of the command line, and comparing weights."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors.torch import load_file
from transformers import TrainerCallback

SHORT = {
    "optim": "adamw_torch",
    "learning_rate": 1e-3,
    "lr_scheduler_type": "constant",
    "per_device_train_batch_size": 4,
    "per_device_eval_batch_size": 4,
    "max_steps": 6,
    "logging_steps": 1,
    "save_strategy": "no",
    "eval_strategy": "no",
    "dataloader_num_workers": 0,
    "report_to": "none",
    "use_cpu": True,
    "seed": 3,
}
# Kind of image -> label and AI-made pixels after Table 1 of GAMMA.
KINDS = {
    "authentic": (0, "none"),
    "copy_move": (0, "none"),
    "inpainting": (1, "frame"),
    "splicing": (0, "none"),
    "inpainting_blended": (1, "mask"),
}


def write_folder(folder, count: int, size: int = 64) -> None:
    """Noise images; forged ones hold a flat square. Every fourth is authentic."""
    rng = np.random.default_rng(0)
    rows = []
    for index in range(count):
        pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
        mask = _square(pixels, rng) if index % 4 else np.zeros((size, size), np.uint8)
        rows.append({"label": 0, "task": "splicing" if index % 4 else "authentic", "id": str(index), "source": "test"})
        _write_image(folder, rows[-1], pixels, {"mask": mask})
    _write_rows(folder, rows)


def write_gamma_folder(folder, count: int, size: int = 64) -> None:
    """The same with the kinds of GAMMA in turn, their labels and both masks."""
    rng = np.random.default_rng(1)
    rows = []
    for index in range(count):
        task = list(KINDS)[index % len(KINDS)]
        label, ai = KINDS[task]
        pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
        mask = None if task == "authentic" else _square(pixels, rng)
        ai_mask = {"none": None, "mask": mask, "frame": np.full((size, size), 255, np.uint8)}[ai]
        rows.append({"label": label, "task": task, "id": f"{task}-{index}", "source": "test", "photo": str(index)})
        _write_image(folder, rows[-1], pixels, {"mask": mask, "ai_mask": ai_mask})
    _write_rows(folder, rows)


EDITORS = ("flat", "striped")


def write_edit_folder(folder, count: int, size: int = 64) -> None:
    """Noise images with masks of editors: in turn untouched, edited by the first, by the second, and by both."""
    rng = np.random.default_rng(2)
    rows = []
    for index in range(count):
        pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
        ids = np.zeros((size, size), np.uint8)
        for editor, half in ((1, ids[:, : size // 2]), (2, ids[:, size // 2 :])):
            if index % 4 in (editor, 3):
                top = int(rng.integers(0, size // 2))
                half[top : top + size // 3, 4 : 4 + size // 3] = editor
        pixels[ids == 1] = 128
        pixels[ids == 2] = 255 * (np.indices(ids.shape)[0][ids == 2] // 2 % 2)[:, None]
        rows.append({"label": int(index % 4 > 0), "id": f"edit-{index}", "source": "test"})
        _write_image(folder, rows[-1], pixels, {"mask": ids if index % 4 else None})
    _write_rows(folder, rows)


def _square(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Paint a flat square into an image and return its mask."""
    size = len(pixels)
    mask = np.zeros((size, size), np.uint8)
    top, left = rng.integers(0, size // 2, 2)
    mask[top : top + size // 3, left : left + size // 3] = 255
    pixels[mask > 0] = 128
    return mask


def _write_image(folder, row: dict, pixels: np.ndarray, masks: dict) -> None:
    """Write an image and its masks and name them in its row."""
    for place, array in (("images", pixels), *masks.items()):
        if array is not None:
            (folder / place).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(folder / f"{place}/{row['id']}.png")
        name = f"{place}/{row['id']}.png" if array is not None else None
        row["file_name" if place == "images" else f"{place}_file_name"] = name


def _write_rows(folder, rows: list[dict]) -> None:
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def weights_of(folder) -> dict:
    """Weights that a run saved."""
    return load_file(os.path.join(folder, "model.safetensors"))


def assert_equal_weights(first, second, tolerance=0.0) -> None:
    """Compare two sets of weights entry by entry."""
    assert first.keys() == second.keys()
    for name in first:
        assert (first[name] - second[name]).abs().max().item() <= tolerance, name


def run_command_line(model, *arguments, processes=1) -> subprocess.CompletedProcess:
    """`forgescope train MODEL ...` in one process, or in several through torchrun."""
    launcher = [sys.executable, "-m"]
    if processes > 1:
        launcher += ["torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), "-m"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [*launcher, "forgescope", "train", model, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def write_recipe(path, **sections) -> str:
    """Write the sections of a recipe as YAML and return its path."""
    path.write_text(yaml.safe_dump(sections))
    return str(path)


def command_line(monkeypatch, model, *arguments) -> int:
    """Run `forgescope train MODEL ...` in this process and return its exit status."""
    from forgescope.cli import main  # few tests need it

    monkeypatch.setattr("sys.argv", ["forgescope", "train", model, *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code


def logs_of(trainer) -> list[dict]:
    """What a trainer has logged of its steps."""
    return [entry for entry in trainer.state.log_history if "loss" in entry]


def trained_weights(trainer) -> dict:
    """Copies of the weights that are trained."""
    return {name: weight.detach().clone() for name, weight in trainer.model.named_parameters() if weight.requires_grad}


class Watcher(TrainerCallback):
    """Keeps the gradients of a step."""

    def __init__(self, gradients):
        self.gradients = gradients

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        named = ((name, parameter.grad) for name, parameter in model.named_parameters())
        self.gradients |= {name: gradient.clone() for name, gradient in named if gradient is not None}


class Interruption(TrainerCallback):
    """Ends the process, as it were, in the middle of a step."""

    def __init__(self, step):
        self.step = step

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise KeyboardInterrupt
