"""ICL-Net as forgescope runs it against the naive way, side by side in one run on a CPU.

    python benchmarks/inference.py [--encoder b4] [--size 512] [--batch-sizes 1 4] [--rounds 5] [--threads 2]
    python benchmarks/inference.py --encoder b0 --size 256 --rounds 3      # a quick look
    python benchmarks/inference.py --checkpoint iclnet-mini                # a checkpoint instead of random weights

Naive: three calls of transformers' SegformerModel, high-pass filter and head in float32 with PyTorch's defaults, and,
for a folder, a loop that opens, resizes, normalises, predicts and saves one photograph after the other with PIL.
For a checkpoint the naive way is the model as `from_pretrained` returns it. Both sides have the same weights and write
the same mask files. The ways take turns; a time is the median over the rounds, a ratio the median of the ratios of
each round, with its lowest and highest in brackets.
"""

import argparse
import copy
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from tqdm.auto import tqdm

from forgescope.analyze import Analyzer
from forgescope.hub import load_checkpoint
from forgescope.modeling.configuration_iclnet import MIT_B4, ICLNetConfig
from forgescope.modeling.fast_inference import keep_freed_memory, optimize_for_inference
from forgescope.modeling.modeling_iclnet import ICLNetForForgerySegmentation
from forgescope.processing.image_processing_forgery import ForgeryImageProcessor

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
# Sizes of the SegFormer paper, table 6.
SR_RATIOS = (8, 4, 2, 1)
ENCODERS = {
    "b0": {
        "depths": (2, 2, 2, 2),
        "hidden_sizes": (32, 64, 160, 256),
        "num_attention_heads": (1, 2, 5, 8),
        "sr_ratios": SR_RATIOS,
    },
    "b2": MIT_B4 | {"depths": (3, 4, 6, 3)},
    "b4": MIT_B4,
}
NAIVE = "naive float32"


class NaiveICLNet(nn.Module):
    """The network written down the obvious way, with the modules of a model as they come."""

    def __init__(self, model: ICLNetForForgerySegmentation):
        super().__init__()
        self.main, self.noise = model.iclnet.main_encoder, model.iclnet.noise_encoder
        self.frozen, self.high_pass, self.head = model.iclnet.frozen_encoder, model.iclnet.high_pass, model.head

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) to (B, 1, H / 4, W / 4) logits."""
        features = [
            self.main(pixel_values=pixel_values).last_hidden_state,
            self.noise(pixel_values=self.high_pass(pixel_values)).last_hidden_state,
            self.frozen(pixel_values=pixel_values).last_hidden_state,
        ]
        return self.head(torch.cat(features, dim=1))


def logits_of(model: nn.Module, pixel_values: torch.Tensor) -> torch.Tensor:
    """(B, 1, H / 4, W / 4) of a naive model or one of ours."""
    output = model(pixel_values)
    return output if isinstance(output, torch.Tensor) else output.logits


def naive_folder(model: nn.Module, photos: list[Path], size: int, out: Path) -> None:
    """Write the mask of each photograph: PIL, one at a time."""
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    for photo in photos:
        image = Image.open(photo).convert("RGB")
        pixels = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR)) / 255
        pixel_values = torch.from_numpy((pixels - mean) / std).float().permute(2, 0, 1)[None]
        with torch.no_grad():
            logits = F.interpolate(logits_of(model, pixel_values), size=(image.height, image.width), mode="bilinear")
        mask = (logits.sigmoid()[0, 0] >= 0.5).numpy()
        Image.fromarray(mask.astype(np.uint8) * 255).save(out / f"{photo.stem}.png")


def our_folder(analyzer: Analyzer, photos: list[Path], out: Path) -> None:
    """Write the mask of each photograph through the call that `forgescope detect` makes."""
    for photo, report in zip(photos, analyzer.analyze_many(photos), strict=True):
        report.mask_image().save(out / f"{photo.stem}.png")


def take_turns(
    ways: dict[str, Callable[[], object]], rounds: int, clock: Callable[[], float], label: str
) -> dict[str, list[float]]:
    """Seconds of every way in every round; every second round in reverse order."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in tqdm(range(rounds), desc=label, disable=None, leave=False):
        for name in list(ways) if turn % 2 == 0 else list(reversed(ways)):
            start = clock()
            ways[name]()
            seconds[name].append(clock() - start)
    return seconds


def print_rows(
    label: str, seconds: dict[str, list[float]], notes: dict[str, str], per: int, base: str = NAIVE
) -> None:
    """Print one line for each way: time an image, ratio to the way `base`, and a note."""
    width = max(20, *map(len, seconds))
    for name, times in seconds.items():
        ratios = [naive / own for naive, own in zip(seconds[base], times, strict=True)]
        ratio = f"x{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
        milliseconds = statistics.median(times) / per * 1e3
        print(f"{label:<18} {name:<{width}} {milliseconds:>9.1f} {ratio:>22}  {notes.get(name, '')}", flush=True)


