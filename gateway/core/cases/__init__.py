"""Golden exchanges: they are run, held against what is stated, and moved to the present for a demonstration."""
