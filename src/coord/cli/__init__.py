"""Words in, words out: gather, ask the core once, emit."""