def build(arguments: argparse.Namespace) -> tuple[dict[str, nn.Module], ICLNetForForgerySegmentation]:
    """The ways to run one forward pass, all with the same random weights, and our float32 model."""
    torch.manual_seed(0)
    if arguments.checkpoint:
        model = load_checkpoint(arguments.checkpoint, dtype=torch.float32)[0].eval()
        naive = model
    else:
        model = ICLNetForForgerySegmentation(ICLNetConfig(encoder_config=ENCODERS[arguments.encoder])).eval()
        naive = NaiveICLNet(model)
    tuned = optimize_for_inference(copy.deepcopy(model))
    ways: dict[str, nn.Module] = {NAIVE: naive, "forgescope float32": tuned}
    if "bfloat16" in arguments.dtypes:
        ways["naive bfloat16"] = copy.deepcopy(naive).to(torch.bfloat16)
        ways["forgescope bfloat16"] = optimize_for_inference(copy.deepcopy(model), torch.bfloat16)
    return ways, tuned


def compare_forward(ways: dict[str, nn.Module], batch: int, arguments: argparse.Namespace) -> None:
    """Time and check one forward pass."""
    pixel_values = torch.randn(batch, 3, arguments.size, arguments.size)
    inputs = {name: pixel_values.to(torch.bfloat16) if name == "naive bfloat16" else pixel_values for name in ways}

    def run(name: str) -> torch.Tensor:
        return logits_of(ways[name], inputs[name])

    expected = run(NAIVE)
    notes = {}
    for name in ways:
        error = (run(name).float() - expected).norm() / expected.norm()
        notes[name] = f"relative error {error:.1e}" if name != NAIVE else ""
    calls = {name: (lambda name=name: run(name)) for name in ways}
    seconds = take_turns(calls, arguments.rounds, CLOCKS[arguments.clock], f"batch {batch}")
    print_rows(f"forward, batch {batch}", seconds, notes, per=batch)


def compare_folder(
    naive: nn.Module, tuned: ICLNetForForgerySegmentation, photos: list[Path], arguments: argparse.Namespace
) -> None:
    """Time a folder of photographs, files to mask files."""
    size = {"height": arguments.size, "width": arguments.size}
    analyzer = Analyzer(tuned, ForgeryImageProcessor(size=size))
    with tempfile.TemporaryDirectory() as naive_out, tempfile.TemporaryDirectory() as our_out:
        calls = {
            NAIVE: lambda: naive_folder(naive, photos, arguments.size, Path(naive_out)),
            f"forgescope {analyzer.precision}": lambda: our_folder(analyzer, photos, Path(our_out)),
        }
        seconds = take_turns(calls, arguments.rounds, CLOCKS[arguments.clock], "folder")
        equal = [
            np.mean(
                np.asarray(Image.open(Path(naive_out, f"{one.stem}.png")))
                == np.asarray(Image.open(Path(our_out, f"{one.stem}.png")))
            )
            for one in photos
        ]
    notes = {f"forgescope {analyzer.precision}": f"{np.mean(equal):.2%} of mask pixels equal"}
    print_rows(f"folder of {len(photos)}", seconds, notes, per=len(photos))


def describe_machine(arguments: argparse.Namespace, network: str) -> str:
    """One line on what the numbers were measured with."""
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return (
        f"torch {torch.__version__}, {platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, bfloat16 "
        f"{'in hardware' if native else 'emulated by this processor: expect no gain'}, {arguments.threads} thread(s), "
        f"{arguments.clock} time, {network}, {arguments.size} x {arguments.size}, "
        f"{arguments.rounds} rounds, freed memory {'kept' if arguments.keep_freed_memory else 'returned (default)'}"
    )


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", choices=sorted(ENCODERS), default="b4")
    parser.add_argument("--checkpoint", help="embedded name, folder or Hub id; replaces --encoder")
    parser.add_argument("--size", type=int, default=512, help="pixels, a multiple of 32")
    parser.add_argument("--batch-sizes", type=int, nargs="*", default=[1, 4])
    parser.add_argument("--dtypes", nargs="+", choices=["float32", "bfloat16"], default=["float32", "bfloat16"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall", help="cpu ignores what others run")
    parser.add_argument("--images", type=Path, default=Path(__file__).parent.parent / "examples" / "images")
    parser.add_argument("--max-images", type=int, default=8, help="of the folder; 0 leaves it out")
    parser.add_argument("--keep-freed-memory", action="store_true", help="for all ways, see keep_freed_memory()")
    return parser.parse_args()


def main() -> None:
    """Run the comparisons and print their rows."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    if arguments.keep_freed_memory and not keep_freed_memory():
        raise SystemExit("--keep-freed-memory needs Linux with glibc")
    print(describe_machine(arguments, arguments.checkpoint or f"3 x MiT-{arguments.encoder.upper()}"))
    print(f"{'what':<18} {'way':<20} {'ms/image':>9} {'ratio to naive float32':>22}")
    ways, tuned = build(arguments)
    with torch.inference_mode():
        for batch in arguments.batch_sizes:
            compare_forward(ways, batch, arguments)
        photos = sorted(path for path in arguments.images.glob("*") if path.is_file())[: arguments.max_images]
        if photos:
            compare_folder(ways[NAIVE], tuned, photos, arguments)


if __name__ == "__main__":
    main()
