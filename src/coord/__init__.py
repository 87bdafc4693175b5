"""Coordination for programs and people that work on one git repository."""

__version__ = "0.1.0"
