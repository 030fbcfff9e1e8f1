"""The one table of models: model_type -> configuration, models, processor and their place in transformers.

`AutoModel` and the task class both load the full checkpoint: `AutoModel.register` takes a tuple, of which
transformers picks the class that `config.architectures` names.
"""

from dataclasses import dataclass
from typing import Any

from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForImageClassification,
    AutoModelForImageTextToText,
    AutoModelForSemanticSegmentation,
    AutoProcessor,
    PreTrainedConfig,
    PreTrainedModel,
    ProcessorMixin,
)
from transformers.image_processing_utils import ImageProcessingMixin

from forgescope.modeling.configuration_diffseg import DiffSegConfig
from forgescope.modeling.configuration_fakereasoning import FakeReasoningConfig
from forgescope.modeling.configuration_gamma import GammaConfig
from forgescope.modeling.configuration_iclnet import ICLNetConfig
from forgescope.modeling.configuration_legion import LegionConfig
from forgescope.modeling.modeling_diffseg import DiffSegForEditSegmentation
from forgescope.modeling.modeling_fakereasoning import FakeReasoningForConditionalGeneration
from forgescope.modeling.modeling_gamma import GammaForDetection, GammaModel
from forgescope.modeling.modeling_iclnet import ICLNetForForgerySegmentation, ICLNetModel
from forgescope.modeling.modeling_legion import LegionForGroundedExplanation
from forgescope.processing.image_processing_forgery import ForgeryImageProcessor
from forgescope.processing.processing_fakereasoning import FakeReasoningProcessor
from forgescope.processing.processing_legion import LegionProcessor


@dataclass(frozen=True)
class ModelFamily:
    """One row of the table.

    Args:
        config: configuration class; its `model_type` is the key of the row.
        task_model: model with a head; what a full checkpoint holds.
        base_model: the same without head, or None when the paper has no use for one.
        task_auto_class: transformers' Auto class of the task, such as `AutoModelForSemanticSegmentation`.
        processor: turns photographs (and texts) into inputs, and outputs into masks or texts.
        pipeline_tag: task name on the Hub and of the stock `pipeline()`.
    """

    config: type[PreTrainedConfig]
    task_model: type[PreTrainedModel]
    base_model: type[PreTrainedModel] | None
    task_auto_class: Any
    processor: type[ImageProcessingMixin] | type[ProcessorMixin]
    pipeline_tag: str

    @property
    def processor_auto_class(self) -> str:
        """Name of the Auto class that loads the processor."""
        return "AutoProcessor" if issubclass(self.processor, ProcessorMixin) else "AutoImageProcessor"

    @property
    def processor_file(self) -> str:
        """Name of the file that the processor is saved in."""
        return "processor_config.json" if issubclass(self.processor, ProcessorMixin) else "preprocessor_config.json"


MODELS: dict[str, ModelFamily] = {
    "iclnet": ModelFamily(
        config=ICLNetConfig,
        task_model=ICLNetForForgerySegmentation,
        base_model=ICLNetModel,
        task_auto_class=AutoModelForSemanticSegmentation,
        processor=ForgeryImageProcessor,
        pipeline_tag="image-segmentation",
    ),
    "gamma": ModelFamily(
        config=GammaConfig,
        task_model=GammaForDetection,
        base_model=GammaModel,
        task_auto_class=AutoModelForImageClassification,
        processor=ForgeryImageProcessor,
        pipeline_tag="image-classification",
    ),
    "diffseg": ModelFamily(
        config=DiffSegConfig,
        task_model=DiffSegForEditSegmentation,
        base_model=None,
        task_auto_class=AutoModelForSemanticSegmentation,
        processor=ForgeryImageProcessor,
        pipeline_tag="image-segmentation",
    ),
    "fakereasoning": ModelFamily(
        config=FakeReasoningConfig,
        task_model=FakeReasoningForConditionalGeneration,
        base_model=None,
        task_auto_class=AutoModelForImageTextToText,
        processor=FakeReasoningProcessor,
        pipeline_tag="image-text-to-text",
    ),
    "legion": ModelFamily(
        config=LegionConfig,
        task_model=LegionForGroundedExplanation,
        base_model=None,
        task_auto_class=AutoModelForImageTextToText,
        processor=LegionProcessor,
        pipeline_tag="image-text-to-text",
    ),
}


def register_auto_classes() -> None:
    """Make transformers' Auto classes and pipelines know every model of the table; may be called again."""
    for model_type, family in MODELS.items():
        AutoConfig.register(model_type, family.config, exist_ok=True)
        models = tuple(model for model in (family.task_model, family.base_model) if model is not None)
        AutoModel.register(family.config, models, exist_ok=True)
        family.task_auto_class.register(family.config, family.task_model, exist_ok=True)
        if issubclass(family.processor, ProcessorMixin):
            AutoProcessor.register(family.config, family.processor, exist_ok=True)
        else:
            AutoImageProcessor.register(
                family.config, image_processor_classes={"torchvision": family.processor}, exist_ok=True
            )
