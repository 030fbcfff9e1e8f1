"""Exported networks against PyTorch, side by side in one run on a CPU.

    python benchmarks/export.py                                             # ICL-Net, MiT-B0, 256 x 256, a few minutes
    python benchmarks/export.py --family gamma --encoder b2 --size 512
    python benchmarks/export.py --checkpoint iclnet-mini --size 512 --any-size

All ways run the same weights on the same pixels: the model as `forgescope detect` runs it (tuned, float32 and
bfloat16), as `from_pretrained` returns it (naive), and exported for ONNX Runtime and OpenVINO. The ways take turns; a
time is the median over the rounds, a ratio the median of the ratios of each round to the tuned float32 model, with its
lowest and highest in brackets. With `--any-size` a network of any size runs at another than its usual size too.
Exported networks are for one image; a batch is given to them image by image.
"""

import argparse
import copy
import os
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from inference import CLOCKS, ENCODERS, NAIVE, print_rows, take_turns
from transformers import PreTrainedModel

from forgescope.auto import MODELS
from forgescope.export import export_checkpoint
from forgescope.export_comparison import pictures
from forgescope.exported import OUTPUTS, load_exported
from forgescope.hub import load_checkpoint
from forgescope.modeling.fast_inference import keep_freed_memory, optimize_for_inference
from forgescope.processing.image_processing_forgery import ForgeryImageProcessor

TUNED = "PyTorch float32"
# format, dtype
NETWORKS = (("onnx", "float32"), ("openvino", "float32"), ("openvino", "bfloat16"))
RUNTIMES = {"onnx": "ONNX Runtime", "openvino": "OpenVINO"}
# Usual size of a network of any size, so that the measured one is another.
USUAL = 64


def build(arguments: argparse.Namespace, folder: Path) -> tuple[PreTrainedModel, Path]:
    """The model, and the folder of its checkpoint with a processor for the size."""
    torch.manual_seed(0)
    if arguments.checkpoint:
        model = load_checkpoint(arguments.checkpoint, tuple(OUTPUTS), dtype=torch.float32)[0]
    else:
        family = MODELS[arguments.family]
        model = family.task_model(family.config(encoder_config=ENCODERS[arguments.encoder])).eval()
    stride = getattr(model.config, "mask_stride", ForgeryImageProcessor.mask_stride)
    for name, size, resize in (("fixed", arguments.size, True), ("any", USUAL, False)):
        model.save_pretrained(folder / name)
        processor = ForgeryImageProcessor(size={"height": size, "width": size}, do_resize=resize, mask_stride=stride)
        processor.save_pretrained(folder / name)
    return model, folder


def exported_ways(folder: Path, arguments: argparse.Namespace) -> dict[str, Callable[[torch.Tensor], object]]:
    """Export the checkpoint in every format."""
    ways: dict[str, Callable[[torch.Tensor], object]] = {}
    for form in ("fixed", "any") if arguments.any_size else ("fixed",):
        for to, dtype in NETWORKS if form == "fixed" else NETWORKS[:2]:
            out = folder / f"{form}-{to}-{dtype}"
            name = f"{RUNTIMES[to]} {dtype}" + (", any size" if form == "any" else "")
            print(f"exporting: {name}", flush=True)
            export_checkpoint(folder / form, to, out, dtype=dtype)
            ways[name] = load_exported(out)[0]
    return ways


def compare(model: PreTrainedModel, folder: Path, arguments: argparse.Namespace) -> None:
    """Time every way and check its outputs."""
    ways: dict[str, Callable[[torch.Tensor], object]] = {
        TUNED: optimize_for_inference(copy.deepcopy(model)),
        "PyTorch bfloat16": optimize_for_inference(copy.deepcopy(model), torch.bfloat16),
        NAIVE: model,
        **exported_ways(folder, arguments),
    }
    print(f"{'what':<18} {'way':<{max(map(len, ways))}} {'ms/image':>9} {'ratio to ' + TUNED:>24}")
    for batch in arguments.batch_sizes:
        pixels = pictures(batch, arguments.size, arguments.size, ForgeryImageProcessor())
        expected = model(pixels)
        notes = {}
        for name, way in ways.items():
            found = way(pixels)
            gap, whole = (
                torch.cat([one.float().flatten() for one in parts])
                for parts in ([found[key].float() - one for key, one in expected.items()], expected.values())
            )
            notes[name] = f"relative error {gap.norm() / whole.norm():.1e}"
        calls = {name: (lambda way=way, given=pixels: way(given)) for name, way in ways.items()}
        seconds = take_turns(calls, arguments.rounds, CLOCKS[arguments.clock], f"batch {batch}")
        print_rows(f"forward, batch {batch}", seconds, notes, per=batch, base=TUNED)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", choices=["iclnet", "gamma", "diffseg"], default="iclnet")
    parser.add_argument("--encoder", choices=sorted(ENCODERS), default="b0")
    parser.add_argument("--checkpoint", help="embedded name, folder or Hub id; replaces --family and --encoder")
    parser.add_argument("--size", type=int, default=256, help="pixels, a multiple of 32")
    parser.add_argument("--any-size", action="store_true", help="also networks of any size")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall", help="cpu ignores what others run")
    parser.add_argument("--keep-freed-memory", action="store_true", help="for all ways, see keep_freed_memory()")
    return parser.parse_args()


def main() -> None:
    """Run the comparison and print its rows."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    if arguments.keep_freed_memory and not keep_freed_memory():
        raise SystemExit("--keep-freed-memory needs Linux with glibc")
    network = arguments.checkpoint or f"{arguments.family}, MiT-{arguments.encoder.upper()}"
    print(
        f"torch {torch.__version__}, {platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, "
        f"{arguments.threads} thread(s), {arguments.clock} time, {network}, {arguments.size} x {arguments.size}, "
        f"{arguments.rounds} rounds"
    )
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        model, place = build(arguments, Path(folder))
        compare(model, place, arguments)


if __name__ == "__main__":
    main()
