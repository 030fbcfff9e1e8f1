"""Builders of the corpora."""
