"""Training steps of the contrastive loss in one process or in two; a module of its own, since processes import it."""

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from forgescope.modeling.loss_forgery_alignment import ForgeryAlignedContrast

SIZE, BATCH, QUEUE, LEARNING_RATE = 6, 3, 8, 0.1
# rows that take part: of the first process's batch, then of the second's; at last nobody has any, then all have
VALID = [[1, 1, 1, 1, 1, 1], [1, 0, 1, 0, 0, 1], [0, 0, 0, 1, 1, 0], [0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]]


class ProjectedContrast(nn.Module):
    """A projector of each modality and the loss."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.image_projector, self.text_projector = nn.Linear(SIZE, SIZE), nn.Linear(SIZE, SIZE)
        self.contrast = ForgeryAlignedContrast(SIZE, QUEUE, temperature=0.5)
        self.double()

    def forward(self, images, texts, labels, valid):
        return self.contrast(self.image_projector(images), self.text_projector(texts), labels, valid)


def batches():
    """The batches of all steps: images, texts, labels and valid rows of both processes."""
    generator = torch.Generator().manual_seed(0)
    for valid in VALID:
        images, texts = torch.randn(2, 2 * BATCH, SIZE, generator=generator, dtype=torch.float64)
        labels = torch.randint(0, 2, (2 * BATCH,), generator=generator)
        yield images, texts, labels, torch.tensor(valid, dtype=torch.bool)


def run_steps(model, rows):
    """Train on some rows of each batch; losses, gradients and filled queues of every step."""
    network = getattr(model, "module", model)
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    steps = []
    for batch in batches():
        optimizer.zero_grad()
        losses = model(*(part[rows] for part in batch))
        losses.loss.backward()
        gradients = {name: parameter.grad.clone() for name, parameter in network.named_parameters()}
        steps.append(
            {
                "losses": [loss.detach() for loss in losses],
                "gradients": gradients,
                "queue": [*network.contrast.queue()],
            }
        )
        optimizer.step()
    return steps


def run_process(rank, store, results):
    """Train on one process's rows; then the first process evaluates alone."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    model = DistributedDataParallel(ProjectedContrast())
    steps = run_steps(model, slice(rank * BATCH, (rank + 1) * BATCH))
    if rank == 0:
        network = model.module.eval()
        images, texts, labels, _ = next(batches())
        steps.append({"evaluated": network(images[:BATCH], texts[:BATCH], labels[:BATCH], None).loss.item()})
    torch.save(steps, f"{results}{rank}")
    dist.barrier()
    dist.destroy_process_group()
