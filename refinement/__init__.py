"""Refinement of images with a detector of artifacts as the controller (LEGION, section 4.2)."""
