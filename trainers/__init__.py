"""Trainers and the recipes of the papers."""
