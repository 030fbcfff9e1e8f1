"""Images edited turn by turn by several diffusion models, with masks that say which one (DiffSeg30k, section 3)."""
