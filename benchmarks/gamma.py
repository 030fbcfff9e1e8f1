"""GAMMA as forgescope runs and trains it against the straightforward composition, side by side in one run on a CPU.

    python benchmarks/gamma.py [--batch-sizes 1 4] [--train-batch 2] [--rounds 5] [--threads 2] [--clock wall]
    python benchmarks/gamma.py --threads 1 --clock cpu               # where others work on the machine
    python benchmarks/gamma.py --encoder b0 --size 256 --rounds 3    # a quick look

Naive: transformers' SegformerModel, two of its SegformerDecodeHead, whose features a hook catches, and
torch.nn.MultiheadAttention with a query for every pixel of those features. Plain: our model as `from_pretrained`
returns it. Tuned: after `optimize_for_inference`. All have the same random weights; outputs, and for training
gradients, are compared in the same run. The ways take turns; a time is the median over the rounds, a ratio the median
of the ratios of each round, with its lowest and highest in brackets. Peak memory is the resident memory of a process
that runs one way and nothing else, and the part of it that came on top of the loaded model; it needs Linux.
"""

import argparse
import copy
import os
import subprocess
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from inference import CLOCKS, ENCODERS, NAIVE, describe_machine, print_rows, take_turns
from torch import nn
from transformers.models.segformer.modeling_segformer import SegformerDecodeHead

from forgescope.modeling.configuration_gamma import GammaConfig
from forgescope.modeling.cross_attention import PooledCrossAttention
from forgescope.modeling.fast_inference import keep_freed_memory, optimize_for_inference
from forgescope.modeling.modeling_gamma import GammaForDetection

PLAIN, TUNED = "plain float32", "tuned float32"
NAIVE_BFLOAT16, TUNED_BFLOAT16 = "naive bfloat16", "tuned bfloat16"
KILOBYTES_A_MEGABYTE = 1024
Outputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


class NaiveGamma(nn.Module):
    """Eq. 1 to 8 written down with the modules of transformers and torch; takes the weights of `model`."""

    def __init__(self, model: GammaForDetection):
        super().__init__()
        self.config, self.gamma, self.classifier = model.config, model.gamma, model.classifier
        self.decoders, self.attention = nn.ModuleDict(), nn.ModuleDict()
        self.features: dict[str, torch.Tensor] = {}
        for name, decoder in model.decoders.items():
            head = SegformerDecodeHead(decoder.config)
            head.load_state_dict(decoder.state_dict())
            head.dropout.register_forward_hook(lambda _, __, output, name=name: self.features.update({name: output}))
            self.decoders[name] = head
            self.attention[name] = multihead_attention(model.cross_attention[f"reverse_{name}"])
        self.train(model.training)

    def forward(self, pixel_values: torch.Tensor) -> Outputs:
        """(B, 3, H, W) to the verdict (B, 1) and two masks (B, 1, H / 4, W / 4), AI first, all before the sigmoid."""
        stages = self.gamma.encoder(pixel_values, output_hidden_states=True).hidden_states
        pooled = self.gamma.projection(stages[-1].mean(dim=(2, 3)))
        context = pooled[:, None]
        if self.config.cross_attention_tokens == "spatial":
            context = self.gamma.projection(stages[-1].flatten(2).transpose(1, 2))
        masks = {name: head(stages) for name, head in self.decoders.items()}
        feature = pooled
        for name, attention in self.attention.items():
            queries = self.features.pop(name).flatten(2).transpose(1, 2)
            feature = feature + attention(queries, context, context, need_weights=False)[0].mean(dim=1)
        return self.classifier(feature), masks["ai"], masks["manipulation"]


def multihead_attention(ours: PooledCrossAttention) -> nn.MultiheadAttention:
    """PyTorch's module with the weights of ours."""
    theirs = nn.MultiheadAttention(ours.q_proj.in_features, ours.num_attention_heads, batch_first=True)
    projections = (ours.q_proj, ours.k_proj, ours.v_proj)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([layer.weight for layer in projections]))
        theirs.in_proj_bias.copy_(torch.cat([layer.bias for layer in projections]))
    theirs.out_proj.load_state_dict(ours.o_proj.state_dict())
    return theirs


