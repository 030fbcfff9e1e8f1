"""Contrastive loss (PromptForge-350k, Eq. 2): the exact grid form against the matrix and the loop form.

python benchmarks/losses.py [--sizes 64 256 1024 4096 16384] [--channels 1024] [--grid 16] [--threads 1] [--clock cpu]

All forms get the same feature vectors: an encoder map of `grid` x `grid` cells, upsampled (nearest) to the mask. The
loop form is timed on its first anchors and extrapolated where it has more; such times are marked with ~. Memory is the
peak that tensors occupy beyond the inputs, counted from PyTorch's allocation events.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile

from forgescope.modeling.loss_contrastive import intra_image_contrastive_loss

TEMPERATURE = 0.1
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
MEGABYTE = 2**20


def anchor_loop(forged: torch.Tensor, real: torch.Tensor, anchors: int) -> torch.Tensor:
    """Sum of the terms of Eq. 2 for the first `anchors` forged vectors, one after the other: (n, C) and (m, C)."""
    forged, real = F.normalize(forged, dim=-1), F.normalize(real, dim=-1)
    total = forged.new_zeros(())
    for anchor in forged[:anchors]:
        positives = (forged @ anchor / TEMPERATURE).exp().mean()
        negatives = (real @ anchor / TEMPERATURE).exp().sum()
        total -= (positives / negatives).log()
    return total


def matrix(forged: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Eq. 2 with all similarities at once: (n, C) and (m, C)."""
    forged, real = F.normalize(forged, dim=-1), F.normalize(real, dim=-1)
    positives = (forged @ forged.T / TEMPERATURE).exp().mean(dim=1)
    negatives = (forged @ real.T / TEMPERATURE).exp().sum(dim=1)
    return -(positives / negatives).log().mean()


def seconds(function: Callable[[], object], repeats: int, clock: Callable[[], float]) -> float:
    """Median time of `repeats` calls after one warm-up call."""
    function()
    times = []
    for _ in range(repeats):
        start = clock()
        function()
        times.append(clock() - start)
    return statistics.median(times)


def peak_bytes(function: Callable[[], object]) -> int:
    """Most bytes that tensors allocated by a call occupy at one time."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        function()
    events = [event for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]"]
    occupied = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        occupied += event.nbytes()
        peak = max(peak, occupied)
    return peak


def measure(vectors: int, arguments: argparse.Namespace) -> dict[str, float]:
    """Time, memory and value of the forms for a mask of `vectors` pixels."""
    side = int(vectors**0.5)
    cells = min(arguments.grid, side)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1, arguments.channels, cells, cells, generator=generator)
    mask = torch.zeros(1, side, side, dtype=torch.long)
    mask.view(-1)[: round(arguments.forged_share * side * side)] = 1
    pixels = F.interpolate(features, size=(side, side), mode="nearest")[0].flatten(1).T.contiguous()
    forged, real = pixels[mask.view(-1) == 1], pixels[mask.view(-1) == 0]
    anchors = min(len(forged), arguments.anchors)

    def grid_form() -> torch.Tensor:
        return intra_image_contrastive_loss(features, mask, TEMPERATURE)

    def matrix_form() -> torch.Tensor:
        return matrix(forged, real)

    def loop_form() -> torch.Tensor:
        return anchor_loop(forged, real, anchors)

    row = {"vectors": side * side, "anchors": len(forged), "timed_anchors": anchors}
    for name, form in {"grid": grid_form, "matrix": matrix_form, "loop": loop_form}.items():
        row[f"{name}_s"] = seconds(form, 1 if name == "loop" else arguments.repeats, CLOCKS[arguments.clock])
        row[f"{name}_mb"] = peak_bytes(form) / MEGABYTE
    row["loop_s"] *= len(forged) / anchors
    row["error"] = abs(grid_form() - matrix_form()).item() / abs(matrix_form()).item()
    return row


def main() -> None:
    """Print one line for each number of vectors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 256, 1024, 4096, 16384], help="mask pixels")
    parser.add_argument("--channels", type=int, default=1024, help="of the fused features")
    parser.add_argument("--grid", type=int, default=16, help="side of the encoder's map")
    parser.add_argument("--forged-share", type=float, default=0.2)
    parser.add_argument("--anchors", type=int, default=16, help="anchors of the loop form that are timed")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall", help="cpu ignores what others run")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(
        f"torch {torch.__version__}, {arguments.threads} thread(s), float32, {arguments.channels} channels, "
        f"{arguments.forged_share:.0%} forged, forward, {arguments.clock} time"
    )
    print(
        f"{'vectors':>8} {'loop ms':>12} {'matrix ms':>10} {'grid ms':>8} {'loop/grid':>10} {'matrix/grid':>11} "
        f"{'loop MB':>8} {'matrix MB':>9} {'grid MB':>8} {'rel. error':>10}"
    )
    with torch.inference_mode():
        for vectors in arguments.sizes:
            row = measure(vectors, arguments)
            mark = "~" if row["timed_anchors"] < row["anchors"] else ""
            loop_ms = f"{mark}{row['loop_s'] * 1e3:.1f}"
            print(
                f"{row['vectors']:>8} {loop_ms:>12} {row['matrix_s'] * 1e3:>10.2f} {row['grid_s'] * 1e3:>8.2f} "
                f"{row['loop_s'] / row['grid_s']:>10.0f} {row['matrix_s'] / row['grid_s']:>11.1f} "
                f"{row['loop_mb']:>8.2f} {row['matrix_mb']:>9.2f} {row['grid_mb']:>8.2f} {row['error']:>10.1e}"
            )


if __name__ == "__main__":
    main()
