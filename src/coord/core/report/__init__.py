"""What the journals say, made for eyes: pages, plots and traces, each a reading of the fold."""
