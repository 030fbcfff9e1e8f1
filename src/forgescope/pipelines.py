"""`pipeline("image-forgery-analysis")`: any forgescope checkpoint as a pipeline of transformers."""

import os
from collections.abc import Iterable, Iterator
from importlib.resources import files
from types import GeneratorType
from typing import Any

from PIL import Image
from transformers import Pipeline
from transformers.pipelines import PIPELINE_REGISTRY

from .analyze import Analyzer, ImageInput
from .auto import MODELS
from .hub import EMBEDDED_CHECKPOINTS
from .report import ForgeryReport

TASK = "image-forgery-analysis"


class ForgeryAnalysisPipeline(Pipeline):
    """Photographs in, `ForgeryReport` out, the same as `forgescope.analyze` gives.

    Args:
        *args: as `Pipeline`.
        **kwargs: as `Pipeline`; `model`, `device`, `dtype`, `batch_size` are those of every pipeline.

    Example:
        ```python
        >>> from transformers import pipeline
        >>> import forgescope  # registers the task
        >>> analyse = pipeline("image-forgery-analysis", model="org/iclnet")
        >>> analyse("photo.jpg").verdict
        ```
    """

    # of some families a processor with a tokenizer, of others an image processor: the pipeline loads it itself
    _load_processor = False
    _load_image_processor = False
    _load_feature_extractor = False
    _load_tokenizer = False

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        given = kwargs.get("processor") or kwargs.get("image_processor")
        family = MODELS[self.model.config.model_type]
        self.processor: Any = given or family.processor.from_pretrained(self.model.name_or_path)
        self.analyzers: dict[tuple[tuple[str, Any], ...], Analyzer] = {}

    def __call__(
        self, inputs: ImageInput | Iterable[ImageInput], **settings: Any
    ) -> ForgeryReport | list[ForgeryReport] | Iterator[ForgeryReport]:
        """Examine photographs.

        Args:
            inputs: path or PIL image; a list of them; or a generator or data set, which is examined lazily.
            **settings: arguments of `Analyzer`, such as `tile`, `threshold` or `batch_size`.

        Returns:
            A report; a list of reports for a list; a generator of reports for a generator or data set.

        Raises:
            ImageReadError: a file or image that cannot be examined.
            ValueError: an unsuitable setting.
        """
        analyzer = self._analyzer(settings)
        if isinstance(inputs, str | os.PathLike | Image.Image):
            return analyzer.analyze(inputs)
        reports = analyzer.analyze_many(inputs)
        return reports if isinstance(inputs, GeneratorType) or not isinstance(inputs, list | tuple) else list(reports)

    def _analyzer(self, settings: dict[str, Any]) -> Analyzer:
        """The analyzer of these settings; kept for the next call."""
        given = {"batch_size": self._batch_size} | settings
        key = tuple(sorted(given.items()))
        if key not in self.analyzers:
            self.analyzers[key] = Analyzer(self.model, self.processor, **given)
        return self.analyzers[key]

    # the steps of other pipelines: here the analyzer takes them all
    def _sanitize_parameters(self, **settings: Any) -> tuple[dict, dict, dict]:
        return {}, {}, {}

    def preprocess(self, input_: Any, **settings: Any) -> Any:
        """Give the image as it is; the analyzer reads it."""
        return input_

    def _forward(self, input_tensors: Any, **settings: Any) -> Any:
        return self._analyzer(settings).analyze(input_tensors)

    def postprocess(self, model_outputs: Any, **settings: Any) -> Any:
        """Give the report as it is."""
        return model_outputs


def register_pipeline() -> None:
    """Make transformers know the task, with the embedded checkpoint as its default; may be called again."""
    if TASK not in PIPELINE_REGISTRY.get_supported_tasks():
        classes = dict.fromkeys(family.task_auto_class for family in MODELS.values())
        PIPELINE_REGISTRY.register_pipeline(
            TASK,
            pipeline_class=ForgeryAnalysisPipeline,
            pt_model=tuple(classes),
            default={"model": (str(files("forgescope.checkpoints") / EMBEDDED_CHECKPOINTS[0]), None)},
            type="image",
        )


__all__ = ["TASK", "ForgeryAnalysisPipeline", "register_pipeline"]
