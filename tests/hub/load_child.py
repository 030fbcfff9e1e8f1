"""Runs in a process of its own in which forgescope cannot be imported: load what was published.

Usage: load_child.py FOLDER REPOSITORY
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
from PIL import Image  # noqa: E402
from transformers import (  # noqa: E402
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForSemanticSegmentation,
    pipeline,
)

folder, repository = Path(sys.argv[1]), sys.argv[2]
images = np.load(folder / "inputs.npy")
config = AutoConfig.from_pretrained(repository, trust_remote_code=True)
processor = AutoImageProcessor.from_pretrained(repository, trust_remote_code=True)
inputs = processor(list(images), return_tensors="pt")
classes = {"config": type(config).__name__, "processor": type(processor).__name__}
for auto_class in (AutoModel, AutoModelForSemanticSegmentation):
    model = auto_class.from_pretrained(repository, trust_remote_code=True)
    classes[auto_class.__name__] = type(model).__name__
    with torch.no_grad():
        np.save(folder / f"{auto_class.__name__}.npy", model(**inputs).logits.numpy())

messages = []
handler = logging.Handler()
handler.emit = lambda record: messages.append((record.levelname, record.getMessage()))
logging.getLogger("transformers").addHandler(handler)
segment = pipeline("image-segmentation", model=repository, trust_remote_code=True)
segments = segment(Image.fromarray(images[0]))
masks = {entry["label"]: np.array(entry["mask"]) for entry in segments}
np.savez(folder / "pipeline.npz", **masks)

try:
    import forgescope  # noqa: F401
except ModuleNotFoundError:
    classes["forgescope"] = "absent"
(folder / "loaded.json").write_text(json.dumps({"classes": classes, "messages": messages}))
