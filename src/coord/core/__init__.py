"""Pure decisions: no disk, clock, chance or environment."""
