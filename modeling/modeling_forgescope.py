"""What every forgescope model needs to behave well inside transformers 5."""

import os
from typing import Any

from transformers import PreTrainedModel


class ForgescopePreTrainedModel(PreTrainedModel):
    """A `PreTrainedModel` whose checkpoints resume exactly and whose loss is a per-batch mean.

    * `save_pretrained` keeps the names of `state_dict()`. The default of transformers renames the keys of sub-models
      such as SegFormer to their legacy form; the Trainer reads a checkpoint back without undoing that and loses them.
    * `accepts_loss_kwargs` is False: the losses are means over the images of a batch, so the Trainer must divide them
      by the number of gradient accumulation steps itself.
    """

    accepts_loss_kwargs = False

    def save_pretrained(
        self, save_directory: str | os.PathLike, save_original_format: bool = False, **kwargs: Any
    ) -> None:
        """Save weights and configuration to `save_directory`; arguments as in `PreTrainedModel.save_pretrained`."""
        super().save_pretrained(save_directory, save_original_format=save_original_format, **kwargs)
