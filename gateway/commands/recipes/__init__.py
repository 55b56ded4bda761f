"""The commands for signature recipes: `sign`, `explain` and `coverage`."""