def outputs_of(model: nn.Module, pixel_values: torch.Tensor) -> Outputs:
    """Verdict and masks of a naive model or one of ours."""
    if isinstance(model, NaiveGamma):
        return model(pixel_values)
    outputs = model(pixel_values)
    return outputs.logits[:, 1:], outputs.ai_logits, outputs.manipulation_logits


def train_step(model: nn.Module, pixel_values: torch.Tensor, labels: torch.Tensor, *masks: torch.Tensor) -> None:
    """Forward, Eq. 6 at the resolution of the masks (Eq. 4), and backward; an optimizer would do the same for all."""
    model.zero_grad(set_to_none=True)
    if isinstance(model, NaiveGamma):
        fake, *mask_logits = model(pixel_values)
        config = model.config
        loss = config.classification_loss_weight * F.binary_cross_entropy_with_logits(fake[:, 0], labels.float())
        weights = (config.ai_loss_weight, config.manipulation_loss_weight)
        for weight, logits, mask in zip(weights, mask_logits, masks, strict=True):
            logits = F.interpolate(logits, size=mask.shape[-2:], mode="bilinear", align_corners=False)
            loss = loss + weight * F.binary_cross_entropy_with_logits(logits[:, 0], mask.float())
    else:
        loss = model(pixel_values, labels=labels, ai_mask=masks[0], manipulation_mask=masks[1]).loss
    loss.backward()


def build_model(arguments: argparse.Namespace, randomness: bool = True) -> GammaForDetection:
    """Our model with random weights, and running statistics as after some training.

    Args:
        arguments: of the command line.
        randomness: whether dropout and stochastic depth act while it trains, as they do by default.
    """
    torch.manual_seed(0)
    encoder, rates = dict(ENCODERS[arguments.encoder]), {}
    if not randomness:
        encoder["drop_path_rate"], rates = 0.0, {"decoder_dropout": 0.0}
    config = GammaConfig(encoder_config=encoder, cross_attention_tokens=arguments.tokens, **rates)
    model = GammaForDetection(config).eval()
    for decoder in model.decoders.values():
        decoder.batch_norm.running_mean.normal_()
        decoder.batch_norm.running_var.uniform_(0.5, 2)
    return model


def build_way(name: str, model: GammaForDetection) -> nn.Module:
    """What runs under a name; takes the model over."""
    dtype = torch.bfloat16 if name in (NAIVE_BFLOAT16, TUNED_BFLOAT16) else torch.float32
    if name in (NAIVE, NAIVE_BFLOAT16):
        return NaiveGamma(model).to(dtype)
    return model if name == PLAIN else optimize_for_inference(model, dtype)


def make_batch(name: str, size: int, arguments: argparse.Namespace) -> Batch:
    """Pixels, in bfloat16 where a way needs them so, labels, AI masks and manipulation masks."""
    generator = torch.Generator().manual_seed(1)
    pixel_values = torch.randn(size, 3, arguments.size, arguments.size, generator=generator)
    masks = torch.randint(0, 2, (2, size, arguments.size, arguments.size), generator=generator)
    return pixel_values.to(torch.bfloat16 if name == NAIVE_BFLOAT16 else torch.float32), masks[0, :, 0, 0], *masks


def relative_error(result: torch.Tensor, expected: torch.Tensor) -> float:
    """Norm of the difference over the norm of what is expected."""
    return ((result.float() - expected.float()).norm() / expected.float().norm()).item()


def compare_forward(names: list[str], batch: int, arguments: argparse.Namespace) -> None:
    """Time and check one forward pass."""
    model = build_model(arguments)
    ways = {name: build_way(name, copy.deepcopy(model)) for name in names}
    pixels = {name: make_batch(name, batch, arguments)[0] for name in names}
    calls = {name: (lambda name=name: outputs_of(ways[name], pixels[name])) for name in names}
    with torch.inference_mode():
        expected = calls[NAIVE]()
        notes = {}
        for name in names[1:]:
            errors = [relative_error(*pair) for pair in zip(calls[name](), expected, strict=True)]
            notes[name] = f"relative error: verdict {errors[0]:.0e}, masks {max(errors[1:]):.0e}"
        seconds = take_turns(calls, arguments.rounds, CLOCKS[arguments.clock], f"batch {batch}")
    print_rows(f"forward, batch {batch}", seconds, notes, per=batch)


