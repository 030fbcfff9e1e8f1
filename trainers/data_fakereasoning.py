"""From images with answers in four stages to batches for FakeReasoning."""

from collections.abc import Iterator
from typing import Any

import datasets
import torch
from transformers import ProcessorMixin
from transformers.trainer_pt_utils import get_length_grouped_indices

from .row_faults import row_names
from .rows_fakereasoning import taught_rows


class FakeReasoningDataset(torch.utils.data.Dataset):
    """Images with a question, the answer that is taught, and a label.

    Args:
        rows: Dataset with the columns `image`, `answer` and `label`, and perhaps `question` and `id`: the
            configuration `cot` of the corpus `mmfr`, or a folder that `load_answer_folder` reads.
        target: What is taught; see `FakeReasoningDataConfig`.

    Raises:
        ValueError: See `taught_rows`, which also says what is left out.
    """

    def __init__(self, rows: datasets.Dataset, target: str = "chain_of_thought"):
        taught, names = taught_rows(rows, target), row_names(rows)
        self.questions, self.answers, self.labels = taught.questions, taught.answers, taught.labels
        self.lengths = taught.lengths
        self.names = [names[index] for index in taught.kept]
        self.images = rows.select(taught.kept).select_columns(["image"])
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, after which rows are ordered; the data loader calls it."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.answers)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """`image` (PIL), `question`, `answer` and `label` (1 = fake).

        Raises:
            ValueError: If the image is damaged.
        """
        try:
            image = self.images[index]["image"]
        except (OSError, SyntaxError) as error:  # what PIL raises; SyntaxError for broken PNG chunks
            raise ValueError(f"image {self.names[index]} cannot be read: {error}; leave it out of the data") from error
        return {
            "image": image,
            "question": self.questions[index],
            "answer": self.answers[index],
            "label": int(self.labels[index]),
        }


class FakeReasoningCollator:
    """Turn rows of `FakeReasoningDataset` into the arguments of `FakeReasoningForConditionalGeneration`.

    Args:
        processor: A `FakeReasoningProcessor`.
    """

    def __init__(self, processor: ProcessorMixin):
        self.processor = processor

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """What `FakeReasoningProcessor.training_inputs` gives: prompts with answers, padded on the right."""
        return dict(
            self.processor.training_inputs(
                [row["image"] for row in rows],
                [row["answer"] for row in rows],
                questions=[row["question"] for row in rows],
                forgery_labels=[row["label"] for row in rows],
            )
        )


class LengthGroupSampler(torch.utils.data.Sampler):
    """A random order in which the rows of a batch have about one length; it depends on seed and epoch alone.

    Args:
        dataset: Has the attributes `lengths` and `epoch`.
        batch_size: Rows of a step.
        seed: Seed of the draws.
    """

    def __init__(self, dataset: FakeReasoningDataset, batch_size: int, seed: int = 0):
        self.dataset = dataset
        self.batch_size = batch_size
        self.seed = seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.dataset.epoch)
        return iter(get_length_grouped_indices(self.dataset.lengths, self.batch_size, generator=generator))
