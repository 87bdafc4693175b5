"""Runs: the pure half of `run`. What a run is, when it may start, how it ended."""
