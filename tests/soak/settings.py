"""Short runs in the test suite, long ones by `make soak`."""

import os
import random

LONG = os.environ.get("GATEWAY_SOAK") == "long"
# A failed run can be repeated with its seed, which determines the faults but not their timing.
SEED = int(os.environ.get("GATEWAY_SOAK_SEED") or (random.randrange(1_000_000) if LONG else 1))