def compare_training(names: list[str], batch: int, arguments: argparse.Namespace) -> None:
    """Time a training step, and check the gradients of one without dropout and stochastic depth."""
    gradients = {}
    for name in names:
        way = build_way(name, build_model(arguments, randomness=False)).train()
        train_step(way, *make_batch(name, batch, arguments))
        parameters = dict(way.named_parameters())
        shared = sorted(key for key in parameters if key.startswith(("gamma.", "decoders.", "classifier.")))
        gradients[name] = torch.cat([parameters[key].grad.flatten() for key in shared])
    error = relative_error(gradients[PLAIN], gradients[NAIVE])
    ways = {name: build_way(name, build_model(arguments)).train() for name in names}
    inputs = make_batch(NAIVE, batch, arguments)
    calls = {name: (lambda name=name: train_step(ways[name], *inputs)) for name in names}
    seconds = take_turns(calls, arguments.rounds, CLOCKS[arguments.clock], "training")
    notes = {PLAIN: f"relative error: gradients {error:.0e}"}
    print_rows(f"training, batch {batch}", seconds, notes, per=batch)


def peak_memory(name: str, task: str, batch: int) -> tuple[int, int]:
    """Megabytes that a process which does a task twice in one way holds at its peak, and how many it held before."""
    command = [sys.executable, __file__, *sys.argv[1:], "--memory-of", name, task, str(batch)]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    return int(answer[0]), int(answer[1])


def measure_own_memory(name: str, task: str, batch: int, arguments: argparse.Namespace) -> tuple[int, int]:
    """What `peak_memory` asks of its child."""
    way = build_way(name, build_model(arguments))
    inputs = make_batch(name, batch, arguments)
    loaded = resident_megabytes("VmRSS")
    for _ in range(2):
        if task == "training":
            train_step(way.train(), *inputs)
        else:
            with torch.inference_mode():
                outputs_of(way, inputs[0])
    return resident_megabytes("VmHWM"), loaded


def resident_megabytes(entry: str) -> int:
    """Memory of this process: `VmRSS` is what it holds, `VmHWM` the most that it has held."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(entry)) // KILOBYTES_A_MEGABYTE


def print_memory(names: list[str], task: str, batch: int) -> None:
    """Print one line for each way."""
    for name in names:
        peak, loaded = peak_memory(name, task, batch)
        print(f"{f'{task}, batch {batch}':<18} {name:<20} {peak:>9} MB, {peak - loaded} MB of it on top of the model")


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", choices=sorted(ENCODERS), default="b2")
    parser.add_argument("--tokens", choices=["pooled", "spatial"], default="pooled", help="cross_attention_tokens")
    parser.add_argument("--size", type=int, default=512, help="pixels, a multiple of 32")
    parser.add_argument("--batch-sizes", type=int, nargs="*", default=[1, 4])
    parser.add_argument("--train-batch", type=int, default=2, help="0 leaves training out")
    parser.add_argument("--dtypes", nargs="+", choices=["float32", "bfloat16"], default=["float32", "bfloat16"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall", help="cpu ignores what others run")
    parser.add_argument("--keep-freed-memory", action="store_true", help="for all ways, see keep_freed_memory()")
    parser.add_argument("--memory-of", nargs=3, metavar=("WAY", "TASK", "BATCH"), help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Run the comparisons and print their rows."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    if arguments.keep_freed_memory and not keep_freed_memory():
        raise SystemExit("--keep-freed-memory needs Linux with glibc")
    if arguments.memory_of:
        name, task, batch = arguments.memory_of
        print(*measure_own_memory(name, task, int(batch), arguments))
        return
    print(describe_machine(arguments, f"MiT-{arguments.encoder.upper()} and two decoders, {arguments.tokens} key"))
    print(f"{'what':<18} {'way':<20} {'ms/image':>9} {'ratio to naive float32':>22}")
    names = [NAIVE, PLAIN, TUNED]
    if "bfloat16" in arguments.dtypes:
        names += [NAIVE_BFLOAT16, TUNED_BFLOAT16]
    for batch in arguments.batch_sizes:
        compare_forward(names, batch, arguments)
        print_memory(names, "forward", batch)
    if arguments.train_batch:
        compare_training(names[:2], arguments.train_batch, arguments)
        print_memory(names[:2], "training", arguments.train_batch)


if __name__ == "__main__":
    main()
