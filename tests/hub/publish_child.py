"""Runs in a process of its own, with HF_ENDPOINT set: publish in every way, note what came out.

Usage: publish_child.py FOLDER, where checkpoints/<model type>/, card.md, metrics.json and inputs.npy lie; results go
there.
"""

import json
import sys
from pathlib import Path

import numpy as np

folder = Path(sys.argv[1])
sys.argv = ["forgescope", "push"]

from card_checks import check_cards_at_endpoint  # noqa: E402

from forgescope import cli  # noqa: E402 (the command line is what decides when to register)

check_cards_at_endpoint()


def run(*arguments):
    """One call of the command line; its exit status."""
    sys.argv = ["forgescope", *map(str, arguments)]
    try:
        cli.main()
    except SystemExit as stop:
        return stop.code or 0
    return 0


checkpoints = {path.name: path for path in (folder / "checkpoints").iterdir()}
checkpoint = checkpoints["iclnet"]
statuses = {
    "template": run("push", checkpoint, "org/template", "--private", "--license", "mit", "--dataset", "org/photos"),
    "carded": run(
        "push", checkpoint, "org/carded", "--card", folder / "card.md", "--metrics", folder / "metrics.json"
    ),
    "again": run("push", checkpoint, "org/carded"),
    "bad license": run("push", checkpoint, "org/template", "--license", "no-such-license"),
    "from hub": run("push", "org/carded", "org/copy"),
    "unknown": run("push", "org/absent", "org/copy"),
    "no config": run("push", "org/empty", "org/copy"),
    "other type": run("push", "org/segformer", "org/copy"),
    "metrics missing": run("push", checkpoint, "org/copy", "--metrics", folder / "card.md"),
    "metrics wrong": run("push", checkpoint, "org/never", "--metrics", folder / "wrong.json"),
    "card missing": run("push", checkpoint, "org/never", "--card", folder / "no-card.md"),
    **{name: run("push", path, f"org/{name}") for name, path in checkpoints.items()},
}

import torch  # noqa: E402
from transformers import (  # noqa: E402
    AutoImageProcessor,
    AutoModel,
    AutoModelForSemanticSegmentation,
    AutoProcessor,
    pipeline,
)

from forgescope.auto import MODELS  # noqa: E402

model = AutoModelForSemanticSegmentation.from_pretrained("org/carded")
processor = AutoImageProcessor.from_pretrained("org/carded")
model.push_to_hub("org/plain")
processor.push_to_hub("org/plain")
model.push_to_hub("org/carded", tags=["pushed-again"])
plain = AutoModel.from_pretrained("org/plain")
segment = pipeline("image-segmentation", model="org/plain")
classes = {"plain": type(plain).__module__, "pipeline": type(segment.model).__module__}
images = list(np.load(folder / "inputs.npy"))
for name in ("plain", *checkpoints):
    model = AutoModel.from_pretrained(f"org/{name}")
    if name in MODELS and MODELS[name].processor_auto_class == "AutoProcessor":
        inputs = AutoProcessor.from_pretrained(f"org/{name}").inference_inputs(images)
    else:
        inputs = AutoImageProcessor.from_pretrained(f"org/{name}")(images, return_tensors="pt")
    with torch.no_grad():
        outputs = model(**inputs)
    tensors = {key: value.numpy() for key, value in outputs.items() if isinstance(value, torch.Tensor)}
    np.savez(folder / f"{name}.npz", **tensors)
(folder / "published.json").write_text(json.dumps({"statuses": statuses, "classes": classes}))
