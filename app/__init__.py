"""Sluice: documents in at once, searchable in the background."""

__version__ = "0.1.0"
