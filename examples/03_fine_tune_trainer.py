"""Fine-tune ICL-Net with the Trainer: `python examples/03_fine_tune_trainer.py forged --out runs/trainer`.

`forged` is a folder with metadata.jsonl, images and masks, such as `forgescope construct manipulations` writes.
`forgescope train iclnet` does the same from a recipe.
"""

from pathlib import Path
from typing import Annotated

import typer
from transformers import TrainingArguments

from forgescope.datasets_scripts.features import load_forgery_folder
from forgescope.hub import load_checkpoint
from forgescope.trainers.augmentation import AugmentationConfig
from forgescope.trainers.data import EpochCallback, ForgeryCollator, ForgeryDataset
from forgescope.trainers.trainer_iclnet import ICLNetTrainer


def main(
    data: Annotated[Path, typer.Argument(help="Folder of images and masks; a tenth becomes validation.")],
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint.")] = Path("runs/trainer"),
    base: Annotated[str, typer.Option(help="ICL-Net checkpoint to start from.")] = "iclnet-mini",
    steps: Annotated[int, typer.Option(help="Steps of training.")] = 300,
    batch_size: Annotated[int, typer.Option(help="Images a step.")] = 10,
    crop_size: Annotated[int, typer.Option(help="Side of the random windows, pixels.")] = 192,
    learning_rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 5e-4,
) -> None:
    """Fine-tune a checkpoint, save it with its processor, and print its scores on the validation images."""
    model, processor = load_checkpoint(base, ["iclnet"])
    windows = AugmentationConfig(crop_size=crop_size, forged_crop_probability=0.7, jpeg_probability=0.0)
    train = ForgeryDataset(load_forgery_folder(data, "train"), windows)
    trainer = ICLNetTrainer(  # a transformers Trainer that also logs each loss and measures pixels
        model=model,
        args=TrainingArguments(
            output_dir=str(out),
            max_steps=steps,
            per_device_train_batch_size=batch_size,
            learning_rate=learning_rate,
            lr_scheduler_type="cosine",
            save_strategy="no",
            remove_unused_columns=False,  # the collator needs images and masks
            report_to="none",
        ),
        data_collator=ForgeryCollator(processor),
        train_dataset=train,
        eval_dataset=ForgeryDataset(load_forgery_folder(data, "validation"), eval_crop_size=crop_size),
        processing_class=processor,
        callbacks=[EpochCallback(train)],  # other windows in every epoch
    )
    trainer.train()
    scores = trainer.evaluate()
    trainer.save_model()
    print(f"saved {out}: F1 {scores['eval_f1']:.3f}, IoU {scores['eval_iou']:.3f}")


if __name__ == "__main__":
    typer.run(main)
