"""Pure tools over the core: golden cases, vectors, computed loss, signature coverage, diagnosis."""
