"""Masks for prompt-based edits from pairs of images (PromptForge-350k, sections 3 and 4)."""
