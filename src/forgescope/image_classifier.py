"""Any image classifier of transformers that tells fake from real images, to compare with."""

from collections.abc import Sequence

import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

from .examination import Examination
from .localize import DTYPES
from .reading import as_read_image

# Names that classifiers give the class of fake images, in lower case.
FAKE_NAMES = (
    "fake",
    "forged",
    "edited",
    "manipulated",
    "tampered",
    "generated",
    "synthetic",
    "artificial",
    "deepfake",
    "ai",
    "ai-generated",
)
BATCH_SIZE = 8


class ImageClassifier:
    """A checkpoint of `AutoModelForImageClassification`; its score is the probability of its fake class.

    Args:
        checkpoint: folder or Hub id.
        device: torch device; None: a GPU when there is one.
        dtype: "auto" (float32), "float32" or "bfloat16".
        batch_size: images in one forward pass; None: 8.
        fake_class: name of the class of fake images; None: the one with a usual name.

    Raises:
        ValueError: no such checkpoint, weights are missing, or no class that could be the fake one.
    """

    def __init__(
        self,
        checkpoint: str,
        device: str | torch.device | None = None,
        dtype: str = "auto",
        batch_size: int | None = None,
        fake_class: str | None = None,
    ):
        if dtype not in DTYPES:
            raise ValueError(f"expected dtype {', '.join(DTYPES)}, got {dtype!r}")
        try:
            model, info = AutoModelForImageClassification.from_pretrained(
                checkpoint, output_loading_info=True, dtype=DTYPES[dtype]
            )
            self.processor = AutoImageProcessor.from_pretrained(checkpoint)
        except (OSError, ValueError) as error:
            raise ValueError(f"'{checkpoint}' is no image classifier that can be loaded: {error}") from error
        if info["missing_keys"]:
            missing = sorted(info["missing_keys"])
            raise ValueError(
                f"{len(missing)} weights are missing in checkpoint '{checkpoint}', among them {missing[0]}"
            )
        self.name = checkpoint
        self.batch_size = BATCH_SIZE if batch_size is None else batch_size
        self.fake = fake_index(model.config.id2label, fake_class)
        self.model = model.eval().to(device or ("cuda" if torch.cuda.is_available() else "cpu"))

    @property
    def precision(self) -> str:
        """Arithmetic of the forward pass, such as `float32`."""
        return str(self.model.dtype).removeprefix("torch.")

    @torch.inference_mode()
    def examine(self, images: Sequence[Image.Image]) -> list[Examination]:
        """Score images: one examination each, without maps."""
        photos = [as_read_image(image).image for image in images]
        scores: list[float] = []
        for start in range(0, len(photos), self.batch_size):
            inputs = self.processor(photos[start : start + self.batch_size], return_tensors="pt")
            inputs = inputs.to(device=self.model.device, dtype=self.model.dtype)
            logits = self.model(**inputs).logits.float()
            # one logit is the log-odds of the fake class
            fake = logits[:, 0].sigmoid() if logits.shape[1] == 1 else logits.softmax(dim=1)[:, self.fake]
            scores += fake.tolist()
        return [Examination(None, score=score) for score in scores]


def fake_index(id2label: dict[int, str], fake_class: str | None = None) -> int:
    """Find the class of fake images.

    Args:
        id2label: names of the classes; a single one is the fake class.
        fake_class: its name; None: the one with a usual name.

    Raises:
        ValueError: no class, or several, could be it.
    """
    if len(id2label) == 1 and fake_class is None:
        return 0
    wanted = FAKE_NAMES if fake_class is None else (fake_class.lower(),)
    found = [index for index, name in id2label.items() if name.lower().replace("_", "-") in wanted]
    if len(found) != 1:
        raise ValueError(
            f"which class means fake is not clear, the checkpoint has {', '.join(id2label.values())}: "
            "name it with --fake-class"
        )
    return int(found[0])
