"""How long and how hard: a bounded run in the test suite, a long one by `make soak`."""

import os
import random

LONG = os.environ.get("GATEWAY_SOAK") == "long"
# What happens is drawn from it, though not when: a run that failed can be told to draw the same again.
SEED = int(os.environ.get("GATEWAY_SOAK_SEED") or (random.randrange(1_000_000) if LONG else 1))
