"""A small FakeReasoning learns the answers about real images by heart, from the trainer to generated text."""

import json
import shutil

import pytest
import torch
from fakereasoning_runs import COLOURS, answer_of
from PIL import Image

from forgescope.modeling.modeling_fakereasoning import FakeReasoningForConditionalGeneration
from forgescope.processing.processing_fakereasoning import FakeReasoningProcessor
from forgescope.trainers.answer_folder import load_answer_folder
from forgescope.trainers.train_fakereasoning import fakereasoning_recipe, train

MAX_NEW_TOKENS = 250


def write_examples(folder, data_dir, count):
    """Images of both folders with answers; the same for training and validation."""
    rows = []
    for label, source in (("fake", "generated"), ("real", "real")):
        for place, path in enumerate(sorted((data_dir / source).glob("*.png"))[:count]):
            answer = answer_of(label, COLOURS[place])
            rows.append({"file_name": f"{label}-{place}.png", "label": label, "answer": answer})
            for split in ("train", "validation"):
                (folder / split).mkdir(parents=True, exist_ok=True)
                shutil.copy(path, folder / split / rows[-1]["file_name"])
    for split in ("train", "validation"):
        (folder / split / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return rows


@pytest.mark.parametrize(("count", "steps"), [(1, 60), pytest.param(3, 120, marks=pytest.mark.slow)])
def test_a_small_model_learns_to_reason_and_to_conclude(data_dir, fakereasoning_tokenizer, tmp_path, count, steps):
    rows = write_examples(tmp_path / "data", data_dir, count)
    settings = (f"start.tokenizer={fakereasoning_tokenizer}", f"training.max_steps={steps}")
    recipe = fakereasoning_recipe("fakereasoning-mini", settings)
    metrics = train(load_answer_folder(tmp_path / "data"), recipe, str(tmp_path / "out"), use_cpu=True)
    assert (metrics["eval_conclusion_found"], metrics["eval_accuracy"], metrics["eval_auc"]) == (1.0, 1.0, 1.0)
    assert metrics["eval_loss_lm"] < 0.05

    model = FakeReasoningForConditionalGeneration.from_pretrained(tmp_path / "out").eval()
    processor = FakeReasoningProcessor.from_pretrained(tmp_path / "out")
    images = [Image.open(tmp_path / "data" / "train" / row["file_name"]) for row in rows]
    with torch.no_grad():
        made = model.generate_verdict(
            **processor.inference_inputs(images), max_new_tokens=MAX_NEW_TOKENS, do_sample=False
        )
    for row, answer, probability in zip(
        rows, processor.decode_answers(made.generated_ids), made.fake_probability, strict=True
    ):
        assert (answer.label, answer.problems) == (row["label"], [])
        assert answer.caption in row["answer"]
        assert answer.reasoning in row["answer"]
        assert (probability > 0.6) == (row["label"] == "fake")
        assert (probability < 0.4) == (row["label"] == "real")
