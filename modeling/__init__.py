"""Models, configurations and losses; flat, because the files are copied next to a checkpoint on the Hub."""
