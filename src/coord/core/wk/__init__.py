"""Work items: what is to be done, who has it, what blocks it."""
