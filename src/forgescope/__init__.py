"""Detect, localize, attribute and explain AI-made image forgeries."""

__version__ = "0.1.0"
