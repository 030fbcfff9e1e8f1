"""A small LEGION learns phrases, explanations and masks by heart, from the trainer to generated text and its masks."""

import csv
import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from legion_runs import RECORDS, caption_of, load_synthscars, picture, save_tokenizer, tiny_recipe, write_synthscars
from PIL import Image

from forgescope.modeling.modeling_legion import LegionForGroundedExplanation
from forgescope.processing.processing_legion import LegionProcessor
from forgescope.trainers.data_legion import LegionDataConfig
from forgescope.trainers.train_legion import legion_recipe, train

BY_HEART = {"learning_rate": 5e-3, "lr_scheduler_type": "cosine", "warmup_steps": 10, "max_steps": 90}
WANTED_IOU = 0.8
# What is said of the regions of tampered photographs: one object, one explanation each.
FOUND = (
    ("The pasted object", "Its edges do not blend with the scene around it."),
    ("The copied part", "The same texture occurs twice in the image."),
    ("The bright area", "Light comes from another side than elsewhere."),
    ("The blurred outline", "It is too smooth for an object at this distance."),
    ("The lower detail", "Noise is missing there."),
    ("The odd shadow", "Nothing in the image could throw it."),
    ("The left edge", "It is sharper than the rest of the photograph."),
    ("The repeated detail", "Two parts are the same to the last pixel."),
)
SMALLEST_REGION = 0.01  # of the image
MAX_REGIONS = 2


def iou(called, given):
    return (called & given).sum() / (called | given).sum()


def check_generation(folder, images, rows):
    """What was saved writes the captions again and outlines their phrases, without being given them."""
    model = LegionForGroundedExplanation.from_pretrained(folder).eval()
    processor = LegionProcessor.from_pretrained(folder)
    made = model.generate_grounded(**processor.inference_inputs(images), max_new_tokens=100, do_sample=False)
    ious = []
    for found, row in zip(processor.post_process_grounded(made), rows, strict=True):
        assert found.problems == []
        expected = [(region["sentence"], region["explanation"]) for region in row["regions"]]
        assert [(one.phrase, one.explanation) for one in found.phrases] == expected
        for one, region in zip(found.phrases, row["regions"], strict=True):
            ious.append(iou(one.mask > 0, np.asarray(region["mask"]) > 0))
    assert min(ious) > WANTED_IOU
    return ious


def test_a_tiny_network_learns_two_records(legion_tokenizer, tmp_path):
    write_synthscars(tmp_path / "data", 2)
    rows = load_synthscars(tmp_path / "data")
    recipe = replace(tiny_recipe(legion_tokenizer), data=LegionDataConfig(validation_rows=1))
    out = str(tmp_path / "out")
    metrics = train({"train": rows, "validation": rows}, recipe, out, logging_steps=30, **BY_HEART)
    assert metrics["eval_mask_iou"] > WANTED_IOU
    assert metrics["eval_phrase_iou"] > WANTED_IOU
    assert len(check_generation(out, [picture(0), picture(1)], rows)) == sum(map(len, RECORDS))


def write_photographs(folder, data_dir, count):
    """Tampered photographs in the layout of SynthScars: the largest regions of their masks as polygons, with texts."""
    with open(data_dir / "tampered" / "manifest.csv", newline="") as file:
        pairs = [(row["pair_of"], row["file"]) for row in csv.DictReader(file) if row["role"] == "mask"]
    for place in ("images", "annotations"):
        (folder / "train" / place).mkdir(parents=True)
    entries, texts = [], iter(FOUND)
    usable = [(image, polygons) for image, mask in pairs if (polygons := outlines(data_dir / "tampered" / mask))]
    for number, (image, polygons) in enumerate(usable[:count]):
        name = f"{number}.png"
        Image.open(data_dir / "tampered" / image).convert("RGB").save(folder / "train" / "images" / name)
        refs = [
            {"sentence": sentence, "explanation": said, "segmentation": [polygon], "bbox": None}
            for polygon, (sentence, said) in zip(polygons, texts, strict=False)
        ]
        caption = caption_of([(ref["sentence"], ref["explanation"], None) for ref in refs])
        entries.append({str(number): {"img_file_name": name, "caption": caption, "refs": refs}})
    (folder / "train" / "annotations" / "train.json").write_text(json.dumps(entries))


def outlines(mask_file):
    """Outlines of the largest regions of a mask, `[x0, y0, x1, y1, ...]`."""
    mask = (np.asarray(Image.open(mask_file).convert("L")) > 127).astype(np.uint8)
    found, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    large = [one for one in found if cv2.contourArea(one) >= SMALLEST_REGION * mask.size]
    ranked = sorted(large, key=cv2.contourArea, reverse=True)[:MAX_REGIONS]
    return [one.reshape(-1).astype(float).tolist() for one in ranked]


@pytest.mark.slow
def test_a_small_network_learns_four_photographs(data_dir, tmp_path):
    write_photographs(tmp_path / "data", data_dir, 4)
    rows = load_synthscars(tmp_path / "data")
    save_tokenizer(tmp_path / "tokenizer", rows["caption"][:])
    recipe = legion_recipe("legion-mini", [f"start.tokenizer={tmp_path / 'tokenizer'}"])
    out = str(tmp_path / "out")
    metrics = train({"train": rows, "validation": rows}, recipe, out, use_cpu=True)
    assert metrics["eval_mask_iou"] > WANTED_IOU
    assert metrics["eval_loss_lm"] < 0.05
    ious = check_generation(out, [row["image"] for row in rows], rows)
    assert len(ious) == sum(len(row["regions"]) for row in rows) >= 4
    assert torch.tensor(ious).mean() > WANTED_IOU
