"""Train adapters of FakeReasoning: `python examples/05_fine_tune_lora.py described --base DIR --out runs/lora`.

`described` holds metadata.jsonl with `file_name`, `answer` and `label`, as `forgescope construct mmfr` writes it;
`--base` is a whole FakeReasoning checkpoint. The adapters name it, so 02_explain.py takes them as a model.
"""

from pathlib import Path
from typing import Annotated

import typer
from transformers import TrainingArguments

from forgescope.hub import load_checkpoint
from forgescope.trainers.adapters_fakereasoning import TuningConfig, add_adapters, trainable_parameters
from forgescope.trainers.answer_folder import load_answer_folder
from forgescope.trainers.data_fakereasoning import FakeReasoningCollator, FakeReasoningDataset
from forgescope.trainers.trainer_fakereasoning import FakeReasoningTrainer


def main(
    data: Annotated[Path, typer.Argument(help="Folder of images with answers.")],
    base: Annotated[str, typer.Option(help="FakeReasoning checkpoint: folder or Hub id.")],
    out: Annotated[Path, typer.Option(help="Folder for the adapters.")] = Path("runs/lora"),
    rank: Annotated[int, typer.Option(help="Rank of the LoRA on the language model; the paper's is 128.")] = 16,
    steps: Annotated[int, typer.Option(help="Steps of training.")] = 200,
    batch_size: Annotated[int, typer.Option(help="Images a step.")] = 4,
    learning_rate: Annotated[float, typer.Option(help="Highest learning rate; the paper's is 2e-4.")] = 2e-4,
) -> None:
    """Train adapters and save them with the processor."""
    model, processor = load_checkpoint(base, ["fakereasoning"])
    # LoRA on the language model, the projector in full, everything else frozen; the scaling is twice the rank
    model = add_adapters(model, TuningConfig(lora_rank=rank, lora_alpha=2 * rank))
    print(trainable_parameters(model))
    trainer = FakeReasoningTrainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(out),
            max_steps=steps,
            per_device_train_batch_size=batch_size,
            learning_rate=learning_rate,
            lr_scheduler_type="cosine",
            save_strategy="no",
            remove_unused_columns=False,
            report_to="none",
        ),
        data_collator=FakeReasoningCollator(processor),
        train_dataset=FakeReasoningDataset(load_answer_folder(data)["train"]),
        processing_class=processor,
    )
    losses = trainer.train().metrics
    trainer.save_model()
    print(f"saved {out}: mean loss {losses['train_loss']:.3f}")


if __name__ == "__main__":
    typer.run(main)
