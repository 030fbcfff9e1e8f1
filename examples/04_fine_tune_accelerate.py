"""Fine-tune ICL-Net in a plain loop: `accelerate launch examples/04_fine_tune_accelerate.py forged runs/loop`."""

from pathlib import Path

import torch
import typer
from accelerate import Accelerator
from torch.utils.data import DataLoader
from transformers import get_cosine_schedule_with_warmup

from forgescope.datasets_scripts.features import load_forgery_folder
from forgescope.hub import load_checkpoint
from forgescope.trainers.augmentation import AugmentationConfig
from forgescope.trainers.data import ForgeryCollator, ForgeryDataset
from forgescope.trainers.pixel_counts import image_counts, pooled_scores

WINDOW = {"crop_size": 192, "forged_crop_probability": 0.7, "jpeg_probability": 0.0}


def main(data: Path, out: Path, base: str = "iclnet-mini", steps: int = 300, batch_size: int = 10) -> None:
    """Fine-tune a checkpoint, save it with its processor, and print its scores on the validation images."""
    accelerator = Accelerator()  # processes, devices and precision come from `accelerate launch`
    torch.manual_seed(42)
    model, processor = load_checkpoint(base, ["iclnet"])
    model.config.false_alarm_rate = None  # what its thresholds promise holds for the weights before
    train = ForgeryDataset(load_forgery_folder(data, "train"), AugmentationConfig(**WINDOW), seed=42)
    test = ForgeryDataset(load_forgery_folder(data, "validation"), eval_crop_size=WINDOW["crop_size"])
    train_loader = DataLoader(train, batch_size, shuffle=True, collate_fn=ForgeryCollator(processor))
    test_loader = DataLoader(test, batch_size, collate_fn=train_loader.collate_fn)
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=5e-4)
    schedule = get_cosine_schedule_with_warmup(optimizer, 0, steps * accelerator.num_processes)
    model, optimizer, schedule, train_loader, test_loader = accelerator.prepare(
        model.train(), optimizer, schedule, train_loader, test_loader
    )
    for step in range(steps):
        if step % len(train_loader) == 0:  # an epoch begins: other windows
            train.set_epoch(step // len(train_loader))
            batches = iter(train_loader)
        loss = model(**next(batches)).loss
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    model, counts = model.eval(), []
    for batch in test_loader:
        with torch.no_grad():
            logits = model(batch["pixel_values"]).logits
        counts.append(accelerator.gather_for_metrics(image_counts(logits, batch["labels"], 0.5, 255)).cpu())
    scores = pooled_scores(torch.cat(counts))
    if accelerator.is_main_process:
        accelerator.unwrap_model(model).save_pretrained(out)
        processor.save_pretrained(out)
    accelerator.print(f"saved {out}: F1 {scores['f1']:.3f}, IoU {scores['iou']:.3f}")


if __name__ == "__main__":
    typer.run(main)
