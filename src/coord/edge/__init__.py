"""The outside: files, git, clock, processes. Decides nothing."""
