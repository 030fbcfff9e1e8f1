"""Time until the command line answers: its help, that of a verb, and what a shell asks for completion.

python benchmarks/startup.py [--repeats 5] [--clock cpu]

Each is a process of its own; the smallest of the repeats is printed, in seconds. Without PyTorch, so that a regression
shows at once: the goal for `forgescope --help` is 1.5 s on a quiet machine.
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable

COMMAND = (sys.executable, "-c", "import sys; sys.argv[0] = 'forgescope'; from forgescope.cli import main; main()")
TASKS: dict[str, tuple[tuple[str, ...], str | None]] = {
    "forgescope --help": (("--help",), None),
    "forgescope evaluate --help": (("evaluate", "--help"), None),
    "forgescope --version": (("--version",), None),
    "a wrong option": (("detect", "--nonsense"), None),
    "completion of a verb": ((), "forgescope ev"),
    "completion of a protocol": ((), "forgescope protocols gamma-"),
    "forgescope protocols": (("protocols",), None),
    "forgescope env": (("env",), None),
}


def cpu_time() -> float:
    """Seconds that finished child processes have computed."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": cpu_time}


def measure(words: tuple[str, ...], typed: str | None, clock: Callable[[], float]) -> float:
    """Seconds of one process; with `typed`, of what bash asks for its last word."""
    environment = dict(os.environ)
    if typed is not None:
        place = str(len(typed.split(" ")) - 1)
        environment |= {"_FORGESCOPE_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": place}
    start = clock()
    subprocess.run([*COMMAND, *words], env=environment, capture_output=True, check=False)
    return clock() - start


def main() -> None:
    """Print a line for each task."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu is steadier on a busy machine")
    arguments = parser.parse_args()
    for name, (words, typed) in TASKS.items():
        seconds = min(measure(words, typed, CLOCKS[arguments.clock]) for _ in range(arguments.repeats))
        print(f"{name:<28} {seconds:6.2f} s ({arguments.clock})")


if __name__ == "__main__":
    main()
