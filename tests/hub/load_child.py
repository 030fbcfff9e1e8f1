"""Runs in a process of its own in which forgescope cannot be imported: load what was published.

Usage: load_child.py FOLDER REPOSITORY..., where inputs.npy lies in FOLDER. Results of a repository go to FOLDER/<its
name>: the tensors that each Auto class gives, what the stock pipeline of its task gives, and loaded.json.
"""

import json
import logging
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path

import numpy as np


class Absent(MetaPathFinder):
    """Makes forgescope as absent as on a machine on which it was never installed."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname.partition(".")[0] == "forgescope":
            raise ModuleNotFoundError(f"No module named '{fullname}'", name=fullname)


sys.meta_path.insert(0, Absent())

import torch  # noqa: E402
import transformers  # noqa: E402
from PIL import Image  # noqa: E402
from transformers import AutoConfig, AutoImageProcessor, AutoProcessor, pipeline  # noqa: E402

PIPELINES = {
    "AutoModelForSemanticSegmentation": "image-segmentation",
    "AutoModelForImageClassification": "image-classification",
    "AutoModelForImageTextToText": "image-text-to-text",
}
messages = []
handler = logging.Handler()
handler.emit = lambda record: messages.append((record.levelname, record.getMessage()))
logging.getLogger("transformers").addHandler(handler)


def load(repository, images, out):
    """Load a repository through every Auto class that it names and through its pipeline; write what comes out."""
    config = AutoConfig.from_pretrained(repository, trust_remote_code=True)
    reads_text = "AutoModelForImageTextToText" in config.auto_map
    auto_processor = AutoProcessor if reads_text else AutoImageProcessor
    processor = auto_processor.from_pretrained(repository, trust_remote_code=True)
    inputs = processor.inference_inputs(list(images)) if reads_text else processor(list(images), return_tensors="pt")
    classes = {"config": type(config).__name__, "processor": type(processor).__name__}
    for name in (one for one in config.auto_map if one.startswith("AutoModel")):
        model = getattr(transformers, name).from_pretrained(repository, trust_remote_code=True)
        classes[name] = type(model).__name__
        with torch.no_grad():
            outputs = model(**inputs)
        tensors = {key: value.numpy() for key, value in outputs.items() if isinstance(value, torch.Tensor)}
        np.savez(out / f"{name}.npz", **tensors)
    messages.clear()
    (task,) = (PIPELINES[name] for name in classes if name in PIPELINES)
    run = pipeline(task, model=repository, trust_remote_code=True)
    if reads_text:
        parts = [{"type": "image", "image": Image.fromarray(images[0])}, {"type": "text", "text": "Real or fake?"}]
        chat = [{"role": "user", "content": parts}]
        (answer,) = run(text=chat, max_new_tokens=3, do_sample=False, return_full_text=False)
        found = {"text": np.array(answer["generated_text"])}
    else:
        entries = run(Image.fromarray(images[0]))
        found = {one["label"]: np.array(one["mask"] if "mask" in one else one["score"]) for one in entries}
    np.savez(out / "pipeline.npz", **found)
    (out / "loaded.json").write_text(json.dumps({"classes": classes, "messages": messages}))


folder = Path(sys.argv[1])
for repository in sys.argv[2:]:
    out = folder / repository.partition("/")[2]
    out.mkdir()
    load(repository, np.load(folder / "inputs.npy"), out)
try:
    import forgescope  # noqa: F401
except ModuleNotFoundError:
    (folder / "forgescope-is-absent").touch()
