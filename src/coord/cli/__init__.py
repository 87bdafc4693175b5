"""Words in, words out: gather, ask the core once, emit."""

import gc

# Before anything else is imported: looking for circular garbage takes a twentieth of a
# short command's time and finds none. A long one still looks, just not so often.
gc.set_threshold(50_000)
