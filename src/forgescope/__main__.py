"""`python -m forgescope` and `torchrun -m forgescope`: the command line."""

from forgescope.cli import main

main()
