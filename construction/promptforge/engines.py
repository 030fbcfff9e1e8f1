"""Where annotation runs: in processes of this machine, or on a Ray cluster. Both run `Annotator` on batches."""

import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from .annotator import AnnotationSettings, Annotator, Outcome, ReadImage, one_thread
from .pairs import Pair

# Batches waiting for each process: enough to keep it busy, few enough that images in memory stay few.
WAITING = 2
_annotator: Annotator | None = None


@dataclass(frozen=True)
class AnnotationJob:
    """What an engine is to do.

    Args:
        settings: what decides on the masks.
        out: folder of the corpus.
        read: opens an image; importable, for several processes.
        num_proc: processes, or actors of Ray; each holds one backbone. 1 runs in this process, as a GPU wants it.
        batch_size: pairs handed over at once, and the batch of a network.
        device: where a network runs.
        dtype: precision of a network.

    Raises:
        ValueError: numbers below 1.
    """

    settings: AnnotationSettings
    out: Path
    read: ReadImage
    num_proc: int = 1
    batch_size: int = 8
    device: str = "cpu"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.num_proc < 1 or self.batch_size < 1:
            raise ValueError(f"num_proc and batch_size must be at least 1, got {self.num_proc} and {self.batch_size}")

    def annotator(self) -> Annotator:
        """A new annotator, its backbone loaded."""
        return Annotator(self.settings, self.out, self.read, self.device, self.dtype)


def run_local(pairs: Iterable[Pair], job: AnnotationJob) -> Iterator[Outcome]:
    """Annotate on this machine, in the order of the pairs.

    Args:
        pairs: may be a generator; only a few batches are held at a time.
        job: what to do.
    """
    if job.num_proc == 1:
        annotate = job.annotator()
        for batch in batches(pairs, job.batch_size):
            yield from annotate(batch)
        return
    # Spawned, not forked: no library thread is copied half-way, and a GPU can be used.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(job.num_proc, mp_context=context, initializer=_start, initargs=(job,)) as pool:
        waiting: deque[Future[list[Outcome]]] = deque()
        for batch in batches(pairs, job.batch_size):
            waiting.append(pool.submit(_annotate, batch))
            if len(waiting) > WAITING * job.num_proc:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def run_ray(pairs: Iterable[Pair], job: AnnotationJob, address: str | None = None) -> Iterator[Outcome]:
    """Annotate on a Ray cluster through Ray Data.

    Args:
        pairs: all of them are handed to Ray at once.
        job: what to do; its `out` must be a folder that every node sees. An actor takes one GPU when `device` is cuda.
        address: of a running cluster; None uses `RAY_ADDRESS`, else a cluster on this machine.

    Raises:
        ImportError: Ray is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise ImportError("the ray engine needs Ray: pip install 'forgescope[ray]'") from error
    if not ray.is_initialized():
        ray.init(address=address, log_to_driver=False)
    data = ray.data.from_items([{"pair": pair} for pair in pairs])
    outcomes = data.map_batches(
        RayAnnotator,
        fn_constructor_args=(job,),
        batch_size=job.batch_size,
        concurrency=job.num_proc,
        num_gpus=1 if job.device.startswith("cuda") else 0,
    )
    for row in outcomes.iter_rows():
        yield row["outcome"]


class RayAnnotator:
    """`Annotator` for the batches of Ray Data: columns in, columns out."""

    def __init__(self, job: AnnotationJob):
        one_thread()
        self.annotate = job.annotator()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """`pair` to `outcome`."""
        return {"outcome": self.annotate(list(batch["pair"]))}


def batches(items: Iterable[Pair], size: int) -> Iterator[list[Pair]]:
    """Lists of `size` items, the last one perhaps shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _start(job: AnnotationJob) -> None:
    global _annotator
    one_thread()
    _annotator = job.annotator()


def _annotate(batch: list[Pair]) -> list[Outcome]:
    if _annotator is None:
        raise RuntimeError("the process has no annotator")
    return _annotator(batch)


__all__ = ["AnnotationJob", "batches", "run_local", "run_ray"]
